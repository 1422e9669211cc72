"""Derivatives forwards."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bridge as mx


def f64(value: Any) -> mx.array:
    return mx.array(np.asarray(value), dtype=mx.float64)


def test_documented_example():
    """Lists in, lists out."""
    outs, jvps = mx.jvp(mx.sin, (mx.array(1.0),), (mx.array(1.0),))
    assert isinstance(outs, list)
    assert outs[0].item() == pytest.approx(np.sin(1))
    assert jvps[0].item() == pytest.approx(np.cos(1))


def mixed(x: Any, w: Any, lib: Any) -> Any:
    y = lib.tanh(x @ w) * lib.exp(-x[:, :2])
    return lib.concatenate([y.max(0), y.sum(1), y.reshape(-1)[::3]]), y.T.prod(0)


def test_a_mix_of_ops():
    """Several results of a mix of products, views, reductions and joins agree with JAX's."""
    random = np.random.default_rng(0)
    x, w, dx, dw = (random.normal(size=shape) for shape in [(4, 3), (3, 2), (4, 3), (3, 2)])
    outs, jvps = mx.jvp(lambda x, w: mixed(x, w, mx), [f64(x), f64(w)], [f64(dx), f64(dw)])
    with jax.enable_x64(True):
        _, want = jax.jvp(lambda x, w: mixed(x, w, jnp), (x, w), (dx, dw))
        for one, (out, other) in zip(jvps, zip(outs, want, strict=True), strict=True):
            assert one.shape == out.shape
            np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-12, atol=1e-13)


def test_factorisations():
    """Ops that only say how to go backwards go forwards by the transpose of that: the eigenvalues' change is exact."""
    a = np.array([[4.0, 1.0], [1.0, 3.0]])
    t = np.array([[1.0, 2.0], [2.0, -1.0]])
    _, (values, _) = mx.jvp(mx.linalg.eigh, [f64(a)], [f64(t)])
    vectors = np.linalg.eigh(a)[1]
    np.testing.assert_allclose(np.asarray(values), np.diag(vectors.T @ t @ vectors), rtol=1e-12)


def test_results_without_changes():
    """Results that do not depend on the inputs, and integers, have changes of zeros."""
    outs, jvps = mx.jvp(lambda x: (mx.ones((2,)), mx.argmax(x), x), [mx.ones((3,))], [mx.ones((3,))])
    assert [one.tolist() for one in jvps] == [[0, 0], 0, [1, 1, 1]]
    assert [one.dtype for one in jvps] == [one.dtype for one in outs]


def test_forwards_over_backwards():
    """A Hessian-vector product by jvp of grad is that of grad of jvp."""

    def f(x: mx.array) -> mx.array:
        return (mx.sin(x) * x[::-1] ** 2).sum()

    x, v = f64([0.3, 1.2, -0.7]), f64([1.0, -2.0, 0.5])
    one = mx.jvp(mx.grad(f), [x], [v])[1][0]
    other = mx.grad(lambda x: mx.jvp(f, [x], [v])[1][0])(x)
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: mx.jvp(mx.sin, [mx.ones((2,))], []), "0 tangents for 1 primals"),
        (lambda: mx.jvp(mx.sin, [mx.ones((2,))], [mx.ones((3,))]), "tangent 0 has another shape"),
        (lambda: mx.jvp(lambda x: 3, [mx.ones((2,))], [mx.ones((2,))]), "list or tuple of arrays"),
    ],
)
def test_wrong_arguments(call: Any, text: str):
    """Each wrong use says what came."""
    with pytest.raises(ValueError, match=text):
        call()
