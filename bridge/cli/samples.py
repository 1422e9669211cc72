"""Sample arrays of every framework in every layout, and what can be asked of them without bridge.

A sample is built over memory whose alignment is chosen, not left to luck, so that a run gives the same outcomes on
every machine. Values are compared as the bytes of the row-major array: NaN payloads and signed zeros count.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy

import bridge
from bridge.core import _native
from bridge.core.framework import ITEMSIZE, SUB_BYTE
from bridge.core.memory import ALIGNMENT, NATIVE, numpy_dtype

__all__ = ["ADAPTERS", "DTYPES", "LAYOUTS", "Adapter", "Layout", "Value", "make"]

DTYPES: tuple[str, ...] = tuple(ITEMSIZE)
#: What TensorFlow has ops for, and codes in its capsules.
DLPACK = NATIVE | {"bfloat16"}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the elements of one array lie: of `count` elements of memory, shape, strides and offset pick some.

    Strides and offset are in elements. `strides=None` is made by a recipe of its own and not by these numbers.
    """

    about: str
    count: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    offset: int = 0
    shift: int = 0  # bytes between a 64-byte boundary and the memory
    readonly: bool = False


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "dense": Layout("row-major, without gaps", 24, (4, 6), (6, 1)),
        "scalar": Layout("no axes, one element", 1, (), ()),
        "empty": Layout("no elements", 0, (0, 6), (6, 1)),
        "unit_axes": Layout("axes of one element with strides that nobody uses", 24, (1, 4, 1, 6), (5, 6, 7, 1)),
        "transposed": Layout("x.T", 24, (6, 4), (1, 6)),
        "permuted": Layout("three axes in another order", 24, (3, 4, 2), (4, 1, 12)),
        "fortran": Layout("column-major", 24, (4, 6), (1, 4)),
        "offset": Layout("x[1:]: begins between two 64-byte boundaries", 25, (24,), (1,), offset=1),
        "aligned_offset": Layout("x[64:]: begins on a 64-byte boundary again", 88, (24,), (1,), offset=64),
        "strided": Layout("x[:, ::2]", 48, (4, 6), (12, 2)),
        "window": Layout("x[1:5, 1:7]", 48, (4, 6), (8, 1), offset=9),
        "reversed": Layout("x[::-1]", 24, (4, 6), (-6, 1), offset=18),
        "backwards": Layout("x[::-1, ::-1]", 24, (4, 6), (-6, -1), offset=23),
        "broadcast": Layout("one row that stands for four", 6, (4, 6), (0, 1)),
        "overlapping": Layout("sliding windows", 9, (4, 6), (1, 1)),
        "unaligned": Layout("begins one byte past a 64-byte boundary", 24, (4, 6), (6, 1), shift=1),
        "readonly": Layout("dense, and not writeable", 24, (4, 6), (6, 1), readonly=True),
        "field": Layout("a field of a record array: one byte between elements", 24, (24,), None),
        "idle": Layout("one element, its axis with an odd stride that nobody uses", 1, (1,), None),
        "swapped": Layout("dense, in the other byte order", 24, (4, 6), None),
    }
)


class Value(NamedTuple):
    """What an array holds, whoever holds it."""

    dtype: str
    shape: tuple[int, ...]
    bits: bytes


@dataclass(frozen=True, slots=True)
class Adapter:
    """How to build an array of one framework, and how to look at it by the framework's own means.

    `build` returns None where the framework has no such array. `writable`: the framework lets its user write it.
    """

    build: Callable[[str, Layout], Any]
    address: Callable[[Any], int]
    value: Callable[[Any], Value]
    writable: Callable[[Any], bool]
    module: str


def make(framework: str, dtype: str, layout: str) -> Any:
    """An array of the framework in that layout; None where there is none: wrong dtype or no such strides."""
    return ADAPTERS[framework].build(dtype, LAYOUTS[layout])


# -------------------------------------------------------------------------------------------------------------- values

# Bits that a move must not change although arithmetic would: a signalling NaN, negative zero, the least subnormal.
_DELICATE = {
    "float16": ("u2", (0x7C01, 0x8000, 0x0001)),
    "bfloat16": ("u2", (0x7F81, 0x8000, 0x0001)),
    "float32": ("u4", (0x7F800001, 0x80000000, 0x00000001)),
    "float64": ("u8", (0x7FF0000000000001, 0x8000000000000000, 0x0000000000000001)),
    "complex64": ("u4", (0x7F800001, 0x80000000, 0x00000001)),
    "complex128": ("u8", (0x7FF0000000000001, 0x8000000000000000, 0x0000000000000001)),
}
_LARGEST = {"bool": 2, "int4": 16, "uint4": 16, "float4_e2m1fn": 16}  # bytes that are values, where not all are


