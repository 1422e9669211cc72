"""Compiled functions: the same results, traced as rarely as possible."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import bridge as mx
from bridge.core import _native


class Counted:
    """A function that counts how often it is called."""

    def __init__(self, fun: Any) -> None:
        self.fun = fun
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return self.fun(*args, **kwargs)


@pytest.fixture
def enabled() -> Iterator[None]:
    yield
    mx.enable_compile()


def counted(fun: Any, **options: Any) -> tuple[Any, Counted]:
    one = Counted(fun)
    return mx.compile(lambda *args, **kwargs: one(*args, **kwargs), **options), one


def test_traced_once_for_each_kind_of_arguments():
    """Another shape, dtype, nest or constant is traced anew; other values are not."""
    f, one = counted(lambda x, y=1, *, z=None: {"r": [x * y, 3, None, "s"]} if z is None else x + z["a"])
    for _ in range(3):
        got = f(mx.array([1.0, 2.0]), 2)
    assert got["r"][0].tolist() == [2, 4]
    assert got["r"][1:] == [3, None, "s"]
    assert one.calls == 1
    kinds = [
        lambda: f(mx.ones((3,)), 2),
        lambda: f(mx.ones((2,), mx.int32), 2),
        lambda: f(mx.ones((2,)), 2.0),
        lambda: f(mx.ones((2,)), True),
        lambda: f(mx.ones((2,))),
        lambda: f(mx.ones((2,)), z={"a": mx.ones((2,))}),
        lambda: f(mx.ones((2,)), mx.array(2.0)),
    ]
    for k, call in enumerate(kinds):
        call()
        call()
        assert one.calls == k + 2


def test_same_results():
    """A compiled function gives what the function gives, also with in-place updates, views and several results."""

    def f(x: mx.array, w: mx.array) -> Any:
        y = x @ w
        y[0] = 1
        y += y.max(1, keepdims=True)
        q, r = mx.linalg.qr(y)
        return y[::-1].T, (q @ r).sum(), x

    compiled = mx.compile(f)
    for seed in range(3):
        random = np.random.default_rng(seed)
        x, w = (mx.array(random.normal(size=(3, 3)).astype(np.float32)) for _ in range(2))
        for got, want in zip(compiled(x, w), f(x, w), strict=True):
            np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-6)


def test_common_work_is_merged():
    """Equal ops on equal operands are one op in the graph."""

    def f(x: mx.array) -> mx.array:
        return mx.exp(x) * 2 + mx.exp(x) * 2

    kernels: list[str] = []
    x = mx.ones((100,))
    compiled = mx.compile(f)
    compiled(x)
    _native.set_kernel_log(kernels.append)
    try:
        mx.eval(compiled(x))
        merged = "\n".join(kernels)
        kernels.clear()
        mx.eval(f(x))
        plain = "\n".join(kernels)
    finally:
        _native.set_kernel_log(None)
    assert (merged.count("exp"), plain.count("exp")) == (1, 2)


def test_captured_arrays_are_constants():
    """An array from outside counts with the value that it had when the function was traced."""
    y = mx.array([1.0])
    f = mx.compile(lambda x: x + y)
    assert f(mx.array([1.0])).tolist() == [2]
    y += 10
    assert f(mx.array([1.0])).tolist() == [2]


def test_state():
    """Arrays in `inputs` are read on every call, those in `outputs` replaced."""
    state = {"count": mx.array(0.0), "seen": [mx.zeros((2,))]}

    def step(x: mx.array) -> mx.array:
        state["count"] = state["count"] + 1
        state["seen"][0] = state["seen"][0] + x
        return state["count"] * x

    f = mx.compile(step, inputs=state, outputs=state)
    for k in range(1, 4):
        assert f(mx.array([1.0, 2.0])).tolist() == [k, 2 * k]
    assert state["count"].item() == 3
    assert state["seen"][0].tolist() == [3, 6]
    state["count"] = mx.array(10.0)
    assert f(mx.array([1.0, 2.0])).tolist() == [11, 22]


def test_documented_pure_functions():
    """The pages' examples: a captured list of state as an output, and as an input."""
    state: list[mx.array] = []

    def fun(x: mx.array, y: mx.array) -> mx.array:
        z = x + y
        state.append(z)
        return mx.exp(z)

    compiled = mx.compile(fun, outputs=state)
    compiled(mx.array(1.0), mx.array(2.0))
    assert state[0].item() == 3
    captured = [mx.array(1.0)]
    with_input = mx.compile(lambda x: x + captured[0], inputs=captured)
    assert with_input(mx.array(1.0)).item() == 2
    captured[0] = mx.array(5.0)
    assert with_input(mx.array(1.0)).item() == 6


