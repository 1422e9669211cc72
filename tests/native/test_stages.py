"""Every stage on every dtype against NumPy, on dense arrays of all the lengths at which the code changes its way."""

from __future__ import annotations

import numpy as np
import pytest
from native.engine import COMPLEX, DTYPE, FLOATING, INTEGER, NAMES, TO_BOOL, Kernel, apply, result_dtype, stages
from native.oracle import (
    EVERY,
    HALF,
    ORACLE,
    errors,
    is_exact,
    sample,
    special,
    tolerance,
    wide,
    wider,
)

SIZES = [0, 1, 15, 16, 17, 127, 128, 129, 1000, 70000]
CASES = [(stage, name) for stage, (_, names) in ORACLE.items() for name in names]
DOMAIN = {"arcsin": 1, "arccos": 1, "arctanh": 1}


def operands(stage: str, name: str, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    count = stages()[stage][1]
    arrays = [sample(name, n, rng) for _ in range(count)]
    if name in FLOATING + COMPLEX and stage == "power":
        arrays[0] = np.abs(arrays[0]).astype(DTYPE[name])
    if stage == "power" and name in INTEGER:
        arrays[1] = (arrays[1] % 50).astype(DTYPE[name])
    if stage in DOMAIN and name in FLOATING:
        arrays[0] = (arrays[0] % 1).astype(DTYPE[name])
    if stage == "arccosh" and name in FLOATING:
        arrays[0] = (np.abs(arrays[0]) + 1).astype(DTYPE[name])
    if stage.startswith("log") and name in FLOATING:
        arrays[0] = np.abs(arrays[0])
    return arrays


def assert_matches(stage: str, name: str, got: np.ndarray, arrays: list[np.ndarray]) -> None:
    function = ORACLE[stage][0]
    assert got.dtype == result_dtype(stage, DTYPE[name])
    with np.errstate(all="ignore"):
        if is_exact(stage, name):
            want = np.asarray(function(*map(wide, arrays))).astype(got.dtype)
            np.testing.assert_array_equal(wide(got), wide(want))
        elif name in COMPLEX:
            want = function(*map(wider, arrays))
            np.testing.assert_allclose(got, want, rtol=3e-7 if name == "complex64" else 1e-12)
        elif name in INTEGER:
            np.testing.assert_array_equal(got, function(*arrays))
        else:
            found = errors(got, function(*map(wider, arrays)), name)
            worst = int(np.argmax(found)) if found.size else 0
            assert not found.size or found[worst] <= tolerance(stage, name), describe(found, worst, got, arrays)


def describe(found: np.ndarray, worst: int, got: np.ndarray, arrays: list[np.ndarray]) -> str:
    return f"{found[worst]:.4g} ulp: {[a[worst] for a in arrays]} -> {got[worst]}"


@pytest.mark.parametrize(("stage", "name"), CASES)
def test_a_stage_gives_what_numpy_gives(stage: str, name: str) -> None:
    """Dense arrays of every length at which strips, vectors and ends change."""
    rng = np.random.default_rng(1)
    expensive = (
        name in COMPLEX or stage in ("left_shift", "right_shift", "erf") or (stage == "power" and name in INTEGER)
    )
    for n in SIZES[:-1] if expensive else SIZES:
        arrays = operands(stage, name, n, rng)
        assert_matches(stage, name, apply(stage, *arrays), arrays)


@pytest.mark.parametrize("name", EVERY)
def test_select_moves_the_bits(name: str) -> None:
    """Both branches come through unchanged, whatever their bits say."""
    rng = np.random.default_rng(2)
    for n in SIZES:
        bits = rng.integers(0, 256, (2, n, DTYPE[name].itemsize), "u1")
        a, b = (row.reshape(-1).view(DTYPE[name]) if name != "bool" else (row[:, 0] & 1).view("?") for row in bits)
        condition = rng.integers(0, 2, n).astype("?")
        kernel = Kernel((n,))
        values = [kernel.input(x) for x in (condition, a, b)]
        got = kernel.output(kernel.op("select", *values))
        kernel.run()
        np.testing.assert_array_equal(got.view("u1"), np.where(condition, a, b).view("u1"))


@pytest.mark.parametrize("name", EVERY)
def test_copy_moves_the_bits(name: str) -> None:
    """NaN payloads and signalling NaNs included."""
    rng = np.random.default_rng(3)
    dtype = DTYPE[name]
    for n in SIZES:
        bits = rng.integers(0, 2 if name == "bool" else 256, n * dtype.itemsize, "u1")
        np.testing.assert_array_equal(apply("copy", bits.view(dtype)).view("u1"), bits)


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize("name", NAMES)
def test_cast_is_numpys_conversion(name: str, to: str) -> None:
    """Between all pairs; integers wrap; floats that the integer type can hold are cut; one rounding into half types."""
    rng = np.random.default_rng(4)
    for n in (0, 1, 17, 1000, 3000):
        values = sample(name, n, rng)
        source = values
        if to in INTEGER and name in FLOATING + COMPLEX:
            info = np.iinfo(DTYPE[to])
            limit = min(float(info.max), 2.0**31) / 4
            source = np.clip(wide(values.real), 0 if info.min == 0 else -limit, limit).astype(DTYPE[name])
        got = apply("cast", source, to=DTYPE[to])
        with np.errstate(all="ignore"):
            if to in HALF:
                want = round_once(source, to)
            elif name in COMPLEX and to != "bool" and to not in COMPLEX:
                want = source.real.astype(DTYPE[to])
            else:
                want = wide(source).astype(DTYPE[to])
        np.testing.assert_array_equal(wide(got), wide(want))


def round_once(values: np.ndarray, to: str) -> np.ndarray:
    """Nearest even in the half type by exact arithmetic (ml_dtypes goes through float32, which rounds twice)."""
    real = values.real if values.dtype.kind == "c" else values
    if to == "float16" or real.dtype.itemsize <= 2 or real.dtype == np.float32:
        if real.dtype.kind in "iu" and to == "float16":
            return np.array([np.float16(int(x)) for x in real], "f2")
        return wide(real).astype(DTYPE[to])
    bits = 8
    out = []
    for value in real:
        x = int(value) if real.dtype.kind in "iu" else float(value)
        if x == 0 or x != x or abs(x) == float("inf"):
            out.append(float(x))
            continue
        mantissa, exponent = np.frexp(np.float64(x)) if isinstance(x, float) else (None, abs(x).bit_length())
        if isinstance(x, int):
            shift = max(exponent - bits, 0)
            quotient, rest = divmod(abs(x), 1 << shift)
            half = (1 << shift) >> 1
            quotient += int(shift > 0 and (rest > half or (rest == half and quotient % 2 == 1)))
            out.append(float((quotient << shift) * (1 if x > 0 else -1)))
        else:
            out.append(float(np.ldexp(np.rint(mantissa * 2.0**bits), int(exponent) - bits)))
    return np.array(out, "f8").astype("f4").astype(DTYPE[to])


@pytest.mark.parametrize("to", INTEGER)
@pytest.mark.parametrize("name", FLOATING)
def test_a_float_beyond_the_integers_saturates(name: str, to: str) -> None:
    """Infinities and large numbers give the nearest integer there is, NaN gives 0."""
    info = np.iinfo(DTYPE[to])

    def saturated(x: float) -> int:
        if x != x:
            return 0
        return int(min(max(x, info.min), info.max)) if abs(x) < 2.0**70 else (info.max if x > 0 else info.min)

    values = special(name)
    want = np.array([saturated(float(x)) for x in values], DTYPE[to])
    np.testing.assert_array_equal(apply("cast", np.tile(values, 9), to=DTYPE[to]), np.tile(want, 9))


def special_operands(stage: str, name: str) -> list[np.ndarray]:
    """All values at which something changes, or all pairs of them."""
    values = special(name)
    arrays = [values] if stages()[stage][1] == 1 else [a.ravel() for a in np.meshgrid(values, values)]
    if stage == "power" and name in INTEGER:
        arrays[1] = arrays[1] % DTYPE[name].type(50)
    return arrays


@pytest.mark.parametrize(("stage", "name"), [c for c in CASES if is_exact(*c) or c[1] in INTEGER])
def test_special_values_of_exact_stages(stage: str, name: str) -> None:
    """Zeros of both signs, infinities, NaN, limits, subnormals; integers at their ends."""
    arrays = special_operands(stage, name)
    got = apply(stage, *arrays)
    with np.errstate(all="ignore"):
        want = np.asarray(ORACLE[stage][0](*map(wide, arrays))).astype(got.dtype)
    np.testing.assert_array_equal(wide(got), wide(want))
    if name in FLOATING and stage not in TO_BOOL | {"maximum", "minimum", "sign"}:  # which zero wins is left open
        numbers = ~np.isnan(wide(got))
        np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers])


