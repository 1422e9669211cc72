"""Functions with rules of their own, and checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bridge as mx


def documented() -> Any:
    @mx.custom_function
    def f(x: mx.array, y: mx.array) -> mx.array:
        return mx.sin(x) * y

    return f


def test_called_like_the_function():
    """Outside of transforms nothing changes, keyword arguments included."""
    f = documented()
    assert f(mx.array(0.5), y=mx.array(2.0)).item() == pytest.approx(2 * np.sin(0.5))
    assert f.__name__ == "f"


def test_without_rules():
    """A function without rules is differentiated, pushed forwards and mapped as it is written."""
    f, x, y = documented(), mx.array([0.5, 1.0]), mx.array([2.0, 3.0])
    got = mx.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(x, y)
    np.testing.assert_allclose(np.asarray(got[0]), np.cos([0.5, 1]) * [2, 3], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(got[1]), np.sin([0.5, 1]), rtol=1e-6)
    assert mx.jvp(f, [x, y], [mx.ones((2,)), mx.zeros((2,))])[1][0].tolist() == got[0].tolist()
    np.testing.assert_allclose(np.asarray(mx.vmap(f)(x, y)), np.asarray(f(x, y)), rtol=1e-6)


def test_vjp_rule():
    """The rule sees primals, cotangents and outputs, and decides; it can be differentiated again."""
    f, seen = documented(), []

    @f.vjp
    def f_vjp(primals: Any, cotangent: mx.array, output: mx.array) -> Any:
        x, y = primals
        seen.append((x.item(), output.item()))
        return cotangent * mx.cos(x) * y * 10, cotangent * mx.sin(x)

    x, y = mx.array(0.5), mx.array(2.0)
    assert mx.grad(f)(x, y).item() == pytest.approx(20 * np.cos(0.5))
    assert seen == [(0.5, pytest.approx(2 * np.sin(0.5)))]
    assert mx.grad(lambda x: mx.grad(lambda x: f(x, y) * 1)(x) * 1)(x).item() == pytest.approx(-20 * np.sin(0.5))


def test_jvp_rule():
    """The rule sees primals and tangents; a primal that does not change has None."""
    f, seen = documented(), []

    @f.jvp
    def f_jvp(primals: Any, tangents: Any) -> mx.array:
        seen.append(tangents[1])
        return tangents[0] * 7

    assert mx.jvp(lambda x: f(x, mx.array(1.0)), [mx.array(0.5)], [mx.array(2.0)])[1][0].item() == 14
    assert seen == [None]


def test_vmap_rule():
    """The rule sees the batches and their axes, and says where they are in what it gives."""
    f, seen = documented(), []

    @f.vmap
    def f_vmap(inputs: Any, axes: Any) -> Any:
        seen.append(axes)
        x, y = inputs
        return (mx.sin(x) * y).T, 1

    x = mx.ones((3, 2))
    assert mx.vmap(f, in_axes=(0, None))(x, mx.array(2.0)).shape == (3, 2)
    assert seen == [(0, None)]


def test_rules_survive_a_batch():
    """grad of vmap uses the rule of a function, example by example."""
    f = mx.custom_function(lambda x, w: x * w)
    f.vjp(lambda primals, g, out: (g * 100, g * primals[0]))
    x, w = mx.array([1.0, 2.0, 3.0]), mx.array(2.0)
    got = mx.grad(lambda x, w: mx.vmap(f, in_axes=(0, None))(x, w).sum(), argnums=(0, 1))(x, w)
    assert got[0].tolist() == [100, 100, 100]
    assert got[1].item() == 6


def test_nests_and_one_argument():
    """A lone argument stands for itself; cotangents come in the nest of the results, zeros where one is not used."""
    seen: list[Any] = []
    f = mx.custom_function(lambda d: {"s": d["a"] * 2, "t": (d["b"][0] + 1,)})
    f.vjp(lambda primals, g, out: (seen.append((g, out)), {"a": g["s"] * 3, "b": [g["t"][0]]})[1])
    d = {"a": mx.array(1.0), "b": [mx.array(5.0)]}
    got = mx.grad(lambda d: f(d)["s"])(d)
    assert (got["a"].item(), got["b"][0].item()) == (3, 0)
    assert seen[0][0]["t"][0].item() == 0
    assert seen[0][1]["t"][0].item() == 6


def test_captured_arrays_are_constants():
    """The page's example: a captured array gets no gradient."""
    y = mx.array(3.0)

    def g(x: mx.array, y: mx.array) -> mx.array:
        f = mx.custom_function(lambda x: x * y)
        f.vjp(lambda x, dx, fx: (_ for _ in ()).throw(ValueError("Abort!")))
        return f(x)

    assert g(mx.array(2.0), y).item() == 6
    with pytest.raises(ValueError, match="Abort!"):
        mx.grad(g)(mx.array(2.0), y)
    assert mx.grad(g, argnums=1)(mx.array(2.0), y).item() == 0


