"""Fill the tables of docs/cases.md with the known cases, from the tables at the head of tests/cases/test_*.py.

    python tools/make_cases.py            write the page
    python tools/make_cases.py --check    exit 1 if the committed page differs from what would be written

Every case has exactly one row, and every case that can be held today has at least one test named test_<id>_...
somewhere under tests/: what is missing or twice is an error. Reads the sources only, imports nothing of them.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cases.md"
TESTS = ROOT / "tests"
sys.path.insert(0, str(TESTS))

from cases.case import Case  # noqa: E402  (of this repository's tests, which are no package that is installed)

FAMILIES = {
    "L": "Lifetime",
    "A": "Aliasing and mutability",
    "D": "Dtypes",
    "Y": "Layout and strides",
    "N": "Alignment",
    "S": "Devices and streams",
    "G": "Gradients and transforms",
    "E": "Errors",
    "F": "Cost",
    "K": "Packages and versions",
}
NAME = re.compile(r"test_([A-Z]\d\d)_")


def cases() -> list[Case]:
    """All rows, in the order of the families and numbers."""
    found = []
    for path in sorted((TESTS / "cases").glob("test_*.py")):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "CASES":
                assert isinstance(statement.value, ast.Tuple), f"{path.name}: CASES is a tuple of Case(...)"
                found += [row(call) for call in statement.value.elts]
    return sorted(found, key=lambda case: (list(FAMILIES).index(case.id[0]), case.id))


def row(call: ast.expr) -> Case:
    assert isinstance(call, ast.Call)
    arguments = [ast.literal_eval(argument) for argument in call.args]
    keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg}
    return Case(*arguments, **keywords)


def tests() -> Counter[str]:
    """How many tests carry each id."""
    count: Counter[str] = Counter()
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (match := NAME.match(node.name)):
                count[match[1]] += 1
    return count


def complaints(rows: list[Case], shown: Counter[str]) -> list[str]:
    ids = Counter(case.id for case in rows)
    return [
        *(f"{name} stands {times} times" for name, times in ids.items() if times > 1),
        *(f"{case.id} has no test" for case in rows if not case.later and not shown[case.id]),
        *(f"{name} has tests and no row" for name in sorted(shown.keys() - ids.keys())),
        *(f"{case.id} names no source" for case in rows if not case.sources),
    ]


def linked(source: str) -> str:
    """A source as a link: a page, or a thread of a repository."""
    if match := re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", source):
        return f"[{source}](https://github.com/{match[1]}/issues/{match[2]})"
    if source.startswith("https://"):
        return f"[{source.removeprefix('https://').split('/')[0]}]({source})"
    return source


def outcome(case: Case, shown: Counter[str]) -> str:
    if case.later:
        return f"comes with {case.later}"
    tested = "1 test" if shown[case.id] == 1 else f"{shown[case.id]} tests"
    return f"held, {tested}" if not case.needs else f"{tested}, to run on {case.needs}"


def table(rows: list[Case], shown: Counter[str]) -> str:
    lines = ["| id | elsewhere | with bridge | outcome | reported in |", "| --- | --- | --- | --- | --- |"]
    for case in rows:
        cells = (case.id, case.elsewhere, case.rule, outcome(case, shown), ", ".join(map(linked, case.sources)))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def page(rows: list[Case], shown: Counter[str]) -> str:
    parts = []
    for letter, title in FAMILIES.items():
        members = [case for case in rows if case.id[0] == letter]
        if members:
            parts.append(f"## {title}\n\n{table(members, shown)}")
    text = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(r"(<!-- begin cases -->\n).*?(<!-- end cases -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit("docs/cases.md has no part <!-- begin cases --> ... <!-- end cases -->")
    return pattern.sub(lambda match: f"{match[1]}\n" + "\n\n".join(parts) + f"\n\n{match[2]}", text)


def main() -> int:
    rows, shown = cases(), tests()
    if problems := complaints(rows, shown):
        print("\n".join(problems))
        return 1
    text = page(rows, shown)
    if text == PAGE.read_text(encoding="utf-8"):
        return 0
    if "--check" in sys.argv[1:]:
        print("docs/cases.md is stale: run python tools/make_cases.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
