"""Write docs/damaged-files.md: what bridge.load() says of the files in tests/files/damaged.py.

    python tools/make_damaged.py            write the page
    python tools/make_damaged.py --check    exit 1 if the committed page differs from what would be written

Needs bridge to be installed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import bridge

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "damaged-files.md"
sys.path.insert(0, str(ROOT / "tests"))

from files.damaged import DAMAGED, Damaged  # noqa: E402  (of this repository's tests, which are not installed)

HEAD = """# Damaged files

What `bridge.load` says of files that are damaged, that lie, or that mean harm: every row is a file of this repository's
tests, and its error is a `bridge.FormatError` (a `ValueError`) that begins with the call and the name of the file. See
[Files](files.md) for what is read and written.

Written by `tools/make_damaged.py`; do not edit.
"""


def error(case: Damaged, folder: Path) -> str:
    """The first line of the error, without the call and the file's name."""
    path = folder / f"x.{case.format}"
    path.write_bytes(case.content)
    try:
        bridge.eval(bridge.load(path))
    except bridge.FormatError as refused:
        return str(refused).splitlines()[0].removeprefix(f"[bridge.load] {path}: ").replace("|", "\\|")
    raise SystemExit(f"{case.format}, {case.what}: it was loaded")


def page() -> str:
    lines = [HEAD]
    with tempfile.TemporaryDirectory() as folder:
        for format in dict.fromkeys(case.format for case in DAMAGED):
            lines += [f"## {format}\n", "| the file | the error |", "|---|---|"]
            lines += [f"| {case.what} | {error(case, Path(folder))} |" for case in DAMAGED if case.format == format]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE.relative_to(ROOT)} is out of date: run python tools/make_damaged.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
