"""Reductions: sums, products, extremes and their positions, truth, and the statistics built from them.

`axis` is an axis, several, or None for all; `keepdims` leaves the reduced axes in place with size 1. Sums and products
of float16 and bfloat16 are accumulated in float32 and rounded once.
"""

from __future__ import annotations

import math
from typing import Any

from bridge.core._native import Dtype, array
from bridge.core.dtypes import COMPLEX, HELD, INEXACT, float32, int32, int64
from bridge.core.held import refuse
from bridge.core.ops.arithmetic import abs, square, subtract
from bridge.core.ops.compare import equal, isfinite, not_equal, select
from bridge.core.ops.declare import FLAT, reduction
from bridge.core.ops.exponential import exp, log, sqrt
from bridge.core.ops.shape import as_array, concatenate, normalize_axes, reshape, stack, transpose
from bridge.core.ops.types import Axis, IndexReduction, Reduction, Stream, Sum

sum: Sum = reduction(
    "sum",
    "Sum; 0 over no elements. bool and small integers are summed in 32 bits: int32, or uint32 for unsigned; "
    "in 64 bits if there are more than 2^31 - 1 elements. "
    "The error in float32 is at most 4 units in the last place of the sum of magnitudes, however long it is.",
    result="sum",
    derivative=lambda g, y, x, axes: g,
    ulp=4,
)

prod: Sum = reduction(
    "prod",
    "Product; 1 over no elements. bool and small integers are multiplied in 32 bits, as in `sum`. "
    "Every factor may add an error of 2 units in the last place.",
    result="sum",
    derivative=lambda g, y, x, axes: g * _product_of_others(x, axes),
    ulp=2,
    sample=(0.5, 1.5),
)

max: Reduction = reduction(
    "max",
    "Largest element; NaN if there is one. Complex numbers compare by real part, then by imaginary part.",
    derivative=lambda g, y, x, axes: g * _share_of_winners(y, x, axes),
)

min: Reduction = reduction(
    "min",
    "Smallest element; NaN if there is one. Complex numbers compare by real part, then by imaginary part.",
    derivative=lambda g, y, x, axes: g * _share_of_winners(y, x, axes),
)

all: Reduction = reduction(
    "all", "True if every element is nonzero; True over no elements.", result="bool", derivative=FLAT
)

any: Reduction = reduction(
    "any", "True if an element is nonzero; False over no elements.", result="bool", derivative=FLAT
)

argmax: IndexReduction = reduction(
    "argmax",
    "Position of the first largest element along one axis, or in the flattened array. NaN counts as largest.",
    result="index",
    derivative=FLAT,
    index=True,
)

argmin: IndexReduction = reduction(
    "argmin",
    "Position of the first smallest element along one axis, or in the flattened array. NaN counts as smallest.",
    result="index",
    derivative=FLAT,
    index=True,
)


def _share_of_winners(y: array, x: array, axes: tuple[int, ...]) -> array:
    """1 at the element that won, or 1/n at each of n equal ones."""
    won = equal(x, y)
    return won / sum(won, axes, True)


def _product_of_others(x: array, axes: tuple[int, ...]) -> array:
    """At each element the product of all others along the axes. Exact with zeros, and in every further derivative."""
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    order = [*kept, *axes]
    moved = transpose(x, order)
    flat = reshape(moved, (math.prod(moved.shape[: len(kept)]), math.prod(moved.shape[len(kept) :])))
    others = reshape(_others_in_rows(flat), moved.shape)
    return transpose(others, sorted(range(x.ndim), key=lambda axis: order[axis]))


def _others_in_rows(x: array) -> array:
    """Row by row, over pairs of neighbours: the others of an element are its neighbour and the others of the pair."""
    columns = x.shape[1]
    if columns <= 1:
        return x * 0 + 1
    one = x[:, :1] * 0 + 1
    even = x if columns % 2 == 0 else concatenate([x, one], 1)
    left, right = even[:, 0::2], even[:, 1::2]
    outside = _others_in_rows(left * right)
    return reshape(stack([outside * right, outside * left], 2), even.shape)[:, :columns]


