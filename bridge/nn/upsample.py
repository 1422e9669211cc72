"""`Upsample`: longer or shorter axes between the first and the last."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

from bridge.core._native import array
from bridge.core.dtypes import float32, uint32
from bridge.core.ops.arithmetic import abs, clip, floor, maximum, round
from bridge.core.ops.compare import where
from bridge.core.ops.create import arange
from bridge.core.ops.shape import repeat
from bridge.core.ops.take import take
from bridge.nn.module import Module

Taps = list[tuple[array, array]]  # (positions, weights) along one axis: the result is the sum of weight * x[position]


class Upsample(Module):
    """(N, *extents, C) to (N, *(int(scale * extent)), C).

    Args:
        scale_factor:  a number for all axes between, or one for each.
        mode:          "nearest", "linear" or "cubic".
        align_corners: the first and the last sample stay at the ends; otherwise samples are the middles of cells.
        antialias:     a filter as wide as what one sample of the result stands for, where an axis becomes shorter; not
                       with "nearest" or `align_corners`.
    """

    def __init__(
        self,
        scale_factor: float | tuple[float, ...],
        mode: Literal["nearest", "linear", "cubic"] = "nearest",
        align_corners: bool = False,
        antialias: bool = False,
    ) -> None:
        super().__init__()
        if mode not in ("nearest", "linear", "cubic"):
            raise ValueError(f"[bridge.nn.Upsample] mode is 'nearest', 'linear' or 'cubic', not {mode!r}")
        if antialias and (mode == "nearest" or align_corners):
            raise ValueError(
                "[bridge.nn.Upsample] antialias=True goes neither with mode='nearest' nor align_corners=True"
            )
        several = isinstance(scale_factor, tuple | list)
        self.scale_factor = tuple(map(float, scale_factor)) if several else float(scale_factor)  # type: ignore[arg-type]
        self.mode, self.align_corners, self.antialias = mode, align_corners, antialias

    def _extra_repr(self) -> str:
        told = f"scale_factor={self.scale_factor}, mode={self.mode!r}, align_corners={self.align_corners}"
        return told + (", antialias=True" if self.antialias else "")

    def __call__(self, x: array) -> array:
        space = x.ndim - 2
        scales = self.scale_factor if isinstance(self.scale_factor, tuple) else (self.scale_factor,) * space
        if space <= 0 or len(scales) != space:
            want = f"{len(scales) + 2}" if isinstance(self.scale_factor, tuple) else "at least 3"
            raise ValueError(f"[bridge.nn.Upsample] the input has {want} axes, not {x.ndim}")
        for axis, scale in enumerate(scales, 1):
            x = self._along(x, axis, scale, whole=all(s == int(s) for s in scales))
        return x

    def _along(self, x: array, axis: int, scale: float, *, whole: bool) -> array:
        """x with one axis scaled."""
        if self.mode == "nearest":
            return repeat(x, int(scale), axis) if whole else take(x, _nearest(x.shape[axis], scale), axis)
        taps = self._taps(x.shape[axis], scale)
        shape = (-1, *(1,) * (x.ndim - axis - 1))
        parts = [take(x, position, axis) * weight.reshape(shape) for position, weight in taps]
        return sum(parts[1:], parts[0])

    def _taps(self, extent: int, scale: float) -> Taps:
        places = _places(extent, scale, self.align_corners)
        if self.antialias:
            kernel, radius = (_triangle, 1) if self.mode == "linear" else (partial(_cubic, a=-0.5), 2)
            return _antialiased(places, extent, scale, kernel, radius)
        if self.mode == "linear":
            places = clip(places, 0, extent - 1)
        reach, kernel = ((0, 1), _triangle) if self.mode == "linear" else ((-1, 0, 1, 2), partial(_cubic, a=-0.75))
        left = floor(places)
        return [(_inside(left + k, extent), kernel(abs(places - (left + k)))) for k in reach]


def _places(extent: int, scale: float, align_corners: bool) -> array:
    """Where the samples of the result lie between those of the input, (int(scale * extent),)."""
    count = int(scale * extent)
    if align_corners:
        return arange(count, dtype=float32) * ((extent - 1) / max(count - 1, 1))
    step = 1 / scale
    return arange(count, dtype=float32) * step - ((count - 1) * step - extent + 1) / 2


def _nearest(extent: int, scale: float) -> array:
    """Which sample of the input each sample of the result is."""
    count = int(scale * extent)
    numbers = arange(count, dtype=float32)
    if count > extent:
        return round((numbers + 0.5) * (extent / count) - 0.5).astype(uint32)
    return (numbers * (extent / count)).astype(uint32)


def _antialiased(places: array, extent: int, scale: float, kernel: Callable[[array], array], radius: int) -> Taps:
    """Taps of a kernel that is widened by as much as the axis becomes shorter; samples beyond the ends do not count."""
    width = max(1.0, 1.0 / scale)
    reach = math.ceil(radius * width)
    positions = [floor(places) + k for k in range(-reach, reach + 1)]
    weights = [where((p >= 0) & (p < extent), kernel(abs(places - p) / width), 0.0) for p in positions]
    total = sum(weights[1:], weights[0])
    total = where(total > 0, total, 1.0)
    return [(_inside(p, extent), w / total) for p, w in zip(positions, weights, strict=True)]


def _inside(positions: array, extent: int) -> array:
    return clip(positions, 0, extent - 1).astype(uint32)


def _triangle(distance: array) -> array:
    return maximum(1.0 - distance, 0.0)


def _cubic(distance: array, a: float) -> array:
    """Cubic convolution (Keys, 1981) with the slope `a` at distance 1."""
    near = ((a + 2.0) * distance - (a + 3.0)) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * a
    return where(distance <= 1.0, near, where(distance <= 2.0, far, 0.0))
