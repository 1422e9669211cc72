"""Every cell of the matrix of pairs is what the table of facts says, and what was seen is what bridge said of it."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from interop.pairs import FRAMEWORKS, wanted

from bridge.cli.runner import Matrix, run_cells
from bridge.cli.samples import LAYOUTS

PAIRS = list(product(FRAMEWORKS, repeat=2))


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    """All hand-overs, made once, in a process of their own: what `python -m bridge matrix` runs."""
    return run_cells(list(FRAMEWORKS))


def test_the_matrix_is_large_enough(matrix: Matrix, record_property):
    """At least 10,000 hand-overs of all pairs, none left out, none wrong, none that killed the process."""
    record_property("hand-overs", dict(matrix.counts()))
    assert len(matrix.found) >= 10_000
    assert matrix.missing == 0
    assert {(cell.source, cell.target) for cell in matrix.found} == set(PAIRS)
    assert [f"{cell}: {found.why}" for cell, found in matrix.found.items() if found.outcome == "wrong"] == []
    assert [f"{cell}: {found.why}" for cell, found in matrix.found.items() if found.outcome == "crashed"] == []


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_pair(matrix: Matrix, source: str, target: str):
    """Shared wherever the facts allow it, copied where they do not, refused with the class of error that fits."""
    disagreements, expected = [], Counter()
    for cell, found in matrix.found.items():
        if (cell.source, cell.target) != (source, target):
            continue
        want = wanted(cell, LAYOUTS[cell.layout])
        expected[want.outcome] += 1
        if (found.outcome, found.error) != want:
            disagreements.append(f"{cell}: {found.outcome} by rule {found.rule!r} ({found.why}), the facts say {want}")
    assert disagreements == []
    assert set(expected) == {"shared", "copied", "refused"}  # a pair that knows one answer only would show nothing