def test_compiled():
    """Inside compile, a rule is used by a gradient outside, and inside."""
    f = mx.custom_function(lambda x: x * 2)
    f.vjp(lambda x, g, out: g * 50)
    for g in (mx.grad(mx.compile(lambda x: f(x) * 1)), mx.compile(mx.grad(lambda x: f(x) * 1))):
        for _ in range(2):
            assert g(mx.array(1.0)).item() == 50


def test_wrong_rules():
    """A rule that gives too little is named."""
    f = mx.custom_function(lambda x, y: x * y)
    f.vjp(lambda primals, g, out: g)
    with pytest.raises(ValueError, match="one change for every primal"):
        mx.grad(f)(mx.array(1.0), mx.array(2.0))
    f = mx.custom_function(lambda x: x)
    f.vmap(lambda x, axes: x)
    with pytest.raises(ValueError, match=r"must give \(results, axes\)"):
        mx.vmap(f)(mx.ones((2,)))


def layer(x: mx.array, w: mx.array) -> mx.array:
    for _ in range(4):
        x = mx.tanh(x @ w)
    return x


def test_checkpoint_gives_the_same_gradients():
    """Through arguments, keyword arguments, captured arrays and several results, and to second order."""
    x, w = mx.array(np.random.default_rng(0).normal(size=(3, 3))), mx.ones((3, 3)) * 0.3
    plain = mx.grad(lambda x, w: (layer(x, w) ** 2).sum(), argnums=(0, 1))(x, w)
    forms = [
        lambda x, w: (mx.checkpoint(layer)(x, w) ** 2).sum(),
        lambda x, w: (mx.checkpoint(layer)(x, w=w) ** 2).sum(),
        lambda x, w: (mx.checkpoint(lambda x: {"y": (layer(x, w), 3)})(x)["y"][0] ** 2).sum(),
    ]
    for form in forms:
        for got, want in zip(mx.grad(form, argnums=(0, 1))(x, w), plain, strict=True):
            np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-5, atol=1e-7)
    second = [
        mx.grad(lambda w, f=f: (mx.grad(lambda w: f(x, w))(w) ** 2).sum())(w)
        for f in (forms[0], lambda x, w: (layer(x, w) ** 2).sum())
    ]
    np.testing.assert_allclose(np.asarray(second[0]), np.asarray(second[1]), rtol=1e-4, atol=1e-6)


def test_checkpoint_lowers_the_peak():
    """With checkpoint the values inside are not kept until they are needed on the way back."""

    def block(x: mx.array) -> mx.array:
        for _ in range(8):
            x = mx.sin(x.reshape(64, -1).T.reshape(-1) * 1.1)
        return x

    def loss(x: mx.array, wrap: Any) -> mx.array:
        for _ in range(4):
            x = wrap(block)(x)
        return x.sum()

    x = mx.ones((1 << 16,))
    mx.eval(x)

    def peak(wrap: Any) -> tuple[int, mx.array]:
        g = mx.grad(lambda x: loss(x, wrap))(x)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        mx.eval(g)
        return mx.get_peak_memory() - before, g

    kept, first = peak(lambda f: f)
    computed_again, second = peak(mx.checkpoint)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    assert computed_again < 0.6 * kept
