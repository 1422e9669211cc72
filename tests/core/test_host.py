"""Host ops: Python functions over NumPy arrays in the lazy graph, from the call to the last reference."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from core.values import EVERY, draw, to_bridge
from isolated import run_code

import bridge
from bridge.core._native import host as native_host
from bridge.core._native import is_evaluated, set_kernel_log
from bridge.core.ops.declare import PRIMITIVES
from bridge.core.ops.host import Call


def node(function: Callable[..., Any], *operands: bridge.array, results: Any = None) -> Any:
    """The lazy result of a function; like the first operand if nothing else is said."""
    results = results or (operands[0].dtype, operands[0].shape)
    return native_host(Call("bridge.test", function, {}, results), operands, results, None)


def spec(*shape: int) -> tuple[bridge.Dtype, tuple[int, ...]]:
    return bridge.float32, shape


class Counted:
    """A function that counts its runs."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.runs = 0

    def __call__(self, *operands: Any) -> Any:
        self.runs += 1
        return self.function(*operands)


class Watched(np.ndarray):
    """An array that owns its memory and can be watched by a weak reference."""

    @staticmethod
    def full(size: int, value: float) -> Watched:
        made = np.ndarray.__new__(Watched, size, np.float32)
        made[:] = value
        return made


def test_nothing_runs_before_a_value_is_needed():
    """The function runs once, at the first look, however often the array is read."""
    twice = Counted(lambda x: 2 * x)
    y = node(twice, bridge.ones((3,)))
    z = y + 1
    assert twice.runs == 0
    assert not is_evaluated(y)
    assert z.tolist() == [3, 3, 3]
    assert y.tolist() == [2, 2, 2]
    assert twice.runs == 1


@pytest.mark.parametrize("name", EVERY)
def test_every_dtype_goes_through(name: str):
    """Operands arrive in NumPy's dtype of the same bytes, and results come back as they were promised."""
    a = draw(name, (3, 4))
    seen: list[np.dtype[Any]] = []

    def turn(x: Any) -> Any:
        seen.append(x.dtype)
        return x[::-1]

    got = node(turn, to_bridge(a))
    assert seen == []
    np.testing.assert_array_equal(np.asarray(got), a[::-1])
    assert (got.dtype.name, seen) == (name, [a.dtype])


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3, 4, 5, 6)])
def test_every_shape_goes_through(shape: tuple[int, ...]):
    """Numbers, nothing, and arrays of many axes."""
    a = draw("float32", shape)
    np.testing.assert_array_equal(np.asarray(node(lambda x: x + 1, to_bridge(a))), a + 1)


def test_operands_are_views_that_cannot_write():
    """The function sees the engine's own bytes in their strides, read-only."""
    a = bridge.arange(12).reshape(3, 4) + 0
    bridge.eval(a)
    seen: list[Any] = []

    def look(x: Any) -> Any:
        seen.append((x.__array_interface__["data"], x.strides))
        return x

    bridge.eval(node(look, a), node(look, a.T[::-1]))
    (first, dense), (second, turned) = seen
    assert first[0] == np.asarray(a).__array_interface__["data"][0]
    assert (second[0], turned) == (first[0] + 12, (-4, 16))
    assert dense == (16, 4)
    assert first[1]
    assert second[1]


def test_memory_that_others_write_is_copied():
    """Of an array that NumPy can write the function gets a private copy, when it is called."""
    shared = np.ones(3, np.float32)
    a = bridge.asarray(shared)
    seen: list[Any] = []

    def keep(x: Any) -> Any:
        seen.append(x)
        return x * 2

    y = node(keep, a)
    assert len(seen) == 1
    assert not np.shares_memory(seen[0], shared)
    shared[:] = 7
    assert y.tolist() == [2, 2, 2]


def test_results_are_plain_arrays():
    """The result is memory of the engine's own: NumPy gets a writable view of it, and nothing else holds it."""
    kept: list[Any] = []

    def make(x: Any) -> Any:
        kept.append(x + 1)
        return kept[0]

    y = node(make, bridge.ones((2, 2)))
    view = np.asarray(y)
    assert view.flags.writeable
    assert not np.shares_memory(view, kept[0])
    view[0, 0] = 9
    assert y.tolist() == [[9, 2], [2, 2]]


