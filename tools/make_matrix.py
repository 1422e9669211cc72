"""Fill the tables of docs/matrix.md: what every framework takes from every other, as measured by a run of the matrix.

    python tools/make_matrix.py            write the page
    python tools/make_matrix.py --check    exit 1 if the committed page differs from what would be written

The samples lie at addresses that are chosen, so the tables are the same on every machine. All four frameworks must be
installed. The run is that of `python -m bridge matrix`, with the doors left out and one answer to `copy=`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bridge.cli.cells import Cell, doors
from bridge.cli.runner import Matrix, run_cells
from bridge.cli.samples import LAYOUTS
from bridge.core.framework import ITEMSIZE
from bridge.core.registry import registry

PAGE = Path(__file__).resolve().parent.parent / "docs" / "matrix.md"
FRAMEWORKS = ["bridge", "numpy", "torch", "jax", "tensorflow"]
ALIKE = "float32"  # the dtype of the tables of layouts
# Rule that decided against sharing -> its footnote.
NOTES = {
    "strides": "The target cannot hold these strides.",
    "alignment": "The target needs memory that begins on another boundary.",
    "read-only": "Nobody may write the source, and the target has no read-only arrays: `readonly=True` shares.",
    "unlike": "The bytes are not the values: another byte order, or two elements to a byte.",
    "door": "The target takes this dtype by a constructor, which copies.",
    "dtype": "The target has no such dtype: `DTypeError`, which names the nearest exact one.",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


class Page:
    """The parts of the page, from one run."""

    def __init__(self, matrix: Matrix) -> None:
        if not matrix.is_good:
            raise SystemExit("the run was not good: python -m bridge matrix")
        self.found = matrix.found

    def outcome(self, source: str, target: str, dtype: str, layout: str) -> str:
        """What happens under copy=None, with the number of its footnote; "" where there is no such array."""
        found = self.found.get(Cell(source, target, dtype, layout))
        if found is None:
            return ""
        if found.outcome == "shared":
            return "shared"
        return f"{found.outcome} [{list(NOTES).index(found.rule) + 1}]"

    def layouts(self) -> str:
        """Per target: layout by source."""
        return "\n\n".join(
            f"Into {target}:\n\n"
            + table(
                ("layout", *(f"from {source}" for source in FRAMEWORKS)),
                (
                    (f"{name.replace('_', ' ')}: {layout.about}", *outcomes)
                    for name, layout in LAYOUTS.items()
                    if any(outcomes := [self.outcome(source, target, ALIKE, name) for source in FRAMEWORKS])
                ),
            )
            for target in FRAMEWORKS
        )

    def dtypes(self) -> str:
        """Per target: dtype by source, the dtypes that fare alike in one row."""
        parts = []
        for target in FRAMEWORKS:
            alike: dict[tuple[str, ...], list[str]] = {}
            for dtype in ITEMSIZE:
                outcomes = tuple(self.outcome(source, target, dtype, "dense") for source in FRAMEWORKS)
                alike.setdefault(outcomes, []).append(f"`{dtype}`")
            rows = ((", ".join(names), *outcomes) for outcomes, names in alike.items())
            parts.append(f"Into {target}:\n\n" + table(("dtype", *(f"from {source}" for source in FRAMEWORKS)), rows))
        return "\n\n".join(parts)

    def doors(self) -> str:
        """Source by target: what `via=` can name, in order of preference; in parentheses what always copies."""
        rows = []
        for source in FRAMEWORKS:
            names = [", ".join(spelled(target, door) for door in doors(source, target)) for target in FRAMEWORKS]
            rows.append((f"**{source}**", *names))
        return table(("from \\ to", *FRAMEWORKS), rows)

    def notes(self) -> str:
        return "\n".join(f"{number}. {text}" for number, text in enumerate(NOTES.values(), 1))


def spelled(target: str, name: str) -> str:
    registry.load()
    shares = next(door.shares for door in registry.frameworks[target].takes if door.name == name)
    return f"`{name}`" if shares else f"(`{name}`)"


def filled(page: Page) -> str:
    text = PAGE.read_text(encoding="utf-8")
    for name in ("layouts", "dtypes", "doors", "notes"):
        pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"docs/matrix.md has no part <!-- begin {name} --> ... <!-- end {name} -->")
        part = getattr(page, name)()
        text = pattern.sub(lambda match, part=part: f"{match[1]}\n{part}\n\n{match[2]}", text)
    return text


def main() -> int:
    text = filled(Page(run_cells(FRAMEWORKS, named_doors=False, x64=False, calls=((None, False),))))
    if text == PAGE.read_text(encoding="utf-8"):
        return 0
    if "--check" in sys.argv[1:]:
        print("docs/matrix.md is stale: run python tools/make_matrix.py")
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
