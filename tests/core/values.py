"""Test values: arrays of every dtype and layout, and how near a result must be. Shared by the tests of tests/core."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np

import bridge
from bridge.core import dtypes
from bridge.core._native import DTYPES

Array = np.ndarray

# What is held and not computed with. Name: bits, DLPack code, the smallest dtype of every framework that has each of
# its values. Written by hand, as the oracle of what bridge says.
HELD = {
    "float8_e4m3fn": (8, 10, "float16"),
    "float8_e5m2": (8, 12, "float16"),
    "float8_e4m3b11fnuz": (8, 9, "float16"),
    "float8_e4m3fnuz": (8, 11, "float16"),
    "float8_e5m2fnuz": (8, 13, "float16"),
    "float8_e8m0fnu": (8, 14, "bfloat16"),
    "int4": (4, 0, "int8"),
    "uint4": (4, 1, "uint8"),
    "float4_e2m1fn": (4, 17, "float16"),
}

# Mantissa bits and smallest normal exponent: what a unit in the last place is.
PRECISION = {"float16": (10, -14), "bfloat16": (7, -126), "float32": (23, -126), "float64": (52, -1022)}
PARTS = {"complex64": "float32", "complex128": "float64"}
# What results are computed in for comparison: at least one format wider.
WIDER = {
    "float16": np.float64,
    "bfloat16": np.float64,
    "float32": np.float64,
    "float64": np.longdouble,
    "complex64": np.complex128,
    "complex128": np.clongdouble,
}


def names(accepted: frozenset[bridge.Dtype]) -> list[str]:
    """Names of a set of dtypes, in the order of the table."""
    return [row.name for row in dtypes.TABLE if DTYPES[row.name] in accepted]


EVERY = names(dtypes.ALL)


def numpy_dtype(name: str) -> np.dtype:
    return np.dtype(getattr(ml_dtypes, name, name))


def draw(name: str, shape: tuple[int, ...], low: float = -4, high: float = 4, *, seed: int = 0) -> Array:
    """Random values of a dtype in [low, high]; complex numbers have both parts there, and in [-2, 2]."""
    random = np.random.default_rng([seed, sum(shape), len(shape)])
    kind = numpy_dtype(name).kind
    if name == "bool":
        return random.random(shape) < 0.5
    if name in PARTS:
        low, high = max(low, -2.0), min(high, 2.0)
        return (random.uniform(low, high, shape) + 1j * random.uniform(low, high, shape)).astype(name)
    if kind in "iu":
        low, high = (0 if kind == "u" else max(low, -100)), min(high, 100)
        return random.integers(int(np.ceil(low)), int(np.floor(high)) + 1, shape).astype(name)
    return np.clip(random.uniform(low, high, shape), low, high).astype(numpy_dtype(name))


def to_bridge(value: Array) -> bridge.array:
    """A copy in the engine, with the dtype kept."""
    return bridge.array(value, dtype=dtypes.from_numpy(value.dtype))


def to_numpy(a: bridge.array) -> Array:
    return np.array(a)


# Layouts: how an operand of shape (4, 6) lies in memory. Each takes an array of NumPy or bridge and gives a view.
BASES: dict[str, tuple[int, ...]] = {
    "dense": (4, 6),
    "offset": (5, 7),
    "strided": (8, 12),
    "reversed": (4, 6),
    "transposed": (6, 4),
    "broadcast": (1, 6),
}
LAYOUTS: dict[str, Callable] = {
    "dense": lambda a: a,
    "offset": lambda a: a[1:, 1:],
    "strided": lambda a: a[::2, 1::2],
    "reversed": lambda a: a[::-1, ::-1],
    "transposed": lambda a: a.T,
    "broadcast": lambda a: (
        bridge.broadcast_to(a, (4, 6)) if isinstance(a, bridge.array) else np.broadcast_to(a, (4, 6))
    ),
}
# Other sizes, dense: nothing, one element, an odd size that fills no vector, one that fills several.
SHAPES: list[tuple[int, ...]] = [(), (0,), (3, 0), (1,), (37,), (3, 1, 5), (1025,)]


def laid_out(layout: str, name: str, low: float, high: float, seed: int = 0) -> tuple[Array, bridge.array]:
    """The same values as a NumPy view and as a bridge view, in that layout."""
    base = draw(name, BASES[layout], low, high, seed=seed)
    view = LAYOUTS[layout]
    return view(base), view(to_bridge(base))


def unit(value: Array, name: str) -> Array:
    """Unit in the last place of the float dtype `name` at each value."""
    bits, smallest = PRECISION[name]
    magnitude = np.abs(np.asarray(value, np.longdouble))
    exponent = np.frexp(np.where(np.isfinite(magnitude), magnitude, 0))[1] - 1
    return np.ldexp(np.longdouble(1), np.maximum(exponent, smallest) - bits)


def tolerance(ulp: float | None, name: str) -> float:
    """Largest allowed error, in units of the last place, of an op that declares `ulp` for float32.

    Halves are computed in float32 and rounded once, so they are right to half a unit and a hair. float64 gets one unit
    more for the reference's own error.
    """
    declared = 0.5 if ulp is None else ulp
    if name in ("float16", "bfloat16"):
        return 0.51
    return declared + (1e-6 if name == "float32" else 1)


def assert_near(got: Array, want: Array, ulp: float | None, label: str = "") -> None:
    """`got` has the dtype, shape and values wanted: exact for integers and bool, near for the rest; NaN where NaN."""
    assert got.shape == want.shape, f"{label}: shape {got.shape}, want {want.shape}"
    name = str(got.dtype)
    if name in PARTS:
        limit = 4 * max(tolerance(ulp, PARTS[name]), 4)
        error = np.abs(got.astype(np.clongdouble) - want)
        allowed = limit * unit(np.abs(want), PARTS[name])
    elif name in PRECISION:
        limit = tolerance(ulp, name)
        wide = got.astype(np.longdouble)
        largest = np.longdouble(
            float(np.finfo(got.dtype).max if name != "bfloat16" else ml_dtypes.finfo(got.dtype).max)
        )
        # What rounds to more than the largest number is infinite.
        bounded = np.where(
            np.abs(want) > largest * (1 + 2.0 ** -(PRECISION[name][0] + 2)), np.copysign(np.inf, want), want
        )
        np.testing.assert_array_equal(np.isnan(wide), np.isnan(bounded), err_msg=f"{label}: NaN")
        same = (wide == bounded) | np.isnan(bounded)
        with np.errstate(invalid="ignore"):
            error = np.where(same, 0, np.abs(wide - bounded))
        allowed = limit * unit(bounded, name)
    else:
        np.testing.assert_array_equal(got, want, err_msg=label)
        return
    worst = float(np.max(error / allowed, initial=0)) * limit
    assert worst <= limit, f"{label}: {worst:.2f} units in the last place, allowed {limit:.2f}"
