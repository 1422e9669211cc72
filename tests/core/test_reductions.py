"""Reductions and statistics against NumPy: dtypes, axes, layouts, empty arrays, and the accumulation of halves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from core.oracle import REDUCTIONS
from core.values import LAYOUTS, PARTS, WIDER, assert_near, draw, laid_out, names, to_bridge, to_numpy

import bridge
from bridge.core.ops.declare import PRIMITIVES, Declaration

DECLARED = [op for op in PRIMITIVES.values() if op.kind in ("reduction", "index_reduction")]
ACCEPTED = [(op, name) for op in DECLARED for name in names(op.accepts)]
WIDENED = {"bool": "int32", "int8": "int32", "int16": "int32", "uint8": "uint32", "uint16": "uint32"}
FLOATS = ["float16", "bfloat16", "float32", "float64"]


def cases(pairs: list) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("op", "name"), pairs, ids=[f"{op.name}-{name}" for op, name in pairs])


def result_name(op: Declaration, name: str) -> str:
    if op.result == "sum":
        return WIDENED.get(name, name)
    return {"bool": "bool", "index": "int32"}.get(op.result, name)


def check(op: Declaration, name: str, x: np.ndarray, a: bridge.array, axis: object, keepdims: bool) -> None:
    label = f"{x.shape} axis={axis} keepdims={keepdims}"
    got = op.call(a, axis, keepdims)
    assert got.dtype.name == result_name(op, name), label
    if op.result == "sum" and name in WIDENED:
        wide = x.astype(WIDENED[name])
    else:
        wide = x.astype(WIDER.get(name, x.dtype))
    options = {"dtype": wide.dtype} if op.result == "sum" else {}
    want = np.asarray(REDUCTIONS[op.name](wide, axis=axis, keepdims=keepdims, **options))
    if op.ulp is None or got.dtype.name not in (*FLOATS, *PARTS):
        assert_near(to_numpy(got), want, 0, label)
        return
    # The error of a sum is bounded by the sum of magnitudes, not by the result, which may cancel.
    size = np.asarray(REDUCTIONS[op.name](np.abs(wide), axis=axis, keepdims=keepdims))
    part = PARTS.get(name, name)
    rounds = op.ulp if op.name == "sum" else op.ulp * max(x.size / max(size.size, 1), 1)
    unit = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 2**-23, "float64": 2**-52}[part]
    error = np.abs(to_numpy(got).astype(want.dtype) - want)
    assert got.shape == want.shape
    assert np.all(error <= rounds * unit * np.maximum(size, np.abs(want)) + 1e-300), f"{label}: {error.max()}"


def axes_of(op: Declaration, ndim: int) -> list:
    single = [None, *range(-ndim, ndim)]
    if op.kind == "index_reduction":
        return single
    return single + [axes for n in range(ndim + 1) for axes in itertools.combinations(range(ndim), n)]


@cases(ACCEPTED)
def test_values_in_every_layout(op: Declaration, name: str):
    """Same values as NumPy over every axis, however the array lies in memory."""
    for layout in LAYOUTS:
        x, a = laid_out(layout, name, *op.sample[0])
        for axis in axes_of(op, 2):
            check(op, name, x, a, axis, False)


@cases(ACCEPTED)
@pytest.mark.parametrize("keepdims", [False, True])
def test_axes_and_keepdims(op: Declaration, name: str, keepdims: bool):
    """Every set of axes of a 3-d array, with and without keepdims, gives NumPy's values and shape."""
    x = draw(name, (3, 4, 5), *op.sample[0])
    for axis in axes_of(op, 3):
        check(op, name, x, to_bridge(x), axis, keepdims)


@cases(ACCEPTED)
def test_sizes(op: Declaration, name: str):
    """Sizes that fill vectors badly, and long ones that are split between threads."""
    for shape in [(), (1,), (7,), (37,), (1025,), (3, 1001), (1001, 3)]:
        x = draw(name, shape, *op.sample[0])
        if op.name == "prod" and x.dtype.kind in "fcV":
            x = (np.abs(x) ** 0.01 if x.dtype.kind != "c" else x / np.abs(x)).astype(x.dtype)  # stays near 1
        for axis in [None, *range(x.ndim)]:
            check(op, name, x, to_bridge(x), axis, False)


@pytest.mark.parametrize("name", ["float32", "int32", "bool"])
@pytest.mark.parametrize(
    "op", [op for op in DECLARED if op.name in ("sum", "prod", "all", "any")], ids=lambda op: op.name
)
def test_over_nothing(op: Declaration, name: str):
    """Over no elements sum is 0, prod 1, all True, any False; an empty result has the right shape."""
    for shape, axis in [((0,), None), ((0, 3), 0), ((3, 0), 1), ((0, 3), 1), ((3, 0), 0)]:
        x = draw(name, shape)
        check(op, name, x, to_bridge(x), axis, False)


@pytest.mark.parametrize(
    "op", [op for op in DECLARED if op.name in ("max", "min", "argmax", "argmin")], ids=lambda op: op.name
)
def test_no_extreme_of_nothing(op: Declaration):
    """An extreme over no elements raises ValueError; an empty result does not."""
    with pytest.raises(ValueError, match="no elements"):
        op.call(bridge.zeros((0, 3)), 0)
    with pytest.raises(ValueError, match="no elements"):
        op.call(bridge.zeros((0,)))
    assert op.call(bridge.zeros((0, 3)), 1).shape == (0,)


