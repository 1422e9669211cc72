"""Trigonometric and hyperbolic functions and their inverses. Angles are in radians."""

from __future__ import annotations

import math

from bridge.core._native import array
from bridge.core.dtypes import REAL
from bridge.core.ops.arithmetic import multiply
from bridge.core.ops.declare import elementwise
from bridge.core.ops.exponential import rsqrt
from bridge.core.ops.types import Binary, Operand, Stream, Unary

sin: Unary = elementwise(
    "sin",
    "Sine.",
    result="float",
    derivative=lambda g, y, x: g * cos(x),
    metal="precise::sin({0})",
    ulp=1,
    sample=(-100, 100),
)

cos: Unary = elementwise(
    "cos",
    "Cosine.",
    result="float",
    derivative=lambda g, y, x: -g * sin(x),
    metal="precise::cos({0})",
    ulp=1,
    sample=(-100, 100),
)

tan: Unary = elementwise(
    "tan",
    "Tangent.",
    result="float",
    derivative=lambda g, y, x: g * (1 + y * y),
    metal="precise::tan({0})",
    ulp=1,
    sample=(-100, 100),
)

arcsin: Unary = elementwise(
    "arcsin",
    "Inverse sine, in [-pi/2, pi/2].",
    result="float",
    derivative=lambda g, y, x: g * rsqrt(1 - x * x),
    metal="precise::asin({0})",
    ulp=1,
    sample=(-1, 1),
)

arccos: Unary = elementwise(
    "arccos",
    "Inverse cosine, in [0, pi].",
    result="float",
    derivative=lambda g, y, x: -g * rsqrt(1 - x * x),
    metal="precise::acos({0})",
    ulp=1,
    sample=(-1, 1),
)

arctan: Unary = elementwise(
    "arctan",
    "Inverse tangent, in [-pi/2, pi/2].",
    result="float",
    derivative=lambda g, y, x: g / (1 + x * x),
    metal="precise::atan({0})",
    ulp=1,
    sample=(-10, 10),
)

arctan2: Binary = elementwise(
    "arctan2",
    "Angle of the point (b, a), in [-pi, pi]: the inverse tangent of a / b in the right quadrant.",
    operands="a, b",
    accepts=REAL,
    result="float",
    derivative=(lambda g, y, a, b: g * b / (a * a + b * b), lambda g, y, a, b: -g * a / (a * a + b * b)),
    metal="precise::atan2({0}, {1})",
    ulp=1.5,
    sample=(-4, 4),
)

sinh: Unary = elementwise(
    "sinh",
    "Hyperbolic sine.",
    result="float",
    derivative=lambda g, y, x: g * cosh(x),
    metal="precise::sinh({0})",
    ulp=2,
    sample=(-20, 20),
)

cosh: Unary = elementwise(
    "cosh",
    "Hyperbolic cosine.",
    result="float",
    derivative=lambda g, y, x: g * sinh(x),
    metal="precise::cosh({0})",
    ulp=1.5,
    sample=(-20, 20),
)

tanh: Unary = elementwise(
    "tanh",
    "Hyperbolic tangent.",
    result="float",
    derivative=lambda g, y, x: g * (1 - y * y),
    metal="precise::tanh({0})",
    ulp=1.5,
    sample=(-10, 10),
)

arcsinh: Unary = elementwise(
    "arcsinh",
    "Inverse hyperbolic sine.",
    result="float",
    derivative=lambda g, y, x: g * rsqrt(x * x + 1),
    metal="precise::asinh({0})",
    ulp=2,
    sample=(-100, 100),
)

arccosh: Unary = elementwise(
    "arccosh",
    "Inverse hyperbolic cosine; NaN below 1.",
    result="float",
    derivative=lambda g, y, x: g * rsqrt(x - 1) * rsqrt(x + 1),
    metal="precise::acosh({0})",
    ulp=2,
    sample=(1, 100),
)

arctanh: Unary = elementwise(
    "arctanh",
    "Inverse hyperbolic tangent; NaN outside [-1, 1].",
    result="float",
    derivative=lambda g, y, x: g / (1 - x * x),
    metal="precise::atanh({0})",
    ulp=2,
    sample=(-0.999, 0.999),
)

acos, asin, atan, atan2 = arccos, arcsin, arctan, arctan2
acosh, asinh, atanh = arccosh, arcsinh, arctanh


def degrees(a: Operand, /, *, stream: Stream = None) -> array:
    """Radians to degrees."""
    return multiply(a, 180 / math.pi, stream=stream)


def radians(a: Operand, /, *, stream: Stream = None) -> array:
    """Degrees to radians."""
    return multiply(a, math.pi / 180, stream=stream)
