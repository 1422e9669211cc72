"""Long chains: walks are iterative and linear."""

from __future__ import annotations

import pytest

import bridge as mx


def chain(x: mx.array, n: int) -> mx.array:
    for _ in range(n):
        x = x * 1.00001 + 0.00001
    return x


def test_a_hundred_thousand_ops():
    """A chain of 100,000 ops is differentiated, backwards and forwards, without recursion."""
    x = mx.array(1.0, dtype=mx.float64)
    want = 1.00001**50_000
    assert mx.grad(lambda x: chain(x, 50_000))(x).item() == pytest.approx(want)
    assert mx.jvp(lambda x: chain(x, 10_000), [x], [x])[1][0].item() == pytest.approx(1.00001**10_000)


def test_long_batched_and_compiled_chains():
    """vmap and compile walk long chains, too."""
    x = mx.ones((2,), mx.float64)
    assert mx.vmap(lambda x: chain(x, 5_000))(x).tolist() == chain(x, 5_000).tolist()
    assert mx.compile(lambda x: chain(x, 20_000))(x).tolist() == chain(x, 20_000).tolist()


def test_memory_is_linear():
    """The tape of a chain holds what the way back needs: a bounded number of values an op."""
    size = 1 << 12

    def peak(n: int) -> int:
        def f(x: mx.array) -> mx.array:
            for _ in range(n):
                x = mx.sin(x)
                mx.eval(x)
            return x.sum()

        x = mx.ones((size,))
        mx.eval(x)
        mx.reset_peak_memory()
        before = mx.get_active_memory()
        mx.eval(mx.grad(f)(x))
        return mx.get_peak_memory() - before

    assert peak(400) < 2.5 * peak(200) < 2.5 * 200 * size * 4 * 4
