"""sort, argsort, partition, argpartition, topk, searchsorted, median: NumPy's answers for every dtype and layout."""

from __future__ import annotations

import numpy as np
import pytest
from core.values import EVERY, LAYOUTS, PARTS, draw, laid_out, numpy_dtype, to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

import bridge
from bridge.core import _native
from bridge.core.ops.declare import PRIMITIVES

FLOATS = [name for name in EVERY if "float" in name]
# Lengths around which the method changes: insertion, digits, digits on all threads.
LENGTHS = [0, 1, 2, 7, 16, 17, 31, 32, 33, 64, 80, 81, 200, 1000, 70_001]


def key_of(x: np.ndarray) -> np.ndarray:
    """What NumPy can sort as it is: bfloat16 as float32."""
    return x.astype(np.float32) if x.dtype == numpy_dtype("bfloat16") else x


def bits_of(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(np.uint8)


def with_edges(name: str, n: int, seed: int = 0) -> np.ndarray:
    """Values of the whole range, many of them equal, with NaN of both signs, infinities and zeros of both signs."""
    random = np.random.default_rng([seed, n])
    dtype = numpy_dtype(name)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        x = random.integers(limits.min, limits.max, n, dtype=dtype, endpoint=True)
        return np.where(random.random(n) < 0.3, random.integers(0, 4, n).astype(dtype), x)
    if name == "bool":
        return random.random(n) < 0.5
    if name in PARTS:
        part = PARTS[name]
        x = np.empty(n, dtype)
        x.real, x.imag = with_edges(part, n, seed + 1), with_edges(part, n, seed + 2)
        return x
    edges = np.array([np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 6e-8], np.float64)
    x = random.normal(size=n) * 10.0 ** random.integers(-3, 4, n)
    return np.where(random.random(n) < 0.4, random.choice(edges, n), x).astype(dtype)


@pytest.mark.parametrize("name", EVERY)
def test_sort(name: str):
    """sort and argsort are NumPy's stable ones for every length; each element keeps its bits, NaN and -0 included."""
    for n in LENGTHS:
        x = with_edges(name, n)
        order = np.argsort(key_of(x), kind="stable")
        a = to_bridge(x)
        got = bridge.argsort(a)
        assert got.dtype is bridge.int32
        np.testing.assert_array_equal(to_numpy(got), order, err_msg=f"argsort of {n}")
        np.testing.assert_array_equal(bits_of(to_numpy(bridge.sort(a))), bits_of(x[order]), err_msg=f"sort of {n}")


@pytest.mark.parametrize("name", EVERY)
def test_descending(name: str):
    """In descending order equal elements keep their order, and NaN stays behind all numbers."""
    for n in (5, 40, 300, 70_001):
        x = with_edges(name, n)
        key = key_of(x)
        number = ~np.isnan(key) if key.dtype.kind in "fc" else np.ones(n, bool)
        places = np.flatnonzero(number)
        # Stable and descending: sort the reversed numbers in ascending order, and turn the result round.
        turned = places[::-1]
        want = turned[np.argsort(key[turned], kind="stable")][::-1]
        got = to_numpy(bridge.argsort(to_bridge(x), descending=True))
        np.testing.assert_array_equal(got[: len(want)], want)
        assert not number[got[len(want) :]].any()
        values = to_numpy(bridge.sort(to_bridge(x), descending=True))
        np.testing.assert_array_equal(bits_of(values[: len(want)]), bits_of(x[want]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["bool", "int8", "uint16", "float16", "float32", "int64", "complex128"])
def test_layouts(name: str, layout: str):
    """Any layout along any axis, or flattened."""
    x, a = laid_out(layout, name, -4, 4)
    for axis in (0, 1, -1, None):
        np.testing.assert_array_equal(to_numpy(bridge.sort(a, axis)), np.sort(x, axis))
        np.testing.assert_array_equal(to_numpy(bridge.argsort(a, axis)), np.argsort(x, axis, kind="stable"))
        parted = np.sort(to_numpy(bridge.partition(a, 2, axis)), axis)
        np.testing.assert_array_equal(parted, np.sort(x, axis))


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (1, 1), (2, 40, 3), (40, 2, 17), (5, 33, 16), (3, 200, 35)])
def test_axes(shape: tuple[int, ...]):
    """Every axis of shapes with inner axes, and with none of some extent."""
    x = draw("float32", shape)
    for axis in range(-len(shape), len(shape)):
        np.testing.assert_array_equal(to_numpy(bridge.sort(to_bridge(x), axis)), np.sort(x, axis))
        want = np.argsort(x, axis, kind="stable")
        np.testing.assert_array_equal(to_numpy(bridge.argsort(to_bridge(x), axis)), want)


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_many_short_rows(name: str, special: bool):
    """Rows that are sorted side by side, along the last axis and along the first, in both directions."""
    for length in (2, 5, 8, 31, 100, 256, 257):
        x = with_edges(name, 37 * length) if special else draw(name, (37 * length,), -100, 100, seed=length)
        x = x.reshape(37, length)
        order = np.argsort(key_of(x), axis=1, kind="stable")
        want = np.take_along_axis(x, order, 1)
        for a, axis in ((to_bridge(x), 1), (to_bridge(np.ascontiguousarray(x.T)), 0)):
            got, places = to_numpy(bridge.sort(a, axis)), to_numpy(bridge.argsort(a, axis))
            np.testing.assert_array_equal(bits_of(got if axis else got.T), bits_of(want))
            np.testing.assert_array_equal(places if axis else places.T, order)
            down = key_of(to_numpy(bridge.sort(a, axis, descending=True)))
            down = down if axis else down.T
            up = np.sort(down[:, ::-1], axis=1)
            np.testing.assert_array_equal(up, key_of(want))


