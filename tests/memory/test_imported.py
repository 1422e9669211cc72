"""Memory that belongs to somebody else: the owner writes, the engine never does."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest
from interop.memory_of import aligned_bytes
from memory.views import SIZE, address, fresh, stir

import bridge
from bridge.core import _native

COUNT = list(range(SIZE))


def numpy_owner():
    x = aligned_bytes(4 * SIZE).view(np.float32)
    x[:] = COUNT
    return x


def torch_owner():
    import torch

    return torch.arange(SIZE, dtype=torch.float32)


OWNERS = {"numpy": numpy_owner, "torch": torch_owner}


def jax_owner():
    import jax.numpy as jnp

    return jnp.arange(SIZE, dtype=jnp.float32)


def tensorflow_owner():
    import tensorflow as tf

    return tf.range(SIZE, dtype=tf.float32)


def read_only_owner():
    x = numpy_owner()
    x.flags.writeable = False
    return x


READERS = {"jax": jax_owner, "tensorflow": tensorflow_owner, "numpy read-only": read_only_owner}


@pytest.mark.parametrize("owner", OWNERS)
def test_imported_memory_is_open_from_the_start(owner):
    """The owner is the writer: its writes show, and ops are evaluated when they are made (S09)."""
    x = OWNERS[owner]()
    a = bridge.from_(x, copy=False)
    early = a * 10
    assert _native.is_evaluated(early)
    x[0] = 100.0
    assert (early[0].item(), (a * 10)[0].item()) == (0.0, 1000.0)


@pytest.mark.parametrize("owner", READERS)
def test_memory_that_nobody_writes_is_lazy(owner):
    """A read-only source cannot change under the engine, so nothing is evaluated early."""
    a = bridge.from_(READERS[owner](), copy=False)
    later = a * 10
    assert not _native.is_evaluated(later)
    assert later.tolist() == [10 * x for x in COUNT]


UPDATES = {
    "+=": lambda a: a.__iadd__(1),
    "[i] =": lambda a: a.__setitem__(3, 30.0),
    "[...] =": lambda a: a.__setitem__(..., 5.0),
}


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("owner", OWNERS | READERS)
def test_the_engine_never_writes_imported_memory(owner, update):
    """An in-place update moves the array; the owner's bytes stay."""
    x = (OWNERS | READERS)[owner]()
    a = bridge.from_(x, copy=False)
    where = address(a)
    UPDATES[update](a)
    bridge.eval(a)
    assert address(a) != where
    assert np.asarray(x).tolist() == COUNT
    assert a.tolist() != COUNT
    if owner in OWNERS:
        x[1] = 11.0
        assert a[1].item() != 11.0  # it has moved


WINDOWS = {
    "slice": (lambda a: a[4:8], 4),
    "step": (lambda a: a[1::3], 1),
    "reverse": (lambda a: a[::-1], SIZE - 1),
    "reshape": (lambda a: a.reshape(4, 4), 0),
    "transpose": (lambda a: a.reshape(4, 4).T, 0),
    "index": (lambda a: a.reshape(4, 4)[2], 8),
    "new axis": (lambda a: a[None], 0),
}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("owner", OWNERS)
def test_views_of_an_imported_array_are_windows_on_the_owner(owner, window):
    """As in NumPy: same memory, the owner's writes show through; the results of ops are values."""
    x = OWNERS[owner]()
    a = bridge.from_(x, copy=False)
    make, offset = WINDOWS[window]
    w = make(a)
    value = w + 0
    before = value.tolist()
    bridge.eval(w)
    assert address(w) == address(a) + 4 * offset
    x[:] = 7.0
    assert w.flatten().tolist() == [7.0] * w.size
    assert value.tolist() == before


def test_an_update_of_a_window_moves_the_window_alone():
    """Neither the owner nor the array it was cut from changes."""
    x = numpy_owner()
    a = bridge.from_(x, copy=False)
    w = a[4:8]
    w += 100
    assert w.tolist() == [104, 105, 106, 107]
    assert x.tolist() == a.tolist() == COUNT


@pytest.mark.parametrize("owner", OWNERS)
def test_readonly_is_a_promise_that_restores_laziness(owner):
    """asarray(x, readonly=True): the caller will not write, so the graph stays lazy and the memory can be frozen."""
    a = bridge.asarray(OWNERS[owner](), readonly=True)
    assert not _native.is_evaluated(a * 10)
    view = bridge.to("numpy", a, copy=False)
    assert view.flags.writeable is False


@pytest.mark.parametrize("owner", OWNERS)
def test_the_constructor_copies(owner):
    """bridge.array(x) is a value from the first moment."""
    x = OWNERS[owner]()
    a = bridge.array(x)
    x[0] = 100.0
    assert a.tolist() == COUNT
    assert not _native.is_evaluated(a * 10)


