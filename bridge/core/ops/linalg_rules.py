"""Pullbacks of `bridge.linalg`: `(g, y, *operands, **parameters) -> tuple of arrays`, as declare.py describes them.

The gradient of a function of Hermitian matrices (cholesky, eigh) is Hermitian: half of it for either triangle. Columns
of factors (eigh, eig, svd) are free in their phase; a gradient is meant for losses that do not depend on it.
Source: M. Giles, "An extended collection of matrix derivative results for forward and reverse mode AD" (2008);
J. Townsend, "Differentiating the singular value decomposition" (2016); for complex ones: S. Wan and S. Zhang,
"Automatic differentiation for complex valued SVD" (2019).
"""

from __future__ import annotations

from typing import Any

from bridge.core._native import array
from bridge.core.dtypes import COMPLEX, bool_
from bridge.core.errors import BridgeError, message
from bridge.core.ops.arithmetic import conjugate, imag, real
from bridge.core.ops.compare import where
from bridge.core.ops.contract import matmul
from bridge.core.ops.create import eye, tril, triu
from bridge.core.ops.declare import named
from bridge.core.ops.shape import diagonal, expand_dims, reshape, swapaxes, unbroadcast

Gradients = tuple[array, ...]


def inv(g: array, y: array, a: array) -> Gradients:
    adjoint = hermitian(y)
    return (-matmul(matmul(adjoint, g), adjoint),)


def tri_inv(g: array, y: array, a: array, upper: bool) -> Gradients:
    return (_triangle(inv(g, y, a)[0], upper),)


def pinv(g: array, y: array, a: array, rtol: Any) -> Gradients:
    p, ph, gh = y, hermitian(y), hermitian(g)
    beside = gh - matmul(matmul(a, p), gh)  # (1 - a p) g^H
    behind = gh - matmul(gh, matmul(p, a))
    return (matmul(matmul(beside, p), ph) + matmul(matmul(ph, p), behind) - matmul(matmul(ph, g), ph),)


def solve(g: array, y: array, a: array, b: array) -> Gradients:
    to_b = named("solve")(hermitian(a), g) if b.ndim > 1 else _columns(named("solve"), hermitian(a), g)
    return _systems(to_b, y, a, b)


def solve_triangular(g: array, y: array, a: array, b: array, upper: bool) -> Gradients:
    def backwards(left: array, right: array) -> array:
        return named("solve_triangular")(left, right, upper=not upper)

    to_b = backwards(hermitian(a), g) if b.ndim > 1 else _columns(backwards, hermitian(a), g)
    to_a, to_b = _systems(to_b, y, a, b)
    return _triangle(to_a, upper), to_b


def det(g: array, y: array, a: array) -> Gradients:
    return (_matrix(g * conjugate(y)) * hermitian(named("inv")(a)),)


def slogdet(g: Gradients, y: Gradients, a: array) -> Gradients:
    to_sign, to_log = g
    scale: array = to_log
    if a.dtype in COMPLEX:
        scale = to_log - 1j * imag(conjugate(to_sign) * y[0])
    return (_matrix(scale) * hermitian(named("inv")(a)),)


def cholesky(g: array, y: array, a: array, upper: bool) -> Gradients:
    lower, to_lower = (hermitian(y), hermitian(g)) if upper else (y, g)
    adjoint = hermitian(lower)
    half = _lower_half(matmul(adjoint, to_lower))
    middle = _solve_upper(adjoint, hermitian(_solve_upper(adjoint, half)))
    return (_hermitian_part(middle),)


def eigh(g: Gradients, y: Gradients, a: array, UPLO: str) -> Gradients:
    (to_values, to_vectors), (values, vectors) = g, y
    inner = _reciprocal_differences(values) * matmul(hermitian(vectors), to_vectors) + _diagonal(to_values)
    return (_hermitian_part(matmul(matmul(vectors, inner), hermitian(vectors))),)


def eigvalsh(g: array, y: array, a: array, UPLO: str) -> Gradients:
    _, vectors = named("eigh")(a, UPLO)
    return (matmul(vectors * expand_dims(g, -2), hermitian(vectors)),)


def eig(g: Gradients, y: Gradients, a: array) -> Gradients:
    (to_values, to_vectors), (values, vectors) = g, y
    adjoint = hermitian(vectors)
    change = matmul(adjoint, to_vectors)
    along = matmul(adjoint, vectors) * expand_dims(real(_diagonal_of(change)), -2)
    inner = conjugate(_reciprocal_differences(values)) * (change - along) + _diagonal(to_values)
    return (_as_operand(named("solve")(adjoint, matmul(inner, adjoint)), a),)


