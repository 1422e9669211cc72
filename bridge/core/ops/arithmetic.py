"""Arithmetic: signs, sums, products, quotients, powers, rounding, and the parts of complex numbers."""

from __future__ import annotations

from bridge.core._native import array
from bridge.core.dtypes import COMPLEX, HELD, INEXACT, NUMERIC, REAL, float32, float64
from bridge.core.held import refuse
from bridge.core.ops.compare import equal, greater, less, select
from bridge.core.ops.declare import FLAT, elementwise
from bridge.core.ops.shape import as_array
from bridge.core.ops.types import Binary, Operand, Stream, Unary

negative: Unary = elementwise(
    "negative",
    "The operand with its sign turned.",
    accepts=NUMERIC,
    derivative=lambda g, y, x: -g,
    metal="-{0}",
)

sign: Unary = elementwise(
    "sign",
    "-1, 0 or 1; of a complex number x / |x|, and 0 at 0.",
    derivative=lambda g, y, x: _turn(g, y, x),
    adjoint=lambda g, y, x: _turn(g, y, x),
    metal="bridge_sign({0})",
)

real: Unary = elementwise(
    "real",
    "Real part; of a real array its values.",
    result="abs",
    derivative=lambda g, y, x: real(g),
    adjoint=lambda g, y, x: g.astype(x.dtype),
    metal="bridge_real({0})",
)

imag: Unary = elementwise(
    "imag",
    "Imaginary part; of a real array zeros.",
    result="abs",
    derivative=lambda g, y, x: imag(g),
    adjoint=lambda g, y, x: g * 1j if x.dtype in COMPLEX else g * 0,
    metal="bridge_imag({0})",
)

conjugate: Unary = elementwise(
    "conjugate",
    "Complex conjugate; of a real array its values.",
    derivative=lambda g, y, x: conjugate(g),
    adjoint=lambda g, y, x: conjugate(g),
    metal="bridge_conjugate({0})",
)
conj = conjugate

abs: Unary = elementwise(
    "abs",
    "Absolute value; of a complex array a real one.",
    result="abs",
    derivative=lambda g, y, x: real(g * conjugate(sign(x))),
    adjoint=lambda g, y, x: g * sign(x),
    metal="bridge_abs({0})",
)

square: Unary = elementwise(
    "square",
    "The operand times itself.",
    derivative=lambda g, y, x: 2 * g * x,
    metal="{0} * {0}",
    ulp=0.5,
)

reciprocal: Unary = elementwise(
    "reciprocal",
    "One over the operand; integers become float32.",
    result="float",
    derivative=lambda g, y, x: -g * y * y,
    metal="1 / {0}",
    ulp=0.5,
    sample=(1e-3, 1e3),
)

floor: Unary = elementwise(
    "floor", "Largest whole number not above.", accepts=REAL, derivative=FLAT, metal="floor({0})", sample=(-9, 9)
)
ceil: Unary = elementwise(
    "ceil", "Smallest whole number not below.", accepts=REAL, derivative=FLAT, metal="ceil({0})", sample=(-9, 9)
)
trunc: Unary = elementwise(
    "trunc", "Whole part, towards zero.", accepts=REAL, derivative=FLAT, metal="trunc({0})", sample=(-9, 9)
)
rint: Unary = elementwise(
    "rint",
    "Nearest whole number, halves to even; of a complex number in both parts.",
    derivative=FLAT,
    metal="rint({0})",
    sample=(-9, 9),
)

add: Binary = elementwise(
    "add",
    "Sum. Of two bool arrays: or.",
    operands="a, b",
    derivative=(lambda g, y, a, b: g, lambda g, y, a, b: g),
    metal="{0} + {1}",
    ulp=0.5,
)

subtract: Binary = elementwise(
    "subtract",
    "Difference. Of two bool arrays: exclusive or.",
    operands="a, b",
    derivative=(lambda g, y, a, b: g, lambda g, y, a, b: -g),
    metal="{0} - {1}",
    ulp=0.5,
)

multiply: Binary = elementwise(
    "multiply",
    "Product. Of two bool arrays: and.",
    operands="a, b",
    derivative=(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a),
    metal="{0} * {1}",
    ulp=0.5,
)

divide: Binary = elementwise(
    "divide",
    "True quotient; integers and bool become float32.",
    operands="a, b",
    result="float",
    derivative=(lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b),
    metal="{0} / {1}",
    ulp=0.5,
    sample=((-4, 4), (1e-3, 1e3)),
)

floor_divide: Binary = elementwise(
    "floor_divide",
    "Quotient rounded down, towards negative infinity. An integer divided by 0 gives 0.",
    operands="a, b",
    accepts=REAL,
    derivative=FLAT,
    metal="bridge_floor_divide({0}, {1})",
    sample=((-9, 9), (0.5, 4)),
)

remainder: Binary = elementwise(
    "remainder",
    "What `floor_divide` leaves, with the sign of the divisor. An integer modulo 0 gives 0.",
    operands="a, b",
    accepts=REAL,
    derivative=(lambda g, y, a, b: g, lambda g, y, a, b: -g * floor_divide(a, b)),
    metal="bridge_remainder({0}, {1})",
    ulp=0.5,
    sample=((-9, 9), (0.5, 4)),
)