def test_views_outlive_the_arrays():
    """A view that the function keeps stays valid when the array is gone, and the engine does not write its bytes."""
    kept: list[Any] = []

    def keep(x: Any) -> Any:
        kept.append(x)
        return x

    a = bridge.ones((1000,)) * 3
    y = node(keep, a * 2)
    bridge.eval(y)
    del a, y
    gc.collect()
    [bridge.eval(bridge.ones((1000,)) * k) for k in range(5)]
    assert (kept[0] == 6).all()


def test_a_kept_view_forbids_nothing_after_it_is_gone():
    """With the function's views gone, the operand can be written and exported as before."""
    a = bridge.ones((4,)) * 2
    assert node(lambda x: x, a).tolist() == [2, 2, 2, 2]
    assert bridge.leases(a) == []
    assert np.asarray(a).flags.writeable


def test_several_results_come_from_one_run():
    """Each result is lazy, they are computed together once, and evaluated one by one or all at once."""
    for order in ([0, 1, 2], [2, 0, 1]):
        split = Counted(lambda x: (x[:1], x[1:3] * 2, x.sum()))
        parts = node(split, bridge.arange(4, dtype=bridge.float32), results=[spec(1), spec(2), spec()])
        assert split.runs == 0
        for k in order:
            assert parts[k].tolist() == [[0], [2, 4], 6][k]
        assert split.runs == 1


def test_results_that_nobody_wants_are_dropped():
    """The run's other results are freed with their arrays, and the function with the last of them."""
    kept: list[Any] = []

    def make(x: Any) -> Any:
        both = [Watched.full(1000, k) for k in range(2)]
        kept.extend(weakref.ref(one) for one in both)
        return both

    function = Counted(make)
    alive = weakref.ref(function)
    first, second = node(function, bridge.ones((1,)), results=[spec(1000), spec(1000)])
    del function
    assert first.sum().item() == 0
    del second
    gc.collect()
    assert [one() for one in kept] == [None, None]
    assert alive() is None


def test_taken_results_are_freed():
    """A result that has been taken does not wait for its siblings."""
    kept: list[Any] = []

    def make(x: Any) -> Any:
        both = [Watched.full(1000, k) for k in range(2)]
        kept.extend(weakref.ref(one) for one in both)
        return both

    first, second = node(make, bridge.ones((1,)), results=[spec(1000), spec(1000)])
    bridge.eval(first)
    gc.collect()
    assert kept[0]() is None
    assert kept[1]() is not None
    assert second.sum().item() == 1000
    gc.collect()
    assert kept[1]() is None


def test_part_of_a_result_used_twice():
    """Results that are consumed inside the graph and by their handles agree."""
    parts = node(lambda x: (x + 1, x + 2), bridge.zeros((3,)), results=[spec(3), spec(3)])
    total = parts[0] * parts[1] + parts[0]
    assert total.tolist() == [3, 3, 3]
    assert parts[0].tolist() == [1, 1, 1]
    assert parts[1].tolist() == [2, 2, 2]


def test_errors_come_again():
    """What the function raises comes out each time, nothing is half done, and other arrays are usable."""
    calls: list[int] = []

    def fail(x: Any) -> Any:
        calls.append(1)
        raise LookupError("no such thing")

    a = bridge.ones((3,)) * 2
    good, bad = node(lambda x: x * 3, a), node(fail, a)
    both = good + bad
    for _ in range(2):
        with pytest.raises(LookupError, match="no such thing"):
            bridge.eval(both)
    assert len(calls) == 2
    assert not is_evaluated(bad)
    assert good.tolist() == [6, 6, 6]
    assert a.tolist() == [2, 2, 2]
    a[0] = 5
    assert a.tolist() == [5, 2, 2]


def test_errors_after_a_part_was_taken():
    """A result taken in an evaluation that fails later is there in the next one."""
    fails = [True]

    def perhaps(x: Any) -> Any:
        if fails:
            raise LookupError("not yet")
        return x

    runs = Counted(lambda x: (x + 1, x + 2))
    first, second = node(runs, bridge.zeros((2,)), results=[spec(2), spec(2)])
    late = node(perhaps, first * 1)
    with pytest.raises(LookupError, match="not yet"):
        bridge.eval(late)
    with pytest.raises(LookupError, match="not yet"):
        bridge.eval(second, late)
    fails.clear()
    assert late.tolist() == [1, 1]
    assert first.tolist() == [1, 1]
    assert second.tolist() == [2, 2]
    assert runs.runs <= 2


