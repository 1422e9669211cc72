"""Contractions: matrix products and what is spelled with them."""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

import math
from collections.abc import Sequence

from bridge.core._native import Dtype, array, result_type
from bridge.core.dtypes import bfloat16, bool_, float16, float32
from bridge.core.errors import message
from bridge.core.ops.arithmetic import add, conjugate, multiply
from bridge.core.ops.compare import logical_and
from bridge.core.ops.declare import structured
from bridge.core.ops.shape import (
    as_array,
    diagonal,
    expand_dims,
    flatten,
    moveaxis,
    normalize_axes,
    reshape,
    squeeze,
    swapaxes,
    transpose,
    unbroadcast,
)
from bridge.core.ops.types import Operand, Stream


@structured(
    transpose=(lambda g, a, b: _to_left(g, a, b), lambda g, a, b: _to_right(g, a, b)),
    batching=lambda size, batched, a, b: _batched(batched, a, b),
)
def matmul(a: array, b: array, /, *, stream: Stream = None) -> array:
    """Matrix product over the last two axes; the others broadcast.

    A vector counts as a row on the left and as a column on the right, and its axis is gone from the result.
    float16 and bfloat16 products are summed in float32 and rounded once. Integers are multiplied exactly, modulo their
    width.

    Raises:
        ValueError: an operand is 0-d, or the contracted extents differ.
    """


def _matrices(g: array, a: array, b: array) -> tuple[array, array, array]:
    """The same product with both vectors spelled as matrices."""
    if b.ndim == 1:
        g, b = expand_dims(g, -1), expand_dims(b, -1)
    if a.ndim == 1:
        g, a = expand_dims(g, -2), expand_dims(a, 0)
    return g, a, b


def _to_left(g: array, a: array, b: array) -> array:
    g, left, right = _matrices(g, a, b)
    return reshape(unbroadcast(matmul(g, swapaxes(right, -1, -2)), left.shape), a.shape)


def _to_right(g: array, a: array, b: array) -> array:
    g, left, right = _matrices(g, a, b)
    return reshape(unbroadcast(matmul(swapaxes(left, -1, -2), g), right.shape), b.shape)


def _batched(batched: Sequence[bool], a: array, b: array) -> array:
    """The product with the batch axis as the outermost of the broadcast axes."""
    has_a, has_b = batched
    row, column = a.ndim - has_a == 1, b.ndim - has_b == 1
    a = expand_dims(a, -2) if row else a
    b = expand_dims(b, -1) if column else b
    depth = max(a.ndim - has_a, b.ndim - has_b)
    a = reshape(a, (a.shape[0], *(1,) * (depth - a.ndim + 1), *a.shape[1:])) if has_a else a
    b = reshape(b, (b.shape[0], *(1,) * (depth - b.ndim + 1), *b.shape[1:])) if has_b else b
    product = matmul(a, b)
    gone = [axis for axis, is_gone in ((-2, row), (-1, column)) if is_gone]
    return squeeze(product, gone) if gone else product


def addmm(c: Operand, a: array, b: array, /, alpha: float = 1.0, beta: float = 1.0, *, stream: Stream = None) -> array:
    """``beta * c + alpha * (a @ b)``.

    Raises:
        ValueError: `a` and `b` cannot be multiplied, or `c` does not broadcast to their product.
    """
    product = matmul(a, b, stream=stream)
    c = as_array(c)
    if c.ndim > product.ndim or any(
        have not in (1, want) for have, want in zip(c.shape[::-1], product.shape[::-1], strict=False)
    ):
        raise ValueError(
            message("bridge.addmm", "c does not broadcast to the product", got=f"c {c.shape}, product {product.shape}")
        )
    if alpha != 1:
        product = multiply(product, alpha)
    return add(multiply(c, beta) if beta != 1 else c, product, stream=stream)


def outer(a: array, b: array, /, *, stream: Stream = None) -> array:
    """Products of every element of `a` with every element of `b`, both flattened: shape (a.size, b.size)."""
    a, b = as_array(a), as_array(b)
    return multiply(reshape(a, (-1, 1)) if a.size else reshape(a, (0, 1)), flatten(b), stream=stream)


def inner(a: array, b: array, /, *, stream: Stream = None) -> array:
    """Sums of products over the last axis of both: shape ``a.shape[:-1] + b.shape[:-1]``."""
    a, b = as_array(a), as_array(b)
    if a.ndim == 0 or b.ndim == 0:
        return multiply(a, b, stream=stream)
    return tensordot(a, b, ([-1], [-1]), stream=stream)


