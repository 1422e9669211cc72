"""DLPack capsules read in place, without the help of anybody who might mend them. The structures are those of 1.x."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from bridge.core.dtypes import TABLE
from bridge.core.framework import Facts
from bridge.core.memory import over
from bridge.testing.faults import must

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["seen_through"]

READ_ONLY, PADDED = 1, 4  # bits of the flags
HOST = (1, 3, 11)  # DLPack's codes of memory that the processor reads: plain, and pinned for CUDA or ROCm
CODES = {row.name: (row.dlpack_code, row.bits) for row in TABLE}
MEMORY = "fill the capsule from the array's own memory: data + byte_offset, shape, and strides in elements"


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Legacy(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_KINDS: dict[bytes, type[ctypes.Structure]] = {b"dltensor": _Legacy, b"dltensor_versioned": _Versioned}

_get_name = ctypes.pythonapi.PyCapsule_GetName
_get_name.restype, _get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_get_pointer.restype, _get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def seen_through(capsule: Any, facts: Facts) -> NDArray[Any]:
    """The elements that the capsule points to. It stays unused; the view keeps it alive."""
    kind = type(capsule).__name__
    must(
        kind == "PyCapsule",
        f"Source.capsule returned a {kind}",
        "return a DLPack capsule (that of `__dlpack__`), not an object that has one",
    )
    name = _get_name(capsule)
    must(
        name in _KINDS,
        f"Source.capsule returned a capsule named {name!r}",
        "return one that nobody has used: 'dltensor' or 'dltensor_versioned'",
    )
    managed: Any = _KINDS[name].from_address(_get_pointer(capsule, name))
    tensor = managed.tensor
    found = (tensor.code, tensor.bits)
    must(
        found == CODES[facts.dtype] and tensor.lanes == 1,
        f"its capsule holds the dtype code {found} (lanes {tensor.lanes}), and {facts.dtype} is {CODES[facts.dtype]}",
        "the array's own dtype, one lane",
    )
    must(tensor.device_type in HOST, f"its capsule names the device type {tensor.device_type}", "1, the processor")
    shape = tuple(tensor.shape[: tensor.ndim]) if tensor.ndim else ()
    must(shape == facts.shape, f"its capsule has the shape {shape}, and it was described as {facts.shape}", MEMORY)
    must(tensor.strides or tensor.ndim == 0 or name == b"dltensor", "its capsule has no strides", MEMORY)
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides and tensor.ndim else _row_major(shape)
    must(
        name == b"dltensor" or facts.access == "write" or managed.flags & READ_ONLY,
        "its versioned capsule does not say READ_ONLY, and the array was described with access='read'",
        "set the flag READ_ONLY, or return a legacy capsule (named 'dltensor'), which says nothing",
    )
    must(
        name == b"dltensor" or tensor.bits % 8 == 0 or managed.flags & PADDED,
        f"its versioned capsule does not say that the elements of {facts.dtype} are padded to bytes",
        "set the flag IS_SUBBYTE_TYPE_PADDED, or describe the array with Facts(..., unlike='why')",
    )
    return over(capsule, (tensor.data or 0) + tensor.byte_offset, facts.dtype, shape, strides, writable=False)


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(1, extent)
    return tuple(reversed(strides))
