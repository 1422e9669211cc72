"""Program order is per thread; what a thread reads is never half of what another writes; nobody waits with the GIL."""

from __future__ import annotations

import ctypes
import gc
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dlpack import capsules
from isolated import run_code
from memory.threads import SLOW, Meanwhile, often, run_all, slow
from memory.views import fresh

import bridge

LARGE = 1 << 20
TRIES = 50  # to catch another thread in the middle of a kernel


def test_an_engine_write_waits_for_those_who_read():
    """One thread updates a viewed array in place while another reads it: every result is of one moment."""
    a = bridge.full((LARGE,), 0.0)
    view = np.asarray(a)
    assert view.flags.writeable
    stop = threading.Event()

    def write():
        for number in range(1, 40):
            a[...] = float(number)
        stop.set()

    def read():
        while not stop.is_set():
            result = np.array(bridge.exp(a * 0.001) + a)
            assert result.min() == result.max()

    run_all(write, read, read)
    assert view[0] == view[-1] == a[5].item() == 39.0


def test_one_pending_array_evaluated_by_many():
    """Everybody gets the value, whoever computes it."""
    for _ in range(20):
        a = bridge.arange(LARGE // 4, dtype=bridge.float32)
        b = a * 2 + 1
        results = []
        run_all(*[lambda b=b, results=results: results.append(b[LARGE // 8].item()) for _ in range(4)])
        assert results == [2.0 * (LARGE // 8) + 1] * 4


def test_graphs_that_share_nodes_evaluated_at_once():
    """Each thread asks for another end of one graph; what they share is computed for all."""
    for _ in range(10):
        shared = bridge.sin(bridge.arange(LARGE // 4, dtype=bridge.float32)) * 0 + 1
        ends = [shared * i + bridge.exp(shared * 0) for i in range(4)]
        results = {}

        def work(i, ends=ends, results=results):
            results[i] = float(np.asarray(ends[i])[-1])

        run_all(*[lambda i=i, work=work: work(i) for i in range(4)])
        assert results == {i: i + 1.0 for i in range(4)}


def test_views_and_updates_at_once():
    """Taking views, dropping them, updating and computing from many threads: nothing tears, nothing leaks."""
    a = fresh(1000)
    b = fresh(1000)

    def views():
        for _ in range(300):
            assert np.asarray(a).shape == (1000,)

    def updates():
        for _ in range(300):
            b[0] = 1.0

    def computes():
        for _ in range(300):
            assert (a + b).shape == (1000,)
            bridge.eval(a * b)

    run_all(views, views, updates, computes, computes)
    assert bridge.leases(a) == bridge.leases(b) == []


def test_everybody_updates_one_array():
    """In place and out of place, with views that come and go: what the engine reads is of one update."""
    a = bridge.full((4096,), 0.0)
    bridge.eval(a)

    def update(value):
        for _ in range(200):
            a[...] = value

    def view():
        for _ in range(200):
            assert len(set(bridge.array(a).tolist())) == 1  # NumPy itself would read while the engine writes
            np.asarray(a)

    with often():
        run_all(lambda: update(1.0), lambda: update(2.0), view, view)
    assert a[0].item() in (1.0, 2.0)
    assert bridge.leases(a) == []


# ------------------------------------------------------------------------------------------- who waits lets the GIL go


def test_an_evaluation_lets_others_run():
    """Another thread takes a thousand steps before the evaluation returns; with the GIL held it would take none."""
    steps = []
    for _ in range(TRIES):
        with Meanwhile(lambda: steps.extend(range(1000))) as other:
            bridge.eval(slow(bridge.ones((SLOW,))))
        if other.ran:
            break
    assert other.ran
    assert len(steps) >= 1000


@pytest.mark.parametrize("export", [np.asarray, memoryview, np.from_dlpack, lambda a: bridge.to("torch", a)])
def test_an_export_of_a_pending_array_lets_others_run(export):
    """The bytes are computed without the GIL, whichever way they are asked for."""
    for _ in range(TRIES):
        a = slow(bridge.ones((SLOW,)))
        with Meanwhile(lambda: None) as other:
            export(a)
        if other.ran:
            break
    assert other.ran


def test_a_thread_that_needs_what_another_computes_lets_others_run():
    """It waits for the other's result without the GIL: three threads, one array, and none is stuck."""
    for _ in range(10):
        a = slow(bridge.ones((SLOW,)))
        b = a + 1
        with Meanwhile(lambda b=b: bridge.eval(b)):
            bridge.eval(a)
        assert 1.0 < b[0].item() < 2.0


def test_an_owner_that_waits_for_another_thread_when_it_is_dropped():
    """The evaluation drops the last use of imported memory; its owner joins a thread that waits for this evaluation."""
    code = """
from memory.threads import Meanwhile, slow, SLOW
import threading
import numpy as np, bridge

class Owner(bytearray):
    def __del__(self):
        thread.join(30)
        print("joined" if not thread.is_alive() else "still waits")

a = slow(bridge.from_(np.frombuffer(Owner(4 * SLOW), np.float32), readonly=True))
thread = threading.Thread(target=lambda: bridge.eval(a + 1))
with Meanwhile(thread.start):
    bridge.eval(a)
"""
    done = run_code(code)
    assert (done.returncode, done.stdout) == (0, "joined\n"), done.stderr


# ----------------------------------------------------------------------------- what changes while an evaluation runs


def test_the_array_is_updated_while_its_view_is_being_granted():
    """np.asarray computes the pending readers first; an update meanwhile gives the array other bytes, not the view."""
    code = """
from memory.threads import Meanwhile, slow, SLOW
import numpy as np, bridge

for _ in range(20):
    a = bridge.full((SLOW,), 1.0)
    bridge.eval(a)
    reader = slow(a)

    def update():
        global a
        a += 1.0

    with Meanwhile(update) as other:
        view = np.asarray(a)
    assert view[0] == view[-1] and view[0] in (1.0, 2.0), view
    assert a[0].item() == 2.0
    del view, reader
    assert bridge.leases(a) == []
print("done")
"""
    done = run_code(code)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_frozen_view_is_granted_while_a_writable_one_is_being_granted():
    """Never both: what relies on nobody writing is not written through the other."""
    for _ in range(10):
        a = bridge.full((SLOW,), 1.0)
        bridge.eval(a)
        reader = slow(a)
        frozen = []
        with Meanwhile(lambda a=a, frozen=frozen: frozen.append(bridge.to("jax", a))) as other:
            view = np.asarray(a)
        assert not other.ran or not view.flags.writeable or not np.shares_memory(view, np.asarray(frozen[0]))
        del view, reader, frozen


def test_a_frozen_view_is_granted_while_an_update_is_computed():
    """The update was meant for the bytes, since a writable view was alive. Now they are frozen, and the array moves."""
    for _ in range(10):
        a = bridge.full((SLOW,), 1.0)
        views, frozen = [np.asarray(a)], []
        new = slow(bridge.zeros((SLOW,))) + 2

        def exchange(a=a, views=views, frozen=frozen):
            views.clear()
            frozen.append(bridge.to("numpy", a, copy=False, readonly=True))

        with Meanwhile(exchange) as other:
            a[...] = new
        assert a[0].item() == 2.0
        assert frozen[0][0] == frozen[0][-1]
        assert frozen[0][0] == 1.0 or not other.ran


# ---------------------------------------------------------------------------------------- threads without the GIL


def test_leases_end_without_the_gil_while_others_evaluate():
    """A consumer in C calls the deleter of its capsule from any thread; ctypes lets the GIL go for the call."""
    a = fresh(1000)

    def export_and_drop(versioned):
        for _ in range(300):
            capsule = a.__dlpack__(max_version=(1, 0)) if versioned else fresh().__dlpack__()
            capsules.use(capsule)

    def evaluate():
        for _ in range(300):
            assert (a + 1)[5].item() == 6.0

    with often():
        run_all(lambda: export_and_drop(True), lambda: export_and_drop(True), lambda: export_and_drop(False), evaluate)
    assert bridge.leases(a) == []


def test_an_owner_that_went_without_the_gil_is_dropped_while_the_main_thread_waits():
    """The interpreter's pending calls need the main thread, which may be away for ever: the next import does it too."""

    class Owner(bytearray):
        pass

    gone = []

    def work():
        memory = Owner(64)
        alive = weakref.ref(memory)
        a = bridge.from_(np.frombuffer(memory, np.float32))
        capsule = a.__dlpack__(max_version=(1, 0))
        del memory, a
        capsules.use(capsule)  # the last holder, without the GIL
        bridge.from_(np.zeros(4, np.float32))
        gc.collect()
        gone.append(alive() is None)

    run_all(work)  # the main thread waits in a lock meanwhile
    assert gone == [True]


def test_foreign_threads_without_a_python_state_drop_leases():
    """A thread that the interpreter has never seen: a C library's own."""
    if not hasattr(ctypes.CDLL(None), "pthread_create"):
        pytest.fail("the C library has no threads")
    libc = ctypes.CDLL(None)
    a = fresh()
    handles = []
    for _ in range(8):
        capsule = a.__dlpack__(max_version=(1, 0))
        managed = capsules.take(capsule)
        thread = ctypes.c_ulong()
        # void deleter(managed) is close enough to void *start(arg): the result is not looked at.
        start, argument = ctypes.c_void_p(managed.deleter), ctypes.c_void_p(ctypes.addressof(managed))
        assert libc.pthread_create(ctypes.byref(thread), None, start, argument) == 0
        handles.append(thread)
    for thread in handles:
        assert libc.pthread_join(thread, None) == 0
    assert bridge.leases(a) == []


# -------------------------------------------------------------------------------------------- failures and interrupts


def test_an_error_reaches_every_thread_that_asked():
    """Memory is short: each thread gets its MemoryError, and the same array can be computed later."""
    a = bridge.ones((LARGE,))
    bridge.eval(a)
    b = slow(a) + bridge.exp(a)
    caught = []

    def work():
        with pytest.raises(MemoryError, match="limit"):
            bridge.eval(b)
        caught.append(True)

    before = bridge.set_memory_limit(bridge.get_active_memory() + 1024)
    try:
        run_all(work, work, work, work)
    finally:
        bridge.set_memory_limit(before)
    assert caught == [True] * 4
    assert b[0].item() > 2.7


def test_a_pool_of_workers():
    """What a data loader does: many threads prepare batches lazily, one thread consumes them in another framework."""
    import torch

    samples = np.random.default_rng(0).normal(size=(64, 257)).astype(np.float32)
    mean = bridge.from_(samples.mean(axis=0))

    def load(index):
        return index, bridge.to("torch", (bridge.from_(samples[index]) - mean) * 2)

    with ThreadPoolExecutor(6) as pool:
        for index, tensor in pool.map(load, list(range(64)) * 4):
            want = (samples[index] - samples.mean(axis=0)) * 2
            assert torch.equal(tensor, torch.from_numpy(want))
    del tensor
    assert bridge.leases(mean) == []


def test_ctrl_c_during_an_evaluation_leaves_everything_usable():
    """The kernel ends, then KeyboardInterrupt is raised; the array has its value."""
    a = bridge.ones((SLOW,))
    b = slow(a)
    with pytest.raises(KeyboardInterrupt, match=r"^$"), Meanwhile(lambda: signal.raise_signal(signal.SIGINT)):
        bridge.eval(b)
    want = 1.0
    for _ in range(12):
        want = np.sin(want)
    assert b[-1].item() == pytest.approx(want, rel=1e-5)
    assert (b + 1).shape == (SLOW,)
