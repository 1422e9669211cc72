"""cumsum, cumprod, cummax, cummin, logcumsumexp and the array API's cumulative_*: values, edges, rules."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from core.values import EVERY, LAYOUTS, PARTS, assert_near, draw, laid_out, numpy_dtype, to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

import bridge
from bridge.core import _native
from bridge.core.ops.declare import PRIMITIVES

SCANS: dict[str, Callable] = {
    "cumsum": np.add,
    "cumprod": np.multiply,
    "cummax": np.maximum,
    "cummin": np.minimum,
    "logcumsumexp": np.logaddexp,
}
EXACT = [name for name in EVERY if "float" not in name and name not in PARTS]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
WIDE = {"float16": np.float64, "bfloat16": np.float64, "float32": np.float64, "float64": np.longdouble}


def empty_of(op: str, dtype: np.dtype) -> object:
    """The result of no elements."""
    if op in ("cumsum", "cumprod"):
        return op == "cumprod"
    if op == "logcumsumexp":
        return -np.inf
    worst = -1 if op == "cummax" else 1
    if dtype.kind in "fc":
        return complex(worst * np.inf, worst * np.inf) if dtype.kind == "c" else worst * np.inf
    if dtype.kind == "b":
        return op == "cummin"
    return np.iinfo(dtype).min if op == "cummax" else np.iinfo(dtype).max


def scan(op: str, x: np.ndarray, axis: int | None, reverse: bool = False, inclusive: bool = True) -> np.ndarray:
    """NumPy's answer."""
    x = x.reshape(-1) if axis is None else x
    x = np.moveaxis(x, axis or 0, 0)
    x = x[::-1] if reverse else x
    y = SCANS[op].accumulate(x, axis=0, dtype=x.dtype if op not in ("cummax", "cummin") else None)
    if not inclusive:
        y = np.concatenate([np.full_like(y[:1], empty_of(op, x.dtype)), y[:-1]])
    return np.moveaxis(y[::-1] if reverse else y, 0, axis or 0)


DIRECTIONS = [(reverse, inclusive) for reverse in (False, True) for inclusive in (True, False)]


@pytest.mark.parametrize(("reverse", "inclusive"), DIRECTIONS)
@pytest.mark.parametrize("op", ["cumsum", "cumprod", "cummax", "cummin"])
@pytest.mark.parametrize("name", EXACT)
def test_integers(name: str, op: str, reverse: bool, inclusive: bool):
    """Integers and bool agree with NumPy exactly and keep their dtype; bool is counted in int32."""
    x = draw(name, (7, 33, 5), -100, 100)
    if op == "cumsum" and name == "bool":
        x = x.astype(np.int32)
    with np.errstate(all="ignore"):
        for axis in (0, 1, -1, None):
            a = to_bridge(x) if x.dtype == numpy_dtype(name) else to_bridge(x.astype(bool))
            got = getattr(bridge, op)(a, axis, reverse=reverse, inclusive=inclusive)
            want = scan(op, x, axis, reverse, inclusive).astype(x.dtype)
            assert got.dtype.name == want.dtype.name
            np.testing.assert_array_equal(to_numpy(got), want)


@pytest.mark.parametrize(("reverse", "inclusive"), DIRECTIONS)
@pytest.mark.parametrize("op", SCANS)
@pytest.mark.parametrize("name", FLOATS)
def test_floats(name: str, op: str, reverse: bool, inclusive: bool):
    """Floats are as near to the exact result as one rounding allows, and keep their dtype, halves as well."""
    x = draw(name, (5, 41, 3), 0.5, 1.5)
    for axis in (0, 1, 2, None):
        got = to_numpy(getattr(bridge, op)(to_bridge(x), axis, reverse=reverse, inclusive=inclusive))
        want = scan(op, x.astype(WIDE[name]), axis, reverse, inclusive)
        limit = {"float64": 300, "float32": 0.51}.get(name, 0.52) if op != "logcumsumexp" else 4
        assert got.dtype == x.dtype
        assert_near(got, want, None if op in ("cummax", "cummin") else limit)


