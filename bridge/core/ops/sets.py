"""Distinct elements, membership, differences of neighbours.

Elements are distinct if they are not equal: each NaN is, -0 and 0 are not. The array API's `unique_*` find out how many
there are, so they evaluate; MLX's `unique` is told, and stays lazy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bridge.core._native import array
from bridge.core.dtypes import BOOL, bool_, int32, int64
from bridge.core.errors import message
from bridge.core.held import check_computed
from bridge.core.ops.arithmetic import minimum, subtract
from bridge.core.ops.compare import equal, less, logical_not, not_equal, select
from bridge.core.ops.create import arange, full, zeros
from bridge.core.ops.reduce import any
from bridge.core.ops.scan import cumsum
from bridge.core.ops.shape import as_array, concatenate, flatten, normalize_axes, reshape
from bridge.core.ops.sort import argsort, searchsorted, sort
from bridge.core.ops.take import nonzero, put_along_axis, take
from bridge.core.ops.types import Operand, Stream


class UniqueAll(NamedTuple):
    """Distinct elements, where each stands first, where each element is among them, and how often each occurs."""

    values: array
    indices: array
    inverse_indices: array
    counts: array


class UniqueCounts(NamedTuple):
    """Distinct elements, and how often each occurs."""

    values: array
    counts: array


class UniqueInverse(NamedTuple):
    """Distinct elements, and where each element is among them."""

    values: array
    inverse_indices: array


def unique_values(x: array, /, *, stream: Stream = None) -> array:
    """The distinct elements in ascending order."""
    ordered = sort(_flat(x, "unique_values"), stream=stream)
    return take(ordered, nonzero(_fresh(ordered))[0], stream=stream)


def unique_counts(x: array, /, *, stream: Stream = None) -> UniqueCounts:
    """The distinct elements in ascending order, and how often each occurs."""
    ordered = sort(_flat(x, "unique_counts"), stream=stream)
    starts = nonzero(_fresh(ordered))[0]
    return UniqueCounts(take(ordered, starts, stream=stream), _counts(starts, ordered.size))


def unique_inverse(x: array, /, *, stream: Stream = None) -> UniqueInverse:
    """The distinct elements in ascending order, and where each element of `x` is among them, in the shape of `x`."""
    x = as_array(x)
    flat = _flat(x, "unique_inverse")
    order = argsort(flat, stream=stream)
    ordered = take(flat, order)
    fresh = _fresh(ordered)
    return UniqueInverse(take(ordered, nonzero(fresh)[0], stream=stream), reshape(_inverse(order, fresh), x.shape))


def unique_all(x: array, /, *, stream: Stream = None) -> UniqueAll:
    """The distinct elements in ascending order; where each stands first in the flattened `x`; where each element of `x`
    is among them, in the shape of `x`; and how often each occurs."""
    x = as_array(x)
    flat = _flat(x, "unique_all")
    order = argsort(flat, stream=stream)
    ordered = take(flat, order)
    fresh = _fresh(ordered)
    starts = nonzero(fresh)[0]
    return UniqueAll(
        take(ordered, starts, stream=stream),
        take(order, starts),
        reshape(_inverse(order, fresh), x.shape),
        _counts(starts, flat.size),
    )


def unique(
    a: array,
    /,
    size: int,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    fill_value: Operand | None = None,
    *,
    stream: Stream = None,
) -> Any:
    """The first `size` distinct elements in ascending order; lazy, as their number is given.

    Args:
        return_index: also where each stands first in the flattened array.
        return_inverse: also where each element of the array is among them; the last place for those left out.
        return_counts: also how often each occurs.
        fill_value: what stands behind the last one if there are fewer; None: the first one. Its count is 0.

    Returns:
        One array, or a tuple of those that are asked for, in the order above.

    Raises:
        ValueError: `size` is negative, `fill_value` has not one element, or there is nothing to fill the result with.
    """
    a = as_array(a)
    flat = _flat(a, "unique")
    if size < 0:
        raise ValueError(message("bridge.unique", "the size is negative.", got=f"size={size}"))
    if flat.size == 0:
        return _asked(_unique_of_nothing(a, size, fill_value), return_index, return_inverse, return_counts)
    order = argsort(flat, stream=stream)
    ordered = take(flat, order)
    fresh = _fresh(ordered)
    rank = _rank(fresh)
    places = searchsorted(rank, arange(size + 1, dtype=rank.dtype))
    there = less(places[:-1], flat.size)
    starts = select(there, places[:-1], 0)
    fill = ordered[0] if fill_value is None else _one_element(fill_value, a)
    inverse = minimum(_scattered(order, rank), size - 1 if size else 0)
    results = (
        select(there, take(ordered, starts), fill),
        take(order, starts),
        reshape(inverse, a.shape),
        subtract(places[1:], places[:-1]),
    )
    return _asked(results, return_index, return_inverse, return_counts)


def isin(x1: Operand, x2: Operand, /, *, invert: bool = False, stream: Stream = None) -> array:
    """Whether each element of `x1` is equal to an element of `x2`; `invert`: to none. NaN is equal to nothing."""
    if _is_number(x2):
        found = equal(x1, x2, stream=stream)
    elif _is_number(x1):
        found = any(equal(x2, x1, stream=stream))
    else:
        found = _found(as_array(x1), flatten(as_array(x2), stream=stream))
    return logical_not(found) if invert else found


def diff(
    a: array,
    /,
    n: int = 1,
    axis: int = -1,
    *,
    prepend: array | None = None,
    append: array | None = None,
    stream: Stream = None,
) -> array:
    """Differences of neighbours along an axis, `n` times over; of bool, whether neighbours differ.

    Args:
        prepend: array that is joined to the beginning of the axis first.
        append: the same at the end.

    Raises:
        ValueError: `n` is negative.
    """
    a = as_array(a)
    if n < 0:
        raise ValueError(message("bridge.diff", "the number of differences is negative.", got=f"n={n}"))
    (at,) = normalize_axes(a, axis)
    if prepend is not None or append is not None:
        a = concatenate([one for one in (prepend, a, append) if one is not None], at, stream=stream)
    before = (slice(None),) * at
    change = not_equal if a.dtype in BOOL else subtract
    for _ in range(min(n, a.shape[at])):
        a = change(a[(*before, slice(1, None))], a[(*before, slice(None, -1))], stream=stream)
    return a


def _flat(x: array, op: str) -> array:
    x = flatten(x)
    check_computed(op, x.dtype)
    return x


def _fresh(ordered: array) -> array:
    """Where elements of a sorted sequence differ from the one before."""
    return concatenate([full((min(ordered.size, 1),), True), not_equal(ordered[1:], ordered[:-1])])


def _rank(fresh: array) -> array:
    return cumsum(fresh, dtype=int32 if fresh.size < 2**31 else int64) - 1


def _scattered(order: array, rank: array) -> array:
    """What stands at `order` in the flattened array."""
    return put_along_axis(zeros(order.shape, rank.dtype), order, rank, 0)


def _inverse(order: array, fresh: array) -> array:
    return _scattered(order, _rank(fresh))


def _counts(starts: array, size: int) -> array:
    return diff(starts, append=full((1,), size, starts.dtype))


def _found(x1: array, x2: array) -> array:
    if x2.size == 0:
        return full(x1.shape, False, bool_)
    ordered = sort(x2)
    place = searchsorted(ordered, x1)
    return equal(take(ordered, minimum(place, x2.size - 1)), x1)


def _is_number(x: object) -> bool:
    return isinstance(x, bool | int | float | complex)


def _one_element(fill_value: Operand, a: array) -> array:
    fill = as_array(fill_value)
    if fill.size != 1:
        raise ValueError(message("bridge.unique", "the fill value must have one element.", got=f"{fill.shape}"))
    return reshape(fill, ()).astype(a.dtype)


def _unique_of_nothing(a: array, size: int, fill_value: Operand | None) -> tuple[array, ...]:
    if fill_value is None and size:
        raise ValueError(
            message(
                "bridge.unique", "there is no element to fill the result with.", got=f"{a.shape}", fix="fill_value=0"
            )
        )
    values = full((size,), 0 if fill_value is None else _one_element(fill_value, a), a.dtype)
    return values, zeros((size,), int32), zeros(a.shape, int32), zeros((size,), int32)


def _asked(results: tuple[array, ...], *flags: bool) -> Any:
    wanted = (results[0], *(one for one, flag in zip(results[1:], flags, strict=True) if flag))
    return wanted if len(wanted) > 1 else wanted[0]
