"""Functions that cross into other frameworks with their derivatives, against each framework's own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
import torch

import bridge as mx

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = ["torch", "jax", "tensorflow"]


def model(x: mx.array, w: mx.array) -> mx.array:
    """What every framework computes here: x is one row or several."""
    return mx.tanh((x * w).sum(axis=-1)).sum()


LOSSES: dict[str, Any] = {
    "torch": lambda x, w: torch.tanh((x * w).sum(dim=-1)).sum(),
    "jax": lambda x, w: jnp.tanh((x * w).sum(axis=-1)).sum(),
    "tensorflow": lambda x, w: tf.reduce_sum(tf.tanh(tf.reduce_sum(x * w, axis=-1))),
}
SINES: dict[str, Any] = {"torch": torch.sin, "jax": jnp.sin, "tensorflow": tf.sin}


@pytest.fixture(params=FRAMEWORKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def x() -> mx.array:
    return mx.array(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))


@pytest.fixture
def w() -> mx.array:
    return mx.array(np.array([0.3, -0.7, 1.1], np.float32))


def close(got: Any, want: Any, rtol: float = 2e-5) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=rtol, atol=1e-6)


def own_gradient(name: str, x: mx.array, w: mx.array) -> np.ndarray[Any, Any]:
    """The gradient of the loss by w, by the framework itself."""
    a, b = mx.to(name, x, copy=True), mx.to(name, w, copy=True)
    if name == "torch":
        return np.asarray(torch.autograd.grad(LOSSES[name](a, b.requires_grad_()), b)[0])
    if name == "jax":
        return np.asarray(jax.grad(LOSSES[name], 1)(a, b))
    with tf.GradientTape() as tape:
        tape.watch(b)
        y = LOSSES[name](a, b)
    return np.asarray(tape.gradient(y, b))


# ---------------------------------------------------------------------------------------------------------------- wrap


def test_values(name, x, w):
    """A wrapped function gives what the function gives, as a bridge array."""
    y = mx.wrap(name, LOSSES[name])(x, w)
    assert isinstance(y, mx.array)
    close(y, model(x, w))


def test_arguments_and_results_share_memory():
    """The function sees the argument's own bytes, and what it gives keeps its address."""
    seen = []
    y = mx.wrap("torch", lambda t: seen.append(t.data_ptr()) or t)(x := mx.ones((1000,)))
    address = np.asarray(x).__array_interface__["data"][0]
    assert seen == [address]
    assert np.asarray(y).__array_interface__["data"][0] == address


def test_gradient_is_the_framework_s(name, x, w):
    """grad, value_and_grad and vjp give the framework's gradient."""
    f = mx.wrap(name, LOSSES[name])
    want = own_gradient(name, x, w)
    close(mx.grad(f, 1)(x, w), want)
    value, gradient = mx.value_and_grad(f, argnums=1)(x, w)
    close(value, f(x, w))
    close(gradient, want)
    close(mx.vjp(f, [x, w], [mx.array(1.0)])[1][1], want)


def test_forwards(name, x, w):
    """jvp gives the framework's directional derivative."""
    f = mx.wrap(name, LOSSES[name])
    (value,), (change,) = mx.jvp(f, [x, w], [mx.ones((4, 3)), w])
    close(value, model(x, w))
    close(change, mx.jvp(model, [x, w], [mx.ones((4, 3)), w])[1][0])


def test_second_and_third_derivative(name, x, w):
    """A derivative of a framework's derivative is the framework's, again and again."""

    def twice(f: Any) -> Any:
        return mx.grad(lambda w: (mx.grad(f, 1)(x, w) ** 2).sum())

    def thrice(f: Any) -> Any:
        return mx.grad(lambda w: (twice(f)(w) ** 2).sum())

    f = mx.wrap(name, LOSSES[name])
    close(twice(f)(w), twice(model)(w))
    close(thrice(f)(w), thrice(model)(w), 1e-4)


def test_mapped(name, x, w):
    """vmap maps the function as its framework does, with and without an axis for each argument."""
    f = mx.wrap(name, LOSSES[name])
    close(mx.vmap(f, (0, None))(x, w), mx.vmap(model, (0, None))(x, w))
    close(mx.vmap(f)(x, x), mx.vmap(model)(x, x))


