"""Layers that give the maximum or the mean of windows. The last axis is that of the channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bridge.core._native import array
from bridge.core.ops.misc import pad
from bridge.core.ops.reduce import max, mean
from bridge.core.ops.take import as_strided
from bridge.nn.module import Module


class _Pool(Module):
    """`reduce` over windows along `space` axes; at the ends stands `filling`."""

    def __init__(
        self, reduce: Callable[..., array], filling: float, space: int, kernel_size: Any, stride: Any, padding: Any
    ) -> None:
        super().__init__()
        self._reduce, self._filling = reduce, filling
        self._kernel_size = self._each("kernel_size", kernel_size, space, 1)
        self._stride = self._kernel_size if stride is None else self._each("stride", stride, space, 1)
        self._padding = self._each("padding", padding, space, 0)

    def _each(self, name: str, value: Any, space: int, least: int) -> tuple[int, ...]:
        """A number for each axis, none below `least`."""
        numbers = (value,) * space if isinstance(value, int) else value
        fits = isinstance(numbers, tuple | list) and len(numbers) == space and all(isinstance(n, int) for n in numbers)
        if not fits or any(n < least for n in numbers):
            what = f"a number of at least {least}, or {space} of them"
            raise ValueError(f"[bridge.nn.{type(self).__name__}] {name} is {what}, not {value!r}")
        return tuple(numbers)

    def _extra_repr(self) -> str:
        return f"kernel_size={self._kernel_size}, stride={self._stride}, padding={self._padding}"

    def __call__(self, x: array) -> array:
        space = len(self._kernel_size)
        if x.ndim != space + 2:
            raise ValueError(f"[bridge.nn.{type(self).__name__}] the input has {space + 2} axes, not {x.ndim}")
        if any(self._padding):
            x = pad(x, [(0, 0), *((p, p) for p in self._padding), (0, 0)], constant_values=self._filling)
        return self._reduce(_windows(x, self._kernel_size, self._stride), tuple(range(-space - 1, -1)))


def _windows(x: array, kernel: tuple[int, ...], stride: tuple[int, ...]) -> array:
    """(N, *positions, *kernel, C): a view of x if windows neither overlap nor leave anything out."""
    space, extents = len(kernel), x.shape[1:-1]
    if kernel == stride and not any(n % k for n, k in zip(extents, kernel, strict=True)):
        pairs = [part for n, k in zip(extents, kernel, strict=True) for part in (n // k, k)]
        parted = x.reshape(x.shape[0], *pairs, x.shape[-1])
        return parted.transpose(0, *range(1, 2 * space, 2), *range(2, 2 * space + 1, 2), 2 * space + 1)
    steps = [math.prod(x.shape[axis + 1 :]) for axis in range(x.ndim)]  # in elements
    positions = [(n - k) // s + 1 for n, k, s in zip(extents, kernel, stride, strict=True)]
    between = [s * step for s, step in zip(stride, steps[1:-1], strict=True)]
    return as_strided(x, (x.shape[0], *positions, *kernel, x.shape[-1]), (steps[0], *between, *steps[1:]))


class MaxPool1d(_Pool):
    """Maximum of windows along 1 axis: (N, L, C) to (N, L', C).

    Args:
        kernel_size: extent of a window.
        stride:      from one window to the next; None for `kernel_size`.
        padding:     at both ends, with what is below every number.
    """

    def __init__(
        self, kernel_size: int | tuple[int], stride: int | tuple[int] | None = None, padding: int | tuple[int] = 0
    ) -> None:
        super().__init__(max, -math.inf, 1, kernel_size, stride, padding)


class MaxPool2d(_Pool):
    """Maximum of windows along 2 axes: (N, H, W, C) to (N, H', W', C).

    Args:
        kernel_size: extent of a window.
        stride:      from one window to the next; None for `kernel_size`.
        padding:     at both ends, with what is below every number.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__(max, -math.inf, 2, kernel_size, stride, padding)


class MaxPool3d(_Pool):
    """Maximum of windows along 3 axes: (N, D, H, W, C) to (N, D', H', W', C).

    Args:
        kernel_size: extent of a window.
        stride:      from one window to the next; None for `kernel_size`.
        padding:     at both ends, with what is below every number.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] | None = None,
        padding: int | tuple[int, int, int] = 0,
    ) -> None:
        super().__init__(max, -math.inf, 3, kernel_size, stride, padding)


class AvgPool1d(_Pool):
    """Mean of windows along 1 axis: (N, L, C) to (N, L', C).

    Args:
        kernel_size: extent of a window.
        stride:      from one window to the next; None for `kernel_size`.
        padding:     at both ends, with zeros, which count.
    """

    def __init__(
        self, kernel_size: int | tuple[int], stride: int | tuple[int] | None = None, padding: int | tuple[int] = 0
    ) -> None:
        super().__init__(mean, 0, 1, kernel_size, stride, padding)


class AvgPool2d(_Pool):
    """Mean of windows along 2 axes: (N, H, W, C) to (N, H', W', C).

    Args:
        kernel_size: extent of a window.
        stride:      from one window to the next; None for `kernel_size`.
        padding:     at both ends, with zeros, which count.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__(mean, 0, 2, kernel_size, stride, padding)


class AvgPool3d(_Pool):
    """Mean of windows along 3 axes: (N, D, H, W, C) to (N, D', H', W', C).

    Args:
        kernel_size: extent of a window.
        stride:      from one window to the next; None for `kernel_size`.
        padding:     at both ends, with zeros, which count.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] | None = None,
        padding: int | tuple[int, int, int] = 0,
    ) -> None:
        super().__init__(mean, 0, 3, kernel_size, stride, padding)