def vecdot(a: array, b: array, /, *, axis: int = -1, stream: Stream = None) -> array:
    """Dot product along one axis, the first operand conjugated; the other axes broadcast.

    The dtype is the promoted one of the operands; halves are multiplied and summed in float32.

    Raises:
        ValueError: an operand is 0-d, or the extents of the axis differ.
        AxisError: an operand has no such axis.
    """
    a, b = as_array(a), as_array(b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(message("bridge.vecdot", "a 0-d operand has no axis", got=f"shapes {a.shape} and {b.shape}"))
    dtype = result_type(a, b)
    a, b = (moveaxis(one, axis, -1) for one in (a, b))
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(
            message("bridge.vecdot", f"the extents of axis {axis} differ", got=f"{a.shape[-1]} and {b.shape[-1]}")
        )
    if dtype in (float16, bfloat16):
        a, b = a.astype(float32), b.astype(float32)
    if dtype is bool_:
        return logical_and(a, b).any(-1)
    return multiply(conjugate(a), b, stream=stream).sum(-1).astype(dtype)


def tensordot(a: array, b: array, /, axes: int | Sequence[int | Sequence[int]] = 2, *, stream: Stream = None) -> array:
    """Sum of products over pairs of axes.

    Args:
        axes: a number n: the last n axes of `a` with the first n of `b`; or the axes of `a` and those of `b`.

    Returns:
        The axes of `a` that are left, then those of `b`.

    Raises:
        ValueError: the axes do not pair up, or two paired extents differ.
        AxisError: an operand has no such axis.
    """
    a, b = as_array(a), as_array(b)
    pairs_a, pairs_b = _pairs(a, b, axes)
    extents_a, extents_b = [a.shape[k] for k in pairs_a], [b.shape[k] for k in pairs_b]
    if extents_a != extents_b:
        raise _no_pairs("the contracted extents differ", f"{extents_a} of the first, {extents_b} of the second")
    free_a = [k for k in range(a.ndim) if k not in pairs_a]
    free_b = [k for k in range(b.ndim) if k not in pairs_b]
    rows, columns = [a.shape[k] for k in free_a], [b.shape[k] for k in free_b]
    common = math.prod(extents_a)
    left = reshape(transpose(a, free_a + pairs_a), (math.prod(rows), common))
    right = reshape(transpose(b, pairs_b + free_b), (common, math.prod(columns)))
    return reshape(matmul(left, right, stream=stream), (*rows, *columns))


def _pairs(a: array, b: array, axes: int | Sequence[int | Sequence[int]]) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise _no_pairs("the operands have not so many axes", f"axes={axes}, shapes {a.shape} and {b.shape}")
        return list(range(a.ndim - axes, a.ndim)), list(range(axes))
    if len(axes) != 2:
        raise _no_pairs("axes are a number, or two lists of axes", f"{len(axes)} lists")
    of_a, of_b = (list(normalize_axes(one, pairs, "tensordot")) for one, pairs in zip((a, b), axes, strict=True))
    if len(of_a) != len(of_b) or len(set(of_a)) < len(of_a) or len(set(of_b)) < len(of_b):
        raise _no_pairs("the axes do not pair up", f"{of_a} of the first, {of_b} of the second")
    return of_a, of_b


def _no_pairs(problem: str, got: str) -> ValueError:
    return ValueError(message("bridge.tensordot", problem, got=got))


def trace(
    a: array,
    /,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: Dtype | None = None,
    *,
    stream: Stream = None,
) -> array:
    """Sum of the diagonals of the planes of two axes, in `dtype`, or in the dtype that `sum` gives."""
    line = diagonal(a, offset, axis1, axis2, stream=stream)
    return line.sum(-1) if dtype is None else line.astype(dtype).sum(-1).astype(dtype)


def kron(a: array, b: array, *, stream: Stream = None) -> array:
    """Kronecker product: every element of `a` times the whole of `b`, in blocks. The smaller one gets axes in front."""
    a, b = as_array(a), as_array(b)
    ndim = max(a.ndim, b.ndim)
    left, right = (1,) * (ndim - a.ndim) + a.shape, (1,) * (ndim - b.ndim) + b.shape
    blocks = multiply(
        reshape(a, [extent for one in left for extent in (one, 1)]),
        reshape(b, [extent for one in right for extent in (1, one)]),
        stream=stream,
    )
    return reshape(blocks, [rows * inner for rows, inner in zip(left, right, strict=True)])