@pytest.mark.parametrize(("reverse", "inclusive"), DIRECTIONS)
@pytest.mark.parametrize("op", SCANS)
@pytest.mark.parametrize("name", PARTS)
def test_complex(name: str, op: str, reverse: bool, inclusive: bool):
    """Complex numbers; extremes go by real part, then by imaginary part."""
    x = draw(name, (4, 23, 3)).round(1) / (2 if op == "cumprod" else 1)
    wide = x.astype(np.complex128)
    for axis in (0, 1, 2, None):
        got = to_numpy(getattr(bridge, op)(to_bridge(x), axis, reverse=reverse, inclusive=inclusive))
        assert got.dtype == x.dtype
        if op == "logcumsumexp":
            want = scan("cumsum", np.exp(wide), axis, reverse, inclusive)
            np.testing.assert_allclose(np.exp(got), want, rtol=1e-4 if name == "complex64" else 1e-12)
        elif op in ("cumsum", "cumprod"):
            want = scan(op, wide, axis, reverse, inclusive)
            np.testing.assert_allclose(got, want, rtol=1e-5 if name == "complex64" else 1e-12, atol=1e-12)
        else:
            np.testing.assert_array_equal(got, scan(op, x, axis, reverse, inclusive))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("op", SCANS)
def test_layouts(op: str, layout: str):
    """Any layout, along any axis."""
    x, a = laid_out(layout, "float64", 0.5, 1.5)
    for axis in (0, 1, None):
        np.testing.assert_allclose(to_numpy(getattr(bridge, op)(a, axis)), scan(op, x, axis), rtol=1e-13)


@pytest.mark.parametrize("op", SCANS)
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (1,), (1, 1)])
def test_little(op: str, shape: tuple[int, ...]):
    """No elements and one element."""
    x = draw("float32", shape, 1, 2)
    for axis in range(len(shape)):
        got = to_numpy(getattr(bridge, op)(to_bridge(x), axis))
        np.testing.assert_array_equal(got, x)
    assert getattr(bridge, op)(bridge.array(2.0)).tolist() == [2.0]


@given(
    x=shapes.arrays(
        st.sampled_from([np.float32, np.float64, np.int8, np.uint32]),
        shapes.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=20),
    ),
    axis=st.integers(0, 2),
)
def test_any_extremes(x: np.ndarray, axis: int):
    """Extremes of arrays that hypothesis thinks of, NaN and infinities included."""
    for op in ("cummax", "cummin"):
        got = to_numpy(getattr(bridge, op)(to_bridge(x), axis % x.ndim))
        np.testing.assert_array_equal(got, SCANS[op].accumulate(x, axis=axis % x.ndim))


def test_special_values():
    """NaN stays from the first one on; infinities are no accidents; a sum of negative zeros is negative."""
    nan, inf = float("nan"), float("inf")

    def run(op: str, values: list[float]) -> list[float]:
        return to_numpy(getattr(bridge, op)(bridge.array(values)))

    np.testing.assert_array_equal(run("cummax", [1, nan, 3]), [1, nan, nan])
    np.testing.assert_array_equal(run("cummin", [1, nan, -inf]), [1, nan, nan])
    np.testing.assert_array_equal(run("cumsum", [1, inf, -inf, 1]), [1, inf, nan, nan])
    np.testing.assert_array_equal(run("logcumsumexp", [-inf, -inf, 0, inf, inf, 1]), [-inf, -inf, 0, inf, inf, inf])
    np.testing.assert_array_equal(run("logcumsumexp", [0, nan, inf]), [0, nan, nan])
    np.testing.assert_allclose(run("logcumsumexp", [-1000, 1000, 1000]), [-1000, 1000, 1000 + np.log(2)])
    assert np.signbit(run("cumsum", [-0.0, -0.0, 0.0])).tolist() == [True, True, False]
    assert np.signbit(to_numpy(bridge.cumsum(bridge.array([-0.0, 1.0]), inclusive=False))).tolist() == [False, True]


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_are_summed_wider(name: str):
    """70,000 ones sum to 70,000 rounded once, in long rows and in long columns."""
    dtype = getattr(bridge, name)
    last = float("inf") if name == "float16" else 70144.0  # float16 ends at 65504
    assert bridge.cumsum(bridge.ones((70_000,), dtype))[-1].item() == last
    assert bridge.cumsum(bridge.ones((70_000, 2), dtype), 0)[-1].tolist() == [last, last]
    assert bridge.cumsum(bridge.ones((4100,), dtype), reverse=True)[0].item() == (4100 if name == "float16" else 4096)


