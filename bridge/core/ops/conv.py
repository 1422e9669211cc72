"""Convolutions over one, two or three axes of space, channels last as in MLX.

One primitive, `conv_general`; everything else says the same in other words. What is called convolution here is, as in
every framework, cross-correlation: the taps are not turned round unless `flip` asks for it.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from bridge.core._native import array
from bridge.core.dtypes import NUMERIC
from bridge.core.errors import message
from bridge.core.ops.create import zeros_like
from bridge.core.ops.declare import structured
from bridge.core.ops.shape import as_array, describe, flip, moveaxis, reshape
from bridge.core.ops.types import Stream

Each: TypeAlias = int | Sequence[int]  # one for each axis of space, or one for all
Padding: TypeAlias = int | Sequence[int] | tuple[Sequence[int], Sequence[int]]
One: TypeAlias = int
Two: TypeAlias = int | tuple[int, int]
Three: TypeAlias = int | tuple[int, int, int]

_turn = flip  # the parameter of conv_general has the same name


@structured(
    accepts=NUMERIC,
    transpose=(
        lambda g, input, weight, **settings: _to_input(g, input, weight, **settings),
        lambda g, input, weight, **settings: _to_weight(g, input, weight, **settings),
    ),
    batching=lambda size, batched, input, weight, **settings: _batched(size, batched, input, weight, **settings),
)
def conv_general(
    input: array,
    weight: array,
    /,
    stride: Each = 1,
    padding: Padding = 0,
    kernel_dilation: Each = 1,
    input_dilation: Each = 1,
    groups: int = 1,
    flip: bool = False,
    *,
    stream: Stream = None,
) -> array:
    """Sums of products of a moving window of the input with the weight.

    float16 and bfloat16 products are summed in float32 and rounded once; integers wrap.

    Args:
        input: shape (N, ..., C_in), with one to three axes of space.
        weight: shape (C_out, ..., C_in / groups).
        stride: steps of the window, for each axis of space or one for all, like the next three.
        padding: zeros around the input, after `input_dilation`; a pair of lists: before and behind. Negative ones cut.
        kernel_dilation: distance of neighbouring taps.
        input_dilation: distance of neighbouring elements of the input, which zeros fill.
        groups: channels fall into so many groups, each with its own weights.
        flip: taps in reverse order: the convolution of signal processing.

    Returns:
        Shape (N, ..., C_out).

    Raises:
        ValueError: shapes or settings do not fit, or the weight is larger than the padded input.
        DTypeError: both operands are bool.
    """


def conv1d(
    input: array,
    weight: array,
    /,
    stride: One = 1,
    padding: One = 0,
    dilation: One = 1,
    groups: int = 1,
    *,
    stream: Stream = None,
) -> array:
    """Convolution of (N, L, C_in) with (C_out, K, C_in / groups); see `conv_general`."""
    return _conv("conv1d", 1, input, weight, stride, padding, dilation, groups, stream)


def conv2d(
    input: array,
    weight: array,
    /,
    stride: Two = 1,
    padding: Two = 0,
    dilation: Two = 1,
    groups: int = 1,
    *,
    stream: Stream = None,
) -> array:
    """Convolution of (N, H, W, C_in) with (C_out, KH, KW, C_in / groups); see `conv_general`."""
    return _conv("conv2d", 2, input, weight, stride, padding, dilation, groups, stream)


def conv3d(
    input: array,
    weight: array,
    /,
    stride: Three = 1,
    padding: Three = 0,
    dilation: Three = 1,
    groups: int = 1,
    *,
    stream: Stream = None,
) -> array:
    """Convolution of (N, D, H, W, C_in) with (C_out, KD, KH, KW, C_in / groups); see `conv_general`."""
    return _conv("conv3d", 3, input, weight, stride, padding, dilation, groups, stream)


def conv_transpose1d(
    input: array,
    weight: array,
    /,
    stride: One = 1,
    padding: One = 0,
    dilation: One = 1,
    output_padding: One = 0,
    groups: int = 1,
    *,
    stream: Stream = None,
) -> array:
    """Transposed convolution of (N, L, C_in) with (C_out, K, C_in / groups).

    Every element of the input adds the weight, times itself, to the result, `stride` further on than its neighbour.
    `padding` is cut from both ends; `output_padding` positions follow at the end.
    """
    return _conv_transpose(
        "conv_transpose1d", 1, input, weight, stride, padding, dilation, output_padding, groups, stream
    )


def conv_transpose2d(
    input: array,
    weight: array,
    /,
    stride: Two = 1,
    padding: Two = 0,
    dilation: Two = 1,
    output_padding: Two = 0,
    groups: int = 1,
    *,
    stream: Stream = None,
) -> array:
    """Transposed convolution of (N, H, W, C_in) with (C_out, KH, KW, C_in / groups); see `conv_transpose1d`."""
    return _conv_transpose(
        "conv_transpose2d", 2, input, weight, stride, padding, dilation, output_padding, groups, stream
    )


def conv_transpose3d(
    input: array,
    weight: array,
    /,
    stride: Three = 1,
    padding: Three = 0,
    dilation: Three = 1,
    output_padding: Three = 0,
    groups: int = 1,
    *,
    stream: Stream = None,
) -> array:
    """Transposed convolution of (N, D, H, W, C_in) with (C_out, KD, KH, KW, C_in / groups); see `conv_transpose1d`."""
    return _conv_transpose(
        "conv_transpose3d", 3, input, weight, stride, padding, dilation, output_padding, groups, stream
    )


def convolve(a: array, v: array, /, mode: str = "full", *, stream: Stream = None) -> array:
    """Discrete convolution of two 1-d arrays, as NumPy's.

    Args:
        mode: "full": wherever they overlap; "same": the middle, as long as the longer operand; "valid": only where the
            shorter one lies within the longer one.

    Raises:
        ValueError: an operand is empty or not 1-d, or the mode is none of the three.
    """
    a, v = as_array(a), as_array(v)
    if a.ndim != 1 or v.ndim != 1 or a.size == 0 or v.size == 0:
        raise ValueError(
            message(
                "bridge.convolve",
                "two 1-d arrays with at least one element each are wanted",
                got=f"{describe(a)} and {describe(v)}",
            )
        )
    if v.size > a.size:
        a, v = v, a
    padding = {"full": (v.size - 1, v.size - 1), "same": (v.size // 2, (v.size - 1) // 2), "valid": (0, 0)}.get(mode)
    if padding is None:
        raise ValueError(message("bridge.convolve", "unknown mode", got=repr(mode), want='"full", "same" or "valid"'))
    low, high = padding
    out = conv_general(
        reshape(a, (1, -1, 1)), reshape(v, (1, -1, 1)), padding=([low], [high]), flip=True, stream=stream
    )
    return reshape(out, (-1,))


def _each(op: str, name: str, value: Each, space: int) -> list[int]:
    values = [value] * space if isinstance(value, int) else list(value)
    if len(values) != space:
        raise ValueError(
            message(f"bridge.{op}", f"{name} has not one entry for each axis of space", got=f"{name}={tuple(values)}")
        )
    return values


def _check_space(op: str, space: int, input: array) -> None:
    if input.ndim != space + 2:
        axes = "N, " + {1: "L", 2: "H, W", 3: "D, H, W"}[space] + ", C_in"
        raise ValueError(
            message(f"bridge.{op}", "the input has another number of axes", got=describe(input), want=f"({axes})")
        )


def _conv(
    op: str,
    space: int,
    input: array,
    weight: array,
    stride: Each,
    padding: Each,
    dilation: Each,
    groups: int,
    stream: Stream,
) -> array:
    _check_space(op, space, input)
    steps, pads = _each(op, "stride", stride, space), _each(op, "padding", padding, space)
    between = _each(op, "dilation", dilation, space)
    return conv_general(input, weight, steps, pads, between, 1, groups, stream=stream)


def _conv_transpose(
    op: str,
    space: int,
    input: array,
    weight: array,
    stride: Each,
    padding: Each,
    dilation: Each,
    output_padding: Each,
    groups: int,
    stream: Stream,
) -> array:
    """The convolution with a stride, backwards: the stride becomes the distance of the input's elements."""
    _check_space(op, space, input)
    steps, pads = _each(op, "stride", stride, space), _each(op, "padding", padding, space)
    between = _each(op, "dilation", dilation, space)
    more = _each(op, "output_padding", output_padding, space)
    low = [d * (k - 1) - p for d, k, p in zip(between, weight.shape[1:-1], pads, strict=False)]
    high = [one + extra for one, extra in zip(low, more, strict=False)]
    return conv_general(input, weight, 1, (low, high), between, steps, groups, True, stream=stream)


