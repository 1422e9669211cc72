"""Elements by position: along an axis, at runtime starts, by strides, by what is nonzero; and updates by index.

Positions count from 0, negative ones from the end. Out of bounds raises IndexError: at once where the positions have
values already, else when the result is evaluated.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.core._native import array, is_evaluated, true_places, updated_at
from bridge.core.dtypes import INTEGER, bool_, int64
from bridge.core.errors import DTypeError, message
from bridge.core.ops.compare import not_equal, select
from bridge.core.ops.create import arange
from bridge.core.ops.declare import structured
from bridge.core.ops.gather import gather, scatter
from bridge.core.ops.index import strided_slice, strided_update
from bridge.core.ops.shape import as_array, broadcast_to, flatten, normalize_axes, reshape, transpose
from bridge.core.ops.types import Operand, Stream


@structured(of="gather")
def take(a: array, /, indices: int | array, axis: int | None = None, *, stream: Stream = None) -> array:
    """Elements along an axis, or of the flattened array.

    Returns:
        Array of a's shape with the axis replaced by the shape of the indices.
    """


@structured(of="gather")
def take_along_axis(a: array, /, indices: array, axis: int | None = -1, *, stream: Stream = None) -> array:
    """One element along an axis, or of the flattened array, for every index. The other axes of both broadcast."""


@structured(of="scatter")
def put_along_axis(
    a: array, /, indices: array, values: array, axis: int | None = None, *, stream: Stream = None
) -> array:
    """`a` with the elements that `take_along_axis` reads replaced by `values`, which broadcast to the indices."""


def slice(
    a: array, start_indices: array, axes: Sequence[int], slice_size: Sequence[int], *, stream: Stream = None
) -> array:
    """A part of `slice_size` elements, one number an axis, that begins at positions which may be known at runtime only.

    Args:
        start_indices: one position for each of `axes`; the part begins at 0 along the others.
    """
    a = as_array(a)
    sizes = tuple(slice_size)
    if len(sizes) != a.ndim or any(not 0 <= size <= extent for size, extent in zip(sizes, a.shape, strict=True)):
        raise ValueError(
            message("bridge.slice", "the sizes do not fit the array.", got=str(sizes), want=f"at most {a.shape}")
        )
    starts = _Starts("bridge.slice", a, start_indices, axes)
    if starts.known is not None:
        return strided_slice(a, starts.begin(sizes), (1,) * a.ndim, sizes, stream=stream)
    counts = [extent if axis in starts.axes else sizes[axis] for axis, extent in enumerate(a.shape)]
    part = strided_slice(a, (0,) * a.ndim, (1,) * a.ndim, counts)
    read = gather(part, *starts.indices(sizes), axes=starts.axes, at=0, stream=stream)
    return transpose(read, starts.order(a.ndim))


def slice_update(a: array, update: array, start_indices: array, axes: Sequence[int], *, stream: Stream = None) -> array:
    """`a` with a part replaced by `update`; the part begins at positions which may be known at runtime only.

    Args:
        start_indices: one position for each of `axes`; the part begins at 0 along the others.

    Returns:
        Array of a's shape and dtype. An update of fewer axes has extent 1 along the first ones.
    """
    a, update = as_array(a), as_array(update).astype(as_array(a).dtype)
    sizes = (1,) * (a.ndim - update.ndim) + update.shape
    if len(sizes) != a.ndim or any(size > extent for size, extent in zip(sizes, a.shape, strict=True)):
        raise ValueError(
            message("bridge.slice_update", "the update does not fit.", got=str(update.shape), want=f"at most {a.shape}")
        )
    update = reshape(update, sizes)
    starts = _Starts("bridge.slice_update", a, start_indices, axes)
    if starts.known is not None:
        return strided_update(a, update, starts.begin(sizes), (1,) * a.ndim, stream=stream)
    counts = [extent if axis in starts.axes else sizes[axis] for axis, extent in enumerate(a.shape)]
    order = sorted(range(a.ndim), key=starts.order(a.ndim).__getitem__)
    return scatter(
        a,
        transpose(update, order),
        *starts.indices(sizes),
        axes=starts.axes,
        at=0,
        start=(0,) * a.ndim,
        step=(1,) * a.ndim,
        count=counts,
        stream=stream,
    )


class _Starts:
    """Where a part begins along some axes: numbers if the positions have values, else indices for a gather."""

    def __init__(self, tag: str, a: array, start_indices: Any, axes: Sequence[int]) -> None:
        starts = start_indices if isinstance(start_indices, array) else array(start_indices)
        if starts.dtype not in INTEGER:
            raise DTypeError(message(tag, "start_indices must be integers.", got=starts.dtype.name))
        given = normalize_axes(a, axes)
        if starts.ndim > 1 or starts.size != len(given) or len(set(given)) != len(given):
            raise ValueError(
                message(tag, "one start for each of the axes is wanted.", got=f"{starts.shape} starts, axes {given}")
            )
        self.tag, self.shape, self.axes = tag, a.shape, sorted(given)
        self.known: dict[int, int] | None = None
        self.starts = {axis: reshape(starts, (-1,))[k] for k, axis in enumerate(given)} if given else {}
        if not given or is_evaluated(starts) or not isinstance(start_indices, array):
            self.known = {axis: int(start.item()) for axis, start in self.starts.items()}

    def begin(self, sizes: Sequence[int]) -> list[int]:
        """The first position along every axis.

        Raises:
            IndexError: the part leaves the array.
        """
        assert self.known is not None
        begin = []
        for axis, (size, extent) in enumerate(zip(sizes, self.shape, strict=True)):
            start = self.known.get(axis, 0)
            at = start + extent if start < 0 else start
            if not 0 <= at <= extent - size:
                raise IndexError(
                    message(
                        self.tag,
                        f"{size} elements from position {start} leave axis {axis} of extent {extent}.",
                        got=f"an array of shape {self.shape}",
                    )
                )
            begin.append(at)
        return begin

    def indices(self, sizes: Sequence[int]) -> list[array]:
        """One index for each of the axes, along an axis of its own. A start below -extent is out of bounds above."""
        found = []
        for k, axis in enumerate(self.axes):
            extent, start = self.shape[axis], self.starts[axis].astype(int64)
            at = select(start < -extent, extent, select(start < 0, start + extent, start))
            found.append(reshape(at + arange(sizes[axis]), [-1 if j == k else 1 for j in range(len(self.axes))]))
        return found

    def order(self, ndim: int) -> list[int]:
        """For every axis of the array its place behind a gather with the places in front."""
        others = [axis for axis in range(ndim) if axis not in self.axes]
        return [
            self.axes.index(axis) if axis in self.axes else len(self.axes) + others.index(axis) for axis in range(ndim)
        ]


def as_strided(
    a: array,
    /,
    shape: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    offset: int = 0,
    *,
    stream: Stream = None,
) -> array:
    """Elements of the flattened array at `offset` plus the position along every axis times its stride.

    Args:
        shape: of the result; None is a's.
        strides: in elements, also 0 or negative; None are those of a row-major array of that shape.

    Returns:
        Array of its own: nothing that is written to it shows in `a`.

    Raises:
        ValueError: an element lies outside of `a`.
    """
    a = as_array(a)
    extents = a.shape if shape is None else tuple(shape)
    if strides is None:
        steps = [1] * len(extents)
        for axis in range(len(extents) - 1, 0, -1):
            steps[axis - 1] = steps[axis] * extents[axis]
    else:
        steps = list(strides)
    if len(steps) != len(extents) or any(extent < 0 for extent in extents):
        raise ValueError(
            message("bridge.as_strided", "one extent and one stride an axis are wanted.", got=f"{extents}, {steps}")
        )
    reach = [(extent - 1) * step for extent, step in zip(extents, steps, strict=True)]
    low, high = offset + sum(min(one, 0) for one in reach), offset + sum(max(one, 0) for one in reach)
    if 0 not in extents and not 0 <= low <= high < a.size:
        raise ValueError(
            message(
                "bridge.as_strided",
                "elements lie outside of the array.",
                got=f"shape {extents}, strides {tuple(steps)}, offset {offset}: elements {low} to {high}",
                want=f"elements 0 to {a.size - 1}",
            )
        )
    at: Operand = offset
    for axis, (extent, step) in enumerate(zip(extents, steps, strict=True)):
        along = arange(extent, dtype=int64) * step
        at = at + reshape(along, (extent, *(1,) * (len(extents) - axis - 1)))
    at = at if isinstance(at, array) else array(at, dtype=int64)
    return take(flatten(a), broadcast_to(at, extents), stream=stream)


def nonzero(x: array, /, *, stream: Stream = None) -> tuple[array, ...]:
    """Positions of the elements that are not zero, one 1-d array an axis, in row-major order. Evaluates `x`.

    Returns:
        Arrays of int32; of int64 if `x` has 2^31 elements or more.

    Raises:
        ValueError: `x` has no axes.
    """
    x = as_array(x)
    if x.ndim == 0:
        raise ValueError(message("bridge.nonzero", "an array without axes has no positions.", fix="x.reshape(1)"))
    rest = true_places(x if x.dtype is bool_ else not_equal(x, 0, stream=stream))
    found = []
    for extent in x.shape[:0:-1]:
        found.append(rest % extent if extent else rest)
        rest = rest // extent if extent else rest
    return (rest, *reversed(found))


class ArrayAt:
    """The places `a.at[key]`: each method gives `a` with all updates applied there, equal places included.

    `a` itself stays as it is. The value broadcasts to what `a[key]` is and is converted to a's dtype.
    """

    __slots__ = ("_array", "_key")

    def __init__(self, a: array, key: tuple[Any, ...] = ()) -> None:
        self._array = a
        self._key = key  # empty, or the key alone

    def __getitem__(self, indices: Any) -> ArrayAt:
        return ArrayAt(self._array, (indices,))

    def add(self, value: Operand) -> array:
        """`a[key] += value`, for every index."""
        return self._updated(value, "add")

    def subtract(self, value: Operand) -> array:
        """`a[key] -= value`, for every index."""
        return self._updated(value, "subtract")

    def multiply(self, value: Operand) -> array:
        """`a[key] *= value`, for every index."""
        return self._updated(value, "multiply")

    def divide(self, value: Operand) -> array:
        """`a[key] /= value`, for every index. Quotients of integers drop the fraction."""
        return self._updated(value, "divide")

    def maximum(self, value: Operand) -> array:
        """`a[key] = maximum(a[key], value)`, for every index."""
        return self._updated(value, "maximum")

    def minimum(self, value: Operand) -> array:
        """`a[key] = minimum(a[key], value)`, for every index."""
        return self._updated(value, "minimum")

    def _updated(self, value: Operand, name: str) -> array:
        if not self._key:
            raise ValueError(message("bridge.array.at", "the places are missing.", fix=f"a.at[key].{name}(value)"))
        return updated_at(self._array, self._key[0], value, name)


def at(a: array) -> ArrayAt:
    """Updates of some of the elements that count every index: `a.at[[0, 0]].add(1)` adds 2 to the first element."""
    return ArrayAt(a)
