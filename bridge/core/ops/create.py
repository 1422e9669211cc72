"""New arrays: constants, ranges, identities and triangles. All are lazy: a constant is one element until it is read."""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from typing import overload

from bridge.core._native import Dtype, array
from bridge.core.dtypes import bool_, complex64, float32, float64, promote
from bridge.core.ops.compare import equal, greater_equal, where
from bridge.core.ops.declare import structured
from bridge.core.ops.shape import as_array, concatenate, diagonal, expand_dims
from bridge.core.ops.types import Device, Operand, Scalar, Shape, Stream


@overload
def arange(
    stop: int | float, /, *, dtype: Dtype | None = None, device: Device = None, stream: Stream = None
) -> array: ...
@overload
def arange(
    start: int | float,
    stop: int | float | None = None,
    step: int | float | None = None,
    dtype: Dtype | None = None,
    *,
    device: Device = None,
    stream: Stream = None,
) -> array: ...
@structured()
def arange(
    start: int | float,
    stop: int | float | None = None,
    step: int | float | None = None,
    dtype: Dtype | None = None,
    *,
    device: Device = None,
    stream: Stream = None,
) -> array:
    """Numbers from `start` (included) to `stop` (excluded) in steps; with one number, from 0 to it.

    Returns:
        1-d array of ceil((stop - start) / step) elements: int32 for int arguments, float32 if one is a float.
    """


@structured(of="broadcast_to")
def full(
    shape: Shape,
    fill_value: Operand | None = None,
    dtype: Dtype | None = None,
    *,
    vals: Operand | None = None,
    device: Device = None,
    stream: Stream = None,
) -> array:
    """Array of `shape` filled with `fill_value`, which broadcasts to it. dtype None keeps that of the value.

    Args:
        vals: MLX's name for `fill_value`.
    """


def zeros(shape: Shape, dtype: Dtype | None = float32, *, device: Device = None, stream: Stream = None) -> array:
    """Array of zeros; dtype None is float32."""
    return full(shape, 0, dtype or float32, device=device, stream=stream)


def ones(shape: Shape, dtype: Dtype | None = float32, *, device: Device = None, stream: Stream = None) -> array:
    """Array of ones; dtype None is float32."""
    return full(shape, 1, dtype or float32, device=device, stream=stream)


def empty(shape: Shape, dtype: Dtype | None = float32, *, device: Device = None, stream: Stream = None) -> array:
    """Array of any values, which are zeros; dtype None is float32."""
    return zeros(shape, dtype, device=device, stream=stream)


def empty_like(a: array, /, dtype: Dtype | None = None, *, device: Device = None, stream: Stream = None) -> array:
    """Array of a's shape and any values, which are zeros; dtype None is a's."""
    return zeros_like(a, dtype, device=device, stream=stream)


def full_like(
    a: array,
    fill_value: Operand | None = None,
    dtype: Dtype | None = None,
    *,
    vals: Operand | None = None,
    device: Device = None,
    stream: Stream = None,
) -> array:
    """Array of a's shape filled with `fill_value` (`vals` is MLX's name for it); dtype None is a's."""
    a = as_array(a)
    return full(a.shape, fill_value, dtype or a.dtype, vals=vals, device=device, stream=stream)


def zeros_like(a: array, /, dtype: Dtype | None = None, *, device: Device = None, stream: Stream = None) -> array:
    """Zeros of a's shape; dtype None is a's."""
    a = as_array(a)
    return full(a.shape, 0, dtype or a.dtype, device=device, stream=stream)


def ones_like(a: array, /, dtype: Dtype | None = None, *, device: Device = None, stream: Stream = None) -> array:
    """Ones of a's shape; dtype None is a's."""
    a = as_array(a)
    return full(a.shape, 1, dtype or a.dtype, device=device, stream=stream)


def eye(
    n: int,
    m: int | None = None,
    k: int = 0,
    dtype: Dtype | None = float32,
    *,
    device: Device = None,
    stream: Stream = None,
) -> array:
    """(n, m) matrix with ones on the k-th diagonal and zeros elsewhere; m None is n.

    Raises:
        ValueError: n or m is negative.
    """
    rows, columns = _rows_and_columns("eye", n, m, k, device)
    return equal(rows, columns, stream=stream).astype(dtype or float32)


