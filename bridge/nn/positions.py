"""Layers that tell a model where in a sequence something stands."""

from __future__ import annotations

import math

from bridge.core._native import Dtype, array
from bridge.core.dtypes import float32
from bridge.core.ops import fast
from bridge.core.ops.arithmetic import abs
from bridge.core.ops.create import arange
from bridge.core.ops.exponential import exp
from bridge.core.ops.shape import concatenate
from bridge.core.ops.trigonometric import cos, sin
from bridge.nn.module import Module


class RoPE(Module):
    """Rotary positions: pairs of features turned by angles that grow with the position. (..., T, D) keeps its shape.

    Args:
        dims:        how many features are turned.
        traditional: neighbouring features are a pair; otherwise one of the first half and one of the second.
        base:        pair k turns by ``base ** (-2 k / dims)`` a position.
        scale:       of the positions.
    """

    def __init__(self, dims: int, traditional: bool = False, base: float = 10000, scale: float = 1.0) -> None:
        super().__init__()
        self.dims, self.traditional, self.base, self.scale = dims, traditional, base, scale

    def _extra_repr(self) -> str:
        return f"{self.dims}, traditional={self.traditional}"

    def __call__(self, x: array, offset: int | array = 0) -> array:
        return fast.rope(x, self.dims, traditional=self.traditional, base=self.base, scale=self.scale, offset=offset)


class SinusoidalPositionalEncoding(Module):
    """Sines and cosines of positions at `dims / 2` frequencies: (...) to (..., dims).

    Args:
        dims:       even.
        min_freq, max_freq: the frequencies are spread evenly between their logarithms, the highest first.
        scale:      of the result; None for ``sqrt(2 / dims)``.
        cos_first:  the cosines before the sines.
        full_turns: frequencies are of full turns, not of radians.
    """

    def __init__(
        self,
        dims: int,
        min_freq: float = 0.0001,
        max_freq: float = 1,
        scale: float | None = None,
        cos_first: bool = False,
        full_turns: bool = False,
    ) -> None:
        super().__init__()
        if dims <= 0 or dims % 2:
            raise ValueError(f"[bridge.nn.SinusoidalPositionalEncoding] dims is positive and even, not {dims}")
        downwards = 1 - arange(dims // 2).astype(float32) / max(dims // 2 - 1, 1)
        low, high = math.log(min_freq), math.log(max_freq)
        self._sigmas = exp(downwards * (high - low) + low) * (2 * math.pi if full_turns else 1)
        self.scale = (2 / dims) ** 0.5 if scale is None else scale
        self.cos_first = cos_first

    def __call__(self, x: array) -> array:
        angles = x[..., None] * self._sigmas
        parts = [cos(angles), sin(angles)] if self.cos_first else [sin(angles), cos(angles)]
        return concatenate(parts, -1) * self.scale


class ALiBi(Module):
    """Attention scores less a multiple, one for each head, of the distance between query and key: (B, H, T_q, T_k)."""

    @staticmethod
    def create_alibi_matrix(
        q_sequence_length: int, k_sequence_length: int, num_heads: int, offset: int = 0, dtype: Dtype = float32
    ) -> array:
        """What is added to the scores: (1, num_heads, q_sequence_length - offset, k_sequence_length)."""
        queries, keys = arange(offset, q_sequence_length), arange(k_sequence_length)
        distance = abs(queries[:, None] - keys)[None, None]
        return -(distance * ALiBi.create_alibi_slope(num_heads, dtype)).astype(dtype)

    @staticmethod
    def create_alibi_slope(num_heads: int, dtype: Dtype = float32) -> array:
        """The multiple of each head, (num_heads, 1, 1): a geometric series that ends at 1/256 for a power of two;
        other numbers of heads take every second slope of the next series as well."""
        power = 2 ** math.floor(math.log2(num_heads))
        slopes = _series(power) + _series(2 * power)[::2][: num_heads - power]
        return array(slopes, dtype=dtype)[:, None, None]

    def __call__(self, attention_scores: array, offset: int = 0, mask: array | None = None) -> array:
        _, heads, queries, keys = attention_scores.shape
        added = self.create_alibi_matrix(queries + offset, keys, heads, offset, attention_scores.dtype)
        return attention_scores + (added if mask is None else added + mask)


def _series(count: int) -> list[float]:
    return [2 ** (-8 * (i + 1) / count) for i in range(count)]
