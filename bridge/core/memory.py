"""NumPy arrays over raw memory, and fresh memory that every framework accepts."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy

from bridge.core.errors import DTypeError, message

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ALIGNMENT", "NATIVE", "aligned_copy", "has_numpy_dtype", "numpy_dtype", "over"]

#: Bytes. What the strictest of the built-in targets needs (JAX, TensorFlow).
ALIGNMENT = 64

_DTYPES: dict[str, numpy.dtype[Any]] = {
    name: numpy.dtype(name)
    for name in (
        *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
}
#: The dtypes that NumPy has by itself: those that its buffers and capsules can carry.
NATIVE = frozenset(_DTYPES)


def numpy_dtype(name: str) -> numpy.dtype[Any]:
    """NumPy's dtype of that name, ml_dtypes' where NumPy has none.

    Raises:
        DTypeError: this version of ml_dtypes does not have it.
    """
    if not has_numpy_dtype(name):
        problem = f"the installed ml_dtypes has no {name}"
        raise DTypeError(message("bridge", problem, fix="pip install --upgrade ml_dtypes"))
    return _DTYPES[name]


def has_numpy_dtype(name: str) -> bool:
    """Whether NumPy or the installed ml_dtypes, which adds and drops names, has the dtype."""
    if name not in _DTYPES:
        import ml_dtypes

        # By object: NumPy knows the name "bfloat16" only once somebody has imported ml_dtypes.
        found = getattr(ml_dtypes, name, None)
        if found is None:
            return False
        _DTYPES[name] = numpy.dtype(found)
    return True


class _Interface:
    """The legacy `__array_interface__` over a pointer; NumPy keeps this object, and so the owner, as the base."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, owner: object, interface: dict[str, Any]) -> None:
        self.owner = owner
        self.__array_interface__ = interface


def over(
    owner: object, address: int, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...], *, writable: bool
) -> NDArray[Any]:
    """An ndarray over memory that `owner` keeps alive. Strides are in elements.

    The only way to a bfloat16 ndarray without a copy (the buffer protocol has no code for it), and to a writable view
    of memory whose own protocol can only give a read-only one.
    """
    resolved = numpy_dtype(dtype)
    size = resolved.itemsize
    if prod(shape) == 0:
        empty = numpy.empty(shape, resolved)
        empty.flags.writeable = writable
        return empty
    interface = {
        "version": 3,
        "shape": shape,
        "typestr": resolved.str if dtype in NATIVE else f"<u{size}",
        "data": (address, not writable),
        "strides": tuple(stride * size for stride in strides),
    }
    array = numpy.asarray(_Interface(owner, interface))
    return array if dtype in NATIVE else array.view(resolved)


def aligned_copy(array: NDArray[Any]) -> NDArray[Any]:
    """A dense row-major writable copy in native byte order that begins on a 64-byte boundary. Bits are kept exactly."""
    dtype = array.dtype.newbyteorder("=")
    block = numpy.empty(array.size * dtype.itemsize + ALIGNMENT, numpy.uint8)
    start = -block.ctypes.data % ALIGNMENT
    copy = block[start : start + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    copy[...] = array
    return copy
