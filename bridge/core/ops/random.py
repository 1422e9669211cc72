"""Random numbers from keys: `bridge.random`.

Every function takes a `key` and gives the same numbers for the same key, shape and dtype, on any number of threads and
any processor; truncated_normal and multivariate_normal to rounding, as they call `erf` and multiply matrices. Without a
key it takes the next one of the process's state, which `seed` sets; threads never get the same one. A child of a fork
goes on with the parent's state: give it a seed of its own.

Keys, splits, bits and numbers of 32 bits are those of MLX. Numbers of 64 bits begin with the same 32. float16 and
bfloat16 are rounded from float32. Derivatives flow through bounds, means and scales; a draw itself has none.
"""

from __future__ import annotations

import math
import operator
import secrets
import sys
from collections.abc import Sequence
from ctypes import c_float
from typing import Any

from bridge.core._native import Dtype, array, next_key
from bridge.core.dtypes import (
    BOOL,
    COMPLEX,
    FLOATING,
    INTEGER,
    as_dtype,
    bfloat16,
    bool_,
    complex128,
    float16,
    float32,
    float64,
    int32,
    int64,
    uint32,
    uint64,
)
from bridge.core.errors import DTypeError, message
from bridge.core.ops import placed
from bridge.core.ops.arithmetic import ceil, maximum, minimum
from bridge.core.ops.bitcast import view
from bridge.core.ops.compare import greater_equal, less, less_equal, where
from bridge.core.ops.contract import matmul
from bridge.core.ops.create import full
from bridge.core.ops.exponential import erf, erfinv, sqrt
from bridge.core.ops.random_kernels import random_integers, random_permutation, random_sample
from bridge.core.ops.reduce import argmax
from bridge.core.ops.shape import as_array, broadcast_shapes, expand_dims, normalize_axes, squeeze, swapaxes
from bridge.core.ops.types import Operand, Stream

__all__ = [
    "bernoulli",
    "categorical",
    "gumbel",
    "key",
    "laplace",
    "multivariate_normal",
    "normal",
    "permutation",
    "randint",
    "seed",
    "split",
    "state",
    "truncated_normal",
    "uniform",
]

# The largest number below one of the dtypes that are rounded from float32.
BELOW_ONE = {float16: 1 - 2**-11, bfloat16: 1 - 2**-8}


def key(seed: int) -> array:
    """The key of a seed, which is an integer of 64 bits: uint32[2], the high half first.

    Raises:
        ValueError: the seed is negative or has more than 64 bits.
    """
    number = operator.index(seed)
    if not 0 <= number < 2**64:
        raise ValueError(message("bridge.random.key", "a seed is an integer from 0 to 2**64 - 1"))
    return array([number >> 32, number & 0xFFFFFFFF], dtype=uint32)


# The key that the next draw without a key starts from, as the only item: the list stays the same one.
state: list[array] = [key(secrets.randbits(64))]


def seed(seed: int) -> None:
    """Start the process's state from a seed: the same calls give the same numbers from then on."""
    state[0] = key(seed)


def split(key: array, num: int = 2, stream: Stream = None) -> array:
    """`num` new keys, one a row, independent of each other and of `key`, which should not be used again.

    Raises:
        ValueError: `key` is no key, or `num` is negative.
    """
    return random_sample(_one_key(key), (num, 2), uint32, "bits", stream=stream)


def uniform(
    low: Operand = 0,
    high: Operand = 1,
    shape: Sequence[int] = (),
    dtype: Dtype | None = float32,
    key: array | None = None,
    stream: Stream = None,
) -> array:
    """Numbers spread evenly over [low, high): `high` itself is never drawn, in no dtype.

    Args:
        low, high: numbers, or arrays that broadcast to `shape`. If `low` is the larger one, (high, low] is meant.
        dtype: a real floating dtype.

    Raises:
        DTypeError: the dtype is another.
        ValueError: the bounds do not broadcast to `shape`.
    """
    wanted = _floating("uniform", dtype)
    unit = _draw("uniform", shape, wanted, key, stream)
    if isinstance(low, array) or isinstance(high, array):
        return _between_arrays(as_array(low), as_array(high), unit, wanted)
    if low == 0 and high == 1:
        return minimum(unit, BELOW_ONE[wanted]).astype(wanted) if wanted in BELOW_ONE else unit
    return _between(float(low), float(high), unit, wanted)  # type: ignore[arg-type]