def eigvals(g: array, y: array, a: array) -> Gradients:
    _, vectors = named("eig")(a)
    adjoint = hermitian(vectors)
    return (_as_operand(named("solve")(adjoint, expand_dims(g, -1) * adjoint), a),)


def svd(g: Any, y: Any, a: array, compute_uv: bool, full_matrices: bool) -> Gradients:
    rows, columns = a.shape[-2:]
    if not compute_uv:
        u, _, vh = named("svd")(a, True, full_matrices=False)
        return (matmul(u * expand_dims(g, -2), vh),)
    if full_matrices and rows != columns:
        raise _no_rule("svd", a, "full_matrices=False")
    (to_u, to_s, to_vh), (u, s, vh) = g, y
    v, to_v = hermitian(vh), hermitian(to_vh)
    uh = hermitian(u)
    row, column = expand_dims(s, -2), expand_dims(s, -1)
    between = _reciprocal_differences(s * s)
    from_u, from_v = matmul(uh, to_u), matmul(vh, to_v)
    left, right = between * from_u, between * from_v
    inner = (left + hermitian(left)) * row + column * (right + hermitian(right)) + _diagonal(to_s)
    if a.dtype in COMPLEX:
        inner = inner + _diagonal(1j * imag(_diagonal_of(from_u)) / s)
    total = matmul(matmul(u, inner), vh)
    if rows > columns:
        total = total + matmul((to_u - matmul(u, from_u)) / row, vh)
    if columns > rows:
        total = total + matmul(u, hermitian((to_v - matmul(v, from_v)) / row))
    return (total,)


def qr(g: Gradients, y: Gradients, a: array, mode: str) -> Gradients:
    rows, columns = a.shape[-2:]
    if rows < columns or (mode == "complete" and rows != columns):
        raise _no_rule("qr", a, "a matrix with at least as many rows as columns, and mode='reduced'")
    (to_q, to_r), (q, r) = g, y
    product = matmul(r, hermitian(to_r)) - matmul(hermitian(to_q), q)
    below = tril(product, -1)
    mirrored = below + hermitian(below) + _diagonal(real(_diagonal_of(product)))
    return (hermitian(_solve_upper(r, hermitian(to_q + matmul(q, mirrored)))),)


def hermitian(a: array) -> array:
    """Conjugate transpose of the last two axes."""
    return swapaxes(conjugate(a) if a.dtype in COMPLEX else a, -1, -2)


def _systems(to_b: array, y: array, a: array, b: array) -> Gradients:
    """Gradients of both operands of a system ``a @ y == b``, from that of `b` before it is summed over the batch."""
    left, right = (to_b, y) if b.ndim > 1 else (expand_dims(to_b, -1), expand_dims(y, -1))
    to_a = -matmul(left, hermitian(right))
    return unbroadcast(to_a, a.shape), unbroadcast(to_b, b.shape)


def _columns(solve: Any, a: array, b: array) -> array:
    """Solve with every vector of `b` against its own matrix."""
    x = solve(a, expand_dims(b, -1))
    return reshape(x, x.shape[:-1])


def _solve_upper(a: array, b: array) -> array:
    x: array = named("solve_triangular")(a, b, upper=True)
    return x


def _triangle(a: array, upper: bool) -> array:
    return triu(a) if upper else tril(a)


def _lower_half(a: array) -> array:
    """The lower triangle with half the diagonal."""
    return tril(a) - _diagonal(_diagonal_of(a)) * 0.5


def _hermitian_part(a: array) -> array:
    return (a + hermitian(a)) * 0.5


def _matrix(a: array) -> array:
    """A number for every matrix, as a matrix that broadcasts."""
    return reshape(a, (*a.shape, 1, 1))


def _diagonal(values: array) -> array:
    return where(eye(values.shape[-1], dtype=bool_), expand_dims(values, -1), 0)


def _diagonal_of(a: array) -> array:
    return diagonal(a, 0, -2, -1)


def _reciprocal_differences(values: array) -> array:
    """``1 / (values[j] - values[i])`` at [i, j]; 0 where they are equal, as on the diagonal."""
    apart = expand_dims(values, -2) - expand_dims(values, -1)
    equal = apart == 0
    return where(equal, 0, 1 / where(equal, 1, apart))


def _as_operand(g: array, a: array) -> array:
    """The gradient of a real operand is real."""
    return g if a.dtype in COMPLEX else real(g)


def _no_rule(name: str, a: array, want: str) -> BridgeError:
    got = f"{a.dtype.name}[{', '.join(map(str, a.shape))}]"
    return BridgeError(message(f"bridge.linalg.{name}", "this form has no derivative.", got=got, want=want))
