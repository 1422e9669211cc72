"""Pullbacks and batching rules of bridge.linalg, applied by hand and compared with central differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from core.linear import adjoint, definite, matrices, regular
from core.values import to_bridge

import bridge
from bridge.core.ops.declare import PRIMITIVES

Array = np.ndarray
Results = tuple[Array, ...]


def inner(u: Array, v: Array) -> float:
    return float(np.sum(u.conj() * v).real)


# Losses: the value, and its gradient with respect to every result. Weights are drawn for each result.
class Weighted:
    """Sum of Re<weight, result>."""

    def value(self, weights: Results, y: Results) -> float:
        return sum(inner(w, one) for w, one in zip(weights, y, strict=True))

    def gradient(self, weights: Results, y: Results) -> Results:
        return weights


class Projector(Weighted):
    """Of values and vectors: Re<w, values> and Re<W, V C V^H>, which no phase of a column changes."""

    def value(self, weights: Results, y: Results) -> float:
        scale = np.arange(1, y[0].shape[-1] + 1)
        return inner(weights[0], y[0]) + inner(weights[1], (y[1] * scale) @ adjoint(y[1]))

    def gradient(self, weights: Results, y: Results) -> Results:
        scale = np.arange(1, y[0].shape[-1] + 1)
        return weights[0], (weights[1] + adjoint(weights[1])) @ y[1] * scale


class Singular(Weighted):
    """Of U, S and Vh: Re<w, S> and Re<W, U C Vh>, which no common phase of two vectors changes."""

    def value(self, weights: Results, y: Results) -> float:
        scale = np.arange(1, y[1].shape[-1] + 1)
        return inner(weights[1], y[1]) + inner(self.outside(weights, y), (y[0] * scale) @ y[2])

    def outside(self, weights: Results, y: Results) -> Array:
        return weights[0] @ np.full_like(weights[2], 0.3) + weights[0] @ weights[2]

    def gradient(self, weights: Results, y: Results) -> Results:
        scale = np.arange(1, y[1].shape[-1] + 1)
        w = self.outside(weights, y)
        return w @ adjoint(y[2]) * scale, weights[1], scale[:, None] * (adjoint(y[0]) @ w)


class Magnitudes(Weighted):
    """Of values and vectors: Re<w, values> and the weighted squares of the vectors' elements."""

    def value(self, weights: Results, y: Results) -> float:
        return inner(weights[0], y[0]) + float(np.sum(weights[1].real * np.abs(y[1]) ** 2))

    def gradient(self, weights: Results, y: Results) -> Results:
        return weights[0], 2 * weights[1].real * y[1]


def hermitian(dtype: str, shape: tuple[int, ...], seed: int) -> Array:
    a = matrices(dtype, shape, seed)
    return (a + adjoint(a)) / 2


# name, parameters, operands (maker, shape), directions (maker), loss
Rule = tuple[str, tuple[Any, ...], list[tuple[Callable[..., Array], tuple[int, ...]]], Callable[..., Array], Weighted]
SQUARE, BATCH, TALL, WIDE = (3, 3), (2, 3, 3), (2, 4, 3), (2, 3, 4)
RULES: list[Rule] = [
    ("inv", (), [(regular, BATCH)], matrices, Weighted()),
    ("tri_inv", (False,), [(regular, BATCH)], matrices, Weighted()),
    ("tri_inv", (True,), [(regular, BATCH)], matrices, Weighted()),
    ("pinv", (None,), [(matrices, TALL)], matrices, Weighted()),
    ("pinv", (None,), [(matrices, WIDE)], matrices, Weighted()),
    ("solve", (), [(regular, SQUARE), (matrices, (3,))], matrices, Weighted()),
    ("solve", (), [(regular, SQUARE), (matrices, (3, 2))], matrices, Weighted()),
    ("solve", (), [(regular, BATCH), (matrices, (3,))], matrices, Weighted()),
    ("solve", (), [(regular, BATCH), (matrices, (4, 1, 3, 2))], matrices, Weighted()),
    ("solve_triangular", (False,), [(regular, BATCH), (matrices, (3, 2))], matrices, Weighted()),
    ("solve_triangular", (True,), [(regular, BATCH), (matrices, (3,))], matrices, Weighted()),
    ("det", (), [(regular, BATCH)], matrices, Weighted()),
    ("slogdet", (), [(regular, BATCH)], matrices, Weighted()),
    ("cholesky", (False,), [(definite, BATCH)], hermitian, Weighted()),
    ("cholesky", (True,), [(definite, BATCH)], hermitian, Weighted()),
    ("eigvalsh", ("L",), [(definite, BATCH)], hermitian, Weighted()),
    ("eigh", ("L",), [(definite, BATCH)], hermitian, Projector()),
    ("eigh", ("U",), [(definite, BATCH)], hermitian, Projector()),
    ("eigvals", (), [(matrices, BATCH)], matrices, Weighted()),
    ("eig", (), [(matrices, BATCH)], matrices, Magnitudes()),
    ("svd", (False, True), [(matrices, TALL)], matrices, Weighted()),
    ("svd", (True, False), [(matrices, BATCH)], matrices, Singular()),
    ("svd", (True, True), [(matrices, BATCH)], matrices, Singular()),
    ("svd", (True, False), [(matrices, TALL)], matrices, Singular()),
    ("svd", (True, False), [(matrices, WIDE)], matrices, Singular()),
    ("qr", ("reduced",), [(matrices, BATCH)], matrices, Weighted()),
    ("qr", ("reduced",), [(matrices, TALL)], matrices, Weighted()),
    ("qr", ("complete",), [(matrices, BATCH)], matrices, Weighted()),
]
KEYWORDS = {
    "tri_inv": ["upper"],
    "cholesky": ["upper"],
    "solve_triangular": ["upper"],
    "pinv": ["rtol"],
    "eigh": ["UPLO"],
    "eigvalsh": ["UPLO"],
    "svd": ["compute_uv", "full_matrices"],
    "qr": ["mode"],
}


