"""What `bridge.array.__dlpack__` writes into its capsules."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest
from dlpack import capsules
from dlpack.capsules import CODES, IS_COPIED, LEGACY, READ_ONLY, VERSIONED

import bridge
from bridge.core import _native


def dtype(name: str):
    return getattr(bridge, "bool_" if name == "bool" else name)


def dense(name: str = "float32", shape=(4, 6)):
    a = bridge.array(np.arange(np.prod(shape)) % 2).astype(dtype(name)).reshape(shape)
    bridge.eval(a)
    return a


def flags(capsule) -> int:
    return capsules.read(capsule).flags


@pytest.mark.parametrize("name", CODES)
def test_dtype_shape_and_strides_are_written_exactly(name):
    """Code, bits, one lane, shape and strides in elements, the device, no byte offset."""
    a = dense(name)
    tensor = capsules.read(a.__dlpack__(max_version=(1, 0))).tensor
    assert (tensor.code, tensor.bits, tensor.lanes) == (*CODES[name], 1)
    assert (capsules.shape(tensor), capsules.strides(tensor)) == ((4, 6), (6, 1))
    assert (tensor.device_type, tensor.device_id, tensor.byte_offset) == (1, 0, 0)
    assert tensor.data % 64 == 0


VIEWS = {
    "transposed": (lambda a: a.T, (6, 4), (1, 6), 0),
    "strided": (lambda a: a[::2, 1::2], (2, 3), (12, 2), 1),
    "reversed": (lambda a: a[::-1], (4, 6), (-6, 1), 18),
    "broadcast": (lambda a: bridge.broadcast_to(a[:1], (3, 6)), (3, 6), (0, 1), 0),
    "window": (lambda a: a[1:3, 2:5], (2, 3), (6, 1), 8),
    "scalar": (lambda a: a[2, 3], (), (), 15),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_written_with_its_strides_and_its_offset_in_the_pointer(view):
    """The offset of a view is folded into data; byte_offset stays 0, because consumers forget it (Y09, Y10)."""
    make, shape, strides, offset = VIEWS[view]
    parent = dense()
    start = _native.facts(parent)[3]
    a = make(parent)
    bridge.eval(a)
    tensor = capsules.read(a.__dlpack__(max_version=(1, 0))).tensor
    assert (capsules.shape(tensor), capsules.strides(tensor)) == (shape, strides)
    assert (tensor.data, tensor.byte_offset) == (start + 4 * offset, 0)


@pytest.mark.parametrize("max_version", [None, (0, 8)])
def test_consumers_of_the_old_struct_get_it(max_version):
    """No max_version, or one below 1: the legacy capsule (K05)."""
    capsule = dense().__dlpack__(max_version=max_version)
    assert capsules.name(capsule) == LEGACY
    assert capsules.read(capsule).deleter


@pytest.mark.parametrize("max_version", [(1, 0), (1, 1), (1, 3), (1, 99), (2, 0), (9, 9)])
def test_consumers_of_version_1_get_version_1(max_version):
    """Whatever the consumer can read beyond 1.x, the capsule says 1.something."""
    capsule = dense().__dlpack__(max_version=max_version)
    assert capsules.name(capsule) == VERSIONED
    assert capsules.read(capsule).major == 1


@pytest.mark.parametrize("shape", [(0,), (0, 6), (4, 0, 2)])
def test_zero_size_arrays_have_no_data(shape):
    """No elements: data is NULL, shape and strides are still there."""
    tensor = capsules.read(dense(shape=shape).__dlpack__(max_version=(1, 0))).tensor
    assert tensor.data is None
    assert capsules.shape(tensor) == shape
    assert bool(tensor.strides)


def test_strides_are_filled_for_the_old_struct_as_well():
    """A NULL strides pointer crashes consumers (Y16)."""
    assert capsules.strides(capsules.read(dense().__dlpack__()).tensor) == (6, 1)


def test_a_plain_array_is_handed_out_writable():
    """A versioned capsule without flags is a writable view: the storage is open while it lives."""
    a = dense()
    capsule = a.__dlpack__(max_version=(1, 0))
    assert flags(capsule) == 0
    assert [lease["access"] for lease in bridge.leases(a)] == ["write"]


def test_read_only_is_said_where_writing_is_not_granted():
    """Another array shares the storage, or one element stands for many: READ_ONLY."""
    a = dense()
    b = a.reshape(24)
    bridge.eval(b)
    assert flags(a.__dlpack__(max_version=(1, 0))) == READ_ONLY
    assert flags(bridge.broadcast_to(dense(), (2, 4, 6)).__dlpack__(max_version=(1, 0))) == READ_ONLY
    assert b.shape == (24,)


def test_an_array_is_writable_again_when_the_other_is_gone():
    """Sharing is a matter of who lives now."""
    a = dense()
    b = a.reshape(24)
    bridge.eval(b)
    del b
    assert flags(a.__dlpack__(max_version=(1, 0))) == 0


def test_a_copy_says_so_and_is_a_copy():
    """copy=True: memory of its own, IS_COPIED set, so the consumer knows that it may write (A13)."""
    a = dense()
    capsule = a.__dlpack__(max_version=(1, 0), copy=True)
    managed = capsules.read(capsule)
    assert managed.flags == IS_COPIED
    assert managed.tensor.data != _native.facts(a)[3]
    assert bridge.leases(a) == []
    assert np.array_equal(np.asarray(bridge.from_dlpack(Once(capsule))), np.asarray(a))


class Once:
    """Hands over a capsule that is already there."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **_):
        return self.capsule

    def __dlpack_device__(self):
        return (1, 0)