def elements(dtype: str, count: int) -> numpy.ndarray[Any, Any]:
    """`count` elements, the same at every call: most bit patterns of a byte, the delicate ones first."""
    resolved = numpy_dtype(dtype)
    raw = ((numpy.arange(count * resolved.itemsize) * 37 + 1) % _LARGEST.get(dtype, 256)).astype(numpy.uint8)
    if dtype in _DELICATE:
        unsigned, bits = _DELICATE[dtype]
        parts = raw.view(unsigned)
        parts[: len(bits)] = bits[: parts.size]
    return raw.view(resolved)


def _memory(dtype: str, layout: Layout) -> numpy.ndarray[Any, Any]:
    """The elements of the layout's memory as writable bytes at the address it asks for."""
    source = elements(dtype, layout.count).view(numpy.uint8)
    block = numpy.empty(source.size + 2 * ALIGNMENT, numpy.uint8)
    start = -block.ctypes.data % ALIGNMENT + layout.shift
    memory = block[start : start + source.size]
    memory[...] = source
    return memory


# --------------------------------------------------------------------------------------------------------------- numpy


def _numpy(dtype: str, layout: Layout) -> Any:
    resolved = numpy_dtype(dtype)
    if layout.strides is None:
        return _recipe(dtype, layout)
    array: numpy.ndarray[Any, Any] = numpy.ndarray(
        layout.shape,
        resolved,
        buffer=_memory(dtype, layout).data,
        offset=layout.offset * resolved.itemsize,
        strides=[stride * resolved.itemsize for stride in layout.strides],
    )
    array.flags.writeable = not layout.readonly
    return array


def _recipe(dtype: str, layout: Layout) -> Any:
    """What only NumPy has, and only where an element has several bytes: odd strides, and the other byte order."""
    resolved = numpy_dtype(dtype)
    if resolved.itemsize == 1 or dtype not in NATIVE:
        return None
    if layout is LAYOUTS["idle"]:
        strides = [resolved.itemsize + 1]
        return numpy.ndarray(layout.shape, resolved, buffer=_memory(dtype, layout).data, strides=strides)
    values = elements(dtype, layout.count).reshape(layout.shape)
    if layout is LAYOUTS["swapped"]:
        return values.astype(resolved.newbyteorder("S"))
    records = numpy.zeros(layout.shape, [("gap", "u1"), ("field", resolved)])
    records["field"] = values
    return records["field"]


def _value_of_numpy(array: Any) -> Value:
    native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return Value(native.dtype.name, tuple(array.shape), native.tobytes())