def keywords(name: str, parameters: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(KEYWORDS.get(name, []), parameters, strict=True))


def results(name: str, operands: list[Array], parameters: tuple[Any, ...]) -> Results:
    y = PRIMITIVES[name].call(*map(to_bridge, operands), **keywords(name, parameters))
    return tuple(map(np.asarray, y)) if isinstance(y, tuple) else (np.asarray(y),)


def test_every_rule_is_tried():
    """All pullbacks of linear algebra are in the table above; none have factorisations by rows and linear maps."""
    host = [one for one in PRIMITIVES.values() if one.kind == "host" and one.name != "nextafter"]
    assert {one.name for one in host if one.pullback is not None} == {rule[0] for rule in RULES}
    assert {one.name for one in host if one.pullback is None and one.transpose is None} == {"lu", "lu_factor"}


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule[0]}{rule[1]}{[one[1] for one in rule[2]]}")
def test_pullback(rule: Rule, dtype: str):
    """The gradient of a real loss agrees with central differences along every operand."""
    name, parameters, makers, along, loss = rule
    operands = [make(dtype, shape, k) for k, (make, shape) in enumerate(makers)]
    y = results(name, operands, parameters)
    weights = tuple(
        matrices("complex128" if one.dtype.kind == "c" else "float64", one.shape, k + 5) for k, one in enumerate(y)
    )
    g = [to_bridge(np.asarray(one)) for one in loss.gradient(weights, y)]
    made = [to_bridge(one) for one in y]
    back = PRIMITIVES[name].pullback(
        tuple(g) if len(g) > 1 else g[0],
        tuple(made) if len(y) > 1 else made[0],
        *map(to_bridge, operands),
        **keywords(name, parameters),
    )
    assert len(back) == len(operands)
    h = 1e-6
    for k, (gradient, operand) in enumerate(zip(back, operands, strict=True)):
        assert (gradient.dtype.name, gradient.shape) == (dtype, operand.shape)
        direction = along(dtype, operand.shape, 9)
        ahead, behind = (
            loss.value(
                weights,
                results(name, [*operands[:k], operand + step * direction, *operands[k + 1 :]], parameters),
            )
            for step in (h, -h)
        )
        want = (ahead - behind) / (2 * h)
        assert inner(np.asarray(gradient), direction) == pytest.approx(want, rel=2e-6, abs=2e-7)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule[0]}{rule[1]}{[one[1] for one in rule[2]]}")
def test_batching(rule: Rule):
    """The batching rule gives what a loop over the batch gives, whichever operands carry the batch."""
    name, parameters, makers, _, _ = rule
    op, size = PRIMITIVES[name], 3
    for batched in itertools.product([True, False], repeat=len(makers)):
        if not any(batched):
            continue
        operands = [
            make("float64", (size, *shape) if has else shape, k)
            for k, ((make, shape), has) in enumerate(zip(makers, batched, strict=True))
        ]
        got = op.batching(size, batched, *map(to_bridge, operands), **keywords(name, parameters))
        got = tuple(map(np.asarray, got)) if isinstance(got, tuple) else (np.asarray(got),)
        rows = [
            results(name, [one[k] if has else one for one, has in zip(operands, batched, strict=True)], parameters)
            for k in range(size)
        ]
        for one, want in zip(got, zip(*rows, strict=True), strict=True):
            np.testing.assert_allclose(one, np.stack(want), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "shape", "options", "text"),
    [
        ("svd", (4, 3), {"compute_uv": True, "full_matrices": True}, "full_matrices=False"),
        ("qr", (3, 4), {"mode": "reduced"}, "at least as many rows"),
        ("qr", (4, 3), {"mode": "complete"}, "mode='reduced'"),
    ],
)
def test_forms_without_a_derivative(name: str, shape: tuple[int, ...], options: dict[str, Any], text: str):
    """Factors that are not determined by the matrix have no derivative, and the error says which form has one."""
    a = bridge.ones(shape)
    y = PRIMITIVES[name].call(a, **options)
    with pytest.raises(
        bridge.BridgeError, match=rf"\[bridge\.linalg\.{name}\] this form has no derivative(.|\n)*{text}"
    ):
        PRIMITIVES[name].pullback(y, y, a, **options)


def test_equal_eigenvalues():
    """Where eigenvalues are equal the rule is finite, and right for losses that leave the vectors out."""
    a = bridge.eye(3)
    y = bridge.linalg.eigh(a)
    (back,) = PRIMITIVES["eigh"].pullback((bridge.ones((3,)), bridge.zeros((3, 3))), y, a, "L")
    np.testing.assert_allclose(np.asarray(back), np.eye(3), atol=1e-6)