@pytest.mark.parametrize("op", SCANS)
@pytest.mark.parametrize("shape", [(200_001,), (40_001, 3), (300, 700), (2, 70_000, 1)])
def test_threads(op: str, shape: tuple[int, ...]):
    """Results have the same bits with one thread and with several, and are right across the blocks of a row."""
    x = np.random.default_rng(1).uniform(0.999, 1.001, shape).astype(np.float32)
    a = to_bridge(x)
    axis = len(shape) - 2 if len(shape) == 3 else 0
    before = _native.thread_count()
    results = []
    try:
        for threads in (1, 4):
            _native.set_thread_count(threads)
            results.append(to_numpy(getattr(bridge, op)(a, axis, reverse=True)))
    finally:
        _native.set_thread_count(before)
    np.testing.assert_array_equal(results[0].view(np.int32), results[1].view(np.int32))
    np.testing.assert_allclose(results[0], scan(op, x.astype(np.float64), axis, True), rtol=2e-7)


def test_dtype():
    """`dtype` converts the elements first."""
    a = bridge.array([200, 100], dtype=bridge.uint8)
    assert bridge.cumsum(a).tolist() == [200, 44]
    assert bridge.cumsum(a, dtype=bridge.int32).tolist() == [200, 300]
    assert bridge.cumprod(a, dtype=bridge.float64).tolist() == [200.0, 20_000.0]
    assert bridge.logcumsumexp(bridge.array([1, 2])).dtype is bridge.float32


def test_array_api():
    """cumulative_sum and cumulative_prod: small integers in 32 bits, an initial result, MLX's keywords."""
    a = bridge.array([[1, 2], [3, 4]], dtype=bridge.int8)
    got = bridge.cumulative_sum(a, axis=1, include_initial=True)
    assert (got.dtype, got.tolist()) == (bridge.int32, [[0, 1, 3], [0, 3, 7]])
    got = bridge.cumulative_prod(a, axis=0, include_initial=True, dtype=bridge.float32)
    assert (got.dtype, got.tolist()) == (bridge.float32, [[1, 1], [1, 2], [3, 8]])
    assert bridge.cumulative_sum(bridge.array([1, 2], dtype=bridge.uint16)).dtype is bridge.uint32
    assert bridge.cumulative_sum(bridge.array([1.5, 2])).tolist() == [1.5, 3.5]
    assert bridge.cumulative_sum(a, 1, reverse=True, include_initial=True).tolist() == [[3, 2, 0], [7, 4, 0]]
    assert bridge.cumulative_prod(a).tolist() == [1, 2, 6, 24]


def test_methods():
    """The functions are methods of arrays."""
    a = bridge.array([[3.0, 1.0], [2.0, 4.0]])
    for op in SCANS:
        assert getattr(a, op)(axis=1).tolist() == getattr(bridge, op)(a, 1).tolist()


def test_errors():
    """Axes out of bounds and held dtypes are refused."""
    with pytest.raises(IndexError, match="axis 2 is out of bounds"):
        bridge.cumsum(bridge.ones((2, 2)), 2)
    with pytest.raises(ValueError, match="axis -1 is out of bounds"):
        bridge.cummax(bridge.array(1.0), -1)
    with pytest.raises(TypeError, match="float8_e5m2"):
        bridge.cumprod(bridge.ones(3).astype(bridge.float8_e5m2))
    with pytest.raises(TypeError, match="float8_e5m2"):
        bridge.cumsum(bridge.ones(3), dtype=bridge.float8_e5m2)


