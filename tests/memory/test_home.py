"""Bytes that come home are known by their address, whatever way they went out and whatever part of them returns."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from dlpack.capsules import Forged
from memory.views import SIZE, address, fresh
from memory.views import WRITABLE as WRITABLE_VIEWS

import bridge
from bridge.core import _native

COUNT = list(range(SIZE))


def torch_of(view):
    import torch

    return view if isinstance(view, torch.Tensor) else torch.from_numpy(np.asarray(view))


# The ways out that write, and what may be cut of the view before it comes back: the part and its first element.
PARTS = {
    "whole": (lambda view: view, 0),
    "slice": (lambda view: view[4:8], 4),
    "step": (lambda view: view[1::2], 1),
    "offset of one": (lambda view: view[SIZE - 1 :], SIZE - 1),
}
WAYS_BACK = {
    "plain": bridge.from_,
    "asarray": bridge.asarray,
    "buffer": lambda view: bridge.from_(np.asarray(view), via="buffer"),
    "dlpack": lambda view: bridge.from_(view, via="dlpack"),
    "from_dlpack": bridge.from_dlpack,
    "by torch": lambda view: bridge.from_(torch_of(view)),
    "by a memoryview": lambda view: bridge.from_(memoryview(np.asarray(view))),
}


@pytest.mark.parametrize("back", WAYS_BACK)
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    "exporter", ["np.asarray", "memoryview", "np.from_dlpack", "bridge.to torch", "bridge.to numpy"]
)
def test_a_writable_view_comes_home_to_its_storage(exporter, part, back):
    """The same memory and the same state: both arrays see the writes of the views, and ops do not wait."""
    if exporter == "memoryview" and back in ("dlpack", "from_dlpack"):
        return  # no DLPack
    a = fresh()
    view = WRITABLE_VIEWS[exporter].make(a)
    cut, first = PARTS[part]
    b = WAYS_BACK[back](cut(view))
    assert address(b) == address(a) + 4 * first
    assert {lease["access"] for lease in bridge.leases(b)} == {"write"}
    assert _native.is_evaluated(b * 2)
    view[first] = 50.0
    assert a[first].item() == b[0].item() == 50.0
    assert "writable view" in _native.frozen_reason(b)
    before = b.tolist()
    del view
    gc.collect()
    assert bridge.leases(a) == bridge.leases(b) == []
    a += 1  # values again
    assert b.tolist() == before
    assert not _native.is_evaluated(b * 2)


@pytest.mark.parametrize("target", ["jax", "tensorflow", "numpy", "torch"])
def test_a_frozen_view_comes_home_to_its_storage(target):
    """Nobody may write: lazy on both sides, and an update of either moves it."""
    a = fresh()
    view = bridge.to(target, a, copy=False, readonly=True)
    b = bridge.from_(view, readonly=target == "torch")
    assert address(b) == address(a)
    assert not _native.is_evaluated(b * 2)
    assert np.asarray(a).flags.writeable is np.asarray(b).flags.writeable is False
    b += 1
    a += 2
    assert (np.asarray(view).tolist(), a[0].item(), b[0].item()) == (COUNT, 2.0, 1.0)


@pytest.mark.parametrize("exporter", ["np.asarray", "bridge.to torch"])
def test_a_view_that_outlived_its_array_still_comes_home(exporter):
    """The storage is there as long as the view: what comes back is an array over it, and alone with the view."""
    a = fresh()
    where = address(a)
    view = WRITABLE_VIEWS[exporter].make(a)
    del a
    b = bridge.from_(view)
    assert address(b) == where
    view[0] = 9.0
    assert b[0].item() == 9.0
    del view
    second = np.asarray(b)  # nobody else is left: writable
    part = b[2:]  # of an open array: a copy
    b += 1
    assert (second[0], b[0].item()) == (10.0, 10.0)
    assert part.tolist() == COUNT[2:]


def test_a_part_that_reaches_beyond_the_storage_is_foreign():
    """A forged view that begins in an array and ends elsewhere is no part of it: the array's state does not apply."""
    a = bridge.array(np.zeros(16, np.float32))
    view = np.asarray(a)
    forged = Forged((1024,), address=address(a))  # is only described, never read
    b = bridge.from_dlpack(forged)
    assert bridge.leases(b) == []
    assert len(bridge.leases(a)) == 1
    assert view is not None
    del b
    assert forged.deleted == 1


