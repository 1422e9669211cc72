"""Matrix products of chosen parts (masked blocks, gathered matrices, segments), and the Walsh-Hadamard transform."""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from bridge.core._native import array
from bridge.core.dtypes import INEXACT, INTEGER, bool_, float32, int64
from bridge.core.errors import DTypeError, message
from bridge.core.held import check_computed
from bridge.core.ops.arithmetic import multiply
from bridge.core.ops.compare import equal, greater_equal, less, logical_and, where
from bridge.core.ops.contract import matmul
from bridge.core.ops.create import arange
from bridge.core.ops.declare import structured
from bridge.core.ops.reduce import sum as sum_of
from bridge.core.ops.shape import (
    as_array,
    broadcast_arrays,
    broadcast_to,
    describe,
    expand_dims,
    flatten,
    reshape,
    squeeze,
    swapaxes,
    with_batch,
)
from bridge.core.ops.types import Stream

# Masked blocks


def block_masked_mm(
    a: array,
    b: array,
    /,
    block_size: int = 64,
    mask_out: array | None = None,
    mask_lhs: array | None = None,
    mask_rhs: array | None = None,
    *,
    stream: Stream = None,
) -> array:
    """Matrix product in which masks have a say about the blocks of the operands and of the result.

    A bool mask leaves the blocks where it is True and makes the others zero; any other mask multiplies each block with
    its number.

    Args:
        a, b: (..., M, K) and (..., K, N), or vectors as in `matmul`.
        block_size: rows and columns of a block; the last ones may be smaller.
        mask_out, mask_lhs, mask_rhs: for the result, `a` and `b`: one entry for each block, behind axes that broadcast.

    Raises:
        ValueError: block_size is not positive, or a mask does not broadcast to the blocks.
    """
    if block_size < 1:
        raise ValueError(message("bridge.block_masked_mm", "block_size must be positive", got=str(block_size)))
    a, b = as_array(a), as_array(b)
    row, column = a.ndim == 1, b.ndim == 1
    left = _masked("mask_lhs", expand_dims(a, 0) if row else a, mask_lhs, block_size)
    right = _masked("mask_rhs", expand_dims(b, 1) if column else b, mask_rhs, block_size)
    out = _masked("mask_out", matmul(left, right, stream=stream), mask_out, block_size)
    gone = [axis for axis, is_gone in ((-2, row), (-1, column)) if is_gone]
    return squeeze(out, gone) if gone else out


