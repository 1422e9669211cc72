"""What MLX's pages on function transforms, compilation, lazy evaluation and indexing say, on bridge."""

from __future__ import annotations

import math
import threading
from functools import partial

import numpy as np
import pytest

import bridge as mx


def test_loss_of_a_linear_model():
    """Gradients by the first argument, by another, and together with the value."""

    def loss_fn(w: mx.array, x: mx.array, y: mx.array) -> mx.array:
        return mx.mean(mx.square(w * x - y))

    w, x, y = mx.array(1.0), mx.array([0.5, -0.5]), mx.array([1.5, -1.5])
    assert mx.grad(loss_fn)(w, x, y).item() == -1
    assert mx.grad(loss_fn, argnums=1)(w, x, y).tolist() == [-1, 1]
    value, slope = mx.value_and_grad(loss_fn)(w, x, y)
    assert (value.item(), slope.item()) == (1, -1)


def test_gradient_through_an_indexed_update():
    """The gradient is zero where the function wrote, and one elsewhere."""

    def fun(x: mx.array, idx: mx.array) -> mx.array:
        x[idx] = 2.0
        return x.sum()

    assert mx.grad(fun)(mx.array([1.0, 2.0, 3.0]), mx.array([1])).tolist() == [1, 0, 1]


def test_boolean_masks():
    """A mask reads values, so a gradient may use one and a compiled function may not."""
    x = mx.array([1.0, 2.0, 3.0])
    assert mx.grad(lambda x: (x[x > 1.5] ** 2).sum())(x).tolist() == [0, 4, 6]
    with pytest.raises(mx.TracedError, match=r"bridge\.compile"):
        mx.compile(lambda x: x[x > 1.5])(x)


def test_compiled_gelu():
    """The page's example of a function that fusion helps."""

    def gelu(x: mx.array) -> mx.array:
        return x * (1 + mx.erf(x / math.sqrt(2))) / 2

    x = mx.array(np.linspace(-3, 3, 50).astype(np.float32))
    np.testing.assert_allclose(np.asarray(mx.compile(gelu)(x)), np.asarray(gelu(x)), rtol=1e-6)
    assert mx.grad(mx.compile(mx.exp))(mx.array(0.0)).item() == 1


def test_compiled_functions_inside_compiled_functions():
    """Inner functions are merged into the outer one."""

    @mx.compile
    def inner(x: mx.array) -> mx.array:
        return mx.exp(-mx.abs(x))

    def outer(x: mx.array) -> mx.array:
        inner(inner(x))
        return inner(inner(x))

    assert mx.compile(outer)(mx.array(1.0)).item() == pytest.approx(math.exp(-math.exp(-1)))


def test_shapeless():
    """One trace for scalars, and one for every vector."""
    calls = []

    def fun(x: mx.array, y: mx.array) -> mx.array:
        calls.append(x.ndim)
        return mx.abs(x + y)

    compiled = mx.compile(fun, shapeless=True)
    assert compiled(mx.array(1.0), mx.array(-2.0)).item() == 1
    assert compiled(mx.array([1.0, -6.0]), mx.array([-2.0, 3.0])).tolist() == [1, 3]
    assert compiled(mx.array([1.0, -6.0, 2.0]), mx.array([-2.0, 3.0, 1.0])).tolist() == [1, 3, 3]
    assert calls == [0, 1]


def test_random_numbers_in_compiled_functions():
    """With the state as input and output the numbers go on as they do outside; without, they are constants."""

    @partial(mx.compile, inputs=mx.random.state, outputs=mx.random.state)
    def fun() -> mx.array:
        return mx.random.uniform()

    mx.random.seed(1)
    inside = [fun().item() for _ in range(3)]
    mx.random.seed(1)
    assert inside == [mx.random.uniform().item() for _ in range(3)]
    assert len(set(inside)) == 3
    constant = mx.compile(lambda: mx.random.uniform())
    assert constant().item() == constant().item()


def test_random_numbers_of_a_batch_of_keys():
    """vmap over keys gives what a loop over the keys gives."""
    keys = mx.random.split(mx.random.key(0), 3)
    got = mx.vmap(lambda key: mx.random.normal((2,), key=key))(keys)
    assert got.tolist() == [mx.random.normal((2,), key=keys[k]).tolist() for k in range(3)]


def test_training_loop_lets_go():
    """A loop over steps that evaluates now and then keeps no graph of the steps before."""
    step = mx.value_and_grad(lambda w: (mx.tanh(w) ** 2).sum())
    w = mx.ones((1 << 12,))
    mx.eval(w)
    before = mx.get_active_memory()
    for k in range(60):
        loss, g = step(w)
        w = w - 0.1 * g
        if k % 10 == 0:
            mx.eval(w, loss)
    mx.eval(w)
    del loss, g
    assert mx.get_active_memory() - before <= 4 * w.nbytes


def test_threads():
    """Gradients on several threads at once are each other's business in no way."""
    step = mx.value_and_grad(lambda w: (mx.sin(w) * w).sum())
    wrong: list[object] = []

    def work(seed: int) -> None:
        x = np.random.default_rng(seed).normal(size=200).astype(np.float32)
        for _ in range(10):
            _, g = step(mx.array(x))
            if not np.allclose(np.asarray(g), np.cos(x) * x + np.sin(x), atol=1e-5):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong
