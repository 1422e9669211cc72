"""Shape and order: views that share the bytes of their operand, joins, splits and repetition.

A view costs no copy: the result has other strides over the same bytes. `reshape` copies where the elements do not lie
on strides. The exception is an array that another framework can write to: its views are copies, so that an update of
one never shows in the other.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from bridge.core._native import array
from bridge.core.dtypes import int32
from bridge.core.errors import AxisError
from bridge.core.ops.declare import structured, view
from bridge.core.ops.types import Axis, Operand, Shape, Stream


@view(
    transpose=lambda g, a, shape: reshape(g, a.shape),
    batching=lambda size, batched, a, shape: reshape(a, (size, *shape)),
)
def reshape(a: array, /, shape: Sequence[int], *, copy: bool | None = None, stream: Stream = None) -> array:
    """Same elements in row-major order, another shape of the same size. One extent may be -1: it is inferred.

    Args:
        copy: None shares the bytes where strides can express the result; True never does; False raises CopyRequired
            where they cannot, and evaluates `a` to know.
    """


@view(
    transpose=lambda g, a, axes=None: transpose(g, _inverse(axes, a.ndim)),
    batching=lambda size, batched, a, axes=None: transpose(a, _behind(axes, a.ndim)),
)
def transpose(a: array, /, axes: Sequence[int] | None = None, *, stream: Stream = None) -> array:
    """Axes in another order; None turns the order round."""


@view(
    transpose=lambda g, a, shape: unbroadcast(g, a.shape),
    batching=lambda size, batched, a, shape: broadcast_to(
        reshape(a, (size, *(1,) * (len(shape) - a.ndim + 1), *a.shape[1:])), (size, *shape)
    ),
)
def broadcast_to(a: Operand, /, shape: Shape, *, stream: Stream = None) -> array:
    """Repeated along new and size-1 axes, without a copy: the strides there are 0."""


@view(of="reshape")
def flatten(a: array, /, start_axis: int = 0, end_axis: int = -1, *, stream: Stream = None) -> array:
    """Axes from `start_axis` to `end_axis`, both included, joined into one. A 0-d array gets one axis."""


@view(of="reshape")
def expand_dims(a: array, /, axis: int | Sequence[int], *, stream: Stream = None) -> array:
    """New axes of size 1 at the given places of the result."""


@view(of="reshape")
def squeeze(a: array, /, axis: Axis = None, *, stream: Stream = None) -> array:
    """Without the given axes, which have size 1; None: without all such axes."""


@view(of="transpose")
def swapaxes(a: array, /, axis1: int, axis2: int, *, stream: Stream = None) -> array:
    """Two axes exchanged."""


@view(of="transpose")
def moveaxis(
    a: array, /, source: int | Sequence[int], destination: int | Sequence[int], *, stream: Stream = None
) -> array:
    """One axis, or several, at other places, the rest in order."""


@structured(
    transpose=lambda g, *arrays, axis=0: split(g, list(accumulate(a.shape[axis] for a in arrays))[:-1], axis),
    batching=lambda size, batched, *arrays, axis=0: concatenate(
        [with_batch(size, has, a) for has, a in zip(batched, arrays, strict=True)], axis + 1 if axis >= 0 else axis
    ),
)
def concatenate(arrays: Sequence[array], axis: int | None = 0, *, stream: Stream = None) -> array:
    """Arrays joined along an axis that exists; None joins them flattened. Dtypes are promoted."""


@view(of="concatenate")
def stack(arrays: Sequence[array], axis: int | None = 0, *, stream: Stream = None) -> array:
    """Arrays of one shape joined along a new axis."""


concat = concatenate
permute_dims = transpose


def matrix_transpose(a: array, /, *, stream: Stream = None) -> array:
    """The last two axes exchanged."""
    return swapaxes(a, -1, -2, stream=stream)


def unflatten(a: array, /, axis: int, shape: Sequence[int], *, stream: Stream = None) -> array:
    """One axis split into several of the given extents; one of them may be -1."""
    a = as_array(a)
    (at,) = normalize_axes(a, axis, "unflatten")
    return reshape(a, (*a.shape[:at], *shape, *a.shape[at + 1 :]), stream=stream)


def split(
    a: array, /, indices_or_sections: int | Sequence[int], axis: int = 0, *, stream: Stream = None
) -> list[array]:
    """Consecutive parts along an axis, all of them views.

    Args:
        indices_or_sections: a number of equal parts, or the places where a part ends and the next begins. Places count
            from the end if negative, and end with the array, as in a slice.

    Raises:
        ValueError: the axis does not divide into so many equal parts.
    """
    a = as_array(a)
    (at,) = normalize_axes(a, axis, "split")
    extent = a.shape[at]
    if isinstance(indices_or_sections, int):
        parts = indices_or_sections
        if parts <= 0 or extent % parts:
            raise ValueError(f"[bridge.split] axis {axis} of extent {extent} does not divide into {parts} equal parts.")
        bounds = [extent // parts * k for k in range(1, parts)]
    else:
        bounds = list(indices_or_sections)
    before = (slice(None),) * at
    starts, stops = [0, *bounds], [*bounds, extent]
    return [a[(*before, slice(start, stop))] for start, stop in zip(starts, stops, strict=True)]


def unstack(x: array, /, *, axis: int = 0, stream: Stream = None) -> tuple[array, ...]:
    """The slices along an axis, without that axis."""
    x = as_array(x)
    (at,) = normalize_axes(x, axis, "unstack")
    return tuple(x[(*(slice(None),) * at, k)] for k in range(x.shape[at]))


def flip(a: array, /, axis: Axis = None, *, stream: Stream = None) -> array:
    """The order of elements turned round along the given axes, or along all; a view."""
    a = as_array(a)
    turned = normalize_axes(a, axis, "flip")
    return a[tuple(slice(None, None, -1) if k in turned else slice(None) for k in range(a.ndim))]


def diagonal(a: array, offset: int = 0, axis1: int = 0, axis2: int = 1, stream: Stream = None) -> array:
    """Diagonals of the planes of two axes, as the last axis; `offset` counts to the right.

    Raises:
        ValueError: both axes are the same.
    """
    a = as_array(a)
    first, second = normalize_axes(a, (axis1, axis2), "diagonal")
    if first == second:
        raise ValueError(f"[bridge.diagonal] axis1 and axis2 are both axis {first}.")
    planes = moveaxis(moveaxis(a, first, -1, stream=stream), second - (second > first), -1)
    rows, columns = planes.shape[-2:]
    row, column = max(-offset, 0), max(offset, 0)
    count = max(min(rows - row, columns - column), 0)
    square = planes[..., row : row + count, column : column + count]
    return reshape(square, (*square.shape[:-2], count * count))[..., :: count + 1]


def roll(a: array, /, shift: int | Sequence[int], axis: Axis = None, *, stream: Stream = None) -> array:
    """Elements moved along axes, those pushed out coming in at the other end. No axis: in the flattened array.

    Raises:
        ValueError: there are several shifts, and not one for each axis. IndexError as well: an axis is not there.
    """
    a = +as_array(a)
    shifts = [operator.index(shift)] if not isinstance(shift, Sequence) else list(shift)
    if axis is None:
        return reshape(roll(flatten(a), sum(shifts), 0), a.shape, stream=stream)
    axes = normalize_axes(a, axis, "roll")
    if 1 not in (len(axes), len(shifts)) and len(axes) != len(shifts):
        raise ValueError(f"[bridge.roll] {len(shifts)} shifts do not go with {len(axes)} axes.")
    for k in range(max(len(axes), len(shifts)) if axes and shifts else 0):
        at, by = axes[k % len(axes)], shifts[k % len(shifts)]
        if a.shape[at] > 0:
            first, second = split(a, [-by % a.shape[at]], at)
            a = concatenate([second, first], at, stream=stream)
    return a


def repeat(
    array: array, repeats: int | Sequence[int] | array, axis: int | None = None, *, stream: Stream = None
) -> array:
    """Every element `repeats` times, next to each other, along an axis or in the flattened array.

    Args:
        repeats: one number, or one for every element along the axis. An array of numbers is evaluated.

    Raises:
        ValueError: a number is negative, or they are not as many as the elements. IndexError as well: the axis is not
            there.
    """
    a = flatten(array) if axis is None else as_array(array)
    (at,) = normalize_axes(a, 0 if axis is None else axis, "repeat")
    counts = _counts(repeats, a.shape[at])
    if not isinstance(counts, int):
        places = [place for place, count in enumerate(counts) for _ in range(count)]
        return a[(slice(None),) * at + (_positions(places),)]
    spread = expand_dims(a, at + 1, stream=stream)
    spread = broadcast_to(spread, (*a.shape[: at + 1], counts, *a.shape[at + 1 :]), stream=stream)
    return flatten(spread, at, at + 1, stream=stream)


def _positions(places: list[int]) -> array:
    return array(places, int32)


def _counts(repeats: Any, extent: int) -> int | list[int]:
    """How often each of `extent` elements comes: one number for all of them, or one each."""
    numbers = repeats.tolist() if hasattr(repeats, "tolist") else repeats
    several = isinstance(numbers, list | tuple)
    counts = [operator.index(one) for one in numbers] if several else [operator.index(numbers)]
    if any(one < 0 for one in counts):
        raise ValueError(f"[bridge.repeat] the number of repeats must not be negative; got {min(counts)}.")
    if len(counts) == 1:
        return counts[0]
    if len(counts) != extent:
        raise ValueError(f"[bridge.repeat] {len(counts)} numbers of repeats do not fit {extent} elements.")
    return counts


def tile(a: array, reps: int | Sequence[int], /, *, stream: Stream = None) -> array:
    """The whole array repeated along every axis: `reps` counts from the last axis and may add axes.

    Raises:
        ValueError: a count is negative.
    """
    a = as_array(a)
    counts = [operator.index(count) for count in (reps if isinstance(reps, Sequence) else [reps])]
    if any(count < 0 for count in counts):
        raise ValueError(f"[bridge.tile] the numbers of repeats must not be negative; got {counts}.")
    ndim = len(counts) if len(counts) > a.ndim else a.ndim
    shape = (1,) * (ndim - a.ndim) + a.shape
    counts = [1] * (ndim - len(counts)) + counts
    spread = reshape(a, [extent for pair in shape for extent in (1, pair)], stream=stream)
    full = [extent for pair in zip(counts, shape, strict=True) for extent in pair]
    result = [count * extent for count, extent in zip(counts, shape, strict=True)]
    return reshape(broadcast_to(spread, full, stream=stream), result, stream=stream)


def broadcast_shapes(*shapes: Sequence[int]) -> tuple[int, ...]:
    """Shape that arrays of these shapes broadcast to.

    Raises:
        ValueError: two extents of one axis differ and neither is 1.
    """
    result: list[int] = []
    for shape in shapes:
        result = [1] * (len(shape) - len(result)) + result
        for k in range(1, len(shape) + 1):
            if result[-k] == 1:
                result[-k] = shape[-k]
            elif shape[-k] not in (1, result[-k]):
                listed = ", ".join(str(tuple(one)) for one in shapes)
                raise ValueError(f"[bridge.broadcast_shapes] the shapes {listed} cannot be broadcast together.")
    return tuple(result)


def broadcast_arrays(*arrays: array, stream: Stream = None) -> tuple[array, ...]:
    """All arrays broadcast to their common shape, as views."""
    operands = [as_array(a) for a in arrays]
    shape = broadcast_shapes(*(a.shape for a in operands))
    return tuple(broadcast_to(a, shape, stream=stream) for a in operands)


def atleast_1d(*arys: Operand, stream: Stream = None) -> Any:
    """Arrays with at least one axis: one array, or a list of them for several arguments."""
    return _each(arys, lambda a: reshape(a, (1,), stream=stream) if a.ndim == 0 else +a)


def atleast_2d(*arys: Operand, stream: Stream = None) -> Any:
    """Arrays with at least two axes, new ones in front: one array, or a list of them for several arguments."""
    return _each(arys, lambda a: reshape(a, (1,) * (2 - a.ndim) + a.shape, stream=stream) if a.ndim < 2 else +a)


def atleast_3d(*arys: Operand, stream: Stream = None) -> Any:
    """Arrays with at least three axes: (n,) becomes (1, n, 1) and (m, n) becomes (m, n, 1)."""
    shapes = {0: (1, 1, 1), 1: (1, -1, 1)}
    return _each(arys, lambda a: reshape(a, shapes.get(a.ndim, (*a.shape, 1)), stream=stream) if a.ndim < 3 else +a)


def as_array(a: Any) -> array:
    """The operand as an array: itself, one over the memory of a foreign array, or a 0-d one of a Python scalar.

    Raises:
        TypeError: it is none of these; lists are for `bridge.array`.
    """
    return a if isinstance(a, array) else squeeze(a, ())


def describe(a: array) -> str:
    """float32[4, 3]."""
    return f"{a.dtype.name}[{', '.join(map(str, a.shape))}]"


def normalize_axes(a: array, axis: Axis, op: str = "") -> tuple[int, ...]:
    """Axes as a tuple of numbers from 0, all of them for None. Raises AxisError if one is out of bounds."""
    if axis is None:
        return tuple(range(a.ndim))
    axes = tuple(map(operator.index, axis)) if isinstance(axis, Sequence) else (operator.index(axis),)
    for one in axes:
        if not -a.ndim <= one < a.ndim:
            tag = f"bridge.{op}" if op else "bridge"
            raise AxisError(f"[{tag}] axis {one} is out of bounds for an array of {a.ndim} dimensions.")
    return tuple(one % a.ndim for one in axes)


def unbroadcast(g: array, shape: tuple[int, ...]) -> array:
    """`g` summed over the axes along which an array of `shape` was broadcast to g's shape."""
    lead = g.ndim - len(shape)
    axes = [*range(lead), *(lead + k for k, extent in enumerate(shape) if extent == 1 and g.shape[lead + k] != 1)]
    return reshape(g.sum(axes), shape) if axes else g


def _each(arys: tuple[Operand, ...], change: Any) -> Any:
    changed = [change(as_array(a)) for a in arys]
    return changed[0] if len(changed) == 1 else changed


def _inverse(axes: Sequence[int] | None, ndim: int) -> list[int] | None:
    """The order of axes that undoes `axes`."""
    return None if axes is None else sorted(range(ndim), key=lambda k: axes[k] % ndim)


def _behind(axes: Sequence[int] | None, ndim: int) -> list[int]:
    """`axes` of an array without its first axis, as axes of the array of `ndim` axes; the first stays."""
    inner = range(ndim - 2, -1, -1) if axes is None else axes
    return [0, *(axis % (ndim - 1) + 1 for axis in inner)]


def with_batch(size: int, has: bool, a: array) -> array:
    """The operand with a batch axis in front, repeated if it has none."""
    return a if has else broadcast_to(a, (size, *a.shape))