@pytest.mark.parametrize("copy", [None, False])
def test_sharing_shares(copy):
    """copy=None and copy=False give the array's own memory and say nothing about a copy."""
    a = dense()
    managed = capsules.read(a.__dlpack__(max_version=(1, 0), copy=copy))
    assert managed.tensor.data == _native.facts(a)[3]
    assert not managed.flags & IS_COPIED


def test_the_device_is_the_cpu():
    """`__dlpack_device__` says CPU, device 0."""
    assert tuple(dense().__dlpack_device__()) == (1, 0)


def test_the_cpu_may_be_asked_for():
    """dl_device=(1, 0) is where the array is already."""
    assert capsules.read(dense().__dlpack__(max_version=(1, 0), dl_device=(1, 0))).tensor.device_type == 1


@pytest.mark.parametrize("device", [(2, 0), (8, 0), (1, 1), (99, 0)])
def test_other_devices_are_refused(device):
    """No other device can be reached: BufferError, as the standard asks."""
    with pytest.raises(BufferError, match=r"(?i)device"):
        dense().__dlpack__(dl_device=device)


@pytest.mark.parametrize("device", [1, "cpu", (1,), (1, 0, 0), (1.5, 0)])
def test_a_malformed_device_is_a_type_error_not_a_crash(device):
    """Arguments of the wrong kind are refused with an exception."""
    with pytest.raises((TypeError, ValueError, BufferError), match=r"(?i)device|tuple|int"):
        dense().__dlpack__(dl_device=device)


@pytest.mark.parametrize("version", [1, (1,), "1.0", (None, None)])
def test_a_malformed_version_is_refused(version):
    """Arguments of the wrong kind are refused with an exception."""
    with pytest.raises((TypeError, ValueError, BufferError), match=r"(?i)version|tuple|int"):
        dense().__dlpack__(max_version=version)


def test_no_stream_is_needed_on_the_cpu():
    """stream=None is fine; the arguments are keywords only."""
    assert dense().__dlpack__(stream=None)
    with pytest.raises(TypeError, match=r"(?i)positional|argument"):
        dense().__dlpack__(None)
    with pytest.raises(TypeError, match=r"(?i)unexpected|keyword|argument|invalid"):
        dense().__dlpack__(nonsense=1)


@pytest.mark.parametrize("max_version", [None, (1, 0)])
def test_a_capsule_that_nobody_uses_gives_everything_back(max_version):
    """The lease ends with the capsule."""
    a = dense()
    capsule = a.__dlpack__(max_version=max_version)
    assert len(bridge.leases(a)) == 1
    del capsule
    gc.collect()
    assert bridge.leases(a) == []


@pytest.mark.parametrize("max_version", [None, (1, 0)])
def test_a_used_capsule_leaves_the_rest_to_the_deleter(max_version):
    """After the consumer renamed the capsule and called the deleter, dropping the capsule does nothing more."""
    a = dense()
    capsule = a.__dlpack__(max_version=max_version)
    capsules.use(capsule)
    assert bridge.leases(a) == []
    del capsule
    assert a.sum().item() == 12


def test_the_capsule_outlives_the_array():
    """Dropping the array first leaves the bytes valid until the capsule goes."""
    a = dense()
    capsule = a.__dlpack__(max_version=(1, 0))
    del a
    gc.collect()
    other = [bridge.full((4, 6), 7.0) for _ in range(20)]  # would take the freed storage
    bridge.eval(other)
    data = capsules.read(capsule).tensor.data
    assert (ctypes.c_float * 4).from_address(data)[:] == [0.0, 1.0, 0.0, 1.0]


