"""What users and libraries do to views and arrays that nobody planned for: it is harmless, or it is refused."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref

import numpy as np
import pytest
from isolated import run_code
from memory.views import SIZE, WRITABLE, address, fresh, stir

import bridge
from bridge.core import _native

COUNT = list(range(SIZE))

# Pieces of a view that keep nothing else of it: the lease lasts as long as the last piece.
PIECES = {
    "a slice of a memoryview": (lambda a: memoryview(a)[2:6], lambda p: p.tolist()),
    "a cast memoryview": (lambda a: memoryview(a).cast("B").cast("f")[2:6], lambda p: p.tolist()),
    "a memoryview of a memoryview": (lambda a: memoryview(memoryview(a)[2:6]), lambda p: p.tolist()),
    "a slice of an ndarray": (lambda a: np.asarray(a)[2:6], lambda p: p.tolist()),
    "the base of a slice": (lambda a: np.asarray(a)[2:6].base[2:6], lambda p: np.asarray(p).tolist()),
    "another dtype": (lambda a: np.asarray(a).view(np.int32)[2:6], lambda p: p.view(np.float32).tolist()),
    "flat": (lambda a: np.asarray(a).reshape(4, 4).flat, lambda p: list(p[2:6])),
    "an iterator": (lambda a: iter(np.asarray(a)[2:6]), lambda p: list(p)),
    "a generator": (lambda a: (x for x in memoryview(a)[2:6]), lambda p: list(p)),
    "a memoryview of an ndarray": (lambda a: memoryview(np.asarray(a))[2:6], lambda p: p.tolist()),
    "a slice of a tensor": (lambda a: bridge.to("torch", a)[2:6], lambda p: p.tolist()),
    "the storage of a tensor": (
        lambda a: bridge.to("torch", a).untyped_storage(),
        lambda p: np.frombuffer(bytes(p), np.float32)[2:6].tolist(),
    ),
    "an ndarray of a tensor": (lambda a: bridge.to("torch", a)[2:6].numpy(), lambda p: p.tolist()),
    "a pickle buffer": (lambda a: pickle.PickleBuffer(a), lambda p: np.frombuffer(p, np.float32)[2:6].tolist()),
}


@pytest.mark.parametrize("piece", PIECES)
def test_a_piece_of_a_view_holds_the_bytes(piece):
    """The array goes, other arrays take what is free: the piece still has its values; then all is given back."""
    gc.collect()
    before = bridge.get_active_memory()
    a = fresh()
    cut, read = PIECES[piece]
    p = cut(a)
    assert len(bridge.leases(a)) == 1
    del a
    gc.collect()
    stir()
    assert read(p) == [2, 3, 4, 5]
    del p
    gc.collect()
    assert bridge.get_active_memory() == before


def test_releasing_a_memoryview_ends_its_lease_and_no_others():
    """release() is the end of one view; pieces of it live on."""
    a = fresh()
    whole = memoryview(a)
    piece = whole[2:6]
    whole.release()
    assert len(bridge.leases(a)) == 1
    piece[0] = 50.0
    assert a[2].item() == 50.0
    piece.release()
    assert bridge.leases(a) == []


def shrink(t):
    t.untyped_storage().resize_(0)


def grow(t):
    t.untyped_storage().resize_(1 << 20)


@pytest.mark.parametrize("resize", [shrink, grow, lambda t: t.resize_(1 << 18)], ids=["shrink", "grow", "resize_"])
def test_torch_cannot_resize_memory_that_is_not_its_own(resize):
    """An error of torch's; tensor and array are as they were."""
    a = fresh()
    t = bridge.to("torch", a, copy=False)
    with pytest.raises(RuntimeError, match="not resizable"):
        resize(t)
    assert a.tolist() == COUNT
    assert t.data_ptr() == address(a)


@pytest.mark.parametrize("way", ["set_", "data"])
def test_a_tensor_may_be_set_to_other_memory(way):
    """A tensor over bridge lets go of the lease when it leaves; a tensor that bridge is over takes nothing with it."""
    import torch

    def leave(tensor):
        if way == "set_":
            tensor.set_(torch.zeros(3))
        else:
            tensor.data = torch.zeros(3)

    a = fresh()
    t = bridge.to("torch", a, copy=False)
    leave(t)
    assert bridge.leases(a) == []
    assert a.tolist() == COUNT
    for via in (None, "dlpack", "address"):
        t = torch.arange(SIZE, dtype=torch.float32)
        b = bridge.from_(t, copy=False, via=via)
        leave(t)
        others = [torch.full((SIZE,), -1.0) for _ in range(50)]  # would take the memory if it were free
        assert b.tolist() == COUNT
        assert others