def test_map_and_gradient_in_either_order(name, x, w):
    """vmap of grad, and grad of vmap."""
    f = mx.wrap(name, LOSSES[name])
    close(mx.vmap(mx.grad(f, 1), (0, None))(x, w), mx.vmap(mx.grad(model, 1), (0, None))(x, w))
    close(mx.grad(lambda w: mx.vmap(f, (0, None))(x, w).sum())(w), own_gradient(name, x, w))


def test_compiled(name, x, w):
    """Inside compile the function runs at every call, on the values of that call, and so does its derivative."""
    f = mx.wrap(name, LOSSES[name])
    value, gradient = mx.compile(f), mx.compile(mx.grad(f, 1))
    for one in (w, w * 2):
        close(value(x, one), model(x, one))
        close(gradient(x, one), mx.grad(model, 1)(x, one))


def test_surrounded_by_operations_of_bridge(name, x, w):
    """The chain rule goes through: operations before and after the call."""
    f = mx.wrap(name, SINES[name])
    close(mx.grad(lambda w: (f(w * 2) ** 2).sum())(w), mx.grad(lambda w: (mx.sin(w * 2) ** 2).sum())(w))


def test_nests_keywords_and_constants():
    """Nests, keyword arguments and values that are no arrays arrive as they are; results keep their nest."""

    def fn(p: Any, *, scale: Any, mode: str) -> Any:
        assert mode == "sine"
        return {"y": torch.sin(p["w"][0]) * scale, "parts": (p["w"][1] * 2, p["w"][0])}

    f = mx.wrap("torch", fn)
    p = {"w": [mx.array(0.5), mx.array(2.0)]}
    y = f(p, scale=mx.array(3.0), mode="sine")
    assert y["parts"][0].item() == 4
    loss = lambda p, scale: f(p, scale=scale, mode="sine")["y"]  # noqa: E731
    (gradient, named) = mx.grad(loss, argnums=0, argnames="scale")(p, scale=mx.array(3.0))
    close(gradient["w"][0], 3 * np.cos(0.5))
    assert gradient["w"][1].item() == 0
    close(named["scale"], np.sin(0.5))


def test_several_results(name, x):
    """Each result has its cotangent, and one without counts as zero."""
    f = mx.wrap(name, lambda x: (SINES[name](x), x * x))
    close(mx.grad(lambda x: f(x)[1].sum())(x), 2 * np.asarray(x))
    got = mx.vjp(f, [x], [mx.ones((4, 3)), mx.ones((4, 3))])[1][0]
    close(got, np.cos(np.asarray(x)) + 2 * np.asarray(x))


@pytest.mark.parametrize(
    ("name", "fn"),
    [
        ("torch", lambda x, k: (x[k], k + 1)),
        ("jax", lambda x, k: (x[k], k + 1)),
        ("tensorflow", lambda x, k: (tf.gather(x, k), k + 1)),
    ],
)
def test_integers_have_no_derivative(name, fn, x):
    """Integer arguments and results cross, and no gradient goes through them."""
    f, k = mx.wrap(name, fn), mx.array([2, 0, 2])
    rows, more = f(x, k)
    assert rows.shape == (3, 3)
    assert more.tolist() == [3, 1, 3]
    close(mx.grad(lambda x: f(x, k)[0].sum())(x), np.array([1, 0, 2, 0])[:, None] * np.ones((4, 3)))


@pytest.mark.parametrize(
    ("name", "fn"), [("torch", torch.abs), ("jax", jnp.abs), ("tensorflow", tf.abs)], ids=FRAMEWORKS
)
def test_complex_gradients_point_where_the_loss_grows(name, fn):
    """The framework's convention is translated to bridge's."""
    z = mx.array(np.array([1 + 2j, 3 - 1j], np.complex64))
    turn = mx.array(2 + 1j, mx.complex64)
    close(mx.grad(lambda z: mx.wrap(name, fn)(z * z * turn).sum())(z), mx.grad(lambda z: mx.abs(z * z * turn).sum())(z))


def test_the_derivative_belongs_to_the_call_that_gave_the_value():
    """Random numbers are drawn once: what the call dropped is what the gradient leaves out."""
    f = mx.wrap("torch", lambda x: torch.nn.functional.dropout(x, 0.5))
    y, products = mx.vjp(f, [mx.ones((200,))], [mx.ones((200,))])
    assert products[0].tolist() == y[0].tolist()
    assert 0 < sum(one == 0 for one in products[0].tolist()) < 200


