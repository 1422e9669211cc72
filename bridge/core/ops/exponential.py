"""Exponentials, logarithms, roots, and the functions that neural networks build from them."""

from __future__ import annotations

import math

from bridge.core._native import array
from bridge.core.dtypes import REAL
from bridge.core.ops.compare import equal, select
from bridge.core.ops.declare import elementwise
from bridge.core.ops.types import Binary, Unary

exp: Unary = elementwise(
    "exp",
    "e to the power of the operand.",
    result="float",
    derivative=lambda g, y, x: g * y,
    metal="precise::exp({0})",
    ulp=1,
    sample=(-87, 88),
)

expm1: Unary = elementwise(
    "expm1",
    "exp(x) - 1, exact for small x too.",
    result="float",
    derivative=lambda g, y, x: g * (y + 1),
    metal="bridge_expm1({0})",
    ulp=1,
    sample=(-20, 20),
)

log: Unary = elementwise(
    "log",
    "Natural logarithm; -inf at 0, NaN below.",
    result="float",
    derivative=lambda g, y, x: g / x,
    metal="precise::log({0})",
    ulp=1,
    sample=(1e-6, 1e6),
)

log2: Unary = elementwise(
    "log2",
    "Logarithm to base 2.",
    result="float",
    derivative=lambda g, y, x: g / (x * math.log(2)),
    metal="precise::log2({0})",
    ulp=1,
    sample=(1e-6, 1e6),
)

log10: Unary = elementwise(
    "log10",
    "Logarithm to base 10.",
    result="float",
    derivative=lambda g, y, x: g / (x * math.log(10)),
    metal="precise::log10({0})",
    ulp=2,
    sample=(1e-6, 1e6),
)

log1p: Unary = elementwise(
    "log1p",
    "log(1 + x), exact for small x too.",
    result="float",
    derivative=lambda g, y, x: g / (1 + x),
    metal="bridge_log1p({0})",
    ulp=1,
    sample=(-0.99, 1e3),
)

sqrt: Unary = elementwise(
    "sqrt",
    "Square root; NaN below 0.",
    result="float",
    derivative=lambda g, y, x: 0.5 * g / y,
    metal="precise::sqrt({0})",
    ulp=0.5,
    sample=(0, 1e6),
)

rsqrt: Unary = elementwise(
    "rsqrt",
    "One over the square root; inf at 0.",
    result="float",
    derivative=lambda g, y, x: -0.5 * g * y * y * y,
    metal="precise::rsqrt({0})",
    ulp=1.5,
    sample=(1e-6, 1e6),
)

erf: Unary = elementwise(
    "erf",
    "Error function.",
    accepts=REAL,
    result="float",
    derivative=lambda g, y, x: (2 / math.sqrt(math.pi)) * g * exp(-(x * x)),
    metal="bridge_erf({0})",
    ulp=1.5,
    sample=(-4, 4),
)

erfinv: Unary = elementwise(
    "erfinv",
    "Inverse of the error function; inf at 1, -inf at -1, NaN beyond.",
    accepts=REAL,
    result="float",
    derivative=lambda g, y, x: (math.sqrt(math.pi) / 2) * g * exp(y * y),
    metal="bridge_erfinv({0})",
    ulp=2,
    sample=(-0.999, 0.999),
)

sigmoid: Unary = elementwise(
    "sigmoid",
    "1 / (1 + exp(-x)), without overflow.",
    accepts=REAL,
    result="float",
    derivative=lambda g, y, x: g * y * (1 - y),
    metal="bridge_sigmoid({0})",
    ulp=3,
    sample=(-20, 20),
)

logaddexp: Binary = elementwise(
    "logaddexp",
    "log(exp(a) + exp(b)), without overflow. The error is relative to the larger of the operands and the result.",
    operands="a, b",
    accepts=REAL,
    result="float",
    derivative=(lambda g, y, a, b: g * _share(a, b), lambda g, y, a, b: g * _share(b, a)),
    metal="bridge_logaddexp({0}, {1})",
    ulp=1,
    sample=(0.5, 20),
)


def _share(a: array, b: array) -> array:
    """exp(a) / (exp(a) + exp(b)). Equal operands share evenly, infinite ones too."""
    return sigmoid(select(equal(a, b), 0, a - b))
