"""Order along an axis: sorting, selecting, and searching what is sorted.

NaN stands behind all numbers; -0 and 0 are equal. Complex numbers go by real part, then by imaginary part. Everything
is stable: equal elements keep their order. `axis` None takes the flattened array. Positions are int32, or int64 along
an axis of more than 2^31 - 1 elements.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

import math
from typing import Any, Literal

from bridge.core._native import array
from bridge.core.dtypes import INEXACT, float32
from bridge.core.errors import message
from bridge.core.held import check_computed
from bridge.core.ops.compare import isnan, select
from bridge.core.ops.declare import FLAT, structured
from bridge.core.ops.reduce import any, max
from bridge.core.ops.shape import (
    as_array,
    broadcast_to,
    flatten,
    normalize_axes,
    reshape,
    stack,
    transpose,
)
from bridge.core.ops.types import Axis, Operand, Stream


def _along(g: array, order: array, axis: int) -> array:
    from bridge.core.ops.take import take_along_axis  # that module may need this one

    return take_along_axis(g, order, axis)


def _back(g: array, order: array, axis: int) -> tuple[array]:
    """`g` along an axis where the elements stood that `order` has taken."""
    return (_along(g, argsort(order, axis), axis),)


def _behind(axis: int) -> int:
    """The axis of an array that gets a batch axis in front."""
    return axis + 1 if axis >= 0 else axis


@structured(
    pullback=lambda g, y, a, axis=-1, descending=False: _back(g, argsort(a, axis, descending=descending), axis),
    batching=lambda size, batched, a, axis=-1, descending=False: sort(a, _behind(axis), descending=descending),
)
def sort(
    a: array,
    /,
    axis: int | None = -1,
    *,
    descending: bool = False,
    stable: bool = True,
    stream: Stream = None,
) -> array:
    """The elements in ascending order along an axis, NaN last, in `descending` order too; every bit of them is kept.

    Args:
        stable: the order is stable whatever is asked for.
    """


@structured(
    derivative=FLAT,
    batching=lambda size, batched, a, axis=-1, descending=False: argsort(a, _behind(axis), descending=descending),
)
def argsort(
    a: array,
    /,
    axis: int | None = -1,
    *,
    descending: bool = False,
    stable: bool = True,
    stream: Stream = None,
) -> array:
    """Where the elements of `sort` stand in the array."""


@structured(
    pullback=lambda g, y, a, kth, axis=-1: _back(g, argpartition(a, kth, axis), axis),
    batching=lambda size, batched, a, kth, axis=-1: partition(a, kth, _behind(axis)),
)
def partition(a: array, /, kth: int, axis: int | None = -1, *, stream: Stream = None) -> array:
    """The elements parted at the one that `sort` would put in place `kth`: first those before it, then itself and its
    equals, then those behind it. Each part is in the order of the array. `kth` counts from the end if negative."""


@structured(
    derivative=FLAT,
    batching=lambda size, batched, a, kth, axis=-1: argpartition(a, kth, _behind(axis)),
)
def argpartition(a: array, /, kth: int, axis: int | None = -1, *, stream: Stream = None) -> array:
    """Where the elements of `partition` stand in the array."""


def _batched_search(size: int, batched: Any, sequence: array, values: array, side: Literal["left", "right"]) -> array:
    if not batched[0]:
        return searchsorted(sequence, values, side)
    each = [searchsorted(sequence[k], values[k] if batched[1] else values, side) for k in range(size)]
    return stack(each) if each else broadcast_to(argsort(values[:0]), values.shape)


@structured(
    derivative=FLAT,
    batching=lambda size, batched, sequence, values, side="left": _batched_search(
        size, batched, sequence, values, side
    ),
)
def searchsorted(
    sorted_sequence: array,
    values: Operand,
    /,
    side: Literal["left", "right"] = "left",
    *,
    sorter: array | None = None,
    stream: Stream = None,
) -> array:
    """Where values can be inserted into a sorted sequence of one axis so that it stays sorted.

    Args:
        side: in front of equal elements ("left") or behind them ("right").
        sorter: positions that sort the sequence, as `argsort` gives them, if it is not sorted itself.

    Raises:
        ValueError: the sequence has not one axis, or there is no such side.
    """


def topk(a: array, /, k: int, axis: int | None = -1, *, stream: Stream = None) -> array:
    """The `k` largest elements along an axis, in ascending order. NaN counts as largest.

    Raises:
        ValueError: the axis has fewer elements, or `k` is negative.
    """
    a = flatten(a) if axis is None else as_array(a)
    (at,) = normalize_axes(a, -1 if axis is None else axis)
    extent = a.shape[at]
    if not 0 <= k <= extent:
        raise ValueError(f"[bridge.topk] axis {at} of extent {extent} has no {k} largest elements.")
    if 0 < k < extent:
        a = partition(a, extent - k, at, stream=stream)
    return sort(a[(*(slice(None),) * at, slice(extent - k, extent))], at, stream=stream)


def median(a: array, /, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
    """The middle element, or the mean of the two in the middle; NaN if there is one. Integers and bool give float32.

    Raises:
        ValueError: there are no elements along the axes.
    """
    a = as_array(a)
    check_computed("median", a.dtype)
    axes = normalize_axes(a, axis)
    kept = [one for one in range(a.ndim) if one not in axes]
    count = math.prod(a.shape[one] for one in axes)
    if count == 0:
        raise ValueError(message("bridge.median", "there is no median of no elements.", got=f"{a.shape}, axis={axis}"))
    rows = reshape(transpose(a, [*kept, *axes]), (*(a.shape[one] for one in kept), count), stream=stream)
    dtype = a.dtype if a.dtype in INEXACT else float32
    middle = count // 2
    parted = partition(rows, middle)
    result = parted[..., middle].astype(dtype)
    if count % 2 == 0:
        wide = float32 if dtype.size == 2 else dtype
        result = ((max(parted[..., :middle], -1).astype(wide) + result.astype(wide)) / 2).astype(dtype)
    if dtype is a.dtype:
        result = select(any(isnan(rows), -1), math.nan, result)
    return reshape(result, [1 if one in axes else extent for one, extent in enumerate(a.shape)]) if keepdims else result
