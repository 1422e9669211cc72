"""Linear algebra: `bridge.linalg`. Factorisations, inverses, systems, eigenvalues and norms, in NumPy and LAPACK.

Every function works on the last two axes; those in front are a batch. float32, float64, complex64 and complex128 are
accepted, and the dtype is kept. Everything is lazy: a matrix that has no inverse raises `LinAlgError` when the result
is looked at. Names and arguments are MLX's and those of the Python array API.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy

from bridge.core._native import Dtype, array
from bridge.core.dtypes import (
    COMPLEX,
    INEXACT,
    complex64,
    complex128,
    float32,
    float64,
)
from bridge.core.errors import LinAlgError, message
from bridge.core.held import check_computed
from bridge.core.ops import linalg_kernels as kernels
from bridge.core.ops import linalg_rules as rules
from bridge.core.ops import linalg_specs as specs
from bridge.core.ops import placed
from bridge.core.ops.arithmetic import abs, multiply, power, square, subtract
from bridge.core.ops.compare import greater, not_equal
from bridge.core.ops.contract import matmul, outer, tensordot, vecdot
from bridge.core.ops.contract import trace as trace_of
from bridge.core.ops.create import identity, zeros_like
from bridge.core.ops.exponential import sqrt
from bridge.core.ops.host import describe, host
from bridge.core.ops.reduce import max, min, sum
from bridge.core.ops.shape import (
    as_array,
    broadcast_to,
    expand_dims,
    matrix_transpose,
    moveaxis,
    normalize_axes,
    reshape,
    squeeze,
    stack,
)
from bridge.core.ops.shape import diagonal as diagonal_of
from bridge.core.ops.types import Axis, Stream

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_inv",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "inv",
    "lu",
    "lu_factor",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "tri_inv",
    "vecdot",
    "vector_norm",
]

LAPACK = frozenset({float32, float64, complex64, complex128})


class EigResult(NamedTuple):
    """Eigenvalues, and eigenvectors as columns; both complex."""

    eigenvalues: array
    eigenvectors: array


class EighResult(NamedTuple):
    """Eigenvalues in ascending order, and orthonormal eigenvectors as columns."""

    eigenvalues: array
    eigenvectors: array


class QRResult(NamedTuple):
    """Orthonormal columns and an upper triangle."""

    Q: array
    R: array


class SlogdetResult(NamedTuple):
    """Sign of a determinant (of a complex one a number of magnitude 1) and the logarithm of its magnitude."""

    sign: array
    logabsdet: array


class SVDResult(NamedTuple):
    """Left singular vectors as columns, singular values in descending order, right singular vectors as rows."""

    U: array
    S: array
    Vh: array


# Inverses and systems


@host("linalg", accepts=LAPACK, result=lambda a: specs.square("inv", a), kernel=numpy.linalg.inv, pullback=rules.inv)
def inv(a: array, *, stream: Stream = None) -> array:
    """Inverse of square matrices.

    Raises:
        ValueError: the matrices are not square.
        LinAlgError: when the values are needed, of a matrix that has no inverse.
    """


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a, upper: specs.square("tri_inv", a),
    kernel=kernels.triangular_inverse,
    pullback=rules.tri_inv,
)
def tri_inv(a: array, upper: bool = False, *, stream: Stream = None) -> array:
    """Inverse of triangular matrices; the other triangle is not read.

    Raises:
        LinAlgError: when the values are needed, if there is a zero on the diagonal.
    """


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a, rtol: specs.turned(specs.matrices("pinv", a)),
    kernel=lambda a, rtol: numpy.linalg.pinv(a, rcond=_relative(a.shape, a.dtype, rtol)),
    pullback=rules.pinv,
)
def pinv(a: array, *, rtol: Any = None, stream: Stream = None) -> array:
    """Pseudo-inverse after Moore and Penrose.

    Singular values below `rtol` times the largest count as zero; None: the larger extent times the dtype's epsilon.
    """


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a, b: specs.system("solve", a, b),
    kernel=kernels.solve,
    pullback=rules.solve,
    batching=lambda size, batched, a, b: _batched(solve, batched, a, b),
)
def solve(a: array, b: array, *, stream: Stream = None) -> array:
    """The x of ``a @ x == b``. `b` is one vector (1-d) or matrices; batch axes broadcast.

    Raises:
        ValueError: the shapes do not fit.
        LinAlgError: when the values are needed, if `a` has no inverse.
    """


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a, b, upper: specs.system("solve_triangular", a, b),
    kernel=kernels.solve_triangular,
    pullback=rules.solve_triangular,
    batching=lambda size, batched, a, b, upper: _batched(
        lambda left, right: solve_triangular(left, right, upper=upper), batched, a, b
    ),
)
def solve_triangular(a: array, b: array, *, upper: bool = False, stream: Stream = None) -> array:
    """The x of ``a @ x == b`` for triangular `a`, of which the other triangle is not read.

    Raises:
        LinAlgError: when the values are needed, if there is a zero on the diagonal.
    """


def cholesky_inv(a: array, upper: bool = False, *, stream: Stream = None) -> array:
    """Inverse of the matrix whose Cholesky factor `a` is: of ``a @ a^H``, or of ``a^H @ a`` for an upper one."""
    factor = tri_inv(a, upper, stream=stream)
    adjoint = rules.hermitian(factor)
    return matmul(factor, adjoint) if upper else matmul(adjoint, factor)


def matrix_power(x: array, n: int, /, *, stream: Stream = None) -> array:
    """Square matrices to a whole power; a negative one is that of the inverse, 0 gives the identity."""
    x = as_array(x)
    specs.square("matrix_power", x)
    if n == 0:
        return broadcast_to(identity(x.shape[-1], x.dtype), x.shape, stream=stream)
    base = x if n > 0 else inv(x, stream=stream)
    result, exponent = None, n if n > 0 else -n
    while exponent:
        if exponent & 1:
            result = base if result is None else matmul(result, base, stream=stream)
        exponent >>= 1
        base = matmul(base, base, stream=stream) if exponent else base
    assert result is not None
    return result


# Factorisations


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a, upper: specs.square("cholesky", a),
    kernel=lambda a, upper: _cholesky(a, upper),
    pullback=rules.cholesky,
)
def cholesky(a: array, upper: bool = False, *, stream: Stream = None) -> array:
    """Factor of Hermitian, positive definite matrices: L with ``L @ L^H == a``, or U with ``U^H @ U == a``.

    Of `a` the triangle that the factor has is read.

    Raises:
        LinAlgError: when the values are needed, of a matrix that is not positive definite.
    """


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a, mode: specs.qr(a, mode),
    kernel=numpy.linalg.qr,
    form=QRResult,
    pullback=rules.qr,
)
def qr(a: array, *, mode: str = "reduced", stream: Stream = None) -> QRResult:
    """``Q @ R == a``: orthonormal columns, and an upper triangle.

    `mode` is "reduced" (Q has as many columns as the smaller extent) or "complete" (Q is square).
    """


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a, compute_uv, full_matrices: specs.svd(a, compute_uv, full_matrices),
    kernel=lambda a, compute_uv, full_matrices: numpy.linalg.svd(a, full_matrices, compute_uv),
    form=SVDResult,
    pullback=rules.svd,
)
def svd(a: array, compute_uv: bool = True, *, full_matrices: bool = True, stream: Stream = None) -> Any:
    """Singular value decomposition ``U @ diag(S) @ Vh == a``, S in descending order; only S if not `compute_uv`.

    U and Vh are square, or with ``full_matrices=False`` have as many vectors as the smaller extent.
    """


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a: specs.lu(a),
    kernel=kernels.lu,
)
def lu(a: array, *, stream: Stream = None) -> tuple[array, array, array]:
    """P, L and U with ``a == L[P, :] @ U`` for one matrix; P holds row numbers (uint32)."""


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a: specs.lu_factor(a),
    kernel=kernels.lu_factor,
)
def lu_factor(a: array, *, stream: Stream = None) -> tuple[array, array]:
    """L and U in one matrix, and pivots: row k was exchanged with row ``pivots[k]`` (uint32, counted from 0)."""


# Eigenvalues, determinants


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a: [specs.vector(specs.complex_of(specs.square("eig", a))), specs.complex_of(specs.square("eig", a))],
    kernel=numpy.linalg.eig,
    form=EigResult,
    pullback=rules.eig,
)
def eig(a: array, *, stream: Stream = None) -> EigResult:
    """Eigenvalues and eigenvectors of square matrices, complex even where they are real.

    The eigenvector of ``eigenvalues[..., i]`` is ``eigenvectors[..., :, i]``, of length 1.
    """


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a: specs.vector(specs.complex_of(specs.square("eigvals", a))),
    kernel=numpy.linalg.eigvals,
    pullback=rules.eigvals,
)
def eigvals(a: array, *, stream: Stream = None) -> array:
    """Eigenvalues of square matrices, complex even where they are real, in no order."""


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a, UPLO: specs.eigh(a, UPLO),
    kernel=numpy.linalg.eigh,
    form=EighResult,
    pullback=rules.eigh,
)
def eigh(a: array, UPLO: str = "L", *, stream: Stream = None) -> EighResult:
    """Eigenvalues in ascending order and orthonormal eigenvectors of Hermitian matrices.

    Only the triangle that `UPLO` names ("L" or "U") is read.
    """


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a, UPLO: specs.eigvalsh(a, UPLO),
    kernel=numpy.linalg.eigvalsh,
    pullback=rules.eigvalsh,
)
def eigvalsh(a: array, UPLO: str = "L", *, stream: Stream = None) -> array:
    """Eigenvalues of Hermitian matrices in ascending order; only one triangle is read."""


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a: (a.dtype, specs.square("det", a)[1][:-2]),
    kernel=numpy.linalg.det,
    pullback=rules.det,
)
def det(a: array, *, stream: Stream = None) -> array:
    """Determinant of square matrices."""


@host(
    "linalg",
    accepts=LAPACK,
    result=lambda a: [(a.dtype, specs.square("slogdet", a)[1][:-2]), specs.real_of((a.dtype, a.shape[:-2]))],
    kernel=numpy.linalg.slogdet,
    form=SlogdetResult,
    pullback=rules.slogdet,
)
def slogdet(a: array, *, stream: Stream = None) -> SlogdetResult:
    """Sign of the determinant and logarithm of its magnitude: 0 and -inf of a singular matrix."""


def svdvals(x: array, /, *, stream: Stream = None) -> array:
    """Singular values in descending order."""
    values: array = svd(x, False, stream=stream)
    return values


def matrix_rank(x: array, /, *, rtol: Any = None, stream: Stream = None) -> array:
    """Number of singular values above `rtol` times the largest (None: larger extent times epsilon), as int32."""
    x = as_array(x)
    values = svdvals(x, stream=stream)
    if values.shape[-1] == 0:
        return sum(not_equal(values, 0), -1)
    limit = max(values, -1, True) * _relative(x.shape, numpy.dtype(values.dtype.name), rtol, values.dtype)
    return sum(greater(values, limit), -1)


# Norms


def norm(a: array, /, ord: Any = None, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array:
    """Norm of vectors (one axis) or of matrices (two axes). Integers give float32.

    Args:
        ord: None is 2 for vectors and "fro" for matrices. Vectors: a number, inf or -inf; 0 counts what is not zero.
            Matrices: "fro", "nuc", 1, -1, 2, -2, inf, -inf.
        axis: None: the axes of a 1-d or 2-d array; without `ord` the 2-norm of all elements.

    Raises:
        ValueError: there is no such norm, or too many axes.
    """
    a = as_array(a)
    if ord is None:
        return vector_norm(a, axis=axis, keepdims=keepdims, stream=stream)
    axes = normalize_axes(a, axis)
    if len(axes) == 1:
        return vector_norm(a, axis=axes[0], keepdims=keepdims, ord=ord, stream=stream)
    if len(axes) != 2:
        raise ValueError(
            message(
                "bridge.linalg.norm", "an order of norm is for one axis or two.", got=describe(a), fix="axis=(-2, -1)"
            )
        )
    return _matrix_norm("norm", a, axes, keepdims, ord, stream)


def vector_norm(
    x: array, /, *, axis: Axis = None, keepdims: bool = False, ord: Any = 2, stream: Stream = None
) -> array:
    """Norm over one axis, several axes taken as one, or all elements: ``sum(abs(x) ** ord) ** (1 / ord)``.

    inf and -inf give the largest and the smallest magnitude, 0 the number of elements that are not zero.
    """
    x = as_array(x)
    if isinstance(ord, str):
        raise ValueError(_no_norm("vector_norm", ord, "vectors", "a number, inf or -inf"))
    size, dtype = _magnitudes(x, stream)
    if ord == 2:
        total = sqrt(sum(square(size), axis, keepdims))
    elif ord in VECTOR_NORMS:
        total = VECTOR_NORMS[ord](size, axis, keepdims)
    else:
        total = power(sum(power(size, float(ord)), axis, keepdims), 1 / ord)
    return total.astype(dtype)


def matrix_norm(x: array, /, *, keepdims: bool = False, ord: Any = "fro", stream: Stream = None) -> array:
    """Norm of matrices: "fro", "nuc", 1, -1, 2, -2, inf or -inf."""
    x = as_array(x)
    specs.matrices("matrix_norm", x)
    return _matrix_norm("matrix_norm", x, (x.ndim - 2, x.ndim - 1), keepdims, ord, stream)


VECTOR_NORMS: dict[float, Callable[[array, Axis, bool], array]] = {
    math.inf: max,
    -math.inf: min,
    1: sum,
    0: lambda size, axis, keepdims: sum(not_equal(size, 0), axis, keepdims).astype(size.dtype),
}
# Of matrices in the last two axes: which of the column sums or of the singular values.
SUM_NORMS: dict[Any, tuple[int, Callable[..., array]]] = {
    1: (-2, max),
    -1: (-2, min),
    math.inf: (-1, max),
    -math.inf: (-1, min),
}
SINGULAR_NORMS: dict[Any, Callable[..., array]] = {"nuc": sum, 2: max, -2: min}


# Products


def cross(a: array, b: array, axis: int = -1, *, stream: Stream = None) -> array:
    """Cross product of vectors along one axis of size 3, or of size 2 with a third element of 0. Others broadcast.

    Raises:
        ValueError: the axis has another size.
    """
    a, b = moveaxis(a, axis, -1), moveaxis(b, axis, -1)
    for one in (a, b):
        if one.shape[-1] not in (2, 3):
            raise ValueError(
                message("bridge.linalg.cross", f"axis {axis} has to hold 2 or 3 elements.", got=describe(one))
            )
    (a0, a1, a2), (b0, b1, b2) = _components(a), _components(b)

    def minor(p: array, q: array, r: array, s: array) -> array:
        return subtract(multiply(p, q), multiply(r, s), stream=stream)

    return moveaxis(stack([minor(a1, b2, a2, b1), minor(a2, b0, a0, b2), minor(a0, b1, a1, b0)], -1), -1, axis)


def diagonal(x: array, /, *, offset: int = 0, stream: Stream = None) -> array:
    """Diagonals of matrices, as the last axis."""
    return diagonal_of(x, offset, -2, -1, stream=stream)


def trace(x: array, /, *, offset: int = 0, dtype: Dtype | None = None, stream: Stream = None) -> array:
    """Sum of the diagonals of matrices."""
    return trace_of(x, offset, -2, -1, dtype, stream=stream)


# Kernels and helpers


def _cholesky(a: Any, upper: bool) -> Any:
    """NumPy reads the lower triangle; of the adjoint it is the upper one."""
    if not upper:
        return numpy.linalg.cholesky(a)
    lower = numpy.linalg.cholesky(numpy.swapaxes(a, -1, -2).conj())
    return numpy.swapaxes(lower, -1, -2).conj()


def _relative(shape: Sequence[int], dtype: Any, rtol: Any, like: Dtype | None = None) -> Any:
    """The tolerance as NumPy's pinv takes it, or with `like` the engine; None: the larger extent times epsilon."""
    if rtol is None:
        rows, columns = shape[-2:]
        return (rows if rows > columns else columns) * float(numpy.finfo(dtype).eps)
    if isinstance(rtol, int | float):
        return rtol
    return numpy.asarray(rtol) if like is None else expand_dims(as_array(rtol), -1).astype(like)


