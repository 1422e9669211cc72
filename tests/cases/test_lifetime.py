"""Whoever goes first, on whatever thread, in whatever process: memory lives exactly as long as somebody looks at it."""

from __future__ import annotations

import ctypes
import gc
import pickle
import sys
import threading
import weakref

import numpy as np
import pytest
from cases.case import Case
from dlpack.capsules import Forged
from interop.memory_of import ADAPTERS, aligned_bytes
from isolated import run_code
from memory.outside import on_bare_thread, taken
from memory.test_flat import SOURCES, check_flat
from memory.views import SIZE, address, fresh, stir

import bridge
from bridge.core import _native

CASES = (
    Case(
        "L01",
        "A view of an array shows the data of another one after the array was updated to a new shape.",
        "A view holds the storage, not the array: it sees updates that fit, and else keeps the old bytes, valid.",
        ("ml-explore/mlx#323", "numpy/numpy#9562"),
    ),
    Case(
        "L02",
        "The process aborts when torch lets go of imported memory on a thread without the GIL.",
        "A deleter may run on any thread, known to Python or not, holding the GIL or not.",
        ("numpy/numpy#22507", "pytorch/pytorch#88082", "dmlc/dlpack#103"),
    ),
    Case(
        "L03",
        "The process aborts when the last array over a Python object's memory goes in a background thread.",
        "The owner is let go under the GIL, at the next occasion, wherever the last array went.",
        ("ml-explore/mlx#4391",),
    ),
    Case(
        "L07",
        "An array that was exported once counts as deleted.",
        "An array can be exported any number of times, and each export keeps the memory by itself.",
        ("jax-ml/jax#4636",),
    ),
    Case(
        "L09",
        "Memory or threads run out when arrays are imported in a loop.",
        "Ten thousand conversions leave no memory, no lease and no thread behind.",
        ("tensorflow/tensorflow#40061", "tensorflow/tensorflow#37944"),
    ),
    Case(
        "L10",
        "Batches that were made of shared memory in a worker process hold wrong values in the parent.",
        "What a worker sends arrives with its values: tensors over bridge memory, arrays, views; the rest refuses.",
        ("pytorch/pytorch#36922", "dmlc/dlpack#135"),
    ),
    Case(
        "L11",
        "A donated buffer may be overwritten while another framework looks at it.",
        "What is shared with jax keeps its values on both sides, donated or deleted; a donated array says so.",
        ("jax-ml/jax#3412", "jax-ml/jax#9675"),
    ),
    Case(
        "L12",
        "The process hangs or aborts at its end while a C++ static still holds imported memory.",
        "After the interpreter has ended a deleter frees what is the engine's, touches no Python object, and returns.",
        ("numpy/numpy#22510", "wjakob/nanobind#894"),
    ),
)

COUNT = list(range(SIZE))


class Owner(bytearray):
    """Memory that says on which thread it was let go, and whether that held the GIL."""

    ended: list[tuple[int, int]] = []  # noqa: RUF012  (of the class, so that it outlives every owner)

    def __del__(self) -> None:
        Owner.ended.append((threading.get_ident(), ctypes.pythonapi.PyGILState_Check()))


def owned() -> tuple[np.ndarray, weakref.ref]:
    """0, 1, 2, ... over memory whose end can be seen."""
    memory = Owner(4 * SIZE)
    x = np.frombuffer(memory, np.float32)
    x[:] = COUNT
    return x, weakref.ref(memory)


def exchange(a):
    """The owning export of the C exchange table: the deleter, and what it is to be called with."""
    from dlpack.test_producer import FUNCTION, exchange_table

    out = ctypes.c_void_p()
    assert FUNCTION(exchange_table().managed_from_object)(a, ctypes.addressof(out)) == 0
    from dlpack.capsules import DLManagedTensorVersioned

    return DLManagedTensorVersioned.from_address(out.value).deleter, out.value