def test_parameters_that_a_function_captures_are_constants():
    """A torch module with parameters of its own can be called; nothing is recorded for them."""
    layer = torch.nn.Linear(3, 2)
    f = mx.wrap("torch", layer)
    close(f(mx.ones((1, 3))), layer(torch.ones(1, 3)).detach())
    close(mx.grad(lambda x: f(x).sum())(mx.ones((1, 3)))[0], layer.weight.sum(0).detach())


def test_checkpointed(name, w):
    """A checkpoint around a wrapped function does not change its gradient."""
    f = mx.checkpoint(lambda w: mx.wrap(name, SINES[name])(w).sum())
    close(mx.grad(f)(w), np.cos(np.asarray(w)))


def test_bfloat16(name):
    """Dtypes that NumPy does not have cross, evaluated at once or later."""
    f, x = mx.wrap(name, SINES[name]), mx.array([0.5, 1.0], mx.bfloat16)
    assert f(x).dtype == mx.compile(f)(x).dtype == mx.bfloat16
    assert mx.compile(f)(x).tolist() == f(x).tolist()


# -------------------------------------------------------------------------------------------------------------- unwrap


def test_layer_in_torch(x, w):
    """torch.autograd goes through a bridge function, to second order."""
    f = mx.unwrap("torch", model)
    a, b = mx.to("torch", x, copy=True), mx.to("torch", w, copy=True).requires_grad_()
    (first,) = torch.autograd.grad(f(a, b), b, create_graph=True)
    close(first.detach(), own_gradient("torch", x, w))
    (second,) = torch.autograd.grad((first**2).sum(), b)
    close(second, mx.grad(lambda w: (mx.grad(model, 1)(x, w) ** 2).sum())(w))


def test_layer_in_torch_func(x, w):
    """torch.func.vmap maps a bridge function and its gradient."""
    f, a, b = mx.unwrap("torch", model), mx.to("torch", x, copy=True), mx.to("torch", w, copy=True)
    close(torch.func.vmap(f, (0, None))(a, b), mx.vmap(model, (0, None))(x, w))
    got = torch.func.vmap(torch.func.grad(f, 1), (0, None))(a, b)
    close(got, mx.vmap(mx.grad(model, 1), (0, None))(x, w))


def test_layer_trains_in_a_torch_model():
    """Parameters before and after a bridge layer get the gradients that they get without it."""
    torch.manual_seed(0)
    before, after, x = torch.nn.Linear(3, 4), torch.nn.Linear(4, 1), torch.ones(2, 3)
    gradients = []
    for activation in (torch.tanh, mx.unwrap("torch", mx.tanh)):
        before.zero_grad()
        after(activation(before(x))).sum().backward()
        gradients.append(before.weight.grad.clone())
    close(gradients[1], gradients[0])


