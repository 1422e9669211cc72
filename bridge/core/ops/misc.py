"""Padding, coordinate grids, windows and the replacement of what is not finite."""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from bridge.core._native import Dtype, array
from bridge.core.dtypes import ALL, COMPLEX, FLOATING, HELD, bfloat16, bool_, float16, float32, float64
from bridge.core.errors import message
from bridge.core.ops.arithmetic import abs, imag, real
from bridge.core.ops.bitcast import view
from bridge.core.ops.compare import equal, isnan, where
from bridge.core.ops.create import arange, full, ones, zeros_like
from bridge.core.ops.declare import structured
from bridge.core.ops.reduce import sum
from bridge.core.ops.shape import as_array, broadcast_to, reshape, stack, with_batch
from bridge.core.ops.trigonometric import cos
from bridge.core.ops.types import Operand, Stream

Mode: TypeAlias = Literal["constant", "edge", "reflect", "symmetric"]
Widths: TypeAlias = "int | Sequence[int] | Sequence[Sequence[int]]"


# ---- padding
def pad(
    a: array,
    pad_width: Widths,
    mode: Mode = "constant",
    constant_values: Operand = 0,
    *,
    stream: Stream = None,
) -> array:
    """An array with elements added before and after along its axes.

    Args:
        pad_width: a number for both ends of every axis, a pair (before, after) for every axis, or one pair an axis.
        mode: what is added. "constant": `constant_values`, one number, as a's dtype; "edge": the element at the edge;
            "reflect" and "symmetric": the elements from the edge inwards, without it and with it, turning at each end.

    Raises:
        ValueError: a width is negative, there are not as many pairs as axes, the mode is another, or an axis without
            elements has none to repeat.
    """
    a = as_array(a)
    widths = _widths(pad_width, a.ndim)
    before, after = (tuple(pair[k] for pair in widths) for k in (0, 1))
    return padded(a, _constant(constant_values, a.dtype), before, after, mode, stream=stream)


def _widths(pad_width: Any, ndim: int) -> list[Sequence[int]]:
    """One pair an axis."""
    if isinstance(pad_width, int):
        return [(pad_width, pad_width)] * ndim
    pairs = list(pad_width)
    if pairs and isinstance(pairs[0], int):
        pairs = [(pairs[0], pairs[-1])] if len(pairs) <= 2 else []
    pairs = pairs * ndim if len(pairs) == 1 else pairs
    if len(pairs) != ndim or any(len(pair) != 2 for pair in pairs):
        raise ValueError(message("bridge.pad", "one pair of widths an axis is wanted", got=f"{pad_width}, {ndim} axes"))
    return pairs


def _constant(value: Operand, dtype: Dtype) -> array:
    if not isinstance(value, array):
        return array(value).astype(dtype)
    if value.size != 1:
        raise ValueError(message("bridge.pad", "one constant is wanted", got=f"an array of shape {value.shape}"))
    return reshape(value, ()).astype(dtype)


def _unpadded(g: array, a: array, value: array, before: Sequence[int], after: Sequence[int], mode: str) -> array:
    """Every element of `g` added to the element of `a` that it was a copy of."""
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        extent, around = a.shape[axis], (slice(None),) * axis
        middle = g[(*around, slice(low, low + extent))]
        if mode != "constant":
            for start, count, step, at in _pieces(extent, low, high, mode):
                part = g[(*around, slice(at, at + count))]
                middle = middle + _placed(part, axis, extent, start, step)
        g = middle
    return g


def _placed(part: array, axis: int, extent: int, start: int, step: int) -> array:
    """A part in an axis of zeros: from `start` on, forwards or backwards, or summed up there."""
    if step == 0:
        part, first = sum(part, axis, keepdims=True), start
    elif step < 0:
        part, first = part[(*(slice(None),) * axis, slice(None, None, -1))], start - part.shape[axis] + 1
    else:
        first = start
    before, after = [0] * part.ndim, [0] * part.ndim
    before[axis], after[axis] = first, extent - first - part.shape[axis]
    return padded(part, full((), 0, part.dtype), before, after, "constant")


def _pieces(extent: int, before: int, after: int, mode: str) -> list[tuple[int, int, int, int]]:
    """What surrounds an axis: first element, how many, step (0: the same again), place in the result; of each piece."""
    if mode == "edge" or extent == 1:
        return [(0, before, 0, 0), (extent - 1, after, 0, before + extent)]
    turn = extent - (mode == "reflect")  # elements from a turn to the next
    pieces = []
    for place, stop in ((-before, 0), (extent, extent + after)):
        while place < stop:
            lap, at = divmod(place, turn)
            count = min(turn - at, stop - place)
            start, step = (at, 1) if lap % 2 == 0 else (extent - 1 - at, -1)
            pieces.append((start, count, step, place + before))
            place += count
    return pieces