def count_nonzero(a: array, /, *, axis: Axis = None, keepdims: bool = False, stream: Stream = None) -> array:
    """Number of elements that are not zero: int32, or int64 where there can be more than 2^31 - 1."""
    a = as_array(a)
    return sum(not_equal(a, 0), axis, keepdims, dtype=int32 if _count(a, axis) < 2**31 else int64, stream=stream)


def minmax(a: array, /, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> tuple[array, array]:
    """Smallest and largest element."""
    return min(a, axis, keepdims, stream=stream), max(a, axis, keepdims, stream=stream)


def mean(a: array, /, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
    """Arithmetic mean; NaN over no elements. Integers and bool give float32; halves are summed in float32."""
    a = as_array(a)
    wide, dtype = _wide(a, "mean")
    total = sum(wide, axis, keepdims, stream=stream)
    return (total / _count(a, axis)).astype(dtype)


def var(
    a: array,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    ddof: int = 0,
    *,
    correction: int | None = None,
    stream: Stream = None,
) -> array:
    """Variance: mean squared distance from the mean, over N - ddof. Of complex numbers a real one.

    Args:
        correction: the array API's name for `ddof`; it wins if given.
    """
    a = as_array(a)
    squares, dtype = _squares(a, axis, stream)
    freedom = _count(a, axis) - (ddof if correction is None else correction)
    return (sum(squares, axis, keepdims) / (freedom if freedom > 0 else 0)).astype(dtype)


def std(
    a: array,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    ddof: int = 0,
    *,
    correction: int | None = None,
    stream: Stream = None,
) -> array:
    """Standard deviation: the square root of `var`."""
    a = as_array(a)
    squares, dtype = _squares(a, axis, stream)
    freedom = _count(a, axis) - (ddof if correction is None else correction)
    return sqrt(sum(squares, axis, keepdims) / (freedom if freedom > 0 else 0)).astype(dtype)


def softmax(a: array, /, axis: Axis = None, *, precise: bool = False, stream: Stream = None) -> array:
    """``exp(a) / sum(exp(a), axis)``, without overflow. Integers give float32.

    Args:
        axis: None normalises over all elements.
        precise: accepted for MLX's sake; halves are computed in float32 either way.
    """
    a = as_array(a)
    wide, dtype = _wide(a, "softmax")
    if a.size == 0:
        return wide.astype(dtype)
    powers = exp(subtract(wide, max(wide, axis, True), stream=stream))
    return (powers / sum(powers, axis, True)).astype(dtype)


def logsumexp(a: array, /, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
    """``log(sum(exp(a), axis))``, without overflow; -inf over no elements. Integers give float32."""
    a = as_array(a)
    wide, dtype = _wide(a, "logsumexp")
    if _count(a, axis) == 0:
        return log(sum(wide, axis, keepdims)).astype(dtype)
    highest = max(wide, axis, True, stream=stream)
    # An infinite maximum must not turn the difference into NaN.
    base = select(isfinite(highest), highest, 0)
    total = log(sum(exp(wide - base), axis, keepdims))
    return (total + (base if keepdims else reshape(base, total.shape))).astype(dtype)


def _wide(a: array, op: str) -> tuple[array, Dtype]:
    """The values in the dtype that statistics are computed in, and the dtype of the answer."""
    if a.dtype in HELD:
        refuse(op, a.dtype)
    if a.dtype not in INEXACT:
        return a.astype(float32), float32
    return (a.astype(float32) if a.dtype.size == 2 else a), a.dtype


def _count(a: array, axis: Axis) -> int:
    return math.prod(a.shape[one] for one in normalize_axes(a, axis))


def _squares(a: array, axis: Axis, stream: Any) -> tuple[array, Dtype]:
    wide, dtype = _wide(a, "var")
    distance = subtract(wide, mean(wide, axis, True), stream=stream)
    if a.dtype in COMPLEX:
        distance = abs(distance)
        dtype = distance.dtype
    return square(distance), dtype
