"""What each stage should give, by NumPy on wider types, and sample values for each dtype."""

from __future__ import annotations

import math
from collections.abc import Callable

import ml_dtypes
import numpy as np
import scipy.special
from native.engine import BOOLEAN, COMPLEX, DTYPE, FLOATING, INTEGER, SIGNED, UNSIGNED

REAL = BOOLEAN + INTEGER + FLOATING
EVERY = REAL + COMPLEX
HALF = ["float16", "bfloat16"]


def _logistic(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "c":
        return 1 / (1 + np.exp(-x))
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e / (1 + e), 1 / (1 + e))


def _integer_power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Python's integers modulo the width; a negative exponent gives the truncated quotient."""
    bits, signed = 8 * a.dtype.itemsize, a.dtype.kind == "i"

    def one(x: int, y: int) -> int:
        if y < 0:
            return {1: 1, -1: -1 if y % 2 else 1}.get(x, 0)
        value = pow(x, y, 1 << bits)
        return value - (1 << bits) if signed and value >> (bits - 1) else value

    return np.array([one(int(x), int(y)) for x, y in zip(a, b, strict=True)], a.dtype)


def _shift(a: np.ndarray, b: np.ndarray, *, left: bool) -> np.ndarray:
    bits = 8 * a.dtype.itemsize

    def one(x: int, y: int) -> int:
        if not 0 <= y < bits:
            return -1 if x < 0 and not left else 0
        return x << y if left else x >> y

    values = [one(int(x), int(y)) & ((1 << bits) - 1) for x, y in zip(a, b, strict=True)]
    return np.array(values, f"u{a.dtype.itemsize}").view(a.dtype)


def _divide_by(function: Callable) -> Callable:
    """Integer division with x / 0 == 0."""

    def apply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if a.dtype.kind == "f":
            return function(a, b)
        return np.where(b == 0, a.dtype.type(0), function(a, np.where(b == 0, a.dtype.type(1), b))).astype(a.dtype)

    return apply