def _masked(name: str, a: array, mask: array | None, size: int) -> array:
    if mask is None or a.ndim < 2:
        return a
    rows, columns = a.shape[-2:]
    blocks = (-(-rows // size), -(-columns // size))
    if mask.ndim < 2 or any(have not in (1, want) for have, want in zip(mask.shape[-2:], blocks, strict=True)):
        raise ValueError(
            message(
                "bridge.block_masked_mm",
                f"{name} does not broadcast to the blocks",
                got=f"{name} {describe(mask)}, blocks of {size} in {describe(a)}",
                want=f"(..., {blocks[0]}, {blocks[1]})",
            )
        )
    front = mask.shape[:-2]
    spread = expand_dims(broadcast_to(mask, (*front, *blocks)), (-3, -1))
    spread = reshape(
        broadcast_to(spread, (*front, blocks[0], size, blocks[1], size)),
        (*front, blocks[0] * size, blocks[1] * size),
    )[..., :rows, :columns]
    return where(spread, a, 0) if mask.dtype is bool_ else multiply(a, spread.astype(a.dtype))


# Gathered matrices


def gather_mm(
    a: array,
    b: array,
    /,
    lhs_indices: array | None = None,
    rhs_indices: array | None = None,
    *,
    sorted_indices: bool = False,
    stream: Stream = None,
) -> array:
    """Products of chosen matrices of two batches, multiplied where they are.

    Args:
        a, b: (..., M, K) and (..., K, N); vectors count as a row and as a column, as in `matmul`.
        lhs_indices, rhs_indices: which matrices, by their position in the flattened batch axes; None: all of them, in
            the shape of these axes. Both broadcast, and the result has their shape in front of (M, N).
        sorted_indices: a promise that is not needed here.

    Raises:
        ValueError: shapes do not fit.
        DTypeError: the indices are no integers.
        IndexError: when the values are needed, if an index is out of bounds.
    """
    a, b = as_array(a), as_array(b)
    row, column = a.ndim == 1, b.ndim == 1
    a, b = expand_dims(a, 0) if row else a, expand_dims(b, 1) if column else b
    left, right = _indices("lhs_indices", a, lhs_indices), _indices("rhs_indices", b, rhs_indices)
    left, right = broadcast_arrays(left, right)
    out = _gather_mm(a, b, left, right, stream=stream)
    gone = [axis for axis, is_gone in ((-2, row), (-1, column)) if is_gone]
    return squeeze(out, gone) if gone else out


def _indices(name: str, a: array, indices: array | None) -> array:
    if indices is None:
        front = a.shape[:-2]
        return reshape(arange(math.prod(front), dtype=int64), front)
    indices = as_array(indices)
    if indices.dtype not in INTEGER:
        raise DTypeError(message("bridge.gather_mm", f"{name} must be integers", got=describe(indices)))
    return indices.astype(int64)


@structured(
    transpose=(
        lambda g, a, b, left, right: _to_gathered(g, a, left, right, swapaxes(b, -1, -2), True),
        lambda g, a, b, left, right: _to_gathered(g, b, right, left, swapaxes(a, -1, -2), False),
        None,
        None,
    ),
    batching=lambda size, batched, a, b, left, right: _gathered_batch(size, batched, a, b, left, right),
)
def matmul_gathered(a: array, b: array, lhs_indices: array, rhs_indices: array, /, *, stream: Stream = None) -> array:
    """The kernel of `gather_mm`: matrices, and indices of one shape. A negative index counts from the last matrix."""


_gather_mm = matmul_gathered


def _to_gathered(g: array, a: array, chosen: array, others: array, other: array, left: bool) -> array:
    """What each matrix of `a` gets: the sum over the places that chose it, as a product with ones and zeros."""
    places = arange(chosen.size, dtype=int64)
    change = reshape(g, (chosen.size, *g.shape[-2:]))
    others = flatten(others)
    parts = matmul_gathered(change, other, places, others) if left else matmul_gathered(other, change, others, places)
    count = math.prod(a.shape[:-2])
    at = equal(expand_dims(arange(count, dtype=int64), 1), _wrapped(flatten(chosen), count)).astype(g.dtype)
    return reshape(matmul(at, reshape(parts, (chosen.size, math.prod(a.shape[-2:])))), a.shape)


def _wrapped(indices: array, count: int) -> array:
    return where(less(indices, 0), indices + count, indices)


def _gathered_batch(size: int, batched: Sequence[bool], a: array, b: array, left: array, right: array) -> array:
    """The batch joins those of the matrices, and the indices count through it."""

    def moved(matrices: array, has: bool, indices: array, has_indices: bool) -> array:
        indices = with_batch(size, has_indices, indices)
        if not has:
            return indices
        count = math.prod(matrices.shape[1:-2])
        first = reshape(arange(size, dtype=int64) * count, (size, *(1,) * (indices.ndim - 1)))
        return _wrapped(indices, count) + first

    left, right = moved(a, batched[0], left, batched[2]), moved(b, batched[1], right, batched[3])
    return matmul_gathered(a, b, left, right)


# Segments


@structured(
    transpose=(
        lambda g, a, b, segments: _over_segments(matmul(g, swapaxes(b, -1, -2)), segments, -2),
        lambda g, a, b, segments: _over_segments(matmul(swapaxes(a, -1, -2), g), segments, -1),
        None,
    ),
    batching=lambda size, batched, a, b, segments: _segments_batch(batched, a, b, segments),
)
def segmented_mm(a: array, b: array, /, segments: array, *, stream: Stream = None) -> array:
    """One product for each segment of the contracted axis.

    Args:
        a, b: (M, K) and (K, N).
        segments: integers (..., 2): the first step of a segment and the one behind its last. Steps outside of the axis
            do not count; a segment that ends before it begins is empty, and its product is zero.

    Returns:
        Shape (..., M, N).

    Raises:
        ValueError: the operands are no matrices that can be multiplied, or segments are no pairs.
        DTypeError: segments are no integers.
    """


def _within(segments: array, steps: int) -> array:
    """Whether step k lies in a segment: (..., K)."""
    step = arange(steps, dtype=int64)
    ends = segments.astype(int64)
    return logical_and(greater_equal(step, ends[..., :1]), less(step, ends[..., 1:]))


def _over_segments(parts: array, segments: array, axis: int) -> array:
    """What the steps of every segment get, summed over the segments; `axis` is the one beside that of the steps."""
    within = expand_dims(_within(segments, parts.shape[-1 if axis == -2 else -2]), axis)
    return sum_of(where(within, parts, 0), list(range(parts.ndim - 2))).astype(parts.dtype)


def _segments_batch(batched: Sequence[bool], a: array, b: array, segments: array) -> array:
    """As one product: `a` once for each segment, with zeros outside of it."""
    axes = segments.ndim - batched[2] - 1
    front = (1,) * axes
    a = reshape(a, (*a.shape[: a.ndim - 2], *front, *a.shape[-2:]))
    b = reshape(b, (*b.shape[: b.ndim - 2], *front, *b.shape[-2:]))
    return matmul(where(expand_dims(_within(segments, a.shape[-1]), -2), a, 0), b)


# Walsh and Hadamard

LARGEST = 64  # a factor that one product of matrices takes at once

# First rows of the circulant blocks, four by four, of the matrices of order 20 and 28 (Williamson's construction).
CIRCULANTS = {
    20: "+---- +---- ++--+ +-++- -++++ +---- -+--+ ++--+ --++- +-++- +---- -++++ -+--+ --++- +---- +----",
    28: "+------ ++----+ +-+--+- +--++-- --++++- +------ -++--++ +-+--+- "
    "-+-++-+ +--++-- +------ --++++- -++--++ -+-++-+ ++----+ +------",
}


def hadamard_transform(a: array, scale: float | None = None, stream: Stream = None) -> array:
    """Product of the last axis with a Hadamard matrix of ones and minus ones, times `scale`.

    The matrix is Sylvester's where the length is a power of two; 12, 20 or 28 times a power of two is a Kronecker
    product with a matrix of that order, the same as MLX's. Integers and bool give float32.

    Args:
        scale: None: one over the square root of the length, which makes the matrix orthonormal.

    Raises:
        ValueError: the length is none of these.
    """
    a = as_array(a)
    check_computed("hadamard_transform", a.dtype)
    length = a.shape[-1] if a.ndim else 1
    order = next((m for m in (1, 12, 20, 28) if length and length % m == 0 and _is_power(length // m)), None)
    if order is None:
        raise ValueError(
            message(
                "bridge.hadamard_transform",
                "there is no matrix of this length here",
                got=describe(a),
                want="a last axis of 1, 12, 20 or 28 times a power of two",
            )
        )
    dtype = a.dtype if a.dtype in INEXACT else float32
    wide = float32 if dtype.size == 2 else dtype
    result = multiply(a.astype(wide), length**-0.5 if scale is None else scale, stream=stream)
    behind, front = length, a.shape[:-1]
    for factor in _factors(length, order):
        behind //= factor
        matrix = array(_hadamard(factor), wide)
        if behind > 1:
            result = matmul(matrix, reshape(result, (-1, factor, behind) if a.size else (0, factor, behind)))
        elif factor > 1:
            result = matmul(reshape(result, (*front, length // factor, factor)), matrix.T)
    return reshape(result, a.shape).astype(dtype)


def _is_power(n: int) -> bool:
    return n & (n - 1) == 0


def _factors(length: int, order: int) -> list[int]:
    """Orders of the matrices whose Kronecker product is the whole one."""
    factors, rest = [order] if order > 1 else [], length // order
    while rest > 1:
        factors.append(min(rest, LARGEST))
        rest //= factors[-1]
    return factors


@functools.lru_cache(maxsize=16)
def _hadamard(order: int) -> Any:
    """Sylvester's matrix of a power of two; of order 12 Paley's second construction over the field of 5 elements."""
    import numpy

    if order in CIRCULANTS:
        rows = [[1.0 if sign == "+" else -1.0 for sign in row] for row in CIRCULANTS[order].split()]
        blocks = [numpy.array([numpy.roll(row, k) for k in range(len(row))]) for row in rows]
        return numpy.block([blocks[k : k + 4] for k in range(0, 16, 4)])
    if order == 12:
        residues = numpy.array([[(0, 1, -1, -1, 1)[(j - i) % 5] for j in range(5)] for i in range(5)])
        conference = numpy.block([[numpy.zeros((1, 1)), numpy.ones((1, 5))], [numpy.ones((5, 1)), residues]])
        return numpy.kron(conference, [[1, 1], [1, -1]]) + numpy.kron(numpy.eye(6), [[1, -1], [-1, -1]])
    matrix: Any = numpy.ones((1, 1))
    while len(matrix) < order:
        matrix = numpy.kron(matrix, [[1, 1], [1, -1]])
    return matrix
