"""DLPack capsules by hand: read what a producer wrote, and build the ones that no honest producer would.

The structures are those of the DLPack 1.x header. Nothing here uses bridge.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

LEGACY, USED_LEGACY = b"dltensor", b"used_dltensor"
VERSIONED, USED_VERSIONED = b"dltensor_versioned", b"used_dltensor_versioned"
READ_ONLY, IS_COPIED = 1, 2
CPU, CUDA, METAL = 1, 2, 8
INT, UINT, FLOAT, OPAQUE, BFLOAT, COMPLEX, BOOL = range(7)

# dtype name -> (code, bits)
CODES = {
    "bool": (BOOL, 8),
    "uint8": (UINT, 8),
    "uint16": (UINT, 16),
    "uint32": (UINT, 32),
    "uint64": (UINT, 64),
    "int8": (INT, 8),
    "int16": (INT, 16),
    "int32": (INT, 32),
    "int64": (INT, 64),
    "float16": (FLOAT, 16),
    "bfloat16": (BFLOAT, 16),
    "float32": (FLOAT, 32),
    "float64": (FLOAT, 64),
    "complex64": (COMPLEX, 64),
    "complex128": (COMPLEX, 128),
}


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # in elements
        ("byte_offset", ctypes.c_uint64),
    )


class DLManagedTensor(ctypes.Structure):
    _fields_ = (("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class DLManagedTensorVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    )


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # takes the GIL itself: consumers may call it without

_api = ctypes.pythonapi
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_api.PyCapsule_GetName.restype = ctypes.c_char_p
_api.PyCapsule_GetName.argtypes = [ctypes.py_object]
_api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


def name(capsule: Any) -> bytes:
    return _api.PyCapsule_GetName(capsule)


def read(capsule: Any) -> DLManagedTensor | DLManagedTensorVersioned:
    """The structure inside, in place. It lives as long as the capsule is not consumed."""
    label = name(capsule)
    kind = DLManagedTensorVersioned if b"versioned" in label else DLManagedTensor
    return kind.from_address(_api.PyCapsule_GetPointer(capsule, label))


def shape(tensor: DLTensor) -> tuple[int, ...]:
    return tuple(tensor.shape[: tensor.ndim])


def strides(tensor: DLTensor) -> tuple[int, ...]:
    return tuple(tensor.strides[: tensor.ndim])


def take(capsule: Any) -> DLManagedTensor | DLManagedTensorVersioned:
    """What a consumer does first: rename the capsule. The structure is then its own, until it calls the deleter."""
    managed = read(capsule)
    _api.PyCapsule_SetName(capsule, USED_VERSIONED if b"versioned" in name(capsule) else USED_LEGACY)
    return managed


def use(capsule: Any) -> None:
    """What a consumer does: take what is inside and call the deleter once, without the GIL."""
    managed = take(capsule)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(managed.deleter)(ctypes.addressof(managed))


class Forged:
    """A producer whose capsule says whatever it is told to, right or wrong. The memory lives as long as this object.

    `deleted` counts the calls of the deleter.
    """

    def __init__(
        self,
        shape: Sequence[int] = (2, 3),
        strides: Sequence[int] | str | None = "row-major",
        *,
        code: int = FLOAT,
        bits: int = 32,
        lanes: int = 1,
        versioned: bool = True,
        version: tuple[int, int] = (1, 0),
        flags: int = 0,
        device: tuple[int, int] = (CPU, 0),
        ndim: int | None = None,
        null_data: bool = False,
        null_shape: bool = False,
        byte_offset: int = 0,
        address: int | None = None,
        label: bytes | None = None,
        has_deleter: bool = True,
        memory: int = 4096,
    ) -> None:
        self.deleted = 0
        self.device = device
        self.memory = (ctypes.c_uint8 * (memory + 64))()
        base = ctypes.addressof(self.memory)
        self.address = base + -base % 64 if address is None else address
        self._shape = (ctypes.c_int64 * max(len(shape), 1))(*shape)
        if strides == "row-major":
            strides = [1] * len(shape)
            for axis in range(len(shape) - 2, -1, -1):
                strides[axis] = ctypes.c_int64(strides[axis + 1] * shape[axis + 1]).value
        self._strides = (ctypes.c_int64 * max(len(shape), 1))(*strides) if strides is not None else None
        self._deleter = DELETER(self._count)
        self.managed = DLManagedTensorVersioned() if versioned else DLManagedTensor()
        self.label = label or (VERSIONED if versioned else LEGACY)
        tensor = self.managed.tensor
        tensor.data = None if null_data else self.address
        tensor.device_type, tensor.device_id = device
        tensor.ndim = len(shape) if ndim is None else ndim
        tensor.code, tensor.bits, tensor.lanes = code, bits, lanes
        null = ctypes.POINTER(ctypes.c_int64)()
        tensor.shape = null if null_shape else ctypes.cast(self._shape, ctypes.POINTER(ctypes.c_int64))
        tensor.strides = null if self._strides is None else ctypes.cast(self._strides, ctypes.POINTER(ctypes.c_int64))
        tensor.byte_offset = byte_offset
        self.managed.deleter = ctypes.cast(self._deleter, ctypes.c_void_p).value if has_deleter else None
        if versioned:
            self.managed.major, self.managed.minor = version
            self.managed.flags = flags
        self.requests: list[dict[str, Any]] = []
        self._capsule: Any = None

    def _count(self, _: int | None) -> None:
        self.deleted += 1

    def capsule(self) -> Any:
        """The same capsule each time: handing it out again is how a used one comes back."""
        if self._capsule is None:
            self._capsule = _api.PyCapsule_New(ctypes.addressof(self.managed), self.label, None)
        return self._capsule

    def __dlpack__(self, **options: Any) -> Any:
        self.requests.append(options)
        return self.capsule()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device
