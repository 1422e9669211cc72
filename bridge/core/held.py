"""The dtypes that the engine holds and does not compute with: float8 and the types of four bits.

Their arrays are shared, viewed, copied and converted. Conversion goes through NumPy and ml_dtypes, on a view of the
array's bytes: what rounds, saturates or becomes NaN is ml_dtypes' decision. The extension calls these functions
(`native/held.cpp`); nobody else has to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy

from bridge.core import _native
from bridge.core.dtypes import HELD, ROWS, to_numpy
from bridge.core.errors import DTypeError, message
from bridge.core.memory import aligned_copy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bridge.core._native import Dtype, array


def convert(a: array, dtype: Dtype) -> array:
    """The values of `a` in another dtype, one of the two being held; in memory of its own."""
    with numpy.errstate(all="ignore"):  # out of range is not an error here: ml_dtypes says what becomes of it
        converted = aligned_copy(_readable(a).astype(to_numpy(dtype)))
    strides = tuple(stride // converted.itemsize for stride in converted.strides)
    address = converted.ctypes.data
    return _native.copy(_native.import_address(converted, address, dtype, converted.shape, strides, writable=False))


def encode(value: float, dtype: Dtype) -> int:
    """The byte of one Python number in a held dtype.

    Raises:
        OverflowError: the dtype is an integer's and does not reach the number.
    """
    wanted = to_numpy(dtype)
    if dtype.name.lstrip("u").startswith("int"):
        low, high = (0, 15) if dtype.name.startswith("u") else (-8, 7)
        if not low <= value < high + 1:
            raise OverflowError(f"[bridge.array] the number {value} does not fit in {dtype.name} ({low} to {high}).")
        value = int(value)
    with numpy.errstate(all="ignore"):
        return int(numpy.asarray(value, numpy.float64).astype(wanted).view(numpy.uint8))


def values(dtype: Dtype) -> tuple[float, ...]:
    """The Python number that each of the 256 bytes stands for; bits that pad an element count for nothing."""
    every = numpy.arange(256, dtype=numpy.uint8)
    exact: NDArray[Any] = _as_held(every, dtype).astype(numpy.float32)
    return tuple(exact.astype(numpy.int8).tolist() if dtype.name.lstrip("u").startswith("int") else exact.tolist())


def check_computed(op: str, dtype: Dtype) -> None:
    """For an op that converts before it computes: DTypeError if the dtype is held."""
    if dtype in HELD:
        refuse(op, dtype)


def refuse(op: str, dtype: Dtype) -> NoReturn:
    """An operation was asked to compute with a held dtype: DTypeError that says what to write instead."""
    problem = f"{dtype.name} arrays are held, moved and converted, but not computed with."
    raise DTypeError(message(f"bridge.{op}", problem, got=dtype.name, fix=_conversion(dtype)))


def refuse_promotion(a: Dtype, b: Dtype) -> NoReturn:
    """There is no dtype for an operation on these two, of which at least one is held."""
    held = a if ROWS[a].kind == "held" else b
    problem = f"{a.name} and {b.name} have no dtype in common."
    raise DTypeError(message("bridge.result_type", problem, fix=f"convert first: {_conversion(held)}"))


def _conversion(dtype: Dtype) -> str:
    return f"a.astype(bridge.{ROWS[dtype].exact}), which has every value of {dtype.name}"


def _readable(a: array) -> NDArray[Any]:
    """The values of `a` as an ndarray."""
    if a.size == 0:
        return numpy.empty(a.shape, to_numpy(a.dtype))
    flat = numpy.frombuffer(_native._bytes_lease(a), numpy.uint8)  # dense, and nobody writes it meanwhile
    held = ROWS[a.dtype].kind == "held"
    return (_as_held(flat, a.dtype) if held else flat.view(to_numpy(a.dtype))).reshape(a.shape)


def _as_held(raw: NDArray[numpy.uint8], dtype: Dtype) -> NDArray[Any]:
    padding = ROWS[dtype].padding
    return (raw & (0xFF >> padding) if padding else raw).view(to_numpy(dtype))
