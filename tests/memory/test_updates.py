"""What a live view sees when its array is updated: the same memory, or its own old bytes; never anything else."""

from __future__ import annotations

import numpy as np
import pytest
from memory.views import FROZEN, LEGACY, SIZE, WRITABLE, address, fresh, stir

import bridge

COUNT = list(range(SIZE))

# In-place updates that keep shape and dtype.
SAME = {
    "+=": (lambda a: a.__iadd__(1), [x + 1 for x in COUNT]),
    "*=": (lambda a: a.__imul__(bridge.array(2.0)), [x * 2 for x in COUNT]),
    "[i] =": (lambda a: a.__setitem__(3, 30.0), [30 if x == 3 else x for x in COUNT]),
    "[...] =": (lambda a: a.__setitem__(..., 5.0), [5] * SIZE),
    "[::2] =": (lambda a: a.__setitem__(slice(None, None, 2), -1.0), [-1 if x % 2 == 0 else x for x in COUNT]),
    "-= itself": (lambda a: a.__isub__(a), [0] * SIZE),
    "+= its reverse": (lambda a: a.__iadd__(a[::-1]), [SIZE - 1] * SIZE),
    "[:] = its reverse": (lambda a: a.__setitem__(slice(None), a[::-1]), COUNT[::-1]),
    "[1:] = its head": (lambda a: a.__setitem__(slice(1, None), a[:-1]), [0, *COUNT[:-1]]),
}


@pytest.mark.parametrize("update", SAME)
@pytest.mark.parametrize("exporter", WRITABLE)
def test_L01_a_writable_view_sees_an_update_of_its_array(exporter, update):
    """Same shape and dtype: computed at once, written into the storage that the view looks at."""
    a = fresh()
    view = WRITABLE[exporter].make(a)
    where = address(a)
    change, expected = SAME[update]
    result = change(a)
    assert result is None or result is a
    assert WRITABLE[exporter].read(view) == expected  # before anything evaluates a
    assert a.tolist() == expected
    assert address(a) == where


def matmul_in_place(a):
    a @= bridge.array(np.ones((SIZE, 3), np.float32))
    return a


def promote_in_place(a):
    a /= bridge.array(np.full(SIZE, 2.0), dtype=bridge.float64)
    return a


def broadcast_in_place(a):
    a += bridge.array(np.ones((3, 1), np.float32))
    return a


MOVES = {
    "@= changes the shape": (matmul_in_place, [sum(COUNT)] * 3),
    "/= changes the dtype": (promote_in_place, [x / 2 for x in COUNT]),
    "+= broadcasts": (broadcast_in_place, [[x + 1 for x in COUNT]] * 3),
}


@pytest.mark.parametrize("update", MOVES)
@pytest.mark.parametrize("exporter", WRITABLE | FROZEN | LEGACY)
def test_L01_a_view_keeps_its_bytes_when_the_array_moves(exporter, update):
    """Another shape or dtype: the array gets new storage; the view keeps the old one, valid for as long as it lives."""
    a = fresh()
    make, read = (WRITABLE | FROZEN | LEGACY)[exporter]
    view = make(a)
    change, expected = MOVES[update]
    a = change(a)
    stir()
    assert a.tolist() == expected
    stir()
    assert read(view) == COUNT
    assert bridge.leases(a) == []


@pytest.mark.parametrize("exporter", WRITABLE | FROZEN | LEGACY)
def test_L01_a_view_outlives_its_array(exporter):
    """The lease holds the storage, not the array."""
    make, read = (WRITABLE | FROZEN | LEGACY)[exporter]
    view = make(fresh())
    stir()
    assert read(view) == COUNT


@pytest.mark.parametrize("update", SAME)
@pytest.mark.parametrize("exporter", FROZEN | LEGACY)
def test_a_frozen_view_never_changes(exporter, update):
    """The engine does not write what a reader counts on: the array moves."""
    a = fresh()
    make, read = (FROZEN | LEGACY)[exporter]
    view = make(a)
    where = address(a)
    change, expected = SAME[update]
    change(a)
    stir()
    assert a.tolist() == expected
    assert read(view) == COUNT
    assert address(a) != where
    assert bridge.leases(a) == []  # its new storage is nobody else's


@pytest.mark.parametrize("exporter", WRITABLE)
def test_a_write_through_a_view_shows_in_the_array(exporter):
    """One memory: the array reads what the view wrote, again and again."""
    a = fresh()
    view = WRITABLE[exporter].make(a)
    for value in (50.0, 60.0):
        view[2] = value
        assert a[2].item() == value
        assert (a + 1)[2].item() == value + 1


@pytest.mark.parametrize("second", WRITABLE)
@pytest.mark.parametrize("first", WRITABLE)
def test_A08_two_views_of_one_array_always_agree(first, second):
    """Buffer, DLPack or both: whatever else is alive, an update shows in every writable view."""
    a = fresh()
    one, two = WRITABLE[first].make(a), WRITABLE[second].make(a)
    a[0] = 5.0
    assert WRITABLE[first].read(one)[0] == WRITABLE[second].read(two)[0] == a[0].item() == 5.0
    one[1] = 6.0
    assert WRITABLE[second].read(two)[1] == a[1].item() == 6.0


def test_A09_a_write_through_a_slice_of_an_open_array_does_not_show_in_its_parent():
    """Slicing an open array copies: arrays are values."""
    a = fresh()
    view = np.asarray(a)
    part = a[4:8]
    np.asarray(part)[0] = 99.0
    assert part[0].item() == 99.0
    assert (a[4].item(), view[4]) == (4.0, 4.0)