def test_keyboard_interrupt():
    """Ctrl-C inside the function comes out as it is and leaves everything usable."""
    armed = [True]

    def stopped(x: Any) -> Any:
        if armed:
            raise KeyboardInterrupt("stop")
        return x + 1

    y = node(stopped, bridge.ones((2,))) * 2
    with pytest.raises(KeyboardInterrupt, match="stop"):
        bridge.eval(y)
    armed.clear()
    assert y.tolist() == [4, 4]


def test_broken_promises():
    """A function that gives another shape, another number of results or no array raises; nothing is stored."""
    with pytest.raises(bridge.BridgeError, match="another shape than it had promised"):
        bridge.eval(node(lambda x: x[:1], bridge.ones((3,))))
    with pytest.raises(ValueError, match=r"zip\(\)|shorter|longer"):
        bridge.eval(node(lambda x: (x,), bridge.ones((3,)), results=[spec(3), spec(3)])[0])
    raw = native_host(lambda x: b"123", (bridge.ones((3,)),), spec(3), None)
    with pytest.raises(ValueError, match="another number of bytes"):
        bridge.eval(raw)
    raw = native_host(lambda x: [b"", b""], (bridge.ones((3,)),), [spec(0)], None)
    with pytest.raises(ValueError, match="another number of results"):
        bridge.eval(raw[0])
    raw = native_host(lambda x: 3, (bridge.ones((3,)),), spec(3), None)
    with pytest.raises(TypeError, match="bytes-like"):
        bridge.eval(raw)


def test_asking_for_what_is_being_computed():
    """Code that runs during an evaluation and asks for an array of it gets an error; the evaluation goes on."""
    found: list[str] = []
    handles: dict[str, bridge.array] = {}

    def curious(x: Any) -> Any:
        for name in ("itself", "later", "sibling"):
            try:
                bridge.eval(handles[name])
            except bridge.BridgeError as error:
                found.append(str(error))
        return x + handles["before"].item()

    a = bridge.ones((2,)) * 3
    handles["before"] = bridge.ones(()) * 4
    handles["itself"] = node(curious, a)
    handles["sibling"] = bridge.exp(handles["itself"])
    handles["later"] = handles["itself"] + 1
    assert handles["later"].tolist() == [8, 8]
    assert len(found) == 3
    assert "asked for by code that runs while it is computed" in found[0]
    assert handles["itself"].tolist() == [7, 7]


def test_finalisers_may_evaluate():
    """A finaliser that runs during an evaluation evaluates other arrays, and cannot wait for its own evaluation."""
    results: list[Any] = []

    class Last:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            results.append((bridge.ones((3,)) * 2).sum().item())
            try:
                waited[0].item()
            except bridge.BridgeError as error:
                results.append(type(error))

    def collect(x: Any) -> Any:
        Last()
        gc.collect()
        return x

    waited = [node(collect, bridge.ones(()))]
    assert waited[0].item() == 1
    assert results == [6, bridge.BridgeError]


def test_functions_may_evaluate():
    """A function can compute with other arrays of the engine, which is not locked."""
    inner = node(lambda x: x + 1, bridge.zeros((2,)))
    outer = node(lambda x: x + np.asarray(inner), bridge.ones((2,)))
    assert outer.tolist() == [2, 2]


def test_constants_are_not_held():
    """A scalar that a function is given is not in the way of other code that uses the same number."""
    two = bridge.array(2.0)
    y = node(lambda x: x + np.asarray(bridge.ones(()) * 2.0), two)
    assert y.item() == 4


def test_threads_share_one_run():
    """Two threads that need one result wait for one run of the function; it runs on a thread that asked."""
    entered, go = threading.Event(), threading.Event()

    def slow(x: Any) -> Any:
        entered.set()
        assert go.wait(10)
        return x, x + 1

    function = Counted(slow)
    first, second = node(function, bridge.zeros((2,)), results=[spec(2), spec(2)])
    got: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda: got.update(first=first.tolist())),
        threading.Thread(target=lambda: got.update(second=(second * 1).tolist())),
    ]
    threads[0].start()
    assert entered.wait(10)
    threads[1].start()
    assert (bridge.ones((2,)) + 1).tolist() == [2, 2]
    go.set()
    for thread in threads:
        thread.join(60)
    assert got == {"first": [0, 0], "second": [1, 1]}
    assert function.runs == 1


