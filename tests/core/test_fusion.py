"""Composites are fused: the number of kernels they run, and that nothing is written that nobody needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import bridge
from bridge.core import _native

X = bridge.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]])
HALF = X.astype(bridge.float16)
bridge.eval(X, HALF)

# Largest number of kernels of each; a reduction ends one.
MOST = {
    "a chain of nine": (lambda: bridge.tanh(bridge.exp(X * 2 + 1) - X / 3).square() + X * 0.5, 1),
    "clip": (lambda: bridge.clip(X, 1, 2), 1),
    "isclose": (lambda: bridge.isclose(X, X + 1), 1),
    "allclose": (lambda: bridge.allclose(X, X), 1),
    "array_equal": (lambda: bridge.array_equal(X, X), 1),
    "outer": (lambda: bridge.outer(X, X), 1),
    "mean": (lambda: bridge.mean(X, 0), 2),
    "mean of halves": (lambda: bridge.mean(HALF, 0), 2),
    "var": (lambda: bridge.var(X, 1), 4),
    "softmax": (lambda: bridge.softmax(X, -1), 4),
    "logsumexp": (lambda: bridge.logsumexp(X, -1), 4),
    "zeros": (lambda: bridge.zeros((3,)), 1),
}


def kernels(make: Callable[[], bridge.array]) -> list[str]:
    log: list[str] = []
    _native.set_kernel_log(log.append)
    try:
        bridge.eval(make())
    finally:
        _native.set_kernel_log(None)
    return log


@pytest.mark.parametrize("case", MOST)
def test_number_of_kernels(case: str):
    """No more kernels than the table says."""
    make, most = MOST[case]
    assert len(kernels(make)) <= most


def test_a_mean_of_halves_writes_no_float32():
    """The cast to float32 happens inside the kernel that sums."""
    first = kernels(lambda: bridge.mean(HALF, 0))[0]
    assert "cast" in first
    assert "sum" in first
    assert "out0" not in first


def test_views_run_no_kernel():
    """Views, casts to the same dtype and splits of an evaluated array compute nothing."""
    for make in (
        lambda: X.T,
        lambda: X[::-1, 1:],
        lambda: X.reshape(3, 2),
        lambda: X.astype(bridge.float32),
        lambda: bridge.split(X, 3, 1)[1],
        lambda: bridge.broadcast_to(X, (4, 2, 3)),
        lambda: bridge.flip(X),
    ):
        assert kernels(make) == []