def test_a_module_that_is_converted_leaves_its_old_parameters_behind():
    """module.half() gives parameters other memory: an array over the old one keeps it."""
    import torch

    module = torch.nn.Linear(4, 4).requires_grad_(False)
    weight = bridge.from_(module.weight, copy=False)
    before = weight.tolist()
    module.half()
    others = [torch.full((4, 4), -1.0) for _ in range(50)]
    assert weight.tolist() == before
    assert others


def test_numpy_cannot_resize_what_is_looked_at():
    """Neither a view of bridge's memory, nor an owner whose memory bridge looks at."""
    view = np.asarray(fresh())
    with pytest.raises(ValueError, match="cannot resize"):
        view.resize(100)
    x = np.arange(SIZE, dtype=np.float32)
    for via in ("buffer", "dlpack", "address"):
        a = bridge.from_(x, copy=False, via=via)
        with pytest.raises(ValueError, match="cannot resize"):
            x.resize(100)
        del a
    grown = bytearray(64)
    a = bridge.from_(grown)
    with pytest.raises(BufferError, match="re-sized"):
        grown.extend(b"more")
    assert a.nbytes == 64


# Arrays and Python's machinery.


def test_a_subclass_is_made_used_collected_and_freed():
    """It has a dictionary, so the collector knows it: circles through it end."""

    class Named(bridge.array):
        def __init__(self, *_):
            self.label = "named"

    gc.collect()
    before = bridge.get_active_memory()
    for _ in range(300):
        a = Named([1.0, 2.0])
        a.itself = a
        a.view = np.asarray(a)
    alive = weakref.ref(a)
    assert (a.label, a.view[0], type(a + 1)) == ("named", 1.0, bridge.array)
    del a
    gc.collect()
    assert alive() is None
    assert bridge.get_active_memory() == before


def test_a_view_does_not_refer_to_its_array():
    """So the two make no circle: each goes by its reference count alone, with the collector off."""
    gc.collect()
    gc.disable()
    try:
        before = bridge.get_active_memory()
        for exporter in WRITABLE.values():
            a = fresh()
            view = exporter.make(a)
            alive = weakref.ref(a)
            b = bridge.from_(view)
            del a, view, b
            assert alive() is None
        assert bridge.get_active_memory() == before
    finally:
        gc.enable()


def test_a_circle_through_an_owner_stays_until_it_is_broken():
    """As with NumPy's arrays: the collector does not look into memory. An owner that holds its array is the user's."""

    class Owner(bytearray):
        pass

    for take in (bridge.from_, lambda memory: np.frombuffer(memory, np.uint8)):
        owner = Owner(64)
        owner.array = take(owner)
        alive = weakref.ref(owner)
        del owner
        gc.collect()
        assert alive() is not None
        alive().array = None
        gc.collect()
        assert alive() is None


@pytest.mark.parametrize("exporter", WRITABLE)
def test_copies_of_an_array_with_live_views_are_values(exporter):
    """copy, deepcopy, pickle, the constructor, a view op: none of them sees later writes, none adds a lease."""
    a = fresh()
    view = WRITABLE[exporter].make(a)
    copies = [
        copy.copy(a),
        copy.deepcopy(a),
        pickle.loads(pickle.dumps(a)),
        bridge.array(a),
        a[:],
        a.reshape(SIZE),
        a.astype(bridge.float32),
        bridge.to("bridge", a, copy=True),
        bridge.asarray(a, copy=True),
        a.flatten(),
        a.T,
        +a,
        abs(a),
        bridge.positive(a),
        bridge.clip(a),
        bridge.atleast_1d(a),
        bridge.roll(a, 0),
    ]
    assert len(bridge.leases(a)) == 1
    view[0] = 99.0
    a[1] = 98.0
    assert [c.tolist() for c in copies] == [COUNT] * len(copies)
    for c in copies:
        c[2] = 97.0
    assert a.tolist() == [99.0, 98.0, *COUNT[2:]]


@pytest.mark.parametrize("dtype", ["float32", "int32", "bool_"])
def test_no_function_gives_back_its_argument(dtype):
    """What changes nothing gives another array with the same values: an update of one never shows in the other."""
    same = {
        "+": lambda a: +a,
        "astype": lambda a: a.astype(a.dtype),
        "round": bridge.round,
        "clip": bridge.clip,
        "atleast": lambda a: bridge.atleast_3d(bridge.atleast_2d(bridge.atleast_1d(a))),
        "squeeze": bridge.squeeze,
        "roll": lambda a: bridge.roll(a, 0, ()),
        "broadcast": lambda a: bridge.broadcast_to(a, a.shape),
    }
    for name, function in same.items():
        if (name, dtype) == ("round", "bool_"):
            continue
        for opened in (False, True):
            a = bridge.ones((2, 2, 2), dtype=getattr(bridge, dtype))
            bridge.eval(a)
            view = np.asarray(a) if opened else None
            b = function(a)
            assert b is not a
            b[0] = 0
            assert a.flatten().tolist() == [1] * 8
            a[1] = 0
            assert b.flatten().tolist() == [0] * 4 + [1] * 4
            assert view is None or view.tolist() == a.tolist()


