"""Either side may go first, on any thread, at any time, and nothing is left behind."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from isolated import run_code
from memory.views import FROZEN, LEGACY, SIZE, WRITABLE, fresh, stir

import bridge

EVERY = WRITABLE | FROZEN | LEGACY
COUNT = list(range(SIZE))


def in_thread(function, *arguments):
    """Runs the function elsewhere and gives back what it returned."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function(*arguments)))
    thread.start()
    thread.join()
    return result[0]


@pytest.mark.parametrize("exporter", EVERY)
def test_the_array_goes_first(exporter):
    """The view keeps the bytes; when it goes too, the storage is given back."""
    gc.collect()
    before = bridge.get_active_memory()
    a = fresh()
    view = EVERY[exporter].make(a)
    del a
    gc.collect()
    stir()
    assert EVERY[exporter].read(view) == COUNT
    del view
    gc.collect()
    assert bridge.get_active_memory() == before


def test_numbers_keep_no_bytes():
    """The bytes of a number go with its last array, though the engine keeps numbers for their next use."""
    gc.collect()
    before = bridge.get_active_memory()
    a = bridge.zeros(()) + 0.1234
    number = bridge.full((), 0.1234)
    bridge.eval(a, number)
    del a, number
    assert bridge.get_active_memory() == before


@pytest.mark.parametrize("exporter", EVERY)
def test_the_view_goes_first(exporter):
    """The array is plain again."""
    a = fresh()
    view = EVERY[exporter].make(a)
    assert view is not None
    del view
    gc.collect()
    assert bridge.leases(a) == []
    assert a.tolist() == COUNT


@pytest.mark.parametrize("exporter", EVERY)
def test_the_array_goes_first_on_another_thread(exporter):
    """Made there, dropped there; read and dropped here."""
    view = in_thread(lambda: EVERY[exporter].make(fresh()))
    gc.collect()
    stir()
    assert EVERY[exporter].read(view) == COUNT


@pytest.mark.parametrize("exporter", EVERY)
def test_the_view_goes_first_on_another_thread(exporter):
    """Made here, dropped there."""
    a = fresh()
    box = [EVERY[exporter].make(a)]
    in_thread(box.clear)
    gc.collect()
    assert bridge.leases(a) == []


@pytest.mark.parametrize("exporter", EVERY)
def test_many_threads_take_and_drop_views_of_one_array(exporter):
    """Counts stay exact under traffic."""
    a = fresh()
    failures = []

    def traffic():
        for _ in range(50):
            view = EVERY[exporter].make(a)
            if EVERY[exporter].read(view) != COUNT:
                failures.append(exporter)
            del view

    threads = [threading.Thread(target=traffic) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not failures
    assert bridge.leases(a) == []


def test_an_unevaluated_array_is_exported_from_another_thread():
    """Evaluation happens wherever the bytes are wanted."""
    a = fresh() * 2 + 1
    assert in_thread(lambda: np.asarray(a).tolist()) == [2 * x + 1 for x in COUNT]


def test_arrays_are_evaluated_on_many_threads_at_once():
    """One shared input, many graphs."""
    a = fresh(100_000)
    expected = (np.arange(100_000, dtype=np.float32) * 3 - 1).tolist()
    results = [None] * 6

    def work(i):
        results[i] = (a * 3 - 1).tolist()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(results))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(result == expected for result in results)


def test_an_imported_owner_may_go_on_another_thread():
    """The last array over a NumPy array is dropped elsewhere; the owner goes with it."""

    class Owner(bytearray):
        pass

    memory = Owner(4 * SIZE)
    x, alive = np.frombuffer(memory, np.float32), weakref.ref(memory)
    del memory
    box = [bridge.from_(x, copy=False)]
    del x
    in_thread(box.clear)
    bridge.eval(fresh() + 1)  # owners that went without the GIL are let go at the next occasion
    gc.collect()
    assert alive() is None