@pytest.mark.parametrize("exporter", WRITABLE)
def test_A09_a_view_of_a_slice_is_read_only_while_the_parent_lives(exporter):
    """The storage belongs to two arrays: what cannot be read-only is refused, what can is."""
    a = fresh()
    part = a[4:8]
    bridge.eval(part)
    assert address(part) == address(a) + 16
    if exporter.startswith("bridge.to torch"):
        with pytest.raises(bridge.CopyRequired, match=r"(?i)read-only|shares"):
            WRITABLE[exporter].make(part)
    elif exporter.startswith("torch"):
        pass  # torch ignores the flag: see test_torch_is_told_that_the_memory_is_read_only
    else:
        view = WRITABLE[exporter].make(part)
        assert np.asarray(view).flags.writeable is False
        assert WRITABLE[exporter].read(view) == [4, 5, 6, 7]
    assert a.tolist() == COUNT


@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning")
def test_torch_is_told_that_the_memory_is_read_only():
    """torch.frombuffer warns; torch.from_dlpack ignores the flag, so `bridge.to` is the way that is safe."""
    import torch

    a = fresh()
    part = a[4:8]
    bridge.eval(part)
    assert torch.frombuffer(part, dtype=torch.float32).tolist() == [4, 5, 6, 7]
    copied = bridge.to("torch", part)
    copied[0] = 50
    assert (part[0].item(), a[4].item()) == (4.0, 4.0)


@pytest.mark.parametrize("exporter", ["np.asarray", "memoryview", "np.from_dlpack", "bridge.to numpy"])
def test_A10_a_broadcast_view_is_read_only(exporter):
    """One element stands for many: no write may change them all."""
    a = bridge.broadcast_to(fresh(), (3, SIZE))
    view = WRITABLE[exporter].make(a)
    assert np.asarray(view).flags.writeable is False
    assert WRITABLE[exporter].read(view) == COUNT * 3


def test_A10_torch_gets_a_copy_of_a_broadcast():
    """torch cannot hold a read-only view: a copy where that is allowed, else a refusal that says why."""
    a = bridge.broadcast_to(fresh(), (3, SIZE))
    tensor = bridge.to("torch", a)
    tensor[0, 0] = 9
    assert a[1, 0].item() == 0
    with pytest.raises(bridge.CopyRequired, match=r"(?i)broadcast|stride 0|read-only"):
        bridge.to("torch", a, copy=False)


@pytest.mark.parametrize("exporter", WRITABLE)
def test_S09_an_op_made_before_a_write_sees_the_values_of_its_time(exporter):
    """Pending readers are evaluated before the writable view exists."""
    a = fresh()
    before = a * 10
    deeper = (a + 1) * 10
    view = WRITABLE[exporter].make(a)
    view[0] = 100.0
    assert before[0].item() == 0.0
    assert deeper[0].item() == 10.0
    assert (a * 10)[0].item() == 1000.0


@pytest.mark.parametrize("exporter", WRITABLE)
def test_S09_an_op_made_while_a_view_lives_is_evaluated_at_once(exporter):
    """Every node that reads an open storage is evaluated when it is created; what follows from it is lazy again."""
    a = fresh()
    view = WRITABLE[exporter].make(a)
    early = a * 10
    follows = early + 1
    assert bridge.core._native.is_evaluated(early)
    assert not bridge.core._native.is_evaluated(follows)
    view[0] = 100.0
    assert early[0].item() == 0.0
    assert follows[0].item() == 1.0
    late = a * 10
    assert late[0].item() == 1000.0


def test_an_array_is_lazy_again_when_its_views_are_gone():
    """Open ends with the last view."""
    a = fresh()
    view = np.asarray(a)
    del view
    later = a * 10
    assert not bridge.core._native.is_evaluated(later)


VIEW_OPS = {
    "slice": lambda a: a[2:6],
    "reshape": lambda a: a.reshape(4, 4),
    "transpose": lambda a: a.reshape(4, 4).T,
    "reverse": lambda a: a[::-1],
    "index": lambda a: a[3],
    "new axis": lambda a: a[None],
    "broadcast": lambda a: bridge.broadcast_to(a, (2, SIZE)),
}


@pytest.mark.parametrize("op", VIEW_OPS)
def test_view_ops_of_an_open_array_copy(op):
    """An update of one never shows in the other, in either direction."""
    a = fresh()
    view = np.asarray(a)
    other = VIEW_OPS[op](a)
    before = other.tolist()
    view[...] = -1.0
    assert other.tolist() == before
    a[...] = -2.0
    assert other.tolist() == before
    other += 1
    assert a.tolist() == [-2.0] * SIZE


@pytest.mark.parametrize("op", VIEW_OPS)
def test_view_ops_of_a_plain_array_share_and_are_values(op):
    """Sharing storage is not sharing fate: an update of one never changes another."""
    a = fresh()
    other = VIEW_OPS[op](a)
    bridge.eval(other)
    before = other.tolist()
    a += 100
    assert other.tolist() == before
    assert a.tolist() == [x + 100 for x in COUNT]


def test_two_names_of_one_array_are_one_array():
    """`b = a` is no copy: an update shows under both names."""
    a = fresh()
    b = a
    b[2] = 0.0
    assert a[2].item() == 0.0


@pytest.mark.parametrize("exporter", WRITABLE)
def test_an_update_that_fails_changes_nothing(exporter):
    """An error in an in-place update leaves array and view as they were."""
    a = fresh()
    view = WRITABLE[exporter].make(a)
    with pytest.raises(ValueError, match=r"(?i)broadcast|shape"):
        a += bridge.array([1.0, 2.0, 3.0])
    assert a.tolist() == WRITABLE[exporter].read(view) == COUNT
