"""Plans and receipts: the same words, nothing done for the first, nothing kept alive by the second."""

from __future__ import annotations

import gc
import html
import threading
import weakref
from html.parser import HTMLParser

import numpy as np
import pytest
from exchange.arrays import address, aligned, counting, make

import bridge
from bridge.core.errors import UnknownTarget
from bridge.core.registry import registry


def test_a_plan_reads_like_a_sentence():
    """Route, outcome, array, bytes in the first line; why below."""
    x = bridge.arange(12, dtype=bridge.float32).reshape(3, 4)
    assert str(bridge.explain("torch", x)) == (
        "bridge -> torch: shared by 'exchange', float32[3, 4], 48 B\n  why:  both sides can write"
    )
    assert str(bridge.explain("torch", x[::-1])) == (
        "bridge -> torch: copied by 'exchange', float32[3, 4], 48 B\n"
        "  why:  axis 0 runs backwards and torch has no negative strides"
    )
    refused = bridge.explain("torch", x[::-1], copy=False)
    assert str(refused).splitlines()[0] == "bridge -> torch: refused, float32[3, 4], 48 B"
    assert str(refused).splitlines()[-1] == "  fix:  copy=None to allow one copy (48 B)"


def test_a_plan_can_be_asked():
    plan = bridge.explain("jax", aligned((4,), shift=4))
    assert (plan.shared, plan.copied, plan.refused) == (False, True, False)
    assert (plan.source, plan.target, plan.rule, plan.route) == ("numpy", "jax", "alignment", "direct")
    assert plan.bytes_copied == plan.nbytes == 16
    assert bridge.explain("jax", aligned((4,))).bytes_copied == 0


def test_explaining_does_nothing():
    """No lease, no receipt, no shortcut; a second look says the same."""
    x = bridge.ones((4,))
    with bridge.record() as log:
        first = bridge.explain("jax", x)
        assert bridge.explain("jax", x) == first
    assert len(log) == 0
    assert bridge.leases(x) == []


@pytest.mark.parametrize("target", ["numpy", "torch", "jax", "tensorflow", "bridge"])
@pytest.mark.parametrize("source", ["numpy", "torch", "jax", "tensorflow", "bridge"])
def test_the_plan_is_what_happens(source: str, target: str):
    """For every pair and copy mode: the receipt repeats the plan."""
    for copy in (None, False, True):
        array = make(source)
        plan = bridge.explain(target, array, copy=copy)
        with bridge.record() as log:
            if plan.refused:
                with pytest.raises(bridge.CopyRequired, match="cannot be shared"):
                    bridge.to(target, array, copy=copy)
                assert len(log) == 0
                continue
            result = bridge.to(target, array, copy=copy)
        (receipt,) = log
        assert (receipt.outcome, receipt.route, receipt.why) == (plan.outcome, plan.route, plan.why)
        assert (address(result) == address(array)) == plan.shared


def test_the_plan_of_a_nest_is_a_table():
    plans = bridge.explain("torch", {"a": counting((3,)), "b": [counting((4,))[::-1]]})
    assert [plan.outcome for plan in plans] == ["shared", "copied"]
    assert "2 conversions: 1 shared (12 B), 1 copied (16 B)" in str(plans)
    with pytest.raises(UnknownTarget, match="known"):
        bridge.explain("nobody", counting((3,)))


def test_a_receipt_as_a_table():
    """A row for each conversion, in order, and the sums."""
    x = counting((3, 4))
    with bridge.record() as log:
        bridge.to("torch", x)
        bridge.to("torch", x[::-1])
        bridge.to("numpy", x, dtype="float16")
    lines = str(log).splitlines()
    assert lines[0].split() == ["from", "to", "array", "route", "outcome", "bytes", "why"]
    assert set(lines[1]) == {"-", " "}
    assert lines[2].split()[:7] == ["numpy", "torch", "float32[3,", "4]", "numpy", "shared", "48"]
    assert "runs backwards" in lines[3]
    assert "float32[3, 4] as float16" in lines[4]
    assert lines[5] == "3 conversions: 1 shared (48 B), 2 copied (96 B)"
    assert log.bytes_copied == 96
    assert log.bytes_shared == 48
    assert len(log) == 3
    assert log[1].copied
    assert repr(log) == "<bridge.Log: 3 conversions: 1 shared (48 B), 2 copied (96 B)>"


def test_shortcuts_are_recorded_too():
    """A pair that was learned before gives receipts as any other."""
    x = counting((4,))
    for _ in range(3):
        bridge.from_(x)
    with bridge.record() as log:
        bridge.from_(x)
        bridge.to("torch", x)
    assert [(receipt.source, receipt.target) for receipt in log] == [("numpy", "bridge"), ("numpy", "torch")]


def test_recorders_nest_and_end():
    """Each sees what happens while it is open; afterwards the shortcuts are back."""
    x = counting((4,))
    bridge.from_(x)
    with bridge.record() as outer:
        bridge.from_(x)
        with bridge.record() as inner:
            bridge.from_(x)
    bridge.from_(x)
    assert (len(outer), len(inner)) == (2, 1)
    assert not registry.watched
    assert registry.row("bridge")[np.ndarray]


def test_a_recorder_ends_with_an_error():
    with pytest.raises(ZeroDivisionError, match="division"), bridge.record():
        _ = 1 / 0
    assert not registry.watched


def test_other_threads_are_recorded():
    with bridge.record() as log:
        threads = [threading.Thread(target=bridge.from_, args=(counting((4,)),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(log) == 8


def test_a_receipt_keeps_no_array_alive():
    class Tracked(np.ndarray):
        pass

    x = counting((4,)).view(Tracked)
    gone = weakref.ref(x)
    with bridge.record() as log:
        bridge.to("torch", x)
    del x
    gc.collect()
    assert gone() is None
    assert len(log) == 1


class Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.outside: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attributes: list) -> None:
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th")
        self.outside += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1].append(data)
            self.inside = False


def test_the_page_stands_alone():
    """One row for each receipt, markup escaped, nothing loaded from elsewhere."""

    class Odd(np.ndarray):
        pass

    Odd.__qualname__ = "<script>"
    with bridge.record() as log:
        bridge.to("torch", counting((3, 4)))
        bridge.to("jax", counting((3, 4))[::-1])
    page = log.html()
    cells = Cells()
    cells.feed(page)
    assert [row[0] for row in cells.rows] == ["from", "numpy", "numpy"]
    assert [row[4] for row in cells.rows[1:]] == ["shared", "copied"]
    assert cells.outside == []
    assert "<script" not in page
    assert html.escape("2 conversions: 1 shared (48 B), 1 copied (48 B)") in page
