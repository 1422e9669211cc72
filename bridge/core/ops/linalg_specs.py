"""Dtypes and shapes of the results of `bridge.linalg`, told from those of the operands, and the errors of those that
do not fit."""

from __future__ import annotations

from bridge.core._native import array
from bridge.core.dtypes import complex64, complex128, float32, float64, uint32
from bridge.core.errors import message
from bridge.core.ops.host import Spec, Specs, describe
from bridge.core.ops.shape import broadcast_shapes

REAL_OF = {complex64: float32, complex128: float64}
COMPLEX_OF = {float32: complex64, float64: complex128}


def matrices(name: str, a: array) -> Spec:
    if a.ndim < 2:
        raise ValueError(
            message(f"bridge.linalg.{name}", "matrices are wanted.", got=describe(a), want="two axes or more")
        )
    return a.dtype, a.shape


def square(name: str, a: array) -> Spec:
    matrices(name, a)
    if a.shape[-1] != a.shape[-2]:
        raise ValueError(
            message(
                f"bridge.linalg.{name}",
                "square matrices are wanted.",
                got=describe(a),
                want="the same extent on the last two axes",
            )
        )
    return a.dtype, a.shape


def turned(spec: Spec) -> Spec:
    dtype, shape = spec
    return dtype, (*shape[:-2], shape[-1], shape[-2])


def vector(spec: Spec) -> Spec:
    return spec[0], spec[1][:-1]


def real_of(spec: Spec) -> Spec:
    return REAL_OF.get(spec[0], spec[0]), spec[1]


def complex_of(spec: Spec) -> Spec:
    return COMPLEX_OF.get(spec[0], spec[0]), spec[1]


def system(name: str, a: array, b: array) -> Spec:
    """Shape of the solution. `a` is square and has as many rows as `b`."""
    dtype, shape = square(name, a)
    rows = b.shape[0 if b.ndim == 1 else -2] if b.ndim else None
    got = f"{describe(a)} and {describe(b)}"
    tag = f"bridge.linalg.{name}"
    if rows != shape[-1]:
        want = f"a vector of {shape[-1]}, or matrices of {shape[-1]} rows, on the right"
        fix = "b[..., None] for a batch of vectors" if b.ndim > 1 and b.shape[-1] == shape[-1] else None
        raise ValueError(message(tag, "the right side does not fit the matrix.", got=got, want=want, fix=fix))
    if b.ndim == 1:
        return dtype, shape[:-1]
    try:
        batch = broadcast_shapes(shape[:-2], b.shape[:-2])
    except ValueError:
        raise ValueError(message(tag, "the batch axes cannot be broadcast together.", got=got)) from None
    return dtype, (*batch, *b.shape[-2:])


def qr(a: array, mode: str) -> Specs:
    dtype, (*batch, rows, columns) = matrices("qr", a)
    if mode not in ("reduced", "complete"):
        raise ValueError(message("bridge.linalg.qr", f"there is no mode {mode!r}.", want="'reduced' or 'complete'"))
    inner = rows if mode == "complete" or rows < columns else columns
    return [(dtype, (*batch, rows, inner)), (dtype, (*batch, inner, columns))]


def svd(a: array, compute_uv: bool, full_matrices: bool) -> Specs:
    dtype, (*batch, rows, columns) = matrices("svd", a)
    inner = rows if rows < columns else columns
    values = real_of((dtype, (*batch, inner)))
    if not compute_uv:
        return values
    left, right = (rows, columns) if full_matrices else (inner, inner)
    return [(dtype, (*batch, rows, left)), values, (dtype, (*batch, right, columns))]


def lu(a: array) -> Specs:
    dtype, (*batch, rows, columns) = matrices("lu", a)
    inner = rows if rows < columns else columns
    return [(uint32, (*batch, rows)), (dtype, (*batch, rows, inner)), (dtype, (*batch, inner, columns))]


def lu_factor(a: array) -> Specs:
    dtype, (*batch, rows, columns) = matrices("lu_factor", a)
    return [(dtype, a.shape), (uint32, (*batch, rows if rows < columns else columns))]


def eigh(a: array, UPLO: str) -> Specs:
    return [eigvalsh(a, UPLO), (a.dtype, a.shape)]


def eigvalsh(a: array, UPLO: str) -> Spec:
    if UPLO not in ("L", "U"):
        raise ValueError(message("bridge.linalg.eigh", f"there is no triangle {UPLO!r}.", want="UPLO='L' or UPLO='U'"))
    return real_of(vector(square("eigh", a)))
