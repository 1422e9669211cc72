"""float32 functions over their whole range against float64, in units in the last place; half types to one rounding."""

from __future__ import annotations

import numpy as np
import pytest
from native.engine import DTYPE, apply
from native.oracle import HALF, ORACLE, errors, tolerance, wider
from native.test_stages import describe

FUNCTIONS = ["exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh"]
FUNCTIONS += [
    "cosh",
    "tanh",
    "arcsinh",
    "arccosh",
    "arctanh",
    "erf",
    "erfinv",
    "sigmoid",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "square",
]
PAIRS = ["power", "arctan2", "logaddexp", "hypot", "remainder", "floor_divide", "divide"]


def whole_range(rng: np.random.Generator) -> np.ndarray:
    """All exponents and signs, and more where functions change their way."""
    parts = [
        rng.integers(0, 2**32, 200_000, dtype=np.uint64).astype("u4").view("f4"),
        rng.uniform(-20, 20, 60_000),
        rng.uniform(-1.5, 1.5, 60_000),
        1 + rng.uniform(-1e-3, 1e-3, 20_000),
        rng.uniform(-110, 110, 30_000),
        np.arange(-1000, 1000),
        np.arange(1, 3000) * np.float32(np.pi / 2),
        rng.integers(1, 2**24, 5000) * 2.0 ** rng.integers(-3, 104, 5000),
        [
            0.0,
            -0.0,
            np.inf,
            -np.inf,
            np.nan,
            1e-45,
            -1e-45,
            88.72284,
            -87.33655,
            -103.97,
            -104,
            0.625,
            2**20,
            2**20 + 1,
        ],
    ]
    with np.errstate(invalid="ignore"):
        return np.concatenate([np.asarray(p).astype("f4") for p in parts])


@pytest.mark.parametrize("stage", FUNCTIONS)
def test_functions_of_float32(stage: str) -> None:
    """Infinities, NaN, subnormals and huge angles included."""
    x = whole_range(np.random.default_rng(11))
    if stage == "erf":
        x = x[::4]
    with np.errstate(all="ignore"):
        found = errors(got := apply(stage, x), ORACLE[stage][0](x.astype("f8")), "float32")
    worst = int(np.argmax(found))
    assert found[worst] <= tolerance(stage, "float32"), describe(found, worst, got, [x])


@pytest.mark.parametrize("stage", PAIRS)
def test_functions_of_two_float32(stage: str) -> None:
    """Pairs from the whole range, small whole exponents, quotients too large for float64."""
    rng = np.random.default_rng(12)
    x, y = rng.permutation(whole_range(rng)), rng.permutation(whole_range(rng))
    x = np.concatenate(
        [x, *(v.astype("f4") for v in (np.abs(rng.normal(size=50_000) * 9), rng.normal(size=50_000) * 4))]
    )
    y = np.concatenate(
        [y, *(v.astype("f4") for v in (rng.normal(size=50_000) * 20, np.round(rng.normal(size=50_000) * 8)))]
    )
    got = apply(stage, x, y)
    with np.errstate(all="ignore"):
        if stage in ("remainder", "floor_divide", "divide"):
            want = ORACLE[stage][0](x, y)
            np.testing.assert_array_equal(got, want)
            numbers = ~np.isnan(want)
            np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers])
            return
        found = errors(got, ORACLE[stage][0](x.astype("f8"), y.astype("f8")), "float32")
    worst = int(np.argmax(found))
    assert found[worst] <= tolerance(stage, "float32"), describe(found, worst, got, [x, y])


@pytest.mark.parametrize("name", HALF)
@pytest.mark.parametrize("stage", FUNCTIONS)
def test_every_half(stage: str, name: str) -> None:
    """All 65536 arguments."""
    x = np.arange(65536, dtype=np.uint32).astype("u2").view(DTYPE[name])
    with np.errstate(all="ignore"):
        found = errors(got := apply(stage, x), ORACLE[stage][0](wider(x)), name)
    worst = int(np.argmax(found))
    assert found[worst] <= tolerance(stage, name), describe(found, worst, got, [x])