def _batched(solver: Callable[[array, array], array], batched: Sequence[bool], a: array, b: array) -> array:
    """A system with the batch axis as the outermost of the broadcast axes."""
    has_a, has_b = batched
    vector = b.ndim - has_b == 1
    b = expand_dims(b, -1) if vector else b
    depth = a.ndim - has_a if a.ndim - has_a > b.ndim - has_b else b.ndim - has_b
    a = reshape(a, (a.shape[0], *(1,) * (depth - a.ndim + 1), *a.shape[1:])) if has_a else a
    b = reshape(b, (b.shape[0], *(1,) * (depth - b.ndim + 1), *b.shape[1:])) if has_b else b
    x = solver(a, b)
    return squeeze(x, -1) if vector else x


def _magnitudes(x: array, stream: Stream) -> tuple[array, Dtype]:
    """Magnitudes in the dtype that norms are computed in, and the dtype of the answer. Halves are summed in float32."""
    check_computed("linalg.norm", x.dtype)
    wide = x.astype(float32) if x.dtype not in INEXACT or x.dtype.size == 2 else x
    size = abs(wide, stream=stream)
    return size, x.dtype if x.dtype in INEXACT and x.dtype not in COMPLEX else size.dtype


def _matrix_norm(name: str, a: array, axes: tuple[int, ...], keepdims: bool, ord: Any, stream: Stream) -> array:
    """Norm over two axes, the first of which counts the rows."""
    if ord in ("fro", "f"):
        return vector_norm(a, axis=axes, keepdims=keepdims, stream=stream)
    a = moveaxis(moveaxis(a, axes[0], -1), axes[1] - (axes[1] > axes[0]), -1)
    if ord in SUM_NORMS:
        summed, best = SUM_NORMS[ord]
        size, dtype = _magnitudes(a, stream)
        total = best(sum(size, summed), -1).astype(dtype)
    elif ord in SINGULAR_NORMS:
        _, dtype = _magnitudes(a, stream)
        wide = a.astype(float32) if a.dtype not in LAPACK else a
        total = SINGULAR_NORMS[ord](svdvals(wide, stream=stream), -1).astype(dtype)
    else:
        raise ValueError(_no_norm(name, ord, "matrices", "'fro', 'nuc', 1, -1, 2, -2, inf or -inf"))
    return expand_dims(total, sorted(axes)) if keepdims else total


def _no_norm(name: str, ord: Any, what: str, want: str) -> str:
    return message(f"bridge.linalg.{name}", f"there is no norm of {what} of order {ord!r}.", want=want)


def _components(a: array) -> tuple[array, array, array]:
    """The three elements along the last axis; a third that is missing is 0."""
    first, second = a[..., 0], a[..., 1]
    return first, second, a[..., 2] if a.shape[-1] == 3 else zeros_like(first)


placed.replace([sys.modules[__name__]])
