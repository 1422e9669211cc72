"""Every hand-over of the matrix does what the table of facts says, to the byte."""

from __future__ import annotations

import re

import pytest
from interop.cases import generate
from interop.expected import Case, Expected, expected

CASES = list(dict.fromkeys(generate()))


def test_the_matrix_is_large_enough():
    """At least 2,000 hand-overs, every layout in both directions, every outcome expected somewhere."""
    assert len(CASES) >= 2000
    assert len({case.id for case in CASES}) == len(CASES)
    assert {expected(case).outcome for case in CASES} == {"shared", "copied", "refused"}
    assert len({(case.direction, case.layout) for case in CASES}) == 28


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_hand_over(case: Case, hand_over, record_property):
    """Shared, copied or refused as the facts say; values, dtype and shape exact; writes seen by whom they should be."""
    want = expected(case)
    found = hand_over(case)
    record_property("hand-over", found["outcome"])
    assert found["outcome"] == want.outcome, found.get("text", "")
    assert not found.get("unrecorded")
    if want.outcome == "refused":
        check_refusal(found, want)
    else:
        check_result(found, want, case)


def check_refusal(found: dict, want: Expected) -> None:
    assert want.error in found["errors"], found["text"]
    assert re.search(want.reason, found["text"], re.IGNORECASE), found["text"]
    assert found["text"].startswith("[bridge."), found["text"]
    assert "fix:" in found["text"], found["text"]
    assert found["unharmed"]
    assert found["leases"] == 0


def check_result(found: dict, want: Expected, case: Case) -> None:
    assert found["dtype"]
    assert found["shape"]
    assert found["values"]
    assert found["unharmed"]
    assert found["updated"]
    assert found["receipts"] == 1
    assert found["said"] == want.outcome
    if case.layout == "empty":
        return  # nothing to see
    if case.direction == "in":
        assert found["result_sees_write"] == want.writable
        return
    # A copy belongs to the caller alone, who may write it wherever the framework lets them.
    if case.framework in ("numpy", "torch") and not case.readonly:
        assert found["writable"] == (want.writable or want.outcome == "copied")
        assert found["source_sees_write"] == want.writable
    if case.framework == "numpy" and want.outcome == "shared":
        assert found["writable"] == want.writable
    # The engine never writes memory that it imported: there an update moves the array.
    assert found["result_sees_update"] == (want.writable and not case.state.startswith("imported"))
    assert found["result_intact"]
    assert found["leases"] == (1 if want.outcome == "shared" else 0)
