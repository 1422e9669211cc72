"""Reductions over any axes of any layout, with and without a fused prologue, against NumPy."""

from __future__ import annotations

import itertools
import math

import ml_dtypes
import numpy as np
import pytest
from native.engine import COMPLEX, DTYPE, FLOATING, INTEGER, NAMES, UNSIGNED, Kernel, library, reduce
from native.oracle import HALF, sample, wide, wider
from native.test_layouts import LAYOUTS

SHAPES = [(1,), (7,), (300,), (5000,), (13, 5), (5, 700), (700, 5), (3, 40, 6), (6, 3, 600), (1, 9, 1), (2, 3, 4, 5)]
RELATIVE = {
    "float16": 2e-3,
    "bfloat16": 1e-2,
    "float32": 2e-7,
    "complex64": 5e-7,
    "float64": 1e-14,
    "complex128": 1e-13,
}


def all_axes(ndim: int) -> list[tuple[int, ...]]:
    return [axes for n in range(1, ndim + 1) for axes in itertools.combinations(range(ndim), n)]


def total_dtype(name: str) -> np.dtype:
    """What the engine asks for: integers are widened."""
    if name in FLOATING + COMPLEX:
        return DTYPE[name]
    return DTYPE["uint64" if name in UNSIGNED else "int64"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_sums_and_products(name: str, shape: tuple[int, ...]) -> None:
    """Integers wrap; floats are as good as float64 and rounded once."""
    a = sample(name, math.prod(shape), np.random.default_rng(1)).reshape(shape)
    for axes, kind in itertools.product(all_axes(len(shape)), ("sum", "prod")):
        out = total_dtype(name)
        got = reduce(kind, a, axes, out)
        function = np.sum if kind == "sum" else np.prod
        with np.errstate(all="ignore"):
            if name in [*INTEGER, "bool"]:
                np.testing.assert_array_equal(got, function(a, axes, dtype=out))
                continue
            want = function(wider(a), axes)
            scale = np.sum(np.abs(wider(a)), axes) if kind == "sum" else np.abs(want)
            info = ml_dtypes.finfo(got.real.dtype)
            close = np.abs(wider(got) - want) <= RELATIVE[name] * scale + float(info.smallest_subnormal)
            overflow = np.abs(want) > float(info.max) / 2
            assert np.all(close | overflow), (axes, kind)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_extremes_and_truth(name: str, shape: tuple[int, ...]) -> None:
    """max, min, all, any over any axes."""
    rng = np.random.default_rng(2)
    a = sample(name, math.prod(shape), rng).reshape(shape)
    a[rng.random(shape) < 0.3] = 0
    for axes in all_axes(len(shape)):
        np.testing.assert_array_equal(wide(reduce("max", a, axes, a.dtype)), wide(a).max(axes))
        np.testing.assert_array_equal(wide(reduce("min", a, axes, a.dtype)), wide(a).min(axes))
        np.testing.assert_array_equal(reduce("all", a, axes, DTYPE["bool"]), (wide(a) != 0).all(axes))
        np.testing.assert_array_equal(reduce("any", a, axes, DTYPE["bool"]), (wide(a) != 0).any(axes))


def first_of(kind: str, a: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """NumPy's argmax over several axes: index into them in C order."""
    kept = [i for i in range(a.ndim) if i not in axes]
    flat = wide(a).transpose(*kept, *axes).reshape([a.shape[i] for i in kept] + [-1])
    return (np.argmax if kind == "argmax" else np.argmin)(flat, -1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_places_of_extremes(name: str, shape: tuple[int, ...]) -> None:
    """The first in C order, among many equal ones; a NaN wins, the first of several."""
    rng = np.random.default_rng(3)
    few = sample(name, 4, rng)
    for nan in (False, True) if name in FLOATING + COMPLEX else (False,):
        a = few[rng.integers(0, 4, shape)]
        if nan:
            a[rng.random(shape) < 0.02] = np.nan
        for axes, kind in itertools.product(all_axes(len(shape)), ("argmax", "argmin")):
            want = first_of(kind, a, axes)
            for out in ("uint32", "int64"):
                np.testing.assert_array_equal(reduce(kind, a, axes, DTYPE[out]), want, err_msg=f"{kind} {axes}")


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("n", [1, 17, 600, 100_000])
def test_nan_comes_through(name: str, n: int) -> None:
    """Wherever it stands."""
    for at in {0, n // 2, n - 1}:
        a = (np.arange(n) % 100).astype(DTYPE[name])
        a[at] = np.nan
        for kind in ("sum", "prod", "max", "min"):
            assert np.isnan(wide(reduce(kind, a, [0], a.dtype)))
        assert reduce("argmax", a, [0], DTYPE["int64"]) == at
        assert reduce("argmin", a, [0], DTYPE["int64"]) == at


@pytest.mark.parametrize("kind", ["sum", "max", "argmin"])
@pytest.mark.parametrize("name", ["float32", "float16", "int16", "float64"])
@pytest.mark.parametrize("layout", [k for k in LAYOUTS if k not in ("zero-d", "empty")])
def test_any_layout_is_reduced(layout: str, name: str, kind: str) -> None:
    """The values are those of the dense copy."""
    a = LAYOUTS[layout](name)
    for axes in all_axes(a.ndim) if a.ndim < 6 else [(0, 3), (1, 2, 10), tuple(range(11))]:
        out = {"sum": total_dtype(name), "max": a.dtype, "argmin": DTYPE["uint32"]}[kind]
        got, want = reduce(kind, a, axes, out), reduce(kind, np.array(a, order="C"), axes, out)
        if kind == "sum" and name in FLOATING:
            np.testing.assert_allclose(wide(got), wide(want), rtol=2e-3 if name in HALF else 1e-6, atol=1e-3)
        else:
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shape", [(5,), (70000,), (40, 30), (3, 5000), (5000, 3), (8, 9, 100)], ids=str)
@pytest.mark.parametrize("name", ["float32", "float16", "int32", "complex64"])
def test_a_prologue_is_fused_and_its_values_are_stored(name: str, shape: tuple[int, ...]) -> None:
    """sum((a + b) * a), keeping a + b and the product: the same bits as in two steps."""
    rng = np.random.default_rng(4)
    a, b = (sample(name, math.prod(shape), rng).reshape(shape) for _ in range(2))
    for axes in all_axes(len(shape)):
        for outputs in (0, 1, 2):
            kernel = Kernel(shape)
            x, y = kernel.input(a), kernel.input(b)
            total = kernel.op("add", x, y)
            product = kernel.op("multiply", total, x)
            stored = [kernel.output(v) for v in (total, product)[:outputs]]
            result = kernel.reduce("sum", product, axes, total_dtype(name))
            kernel.run()
            with np.errstate(all="ignore"):
                want_total = (wide(a) + wide(b)).astype(a.dtype)
            for got, want in zip(stored, (want_total,), strict=False):
                np.testing.assert_array_equal(got, want)
            if outputs == 2:
                np.testing.assert_array_equal(result, reduce("sum", stored[1], axes, total_dtype(name)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 4), (2, 0, 5)], ids=str)
def test_empty_reductions(name: str, shape: tuple[int, ...]) -> None:
    """Sum 0, product 1, all true, any false; and nothing at all when no result is asked for."""
    a = np.zeros(shape, DTYPE[name])
    for axes in all_axes(len(shape)):
        for kind, value in (("sum", 0), ("prod", 1), ("all", 1), ("any", 0)):
            out = DTYPE["bool"] if kind in ("all", "any") else total_dtype(name)
            got = reduce(kind, a, axes, out)
            np.testing.assert_array_equal(wide(got), np.full(got.shape, value, out).astype(wide(got).dtype))


def test_the_sign_of_a_zero_sum() -> None:
    """A sum of negative zeros is negative zero, as in NumPy."""
    for n in (1, 5, 100, 5000):
        assert np.signbit(reduce("sum", np.full(n, -0.0, "f4"), [0], DTYPE["float32"]))
        assert not np.signbit(reduce("sum", np.append(np.full(n, -0.0), 0.0), [0], DTYPE["float64"]))


def test_float32_sums_are_as_good_as_float64() -> None:
    """The error of a million terms is the rounding at the end."""
    rng = np.random.default_rng(6)
    for values in (rng.normal(size=1_000_003), rng.random(1_000_003), 1 / np.arange(1, 1_000_000)):
        a = values.astype("f4")
        want = math.fsum(a.astype("f8"))
        got = float(reduce("sum", a, [0], DTYPE["float32"]))
        assert abs(got - want) <= abs(want) * 2.0**-24 + 1e-9
        columns = reduce("sum", a[: 1000 * 999].reshape(999, 1000), [0], DTYPE["float32"])
        np.testing.assert_allclose(
            columns, a[: 1000 * 999].reshape(999, 1000).astype("f8").sum(0), rtol=1e-7, atol=1e-12
        )


def test_float64_sums_are_pairwise() -> None:
    """Much better than adding from left to right."""
    a = np.full(3_000_000, 0.1)
    assert abs(float(reduce("sum", a, [0], DTYPE["float64"])) - math.fsum(a)) < 1e-9


@pytest.mark.parametrize("shape", [(3_000_001,), (7, 400_000), (400_000, 7), (1500, 1500), (3, 1000, 700)], ids=str)
@pytest.mark.parametrize("kind", ["sum", "max", "argmax"])
def test_threads_change_no_bit(shape: tuple[int, ...], kind: str) -> None:
    """One, two or five threads: blocks are cut by the shape alone."""
    a = np.random.default_rng(7).normal(size=shape).astype("f8")
    for axes in all_axes(len(shape)):
        results = []
        for threads in (1, 2, 5):
            library().test_set_threads(threads)
            results.append(reduce(kind, a, axes, DTYPE["int64" if kind == "argmax" else "float64"]))
        library().test_set_threads(2)
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other)
        want = first_of(kind, a, axes) if kind == "argmax" else getattr(a, kind)(axes)
        np.testing.assert_allclose(results[0], want, rtol=1e-9, atol=1e-9)