def _padded_batch(
    size: int,
    batched: Sequence[bool],
    a: array,
    value: array,
    before: Sequence[int],
    after: Sequence[int],
    mode: str,
) -> array:
    a = with_batch(size, batched[0], a)
    before, after = (0, *before), (0, *after)
    if not batched[1]:
        return padded(a, value, before, after, mode)
    inside = padded(ones(a.shape, bool_), array(False), before, after, mode)
    values = reshape(value, (size,) + (1,) * (a.ndim - 1))
    return where(inside, padded(a, full((), 0, a.dtype), before, after, mode), values)


def _value_gradient(g: array, a: array, value: array, before: Sequence[int], after: Sequence[int], mode: str) -> array:
    inside = sum(_unpadded(g, a, value, before, after, "constant"))
    return reshape(sum(g) - inside if mode == "constant" else zeros_like(inside), value.shape)


@structured(accepts=ALL | HELD, transpose=(_unpadded, _value_gradient), batching=_padded_batch)
def padded(
    a: array,
    value: array,
    /,
    before: Sequence[int],
    after: Sequence[int],
    mode: str,
    *,
    stream: Stream = None,
) -> array:
    """`pad` with one width before and one after each axis, and a constant of the array's dtype."""


# ---- grids
def meshgrid(
    *arrays: array, sparse: bool | None = False, indexing: str | None = "xy", stream: Stream = None
) -> tuple[array, ...]:
    """Coordinate grids: of each array one that varies along its own axis only. Arrays of several axes are flattened.

    Args:
        sparse: the other axes have size 1; otherwise the grids are broadcast to the common shape, as views.
        indexing: "ij": array k varies along axis k; "xy": the first two axes are exchanged.

    Raises:
        ValueError: `indexing` is neither.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(message("bridge.meshgrid", "there is no such indexing", got=repr(indexing), want="xy or ij"))
    places = list(range(len(arrays)))
    if indexing == "xy" and len(places) > 1:
        places[:2] = 1, 0
    flat = [as_array(a) for a in arrays]
    sizes = [a.size for a in flat]
    ones_around = [[1] * len(flat) for _ in flat]
    for shape, place, size in zip(ones_around, places, sizes, strict=True):
        shape[place] = size
    grids = [reshape(a, shape, stream=stream) for a, shape in zip(flat, ones_around, strict=True)]
    if sparse:
        return tuple(grids)
    common = [sizes[places.index(axis)] for axis in range(len(flat))]
    return tuple(broadcast_to(grid, common, stream=stream) for grid in grids)


# ---- what is not finite
LARGEST = {
    float16: 65504.0,
    bfloat16: 3.3895313892515355e38,
    float32: 3.4028234663852886e38,
    float64: 1.7976931348623157e308,
}


def nan_to_num(
    a: Operand,
    nan: float = 0,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    stream: Stream = None,
) -> array:
    """NaN replaced by `nan`, infinities by the largest and smallest finite number or what is given.

    Of a complex array, in both parts. Integers and bool stay as they are.
    """
    a = as_array(a)
    if a.dtype in COMPLEX:
        parts = [nan_to_num(part(a), nan, posinf, neginf, stream=stream) for part in (real, imag)]
        return reshape(view(stack(parts, -1), a.dtype), a.shape)
    if a.dtype not in FLOATING:
        return +a
    high = LARGEST[a.dtype] if posinf is None else posinf
    low = -LARGEST[a.dtype] if neginf is None else neginf
    finite = where(equal(a, math.inf), high, where(equal(a, -math.inf), low, a))
    return where(isnan(a), nan, finite, stream=stream)


# ---- windows
def bartlett(M: int, *, stream: Stream = None) -> array:
    """Bartlett's window of M points, float32: a triangle from 0 to 1 to 0."""
    return _window(M, lambda turn: 1 - abs(turn * 2 - 1), stream)


def blackman(M: int, *, stream: Stream = None) -> array:
    """Blackman's window of M points, float32: 0.42 - 0.5 cos(2 pi n / (M - 1)) + 0.08 cos(4 pi n / (M - 1))."""
    return _window(M, lambda turn: 0.42 - 0.5 * _cosine(turn) + 0.08 * _cosine(2 * turn), stream)


def hamming(M: int, *, stream: Stream = None) -> array:
    """Hamming's window of M points, float32: 0.54 - 0.46 cos(2 pi n / (M - 1))."""
    return _window(M, lambda turn: 0.54 - 0.46 * _cosine(turn), stream)


def hanning(M: int, *, stream: Stream = None) -> array:
    """Hann's window of M points, float32: 0.5 - 0.5 cos(2 pi n / (M - 1))."""
    return _window(M, lambda turn: 0.5 - 0.5 * _cosine(turn), stream)


def _window(points: int, form: Callable[[array], array], stream: Stream) -> array:
    """A form over the places from 0 to 1, computed in float64; one point is 1, and fewer are none."""
    if points <= 1:
        return ones((max(points, 0),), stream=stream)
    return form(arange(points, dtype=float64, stream=stream) / (points - 1)).astype(float32)


def _cosine(turn: array) -> array:
    return cos(turn * (2 * math.pi))