def test_complex_order():
    """Complex numbers with NaN stand behind all others, in NumPy's order."""
    nan = np.nan
    parts = [1.0, -2.0, nan, np.inf, 0.0]
    x = np.array([complex(real, imag) for real in parts for imag in parts])[::-1]
    for name in PARTS:
        got = to_numpy(bridge.sort(to_bridge(x.astype(name))))
        np.testing.assert_array_equal(got, np.sort(x.astype(name)))


@pytest.mark.parametrize("name", EVERY)
def test_partition(name: str):
    """The kth is the one that sort puts there, those before it come before it; argpartition says where all stood."""
    for n in (1, 2, 30, 257, 5000):
        x = with_edges(name, n)
        a, order = to_bridge(x), np.argsort(key_of(x), kind="stable")
        rank = np.empty(n, np.int64)
        rank[order] = np.arange(n)
        for kth in {0, n // 3, n - 1, -1}:
            places = to_numpy(bridge.argpartition(a, kth))
            assert places.dtype == np.int32
            np.testing.assert_array_equal(np.sort(places), np.arange(n))
            np.testing.assert_array_equal(bits_of(to_numpy(bridge.partition(a, kth))), bits_of(x[places]))
            sorted_ = key_of(x)[order]
            np.testing.assert_array_equal(key_of(x)[places][kth], sorted_[kth])
            cut = kth % n
            np.testing.assert_array_equal(np.sort(key_of(x)[places][:cut]), sorted_[:cut])


@pytest.mark.parametrize("name", EVERY)
def test_topk(name: str):
    """The k largest, in ascending order; none and all of them as well."""
    x = with_edges(name, 300).reshape(3, 100)
    order = np.argsort(key_of(x), axis=1, kind="stable")
    for k in (0, 1, 7, 100):
        got = to_numpy(bridge.topk(to_bridge(x), k))
        np.testing.assert_array_equal(key_of(got), np.take_along_axis(key_of(x), order, 1)[:, 100 - k :])
    assert bridge.topk(to_bridge(x), 2, None).shape == (2,)
    assert bridge.topk(to_bridge(x), 2, 0).shape == (2, 100)


@given(
    x=shapes.arrays(
        st.sampled_from([np.float32, np.float16, np.int16, np.uint8, np.complex64]),
        shapes.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=40),
    ),
    axis=st.integers(0, 2),
)
def test_any_array(x: np.ndarray, axis: int):
    """Arrays that hypothesis thinks of."""
    at = axis % x.ndim
    np.testing.assert_array_equal(to_numpy(bridge.sort(to_bridge(x), at)), np.sort(x, at))
    want = np.argsort(x, at, kind="stable")
    np.testing.assert_array_equal(to_numpy(bridge.argsort(to_bridge(x), at)), want)


