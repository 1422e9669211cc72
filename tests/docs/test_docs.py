"""Every ```python block of the documentation runs, and prints what its comments say it prints.

A block that begins with `# name.py` is a file: it is written to disk, and later blocks of the page can import it.
"""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
FILE = re.compile(r"\s*# (\w+\.py)\n")
EXPECTED = re.compile(r"^print\(.*\)\s+# (.*)$", flags=re.MULTILINE)

# In the order of the text; blocks of one page share their names, as a reader who types them in would have it.
PAGES = [
    path.relative_to(ROOT)
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    if path.exists() and BLOCK.search(path.read_text(encoding="utf-8"))
]


def blocks(page: Path) -> list[str]:
    """The page's python blocks, each padded with newlines so that a traceback shows the page's own line numbers."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, match.start(1)) + match[1] for match in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_page_runs_and_prints_what_it_says(page, tmp_path, monkeypatch):
    """`print(...)  # text` prints exactly that text; a block that raises fails the page."""
    monkeypatch.syspath_prepend(tmp_path)
    names = {"__name__": "page"}
    for source in blocks(ROOT / page):
        if file := FILE.match(source):
            (tmp_path / file[1]).write_text(source, encoding="utf-8")
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, str(page), "exec"), names)
        expected = EXPECTED.findall(source)
        if expected:
            assert printed.getvalue().splitlines() == expected


def test_local_links_lead_somewhere():
    """A relative link of README, CONTRIBUTING or docs/ names a file of the repository."""
    missing = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                missing.append(f"{page.relative_to(ROOT)}: {target}")
    assert not missing