EXPORTS = {
    "versioned": lambda a: taken(a.__dlpack__(max_version=(1, 0))),
    "legacy": lambda a: taken(a.__dlpack__()),
    "copied": lambda a: taken(a.__dlpack__(max_version=(1, 0), copy=True)),
    "exchange table": exchange,
}


@pytest.mark.parametrize("hold_gil", [False, True])
@pytest.mark.parametrize("export", EXPORTS)
def test_L02_a_deleter_needs_neither_python_nor_the_gil(export, hold_gil):
    """Called on a thread that Python has never seen, while the GIL is free, or held by the thread that waits for it."""
    gc.collect()
    before = bridge.get_active_memory()
    a = fresh()
    on_bare_thread(*EXPORTS[export](a), hold_gil=hold_gil)
    assert bridge.leases(a) == []
    assert a.tolist() == COUNT
    held = EXPORTS[export](a)
    del a
    on_bare_thread(*held, hold_gil=hold_gil)  # the last one: the storage goes as well
    assert bridge.get_active_memory() == before


@pytest.mark.parametrize("framework", ["torch", "jax", "tensorflow"])
def test_L02_a_framework_lets_go_on_a_thread_of_its_own(framework):
    """The framework's own capsule holds its array, which holds bridge's memory: the whole chain ends over there."""
    import jax
    import tensorflow as tf
    import torch

    a = fresh()
    x = bridge.to(framework, a, copy=False)
    capsule = {
        "torch": torch.utils.dlpack.to_dlpack,
        "jax": lambda array: array.__dlpack__(),
        "tensorflow": tf.experimental.dlpack.to_dlpack,
    }[framework](x)
    del x
    gc.collect()
    assert len(bridge.leases(a)) == 1
    on_bare_thread(*taken(capsule))
    jax.numpy.zeros(1).block_until_ready()  # jax keeps what goes without the GIL until its next call
    assert bridge.leases(a) == []
    assert a.tolist() == COUNT


@pytest.mark.parametrize("target", ["torch", "jax", "bridge"])
def test_L02_memory_of_numpy_is_let_go_on_any_thread(target):
    """numpy to torch, whose deleter once touched Python objects without the GIL: here it never does."""
    import torch

    x, alive = owned()
    y = bridge.to(target, x)
    capsule = torch.utils.dlpack.to_dlpack(y) if target == "torch" else y.__dlpack__()
    del x, y
    gc.collect()
    on_bare_thread(*taken(capsule))
    bridge.from_(np.arange(3))  # an occasion
    gc.collect()
    assert alive() is None
    assert Owner.ended[-1][1] == 1


# L03


def over_buffer(x):
    return bridge.from_(x, copy=False, via="buffer")


def over_capsule(x):
    return bridge.from_(x, copy=False, via="dlpack")


def over_address(x):
    return _native.import_address(x, x.ctypes.data, bridge.float32, (SIZE,), (1,), writable=True)


IMPORTS = {"buffer": over_buffer, "dlpack": over_capsule, "address": over_address}


@pytest.mark.parametrize("hold_gil", [False, True])
@pytest.mark.parametrize("way", IMPORTS)
def test_L03_an_owner_is_let_go_under_the_gil(way, hold_gil):
    """The last hold on the memory of an object ends on a thread without the GIL: the object goes later, on one with."""
    x, alive = owned()
    a = IMPORTS[way](x)
    held = taken(a.__dlpack__(max_version=(1, 0)))
    del x, a
    gc.collect()
    assert alive() is not None
    on_bare_thread(*held, hold_gil=hold_gil)
    bridge.from_(np.arange(3))  # an occasion: an import, or Python's own
    gc.collect()
    assert alive() is None
    assert Owner.ended[-1] == (threading.get_ident(), 1)


def test_L03_a_deleter_of_the_users_own_runs_under_the_gil():
    """A producer written in Python: its deleter is called once, and never on the thread where the array went."""
    forged = Forged((SIZE,))
    a = bridge.from_dlpack(forged)
    held = taken(a.__dlpack__(max_version=(1, 0)))
    del a
    on_bare_thread(*held)
    bridge.from_(np.arange(3))
    assert forged.deleted == 1