@pytest.mark.parametrize("shape", [(300_000,), (700, 300), (3, 100_000)])
def test_threads(shape: tuple[int, ...]):
    """Results have the same bits with one thread and with several."""
    x = with_edges("float64", int(np.prod(shape))).reshape(shape)
    a = to_bridge(x)
    before = _native.thread_count()
    results = []
    try:
        for threads in (1, 4):
            _native.set_thread_count(threads)
            every = [bridge.sort(a, 0), bridge.argsort(a, -1), bridge.partition(a, 1, 0), bridge.topk(a, 3)]
            results.append([bits_of(to_numpy(one)) for one in every])
    finally:
        _native.set_thread_count(before)
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", EVERY)
def test_searchsorted(name: str, side: str):
    """NumPy's places for values inside and outside the sequence, NaN and zeros of both signs included."""
    for n in (0, 1, 2, 3, 100, 1023):
        key = np.sort(key_of(with_edges(name, n)))
        values = with_edges(name, 333, seed=9)
        got = bridge.searchsorted(to_bridge(key.astype(numpy_dtype(name))), to_bridge(values.reshape(3, 111)), side)
        assert got.dtype is bridge.int32
        want = np.searchsorted(key, key_of(values), side).reshape(3, 111)
        np.testing.assert_array_equal(to_numpy(got), want)


def test_sorter():
    """A sequence that is not sorted is searched by way of the positions that sort it."""
    sequence, values = draw("float32", (50,)), draw("float32", (7,), seed=1)
    a = to_bridge(sequence)
    got = bridge.searchsorted(a, to_bridge(values), side="right", sorter=bridge.argsort(a))
    want = np.searchsorted(sequence, values, side="right", sorter=np.argsort(sequence))
    np.testing.assert_array_equal(to_numpy(got), want)


def test_searchsorted_promotes():
    """Both operands are compared in their common dtype; a number takes the sequence's."""
    sequence = bridge.array([1, 2, 3])
    assert bridge.searchsorted(sequence, bridge.array([0.5, 2.5])).tolist() == [0, 2]
    assert bridge.searchsorted(sequence, 2).item() == 1
    assert bridge.searchsorted(sequence, 2, side="right").item() == 2
    assert bridge.searchsorted(sequence, 2.5).item() == 2


@pytest.mark.parametrize("name", EVERY)
def test_median(name: str):
    """NumPy's median over any axes, of an odd and an even number of elements, in the dtype of `mean`."""
    x = draw(name, (4, 5, 6), -4, 4)
    wide = x.astype(np.complex128 if name in PARTS else np.float64)
    for axis in (None, 1, -1, (0, 2)):
        for keepdims in (False, True):
            got = bridge.median(to_bridge(x), axis, keepdims)
            want = np.median(wide, axis=axis, keepdims=keepdims)
            assert got.dtype.name == (name if name in (*FLOATS, *PARTS) else "float32")
            np.testing.assert_allclose(to_numpy(got).astype(want.dtype), want, rtol=1e-2 if "16" in name else 1e-6)


def test_median_of_nan():
    """One NaN makes the median NaN, where it is."""
    a = bridge.array([[1.0, float("nan"), 3.0], [1.0, 2.0, 4.0]])
    assert np.isnan(bridge.median(a).item())
    np.testing.assert_array_equal(to_numpy(bridge.median(a, 1)), np.array([np.nan, 2], np.float32))


