"""Gradients: `grad`, `value_and_grad`, `vjp`, `stop_gradient`, and the errors of wrong arguments."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bridge as mx

Array = mx.array


def f64(value: Any) -> Array:
    return mx.array(np.asarray(value), dtype=mx.float64)


def test_documented_example():
    """The derivative of sin is cos, and that of cos is -sin, to any depth."""
    x = mx.array(math.pi)
    assert mx.grad(mx.sin)(x).item() == pytest.approx(-1)
    assert mx.grad(mx.grad(mx.sin))(x).item() == pytest.approx(0, abs=1e-6)
    assert mx.grad(mx.grad(mx.grad(mx.sin)))(x).item() == pytest.approx(1)


def test_nests_keep_their_structure():
    """Gradients of a nest of dicts, lists and tuples come in the same nest."""
    parameters = {"w": f64([1.0, 2.0]), "layers": [(f64(3.0),), {"b": f64([4.0, 5.0])}]}

    def loss(p: Any, x: Array) -> Array:
        return (p["w"] * x * p["layers"][0][0] + p["layers"][1]["b"] ** 2).sum()

    value, made = mx.value_and_grad(loss)(parameters, f64([10.0, 20.0]))
    assert value.item() == 3 * 50 + 16 + 25
    assert made["w"].tolist() == [30, 60]
    assert isinstance(made["layers"][0], tuple)
    assert made["layers"][0][0].item() == 50
    assert made["layers"][1]["b"].tolist() == [8, 10]


def test_argnums_and_argnames():
    """Which arguments are differentiated by, and in which form the gradients come."""

    def f(x: Array, y: Array, z: Any = 1.0) -> Array:
        return (x * y * z).sum()

    x, y, z = f64([1.0]), f64([2.0]), f64([3.0])
    assert mx.grad(f, argnums=1)(x, y).tolist() == [1]
    both = mx.grad(f, argnums=(1, 0))(x, y)
    assert isinstance(both, tuple)
    assert [g.tolist() for g in both] == [[2], [1]]
    assert mx.grad(f, argnums=[1])(x, y).tolist() == [1]
    none, named = mx.grad(f, argnames="z")(x, y, z=z)
    assert none is None
    assert named["z"].tolist() == [2]
    first, named = mx.grad(f, argnums=0, argnames=["z"])(x, y, z=z)
    assert (first.tolist(), named["z"].tolist()) == ([6], [2])


def test_auxiliary_results():
    """value_and_grad differentiates by the first item of a tuple and hands the others through."""
    (loss, double, text), g = mx.value_and_grad(lambda x: (x.sum(), x * 2, "aux"))(f64([1.0, 2.0]))
    assert (loss.item(), double.tolist(), text, g.tolist()) == (3, [2, 4], "aux", [1, 1])


def test_unused_input():
    """What the loss does not depend on has a gradient of zeros, of its shape and dtype."""
    a, b = mx.grad(lambda x, y: x.sum(), argnums=(0, 1))(mx.ones((2,)), mx.ones((3,), mx.float16))
    assert a.tolist() == [1, 1]
    assert (b.tolist(), b.dtype) == ([0, 0, 0], mx.float16)


def test_values_on_the_way():
    """A function may look at values: loops and branches on them, item and print; the gradient follows the way taken."""

    def f(x: Array) -> Array:
        y = x * 2
        while y.sum().item() < 100:
            str(y)
            y = y * y if y[0].item() > 3 else y * 3
        return y.sum()

    value, made = mx.value_and_grad(f)(f64([1.0, 2.0]))  # the way taken is (6x)**2
    assert value.item() == 180
    assert made.tolist() == [72, 144]


def test_views_of_evaluated_arrays():
    """Slices, transposes and reshapes of an array that was evaluated inside are differentiated."""

    def f(x: Array) -> Array:
        y = x * x
        mx.eval(y)
        return (y.T[1:].reshape(-1)[::2] * mx.array([1.0, 10.0])).sum()

    assert mx.grad(f)(mx.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).tolist() == [[0, 4, 60], [0, 0, 0]]


def test_in_place_updates():
    """An update of an array is part of what is differentiated, and leaves the argument outside alone."""
    x = f64([1.0, 2.0, 3.0])

    def f(a: Array) -> Array:
        b = a
        a[0] = a[1] * a[2]
        a += 1
        a[1:] *= 2
        assert b.tolist() == a.tolist()
        return (a * a).sum()

    assert mx.grad(f)(x).tolist() == [0, 2 * 7 * 3 + 8 * 3, 2 * 7 * 2 + 8 * 4]
    assert x.tolist() == [1, 2, 3]


def test_captured_arrays_are_constants():
    """Arrays from outside the function are constants, also those that another gradient runs through."""
    w = f64(3.0)
    assert mx.grad(lambda x: x * w * w)(f64(2.0)).item() == 9
    assert mx.grad(lambda x: x * mx.grad(lambda y: x * y)(x))(f64(3.0)).item() == 6


def test_perturbations_are_kept_apart():
    """d/dx (x * d/dy (x + y)) is 1: the inner derivative does not take the outer one's change for its own."""
    assert mx.grad(lambda x: x * mx.grad(lambda y: x + y)(f64(1.0)))(f64(1.0)).item() == 1