@pytest.mark.parametrize(("stage", "name"), [c for c in CASES if not is_exact(*c) and c[1] in FLOATING])
def test_special_values_of_functions(stage: str, name: str) -> None:
    """exp(-inf) is 0, log(0) is -inf, power and arctan2 as C has them; the sign of zero counts."""
    arrays = special_operands(stage, name)
    got = apply(stage, *arrays)
    with np.errstate(all="ignore"):
        found = errors(got, ORACLE[stage][0](*map(wider, arrays)), name)
    worst = int(np.argmax(found))
    assert found[worst] <= tolerance(stage, name), describe(found, worst, got, arrays)


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_abs_and_division_do_not_overflow(name: str) -> None:
    """The squares of the parts may lie outside of the range."""
    limit = float(np.finfo(DTYPE[name]).max)
    a = np.array([complex(limit / 2, limit / 2), complex(1e-30, 1e-30), complex(0, np.inf)], DTYPE[name])
    np.testing.assert_allclose(
        apply("abs", a), [np.hypot(limit / 2, limit / 2), np.hypot(1e-30, 1e-30), np.inf], rtol=1e-6
    )
    np.testing.assert_allclose(apply("divide", a[:2], a[:2]), [1, 1], rtol=1e-6)
    np.testing.assert_allclose(apply("reciprocal", a[:1]) * a[:1], [1], rtol=1e-6)


def test_every_stage_is_tested() -> None:
    """The oracle has a line for each stage but the two with tests of their own."""
    assert set(stages()) - set(ORACLE) == {"cast", "select"}


def test_a_stage_without_a_loop_is_refused_by_name() -> None:
    """The engine never asks; if it did, the message says what."""
    with pytest.raises(RuntimeError, match="no bitwise_and of float64"):
        apply("bitwise_and", np.zeros(3), np.zeros(3))
    with pytest.raises(RuntimeError, match="no bitwise_and of float32"):
        apply("bitwise_and", np.zeros(3, "f4"), np.zeros(3, "f4"))
