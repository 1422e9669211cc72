"""Transforms inside transforms: any order, any depth, the same numbers as JAX's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bridge as mx

# Smooth functions of one vector to a vector of the same length, in both vocabularies.
STEPS: list[Callable[[Any, Any], Any]] = [
    lambda x, lib: lib.sin(x) + 0.5 * x,
    lambda x, lib: lib.tanh(x) * x[::-1],
    lambda x, lib: lib.exp(-x * x),
    lambda x, lib: x / (1 + lib.abs(x).sum()),
    lambda x, lib: lib.concatenate([x[1:], x[:1]]) * lib.cos(x),
    lambda x, lib: lib.outer(x, x).sum(0) * 0.2,
    lambda x, lib: lib.where(x > 0.1, x * 1.5, lib.sin(x)),
    lambda x, lib: lib.logaddexp(x, x[::-1] * 0.3),
    lambda x, lib: lib.maximum(x, 0.3 * x) - x.mean(),
    lambda x, lib: (x.reshape(2, -1).T @ x.reshape(2, -1)).reshape(-1)[: x.shape[0]] * 0.1 + x,
    lambda x, lib: x * lib.max(lib.sqrt(1 + x * x)),
    lambda x, lib: lib.stack([x, x * x])[1] - 0.2 * x,
]


def composed(seed: int, length: int) -> Callable[[Any, Any], Any]:
    random = np.random.default_rng(seed)
    chosen = [STEPS[k] for k in random.integers(0, len(STEPS), length)]

    def f(x: Any, lib: Any) -> Any:
        for step in chosen:
            x = step(x, lib)
        return x

    return f


def compose(lib: Any, nest: tuple[str, ...], f: Callable[[Any, Any], Any], grad: Any, vmap: Any, jvp: Any) -> Any:
    """The nest of transforms around f, each giving a function from a vector to a vector again."""

    def inner(x: Any) -> Any:
        return f(x, lib)

    made = inner
    for name in nest:
        made = wrap(name, made, lib, grad, vmap, jvp)
    return made


def wrap(name: str, f: Any, lib: Any, grad: Any, vmap: Any, jvp: Any) -> Any:
    if name == "grad":
        return grad(lambda x: (f(x) * f(x)).sum() * 0.1)
    if name == "vmap":
        return lambda x: vmap(lambda s: f(x * s).sum())(x)
    return lambda x: jvp(f, [x], [lib.cos(x)])


NESTS = [
    (first, second, third)
    for first in ("grad", "vmap", "jvp")
    for second in ("grad", "vmap", "jvp")
    for third in ("grad", "vmap", "jvp")
]


@pytest.mark.parametrize("nest", NESTS, ids=["-".join(one) for one in NESTS])
def test_nests_of_three(nest: tuple[str, ...]):
    """grad, vmap and jvp in every order of three around a composition of ops agree with JAX."""
    f = composed(NESTS.index(nest), 2)
    x = np.random.default_rng(1).uniform(0.2, 0.9, 4)
    got = compose(mx, nest, f, mx.grad, mx.vmap, lambda f, p, t: mx.jvp(f, p, t)[1][0])(mx.array(x, dtype=mx.float64))
    with jax.enable_x64(True):
        made = compose(jnp, nest, f, jax.grad, jax.vmap, lambda f, p, t: jax.jvp(f, tuple(p), tuple(t))[1])
        want = jax.jit(made)(x)
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("seed", range(12))
def test_compositions(seed: int):
    """Gradients of random compositions agree with JAX, plain and compiled."""
    f = composed(100 + seed, 3 + seed % 3)
    x = np.random.default_rng(seed).uniform(-1, 1, 6)
    with jax.enable_x64(True):
        want = np.asarray(jax.jit(jax.grad(lambda x: f(x, jnp).sum()))(x))
    plain = mx.grad(lambda x: f(x, mx).sum())
    compiled = mx.compile(plain)
    for one in (plain, compiled, compiled):
        np.testing.assert_allclose(np.asarray(one(mx.array(x, dtype=mx.float64))), want, rtol=1e-10, atol=1e-12)


def test_vmap_of_grad_of_vmap():
    """Gradients for each of several weights of a sum over examples."""

    def loss(w: Any, x: Any, vmap: Any, lib: Any) -> Any:
        return vmap(lambda row: lib.tanh(row @ w).sum())(x).sum()

    random = np.random.default_rng(0)
    w, x = random.normal(size=(5, 3, 2)), random.normal(size=(4, 3))
    got = mx.vmap(mx.grad(lambda w, x: loss(w, x, mx.vmap, mx)), in_axes=(0, None))(mx.array(w), mx.array(x))
    want = jax.vmap(jax.grad(lambda w, x: loss(w, x, jax.vmap, jnp)), in_axes=(0, None))(w, x)
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-5)


def test_hessian():
    """vmap over the identity of jvp of grad is the Hessian, and so is vmap of vjp of grad."""

    def f(x: Any, lib: Any) -> Any:
        return (lib.sin(x) * x[::-1] ** 2).sum() * lib.exp(x[0])

    x = np.array([0.3, -0.8, 1.1])
    with jax.enable_x64(True):
        want = np.asarray(jax.jit(jax.hessian(lambda x: f(x, jnp)))(x))
    point, eye = mx.array(x, dtype=mx.float64), mx.eye(3, dtype=mx.float64)
    slope = mx.grad(lambda x: f(x, mx))
    forwards = mx.vmap(lambda v: mx.jvp(slope, [point], [v])[1][0])(eye)
    backwards = mx.vmap(lambda v: mx.vjp(slope, [point], [v])[1][0])(eye)
    np.testing.assert_allclose(np.asarray(forwards), want, rtol=1e-12)
    np.testing.assert_allclose(np.asarray(backwards), want, rtol=1e-12)


def test_everything_inside_everything():
    """compile, checkpoint and a custom function between gradients and batches change nothing."""
    square = mx.custom_function(lambda x: x * x)
    square.vjp(lambda x, g, y: 2 * x * g)

    def plain(x: Any, w: Any) -> Any:
        return (mx.tanh(x @ w) ** 2).sum()

    def dressed(x: Any, w: Any) -> Any:
        return mx.compile(lambda x: square(mx.checkpoint(lambda x: mx.tanh(x @ w))(x)).sum())(x)

    random = np.random.default_rng(2)
    x, w = (mx.array(random.normal(size=shape), dtype=mx.float64) for shape in [(5, 3), (3, 2)])
    results = []
    for f in (plain, dressed):
        each = mx.vmap(mx.grad(f, argnums=(0, 1)), in_axes=(0, None))(x, w)
        second = mx.grad(lambda w, f=f: (mx.grad(f, argnums=1)(x, w) ** 2).sum())(w)
        results.append([*each, second])
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-10)


@pytest.mark.parametrize("open_before", [False, True])
def test_open_arrays_stay_on_the_tape(open_before: bool):
    """An array that NumPy can write is copied for a batch that has no values yet, and differentiated all the same."""
    x = mx.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    w = mx.from_(np.ones(3, np.float32)) if open_before else mx.ones(3)
    view = np.asarray(w)
    each = mx.vmap(lambda row: mx.grad(lambda w: (row * w * w).sum())(w))
    assert each(x).tolist() == (2 * x).tolist()
    view[0] = 5
    assert each(x)[:, 0].tolist() == [10, 40]
    change = mx.vmap(lambda row: mx.jvp(lambda w: (row * w).sum(), [w], [mx.ones(3)])[1][0])
    assert change(x).tolist() == [6, 15]