def test_third_derivatives_of_a_composition():
    """Third derivatives agree with JAX's."""

    def f(x: Any, lib: Any) -> Any:
        return lib.exp(lib.sin(x) * x) / (1 + x * x) + lib.tanh(x) ** 3

    with jax.enable_x64(True):
        wanted = jax.grad(jax.grad(jax.grad(lambda x: f(x, jnp))))(0.7)
    got = mx.grad(mx.grad(mx.grad(lambda x: f(x, mx))))(f64(0.7))
    assert got.item() == pytest.approx(float(wanted), rel=1e-12)


def test_several_results_of_one_op():
    """An op with several results passes back the changes of those that are used, together."""
    a = np.array([[4.0, 1.0], [2.0, 3.0]])
    wanted = 2 * a  # |R|^2 = |A|^2
    assert np.allclose(np.asarray(mx.grad(lambda x: (mx.linalg.qr(x)[1] ** 2).sum())(f64(a))), wanted)

    def both(x: Array) -> Array:
        q, r = mx.linalg.qr(x)
        str(q)
        return ((q @ r) ** 2).sum()

    assert np.allclose(np.asarray(mx.grad(both)(f64(a))), wanted)


def test_complex_gradients():
    """The gradient points where a real loss grows, as in MLX."""
    z = mx.array([1 + 2j])
    assert mx.grad(lambda z: mx.abs(z).sum())(z).item() == pytest.approx((1 + 2j) / math.sqrt(5), rel=1e-6)
    assert mx.grad(lambda z: mx.real(z * z).sum())(z).item() == 2 - 4j


def test_casts_and_halves():
    """Gradients come in the dtype of the input, whatever the function computes in."""
    g = mx.grad(lambda x: (x.astype(mx.float32) * mx.array([2.0, 3.0])).sum())(mx.ones((2,), mx.float16))
    assert (g.tolist(), g.dtype) == ([2, 3], mx.float16)
    through = mx.grad(lambda x: (x.astype(mx.int32) * x).sum())(mx.array([2.5]))
    assert through.tolist() == [2]


def test_vjp():
    """Products with the Jacobian: lists in, lists out, one product for every primal."""
    results, products = mx.vjp(lambda x, y: (x * y, x + y), (f64([2.0]), f64([3.0])), (f64([1.0]), f64([10.0])))
    assert [one.tolist() for one in results] == [[6], [5]]
    assert [one.tolist() for one in products] == [[13], [12]]
    outs, products = mx.vjp(mx.sin, (mx.array(1.0),), (mx.array(1.0),))
    assert isinstance(outs, list)
    assert outs[0].item() == pytest.approx(math.sin(1))
    assert products[0].item() == pytest.approx(math.cos(1))


def test_stop_gradient():
    """The same values, constant to every derivative, and lazy."""
    a = mx.array([1.0, 2.0])
    assert mx.stop_gradient(a).tolist() == [1, 2]
    assert mx.grad(lambda x: (x * mx.stop_gradient(x)).sum())(a).tolist() == [1, 2]
    assert mx.grad(mx.grad(lambda x: x * x * mx.stop_gradient(x)))(f64(3.0)).item() == 6


def test_history_ends_with_the_transform():
    """After a gradient has been computed, nothing of the graph stays, whatever escaped from it."""
    held: list[Array] = []

    def f(x: Array) -> Array:
        y = x * 2
        mx.eval(y)
        held.append(y)
        big = mx.ones((1 << 20,)) * y.sum()
        mx.eval(big)
        return big.sum()

    x = mx.ones((4,))
    before = mx.get_active_memory()
    value, g = mx.value_and_grad(f)(x)
    mx.eval(value, g)
    assert mx.get_active_memory() - before < 1 << 16
    assert held[0].tolist() == [2, 2, 2, 2]