def test_a_writable_view_of_the_operand():
    """The function cannot wait for itself to have read its operand: a writable view of that is refused meanwhile."""
    a = bridge.ones((2,)) * 3
    bridge.eval(a)
    found: list[Any] = []

    def curious(x: Any) -> Any:
        found.append(a.tolist())
        with pytest.raises(bridge.BridgeError, match="asked for by code that runs while it is computed"):
            np.asarray(a)
        a[0] = 7
        return x

    y = node(curious, a)
    assert y.tolist() == [3, 3]
    assert found == [[3, 3]]
    assert a.tolist() == [7, 3]


def test_threads_do_not_wait_for_each_other():
    """Two functions on two threads that ask for each other's array: one of them gets an error, and both go on."""
    entered = [threading.Event(), threading.Event()]
    errors: list[str] = []
    arrays: list[bridge.array] = []

    def make(k: int) -> Callable[..., Any]:
        def ask(x: Any) -> Any:
            entered[k].set()
            assert entered[1 - k].wait(10)
            try:
                bridge.eval(arrays[1 - k])
            except bridge.BridgeError as error:
                errors.append(str(error))
            return x + k

        return ask

    arrays.extend(node(make(k), bridge.zeros(())) for k in range(2))
    threads = [threading.Thread(target=bridge.eval, args=(one,)) for one in arrays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert [one.item() for one in arrays] == [0, 1]
    assert len(errors) == 1
    assert "asked for by code that runs while it is computed" in errors[0]


def test_long_chains():
    """100,000 host ops in a row are built, evaluated and freed without a deep stack."""
    code = """
import bridge, numpy as np
from bridge.core._native import host
function = lambda x: np.add(x, 1)
results = (bridge.int32, ())
for evaluated in (True, False):
    a = bridge.zeros((), bridge.int32)
    for _ in range(100_000):
        a = host(function, (a,), results, None)
    if evaluated:
        assert a.item() == 100_000
    del a
pair = [results, results]
for evaluated in (True, False):
    a = bridge.zeros((), bridge.int32)
    for _ in range(30_000):
        a, b = host(lambda x: (np.add(x, 1), x), (a,), pair, None)
    if evaluated:
        assert (a.item(), b.item()) == (30_000, 29_999)
    del a, b
print("done")
"""
    done = run_code(code)
    assert done.stdout.strip() == "done", done.stderr


def test_the_log_names_the_function():
    """The log of kernels shows a host op with its operands."""
    lines: list[str] = []
    set_kernel_log(lines.append)
    try:
        bridge.eval(bridge.linalg.inv(bridge.linalg.qr(bridge.eye(2)).R))
    finally:
        set_kernel_log(None)
    assert "kernel host bridge.linalg.qr float32[2, 2]" in "\n".join(lines)
    assert "kernel host bridge.linalg.inv float32[2, 2] -> float32[2, 2]" in "\n".join(lines)


def test_mixed_graphs():
    """Host ops stand between fused kernels, views and products; dead operands are given back on the way."""
    a = np.random.default_rng(1).normal(size=(4, 4)) + 4 * np.eye(4)
    x = to_bridge(a)
    y = bridge.exp(bridge.linalg.inv(x.T * 2)[::-1] @ x).sum(0) + 1
    want = np.exp(np.linalg.inv(a.T * 2)[::-1] @ a).sum(0) + 1
    np.testing.assert_allclose(np.asarray(y), want, rtol=1e-12)


def test_declarations():
    """A host op says what it accepts, carries its header, and batches."""
    ops = [one for one in PRIMITIVES.values() if one.kind == "host"]
    assert {"inv", "svd", "complex_transform"} <= {one.name for one in ops}
    for one in ops:
        assert one.accepts
        assert one.header is not None
        assert one.batching is not None
        assert repr(one.call) == f"<bridge host primitive '{one.name}'>"
