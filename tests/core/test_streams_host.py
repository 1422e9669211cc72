"""Python functions in graphs over several streams: what they may ask of the engine while they run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from memory.threads import often, run_all

import bridge
from bridge.core._native import host as native_host
from bridge.core.ops.host import Call

SIZE = 1 << 14


@pytest.fixture
def two():
    return bridge.new_stream(bridge.cpu), bridge.new_stream(bridge.cpu)


def node(function: Callable[..., Any], a: bridge.array, stream: Any) -> bridge.array:
    """The lazy result of a function, like its operand, on a stream."""
    call = Call("bridge.test", function, {}, (a.dtype, a.shape))
    return native_host(call, (a,), (a.dtype, a.shape), stream)


def test_two_results_on_two_streams_are_computed_at_the_same_time(two):
    """Each function waits until the other is inside, too: whether they are asked for alone, or by what joins them."""
    x, z = bridge.ones((4,)) + 0, bridge.ones((4,)) + 0
    both = threading.Barrier(2)

    def meet(a):
        both.wait(30)
        return a

    def parts():
        return [node(meet, a, stream) for a, stream in zip((x, z), two, strict=True)]

    bridge.eval(x, z)
    bridge.eval(parts())
    bridge.add(*parts()).tolist()
    for part in (ends := parts()):
        bridge.async_eval(part)
    bridge.eval(ends)


def test_functions_on_two_streams_that_evaluate_on_each_others(two):
    """Each needs a kernel of the other's stream while that one's thread is inside a function, too."""
    s, t = two
    x = bridge.ones((SIZE,)) + 0
    both = threading.Barrier(2)

    def function(mine, other):
        def run(a):
            both.wait(30)  # both are inside
            inner = bridge.sin(bridge.cos(bridge.array(a), stream=mine), stream=other)
            return np.asarray(bridge.add(inner, bridge.exp(inner * 0, stream=mine), stream=other))

        return run

    for _ in range(20):
        y = bridge.add(node(function(s, t), x, s), node(function(t, s), x * 1, t))
        assert y[7].item() == pytest.approx(2 * (np.sin(np.cos(1)) + 1), rel=1e-5)


def test_a_function_that_asks_for_what_it_is_part_of(two):
    """It would wait for itself, on whatever thread: an error says so, and the arrays can be had afterwards."""
    s, t = two
    found: list[str] = []

    def function(a):
        if not found:
            try:
                whole.tolist()
            except bridge.BridgeError as error:
                found.append(str(error))
        return a * 2

    x = bridge.ones((4,)) + 0
    part = node(function, x, s)
    whole = bridge.add(part, bridge.sin(x, stream=t), stream=t)
    assert whole.tolist() == pytest.approx([2 + np.sin(1)] * 4)
    assert "asked for by code that runs while it is computed" in found[0]


def test_two_functions_that_ask_for_each_others_evaluation(two):
    """Two evaluations on two threads, each inside a function that needs the other's end: one is told, none hangs."""
    s, t = two
    x, z = bridge.ones((4,)) + 0, bridge.ones((4,)) + 0
    bridge.eval(x, z)  # or one evaluation would wait for the other's
    inside = threading.Barrier(2)
    told = []

    def function(name):
        def run(a):
            inside.wait(30)
            try:
                ends[1 - name].tolist()
            except bridge.BridgeError as error:
                told.append(str(error))
            return a

        return run

    parts = [node(function(0), x, s), node(function(1), z, t)]
    ends = [bridge.add(part, bridge.exp(x * 0, stream=t), stream=s) for part in parts]
    run_all(*[lambda end=end: bridge.eval(end) for end in ends])
    assert [end.tolist() for end in ends] == [[2.0] * 4] * 2
    assert 1 <= len(told) <= 2
    assert "asked for by code that runs while it is computed" in told[0]


def test_synchronize_inside_an_evaluation(two):
    """It would wait for itself."""
    s, t = two

    def function(a):
        bridge.synchronize(s)
        return a

    bad = bridge.add(node(function, bridge.ones((4,)) + 0, s), bridge.sin(bridge.ones((4,)), stream=t), stream=t)
    with pytest.raises(bridge.BridgeError, match="would wait for itself"):
        bad.tolist()
    bridge.async_eval(bad)
    bridge.synchronize(s)
    with pytest.raises(bridge.BridgeError, match="would wait for itself"):
        bad.tolist()


def test_an_error_of_one_of_many(two):
    """With functions that fail and kernels that do not on both streams at once, the error is one of those raised."""
    s, t = two
    x = bridge.ones((SIZE,)) + 0

    def fails(a):
        raise LookupError("not found")

    with often():
        for _ in range(30):
            ends = [node(fails, x, s), bridge.exp(x, stream=t), node(fails, x * 2, t), bridge.sin(x, stream=s)]
            with pytest.raises(LookupError, match="not found"):
                bridge.eval(ends)
            assert ends[1][0].item() == pytest.approx(np.e)
            assert ends[3][0].item() == pytest.approx(np.sin(1))
            with pytest.raises(LookupError, match="not found"):
                ends[2].tolist()


def test_functions_run_where_the_interpreter_can_see_them(two):
    """On a thread of the interpreter that no signal reaches, or in the one that asks."""
    import signal

    seen = {}

    def function(name):
        def run(a):
            seen[name] = threading.get_ident(), signal.pthread_sigmask(signal.SIG_BLOCK, [])
            return a

        return run

    a = node(function("background"), bridge.ones((4,)) + 0, two[0])
    bridge.async_eval(a)
    bridge.synchronize(two[0])
    b = node(function("here"), bridge.ones((4,)) + 0, two[0])
    bridge.eval(b)
    assert seen["here"][0] == threading.get_ident() != seen["background"][0]
    assert signal.SIGINT in seen["background"][1]