ERRORS = {
    "no axis": (lambda: bridge.sort(bridge.array(3)), IndexError, "axis -1 is out of bounds"),
    "axis": (lambda: bridge.argsort(bridge.ones((2, 3)), 2), ValueError, "axis 2 is out of bounds"),
    "kth": (lambda: bridge.partition(bridge.ones(3), 3), ValueError, "kth is out of bounds"),
    "kth behind": (lambda: bridge.argpartition(bridge.ones(3), -4), ValueError, "kth is out of bounds"),
    "k": (lambda: bridge.topk(bridge.ones(3), 4), ValueError, "has no 4 largest"),
    "negative k": (lambda: bridge.topk(bridge.ones(3), -1), ValueError, "has no -1 largest"),
    "side": (lambda: bridge.searchsorted(bridge.ones(3), 1, "middle"), ValueError, "no such side"),
    "sequence": (lambda: bridge.searchsorted(bridge.ones((3, 1)), 1), ValueError, "must have one axis"),
    "median": (lambda: bridge.median(bridge.zeros((0, 3))), ValueError, "no elements"),
    "held": (lambda: bridge.sort(bridge.ones(3).astype(bridge.float8_e5m2)), TypeError, "float8_e5m2"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str):
    """What makes no sense is refused, with the op named."""
    call, error, text = ERRORS[case]
    with pytest.raises(error, match=text):
        call()


def test_zero_dimensions():
    """A 0-d array has no axis to sort along, but a flattened form."""
    assert bridge.sort(bridge.array(3), None).tolist() == [3]
    assert bridge.argsort(bridge.array(3), axis=None).tolist() == [0]


@pytest.mark.parametrize("name", ["sort", "argsort", "partition", "argpartition"])
def test_batching(name: str):
    """The rule does to a batch what the op does to each of its arrays."""
    op = PRIMITIVES[name]
    x = to_bridge(draw("float32", (3, 4, 5)))
    given_kth = {"kth": 2} if "partition" in name else {}
    for axis in (0, 1, -1, -2):
        got = op.batching(3, (True,), x, axis=axis, **given_kth)
        want = bridge.stack([op.call(x[k], axis=axis, **given_kth) for k in range(3)])
        np.testing.assert_array_equal(to_numpy(got), to_numpy(want))


@pytest.mark.parametrize("batched", [(True, False), (False, True), (True, True)])
def test_search_batching(batched: tuple[bool, bool]):
    """Sequences, values, or both in a batch."""
    sequences, values = np.sort(draw("float32", (3, 9)), -1), draw("float32", (3, 4, 5))
    operands = [x if has else x[0] for x, has in zip((sequences, values), batched, strict=True)]
    got = PRIMITIVES["searchsorted"].batching(3, batched, *map(to_bridge, operands), side="right")
    want = [
        np.searchsorted(sequences[k if batched[0] else 0], values[k if batched[1] else 0], "right") for k in range(3)
    ]
    np.testing.assert_array_equal(to_numpy(got), want)


@pytest.mark.parametrize("name", ["sort", "partition"])
def test_gradient(name: str):
    """The gradient of a result goes to the element that it is."""
    op, x, g = PRIMITIVES[name], draw("float64", (3, 9, 2)), draw("float64", (3, 9, 2), seed=1)
    for axis in (0, 1, -1):
        parameters = {"axis": axis, **({"kth": 1} if name == "partition" else {})}
        places = PRIMITIVES["arg" + name].call(to_bridge(x), **parameters)
        (got,) = op.pullback(to_bridge(g), op.call(to_bridge(x), **parameters), to_bridge(x), **parameters)
        want = np.zeros_like(x)
        np.put_along_axis(want, to_numpy(places).astype(np.int64), g, axis)
        np.testing.assert_array_equal(to_numpy(got), want)