power: Binary = elementwise(
    "power",
    "The first operand to the power of the second. An integer to a negative power is truncated: 0, 1 or -1.",
    operands="a, b",
    derivative=(lambda g, y, a, b: _by_base(g, a, b), lambda g, y, a, b: g * y * select(equal(a, 0), 1, a).log()),
    metal="bridge_power({0}, {1})",
    ulp=1,
    sample=((1e-2, 1e2), (-4, 4)),
)
pow = power

maximum: Binary = elementwise(
    "maximum",
    "The larger; NaN if either is. Complex numbers compare by real part, then by imaginary part.",
    operands="a, b",
    derivative=(lambda g, y, a, b: _won(g, greater(a, b), a, b), lambda g, y, a, b: _won(g, less(a, b), a, b)),
    metal="bridge_maximum({0}, {1})",
)

minimum: Binary = elementwise(
    "minimum",
    "The smaller; NaN if either is. Complex numbers compare by real part, then by imaginary part.",
    operands="a, b",
    derivative=(lambda g, y, a, b: _won(g, less(a, b), a, b), lambda g, y, a, b: _won(g, greater(a, b), a, b)),
    metal="bridge_minimum({0}, {1})",
)

hypot: Binary = elementwise(
    "hypot",
    "Length of the hypotenuse, sqrt(a * a + b * b), without overflow. An infinity wins over NaN.",
    operands="a, b",
    accepts=REAL,
    result="float",
    derivative=(lambda g, y, a, b: _along(g, y, a), lambda g, y, a, b: _along(g, y, b)),
    metal="bridge_hypot({0}, {1})",
    ulp=1,
    sample=((-4, 4), (0.5, 4)),
)

copysign: Binary = elementwise(
    "copysign",
    "The magnitude of the first operand with the sign of the second, of zero and NaN too.",
    operands="a, b",
    accepts=REAL,
    result="float",
    derivative=(lambda g, y, a, b: g * copysign(1, y) * copysign(1, a), lambda g, y, a, b: g * 0),
    metal="copysign({0}, {1})",
)


def _along(g: array, y: array, x: array) -> array:
    """Change of the length `y` for a change `g` along the side `x`; 0 at the origin, where there is no direction."""
    return g * select(equal(y, 0), 0, x / y)


def _turn(g: array, y: array, x: array) -> array:
    """Change of x / |x|: the part of `g` across x. A real sign does not change."""
    if x.dtype not in COMPLEX:
        return g * 0
    return (g - y * real(conjugate(y) * g)) / abs(x)


def _by_base(g: array, a: array, b: array) -> array:
    """d(a**b)/da, and 0 instead of 0 * inf where b is 0."""
    constant = equal(b, 0)
    return select(constant, 0, g * b * power(a, select(constant, 1, b - 1)))


def _won(g: array, wins: array, a: array, b: array) -> array:
    """`g` where the operand wins, half of it where the two are equal, 0 where it loses."""
    return select(equal(a, b), 0.5 * g, select(wins, g, 0))


def positive(a: array, /, *, stream: Stream = None) -> array:
    """The same values."""
    return +as_array(a)


def divmod(a: Operand, b: Operand, stream: Stream = None) -> tuple[array, array]:
    """Quotient rounded down and what it leaves: ``(a // b, a % b)``."""
    return floor_divide(a, b, stream=stream), remainder(a, b, stream=stream)


def round(a: array, /, decimals: int = 0, stream: Stream = None) -> array:
    """Round to `decimals` decimal places, halves to even; negative `decimals` round to tens, hundreds and so on.

    Returns:
        Array of the same shape and dtype. Only negative `decimals` change integers.
    """
    a = as_array(a)
    if a.dtype in HELD:
        refuse("round", a.dtype)
    if a.dtype in COMPLEX and decimals == 0:
        return rint(a, stream=stream)
    if a.dtype in COMPLEX:
        return round(real(a), decimals, stream) + 1j * round(imag(a), decimals, stream)
    if a.dtype not in INEXACT:
        if decimals >= 0:
            return +a
        wide = float64 if a.dtype.size >= 4 else float32
        return round(a.astype(wide), decimals, stream).astype(a.dtype)
    if decimals == 0:
        return rint(a, stream=stream)
    scale = 10.0 ** (decimals if decimals > 0 else -decimals)
    if decimals > 0:
        return divide(rint(multiply(a, scale, stream=stream)), scale)
    return multiply(rint(divide(a, scale, stream=stream)), scale)


def clip(
    a: array,
    /,
    min: Operand | None = None,
    max: Operand | None = None,
    *,
    a_min: Operand | None = None,
    a_max: Operand | None = None,
    stream: Stream = None,
) -> array:
    """Values of `a` moved into ``[min, max]``. None is no limit; array and limits broadcast with one another.

    Where a value or a limit is NaN, so is the result. `a_min` and `a_max` are MLX's names for the limits.
    """
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    a = as_array(a)
    if low is not None:
        a = maximum(a, low, stream=stream)
    if high is not None:
        a = minimum(a, high, stream=stream)
    return +a if low is high is None else a
