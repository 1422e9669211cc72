"""Every primitive with something to differentiate and to batch: a function of arrays, and operands in its domain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import bridge as mx
from bridge.core.dtypes import INEXACT
from bridge.core.ops import load
from bridge.core.ops.declare import PRIMITIVES, Declaration

Array = np.ndarray

load()


class Sample(NamedTuple):
    """`call(*arrays)` gives an array or a tuple; `operands` are differentiated by, as far as they are floats."""

    name: str
    call: Callable[..., Any]
    operands: tuple[Array, ...]


def draw(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Array:
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape)


def regular(*shape: int) -> Array:
    return draw(*shape) + 3 * np.eye(shape[-1])


def definite(*shape: int) -> Array:
    a = draw(*shape)
    return a @ np.swapaxes(a, -1, -2) + 2 * np.eye(shape[-1])


def spread(*shape: int) -> Array:
    """No two elements alike, so that no comparison changes nearby."""
    size = int(np.prod(shape))
    return np.random.default_rng(5).permutation(size).reshape(shape) / 4 - size / 8 + 0.1


def symmetric(a: Any) -> Any:
    return (a + mx.swapaxes(a, -1, -2)) / 2


def _elementwise(op: Declaration) -> list[Sample]:
    if not op.accepts & INEXACT:  # bits
        return [Sample(op.name, op.call, (np.arange(6), np.array([1, 2, 3, 1, 2, 3]))[: len(op.sample)])]
    points = []
    for k, (low, high) in enumerate(op.sample):
        low, high = max(low, -2.0), min(high, 3.0)
        x = draw(6, seed=k + 7, low=low + 0.1 * (high - low), high=high - 0.1 * (high - low))
        points.append(np.where(np.abs(x) < 0.05, 0.3, x))
    if op.name in ("maximum", "minimum"):
        points[1] = points[0] + np.where(np.arange(6) % 2, 0.5, -0.5)
    if op.name == "remainder":
        points = [np.linspace(-3.3, 4.1, 6), np.full(6, 1.3)]
    if op.name == "select":
        return [Sample(op.name, op.call, (np.arange(6) % 2 == 0, *points[1:]))]
    found = [Sample(op.name, op.call, tuple(points))]
    if len(points) > 1:  # broadcast against each other
        found.append(Sample(op.name, op.call, (points[0][:3, None], *(p[:1] for p in points[1:]))))
    return found


def _reduction(op: Declaration) -> list[Sample]:
    x = spread(3, 4)
    return [
        Sample(op.name, lambda a: op.call(a), (x,)),
        Sample(op.name, lambda a: op.call(a, 1), (x,)),
        Sample(op.name, lambda a: op.call(a, 0, True), (x,)),
    ]


P = PRIMITIVES
LISTED: dict[str, list[tuple[Callable[..., Any], tuple[Array, ...]]]] = {
    "reshape": [(lambda a: mx.reshape(a, (4, 3)), (draw(3, 4),))],
    "transpose": [(lambda a: mx.transpose(a, (1, 2, 0)), (draw(2, 3, 4),))],
    "broadcast_to": [(lambda a: mx.broadcast_to(a, (2, 3, 4)), (draw(3, 1),))],
    "concatenate": [(lambda a, b: mx.concatenate([a, b], 1), (draw(2, 3), draw(2, 1)))],
    "matmul": [
        (mx.matmul, (draw(3, 4), draw(4, 2, seed=1))),
        (mx.matmul, (draw(4), draw(5, 4, 2))),
        (mx.matmul, (draw(2, 3, 4), draw(4))),
    ],
    "cast": [(lambda a: a.astype(mx.complex128).astype(mx.float64), (draw(3),))],
    "strided_slice": [(lambda a: a[4::-2, 1:3], (draw(5, 4),))],
    "strided_update": [(lambda a, b: _updated(a, b), (draw(5, 4), draw(2, 4, seed=3)))],
    "view": [(lambda a: mx.view(a, mx.float64), (draw(3),))],
    "contiguous": [(lambda a: mx.contiguous(a.T), (draw(2, 3),))],
    "conv_general": [
        (lambda x, w: mx.conv_general(x, w, stride=2, padding=1), (draw(2, 7, 3), draw(4, 3, 3, seed=1))),
        (lambda x, w: mx.conv_general(x, w, groups=2), (draw(1, 4, 4, 4), draw(2, 2, 2, 2, seed=1))),
    ],
    "matmul_gathered": [
        (
            lambda a, b: mx.gather_mm(a, b, mx.array([[0], [1]]), mx.array([1, 0, 1])),
            (draw(2, 3, 4), draw(2, 4, 2, seed=1)),
        )
    ],
    "segmented_mm": [
        (
            lambda a, b: mx.segmented_mm(a, b, mx.array([[0, 2], [2, 5], [4, 3]])),
            (draw(3, 5), draw(5, 2, seed=1)),
        )
    ],
    "cumsum": [(lambda a: mx.cumsum(a, 1, reverse=True), (draw(2, 4),))],
    "cumprod": [(lambda a: mx.cumprod(a, 1), (spread(2, 4),))],
    "cummax": [(lambda a: mx.cummax(a, 1), (spread(2, 4),))],
    "cummin": [(lambda a: mx.cummin(a, 0), (spread(2, 4),))],
    "logcumsumexp": [(lambda a: mx.logcumsumexp(a, 1), (draw(2, 4),))],
    "padded": [(lambda a: mx.pad(a, ((1, 2), (0, 1)), mode="edge"), (draw(2, 3),))],
    "complex_transform": [(lambda a: mx.abs(mx.fft.fft(a)), (draw(2, 5),))],
    "real_transform": [(lambda a: mx.real(mx.fft.rfft(a)), (draw(2, 6),))],
    "real_inverse": [(lambda a: mx.fft.irfft(mx.fft.rfft(a) ** 2), (draw(2, 6),))],
    "sort": [(lambda a: mx.sort(a, 0), (spread(4, 3),))],
    "partition": [(lambda a: mx.sort(mx.partition(a, 2, 1), 1), (spread(3, 5),))],
    "gather": [
        (lambda a: a[mx.array([2, 0, 2]), :, mx.array([1, 0, -1])], (draw(3, 2, 4),)),
        (lambda a, i: mx.take_along_axis(a, i, 1), (draw(2, 3), np.array([[0, 2], [1, 1]]))),
    ],
    "scatter": [(lambda a, b: _placed(a, b), (draw(4, 3), draw(2, 3, seed=1)))],
    "scatter_add": [(lambda a, b: a.at[mx.array([0, 2, 0])].add(b), (draw(4, 2), draw(3, 2, seed=1)))],
    "scatter_multiply": [(lambda a, b: a.at[mx.array([0, 2])].multiply(b), (spread(4, 2), spread(2, 2)))],
    "scatter_divide": [(lambda a, b: a.at[mx.array([0, 2])].divide(b), (spread(4, 2), spread(2, 2)))],
    "scatter_maximum": [(lambda a, b: a.at[mx.array([0, 2])].maximum(b), (spread(4, 2), spread(2, 2) + 0.05))],
    "scatter_minimum": [(lambda a, b: a.at[mx.array([0, 2])].minimum(b), (spread(4, 2), spread(2, 2) + 0.05))],
    "inv": [(mx.linalg.inv, (regular(3, 3),))],
    "tri_inv": [(lambda a: mx.linalg.tri_inv(a, upper=True), (regular(3, 3),))],
    "pinv": [(mx.linalg.pinv, (draw(4, 3),))],
    "solve": [(mx.linalg.solve, (regular(3, 3), draw(3, 2)))],
    "solve_triangular": [(lambda a, b: mx.linalg.solve_triangular(a, b, upper=True), (regular(3, 3), draw(3, 2)))],
    "det": [(mx.linalg.det, (regular(2, 3, 3),))],
    "slogdet": [(lambda a: mx.linalg.slogdet(a)[1], (regular(3, 3),))],
    "cholesky": [(lambda a: mx.linalg.cholesky(symmetric(a)), (definite(3, 3),))],
    "eigvalsh": [(lambda a: mx.linalg.eigvalsh(symmetric(a)), (definite(3, 3),))],
    "eigh": [(lambda a: _projectors(symmetric(a)), (definite(3, 3),))],
    "svd": [(lambda a: mx.linalg.svd(a, compute_uv=False), (draw(4, 3),))],
    "qr": [(lambda a: mx.linalg.qr(a), (draw(4, 3),))],
}


def _updated(a: Any, b: Any) -> Any:
    a = a * 1
    a[::-3] = b
    return a


def _placed(a: Any, b: Any) -> Any:
    a = a * 1
    a[mx.array([3, 1])] = b
    return a


def _projectors(a: Any) -> Any:
    values, vectors = mx.linalg.eigh(a)
    return values, (vectors * mx.arange(1, 4)) @ vectors.T


def samples_of(op: Declaration) -> list[Sample]:
    if op.kind == "elementwise":
        return _elementwise(op)
    if op.kind in ("reduction", "index_reduction"):
        return _reduction(op)
    return [Sample(op.name, call, operands) for call, operands in LISTED.get(op.name, [])]


SAMPLES = [one for op in PRIMITIVES.values() for one in samples_of(op)]


def results_of(y: Any) -> list[Any]:
    return list(y) if isinstance(y, (list, tuple)) else [y]


def is_float(a: Array) -> bool:
    return a.dtype.kind in "fc"
