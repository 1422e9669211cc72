"""Casts between all dtypes: exact where the value fits, and the decided answer where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from core.values import EVERY, LAYOUTS, PARTS, draw, laid_out, numpy_dtype, to_bridge, to_numpy

import bridge
from bridge.core._native import DTYPES

INTEGERS = [name for name in EVERY if numpy_dtype(name).kind in "iu"]
FLOATS = ["float16", "bfloat16", "float32", "float64"]


def cast(x: np.ndarray, name: str) -> np.ndarray:
    """NumPy's cast; from complex to real by way of the real part, and to bool by comparison with 0."""
    if name == "bool":
        return x != 0
    if x.dtype.kind == "c" and name not in PARTS:
        x = x.real
    if x.dtype == np.float64 and name == "bfloat16":
        # ml_dtypes rounds to float32 first, and again; these values are exact in float32.
        x = x.astype(np.float32)
    return x.astype(numpy_dtype(name))


@pytest.mark.parametrize("target", EVERY)
@pytest.mark.parametrize("source", EVERY)
def test_values_that_fit(source: str, target: str):
    """Every pair of dtypes, from every layout: NumPy's values, bit by bit."""
    low = 0 if numpy_dtype(target).kind == "u" or numpy_dtype(source).kind == "u" else -100
    for layout in LAYOUTS:
        x, a = laid_out(layout, source, low, 100)
        if x.dtype == np.float64:
            x = x.astype(np.float32).astype(np.float64)
            a = a.astype(bridge.float32).astype(bridge.float64)
        if x.dtype.kind == "c" and numpy_dtype(target).kind == "u":
            x, a = np.abs(x).astype(x.dtype), bridge.abs(a).astype(DTYPES[source])
        got = to_numpy(a.astype(DTYPES[target]))
        assert got.dtype == numpy_dtype(target)
        if source in PARTS and target in INTEGERS:
            # The size of a complex number may differ in the last bit between the two.
            np.testing.assert_allclose(got, cast(x, target), atol=1)
        else:
            np.testing.assert_array_equal(got, cast(x, target), err_msg=layout)


@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("target", INTEGERS)
def test_floats_outside_the_range_saturate(source: str, target: str):
    """Float to integer drops the fraction, stops at the ends of the range, and turns NaN into 0."""
    ends = np.iinfo(target)
    a = bridge.array([np.inf, -np.inf, np.nan, -0.9, 2.9, -2.9], dtype=DTYPES[source])
    floor = max(ends.min, -2)
    assert a.astype(DTYPES[target]).tolist() == [ends.max, ends.min, 0, 0, 2, floor]


@pytest.mark.parametrize("source", INTEGERS)
@pytest.mark.parametrize("target", INTEGERS)
def test_integers_keep_their_low_bits(source: str, target: str):
    """Integer to integer wraps, as in C and NumPy."""
    ends = np.iinfo(source)
    x = np.array([ends.min, ends.max, ends.max // 3, 1], source)
    np.testing.assert_array_equal(to_numpy(to_bridge(x).astype(DTYPES[target])), x.astype(target))


@pytest.mark.parametrize("source", ["int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("target", FLOATS)
def test_wide_integers_round_once(source: str, target: str):
    """Integers that a float cannot hold go to the nearest one, ties to even."""
    bits = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}[target]
    ends = np.iinfo(source)
    random = np.random.default_rng(4)
    x = random.integers(ends.min, ends.max, 500, dtype=source, endpoint=True)
    x = np.concatenate([x, x >> random.integers(0, 30, 500).astype(source)])
    wanted = []
    for value in x.tolist():
        size = abs(value)
        drop = max(size.bit_length() - bits - 1, 0)
        low, kept = size & ((1 << drop) - 1), size >> drop
        half = 1 << drop >> 1
        kept += drop > 0 and (low > half or (low == half and kept & 1))
        wanted.append((-1 if value < 0 else 1) * (kept << drop))
    largest = 65504 if target == "float16" else float("inf")
    wanted = [value if abs(value) <= largest else np.inf * np.sign(value) for value in wanted]
    got = to_numpy(to_bridge(x).astype(DTYPES[target])).astype(np.float64)
    np.testing.assert_array_equal(got, np.array(wanted, np.float64))


@pytest.mark.parametrize("target", ["float16", "bfloat16"])
def test_float64_rounds_once(target: str):
    """float64 to a half is rounded once, not by way of float32."""
    bits = {"float16": 10, "bfloat16": 7}[target]
    # Just above and below the middle between two halves, by less than float32 can see.
    middle = 1 + 2.0 ** -(bits + 1)
    a = bridge.array([middle + 2.0**-40, middle, middle - 2.0**-40], dtype=bridge.float64)
    assert a.astype(DTYPES[target]).astype(bridge.float64).tolist() == [1 + 2.0**-bits, 1, 1]


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_survive_float32(name: str):
    """Every bit pattern of a half goes to float32 and back unchanged, NaN as a NaN."""
    bits = np.arange(2**16, dtype=np.uint16)
    x = bits.view(numpy_dtype(name))
    back = to_numpy(to_bridge(x).astype(bridge.float32).astype(DTYPES[name]))
    nan = np.isnan(x.astype(np.float32))
    np.testing.assert_array_equal(back.view(np.uint16)[~nan], bits[~nan])
    assert np.isnan(back.astype(np.float32)[nan]).all()


def test_a_cast_to_the_same_dtype_is_the_array():
    """astype to the array's own dtype shares everything."""
    a = bridge.array(draw("float32", (4,)))
    assert bridge.core._native.storage_address(a.astype(bridge.float32)) == bridge.core._native.storage_address(a)