@pytest.mark.parametrize("jit", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_layer_in_jax(jit, x, w):
    """jax differentiates a bridge function to second order, compiled as well."""
    f = mx.unwrap("jax", model)
    a, b = mx.to("jax", x), mx.to("jax", w)
    close(jit(f)(a, b), model(x, w))
    close(jit(jax.grad(f, 1))(a, b), own_gradient("jax", x, w))
    second = jit(jax.grad(lambda b: (jax.grad(f, 1)(a, b) ** 2).sum()))(b)
    close(second, mx.grad(lambda w: (mx.grad(model, 1)(x, w) ** 2).sum())(w))


def test_layer_mapped_in_jax(x, w):
    """jax.vmap maps a bridge function's gradient."""
    got = jax.vmap(jax.grad(mx.unwrap("jax", model), 1), (0, None))(mx.to("jax", x), mx.to("jax", w))
    close(got, mx.vmap(mx.grad(model, 1), (0, None))(x, w))


@pytest.mark.parametrize("graph", [lambda f: f, partial(tf.function, autograph=False)], ids=["eager", "function"])
def test_layer_in_tensorflow(graph, x, w):
    """GradientTape goes through a bridge function to second order, in tf.function as well."""
    f, a, b = mx.unwrap("tensorflow", model), mx.to("tensorflow", x), mx.to("tensorflow", w)

    @graph
    def derivatives(a: Any, b: Any) -> Any:
        with tf.GradientTape() as outer:
            outer.watch(b)
            with tf.GradientTape() as inner:
                inner.watch(b)
                y = f(a, b)
            first = inner.gradient(y, b)
            loss = tf.reduce_sum(first**2)
        return first, outer.gradient(loss, b)

    first, second = derivatives(a, b)
    close(first, own_gradient("tensorflow", x, w))
    close(second, mx.grad(lambda w: (mx.grad(model, 1)(x, w) ** 2).sum())(w))


def test_there_and_back(name, x, w):
    """A bridge function unwrapped and wrapped again has the derivatives that it had."""
    f = mx.wrap(name, mx.unwrap(name, model))
    close(mx.grad(f, 1)(x, w), mx.grad(model, 1)(x, w))


def test_layers_take_nests_and_integers(name):
    """An unwrapped function takes and gives nests; integers pass."""
    f = mx.unwrap(name, lambda p, k=0: {"y": p["w"][0] * k, "n": (p["n"] + 1,)})
    to = partial(mx.to, name)
    y = f({"w": [to(mx.ones((2,)))], "n": to(mx.array([1, 2]))}, k=3)
    assert np.asarray(y["y"]).tolist() == [3, 3]
    assert np.asarray(y["n"][0]).tolist() == [2, 3]


# -------------------------------------------------------------------------------------------------------------- errors


def test_results_must_be_arrays_of_the_framework():
    """A result of another kind is refused, with its place."""
    with pytest.raises(mx.BorderError, match=r"must give arrays of torch(.|\n)*float at the result\['a'\]\[1\]"):
        mx.wrap("torch", lambda x: {"a": (x, 1.0)})(mx.ones((2,)))


def test_a_framework_without_derivatives():
    """NumPy has no derivatives to offer, and the error says so."""
    with pytest.raises(mx.BorderError, match=r"bridge.wrap\('numpy'\).*\n.*torch, jax, tensorflow"):
        mx.wrap("numpy", np.sin)


def test_wrong_arguments_of_wrap():
    """An unknown framework, and what is no function."""
    with pytest.raises(mx.UnknownTarget, match="pytroch"):
        mx.wrap("pytroch", torch.sin)
    with pytest.raises(TypeError, match=r"bridge.unwrap\('torch'\)\] a function is wanted"):
        mx.unwrap("torch", 3)


def test_what_a_framework_cannot_derive_is_named():
    """An error of a derivative names the framework, the derivative and the reason; the function itself works."""
    f = mx.wrap("jax", lambda x: jax.pure_callback(lambda x: np.sin(x), x, x, vmap_method=None))
    close(f(mx.ones((2,))), np.sin(np.ones(2)))
    with pytest.raises(mx.BorderError, match=r"jax cannot .* the vmap of the function: NotImplementedError"):
        mx.eval(mx.vmap(f)(mx.ones((3, 2))))


def test_a_function_that_looks_at_values_cannot_be_mapped():
    """There are no values in vmap and compile, and the error says so."""
    f = mx.wrap("torch", lambda x: x * x.sum().item())
    assert mx.grad(lambda x: f(x).sum())(mx.ones((2,))).tolist() == [2, 2]
    for transform in (mx.vmap, mx.compile):
        with pytest.raises(
            mx.BorderError, match="torch cannot tell before there are values what comes of the function"
        ):
            transform(f)(mx.ones((3, 2)))


def test_what_a_function_raises_comes_out():
    """An exception of the function is not renamed."""

    def fn(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        mx.wrap("torch", fn)(mx.ones((2,)))
    with pytest.raises(KeyError, match="mine"):
        mx.grad(mx.wrap("torch", fn))(mx.ones((2,)))


# ----------------------------------------------------------------------------------------------------------- the whole


def test_model_in_three_frameworks():
    """The example's gradients agree with those of the model in one framework after a step, and its loss falls."""
    spec = importlib.util.spec_from_file_location("three_frameworks", ROOT / "examples" / "three_frameworks.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    losses = example.train(example.mixed, 15)[0]
    assert losses[-1] < 0.7 * losses[0]
    assert example.difference(example.train(example.mixed, 1)[1]) < 1e-5


def test_import_brings_no_framework():
    """`import bridge` imports none of the frameworks, wrap and unwrap included."""
    code = "import sys, bridge; bridge.wrap; print([n for n in ('torch', 'jax', 'tensorflow') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