def test_L03_many_owners_go_at_once():
    """More than Python's queue of pending calls has room for, from several threads: none is lost."""
    kept = [owned() for _ in range(100)]
    alive = [ref for _, ref in kept]
    held = [taken(bridge.from_(x, copy=False).__dlpack__(max_version=(1, 0))) for x, _ in kept]
    del kept
    gc.collect()
    assert all(ref() is not None for ref in alive)
    threads = [
        threading.Thread(target=lambda part=part: [on_bare_thread(*each) for each in part])
        for part in (held[:50], held[50:])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bridge.from_(np.arange(3))
    gc.collect()
    assert [ref() for ref in alive if ref() is not None] == []


def test_L03_an_owner_may_use_the_engine_while_it_goes():
    """What an owner's end runs is any code: it takes views, evaluates, and imports others."""
    seen = []

    class Busy(bytearray):
        def __del__(self):
            other = bridge.from_(np.arange(4, dtype=np.float32))
            seen.append((other + 1).tolist())

    a = bridge.from_(np.frombuffer(Busy(64), np.float32))
    held = taken(a.__dlpack__(max_version=(1, 0)))
    del a
    on_bare_thread(*held)
    bridge.from_(np.arange(3))
    assert seen == [[1.0, 2.0, 3.0, 4.0]]


# L07


def aligned(source):
    """0, 1, 2, ... in memory of the framework that every other one can share."""
    if source != "numpy":
        return SOURCES[source]()
    x = aligned_bytes(4 * 4096).view(np.float32)
    x[:] = np.arange(4096)
    return x


def addresses(target, views):
    if target == "bridge":
        return {address(view) for view in views}
    return {ADAPTERS[target].address(view) for view in views}


@pytest.mark.parametrize("target", [*SOURCES, "bridge"])
@pytest.mark.parametrize("source", [*SOURCES, "bridge"])
def test_L07_an_array_is_exported_again_and_again(source, target):
    """Five exports live side by side over one memory, the source stays usable, and each of them keeps the memory."""
    x = bridge.array(np.arange(4096, dtype=np.float32)) if source == "bridge" else aligned(source)
    exports = [bridge.to(target, x, readonly=True) for _ in range(5)]
    assert len(addresses(target, exports)) == 1
    assert np.asarray(x)[:3].tolist() == [0, 1, 2]
    exports.append(bridge.to(target, x, readonly=True))
    del x
    while exports:
        gc.collect()
        stir(8, size=4096)
        assert np.asarray(exports.pop(0))[:3].tolist() == [0, 1, 2]


def test_L07_exports_of_exports():
    """bridge to jax to bridge to torch to numpy to bridge: one memory, and the first array is still an array."""
    a = fresh()
    b = bridge.from_(bridge.to("jax", a, copy=False), copy=False)
    t = bridge.to("torch", b, copy=False, readonly=True)
    c = bridge.from_(bridge.to("numpy", t, copy=False), copy=False)
    assert address(a) == address(b) == t.data_ptr() == address(c)
    assert a.tolist() == c.tolist() == COUNT


# L09


@pytest.mark.parametrize("source", ["numpy", "torch", "jax"])
def test_L09_ten_thousand_imports_into_tensorflow(source):
    """No memory of the process, no reference to the source and no thread more than before."""
    x = SOURCES[source]()
    bridge.to("tensorflow", x)
    count, threads = sys.getrefcount(x), threading.active_count()
    check_flat(lambda: bridge.to("tensorflow", x))
    assert (sys.getrefcount(x), threading.active_count()) == (count, threads)


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_L09_a_buffer_that_goes_back_and_forth_builds_no_chain(target):
    """There and back, the newest kept: the memory is known when it comes home, so nothing piles up behind it."""
    state = {"x": SOURCES[target]()}
    where = np.asarray(state["x"]).ctypes.data

    def step():
        state["x"] = bridge.to(target, bridge.from_(state["x"], copy=False), copy=False)

    check_flat(step)
    assert np.asarray(state["x"]).ctypes.data == where
    assert np.asarray(state["x"])[:3].tolist() == [0, 1, 2]


def test_L09_a_chain_of_owners_ends_without_a_stack_of_its_length():
    """Each array over the memory of the one before, a hundred thousand of them: the end of the last ends them all."""
    code = """
import numpy as np, bridge
from bridge.core import _native
a = bridge.from_(np.arange(16, dtype=np.float32))
where = _native.facts(a)[3]
for _ in range(100_000):
    a = _native.import_address(a, where, bridge.float32, (16,), (1,), writable=True)
assert a[3].item() == 3.0
del a
print("reached the end")
"""
    done = run_code(code)
    assert (done.returncode, done.stdout) == (0, "reached the end\n"), done.stderr


# L10


WORKERS = """
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
import bridge

base = bridge.array(np.arange(64, dtype=np.float32))
lazy = base * 2 + 1  # evaluated in each worker by itself
shared = bridge.array(np.zeros(8, np.float32))
view = np.asarray(shared)

def item(kind, i):
    part = lazy[8 * i : 8 * i + 8]
    view[...] = i  # a write through a view: the worker's own business
    own = bridge.array(np.zeros(8, np.float32))
    window = np.asarray(own)
    window[...] = np.asarray(part)
    return {
        "tensor": lambda: bridge.to("torch", part),
        "shared tensor": lambda: bridge.to("torch", part, readonly=True),
        "numpy": lambda: bridge.to("numpy", part, copy=True),
        "numpy view": lambda: window,
        "tensor of a view": lambda: bridge.to("torch", own),
        "round trip": lambda: torch.from_dlpack(bridge.from_(bridge.to("torch", part))),
        "array": lambda: part,
        "array with a view": lambda: own,
    }[kind]()

class Items(Dataset):
    def __init__(self, kind):
        self.kind = kind
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return item(self.kind, i)

expected = [[2.0 * (8 * i + k) + 1 for k in range(8)] for i in range(8)]
batched = ("tensor", "shared tensor", "numpy", "numpy view", "tensor of a view", "round trip")
for kind in (*batched, "array", "array with a view"):
    whole = kind.startswith("array")  # torch batches tensors and ndarrays; other objects go one by one
    rows = []
    for batch in DataLoader(Items(kind), batch_size=None if whole else 2, num_workers=2):
        assert type(batch) is (bridge.array if whole else torch.Tensor)
        rows += [batch.tolist()] if whole else batch.tolist()
    assert rows == expected, (kind, rows)
    assert view.tolist() == [0.0] * 8, kind  # the parent's memory is the parent's
print("reached the end")
"""


def test_L10_batches_from_workers_hold_their_values():
    """A DataLoader whose forked workers hand out tensors, arrays and views over bridge memory, one way or another."""
    done = run_code(WORKERS)
    assert (done.returncode, done.stdout) == (0, "reached the end\n"), done.stderr


SPAWNED = """
import multiprocessing
import numpy as np

def work(inbox, outbox):
    import bridge
    a = inbox.get()
    outbox.put(a * 2)
    outbox.put(bridge.to("numpy", a + 1))

if __name__ == "__main__":
    import bridge
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Queue(), context.Queue()
    process = context.Process(target=work, args=(inbox, outbox))
    process.start()
    a = bridge.array(np.arange(8, dtype=np.float32))
    view = np.asarray(a)
    inbox.put(a)
    doubled, plus = outbox.get(timeout=60), outbox.get(timeout=60)
    process.join()
    assert doubled.tolist() == [2.0 * i for i in range(8)]
    assert plus.tolist() == [i + 1.0 for i in range(8)]
    assert type(doubled) is bridge.array and process.exitcode == 0
    print("reached the end")
"""


def test_L10_queues_between_processes_carry_values(tmp_path):
    """A process that was started afresh gets the array by value, and sends arrays back."""
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED)
    done = run_code(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert (done.returncode, done.stdout) == (0, "reached the end\n"), done.stderr


def test_L10_torch_moves_a_tensor_to_shared_memory_by_value():
    """share_memory_() and torch's queues copy the bytes: the tensor leaves bridge's memory, and the array keeps it."""
    a = fresh()
    t = bridge.to("torch", a, copy=False)
    t.share_memory_()
    assert t.tolist() == COUNT
    assert t.data_ptr() != address(a)
    t[0] = 99
    assert a.tolist() == COUNT
    assert bridge.leases(a) == []


def test_L10_what_only_means_something_here_cannot_be_sent():
    """Capsules and leases refuse to be pickled: an address is worth nothing elsewhere."""
    a = fresh()
    owner = _native.export_address(a, access="read", holder="test")[0]
    for thing in (a.__dlpack__(), memoryview(a), owner):
        with pytest.raises(TypeError, match=r"(?i)cannot pickle|can't pickle"):
            pickle.dumps(thing)


# L11


def donating():
    """A jax function that gives its argument's memory to its result, if jax thinks it may."""
    import jax

    return jax.jit(lambda x: x + 100, donate_argnums=0)


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable:UserWarning")
@pytest.mark.parametrize("size", [16, 4096, 1 << 20])
@pytest.mark.parametrize("source", ["bridge", "numpy", "torch"])
def test_L11_memory_shared_with_jax_survives_donation(source, size):
    """jax may think the buffer is its own to reuse: the owner's values stay, also when the owner goes on to write."""
    count = np.arange(size, dtype=np.float32)
    a = bridge.array(count)
    x = {"bridge": lambda: a, "numpy": lambda: np.asarray(a), "torch": lambda: bridge.to("torch", a)}[source]()
    shared = bridge.to("jax", x, copy=False)
    assert shared.unsafe_buffer_pointer() == address(a)
    result = donating()(shared)
    assert result.unsafe_buffer_pointer() != address(a)
    del shared
    gc.collect()
    stir(4, size=size)
    assert np.array_equal(np.asarray(a), count)
    assert np.array_equal(np.asarray(result), count + 100)


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable:UserWarning")
@pytest.mark.parametrize("size", [16, 4096, 1 << 20])
@pytest.mark.parametrize("target", ["bridge", "numpy", "torch"])
def test_L11_views_of_a_jax_array_survive_its_donation(target, size):
    """The other way round: a view that jax knows of keeps the values while jax reuses, or does not, its buffer."""
    import jax.numpy as jnp

    count = np.arange(size, dtype=np.float32)
    x = jnp.array(count)
    view = bridge.to(target, x, readonly=True, copy=False)
    result = donating()(x)
    result.block_until_ready()
    stir(4, size=size)
    assert np.array_equal(np.asarray(view), count)
    del result
    gc.collect()
    assert np.array_equal(np.asarray(view), count)


@pytest.mark.parametrize("target", ["bridge", "numpy", "torch"])
def test_L11_a_view_outlives_a_deleted_jax_array(target):
    """delete() ends jax's hold, not that of the view."""
    import jax.numpy as jnp

    x = jnp.arange(4096, dtype=jnp.float32)
    view = bridge.to(target, x, readonly=True, copy=False)
    x.delete()
    others = [jnp.full(4096, -1.0) for _ in range(20)]  # would take the memory if it were free
    assert np.asarray(view)[:3].tolist() == [0, 1, 2]
    assert others


def test_L11_deleting_what_was_shared_ends_the_lease():
    """bridge to jax, deleted over there: the array is plain again, its memory untouched."""
    a = fresh()
    x = bridge.to("jax", a, copy=False)
    assert len(bridge.leases(a)) == 1
    x.delete()
    gc.collect()
    assert bridge.leases(a) == []
    a += 1
    assert a.tolist() == [value + 1 for value in COUNT]


@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable:UserWarning")
@pytest.mark.parametrize("target", ["bridge", "numpy", "torch", "tensorflow"])
def test_L11_a_donated_array_is_refused_with_the_reason(target):
    """Its memory is gone: an error that says so, not an old address."""
    import jax.numpy as jnp

    x = jnp.arange(4096, dtype=jnp.float32)
    donating()(x)
    assert x.is_deleted()
    with pytest.raises(bridge.BridgeError, match=r"(?s)deleted or donated.*fix:"):
        bridge.to(target, x)


@pytest.mark.parametrize("engine", [True, False])
def test_L11_a_variable_of_tensorflow_never_writes_what_it_was_made_of(engine):
    """The neighbour: variables are updated in place, and may begin on shared memory."""
    import tensorflow as tf

    a = fresh()
    x = a if engine else np.asarray(a)
    variable = tf.Variable(bridge.to("tensorflow", x, copy=False))
    variable.assign_add(tf.ones(SIZE))
    variable.assign(bridge.to("tensorflow", x, copy=False))
    variable.assign_sub(tf.ones(SIZE))
    variable[0].assign(50.0)
    tf.raw_ops.ResourceScatterAdd(resource=variable.handle, indices=[1], updates=[7.0])
    assert a.tolist() == COUNT
    assert variable.numpy().tolist() == [50.0, 7.0, *[value - 1.0 for value in COUNT[2:]]]


# L12: a true static. Its destructor is what __cxa_atexit calls, after the interpreter has ended.

STATIC = """
import ctypes, sys
import numpy as np
import bridge
from memory.outside import at_exit, taken

class Loud(bytearray):
    def __del__(self):
        if sys is None or sys.is_finalizing():
            print("touched after the end", flush=True)

def static(capsule):
    deleter, argument = taken(capsule)
    at_exit(deleter, argument, None)

{body}
print("reached the end", flush=True)
"""

STATICS = {
    "of the engine's own memory": "a = bridge.array([1.0, 2.0]); static(a.__dlpack__(max_version=(1, 0)))",
    "whose array is gone": "static(bridge.array([1.0, 2.0]).__dlpack__())",
    "of imported memory": "a = bridge.from_(np.arange(8.0)); static(a.__dlpack__(max_version=(1, 0)))",
    "of imported memory whose array is gone": """
static(bridge.from_(np.frombuffer(Loud(64), np.float32)).__dlpack__(max_version=(1, 0)))""",
    "of torch, over bridge": """
import torch
a = bridge.array([1.0, 2.0])
static(torch.utils.dlpack.to_dlpack(bridge.to("torch", a)))""",
    "of torch, over bridge over numpy": """
import torch
static(torch.utils.dlpack.to_dlpack(bridge.to("torch", bridge.from_(np.frombuffer(Loud(64), np.float32)))))""",
    "of bridge, over torch": """
import torch
static(bridge.from_(torch.arange(8.0)).__dlpack__())""",
    "of jax, over bridge": """
static(bridge.to("jax", bridge.array([1.0, 2.0])).__dlpack__())""",
    "of tensorflow, over bridge": """
import tensorflow as tf
static(tf.experimental.dlpack.to_dlpack(bridge.to("tensorflow", bridge.array([1.0, 2.0]))))""",
    "of a capsule around foreign memory": """
from bridge.core import _native
x = np.frombuffer(Loud(64), np.float32)
static(_native.foreign_capsule(x, x.ctypes.data, bridge.float32, (16,), (1,)))
del x""",
    "many of them": """
a = bridge.array([1.0, 2.0])
for i in range(100):
    static(a.__dlpack__(max_version=(1, 0)))
    static(bridge.from_(np.arange(8.0)).__dlpack__(max_version=(1, 0)))""",
}


@pytest.mark.parametrize("what", STATICS)
def test_L12_a_static_lets_go_after_the_interpreter_has_ended(what):
    """Exit status 0; no Python object is touched: owners that are left then stay, for there is nobody to end them."""
    done = run_code(STATIC.format(body=STATICS[what]))
    assert done.stdout == "reached the end\n", done.stderr
    assert done.returncode == 0, done.stderr