def test_with_other_transforms():
    """compile of grad, grad of compile, vmap of compile, compile of vmap: all agree."""

    def f(w: mx.array, x: mx.array) -> mx.array:
        return (mx.tanh(x @ w) ** 2).sum()

    w, x = mx.ones((3, 2)) * 0.1, mx.ones((4, 3))
    want = np.asarray(mx.grad(f)(w, x))
    for g in (mx.compile(mx.grad(f)), mx.grad(mx.compile(f)), mx.compile(mx.grad(mx.compile(f)))):
        for _ in range(2):
            np.testing.assert_allclose(np.asarray(g(w, x)), want, rtol=1e-6)
    rows = np.asarray(mx.vmap(f, in_axes=(None, 0))(w, x))
    for v in (mx.vmap(mx.compile(f), in_axes=(None, 0)), mx.compile(mx.vmap(f, in_axes=(None, 0)))):
        for _ in range(2):
            np.testing.assert_allclose(np.asarray(v(w, x)), rows, rtol=1e-6)


def test_captured_by_another_transform():
    """A compiled function that captures an array of a gradient around it is part of that gradient, every time."""
    x = mx.array([1.0, 2.0])
    for factor in (2.0, 3.0):

        def loss(w: mx.array) -> mx.array:
            return mx.compile(lambda x: (x * w * w).sum())(x)

        assert mx.grad(loss)(mx.array(factor)).item() == 3 * 2 * factor
    scale = [mx.array(1.0)]
    shared = mx.compile(lambda x: (x * scale[0]).sum())
    for _ in range(2):

        def through(w: mx.array) -> mx.array:
            scale[0] = w
            return shared(x)

        assert mx.grad(through)(mx.array(1.0)).item() == 3


def test_open_memory():
    """An argument that another library can write to counts with its values at the call, a captured array with those at
    the trace."""
    x, w = mx.ones((2,)), mx.ones((2,))
    view, other = np.asarray(x), np.asarray(w)
    f = mx.compile(lambda x: x * w)
    first = f(x)
    view[:] = 5
    other[:] = 7
    assert first.tolist() == [1, 1]
    assert f(x).tolist() == [5, 5]


def test_values_are_refused():
    """Looking at a value while the function is traced raises an error that names compile."""
    for look in (lambda x: x.item(), bool, str, lambda x: np.asarray(x)):
        with pytest.raises(mx.TracedError, match=r"bridge\.compile"):
            mx.compile(lambda x, look=look: (look(x), x)[1])(mx.array(1.0))


def test_shapeless():
    """A function without extents is traced once for all of them; of one that asks for extents the results are right."""
    f, one = counted(lambda x, y: (mx.abs(x + y).sum(0).T * mx.concatenate([x, y]).max(0)).sum(), shapeless=True)
    for n in (2, 3, 5, 3):
        x, y = mx.ones((n, 4)) * n, mx.ones((n, 4))
        assert f(x, y).item() == 4 * n * (n + 1) * n
    assert one.calls == 1
    f(mx.ones((2, 2)), mx.ones((2, 2), mx.int32))
    f(mx.ones((2, 2, 2)), mx.ones((2, 2, 2)))
    assert one.calls == 3
    for fun in (lambda x: x.mean(), lambda x: x.reshape(x.shape[0] * x.shape[1], -1).sum(0), lambda x: x[1:].sum()):
        g = mx.compile(fun, shapeless=True)
        for shape in [(2, 3, 4), (5, 5, 3)]:
            x = mx.array(np.random.default_rng(0).normal(size=shape))
            np.testing.assert_allclose(np.asarray(g(x)), np.asarray(fun(x)), rtol=1e-5, atol=1e-6)


def test_disabled(enabled: None):
    """Compilation can be switched off for all functions, and on again."""
    f, one = counted(lambda x: x + 1)
    x = mx.array(1.0)
    mx.disable_compile()
    f(x)
    f(x)
    assert one.calls == 2
    mx.enable_compile()
    f(x)
    f(x)
    assert one.calls == 3


def test_wrong_arguments():
    """Other objects than arrays and constants are refused, with the way out."""
    with pytest.raises(ValueError, match=r"arrays and constants(.|\n)*object(.|\n)*partial"):
        mx.compile(lambda x: x)(object())
    with pytest.raises(TypeError, match="a function is wanted"):
        mx.compile(3)