@pytest.mark.parametrize("name", [*FLOATS, *PARTS])
@pytest.mark.parametrize("reduce", ["max", "min", "argmax", "argmin"])
def test_nan_wins(reduce: str, name: str):
    """A NaN anywhere is the extreme, and its position the answer, as in NumPy; the first of equals is the position."""
    for where in range(0, 40, 13):
        x = draw(name, (40,))
        x[where] = np.nan
        got = getattr(bridge, reduce)(to_bridge(x)).item()
        assert got == where if reduce.startswith("arg") else got != got
    ties = bridge.array([1.0, 3.0, 3.0, 1.0])
    assert (bridge.argmax(ties).item(), bridge.argmin(ties).item()) == (1, 0)


@pytest.mark.parametrize(
    ("axis", "error", "text"),
    [(2, IndexError, "out of bounds"), (-3, IndexError, "out of bounds"), ((0, 0), ValueError, "twice")],
)
def test_wrong_axes(axis: object, error: type[Exception], text: str):
    """An axis outside the array raises IndexError, a repeated one ValueError."""
    with pytest.raises(error, match=text):
        bridge.sum(bridge.ones((2, 3)), axis)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_are_summed_in_float32(name: str):
    """70,000 ones sum to 70,000 rounded once, and the mean of large numbers does not overflow on the way."""
    dtype = getattr(bridge, name)
    ones = bridge.ones((70_000,), dtype)
    assert ones.sum().item() == (float("inf") if name == "float16" else 70144.0)  # float16 ends at 65504
    assert bridge.ones((2049,), dtype).sum().item() == 2048.0
    assert bridge.full((70_000,), 60_000, dtype).mean().item() == bridge.array(60_000, dtype=dtype).item()


def test_more_than_32_bits_can_count():
    """Sums, means and positions over more than 2^31 elements, which are one element repeated."""
    n = 2**31 + 5
    ones = bridge.broadcast_to(bridge.array(True), (n,))
    assert (ones.sum().dtype, ones.sum().item()) == (bridge.int64, n)
    assert bridge.count_nonzero(ones).item() == n
    assert bridge.broadcast_to(bridge.array(2.5, dtype=bridge.float16), (n,)).mean().item() == 2.5
    rows = bridge.broadcast_to(bridge.array([[0], [0], [1]], dtype=bridge.uint8), (3, 2**30 + 7))
    assert (rows.argmax().dtype, rows.argmax().item()) == (bridge.int64, 2 * (2**30 + 7))
    assert bridge.sum(rows).dtype is bridge.uint64


STATISTICS = {
    "mean": lambda x, axis: np.mean(x, axis=axis),
    "var": lambda x, axis: np.var(x, axis=axis),
    "std": lambda x, axis: np.std(x, axis=axis),
    "logsumexp": lambda x, axis: np.log(np.sum(np.exp(x), axis=axis)),
    "softmax": lambda x, axis: np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True),
}


@pytest.mark.parametrize("name", ["bool", "uint8", "int64", *FLOATS, *PARTS])
@pytest.mark.parametrize("function", STATISTICS)
def test_statistics(function: str, name: str):
    """mean, var, std, logsumexp, softmax: NumPy's values in the float dtype of the operand, float32 for integers."""
    x = draw(name, (5, 6, 7), -3, 3)
    wide = x.astype(np.complex128 if name in PARTS else np.float64)
    for axis in (None, 0, -1, (0, 2)):
        got = getattr(bridge, function)(to_bridge(x), axis)
        expected = name if name in (*FLOATS, *PARTS) else "float32"
        if function in ("var", "std"):
            expected = PARTS.get(expected, expected)
        assert got.dtype.name == expected
        want = STATISTICS[function](wide, axis)
        bound = {"float16": 2**-10, "bfloat16": 2**-7, "float32": 1e-6, "float64": 1e-14}[PARTS.get(expected, expected)]
        np.testing.assert_allclose(to_numpy(got).astype(want.dtype), want, rtol=bound, atol=bound)


def test_statistics_of_little():
    """Means of nothing are NaN; ddof beyond the size gives what a division by zero gives."""
    assert np.isnan(bridge.mean(bridge.zeros((0,))).item())
    assert np.isnan(bridge.var(bridge.ones((1,)), ddof=1).item())
    assert bridge.var(bridge.array([1.0, 3.0]), ddof=1).item() == 2.0
    assert bridge.array([1.0, 3.0]).std(correction=1).item() == pytest.approx(2**0.5)
    assert bridge.softmax(bridge.zeros((0, 3)), 0).shape == (0, 3)
    assert bridge.logsumexp(bridge.zeros((0,))).item() == -np.inf


def test_no_overflow_on_the_way():
    """softmax and logsumexp survive huge and infinite operands."""
    assert bridge.softmax(bridge.array([1e4, 1e4])).tolist() == [0.5, 0.5]
    assert bridge.logsumexp(bridge.array([1e4, -1e4])).item() == 1e4
    assert bridge.logsumexp(bridge.array([-np.inf, -np.inf])).item() == -np.inf
    assert bridge.logsumexp(bridge.array([np.inf, 1.0])).item() == np.inf


def test_small_helpers():
    """count_nonzero and minmax."""
    a = bridge.array([[0, 1, 2], [3, 0, 0]])
    assert bridge.count_nonzero(a).item() == 3
    assert bridge.count_nonzero(a, axis=1).tolist() == [2, 1]
    low, high = bridge.minmax(a, axis=0)
    assert (low.tolist(), high.tolist()) == ([0, 0, 0], [3, 1, 2])