def _between(low: float, high: float, unit: array, dtype: Dtype) -> array:
    """`unit`, from [0, 1), moved to [low, high). What is rounded to `high` becomes `low`."""
    nearest = float if dtype is float64 else _nearest_float32
    low, high = nearest(low), nearest(high)
    span = nearest(high - low)
    moved = (unit * span + low if math.isfinite(span) else unit * high + (1 - unit) * low).astype(dtype)
    if low == high:
        return moved
    return where((greater_equal if low < high else less_equal)(moved, high), low, moved)


def _between_arrays(low: array, high: array, unit: array, dtype: Dtype) -> array:
    _fit("uniform", unit.shape, low.shape, high.shape)
    low, high = low.astype(dtype), high.astype(dtype)
    base = low.astype(unit.dtype)
    moved = (unit * (high.astype(unit.dtype) - base) + base).astype(dtype)
    return where(where(low < high, moved >= high, moved <= high), low, moved)


def _nearest_float32(number: float) -> float:
    return c_float(number).value


def normal(
    shape: Sequence[int] = (),
    dtype: Dtype | None = float32,
    loc: Operand | None = None,
    scale: Operand | None = None,
    key: array | None = None,
    stream: Stream = None,
) -> array:
    """Numbers of the normal distribution with mean `loc` (0) and standard deviation `scale` (1).

    Of a complex dtype, real and imaginary part have half of the variance each.

    Raises:
        DTypeError: the dtype is neither floating nor complex.
    """
    wanted = float32 if dtype is None else as_dtype(dtype)
    if wanted in COMPLEX:
        part = float64 if wanted is complex128 else float32
        parts = _standard("normal", (*shape, 2), part, key, stream) * math.sqrt(0.5)
        drawn = squeeze(view(parts, wanted), -1)
    else:
        drawn = _standard("normal", shape, _floating("normal", wanted), key, stream)
    return _placed(drawn, loc, scale, wanted)


def gumbel(
    shape: Sequence[int] = (), dtype: Dtype | None = float32, key: array | None = None, stream: Stream = None
) -> array:
    """Numbers of the standard Gumbel distribution, whose distribution function is exp(-exp(-x)).

    Raises:
        DTypeError: the dtype is not real and floating.
    """
    wanted = _floating("gumbel", dtype)
    return _standard("gumbel", shape, wanted, key, stream).astype(wanted)


def laplace(
    shape: Sequence[int] = (),
    dtype: Dtype | None = float32,
    loc: Operand = 0.0,
    scale: Operand = 1.0,
    key: array | None = None,
    stream: Stream = None,
) -> array:
    """Numbers of the Laplace distribution around `loc`, whose density falls by e every `scale`.

    Raises:
        DTypeError: the dtype is not real and floating.
    """
    wanted = _floating("laplace", dtype)
    return _placed(_standard("laplace", shape, wanted, key, stream), loc, scale, wanted)


def _placed(drawn: array, loc: Operand | None, scale: Operand | None, dtype: Dtype) -> array:
    """loc + scale * drawn, rounded once."""
    if scale is not None and not _is_number(scale, 1):
        drawn = drawn * _as(scale, drawn.dtype)
    if loc is not None and not _is_number(loc, 0):
        drawn = drawn + _as(loc, drawn.dtype)
    return drawn.astype(dtype)


def truncated_normal(
    lower: Operand,
    upper: Operand,
    shape: Sequence[int] | None = None,
    dtype: Dtype | None = float32,
    key: array | None = None,
    stream: Stream = None,
) -> array:
    """Numbers of the standard normal distribution, given that they lie between `lower` and `upper`.

    Args:
        lower, upper: numbers, or arrays that broadcast to `shape`; None takes the shape of the two. Intervals that lie
            beyond 8 on one side have no digits left.

    Raises:
        DTypeError: the dtype is not real and floating.
        ValueError: the bounds do not broadcast to `shape`.
    """
    wanted = _floating("truncated_normal", dtype)
    low, high = _as(lower, float64), _as(upper, float64)
    shapes = low.shape, high.shape
    wide = broadcast_shapes(*shapes) if shape is None else _fit("truncated_normal", shape, *shapes)
    unit = _draw("truncated_normal", wide, wanted, key, stream).astype(float64)
    below, above = erf(low * math.sqrt(0.5)), erf(high * math.sqrt(0.5))
    drawn = erfinv(below + (above - below) * unit) * math.sqrt(2)
    return maximum(minimum(drawn, high), low).astype(wanted)


