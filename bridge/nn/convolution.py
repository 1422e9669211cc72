"""Convolutions over one, two or three axes, and their transposes. The last axis is that of the channels."""

from __future__ import annotations

import math
from typing import Any

from bridge.core._native import array
from bridge.core.ops import conv, random
from bridge.core.ops.create import zeros
from bridge.nn.module import Module

Pair = int | tuple[int, int]
Triple = int | tuple[int, int, int]


class _Convolution(Module):
    """What all convolutions share: `space` axes, an initial weight by fan-in, and how it is told in the repr."""

    def _make(self, shape: tuple[int, ...], bias: bool) -> None:
        """Weight of this shape (out, *kernel, in), evenly spread within 1 / sqrt(fan-in); a bias of zeros."""
        bound = math.sqrt(1 / math.prod(shape[1:]))
        self.weight = random.uniform(-bound, bound, shape)
        if bias:
            self.bias = zeros((shape[0],))

    def _extra_repr(self) -> str:
        out, *kernel, channels = self.weight.shape
        parts: dict[str, Any] = {"kernel_size": kernel[0] if len(kernel) == 1 else tuple(kernel)}
        names = ("stride", "padding", "dilation", "output_padding", "groups")
        parts |= {name: getattr(self, name) for name in names if hasattr(self, name)}
        parts["bias"] = "bias" in self
        told = ", ".join(f"{name}={value}" for name, value in parts.items())
        return f"{channels * parts.get('groups', 1)}, {out}, {told}"

    def _biased(self, y: array) -> array:
        return y + self.bias if "bias" in self else y


def _each(value: Any, space: int) -> Any:
    """A number for every axis."""
    return (value,) * space if isinstance(value, int) else tuple(value)


def _divided(layer: str, in_channels: int, groups: int) -> int:
    """Channels of one group."""
    if in_channels % groups:
        raise ValueError(f"[bridge.nn.{layer}] {groups} groups cannot share {in_channels} input channels evenly")
    return in_channels // groups


class Conv1d(_Convolution):
    """Convolution over 1 axis: (N, L, C) with C = in_channels to (N, L', out_channels).

    Args:
        kernel_size, stride, padding, dilation: numbers; the padding is put at both ends.
        groups: parts into which the channels are divided, each convolved by itself.

    Parameters: weight (out_channels, kernel, in_channels // groups), at first evenly spread within
    ``1 / sqrt(n)`` around 0 where n values add up to an output; bias (out_channels,), at first 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._make((out_channels, kernel_size, _divided("Conv1d", in_channels, groups)), bias)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups = groups

    def __call__(self, x: array) -> array:
        return self._biased(conv.conv1d(x, self.weight, self.stride, self.padding, self.dilation, self.groups))


class Conv2d(_Convolution):
    """Convolution over 2 axes: (N, H, W, C) with C = in_channels to (N, H', W', out_channels).

    Args:
        kernel_size, stride, padding, dilation: a number for all axes, or one for each; the padding is put at both ends.
        groups: parts into which the channels are divided, each convolved by itself.

    Parameters: weight (out_channels, *kernel, in_channels // groups), at first evenly spread within
    ``1 / sqrt(n)`` around 0 where n values add up to an output; bias (out_channels,), at first 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._make((out_channels, *_each(kernel_size, 2), _divided("Conv2d", in_channels, groups)), bias)
        self.stride, self.padding, self.dilation = _each(stride, 2), _each(padding, 2), dilation
        self.groups = groups

    def __call__(self, x: array) -> array:
        return self._biased(conv.conv2d(x, self.weight, self.stride, self.padding, self.dilation, self.groups))


class Conv3d(_Convolution):
    """Convolution over 3 axes: (N, D, H, W, C) with C = in_channels to (N, D', H', W', out_channels).

    Args:
        kernel_size, stride, padding, dilation: a number for all axes, or one for each; the padding is put at both ends.

    Parameters: weight (out_channels, *kernel, in_channels), at first evenly spread within
    ``1 / sqrt(n)`` around 0 where n values add up to an output; bias (out_channels,), at first 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Triple,
        stride: Triple = 1,
        padding: Triple = 0,
        dilation: Triple = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._make((out_channels, *_each(kernel_size, 3), in_channels), bias)
        self.stride, self.padding, self.dilation = _each(stride, 3), _each(padding, 3), dilation

    def __call__(self, x: array) -> array:
        return self._biased(conv.conv3d(x, self.weight, self.stride, self.padding, self.dilation))


class ConvTranspose1d(_Convolution):
    """Transposed convolution over 1 axis: (N, L, C) with C = in_channels to (N, L', out_channels).

    Args:
        kernel_size, stride, padding, dilation: those of the convolution whose transpose this is.
        output_padding: by how much the result is longer at the end.

    Parameters: weight (out_channels, kernel, in_channels), at first evenly spread within
    ``1 / sqrt(in_channels * size of the kernel)`` around 0; bias (out_channels,), at first 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        output_padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._make((out_channels, kernel_size, in_channels), bias)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.output_padding = output_padding

    def __call__(self, x: array) -> array:
        settings: tuple[Any, ...] = (self.stride, self.padding, self.dilation, self.output_padding)
        return self._biased(conv.conv_transpose1d(x, self.weight, *settings))


class ConvTranspose2d(_Convolution):
    """Transposed convolution over 2 axes: (N, H, W, C) with C = in_channels to (N, H', W', out_channels).

    Args:
        kernel_size, stride, padding, dilation: those of the convolution whose transpose this is.
        output_padding: by how much the result is longer at the end.

    Parameters: weight (out_channels, *kernel, in_channels), at first evenly spread within
    ``1 / sqrt(in_channels * size of the kernel)`` around 0; bias (out_channels,), at first 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        output_padding: Pair = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._make((out_channels, *_each(kernel_size, 2), in_channels), bias)
        self.stride, self.padding, self.dilation = _each(stride, 2), _each(padding, 2), dilation
        self.output_padding = _each(output_padding, 2)

    def __call__(self, x: array) -> array:
        settings: tuple[Any, ...] = (self.stride, self.padding, self.dilation, self.output_padding)
        return self._biased(conv.conv_transpose2d(x, self.weight, *settings))


class ConvTranspose3d(_Convolution):
    """Transposed convolution over 3 axes: (N, D, H, W, C) with C = in_channels to (N, D', H', W', out_channels).

    Args:
        kernel_size, stride, padding, dilation: those of the convolution whose transpose this is.
        output_padding: by how much the result is longer at the end.

    Parameters: weight (out_channels, *kernel, in_channels), at first evenly spread within
    ``1 / sqrt(in_channels * size of the kernel)`` around 0; bias (out_channels,), at first 0.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Triple,
        stride: Triple = 1,
        padding: Triple = 0,
        dilation: Triple = 1,
        output_padding: Triple = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self._make((out_channels, *_each(kernel_size, 3), in_channels), bias)
        self.stride, self.padding, self.dilation = _each(stride, 3), _each(padding, 3), dilation
        self.output_padding = _each(output_padding, 3)

    def __call__(self, x: array) -> array:
        settings: tuple[Any, ...] = (self.stride, self.padding, self.dilation, self.output_padding)
        return self._biased(conv.conv_transpose3d(x, self.weight, *settings))
