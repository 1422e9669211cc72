"""Indexing by arrays as primitives: what `a[indices]`, `a[indices] = value` and `a.at[indices].add(value)` stand for.

`gather` reads the places that arrays of integers name, the scatters write there or combine with what stands there.
`axes` are the axes along which the indices count, ascending and one each; the other axes are taken whole. The indices
broadcast with each other, and their axes stand in the result behind the first `at` of the other axes. A scatter may
work in a region of its operand, of which `start`, `step` and `count` say one integer an axis. Operands are positional,
parameters are keywords.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from bridge.core._native import array
from bridge.core.dtypes import ALL, NUMERIC
from bridge.core.ops.arithmetic import conjugate
from bridge.core.ops.compare import equal, select
from bridge.core.ops.create import arange, full, zeros_like
from bridge.core.ops.declare import structured
from bridge.core.ops.index import strided_slice
from bridge.core.ops.shape import moveaxis, reshape, unbroadcast, with_batch
from bridge.core.ops.types import Operand, Stream

Region: TypeAlias = Sequence[int] | None
Changes: TypeAlias = list[array | None]  # one for each operand, None for an index


@structured(
    transpose=lambda g, a, *indices, axes, at: [
        scatter_add(zeros_like(a, g.dtype), g, *indices, axes=axes, at=at),
        *(None for _ in indices),
    ],
    batching=lambda size, batched, a, *indices, axes, at: _batched_gather(size, batched, a, indices, axes, at),
)
def gather(a: array, /, *indices: array, axes: Sequence[int], at: int, stream: Stream = None) -> array:
    """The elements of `a` at places that indices name; -1 is the last one along an axis.

    Returns:
        Array of the other axes' extents, with the shape of the indices behind the first `at` of them.

    Raises:
        IndexError: an index is out of bounds; at once if the indices have values, else when the result is evaluated.
    """


def _scatter(name: str, doc: str, **rules: Any) -> Callable[..., array]:
    """Declare a scatter: they differ in what an update does to its place."""

    def header(
        a: array,
        updates: Operand,
        /,
        *indices: array,
        axes: Sequence[int],
        at: int,
        start: Region = None,
        step: Region = None,
        count: Region = None,
        stream: Stream = None,
    ) -> array: ...

    def batching(size: int, batched: Sequence[bool], *operands: array, **places: Any) -> array:
        return _batched_scatter(call, size, batched, operands, **places)

    header.__name__, header.__doc__ = name, doc
    call: Callable[..., array] = structured(batching=batching, **rules)(header)
    return call


scatter = _scatter(
    "scatter",
    """`a` with places replaced by `updates`, which broadcast to what a gather reads. Of equal places the last wins.

    Raises:
        IndexError: an index is out of bounds; at once if the indices have values, else when the result is evaluated.
    """,
    transpose=lambda g, a, updates, *indices, **places: _transposed_scatter(g, updates, indices, places),
)
scatter_add = _scatter(
    "scatter_add",
    "`a` with `updates` added to places; of equal places each counts. float16 and bfloat16 are summed in float32.",
    accepts=ALL,
    transpose=lambda g, a, updates, *indices, **places: [
        g,
        unbroadcast(_read(g, indices, **places), updates.shape),
        *(None for _ in indices),
    ],
)
scatter_multiply = _scatter(
    "scatter_multiply",
    "`a` with places multiplied by `updates`; of equal places each counts.",
    accepts=ALL,
    pullback=lambda g, y, a, updates, *indices, **places: _pulled_multiply(g, a, updates, indices, places),
)
scatter_divide = _scatter(
    "scatter_divide",
    "`a` with places divided by `updates`; of equal places each counts. Quotients of integers drop the fraction.",
    accepts=NUMERIC,
    pullback=lambda g, y, a, updates, *indices, **places: _pulled_divide(g, y, updates, indices, places),
)
scatter_maximum = _scatter(
    "scatter_maximum",
    "`a` with places replaced by the larger of what stands there and `updates`; NaN if one is.",
    accepts=ALL,
    pullback=lambda g, y, a, updates, *indices, **places: _pulled_extreme(g, y, a, updates, indices, places),
)
scatter_minimum = _scatter(
    "scatter_minimum",
    "`a` with places replaced by the smaller of what stands there and `updates`; NaN if one is.",
    accepts=ALL,
    pullback=lambda g, y, a, updates, *indices, **places: _pulled_extreme(g, y, a, updates, indices, places),
)


def _read(
    a: array,
    indices: Sequence[array],
    *,
    axes: Sequence[int],
    at: int,
    start: Region = None,
    step: Region = None,
    count: Region = None,
) -> array:
    """What stands at the places of a scatter."""
    if start is not None and step is not None and count is not None:
        a = strided_slice(a, start, step, count)
    return gather(a, *indices, axes=axes, at=at)


def _transposed_scatter(g: array, updates: array, indices: tuple[array, ...], places: dict[str, Any]) -> Changes:
    """Updates that were overwritten by later ones changed nothing."""
    nothing = full((), 0, g.dtype)
    read = _read(g, indices, **places)
    order = reshape(arange(read.size), read.shape)
    last = _read(scatter(full(g.shape, 0, order.dtype), order, *indices, **places), indices, **places)
    won = select(equal(last, order), read, nothing)
    return [scatter(g, nothing, *indices, **places), unbroadcast(won, updates.shape), *(None for _ in indices)]


def _pulled_multiply(g: array, a: array, updates: array, indices: tuple[array, ...], places: dict[str, Any]) -> Changes:
    """Product of the other factors at the place: divided by the own one where none is zero, else by none."""
    one = full((), 1, updates.dtype)
    is_zero = equal(updates, 0)
    factors = select(is_zero, one, updates)
    product = _read(scatter_multiply(a, factors, *indices, **places), indices, **places)
    zeros = _read(scatter_add(zeros_like(a), is_zero, *indices, **places), indices, **places)
    others = select(equal(zeros, is_zero), product / factors, full((), 0, a.dtype))
    change = _read(g, indices, **places) * conjugate(others)
    return [
        scatter_multiply(g, conjugate(updates), *indices, **places),
        unbroadcast(change, updates.shape),
        *(None for _ in indices),
    ]


def _pulled_divide(g: array, y: array, updates: array, indices: tuple[array, ...], places: dict[str, Any]) -> Changes:
    divisors = conjugate(updates)
    change = _read(-g * conjugate(y), indices, **places) / divisors
    return [
        scatter_divide(g, divisors, *indices, **places),
        unbroadcast(change, updates.shape),
        *(None for _ in indices),
    ]


def _pulled_extreme(
    g: array, y: array, a: array, updates: array, indices: tuple[array, ...], places: dict[str, Any]
) -> Changes:
    """Equal extremes share the change evenly."""
    nothing = full((), 0, g.dtype)
    stays, won = equal(a, y), equal(_read(y, indices, **places), updates)
    winners = scatter_add(stays.astype(g.dtype), won, *indices, **places)
    share = g / winners
    change = select(won, _read(share, indices, **places), nothing)
    return [select(stays, share, nothing), unbroadcast(change, updates.shape), *(None for _ in indices)]


def _batched_gather(
    size: int, batched: Sequence[bool], a: array, indices: tuple[array, ...], axes: Sequence[int], at: int
) -> array:
    behind = [axis + 1 for axis in axes]
    if not any(batched[1:]):
        return gather(a, *indices, axes=behind, at=at + 1)
    rows, lifted = _lifted(size, batched[1:], indices)
    read = gather(a, rows, *lifted, axes=[0, *behind], at=at) if batched[0] else gather(a, *lifted, axes=axes, at=at)
    return moveaxis(read, at, 0)


def _batched_scatter(
    call: Callable[..., array],
    size: int,
    batched: Sequence[bool],
    operands: tuple[array, ...],
    *,
    axes: Sequence[int],
    at: int,
    start: Region = None,
    step: Region = None,
    count: Region = None,
) -> array:
    a, updates = (with_batch(size, has, one) for has, one in zip(batched[:2], operands[:2], strict=True))
    indices = operands[2:]
    region: dict[str, Region] = {}
    if start is not None and step is not None and count is not None:
        region = {"start": (0, *start), "step": (1, *step), "count": (size, *count)}
    behind = [axis + 1 for axis in axes]
    if not any(batched[2:]):
        return call(a, updates, *indices, axes=behind, at=at + 1, **region)
    rows, lifted = _lifted(size, batched[2:], indices)
    return call(a, moveaxis(updates, 0, at), rows, *lifted, axes=[0, *behind], at=at, **region)


def _lifted(size: int, batched: Sequence[bool], indices: Sequence[array]) -> tuple[array, list[array]]:
    """The number of the batch as an index, and the indices with the batch axis in front of all others."""
    ndim = max(one.ndim - has for has, one in zip(batched, indices, strict=True))
    lifted = [
        reshape(one, (size, *(1,) * (ndim - one.ndim + 1), *one.shape[1:])) if has else one
        for has, one in zip(batched, indices, strict=True)
    ]
    return reshape(arange(size), (size, *(1,) * ndim)), lifted