# Rules. A convolution is linear in each operand, and its transposes are convolutions again.


def _spread(extent: int, step: int) -> int:
    """Extent with `step - 1` positions between neighbours."""
    return (extent - 1) * step + 1 if extent else 0


def _to_input(
    g: array,
    input: array,
    weight: array,
    *,
    stride: Sequence[int],
    padding: tuple[Sequence[int], Sequence[int]],
    kernel_dilation: Sequence[int],
    input_dilation: Sequence[int],
    groups: int,
    flip: bool,
) -> array:
    """The same taps in the other direction: strides and distances of the input change places."""
    if 0 in (g.size, weight.size, input.size):
        return zeros_like(input)
    space = range(input.ndim - 2)
    taps, extents = weight.shape[1:-1], input.shape[1:-1]
    spans = [_spread(taps[k], kernel_dilation[k]) for k in space]
    low = [spans[k] - 1 - padding[0][k] for k in space]
    high = [
        _spread(extents[k], input_dilation[k]) - 1 + spans[k] - _spread(g.shape[1 + k], stride[k]) - low[k]
        for k in space
    ]
    return conv_general(
        g, _swapped(weight, groups), input_dilation, (low, high), kernel_dilation, stride, groups, not flip
    )


def _swapped(weight: array, groups: int) -> array:
    """Input and output channels of every group change places."""
    out, *taps, within = weight.shape
    split = moveaxis(reshape(weight, (groups, out // groups, *taps, within)), -1, 1)
    return reshape(moveaxis(split, 2, -1), (groups * within, *taps, out // groups))


def _to_weight(
    g: array,
    input: array,
    weight: array,
    *,
    stride: Sequence[int],
    padding: tuple[Sequence[int], Sequence[int]],
    kernel_dilation: Sequence[int],
    input_dilation: Sequence[int],
    groups: int,
    flip: bool,
) -> array:
    """The input with the change as its weight: the sum goes over the batch, and channels are the new batch."""
    if 0 in (g.size, weight.size, input.size):
        return zeros_like(weight)
    space = range(input.ndim - 2)
    taps, extents = weight.shape[1:-1], input.shape[1:-1]
    high = [
        _spread(taps[k], kernel_dilation[k]) - 1 + _spread(g.shape[1 + k], stride[k])
        - _spread(extents[k], input_dilation[k]) - padding[0][k]
        for k in space
    ]  # fmt: skip
    batch, *_, channels = input.shape
    grouped = reshape(input, (batch, *extents, groups, channels // groups))
    rows = reshape(moveaxis(moveaxis(grouped, 0, -1), -2, 0), (channels // groups, *extents, groups * batch))
    columns = moveaxis(moveaxis(g, -1, 0), 1, -1)
    change = conv_general(
        rows, columns, kernel_dilation, (list(padding[0]), high), stride, input_dilation, groups, False
    )
    change = moveaxis(moveaxis(change, -1, 0), 1, -1)
    return _turn(change, list(range(1, change.ndim - 1))) if flip else change


def _batched(size: int, batched: Sequence[bool], input: array, weight: array, *, groups: int, **settings: Any) -> array:
    """The batch joins the inputs, or the output channels, or, of both, the groups."""
    has_input, has_weight = batched
    if not has_weight:
        rows = input.shape[1]
        out = conv_general(reshape(input, (size * rows, *input.shape[2:])), weight, groups=groups, **settings)
        return reshape(out, (size, rows, *out.shape[1:]))
    out_channels, *rest = weight.shape[1:]
    if not has_input:
        split = reshape(weight, (size, groups, out_channels // groups, *rest))
        out = conv_general(
            input, reshape(moveaxis(split, 0, 1), (size * out_channels, *rest)), groups=groups, **settings
        )
        out = reshape(out, (*out.shape[:-1], groups, size, out_channels // groups))
        return reshape(moveaxis(out, -2, 0), (size, *out.shape[:-3], out_channels))
    inner = moveaxis(input, 0, -2)
    out = conv_general(
        reshape(inner, (*inner.shape[:-2], size * inner.shape[-1])),
        reshape(weight, (size * out_channels, *rest)),
        groups=groups * size,
        **settings,
    )
    return moveaxis(reshape(out, (*out.shape[:-1], size, out_channels)), -2, 0)