def _power(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _integer_power(a, b) if a.dtype.kind in "iu" else np.power(a, b)


def _log2(x: np.ndarray) -> np.ndarray:
    return np.log(x) / math.log(2) if x.dtype.kind == "c" else np.log2(x)


def _sign(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "c":
        return np.where(x == 0, 0, x / np.where(x == 0, 1, np.abs(x)))
    return np.sign(x)


def _identity(x: np.ndarray) -> np.ndarray:
    return x.copy()


# Stage: (function of NumPy arrays, dtypes it exists for).
ORACLE: dict[str, tuple[Callable, list[str]]] = {
    "copy": (_identity, EVERY),
    "negative": (np.negative, INTEGER + FLOATING + COMPLEX),
    "abs": (np.abs, EVERY),
    "sign": (_sign, INTEGER + FLOATING + COMPLEX),
    "square": (np.square, INTEGER + FLOATING + COMPLEX),
    "sqrt": (np.sqrt, FLOATING + COMPLEX),
    "rsqrt": (lambda x: 1 / np.sqrt(x), FLOATING + COMPLEX),
    "reciprocal": (lambda x: 1 / x, FLOATING + COMPLEX),
    "exp": (np.exp, FLOATING + COMPLEX),
    "expm1": (np.expm1, FLOATING + COMPLEX),
    "log": (np.log, FLOATING + COMPLEX),
    "log2": (_log2, FLOATING + COMPLEX),
    "log10": (np.log10, FLOATING + COMPLEX),
    "log1p": (np.log1p, FLOATING + COMPLEX),
    "sin": (np.sin, FLOATING + COMPLEX),
    "cos": (np.cos, FLOATING + COMPLEX),
    "tan": (np.tan, FLOATING + COMPLEX),
    "arcsin": (np.arcsin, FLOATING + COMPLEX),
    "arccos": (np.arccos, FLOATING + COMPLEX),
    "arctan": (np.arctan, FLOATING + COMPLEX),
    "sinh": (np.sinh, FLOATING + COMPLEX),
    "cosh": (np.cosh, FLOATING + COMPLEX),
    "tanh": (np.tanh, FLOATING + COMPLEX),
    "arcsinh": (np.arcsinh, FLOATING + COMPLEX),
    "arccosh": (np.arccosh, FLOATING + COMPLEX),
    "arctanh": (np.arctanh, FLOATING + COMPLEX),
    "erf": (np.vectorize(math.erf, otypes=["f8"]), FLOATING),
    "erfinv": (lambda x: np.copysign(scipy.special.erfinv(x), x), FLOATING),  # SciPy drops the sign of zero
    "sigmoid": (_logistic, FLOATING + COMPLEX),
    "floor": (np.floor, FLOATING),
    "ceil": (np.ceil, FLOATING),
    "rint": (np.rint, FLOATING + COMPLEX),
    "trunc": (np.trunc, FLOATING),
    "isnan": (np.isnan, EVERY),
    "isinf": (np.isinf, EVERY),
    "isfinite": (np.isfinite, EVERY),
    "signbit": (lambda x: x < 0 if x.dtype.kind in "biu" else np.signbit(x), BOOLEAN + INTEGER + FLOATING),
    "logical_not": (np.logical_not, EVERY),
    "bitwise_invert": (np.invert, BOOLEAN + INTEGER),
    "real": (np.real, EVERY),
    "imag": (np.imag, EVERY),
    "conjugate": (np.conjugate, INTEGER + FLOATING + COMPLEX),
    "add": (np.add, EVERY),
    "subtract": (np.subtract, INTEGER + FLOATING + COMPLEX),
    "multiply": (np.multiply, EVERY),
    "divide": (np.divide, FLOATING + COMPLEX),
    "floor_divide": (_divide_by(np.floor_divide), INTEGER + FLOATING),
    "remainder": (_divide_by(np.remainder), INTEGER + FLOATING),
    "power": (_power, INTEGER + FLOATING + COMPLEX),
    "maximum": (np.maximum, EVERY),
    "minimum": (np.minimum, EVERY),
    "arctan2": (np.arctan2, FLOATING),
    "logaddexp": (np.logaddexp, FLOATING),
    "hypot": (np.hypot, FLOATING),
    "copysign": (np.copysign, FLOATING),
    "equal": (np.equal, EVERY),
    "not_equal": (np.not_equal, EVERY),
    "less": (np.less, EVERY),
    "less_equal": (np.less_equal, EVERY),
    "greater": (np.greater, EVERY),
    "greater_equal": (np.greater_equal, EVERY),
    "logical_and": (np.logical_and, EVERY),
    "logical_or": (np.logical_or, EVERY),
    "bitwise_and": (np.bitwise_and, BOOLEAN + INTEGER),
    "bitwise_or": (np.bitwise_or, BOOLEAN + INTEGER),
    "bitwise_xor": (np.bitwise_xor, BOOLEAN + INTEGER),
    "left_shift": (lambda a, b: _shift(a, b, left=True), INTEGER),
    "right_shift": (lambda a, b: _shift(a, b, left=False), INTEGER),
}

# Stages that every correct implementation computes to the same bits.
EXACT = {"copy", "negative", "abs", "sign", "square", "sqrt", "reciprocal", "floor", "ceil", "rint", "trunc", "isnan"}
EXACT |= {
    "isinf",
    "isfinite",
    "logical_not",
    "bitwise_invert",
    "real",
    "imag",
    "conjugate",
    "add",
    "subtract",
    "multiply",
}
EXACT |= {"divide", "floor_divide", "remainder", "maximum", "minimum", "equal", "not_equal", "less", "less_equal"}
EXACT |= {"greater", "greater_equal", "logical_and", "logical_or", "bitwise_and", "bitwise_or", "bitwise_xor"}
EXACT |= {"left_shift", "right_shift", "signbit", "copysign"}
COMPLEX_INEXACT = {"sign", "sqrt", "square", "multiply", "reciprocal", "divide", "abs"}  # NumPy multiplies with FMA
# Units in the last place; measured over the whole range (test_accuracy.py).
FLOAT32_ULP = {"exp": 1.0, "log": 0.9, "log2": 0.9, "log10": 0.75}
FLOAT32_ULP |= {"tanh": 1.5, "sigmoid": 2.6, "erf": 1.3, "rsqrt": 1.5}
OTHER_FLOAT32_ULP = 0.51
FLOAT64_ULP = {"erfinv": 5.0}  # SciPy itself is 2.3 units off (tests/core/test_misc.py asks mpmath)


def is_exact(stage: str, name: str) -> bool:
    """Every correct implementation gives the same bits (up to NaN)."""
    return stage in EXACT and not (name in COMPLEX and stage in COMPLEX_INEXACT)


def tolerance(stage: str, name: str) -> float:
    """Units in the last place that a function of real numbers may be off."""
    if name == "float32":
        return FLOAT32_ULP.get(stage, OTHER_FLOAT32_ULP)
    return FLOAT64_ULP.get(stage, 3.0) if name == "float64" else 0.52


def wide(array: np.ndarray) -> np.ndarray:
    """The same values in float32 for the half types; others unchanged."""
    return array.astype("f4") if array.dtype in (np.float16, np.dtype(ml_dtypes.bfloat16)) else array


def wider(array: np.ndarray) -> np.ndarray:
    """The same values in float64 or complex128; integers and bool unchanged."""
    kind = array.dtype.kind
    if kind == "c":
        return array.astype("c16")
    return array if kind in "biu" else array.astype("f8")


def sample(name: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """n values of the dtype, small and large, positive and negative."""
    dtype = DTYPE[name]
    if name == "bool":
        return rng.integers(0, 2, n).astype("?")
    if name in INTEGER:
        info = np.iinfo(dtype)
        values = rng.integers(info.min, info.max, n, dtype, endpoint=True)
        small = rng.integers(0 if name in UNSIGNED else -9, 10, n).astype(dtype)
        return np.where(rng.random(n) < 0.5, small, values)
    if name in COMPLEX:
        part = "f4" if name == "complex64" else "f8"
        return (rng.normal(size=n).astype(part) + 1j * rng.normal(size=n).astype(part)).astype(dtype)
    return (rng.normal(size=n) * np.exp(rng.uniform(-3, 3, n))).astype(dtype)


def special(name: str) -> np.ndarray:
    """Values at which something changes."""
    dtype = DTYPE[name]
    if name == "bool":
        return np.array([False, True])
    if name in INTEGER:
        info = np.iinfo(dtype)
        values = [0, 1, 2, 3, 7, info.max, info.max - 1, info.min, info.min + 1]
        values += [-1, -2, -3] if name in SIGNED else [info.max // 2]
        return np.array(values, dtype)
    if name in COMPLEX:
        parts = [0.0, -0.0, 1.0, -2.5, np.inf, -np.inf, np.nan]
        return np.array([complex(a, b) for a in parts for b in parts], dtype)
    info = ml_dtypes.finfo(dtype)
    values = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -2.0, 2.5, 3.0, -3.0, np.inf, -np.inf, np.nan]
    values += [
        float(info.max),
        float(info.min),
        float(info.tiny),
        -float(info.tiny),
        float(info.smallest_subnormal),
        10.0,
    ]
    return np.array(values, dtype)


def spacing(values: np.ndarray, name: str) -> np.ndarray:
    """Unit in the last place of the dtype at the (float64) values."""
    info = ml_dtypes.finfo(DTYPE[name])
    magnitude = np.maximum(np.abs(np.where(np.isfinite(values), values, 1)), float(info.tiny))
    return np.exp2(np.floor(np.log2(magnitude)) - info.nmant)


def errors(got: np.ndarray, want: np.ndarray, name: str) -> np.ndarray:
    """Errors in units in the last place; infinite where NaN, infinity or the sign of zero differ. `want` is float64."""
    with np.errstate(all="ignore"):
        rounded = want.astype(DTYPE[name]).astype("f8")
        result = got.astype("f8")
        error = np.abs(result - want) / spacing(want, name)
        exact = ~np.isfinite(rounded) | ~np.isfinite(result)
        # A result beyond the largest number may still be rounded down to it.
        near_limit = np.isfinite(result) & np.isfinite(want)
        same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
        error = np.where(exact & ~near_limit, np.where(same, 0, np.inf), error)
        wrong_zero = (want == 0) & (np.signbit(result) != np.signbit(want))
        return np.where(wrong_zero, np.inf, error)
