"""Plain, open, frozen: what each state grants, rule by rule."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from memory.views import FROZEN, LEGACY, SIZE, WRITABLE, address, fresh, stir

import bridge
from bridge.core import _native

COUNT = list(range(SIZE))


def access(a) -> list[str]:
    return sorted(lease["access"] for lease in bridge.leases(a))


def test_a_plain_array_has_no_leases():
    """Fresh, evaluated, sliced, used: nobody outside looks at it."""
    a = fresh()
    b = a[2:4] + 1
    bridge.eval(b)
    assert bridge.leases(a) == bridge.leases(b) == []


@pytest.mark.parametrize("exporter", WRITABLE | FROZEN | LEGACY)
def test_every_view_is_one_lease_until_it_is_gone(exporter):
    """leases(a) names who holds the memory, by which protocol; it ends with the view."""
    a = fresh()
    view = (WRITABLE | FROZEN | LEGACY)[exporter].make(a)
    gc.collect()
    leases = bridge.leases(a)
    assert len(leases) == 1
    assert set(leases[0]) >= {"holder", "access", "protocol"}
    assert all(isinstance(leases[0][key], str) and leases[0][key] for key in ("holder", "access", "protocol"))
    if leases[0]["protocol"] != "buffer":  # a buffer does not know who asked for it
        assert not exporter.startswith("bridge.to") or exporter.split()[1] in leases[0]["holder"]
    assert view is not None
    del view
    gc.collect()
    assert bridge.leases(a) == []


@pytest.mark.parametrize("exporter", WRITABLE)
def test_frozen_wanted_on_open_copies_or_raises(exporter):
    """jax and TF count on bytes that stay: with a writer alive they get a copy, or copy=False names the writer."""
    a = fresh()
    view = WRITABLE[exporter].make(a)
    for target in ("jax", "tensorflow"):
        with pytest.raises(bridge.CopyRequired, match=r"(?i)writ.*alive|writable view"):
            bridge.to(target, a, copy=False)
        copied = bridge.to(target, a)
        view[0] = 77.0
        assert np.asarray(copied)[0] == 0.0
        view[0] = 0.0
    assert access(a) == ["write"]


@pytest.mark.parametrize("exporter", FROZEN)
def test_writable_wanted_on_frozen_is_read_only_or_copied(exporter):
    """NumPy and memoryview get a read-only view, torch a copy; copy=False to torch names the live lease."""
    a = fresh()
    keep = FROZEN[exporter].make(a)
    assert np.asarray(a).flags.writeable is False
    assert memoryview(a).readonly
    assert np.from_dlpack(a).flags.writeable is False
    assert bridge.to("numpy", a, copy=False).flags.writeable is False
    holder = exporter.split()[1]
    with pytest.raises(bridge.CopyRequired, match=rf"(?is)read-only|frozen.*{holder}"):
        bridge.to("torch", a, copy=False)
    tensor = bridge.to("torch", a)
    tensor[0] = 9
    assert a[0].item() == 0
    assert FROZEN[exporter].read(keep) == COUNT


@pytest.mark.parametrize("exporter", FROZEN | LEGACY)
def test_a_writable_buffer_of_a_frozen_array_is_refused(exporter):
    """A request with WRITABLE gets BufferError, not a read-only buffer."""
    import io

    a = fresh()
    keep = (FROZEN | LEGACY)[exporter].make(a)
    with pytest.raises((BufferError, TypeError), match=r"(?i)read-only|read-write|writ|frozen"):
        io.BytesIO(b"x" * 64).readinto(a)
    assert (FROZEN | LEGACY)[exporter].read(keep) == COUNT


def test_frozen_ends_with_the_last_reader():
    """When the reader is gone, the array can be written again."""
    a = fresh()
    view = bridge.to("jax", a, copy=False)
    assert np.asarray(a).flags.writeable is False
    del view
    gc.collect()
    assert np.asarray(a).flags.writeable is True


def test_many_readers_share_frozen_memory():
    """Frozen and frozen agree: one memory for all of them."""
    a = fresh()
    views = [exporter.make(a) for exporter in FROZEN.values()]
    assert len(bridge.leases(a)) == len(views)
    assert all(exporter.read(view) == COUNT for exporter, view in zip(FROZEN.values(), views, strict=True))
    assert views[0].unsafe_buffer_pointer() == address(a)
    assert views[2].ctypes.data == views[3].data_ptr() == address(a)


def test_many_writers_of_one_array_are_one_writer():
    """Any number of writable views of one array, mixed: they see each other."""
    a = fresh()
    views = [exporter.make(a) for exporter in WRITABLE.values()]
    assert access(a) == ["write"] * len(views)
    views[0][5] = 55.0
    assert all(exporter.read(view)[5] == 55.0 for exporter, view in zip(WRITABLE.values(), views, strict=True))


def test_a_frozen_array_stays_lazy():
    """Nobody writes, so nothing needs to be evaluated early; view ops share."""
    a = fresh()
    view = bridge.to("jax", a, copy=False)
    later, part = a * 2, a[4:]
    assert not _native.is_evaluated(later)
    bridge.eval(part)
    assert address(part) == address(a) + 16
    assert later.tolist() == [2 * x for x in COUNT]
    assert view is not None


def test_release_moves_the_array_and_leaves_the_bytes_to_the_views():
    """After release the views keep the old memory, and the array is plain in its own."""
    a = fresh()
    view = np.asarray(a)
    where = address(a)
    bridge.release(a)
    assert bridge.leases(a) == []
    assert address(a) != where
    view[0] = 70.0
    a[1] = 80.0
    stir()
    assert (a[0].item(), view[1], view[0]) == (0.0, 1.0, 70.0)


def test_release_of_a_plain_array_is_nothing():
    """No lease, no move."""
    a = fresh()
    where = address(a)
    bridge.release(a)
    assert address(a) == where


def test_release_makes_frozen_wanted_on_open_possible():
    """The way out that the refusal names."""
    a = fresh()
    view = np.asarray(a)
    bridge.release(a)
    assert bridge.to("jax", a, copy=False).unsafe_buffer_pointer() == address(a)
    assert view.tolist() == COUNT


def test_leased_storage_is_not_reused_for_a_result():
    """`b = a + 1` with `a` dying may take over its storage, but never one that a view looks at."""
    a = fresh()
    view = np.asarray(a)
    b = a + 1
    del a
    bridge.eval(b)
    stir()
    assert view.tolist() == COUNT
    assert b.tolist() == [x + 1 for x in COUNT]


def test_a_view_of_a_pending_array_evaluates_it_first():
    """The lease is on a storage, so there is one."""
    a = fresh() + 1
    view = np.asarray(a)
    assert view.tolist() == [x + 1 for x in COUNT]
    view[0] = 5.0
    assert a[0].item() == 5.0


def test_reading_the_facts_takes_no_lease():
    """explain, print, item and leases look without holding."""
    a = fresh()
    bridge.explain("torch", a)
    repr(a), a.tolist(), a[0].item(), bridge.leases(a)
    assert bridge.leases(a) == []