def test_many_exports_of_one_array_live_side_by_side():
    """Exporting consumes nothing (L07)."""
    a = dense()
    every = [a.__dlpack__(max_version=(1, 0)) for _ in range(5)]
    assert len({capsules.read(c).tensor.data for c in every}) == 1
    assert len(bridge.leases(a)) == 5
    del every
    assert bridge.leases(a) == []


def test_a_legacy_capsule_is_counted_as_both():
    """Nobody knows whether its consumer writes: the engine does not write, and reads at once."""
    a = dense()
    start = _native.facts(a)[3]
    capsule = a.__dlpack__()
    a[0] = 9.0
    tensor = capsules.read(capsule).tensor
    assert (ctypes.c_float * 1).from_address(tensor.data)[0] == 0.0  # frozen for the engine's writes: it moved
    assert _native.facts(a)[3] != start == tensor.data
    b = dense()
    capsule = b.__dlpack__()
    lazy = b * 10
    (ctypes.c_float * 1).from_address(capsules.read(capsule).tensor.data)[0] = 100.0
    assert lazy[0, 0].item() == 0.0  # opened for the engine's reads: evaluated when it was created
    assert b[0, 0].item() == 100.0


# The C exchange table.

FUNCTION = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p)


class ExchangeTable(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("previous", ctypes.c_void_p),
        ("allocator", ctypes.c_void_p),
        ("managed_from_object", ctypes.c_void_p),
        ("managed_to_object", ctypes.c_void_p),
        ("tensor_from_object", ctypes.c_void_p),
        ("work_stream", ctypes.c_void_p),
    )


def exchange_table() -> ExchangeTable:
    capsule = bridge.array.__dlpack_c_exchange_api__
    return ExchangeTable.from_address(ctypes.pythonapi.PyCapsule_GetPointer(capsule, b"dlpack_exchange_api"))


def test_the_exchange_table_stands_on_the_type():
    """Version 1, and the functions that the standard requires."""
    table = exchange_table()
    assert ctypes.sizeof(ExchangeTable) == 56
    assert table.major == 1
    assert table.managed_from_object
    assert table.managed_to_object
    assert table.work_stream


def test_the_exchange_table_exports_a_managed_tensor():
    """An owning export: same memory, and the deleter ends the lease."""
    a = dense()
    out = ctypes.c_void_p()
    assert FUNCTION(exchange_table().managed_from_object)(a, ctypes.addressof(out)) == 0
    managed = capsules.DLManagedTensorVersioned.from_address(out.value)
    assert managed.tensor.data == _native.facts(a)[3]
    assert capsules.shape(managed.tensor) == (4, 6)
    assert len(bridge.leases(a)) == 1
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(managed.deleter)(out.value)
    assert bridge.leases(a) == []


def test_the_exchange_table_lends_a_tensor():
    """A borrowed export: evaluated, described, and over when control returns: no lease stays."""
    a = bridge.array([1.0, 2.0]) + 1
    tensor = capsules.DLTensor()
    assert FUNCTION(exchange_table().tensor_from_object)(a, ctypes.addressof(tensor)) == 0
    assert (ctypes.c_float * 2).from_address(tensor.data)[:] == [2.0, 3.0]
    assert (capsules.shape(tensor), capsules.strides(tensor)) == ((2,), (1,))
    assert bridge.leases(a) == []


def test_the_exchange_table_imports_a_managed_tensor():
    """Ownership goes to the new array, which calls the deleter once."""
    forged = capsules.Forged((2, 3))
    pointer, result = ctypes.addressof(forged.managed), ctypes.py_object()
    take = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.py_object))
    assert take(exchange_table().managed_to_object)(pointer, ctypes.byref(result)) == 0
    a = result.value
    assert type(a) is bridge.array
    assert (a.shape, a.dtype) == ((2, 3), bridge.float32)
    assert _native.facts(a)[3] == forged.address
    # PyObject* written through a raw pointer is not counted by ctypes: give its reference back by hand.
    ctypes.pythonapi.Py_DecRef(result)
    ctypes.memset(ctypes.addressof(result), 0, ctypes.sizeof(result))
    del a
    gc.collect()
    assert forged.deleted == 1


def test_the_exchange_table_refuses_what_is_no_array():
    """-1 and a Python error, never a crash."""
    out = ctypes.c_void_p()
    with pytest.raises(TypeError, match=r"(?i)array"):
        FUNCTION(exchange_table().managed_from_object)("no array", ctypes.addressof(out))