def test_dropping_a_graph_drops_its_inputs():
    """Nodes that were never evaluated give their storages back."""
    gc.collect()
    before = bridge.get_active_memory()
    a = fresh(1000)
    b = (a + 1) * a
    del a, b
    gc.collect()
    assert bridge.get_active_memory() == before


def test_an_evaluated_array_forgets_how_it_was_made():
    """Only the result stays: inputs of an evaluated array are not kept alive by it."""
    gc.collect()
    before = bridge.get_active_memory()
    a = fresh(1000)
    size = bridge.get_active_memory() - before
    for _ in range(20):
        a = a + 1
        bridge.eval(a)
    assert bridge.get_active_memory() - before == size


def test_an_array_can_be_referred_to_weakly():
    """A weak reference does not keep it, and says when it is gone."""
    a = fresh()
    gone = []
    alive = weakref.ref(a, gone.append)
    assert alive() is a
    del a
    gc.collect()
    assert alive() is None
    assert len(gone) == 1


def test_references_are_exact():
    """Using an array leaves its reference count as it was."""
    a = fresh()
    before = sys.getrefcount(a)
    for _ in range(10):
        a + 1, a[1:3], a.sum(), repr(a), a.T
        np.asarray(a)
        bridge.to("torch", a)
        bridge.to("numpy", a, copy=True)
        bridge.explain("jax", a)
    gc.collect()
    assert sys.getrefcount(a) == before


# What is still alive when the interpreter ends. The exit status is the claim; the text is printed before the end.
AT_EXIT = {
    "views outlive arrays": """
import numpy as np, torch
a = bridge.arange(1000, dtype=bridge.float32)
views = [np.asarray(a), memoryview(a), torch.from_dlpack(a), bridge.to("torch", a)]
del a
""",
    "arrays outlive views": """
import numpy as np, torch
a = bridge.arange(1000, dtype=bridge.float32)
bridge.to("torch", a), np.asarray(a)
""",
    "a capsule that nobody used": """
a = bridge.arange(10)
capsule, versioned = a.__dlpack__(), a.__dlpack__(max_version=(1, 0))
""",
    "a graph that nobody evaluated": """
a = bridge.arange(10)
for _ in range(1000):
    a = a + 1
""",
    "imported owners": """
import numpy as np, torch
held = [bridge.from_(np.arange(10)), bridge.from_(torch.arange(10))]
windows = [a[2:4] for a in held]
""",
    "references in circles": """
import numpy as np
class Holder: pass
holder = Holder()
holder.array = bridge.arange(10)
holder.view = np.asarray(holder.array)
holder.itself = holder
""",
    "atexit and module globals": """
import atexit, sys
a = bridge.arange(10) + 1
atexit.register(lambda: a.tolist())
sys.modules["bridge"].kept = a
""",
    "a daemon thread at work": """
import threading
def work():
    a = bridge.arange(100000, dtype=bridge.float32)
    while True:
        a = a * 1.0001
        bridge.eval(a)
threading.Thread(target=work, daemon=True).start()
import time
time.sleep(0.05)
""",
    "jax and tensorflow views": """
a = bridge.arange(1000, dtype=bridge.float32)
views = [bridge.to("jax", a), bridge.to("tensorflow", a)]
""",
    "a view held by a C++ static": """
import torch
a = bridge.arange(1000, dtype=bridge.float32)
torch.kept = bridge.to("torch", a)
""",
}


@pytest.mark.parametrize("what", AT_EXIT)
def test_L12_the_interpreter_ends_cleanly(what):
    """Exit status 0 and nothing on stderr, whatever is still alive."""
    code = f"import bridge\n{AT_EXIT[what]}\nprint('reached the end', flush=True)"
    done = run_code(code)
    assert done.stdout == "reached the end\n", done.stderr
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "bridge" in line.lower() or "Fatal" in line]
    assert ours == []