def randint(
    low: Operand,
    high: Operand,
    shape: Sequence[int] = (),
    dtype: Dtype | None = int32,
    key: array | None = None,
    stream: Stream = None,
) -> array:
    """Integers from `low`, included, to `high`, excluded, each as likely as the others.

    Where no integer lies between the bounds, the result is `low`, as in MLX.

    Args:
        low, high: numbers, or arrays that broadcast to `shape`. Fractions are rounded up.
        dtype: an integer dtype, of any width up to its whole range; or bool: whether the integer is not zero.

    Raises:
        DTypeError: the dtype is neither.
        ValueError: the dtype does not reach the bounds, or they do not broadcast to `shape`.
    """
    wanted = int32 if dtype is None else as_dtype(dtype)
    if wanted not in INTEGER | BOOL:
        raise _dtype_error("randint", wanted, "an integer dtype or bool")
    exact = int32 if wanted is bool_ else wanted
    if isinstance(low, array) or isinstance(high, array):
        first, last = _integer_bounds(as_array(low), as_array(high), exact)
        _fit("randint", shape, first.shape, last.shape)
    else:
        start, stop = math.ceil(low), math.ceil(high)  # type: ignore[arg-type]
        end = max(stop - 1, start)
        smallest, largest = _range_of(exact)
        if start < smallest or end > largest:
            problem = f"{exact.name} does not reach from {start} to {end}"
            raise ValueError(message("bridge.random.randint", problem, want=f"{smallest} to {largest}"))
        first, last = full((), start, exact), full((), end, exact)
    drawn = random_integers(_key_or_next(key), first, last, shape, stream=stream)
    return drawn.astype(wanted)


def _integer_bounds(low: array, high: array, dtype: Dtype) -> tuple[array, array]:
    """First and last integer of each interval, in `dtype`; found in 64 bits, where `high` may be one beyond it."""
    wide = uint64 if uint64 in (low.dtype, high.dtype) else int64
    low, high = (ceil(bound).astype(wide) for bound in (low, high))
    return low.astype(dtype), where(low < high, high - 1, low).astype(dtype)


def _range_of(dtype: Dtype) -> tuple[int, int]:
    bits = 8 * dtype.size
    return (0, 2**bits - 1) if dtype.name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def bernoulli(
    p: Operand = 0.5, shape: Sequence[int] | None = None, key: array | None = None, stream: Stream = None
) -> array:
    """True with probability `p`, else False.

    Args:
        p: a number, or a floating array that broadcasts to `shape`; None takes its shape.

    Raises:
        DTypeError: `p` is an array of integers, or complex.
        ValueError: `p` does not broadcast to `shape`.
    """
    if isinstance(p, array) and p.dtype not in FLOATING:
        raise _dtype_error("bernoulli", p.dtype, "probabilities of a floating dtype")
    chance = _as(p, p.dtype if isinstance(p, array) else float32)
    wide = chance.shape if shape is None else _fit("bernoulli", shape, chance.shape)
    unit = _draw("bernoulli", wide, float64 if chance.dtype is float64 else float32, key, stream)
    return less(unit, chance, stream=stream)


def categorical(
    logits: array,
    axis: int = -1,
    shape: Sequence[int] | None = None,
    num_samples: int | None = None,
    key: array | None = None,
    stream: Stream = None,
) -> array:
    """Positions along an axis, each as likely as the exponential of its logit among those of the axis.

    Args:
        shape: what the result's shape is; the logits' without the axis must broadcast to it.
        num_samples: or, the number of draws from every distribution, which become the last axis.

    Returns:
        Positions, as `argmax` gives them. Without `shape` and `num_samples` one for each distribution.

    Raises:
        ValueError: both are given, or the logits do not broadcast to `shape`. IndexError as well: `axis` is not there.
    """
    logits = as_array(logits)
    (at,) = normalize_axes(logits, axis)
    rest = logits.shape[:at] + logits.shape[at + 1 :]
    if shape is not None and num_samples is not None:
        raise ValueError(message("bridge.random.categorical", "give shape or num_samples, not both"))
    if num_samples is not None:
        logits, wide = expand_dims(logits, -1), (*rest, num_samples)
    else:
        wide = rest if shape is None else _fit("categorical", shape, rest)
    behind = at + len(wide) + 1 - logits.ndim  # the axis in the result of the sum
    noise = gumbel(
        (*wide[:behind], logits.shape[at], *wide[behind:]),
        float64 if logits.dtype is float64 else float32,
        key,
        stream,
    )
    return argmax(logits + noise, behind, stream=stream)