@pytest.mark.parametrize("owner", OWNERS)
def test_imported_memory_can_be_handed_on_writable(owner):
    """Owner and view together are the one writer."""
    x = OWNERS[owner]()
    a = bridge.from_(x, copy=False)
    view = bridge.to("numpy", a, copy=False)
    view[0] = 9.0
    assert x[0] == 9.0
    assert a[0].item() == 9.0


@pytest.mark.parametrize("owner", OWNERS)
def test_imported_memory_is_not_frozen_while_its_owner_can_write(owner):
    """jax would count on bytes that the owner may change: a copy, or a refusal."""
    a = bridge.from_(OWNERS[owner](), copy=False)
    with pytest.raises(bridge.CopyRequired, match=r"(?i)writ"):
        bridge.to("jax", a, copy=False)
    assert bridge.to("jax", a).unsafe_buffer_pointer() != address(a)


# Bytes that are bridge's own, coming back.


def test_a_view_that_comes_back_finds_its_storage():
    """from_(np.asarray(a)) is the same memory and the same state: open, one writer."""
    a = fresh()
    view = np.asarray(a)
    b = bridge.from_(view, copy=False)
    assert address(b) == address(a)
    view[0] = 5.0
    assert (a[0].item(), b[0].item()) == (5.0, 5.0)
    assert _native.is_evaluated(b * 2)
    a += 1  # a's storage is now two arrays': whatever happens, b must not see half of it
    assert a.tolist() == [6.0, *[x + 1 for x in COUNT[1:]]]
    assert b.tolist() in (a.tolist(), [5.0, *COUNT[1:]])


def test_a_frozen_view_that_comes_back_is_frozen():
    """from_(jax view of a): still nobody may write these bytes, so an update of either moves it."""
    a = fresh()
    view = bridge.to("jax", a, copy=False)
    b = bridge.from_(view, copy=False)
    assert address(b) == address(a)
    a += 1
    assert (b.tolist(), np.asarray(view).tolist()) == (COUNT, COUNT)
    b += 2
    assert a.tolist() == [x + 1 for x in COUNT]
    assert np.asarray(view).tolist() == COUNT


def test_a_view_through_two_frameworks_finds_its_storage():
    """a -> torch -> numpy -> bridge is a's own memory."""
    a = fresh()
    view = bridge.to("torch", a, copy=False).numpy()
    b = bridge.from_(view, copy=False)
    assert address(b) == address(a) == view.ctypes.data
    with pytest.raises(bridge.CopyRequired, match=r"(?i)writ|alive"):
        bridge.to("jax", a, copy=False)


def test_a_part_that_comes_back_joins_the_state_too():
    """The address may lie anywhere inside the storage."""
    a = fresh()
    view = np.asarray(a)[4:8]
    b = bridge.from_(view, copy=False)
    assert address(b) == address(a) + 16
    view[0] = 44.0
    assert (a[4].item(), b[0].item()) == (44.0, 44.0)


def test_a_round_trip_leaves_no_lease_when_all_is_gone():
    """Joining a storage makes no circle that keeps it alive."""
    a = fresh()
    b = bridge.from_(np.asarray(a), copy=False)
    del b
    gc.collect()
    assert bridge.leases(a) == []
    before = bridge.get_active_memory()
    del a
    gc.collect()
    assert bridge.get_active_memory() < before


# Owners are kept alive exactly as long as they are needed.


class Owner(bytearray):
    """Memory that can be referred to weakly."""


def owned() -> tuple[np.ndarray, weakref.ref]:
    """0, 1, 2, ... over memory whose end can be seen."""
    memory = Owner(4 * SIZE)
    x = np.frombuffer(memory, np.float32)
    x[:] = COUNT
    return x, weakref.ref(memory)


@pytest.mark.parametrize("via", [None, "buffer", "dlpack"])
def test_the_owner_lives_as_long_as_the_last_array_over_it(via):
    """Windows and results of view ops count as well."""
    x, alive = owned()
    a = bridge.from_(x, copy=False, via=via)
    del x
    gc.collect()
    w = a[4:8]
    bridge.eval(w)
    del a
    gc.collect()
    stir()
    assert alive() is not None
    assert w.tolist() == [4, 5, 6, 7]
    del w
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("owner", OWNERS | READERS)
def test_importing_gives_back_every_reference(owner):
    """The owner's reference count after is the one before."""
    x = (OWNERS | READERS)[owner]()
    before = sys.getrefcount(x)
    for _ in range(10):
        a = bridge.from_(x, copy=False)
        assert a.tolist() == COUNT
        del a
    gc.collect()
    assert sys.getrefcount(x) == before


def test_an_update_lets_go_of_the_owner():
    """The array moved away, so it needs the owner no more."""
    x, alive = owned()
    a = bridge.from_(x, copy=False)
    a += 1
    bridge.eval(a)
    del x
    gc.collect()
    assert alive() is None
    assert a.tolist() == [x + 1 for x in COUNT]