def test_pickling_takes_no_view_that_stays():
    """Out of band the buffer is a frozen view of the array, or a copy where somebody can write."""
    a = fresh()
    buffers: list[pickle.PickleBuffer] = []
    pickle.dumps(a, protocol=5, buffer_callback=buffers.append)
    assert [lease["access"] for lease in bridge.leases(a)] == ["read"]
    a[0] = 50.0  # moves: the pickle is of the past
    assert np.frombuffer(buffers[0], np.float32)[0] == 0.0
    view = np.asarray(a)
    buffers.clear()
    pickle.dumps(a, protocol=5, buffer_callback=buffers.append)
    view[0] = 60.0
    assert np.frombuffer(buffers[0], np.float32)[0] == 50.0


def test_weak_references_and_callbacks_see_a_working_engine():
    """What runs at the end of an array may take views, evaluate and release."""
    seen = []
    b = fresh()

    def last_words(_):
        seen.append((b + 1).tolist()[0])
        np.asarray(b)[0] += 1
        bridge.release(b)

    a = fresh()
    keep = weakref.ref(a, last_words)
    view = np.asarray(a)
    del a
    assert seen == [1.0]
    assert view.tolist() == COUNT
    assert keep() is None


def test_an_error_on_its_way_is_not_disturbed():
    """Arrays, views and owners that end while an exception travels leave the exception as it was."""

    class Owner(bytearray):
        def __del__(self):
            bridge.from_(np.arange(3)) + 1

    def fail():
        a = bridge.from_(np.frombuffer(Owner(64), np.float32))
        views = [np.asarray(a), a.__dlpack__(max_version=(1, 0)), a[2:]]
        raise LookupError(len(views))

    for _ in range(20):
        with pytest.raises(LookupError, match="3"):
            fail()


def test_unused_capsules_are_told_from_used_ones():
    """A consumer that took a capsule and failed gives it back by the deleter: once, whatever happens to the capsule."""
    a = fresh()

    class Failing:
        def __init__(self, capsule):
            self.capsule = capsule

        def __dlpack__(self, **_):
            return self.capsule

        def __dlpack_device__(self):
            return (1, 0)

    capsule = a.__dlpack__(max_version=(1, 0))
    first = bridge.from_dlpack(Failing(capsule))
    with pytest.raises(bridge.ExchangeError, match=r"(?i)used|consumed|taken"):
        bridge.from_dlpack(Failing(capsule))
    with pytest.raises((BufferError, ValueError, RuntimeError, TypeError), match=r"(?i)capsule|dltensor|consumed"):
        np.from_dlpack(Failing(capsule))
    del capsule
    assert first.tolist() == COUNT
    del first
    assert bridge.leases(a) == []


def test_hundreds_of_views_of_one_array():
    """Leases are counted, listed, and given back, in any order."""
    a = fresh()
    views = [np.asarray(a) for _ in range(300)]
    assert len(bridge.leases(a)) == 300
    del views[::2]
    assert len(bridge.leases(a)) == 150
    views.reverse()
    while views:
        views.pop()
    assert bridge.leases(a) == []
    assert sys.getrefcount(a) == 2


SUBINTERPRETER = """
import bridge
import _xxsubinterpreters as interpreters
import numpy as np
a = bridge.array([1.0, 2.0])
view = np.asarray(a)
other = interpreters.create()
for _ in range(2):
    try:
        interpreters.run_string(other, "import bridge")
    except interpreters.RunFailedError as error:
        assert "one interpreter" in str(error), error
    else:
        raise AssertionError("imported twice")
interpreters.destroy(other)
a += 1
assert view.tolist() == [2.0, 3.0] and repr(a + 1) and bridge.from_(view)[0].item() == 2.0
print("reached the end")
"""


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="needs x86-64: the module is private and has moved")
def test_a_second_interpreter_is_refused_and_the_first_works_on():
    """ImportError that says why."""
    done = run_code(SUBINTERPRETER)
    assert (done.returncode, done.stdout) == (0, "reached the end\n"), done.stderr


def test_updates_while_a_view_is_being_taken_elsewhere():
    """A view that is taken inside of an update's evaluation, by a hook: the update lands where the views are then."""
    a = fresh()
    views = []

    def hook(_):
        if not views:
            views.append(np.asarray(a))

    update = a * 2 + 1
    _native.set_kernel_log(hook)
    try:
        a[...] = update
    finally:
        _native.set_kernel_log(None)
    assert a.tolist() == [2 * x + 1 for x in COUNT]
