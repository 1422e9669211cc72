"""Layers that put random elements to zero in training."""

from __future__ import annotations

from bridge.core._native import array
from bridge.core.ops import random
from bridge.nn.module import Module


class Dropout(Module):
    """In training each element is 0 with probability `p`, else divided by ``1 - p``; otherwise nothing changes.

    Args:
        p: in [0, 1).
    """

    _together = 0  # axes before the last over which one decision counts
    _ndims: tuple[int, ...] = ()  # how many axes the input may have; () for any number

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"[bridge.nn.{type(self).__name__}] the probability is in [0, 1), not {p}")
        self._p_1 = 1 - p

    def _extra_repr(self) -> str:
        return f"p={1 - self._p_1}"

    def __call__(self, x: array) -> array:
        if self._ndims and x.ndim not in self._ndims:
            want = " or ".join(map(str, self._ndims))
            raise ValueError(f"[bridge.nn.{type(self).__name__}] the input has {want} axes, not {x.ndim}")
        if self._p_1 == 1 or not self.training:
            return x
        shape = x.shape
        if self._together:
            shape = (*shape[: -1 - self._together], *(1,) * self._together, shape[-1])
        return random.bernoulli(self._p_1, shape) * x * (1 / self._p_1)


class Dropout2d(Dropout):
    """`Dropout` of whole channels: (N, H, W, C) or (H, W, C), one decision for each item and channel."""

    _together = 2
    _ndims = (3, 4)


class Dropout3d(Dropout):
    """`Dropout` of whole channels: (N, D, H, W, C) or (D, H, W, C), one decision for each item and channel."""

    _together = 3
    _ndims = (4, 5)
