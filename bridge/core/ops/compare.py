"""Comparisons, tests of single values, logic, choice, and the comparisons of whole arrays built from them."""

from __future__ import annotations

from bridge.core._native import array
from bridge.core.dtypes import HELD, INEXACT, REAL, float32, float64
from bridge.core.held import refuse
from bridge.core.ops.declare import FLAT, elementwise
from bridge.core.ops.shape import as_array
from bridge.core.ops.types import Binary, Operand, Stream, Ternary, Unary

equal: Binary = elementwise(
    "equal", "True where the operands are equal.", operands="a, b", result="bool", derivative=FLAT, metal="{0} == {1}"
)
not_equal: Binary = elementwise(
    "not_equal", "True where the operands differ.", operands="a, b", result="bool", derivative=FLAT, metal="{0} != {1}"
)
less: Binary = elementwise(
    "less", "True where the first is smaller.", operands="a, b", result="bool", derivative=FLAT, metal="{0} < {1}"
)
less_equal: Binary = elementwise(
    "less_equal",
    "True where the first is not larger.",
    operands="a, b",
    result="bool",
    derivative=FLAT,
    metal="{0} <= {1}",
)
greater: Binary = elementwise(
    "greater", "True where the first is larger.", operands="a, b", result="bool", derivative=FLAT, metal="{0} > {1}"
)
greater_equal: Binary = elementwise(
    "greater_equal",
    "True where the first is not smaller.",
    operands="a, b",
    result="bool",
    derivative=FLAT,
    metal="{0} >= {1}",
)

isnan: Unary = elementwise(
    "isnan", "True for NaN; of a complex number, if a part is NaN.", result="bool", derivative=FLAT, metal="isnan({0})"
)
isinf: Unary = elementwise(
    "isinf",
    "True for an infinity; of a complex number, if a part is.",
    result="bool",
    derivative=FLAT,
    metal="isinf({0})",
)
isfinite: Unary = elementwise(
    "isfinite", "True for what is neither infinite nor NaN.", result="bool", derivative=FLAT, metal="isfinite({0})"
)
signbit: Unary = elementwise(
    "signbit",
    "True where the sign bit is set: for negative numbers, negative zero, and NaN with that bit.",
    accepts=REAL,
    result="bool",
    derivative=FLAT,
    metal="bridge_signbit({0})",
)

logical_not: Unary = elementwise(
    "logical_not", "True where the operand is zero or False.", result="logical", derivative=FLAT, metal="!{0}"
)
logical_and: Binary = elementwise(
    "logical_and",
    "True where both are nonzero.",
    operands="a, b",
    result="logical",
    derivative=FLAT,
    metal="{0} && {1}",
)
logical_or: Binary = elementwise(
    "logical_or", "True where one is nonzero.", operands="a, b", result="logical", derivative=FLAT, metal="{0} || {1}"
)

select: Ternary = elementwise(
    "select",
    "`x` where the condition is true, `y` elsewhere.",
    operands="condition, x, y",
    result="select",
    derivative=(None, lambda g, y, c, a, b: select(c, g, 0), lambda g, y, c, a, b: select(c, 0, g)),
    metal="{0} ? {1} : {2}",
)
where = select


def logical_xor(a: Operand, b: Operand, /, *, stream: Stream = None) -> array:
    """True where exactly one is nonzero."""
    return not_equal(logical_not(a, stream=stream), logical_not(b, stream=stream), stream=stream)


def isposinf(a: array, stream: Stream = None) -> array:
    """True for positive infinity."""
    return equal(a, float("inf"), stream=stream)


def isneginf(a: array, stream: Stream = None) -> array:
    """True for negative infinity."""
    return equal(a, float("-inf"), stream=stream)


def isclose(
    a: Operand,
    b: Operand,
    /,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    *,
    equal_nan: bool = False,
    stream: Stream = None,
) -> array:
    """True where ``|a - b| <= atol + rtol * |b|``. Infinities are close to themselves; NaN only if `equal_nan`."""
    x, y = _comparable(a), _comparable(b)
    near = abs(x - y) <= atol + rtol * abs(y)
    close = select(isfinite(y), near, equal(x, y, stream=stream), stream=stream)
    if equal_nan:
        close = logical_or(close, logical_and(isnan(x), isnan(y)))
    return close


def allclose(
    a: Operand,
    b: Operand,
    /,
    rtol: float = 1e-05,
    atol: float = 1e-08,
    *,
    equal_nan: bool = False,
    stream: Stream = None,
) -> array:
    """Scalar array: whether `isclose` holds everywhere. The operands broadcast."""
    return isclose(a, b, rtol, atol, equal_nan=equal_nan, stream=stream).all()


def array_equal(a: Operand, b: Operand, equal_nan: bool = False, stream: Stream = None) -> array:
    """Scalar array: whether shape and values are equal, whatever the dtypes. NaN equals NaN only if `equal_nan`."""
    x, y = as_array(a), as_array(b)
    if x.shape != y.shape:
        return array(False)
    same = equal(x, y, stream=stream)
    if equal_nan:
        same = logical_or(same, logical_and(isnan(x), isnan(y)))
    return same.all()


def _comparable(a: Operand) -> array:
    """The values in a dtype where differences neither wrap nor round to nothing."""
    x = as_array(a)
    if x.dtype in HELD:
        refuse("isclose", x.dtype)
    if x.dtype not in INEXACT:
        return x.astype(float64)
    return x.astype(float32) if x.dtype.size == 2 else x
