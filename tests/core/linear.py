"""Matrices for the tests of linalg and of its rules."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

DTYPES = ("float32", "float64", "complex64", "complex128")
# Relative to the size of what is compared, for matrices as well conditioned as those drawn here.
CLOSE = {"float32": 2e-4, "float64": 1e-11, "complex64": 2e-4, "complex128": 1e-11}
REAL = {"complex64": "float32", "complex128": "float64"}
COMPLEX = {"float32": "complex64", "float64": "complex128"}


def matrices(name: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    random = np.random.default_rng([seed, *shape])
    a = random.normal(size=shape)
    return (a + 1j * random.normal(size=shape) if name in REAL else a).astype(name)


def regular(name: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Square matrices far from having no inverse."""
    return (matrices(name, shape, seed) + 4 * np.eye(shape[-1])).astype(name)


def definite(name: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Hermitian, positive definite matrices."""
    a = matrices(name, shape, seed)
    return (a @ adjoint(a) + 2 * np.eye(shape[-1])).astype(name)


def adjoint(a: Array) -> Array:
    return np.swapaxes(a, -1, -2).conj()


def assert_close(got: object, want: object, dtype: str) -> None:
    """Same shape and dtype; values within a tolerance that grows with their size."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert got.dtype == np.dtype(dtype)
    size = float(np.max(np.abs(want), initial=1))
    np.testing.assert_allclose(got, want, rtol=0, atol=CLOSE.get(dtype, 0) * size)