@pytest.mark.parametrize(("reverse", "inclusive"), DIRECTIONS)
@pytest.mark.parametrize("op", SCANS)
def test_batching(op: str, reverse: bool, inclusive: bool):
    """The rule does to a batch what the op does to each of its arrays."""
    x = to_bridge(draw("float32", (3, 4, 5)))
    way = {"reverse": reverse, "inclusive": inclusive}
    for axis in (0, 1, -1):
        got = PRIMITIVES[op].batching(3, (True,), x, axis=axis, **way)
        want = bridge.stack([getattr(bridge, op)(x[k], axis, **way) for k in range(3)])
        np.testing.assert_array_equal(to_numpy(got), to_numpy(want))


def gradient(op: str, x: np.ndarray, g: np.ndarray, **parameters: object) -> np.ndarray:
    """What the declaration's rule makes of the gradient `g` of the results."""
    declaration, a = PRIMITIVES[op], to_bridge(x)
    if declaration.transpose is not None:
        return to_numpy(declaration.transpose[0](to_bridge(g), a, **parameters))
    y = declaration.call(a, **parameters)
    return to_numpy(declaration.pullback(to_bridge(g), y, a, **parameters)[0])


@pytest.mark.parametrize(("reverse", "inclusive"), DIRECTIONS)
@pytest.mark.parametrize("op", SCANS)
def test_gradient(op: str, reverse: bool, inclusive: bool):
    """The rules agree with central differences, products with zeros included."""
    random = np.random.default_rng(4)
    x = random.permutation(3 * 7 * 2).reshape(3, 7, 2) / 10 - 2.0
    assert (x == 0).any()
    g = random.normal(size=x.shape)
    call = getattr(bridge, op)
    for axis in (0, 1, 2):
        way = {"axis": axis, "reverse": reverse, "inclusive": inclusive}
        got = gradient(op, x, g, **way)
        h, want = 1e-6, np.zeros_like(x)
        for index in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[index] = h
            ahead, behind = (to_numpy(call(to_bridge(one), **way)) for one in (x + step, x - step))
            change = np.where(np.isfinite(ahead), ahead, 0) - np.where(np.isfinite(behind), behind, 0)
            want[index] = np.sum(g * change) / (2 * h)
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("op", ["cumprod", "logcumsumexp"])
def test_complex_gradient(op: str):
    """Re<g, J t> equals Re<gradient, t>: the gradient points where a real loss grows."""
    random = np.random.default_rng(5)
    x, g, t = (random.normal(size=(2, 6)) + 1j * random.normal(size=(2, 6)) for _ in range(3))
    call, h = getattr(bridge, op), 1e-6
    forwards = (to_numpy(call(to_bridge(x + h * t), 1)) - to_numpy(call(to_bridge(x - h * t), 1))) / (2 * h)
    backwards = gradient(op, x, g, axis=1)
    np.testing.assert_allclose(np.sum(g.conj() * forwards).real, np.sum(backwards.conj() * t).real, rtol=1e-6)


def test_gradient_of_ties():
    """The first of equal elements takes the gradient, and NaN takes that of what comes after it."""
    ones = np.ones(5)
    np.testing.assert_array_equal(gradient("cummax", np.array([1.0, 3, 3, 2, 3]), ones, axis=0), [1, 4, 0, 0, 0])
    np.testing.assert_array_equal(gradient("cummin", np.array([3.0, 1, 1, 2, 1]), ones, axis=0), [1, 4, 0, 0, 0])
    np.testing.assert_array_equal(
        gradient("cummax", np.array([-np.inf, 1, np.nan, 9, 9]), ones, axis=0), [1, 1, 3, 0, 0]
    )
    np.testing.assert_array_equal(gradient("logcumsumexp", np.array([-np.inf, 1.0]), np.ones(2), axis=0), [1, 1])
    np.testing.assert_array_equal(gradient("cumprod", np.array([2.0, 0, 3, 0]), np.ones(4), axis=0), [1, 8, 0, 0])
    assert gradient("cumprod", np.zeros((2, 0)), np.zeros((2, 0)), axis=1).shape == (2, 0)