def square_outside(x: Array) -> Array:
    view = np.array(x, copy=False)
    view[:] *= view
    return x.sum()


def test_exports_warn():
    """The documented example: what is written through a view is no part of the gradient, and a warning says so."""
    x = mx.array([3.0])
    with pytest.warns(mx.GradientWarning, match=r"bridge\.value_and_grad(.|\n)*handed out inside(.|\n)*stop_gradient"):
        value, df = mx.value_and_grad(square_outside)(x)
    assert (value.item(), df.item()) == (9, 1)
    assert x.item() == 3


def test_policy_of_exports():
    """set_policy makes it an error, or silent."""
    try:
        mx.set_policy(traced_export="raise")
        with pytest.raises(mx.TracedError, match="handed out inside"):
            mx.grad(square_outside)(mx.array([3.0]))
        with pytest.raises(mx.TracedError, match="handed out inside"):
            mx.grad(lambda x: (bridge_to_numpy(x), x.sum())[1])(mx.array([3.0]))
        mx.set_policy(traced_export="allow")
        assert mx.grad(square_outside)(mx.array([3.0])).tolist() == [1]
        with pytest.raises(ValueError, match="traced_export cannot be 'no'"):
            mx.set_policy(traced_export="no")
    finally:
        mx.set_policy(traced_export="warn")


def bridge_to_numpy(x: Array) -> Any:
    return mx.to("numpy", x)


WRONG = [
    (lambda: mx.grad(lambda x: x)(mx.ones((2,))), ValueError, r"must be a scalar(.|\n)*float32\[2\](.|\n)*sum\(\)"),
    (lambda: mx.grad(lambda x: x.item())(mx.array(1.0)), ValueError, r"must give a scalar array(.|\n)*float"),
    (lambda: mx.grad(lambda x: (x, 1))(mx.array(1.0)), ValueError, r"value_and_grad"),
    (lambda: mx.grad(lambda x: x, argnums=1)(mx.array(1.0)), ValueError, r"no positional argument 1"),
    (lambda: mx.grad(lambda x: x, argnums=-1), ValueError, r"from the end"),
    (lambda: mx.grad(lambda x: x, argnums=[0, 0]), ValueError, r"twice"),
    (lambda: mx.grad(lambda x: x, argnums=[]), ValueError, r"no argument to differentiate by"),
    (lambda: mx.grad(lambda x, y=0: x, argnames="y")(mx.array(1.0)), ValueError, r"no keyword argument 'y'"),
    (lambda: mx.grad(lambda x: x.sum())(mx.array([1, 2])), mx.DTypeError, r"integers have no derivative(.|\n)*astype"),
    (lambda: mx.grad(lambda x: x["a"].sum())({"a": mx.array([1])}), ValueError, r"argument 0\['a'\]"),
    (lambda: mx.grad(lambda x: x)(3.0), TypeError, r"must be an array(.|\n)*float(.|\n)*bridge.array"),
    (lambda: mx.grad(3), TypeError, r"a function is wanted"),
    (lambda: mx.grad(lambda x: mx.argmax(x))(mx.ones((2,))), ValueError, r"integer loss"),
    (lambda: mx.vjp(mx.sin, [mx.ones((2,))], [mx.ones(())]), ValueError, r"cotangent 0 has another shape"),
    (lambda: mx.vjp(mx.sin, [mx.ones((2,))], []), ValueError, r"0 cotangents for 1 results"),
    (lambda: mx.vjp(lambda x: {"a": x}, [mx.ones((2,))], [mx.ones((2,))]), ValueError, r"list or tuple of arrays"),
]


@pytest.mark.parametrize(("call", "kind", "text"), WRONG)
def test_wrong_arguments(call: Any, kind: type[Exception], text: str):
    """Each wrong use raises an error that says what came and what to do."""
    with pytest.raises(kind, match=text):
        call()


def test_an_op_without_a_rule_is_named():
    """Differentiating through a primitive that has no derivative raises an error with its name."""
    with pytest.raises(mx.BridgeError, match=r"the primitive 'lu_factor' has no derivative"):
        mx.grad(lambda x: mx.linalg.lu_factor(x)[0].sum())(mx.eye(2))
