"""Initialisers: each function here gives one that takes an array and gives another of its shape, filled anew.

    model.apply(nn.init.normal(std=0.02))

`dtype` is that of the new array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from bridge.core._native import Dtype, array
from bridge.core.dtypes import float32
from bridge.core.ops import linalg, random
from bridge.core.ops.arithmetic import sign
from bridge.core.ops.compare import where
from bridge.core.ops.create import diag, eye, full
from bridge.core.ops.sort import argsort

__all__ = [
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "normal",
    "orthogonal",
    "sparse",
    "uniform",
]

Mode = Literal["fan_in", "fan_out"]


def constant(value: float, dtype: Dtype = float32) -> Callable[[array], array]:
    """`value` everywhere."""
    return lambda a: full(a.shape, value, dtype)


def normal(mean: float = 0.0, std: float = 1.0, dtype: Dtype = float32) -> Callable[[array], array]:
    """Normal numbers."""
    return lambda a: random.normal(a.shape, dtype, mean, std)


def uniform(low: float = 0.0, high: float = 1.0, dtype: Dtype = float32) -> Callable[[array], array]:
    """Numbers evenly spread over [low, high)."""
    return lambda a: random.uniform(low, high, a.shape, dtype)


def identity(dtype: Dtype = float32) -> Callable[[array], array]:
    """The identity, for square matrices."""

    def initializer(a: array) -> array:
        if a.ndim != 2 or a.shape[0] != a.shape[1]:
            raise ValueError(f"[bridge.nn.init.identity] a square matrix is wanted, not the shape {a.shape}")
        return eye(a.shape[0], dtype=dtype)

    return initializer


def glorot_normal(dtype: Dtype = float32) -> Callable[..., array]:
    """Normal numbers with the standard deviation ``gain * sqrt(2 / (fan_in + fan_out))`` (Glorot & Bengio, 2010).

    What it gives is called as ``(a, gain=1.0)``; (out, ..., in) are the axes of `a`.
    """

    def initializer(a: array, gain: float = 1.0) -> array:
        return random.normal(a.shape, dtype, scale=gain * math.sqrt(2.0 / sum(_fans(a))))

    return initializer


def glorot_uniform(dtype: Dtype = float32) -> Callable[..., array]:
    """Numbers evenly spread within ``gain * sqrt(6 / (fan_in + fan_out))`` around 0; called as `glorot_normal`."""

    def initializer(a: array, gain: float = 1.0) -> array:
        bound = gain * math.sqrt(6.0 / sum(_fans(a)))
        return random.uniform(-bound, bound, a.shape, dtype)

    return initializer


def he_normal(dtype: Dtype = float32) -> Callable[..., array]:
    """Normal numbers with the standard deviation ``gain / sqrt(fan)`` (He et al., 2015).

    What it gives is called as ``(a, mode="fan_in", gain=1.0)``; (out, ..., in) are the axes of `a`.
    """

    def initializer(a: array, mode: Mode = "fan_in", gain: float = 1.0) -> array:
        return random.normal(a.shape, dtype, scale=gain / math.sqrt(_fan(a, mode)))

    return initializer


def he_uniform(dtype: Dtype = float32) -> Callable[..., array]:
    """Numbers evenly spread within ``gain * sqrt(3 / fan)`` around 0; called as `he_normal`."""

    def initializer(a: array, mode: Mode = "fan_in", gain: float = 1.0) -> array:
        bound = gain * math.sqrt(3.0 / _fan(a, mode))
        return random.uniform(-bound, bound, a.shape, dtype)

    return initializer


def sparse(sparsity: float, mean: float = 0.0, std: float = 1.0, dtype: Dtype = float32) -> Callable[[array], array]:
    """Normal numbers in a matrix of which each row has ``ceil(sparsity * columns)`` zeros at random places."""

    def initializer(a: array) -> array:
        if a.ndim != 2:
            raise ValueError(f"[bridge.nn.init.sparse] a matrix is wanted, not the shape {a.shape}")
        zeros = math.ceil(sparsity * a.shape[1])
        rank = argsort(random.uniform(shape=a.shape), axis=1)  # a random order of the columns, row by row
        return where(rank < zeros, 0, random.normal(a.shape, dtype, mean, std)).astype(dtype)

    return initializer


def orthogonal(gain: float = 1.0, dtype: Dtype = float32) -> Callable[[array], array]:
    """`gain` times a matrix with orthonormal rows or columns, whichever are fewer (Saxe et al., 2014)."""

    def initializer(a: array) -> array:
        if a.ndim != 2:
            raise ValueError(f"[bridge.nn.init.orthogonal] a matrix is wanted, not the shape {a.shape}")
        rows, columns = a.shape
        size = max(rows, columns)
        q, r = linalg.qr(random.normal((size, size)))
        return (q * sign(diag(r)) * gain)[:rows, :columns].astype(dtype)

    return initializer


def _fans(a: array) -> tuple[int, int]:
    """How many inputs an output has, and how many outputs an input."""
    if a.ndim < 2:
        raise ValueError(f"[bridge.nn.init] this needs (out, ..., in), so at least 2 axes, not the shape {a.shape}")
    inner = math.prod(a.shape[1:-1])
    return a.shape[-1] * inner, a.shape[0] * inner


def _fan(a: array, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"[bridge.nn.init] mode is 'fan_in' or 'fan_out', not {mode!r}")
    return _fans(a)[mode == "fan_out"]