def test_memory_beside_an_array_is_not_the_arrays():
    """Storages of one size class lie side by side: the address decides to the byte."""
    arrays = [bridge.array(np.full(16, i, np.float32)) for i in range(64)]
    views = [np.asarray(a) for a in arrays]
    for i, view in enumerate(views):
        b = bridge.from_(view)
        assert address(b) == address(arrays[i])
        view[0] = -1
        assert b[0].item() == -1
    assert [a[1].item() for a in arrays] == list(range(64))


@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 5000, 1 << 20])
def test_storages_of_every_size_are_found(size):
    """Small ones by the window of their address, large ones in order; the first element, the last, one in between."""
    arrays = [bridge.array(np.zeros(size, np.float32)) for _ in range(3)]
    views = [np.asarray(a) for a in arrays]
    for a, view in zip(arrays, views, strict=True):
        for i in {0, size // 2, size - 1}:
            b = bridge.from_(view[i : i + 1])
            view[i] = i + 1
            assert b.item() == i + 1
            assert len(bridge.leases(b)) == len(bridge.leases(a)) == 1


# Memory of others that comes home: it is known as well, so that nothing piles up.


def owners():
    import torch

    return {"numpy": np.arange(SIZE, dtype=np.float32), "torch": torch.arange(SIZE, dtype=torch.float32)}


@pytest.mark.parametrize("between", ["numpy", "torch"])
@pytest.mark.parametrize("owner", ["numpy", "torch"])
def test_imported_memory_comes_home_to_its_storage(owner, between):
    """There and back: one storage, one owner, however often; and it is still the owner's to write."""
    x = owners()[owner]
    a = bridge.from_(x)
    view = bridge.to(between, a, copy=False)
    b = bridge.from_(view, copy=False)
    assert len(bridge.leases(b)) == 1  # the view's, which it can only know as a part of the same storage
    x[0] = 5.0
    assert a[0].item() == b[0].item() == np.asarray(view)[0] == 5.0
    b += 1  # moves: imported memory is never written
    assert a[0].item() == x[0] == 5.0


def test_a_promise_is_not_mixed_with_memory_that_is_written():
    """The same bytes, taken once as they are and once on a promise: each array has the state it was given."""
    x = np.arange(SIZE, dtype=np.float32)
    a, promised = bridge.from_(x), bridge.from_(x, readonly=True)
    view, shown = np.asarray(a), np.asarray(promised)
    assert (view.flags.writeable, shown.flags.writeable) == (True, False)
    b, still_promised = bridge.from_(view), bridge.from_(shown)
    again = bridge.from_(x, readonly=True)
    assert _native.is_evaluated(b * 2)
    assert not _native.is_evaluated(still_promised * 2)
    assert not _native.is_evaluated(again * 2)
    assert np.asarray(b).flags.writeable
    assert not np.asarray(still_promised).flags.writeable


def test_the_owner_of_imported_memory_is_held_once():
    """A view that came home is let go when its array took over the storage: the owner has one holder, not a chain."""
    x = np.arange(SIZE, dtype=np.float32)
    a = bridge.from_(x)
    for _ in range(100):
        view = np.asarray(a)
        a = bridge.from_(view)
        assert len(bridge.leases(a)) == 1
    del view
    gc.collect()
    assert bridge.leases(a) == []
    x[0] = 3
    assert a[0].item() == 3
