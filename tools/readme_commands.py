"""Print one of README.md's two commands, so that CI runs what strangers are told to run.

Usage: python tools/readme_commands.py demo|test

The commands are the lines of the README's ```sh blocks that start a virtual environment; the first is the demo, the
second the tests. Exactly two must stand there, each on one line.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
NAMES = ("demo", "test")


def commands(text: str) -> dict[str, str]:
    """Name -> shell command, from the README's text. Raises ValueError unless there are exactly two."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "-m venv" in line]
    if len(lines) != len(NAMES):
        raise ValueError(f"README.md must hold {len(NAMES)} one-line set-up commands, it holds {len(lines)}")
    return dict(zip(NAMES, lines, strict=True))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in NAMES:
        sys.exit(__doc__)
    print(commands(README.read_text(encoding="utf-8"))[sys.argv[1]])