def _address_of_numpy(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


# --------------------------------------------------------------------------------------------------------------- torch


def _torch(dtype: str, layout: Layout) -> Any:
    import torch

    resolved = getattr(torch, dtype, None)  # of four bits torch has the names alone: it cannot even copy them
    if (
        resolved is None
        or dtype in SUB_BYTE
        or layout.strides is None
        or layout.readonly
        or min(layout.strides, default=0) < 0
    ):
        return None
    memory = _memory(dtype, layout)
    if layout.shift or not layout.count:
        return torch.from_numpy(memory).view(resolved).as_strided(layout.shape, layout.strides, layout.offset)
    tensor = torch.empty(layout.count, dtype=resolved)  # of its own memory, which is 64-byte aligned
    tensor.view(torch.uint8).copy_(torch.from_numpy(memory))
    return tensor.as_strided(layout.shape, layout.strides, layout.offset)


def _value_of_torch(array: Any) -> Value:
    import torch

    flat = array.contiguous().reshape(-1)
    bits = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
    return Value(str(array.dtype).removeprefix("torch."), tuple(array.shape), bits)


# ----------------------------------------------------------------------------------------------------------------- jax


def _jax(dtype: str, layout: Layout) -> Any:
    import jax

    known = hasattr(jax.numpy, "bool_" if dtype == "bool" else dtype)
    narrowed = str(jax.dtypes.canonicalize_dtype(numpy_dtype(dtype))) != dtype if known else True
    if narrowed or layout.strides is None or layout.offset or layout.shift or layout.readonly:
        return None
    order = _order(layout)
    if order is None:
        return None
    values = numpy.ascontiguousarray(_numpy(dtype, layout)).reshape(layout.shape)
    device = jax.devices("cpu")[0]
    if order == tuple(range(len(order))):
        return jax.device_put(jax.numpy.array(values), device)
    try:
        from jax.experimental.layout import Format
        from jax.experimental.layout import Layout as DeviceLayout
    except ImportError:  # before 0.7, where an array in another order has to be computed
        return None
    return jax.device_put(values, Format(DeviceLayout(order), jax.sharding.SingleDeviceSharding(device)))


def _order(layout: Layout) -> tuple[int, ...] | None:
    """The axes from the outermost to the innermost if they make one dense block; None if there are gaps or overlaps."""
    strides, shape = layout.strides, layout.shape
    assert strides is not None
    axes = tuple(range(len(shape)))
    moving = [axis for axis in axes if shape[axis] != 1] if layout.count else []
    order = sorted(moving, key=lambda axis: -strides[axis])
    expected = 1
    for axis in reversed(order):
        if strides[axis] != expected:
            return None
        expected *= shape[axis]
    return axes if order == moving else tuple(order)


def _value_of_jax(array: Any) -> Value:
    return _value_of_numpy(numpy.asarray(array))


# ---------------------------------------------------------------------------------------------------------- tensorflow


def _tensorflow(dtype: str, layout: Layout) -> Any:
    import tensorflow as tf

    known = hasattr(tf, dtype) or hasattr(tf.dtypes.experimental, dtype)
    if not known or layout.strides is None or layout.offset or layout.shift or layout.readonly:
        return None
    if _order(layout) != tuple(range(len(layout.shape))):
        return None
    with tf.device("CPU:0"):
        return tf.constant(_numpy(dtype, layout))


def _value_of_tensorflow(array: Any) -> Value:
    import tensorflow as tf

    if array.dtype.name in DLPACK:
        # The first op that computes is where memory with too little alignment kills the process.
        tf.concat([array[tf.newaxis], array[tf.newaxis]], axis=0)
    return Value(array.dtype.name, tuple(array.shape), array.numpy().tobytes())


def _address_of_tensorflow(array: Any) -> int:
    import tensorflow as tf

    if array.dtype.name not in DLPACK:  # NumPy is given the tensor's own memory, unless it has no axes
        return _address_of_numpy(numpy.asarray(array if array.ndim else tf.reshape(array, (1,))))
    capsule = tf.experimental.dlpack.to_dlpack(array)
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = get(capsule, b"dltensor")  # a DLTensor begins with the pointer; byte_offset is its last member
    data = ctypes.c_void_p.from_address(tensor).value or 0
    return data + ctypes.c_uint64.from_address(tensor + 40).value


# -------------------------------------------------------------------------------------------------------------- bridge

# How slices, reshapes and transposes make each layout out of an array over all of its memory.
_VIEWS: Mapping[str, Callable[[Any], Any]] = {
    "dense": lambda base: base.reshape(4, 6),
    "scalar": lambda base: base.reshape(()),
    "empty": lambda base: base.reshape(0, 6),
    "unit_axes": lambda base: base.reshape(1, 4, 1, 6),
    "transposed": lambda base: base.reshape(4, 6).T,
    "permuted": lambda base: base.reshape(2, 3, 4).transpose(1, 2, 0),
    "fortran": lambda base: base.reshape(6, 4).T,
    "offset": lambda base: base[1:],
    "aligned_offset": lambda base: base[64:],
    "strided": lambda base: base.reshape(4, 12)[:, ::2],
    "window": lambda base: base.reshape(6, 8)[1:5, 1:7],
    "reversed": lambda base: base.reshape(4, 6)[::-1],
    "backwards": lambda base: base.reshape(4, 6)[::-1, ::-1],
    "broadcast": lambda base: bridge.broadcast_to(base, (4, 6)),
}
_NAMES = {id(layout): name for name, layout in LAYOUTS.items()}


def _bridge(dtype: str, layout: Layout) -> Any:
    view = _VIEWS.get(_NAMES[id(layout)])
    if view is None:
        return None
    array = view(bridge.array(elements(dtype, layout.count), dtype=_native.DTYPES[dtype]))
    bridge.eval(array)
    return array


def _value_of_bridge(array: Any) -> Value:
    return Value(array.dtype.name, array.shape, numpy.array(array).tobytes())


def _address_of_bridge(array: Any) -> int:
    address: int = _native.facts(array)[3]
    return address


ADAPTERS: Mapping[str, Adapter] = MappingProxyType(
    {
        "bridge": Adapter(_bridge, _address_of_bridge, _value_of_bridge, lambda array: True, "bridge"),
        "numpy": Adapter(
            _numpy, _address_of_numpy, _value_of_numpy, lambda array: bool(array.flags.writeable), "numpy"
        ),
        "torch": Adapter(_torch, lambda array: int(array.data_ptr()), _value_of_torch, lambda array: True, "torch"),
        "jax": Adapter(
            _jax, lambda array: int(array.unsafe_buffer_pointer()), _value_of_jax, lambda array: False, "jax"
        ),
        "tensorflow": Adapter(
            _tensorflow, _address_of_tensorflow, _value_of_tensorflow, lambda array: False, "tensorflow"
        ),
    }
)
