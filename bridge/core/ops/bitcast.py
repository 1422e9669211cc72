"""The same bytes in another dtype, in another order of axes in memory, or later."""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.core._native import Dtype, array
from bridge.core.dtypes import (
    ALL,
    FLOATING,
    HELD,
    bfloat16,
    complex64,
    complex128,
    float8_e4m3fn,
    float32,
    float64,
    uint8,
)
from bridge.core.errors import DTypeError, message
from bridge.core.ops.arithmetic import clip
from bridge.core.ops.create import zeros_like
from bridge.core.ops.declare import structured
from bridge.core.ops.shape import as_array, with_batch
from bridge.core.ops.types import Operand, Stream

PARTS = {frozenset({float32, complex64}), frozenset({float64, complex128})}


def _view_pullback(g: array, y: array, a: array, dtype: Dtype) -> tuple[array]:
    """Numbers seen as themselves, or as the parts of complex ones, have a gradient; other bits are flat."""
    alike = dtype is a.dtype or {dtype, a.dtype} in PARTS
    return (view(g, a.dtype) if alike else zeros_like(a),)


@structured(
    accepts=ALL | HELD,
    pullback=_view_pullback,
    batching=lambda size, batched, a, dtype: view(a, dtype),
)
def view(a: Operand, dtype: Dtype, stream: Stream = None) -> array:
    """The bytes of an array as another dtype, shared where they lie together and aligned, else copied.

    The last axis grows or shrinks by the ratio of the sizes. Seen as bool, every byte that is not 0 is true.

    Raises:
        ValueError: the last axis holds no whole number of elements; or the sizes differ and there is no axis.
    """


@structured(
    accepts=ALL | HELD,
    transpose=lambda g, a, allow_col_major=False: g,
    batching=lambda size, batched, a, allow_col_major=False: contiguous(a),
)
def contiguous(a: array, /, allow_col_major: bool = False, *, stream: Stream = None) -> array:
    """The array in row-major memory, copied only if it lies otherwise; or column-major too, if that is allowed."""


@structured(
    accepts=ALL | HELD,
    transpose=lambda g, *arrays: [g, *(None for _ in arrays[1:])],
    batching=lambda size, batched, *arrays: after([with_batch(size, batched[0], arrays[0]), *arrays[1:]]),
)
def after(arrays: Sequence[array], /, *, stream: Stream = None) -> array:
    """The first of the arrays, computed after the others."""


def depends(inputs: array | Sequence[array], dependencies: array | Sequence[array]) -> Any:
    """The inputs with the same values, which are computed only after the dependencies.

    Returns:
        One array for one array, else a list.
    """
    others = [dependencies] if isinstance(dependencies, array) else list(dependencies)
    if isinstance(inputs, array):
        return after([inputs, *others])
    return [after([one, *others]) for one in inputs]


LARGEST_FP8 = 448


def to_fp8(x: array, *, stream: Stream = None) -> array:
    """Floating numbers rounded to float8 (e4m3) and held as their bits in uint8. What is too large becomes +-448.

    Raises:
        DTypeError: the array is not real and floating.
    """
    x = as_array(x)
    if x.dtype not in FLOATING:
        raise DTypeError(message("bridge.to_fp8", "real floating numbers are wanted", got=x.dtype.name))
    return view(clip(x, -LARGEST_FP8, LARGEST_FP8, stream=stream).astype(float8_e4m3fn), uint8)


def from_fp8(x: array, dtype: Dtype = bfloat16, *, stream: Stream = None) -> array:
    """The numbers of which `to_fp8` gave the bits.

    Raises:
        DTypeError: the array is not uint8, or `dtype` is not real and floating.
    """
    x = as_array(x)
    if x.dtype is not uint8:
        raise DTypeError(message("bridge.from_fp8", "the bits of float8 are wanted", got=x.dtype.name, want="uint8"))
    if dtype not in FLOATING:
        raise DTypeError(message("bridge.from_fp8", "a real floating dtype is wanted", got=str(dtype)))
    return view(x, float8_e4m3fn, stream=stream).astype(dtype)
