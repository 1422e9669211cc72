"""Cumulative operations along an axis: what the elements so far add up to, and so on.

`axis` None goes through the flattened array, `reverse` begins at the end, and not `inclusive` leaves the element itself
out, so that the first result is that of no elements. Sums and products of real floats are accumulated in float64 and
rounded once. Results do not depend on the number of threads.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bridge.core._native import Dtype, array
from bridge.core.dtypes import BOOL, COMPLEX, INEXACT, SIGNED, UNSIGNED, int32, uint32
from bridge.core.ops.arithmetic import conjugate, subtract
from bridge.core.ops.compare import equal, greater, isnan, less, logical_and, logical_not, logical_or, select
from bridge.core.ops.create import full, zeros_like
from bridge.core.ops.declare import structured
from bridge.core.ops.exponential import exp
from bridge.core.ops.shape import as_array, concatenate, flip, moveaxis, normalize_axes, reshape, stack
from bridge.core.ops.types import Stream

Rule: TypeAlias = Callable[[array, array, array | None], array]


def _forwards(rule: Rule) -> Callable[..., tuple[array]]:
    """The pullback along any axis in any direction, from a rule ``(g, a, y)`` that goes forwards along the last axis
    and is inclusive. `y` is the result if there is one."""

    def pullback(
        g: array, y: array, a: array, axis: int = 0, reverse: bool = False, inclusive: bool = True
    ) -> tuple[array]:
        def there(x: array) -> array:
            x = moveaxis(x, axis, -1)
            return flip(x, -1) if reverse else x

        # Result i + 1 of an exclusive op is what result i of the inclusive one is.
        result = rule(there(g), there(a), there(y)) if inclusive else rule(_next(there(g), 0), there(a), None)
        return (moveaxis(flip(result, -1) if reverse else result, -1, axis),)

    return pullback


def _next(x: array, last: float) -> array:
    """At each place the element of the next one, and `last` at the end."""
    return concatenate([x[..., 1:], full((*x.shape[:-1], min(x.shape[-1], 1)), last, x.dtype)], -1)


def _recur(g: array, c: array) -> array:
    """s with ``s[i] = g[i] + c[i] * s[i + 1]``, without a division: every other place first, then those between."""
    count = g.shape[-1]
    if count <= 1:
        return g
    if count % 2:
        return _recur(_longer(g), _longer(c))[..., :count]
    g0, g1, c0, c1 = g[..., 0::2], g[..., 1::2], c[..., 0::2], c[..., 1::2]
    even = _recur(g0 + c0 * g1, c0 * c1)
    odd = g1 + c1 * _next(even, 0)
    return reshape(stack([even, odd], even.ndim), g.shape)


def _longer(x: array) -> array:
    return concatenate([x, zeros_like(x[..., :1])], -1)


def _adjoint(a: array) -> array:
    return conjugate(a) if a.dtype in COMPLEX else a


def _product_rule(g: array, a: array, y: array | None) -> array:
    """Exact with zeros: the product of what stands before an element, times a recurrence over what stands behind it."""
    a = _adjoint(a)
    return cumprod(a, -1, inclusive=False) * _recur(g, _next(a, 0))


def _winner_rule(g: array, a: array, better: array) -> array:
    """An element that beats all before it takes the gradient, up to the next one that does."""
    fresh = concatenate([full((*a.shape[:-1], min(a.shape[-1], 1)), True), better[..., 1:]], -1)
    zero, one = (full((), value, g.dtype) for value in (0, 1))
    return select(fresh, _recur(g, select(_next(fresh, True), zero, one)), zero)


def _maximum_rule(g: array, a: array, y: array | None) -> array:
    before = cummax(a, -1, inclusive=False)
    return _winner_rule(g, a, greater(a, before) if a.dtype not in INEXACT else _beats(greater(a, before), a, before))


def _minimum_rule(g: array, a: array, y: array | None) -> array:
    before = cummin(a, -1, inclusive=False)
    return _winner_rule(g, a, less(a, before) if a.dtype not in INEXACT else _beats(less(a, before), a, before))


def _beats(better: array, a: array, before: array) -> array:
    return logical_or(better, logical_and(isnan(a), logical_not(isnan(before))))


def _power_rule(g: array, a: array, y: array | None) -> array:
    """Results share their gradients by the weights of the powers; differences of results keep these small."""
    y = logcumsumexp(a, -1) if y is None else y
    one = full((), 1, y.dtype)

    def weight(x: array, of: array) -> array:  # 1 where both are the same infinity
        return _adjoint(select(equal(x, of), one, exp(subtract(x, of))))

    return weight(a, y) * _recur(g, weight(y, _next(y, 0)))


def _behind(axis: int) -> int:
    """The axis of an array that gets a batch axis in front."""
    return axis + 1 if axis >= 0 else axis


@structured(
    transpose=lambda g, a, axis=0, reverse=False, inclusive=True: cumsum(
        g, axis, reverse=not reverse, inclusive=inclusive
    ),
    batching=lambda size, batched, a, axis=0, reverse=False, inclusive=True: cumsum(
        a, _behind(axis), reverse=reverse, inclusive=inclusive
    ),
)
def cumsum(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    dtype: Dtype | None = None,
    stream: Stream = None,
) -> array:
    """Sums of the elements so far. Integers wrap around; bool is counted in int32.

    Args:
        dtype: what the elements are converted to first.
    """


@structured(
    pullback=_forwards(_product_rule),
    batching=lambda size, batched, a, axis=0, reverse=False, inclusive=True: cumprod(
        a, _behind(axis), reverse=reverse, inclusive=inclusive
    ),
)
def cumprod(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    dtype: Dtype | None = None,
    stream: Stream = None,
) -> array:
    """Products of the elements so far. Integers wrap around.

    Args:
        dtype: what the elements are converted to first.
    """


@structured(
    pullback=_forwards(_maximum_rule),
    batching=lambda size, batched, a, axis=0, reverse=False, inclusive=True: cummax(
        a, _behind(axis), reverse=reverse, inclusive=inclusive
    ),
)
def cummax(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    stream: Stream = None,
) -> array:
    """Largest element so far; NaN from the first one on. Of no elements: -inf, or the smallest number of the dtype."""


@structured(
    pullback=_forwards(_minimum_rule),
    batching=lambda size, batched, a, axis=0, reverse=False, inclusive=True: cummin(
        a, _behind(axis), reverse=reverse, inclusive=inclusive
    ),
)
def cummin(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    stream: Stream = None,
) -> array:
    """Smallest element so far; NaN from the first one on. Of no elements: inf, or the largest number of the dtype."""


@structured(
    pullback=_forwards(_power_rule),
    batching=lambda size, batched, a, axis=0, reverse=False, inclusive=True: logcumsumexp(
        a, _behind(axis), reverse=reverse, inclusive=inclusive
    ),
)
def logcumsumexp(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    stream: Stream = None,
) -> array:
    """``log(cumsum(exp(a)))`` without overflow; -inf of no elements. Integers and bool give float32."""


def cumulative_sum(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    dtype: Dtype | None = None,
    include_initial: bool = False,
    stream: Stream = None,
) -> array:
    """Sums of the elements so far, as the array API has them: bool and small integers are summed in 32 bits.

    Args:
        include_initial: one more result in front: 0, the sum of no elements.
    """
    return _cumulative(cumsum, 0, a, axis, reverse, inclusive, dtype, include_initial, stream)


def cumulative_prod(
    a: array,
    /,
    axis: int | None = None,
    *,
    reverse: bool = False,
    inclusive: bool = True,
    dtype: Dtype | None = None,
    include_initial: bool = False,
    stream: Stream = None,
) -> array:
    """Products of the elements so far, as the array API has them: bool and small integers are multiplied in 32 bits.

    Args:
        include_initial: one more result in front: 1, the product of no elements.
    """
    return _cumulative(cumprod, 1, a, axis, reverse, inclusive, dtype, include_initial, stream)


def _cumulative(
    scan: Callable[..., array],
    initial: int,
    a: array,
    axis: int | None,
    reverse: bool,
    inclusive: bool,
    dtype: Dtype | None,
    include_initial: bool,
    stream: Stream,
) -> array:
    a = as_array(a)
    dtype = dtype or _summed_in(a.dtype)
    results = scan(a, axis, reverse=reverse, inclusive=inclusive, dtype=dtype, stream=stream)
    if not include_initial:
        return results
    (at,) = normalize_axes(results, 0 if axis is None else axis)
    first = full((*results.shape[:at], 1, *results.shape[at + 1 :]), initial, results.dtype)
    return concatenate([results, first] if reverse else [first, results], at)


def _summed_in(dtype: Dtype) -> Dtype | None:
    if dtype in UNSIGNED:
        return uint32 if dtype.size < 4 else None
    return int32 if dtype in BOOL | SIGNED and dtype.size < 4 else None
