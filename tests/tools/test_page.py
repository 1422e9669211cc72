"""The heat map of `python -m bridge matrix --html`, opened in a browser."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess

import pytest

from bridge.cli.page import page
from bridge.cli.runner import Matrix, run_cells

FRAMEWORKS = ["bridge", "numpy"]
# Rests the pointer on one cell, as a reader does.
HOVER = """<script>
document.querySelector('#map td[data-layout="reversed"]').dispatchEvent(new MouseEvent("mouseenter"));
</script>"""


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    return run_cells(FRAMEWORKS, ["float32", "bfloat16"], named_doors=True, x64=False)


@pytest.fixture(scope="module")
def opened(matrix: Matrix, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as it stands once its script has run and the pointer rests on a cell."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        if os.environ.get("BRIDGE_REQUIRE_BROWSER"):
            pytest.fail("no browser on the path")
        pytest.skip("needs a browser")
    folder = tmp_path_factory.mktemp("page")
    (folder / "matrix.html").write_text(page(matrix) + HOVER, encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom")
    done = subprocess.run(
        [browser, *options, f"--user-data-dir={folder / 'profile'}", (folder / "matrix.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_nothing_is_loaded_from_elsewhere(matrix: Matrix):
    """One file, which can be sent on."""
    text = page(matrix)
    assert not re.search(
        r"<link|<iframe|<img|fetch\(|import\(|XMLHttpRequest|(src|href)\s*=\s*[\"']?(https?:)?//", text
    )


def test_the_summary_has_the_counts_and_versions(matrix: Matrix, opened: str):
    """At the top, in words."""
    summary = html.unescape(re.search(r'<p id="summary"[^>]*>(.*?)</p>', opened, re.DOTALL)[1])
    counts = matrix.counts()
    assert f"{len(matrix.found):,} hand-overs" in summary
    assert f"{counts['shared']:,} shared" in summary
    assert "0 wrong" in summary
    for name, version in matrix.versions.items():
        assert f"{name} {version}" in summary


def test_every_pair_has_a_tile_with_its_proportion(matrix: Matrix, opened: str):
    """The tile says what was shared, copied and refused under copy=None."""
    tiles = re.findall(r'<button class="tile"[^>]*title="([^"]*)"', opened)
    assert len(tiles) == len(FRAMEWORKS) ** 2
    for source in FRAMEWORKS:
        for target in FRAMEWORKS:
            cells = [
                found.outcome
                for cell, found in matrix.found.items()
                if (cell.source, cell.target, cell.copy, cell.via) == (source, target, None, None)
            ]
            said = ", ".join(f"{cells.count(name)} {name}" for name in ("shared", "copied", "refused"))
            assert f"{source} to {target}: {said}" in tiles


def test_every_cell_of_the_chosen_pair_says_what_happened_and_why(opened: str):
    """Outcome, dtype and layout as data, and a sentence with the reason for whoever cannot see colours."""
    cells = re.findall(r'<td class="(\w+)"([^>]*data-layout[^>]*)>([^<]*)</td>', opened)
    assert cells
    for outcome, attributes, sign in cells:
        assert f'data-outcome="{outcome}"' in attributes
        assert sign == outcome[0].upper()
        assert re.search(r'aria-label="[^"]*copy=None\. Why: [^"]+"', attributes)


def test_the_pointer_brings_up_the_reason(opened: str):
    """A tooltip with pair, outcome, dtype, layout and reason."""
    attributes, text = re.search(r'<div id="tip"([^>]*)>(.*?)<script', opened, re.DOTALL).groups()
    assert "hidden" not in attributes
    text = html.unescape(re.sub(r"<[^>]*>", " ", text))
    for word in ("reversed", "copy=None", "Why:"):
        assert word in text


def test_the_legend_names_every_outcome(opened: str):
    """By letter and in words."""
    legend = html.unescape(re.search(r'<ul class="keys"[^>]*>(.*?)</ul>', opened, re.DOTALL)[1])
    for outcome in ("shared", "copied", "refused"):
        assert re.search(rf'class="swatch {outcome}">{outcome[0].upper()}<', legend)
