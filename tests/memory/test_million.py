"""A million conversions in each direction leave no lease and no memory behind."""

from __future__ import annotations

import json

import pytest
from isolated import run_code
from memory import million

# Name of a count -> how much of it a quarter of the conversions may leave: caches of the frameworks fill slowly.
LIMITS = {
    "engine bytes": 0,
    "leases": 0,
    "references": 0,
    "objects": 5,
    "blocks": 50,  # of the interpreter: no more than one in a hundred conversions
    "resident bytes": 512 << 10,  # where the smallest leak of 120,000 conversions is 1.9 MB
}


@pytest.fixture(scope="module")
def left() -> dict[str, dict[str, dict[str, int]]]:
    """What the program reports: framework and way -> direction -> count."""
    done = run_code("from memory import million; million.main()", timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", ["shared", "copied", "by doors"])
@pytest.mark.parametrize("framework", million.TIMES)
def test_nothing_is_left(left, framework, way):
    """Shared on the shortcut, copied, and through each door: engine bytes, leases and references exactly as before."""
    reports = left[f"{framework} {way}"]
    beyond = {
        (direction, name): count
        for direction, report in reports.items()
        for name, count in report.items()
        if count > LIMITS[name]
    }
    assert beyond == {}


def test_the_counts_are_what_they_say(left):
    """A million out and a million in, and every framework through several doors both ways."""
    assert sum(million.TIMES.values()) == 1_000_000
    for framework in million.TIMES:
        assert set(left[f"{framework} shared"]) == {"out", "in"}
        ways = left[f"{framework} by doors"]
        assert sum(way.startswith("out by") for way in ways) >= 4
        assert sum(way.startswith("in by") for way in ways) >= 3
