"""Casts and basic indexing as primitives: what `a.astype(dtype)`, `a[key]` and `a[key] = value` put in the graph.

Starts, steps and counts have one entry an axis; starts are counted from 0 and steps may be negative.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from collections.abc import Sequence

from bridge.core._native import Dtype, array
from bridge.core.ops.create import zeros_like
from bridge.core.ops.declare import structured, view
from bridge.core.ops.shape import with_batch
from bridge.core.ops.types import Device, Stream


@structured(
    transpose=lambda g, a, dtype: cast(g, a.dtype),
    batching=lambda size, batched, a, dtype: cast(a, dtype),
)
def cast(a: array, dtype: Dtype, /, *, copy: bool = True, device: Device = None, stream: Stream = None) -> array:
    """The values in another dtype; a itself if it has that dtype: an array is a value, so `copy` makes no difference.

    Real to integer drops the fraction and saturates; NaN becomes 0. Complex to real drops the imaginary part.
    """


astype = cast


@view(
    transpose=lambda g, a, start, step, count: strided_update(zeros_like(a, g.dtype), g, start, step),
    batching=lambda size, batched, a, start, step, count: strided_slice(a, (0, *start), (1, *step), (size, *count)),
)
def strided_slice(
    a: array, /, start: Sequence[int], step: Sequence[int], count: Sequence[int], *, stream: Stream = None
) -> array:
    """`count` elements of every axis, from `start` in steps of `step`."""


@structured(
    transpose=(
        lambda g, a, b, start, step: strided_update(g, zeros_like(b, g.dtype), start, step),
        lambda g, a, b, start, step: strided_slice(g, start, step, b.shape),
    ),
    batching=lambda size, batched, a, b, start, step: strided_update(
        with_batch(size, batched[0], a), with_batch(size, batched[1], b), (0, *start), (1, *step)
    ),
)
def strided_update(a: array, b: array, /, start: Sequence[int], step: Sequence[int], *, stream: Stream = None) -> array:
    """`a` with the elements that ``strided_slice(a, start, step, b.shape)`` names replaced by `b`."""
