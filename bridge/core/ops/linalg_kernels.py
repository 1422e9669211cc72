"""Kernels of `bridge.linalg` that NumPy does not have under one name. SciPy is used for LU factors and triangular
systems where it is installed; without it they take longer and agree."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any, TypeAlias

import numpy

Matrix: TypeAlias = numpy.ndarray[Any, Any]


def solve(a: Matrix, b: Matrix) -> Matrix:
    """x with ``a @ x == b``; a vector `b` is one column for all matrices."""
    if b.ndim > 1:
        return numpy.linalg.solve(a, b)
    return numpy.linalg.solve(a, b[:, None])[..., 0]


def solve_triangular(a: Matrix, b: Matrix, upper: bool) -> Matrix:
    """`solve` that reads one triangle of `a`.

    Raises:
        LinAlgError: there is a zero on the diagonal.
    """
    if (numpy.diagonal(a, axis1=-2, axis2=-1) == 0).any():
        raise numpy.linalg.LinAlgError("Singular matrix")
    scipy = _scipy()
    if a.ndim == 2 and a.size and b.ndim <= 2 and b.size and scipy is not None:
        return scipy.solve_triangular(a, b, lower=not upper, check_finite=False)  # type: ignore[no-any-return]
    return solve(numpy.triu(a) if upper else numpy.tril(a), b)


def triangular_inverse(a: Matrix, upper: bool) -> Matrix:
    return solve_triangular(a, numpy.broadcast_to(numpy.identity(a.shape[-1], a.dtype), a.shape), upper)


def lu_factor(a: Matrix) -> tuple[Matrix, Matrix]:
    """Both factors in one matrix, and for every step the row that was exchanged with the row of its number."""
    factors = numpy.array(a, order="C")
    pivots = numpy.empty((*a.shape[:-2], min(a.shape[-2:])), numpy.uint32)
    for at in _batch(a):
        factors[at], pivots[at] = _factor(factors[at])
    return factors, pivots


def lu(a: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Rows `p`, factors L and U with ``a == L[p] @ U``."""
    factors, pivots = lu_factor(a)
    rows, inner = a.shape[-2], pivots.shape[-1]
    order = numpy.broadcast_to(numpy.arange(rows), a.shape[:-1]).copy()
    for at in _batch(a):
        for k, pivot in enumerate(pivots[at]):
            order[at][[k, pivot]] = order[at][[pivot, k]]
    lower = numpy.tril(factors[..., :inner], -1) + numpy.eye(rows, inner, dtype=a.dtype)
    return numpy.argsort(order, -1).astype(numpy.uint32), lower, numpy.triu(factors[..., :inner, :])


def _batch(a: Matrix) -> Iterator[tuple[int, ...]]:
    """Index of every matrix."""
    return numpy.ndindex(a.shape[:-2])


def _factor(a: Matrix) -> tuple[Matrix, Matrix]:
    """LU factors of one matrix with partial pivoting."""
    scipy = _scipy()
    if scipy is not None and a.size:
        (getrf,) = scipy.get_lapack_funcs(("getrf",), (a,))
        factors, pivots, _ = getrf(a)
        return factors, pivots
    return _factor_in_numpy(a.copy())


def _factor_in_numpy(a: Matrix) -> tuple[Matrix, Matrix]:
    pivots = numpy.arange(min(a.shape))
    for k in range(pivots.size):
        pivots[k] = k + numpy.argmax(numpy.abs(a[k:, k]))
        a[[k, pivots[k]]] = a[[pivots[k], k]]
        if a[k, k] != 0:
            a[k + 1 :, k] /= a[k, k]
            a[k + 1 :, k + 1 :] -= numpy.outer(a[k + 1 :, k], a[k, k + 1 :])
    return a, pivots


def _scipy() -> ModuleType | None:
    """scipy.linalg, if it is installed."""
    try:
        import scipy.linalg
    except ImportError:
        return None
    return scipy.linalg  # type: ignore[no-any-return]