def permutation(x: int | array, axis: int = 0, key: array | None = None, stream: Stream = None) -> array:
    """The numbers below `x` in random order; of an array, its entries along an axis, all in the same order.

    Raises:
        ValueError: `x` is negative. IndexError as well: the array has no such axis.
    """
    if not isinstance(x, array):
        return random_permutation(_key_or_next(key), operator.index(x), stream=stream)
    (at,) = normalize_axes(x, axis)
    order = random_permutation(_key_or_next(key), x.shape[at], stream=stream)
    return x[(slice(None),) * at + (order,)]


def multivariate_normal(
    mean: array,
    cov: array,
    shape: Sequence[int] = (),
    dtype: Dtype | None = float32,
    key: array | None = None,
    stream: Stream = None,
) -> array:
    """Vectors of the normal distribution with a mean and a covariance matrix, which is positive semi-definite.

    Args:
        mean: (..., n), and cov: (..., n, n); leading axes broadcast with each other and with `shape`.
        dtype: float32 or float64.

    Returns:
        Array of that common shape and n.

    Raises:
        DTypeError: the dtype is another.
        ValueError: the shapes do not fit.
    """
    wanted = float32 if dtype is None else as_dtype(dtype)
    if wanted not in (float32, float64):
        raise _dtype_error("multivariate_normal", wanted, "float32 or float64")
    mean, cov = as_array(mean).astype(wanted), as_array(cov).astype(wanted)
    if mean.ndim < 1 or cov.ndim < 2 or not mean.shape[-1] == cov.shape[-1] == cov.shape[-2]:
        problem = "the mean is a vector, and the covariance a matrix with as many rows and columns"
        raise ValueError(message("bridge.random.multivariate_normal", problem, got=f"{mean.shape}, {cov.shape}"))
    wide = broadcast_shapes(shape, mean.shape[:-1], cov.shape[:-2])
    from bridge.core.ops.linalg import eigh

    variances, directions = eigh(cov, stream=stream)
    spread = sqrt(maximum(variances, 0))  # what rounding made negative is none
    drawn = expand_dims(_standard("normal", (*wide, mean.shape[-1]), wanted, key, stream) * spread, -2)
    return squeeze(matmul(drawn, swapaxes(directions, -1, -2), stream=stream), -2) + mean


# ---- what they share
def _draw(op: str, shape: Sequence[int], dtype: Dtype, key: array | None, stream: Stream) -> array:
    """Numbers of [0, 1), in float32 for halves too."""
    return random_sample(_key_or_next(key), shape, float64 if dtype is float64 else float32, "uniform", stream=stream)


def _standard(law: str, shape: Sequence[int], dtype: Dtype, key: array | None, stream: Stream) -> array:
    return random_sample(_key_or_next(key), shape, float64 if dtype is float64 else float32, law, stream=stream)


def _key_or_next(key: array | None) -> array:
    return next_key(state) if key is None else _one_key(key)


def _one_key(key: array) -> array:
    if isinstance(key, array) and key.ndim != 1:
        problem = "one key is wanted; use bridge.vmap for several"
        raise ValueError(message("bridge.random", problem, got=str(key.shape), want="(2,)"))
    return key


def _floating(op: str, dtype: Any) -> Dtype:
    wanted = float32 if dtype is None else as_dtype(dtype)
    if wanted not in FLOATING:
        raise _dtype_error(op, wanted, "a real floating dtype")
    return wanted


def _dtype_error(op: str, dtype: Dtype, want: str) -> DTypeError:
    return DTypeError(message(f"bridge.random.{op}", "there are no such numbers", got=dtype.name, want=want))


def _fit(op: str, shape: Sequence[int], *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` as a tuple; ValueError unless the shapes broadcast to it."""
    wide = broadcast_shapes(*shapes)
    wanted = tuple(shape)
    if broadcast_shapes(wide, wanted) != wanted:
        problem = f"parameters of shape {wide} do not broadcast to the shape of the result"
        raise ValueError(message(f"bridge.random.{op}", problem, got=str(wanted), fix=f"shape={wide}"))
    return wanted


def _as(value: Operand, dtype: Dtype) -> array:
    return value.astype(dtype) if isinstance(value, array) else full((), value, dtype)


def _is_number(value: Operand, number: float) -> bool:
    return not isinstance(value, array) and value == number


placed.replace([sys.modules[__name__]])