def identity(n: int, dtype: Dtype | None = float32, *, stream: Stream = None) -> array:
    """(n, n) identity matrix."""
    return eye(n, dtype=dtype, stream=stream)


def tri(n: int, m: int | None = None, k: int = 0, dtype: Dtype | None = None, *, stream: Stream = None) -> array:
    """(n, m) matrix with ones at and below the k-th diagonal and zeros above; dtype None is float32.

    Raises:
        ValueError: n or m is negative.
    """
    rows, columns = _rows_and_columns("tri", n, m, k)
    return greater_equal(rows, columns, stream=stream).astype(dtype or float32)


def tril(x: array, k: int = 0, *, stream: Stream = None) -> array:
    """The last two axes at and below their k-th diagonal; zeros above.

    Raises:
        ValueError: the array has fewer than two axes.
    """
    x = as_array(x)
    if x.ndim < 2:
        raise ValueError(f"[bridge.tril] an array of two axes or more is wanted, not of {x.ndim}.")
    rows, columns = _rows_and_columns("tril", x.shape[-2], x.shape[-1], k)
    return where(greater_equal(rows, columns), x, full((), 0, x.dtype), stream=stream)


def triu(x: array, k: int = 0, *, stream: Stream = None) -> array:
    """The last two axes at and above their k-th diagonal; zeros below.

    Raises:
        ValueError: the array has fewer than two axes.
    """
    x = as_array(x)
    if x.ndim < 2:
        raise ValueError(f"[bridge.triu] an array of two axes or more is wanted, not of {x.ndim}.")
    rows, columns = _rows_and_columns("triu", x.shape[-2], x.shape[-1], k)
    return where(greater_equal(columns, rows), x, full((), 0, x.dtype), stream=stream)


def _rows_and_columns(op: str, n: int, m: int | None, k: int, device: Device = None) -> tuple[array, array]:
    """Numbers of the rows, k added, and of the columns of an (n, m) matrix, to be compared."""
    width = n if m is None else m
    if n < 0 or width < 0:
        raise ValueError(f"[bridge.{op}] the numbers of rows and columns must not be negative; got {n} and {width}.")
    return expand_dims(arange(k, n + k, device=device), 1), arange(width)


def diag(a: array, /, k: int = 0, *, stream: Stream = None) -> array:
    """The k-th diagonal of a matrix; or, from a 1-d array, the matrix with these on its k-th diagonal.

    Raises:
        ValueError: the array has neither one axis nor two.
    """
    a = as_array(a)
    if a.ndim == 2:
        return diagonal(a, k, stream=stream)
    if a.ndim != 1:
        raise ValueError(f"[bridge.diag] an array of one or two axes is wanted, not of {a.ndim}.")
    inner = where(eye(a.size, dtype=bool_), expand_dims(a, 1), full((), 0, a.dtype), stream=stream)
    if k == 0:
        return inner
    beside, across = full((a.size, abs(k)), 0, a.dtype), full((abs(k), a.size + abs(k)), 0, a.dtype)
    if k > 0:
        return concatenate([concatenate([beside, inner], 1), across])
    return concatenate([across, concatenate([inner, beside], 1)])


def linspace(
    start: Scalar,
    stop: Scalar,
    num: int | None = 50,
    endpoint: bool = True,
    dtype: Dtype | None = float32,
    stream: Stream = None,
    *,
    device: Device = None,
) -> array:
    """`num` numbers at equal distances from `start` to `stop`, which is the last one if `endpoint`, else left out.

    dtype None is float32; complex ends make the result complex.

    Raises:
        ValueError: `num` is negative.
    """
    count = 50 if num is None else num
    if count < 0:
        raise ValueError(f"[bridge.linspace] the number of samples must not be negative; got {count}.")
    target = dtype or float32
    if isinstance(start, complex) or isinstance(stop, complex):
        target = promote(target, complex64)
    exact = float32 if target.size <= 4 or target == complex64 else float64
    parts = max(count - 1 if endpoint else count, 1)
    at = arange(count, dtype=exact, device=device, stream=stream) / parts
    return (start * (1 - at) + stop * at).astype(target)
