"""The primitives of indexing by arrays, and their rules: gather, and the scatters with equal places."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from core.values import EVERY, HELD, PRECISION, draw, names, numpy_dtype, to_bridge, to_numpy

import bridge
from bridge.core.ops.declare import PRIMITIVES

NUMPY = {
    "scatter": None,
    "scatter_add": np.add,
    "scatter_multiply": np.multiply,
    "scatter_divide": np.divide,
    "scatter_maximum": np.maximum,
    "scatter_minimum": np.minimum,
}
# Shape of the array, indices, axes, at.
PLACES = [
    ((5,), [[0, 3, -1, 3]], [0], 0),
    ((4, 3), [[1, 1, -4]], [0], 0),
    ((4, 3), [[1, 2, 1]], [1], 1),
    ((4, 3), [[1, 2, 1]], [1], 0),
    ((4, 3), [[1, 2, 1], [[0], [-1]]], [0, 1], 0),
    ((4, 3, 2), [[[1, 0], [0, 1]]], [1], 1),
    ((4, 3, 2), [[[1, 0], [0, 1]], [1, 1]], [0, 2], 1),
    ((4, 3, 2), [2, [1, 1]], [0, 1], 0),
    ((2, 3, 2), [[1], [2, 2], [[0], [1]]], [0, 1, 2], 0),
]
REGION = {"start": (3, 0), "step": (-2, 1), "count": (2, 3)}


def gather(a: bridge.array, indices: list, axes: list[int], at: int) -> bridge.array:
    return PRIMITIVES["gather"].call(a, *map(bridge.array, indices), axes=axes, at=at)


def key_of(ndim: int, indices: list, axes: list[int]) -> tuple:
    key: list = [slice(None)] * ndim
    for axis, index in zip(axes, indices, strict=True):
        key[axis] = np.asarray(index)
    return tuple(key)


def expected(x: np.ndarray, indices: list, axes: list[int], at: int) -> np.ndarray:
    """By NumPy: the other axes in front, then the places moved behind the first `at` of them."""
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    part = np.transpose(x, [*axes, *rest])[tuple(np.asarray(index) for index in indices)]
    places = part.ndim - len(rest)
    return np.moveaxis(part, range(places), range(at, at + places))


@pytest.mark.parametrize(("shape", "indices", "axes", "at"), PLACES)
@pytest.mark.parametrize("name", EVERY)
def test_gather(name: str, shape: tuple, indices: list, axes: list[int], at: int):
    """The places' axes stand behind the first `at` other axes, for every dtype."""
    x = draw(name, shape)
    np.testing.assert_array_equal(to_numpy(gather(to_bridge(x), indices, axes, at)), expected(x, indices, axes, at))


@pytest.mark.parametrize("name", HELD)
def test_held_dtypes_move(name: str):
    """What is held is read and replaced by index, and added to by no one."""
    x = np.arange(1, 5, dtype=np.float32).astype(numpy_dtype(name))
    a = bridge.asarray(x)
    assert a[[3, 0]].tolist() == [x[3].item(), x[0].item()]
    a[[1, 1]] = a[[2, 3]]
    a[bridge.array([True, False, False, False])] = a[2]
    assert a.tolist() == [one.item() for one in x[[2, 3, 2, 3]]]
    for update in ("add", "multiply", "divide", "maximum", "minimum"):
        with pytest.raises(bridge.DTypeError, match=name):
            getattr(a.at[[0, 0]], update)(a[:2])


def accumulated(x: np.ndarray, key: tuple, updates: np.ndarray, name: str) -> np.ndarray:
    """One update after the other, in a dtype that is wider where there is one."""
    wide = x.astype(np.float32) if x.dtype.name in ("float16", "bfloat16") else x.copy()
    places = np.arange(x.size).reshape(x.shape)[key]
    flat = wide.reshape(-1)
    for place, update in zip(places.ravel(), np.broadcast_to(updates, places.shape).ravel(), strict=True):
        value = NUMPY[name](flat[place], update.astype(wide.dtype))
        flat[place] = np.trunc(value) if x.dtype.kind in "iu" else value
    return wide.astype(x.dtype)


@pytest.mark.parametrize("name", [name for name in NUMPY if name != "scatter"])
@pytest.mark.parametrize("dtype", EVERY)
def test_equal_places_each_count(name: str, dtype: str):
    """An update by index counts every index, in the order of the updates, for every dtype that the op accepts."""
    op = PRIMITIVES[name]
    x = draw(dtype, (6, 3), 1, 4)
    updates = np.maximum(draw(dtype, (7, 3), 1, 3, seed=1), numpy_dtype(dtype).type(1))
    index = [0, 5, 0, -1, 3, 0, 0]
    if dtype not in names(op.accepts):
        with pytest.raises(bridge.DTypeError, match=dtype):
            op.call(to_bridge(x), to_bridge(updates), bridge.array(index), axes=[0], at=0)
        return
    got = to_numpy(op.call(to_bridge(x), to_bridge(updates), bridge.array(index), axes=[0], at=0))
    want = accumulated(x, (np.asarray(index),), updates, name)
    if np.dtype(got.dtype).kind == "c":
        np.testing.assert_allclose(got, want, rtol=1e-6)
    else:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves_are_summed_in_float32(dtype: str):
    """2,000 ones in one place are 2,000, though a step of 1 is lost in the dtype long before."""
    a = bridge.zeros((2,), getattr(bridge, dtype))
    total = a.at[bridge.zeros((2000,), bridge.int32)].add(1)
    assert total.tolist() == [2000 if PRECISION[dtype][0] >= 10 else float(numpy_dtype(dtype).type(2000)), 0]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_change_a_sum(threads: int):
    """Sums over equal places are bit for bit the same for any number of threads, for rows, columns and elements."""
    random = np.random.default_rng(2)
    x = random.normal(size=(300, 400)).astype(np.float32)
    index = random.integers(0, 50, 300)
    before = bridge.core._native.thread_count()
    bridge.core._native.set_thread_count(threads)
    try:
        rows = bridge.zeros((50, 400)).at[bridge.array(index)].add(bridge.array(x))
        columns = bridge.zeros((400, 50)).at[:, bridge.array(index)].add(bridge.array(x.T))
        elements = bridge.zeros((50,)).at[bridge.array(np.repeat(index, 400))].add(bridge.array(x.reshape(-1)))
        bridge.eval(rows, columns, elements)
    finally:
        bridge.core._native.set_thread_count(before)
    want = np.zeros((50, 400), np.float32)
    np.add.at(want, index, x)
    np.testing.assert_array_equal(to_numpy(rows), want)
    np.testing.assert_array_equal(to_numpy(columns), want.T)
    single = np.zeros(50, np.float32)
    np.add.at(single, np.repeat(index, 400), x.reshape(-1))
    np.testing.assert_array_equal(to_numpy(elements), single)


def test_nan_stays():
    """The larger and the smaller of NaN and a number are NaN, on either side."""
    a = bridge.array([np.nan, 1.0, 2.0])
    for update in ("maximum", "minimum"):
        found = to_numpy(getattr(a.at[[0, 1, 1]], update)(bridge.array([1.0, np.nan, 0.0])))
        np.testing.assert_array_equal(found, [np.nan, np.nan, 2])


def f64(value: object) -> bridge.array:
    return bridge.array(np.asarray(value), dtype=bridge.float64)


def c128(value: object) -> bridge.array:
    return bridge.array(np.asarray(value), dtype=bridge.complex128)


@pytest.mark.parametrize(("shape", "indices", "axes", "at"), PLACES)
@pytest.mark.parametrize("name", ["gather", "scatter", "scatter_add"])
def test_transpose(name: str, shape: tuple, indices: list, axes: list[int], at: int):
    """Backwards is the transpose of forwards in the array and in the updates; an index has none."""
    op, random = PRIMITIVES[name], np.random.default_rng(3)
    places = list(map(bridge.array, indices))
    operands = [f64(random.normal(size=shape))]
    if name != "gather":
        operands.append(f64(random.normal(size=gather(operands[0], indices, axes, at).shape)))
    g = f64(random.normal(size=op.call(*operands, *places, axes=axes, at=at).shape))
    back = op.transpose[0](g, *operands, *places, axes=axes, at=at)
    assert back[len(operands) :] == [None] * len(places)
    for k, operand in enumerate(operands):
        t = random.normal(size=operand.shape)
        changed = [f64(t) if j == k else bridge.zeros_like(a) for j, a in enumerate(operands)]
        forwards = np.sum(to_numpy(g * op.call(*changed, *places, axes=axes, at=at)))
        assert back[k].shape == operand.shape
        np.testing.assert_allclose(forwards, np.sum(to_numpy(back[k]) * t), rtol=1e-12)


@pytest.mark.parametrize("name", ["scatter", "scatter_add"])
def test_transpose_in_a_region(name: str):
    """The same where the scatter works in a part of the array."""
    op, random, index = PRIMITIVES[name], np.random.default_rng(4), bridge.array([2, 0, 2, 2])
    a, updates = f64(random.normal(size=(5, 3))), f64(random.normal(size=(2, 4)))
    places = {"axes": [1], "at": 1, **REGION}
    want = to_numpy(a).copy()
    part = want[3::-2]
    for j, column in enumerate([2, 0, 2, 2]):
        part[:, column] = to_numpy(updates)[:, j] + (part[:, column] if name == "scatter_add" else 0)
    np.testing.assert_allclose(to_numpy(op.call(a, updates, index, **places)), want)
    g = f64(random.normal(size=a.shape))
    back = op.transpose[0](g, a, updates, index, **places)
    for k, operand in enumerate([a, updates]):
        t = random.normal(size=operand.shape)
        changed = [f64(t) if j == k else bridge.zeros_like(one) for j, one in enumerate([a, updates])]
        forwards = np.sum(to_numpy(g * op.call(*changed, index, **places)))
        np.testing.assert_allclose(forwards, np.sum(to_numpy(back[k]) * t), rtol=1e-12)


@pytest.mark.parametrize("make", [f64, c128])
@pytest.mark.parametrize("name", ["scatter_multiply", "scatter_divide", "scatter_maximum", "scatter_minimum"])
def test_pullback(name: str, make):
    """The gradient agrees with central differences, with equal places; complex factors are conjugated."""
    if make is c128 and name not in ("scatter_multiply", "scatter_divide"):
        make = f64
    op, random, h = PRIMITIVES[name], np.random.default_rng(5), 1e-6
    places = {"axes": [0], "at": 0}
    index = bridge.array([0, 3, 0, 1, 0])

    def values(shape: tuple[int, ...]) -> np.ndarray:
        real = random.permutation(np.prod(shape)).reshape(shape) * 0.37 + 0.5 + random.random()
        return real + 1j * random.normal(size=shape) if make is c128 else real

    x, u = values((5, 2)), values((5, 2))
    g = random.normal(size=(5, 2)) + (1j * random.normal(size=(5, 2)) if make is c128 else 0)
    y = op.call(make(x), make(u), index, **places)
    back = op.pullback(make(g), y, make(x), make(u), index, **places)
    assert back[2] is None
    for k in range(2):
        t = values((5, 2))
        ahead, behind = (
            to_numpy(op.call(*(make(p + (s * t if j == k else 0)) for j, p in enumerate([x, u])), index, **places))
            for s in (h, -h)
        )
        want = np.sum(np.conj(g) * (ahead - behind) / (2 * h)).real
        np.testing.assert_allclose(np.sum(np.conj(to_numpy(back[k])) * t).real, want, rtol=1e-6)


def test_product_with_zeros():
    """The gradient of a product is exact with no, one and two zero factors at a place."""
    op = PRIMITIVES["scatter_multiply"]
    a, u, index = f64([2, 3, 5, 7]), f64([3, 4, 0, 6, 0, 0]), bridge.array([0, 0, 1, 1, 2, 2])
    places = {"axes": [0], "at": 0}
    y = op.call(a, u, index, **places)
    back = op.pullback(f64([1, 1, 1, 1]), y, a, u, index, **places)
    assert back[0].tolist() == [12, 0, 0, 1]
    assert back[1].tolist() == [8, 6, 18, 0, 0, 0]


def test_equal_extremes_share():
    """Equal extremes share the gradient evenly."""
    op = PRIMITIVES["scatter_maximum"]
    a, u, index = f64([2, 3]), f64([2, 2, 1]), bridge.array([0, 0, 1])
    y = op.call(a, u, index, axes=[0], at=0)
    back = op.pullback(f64([3, 5]), y, a, u, index, axes=[0], at=0)
    assert back[0].tolist() == [1, 5]
    assert back[1].tolist() == [1, 1, 0]


@pytest.mark.parametrize(("shape", "indices", "axes", "at"), PLACES)
@pytest.mark.parametrize("name", ["gather", *NUMPY])
def test_batching(name: str, shape: tuple, indices: list, axes: list[int], at: int):
    """The batching rule gives what a loop over the batch gives, whichever operands carry the batch."""
    op, random, size = PRIMITIVES[name], np.random.default_rng(6), 3
    shapes = [shape] if name == "gather" else [shape, gather(f64(np.zeros(shape)), indices, axes, at).shape]
    n_arrays = len(shapes)
    for batched in itertools.product([True, False], repeat=n_arrays + len(indices)):
        if not any(batched):
            continue
        operands = [
            f64(random.uniform(1, 2, (size, *s) if has else s)) for s, has in zip(shapes, batched, strict=False)
        ]
        for index, axis, has in zip(indices, axes, batched[n_arrays:], strict=True):
            one = np.asarray(index)
            many = random.integers(-shape[axis], shape[axis], (size, *one.shape)) if has else one
            operands.append(bridge.array(many))
        got = op.batching(size, batched, *operands, axes=axes, at=at)
        want = [
            to_numpy(op.call(*(a[k] if has else a for a, has in zip(operands, batched, strict=True)), axes=axes, at=at))
            for k in range(size)
        ]
        np.testing.assert_allclose(to_numpy(got), np.stack(want), rtol=1e-12)


def test_batching_in_a_region():
    """The same where the scatter works in a part of the array."""
    op, random = PRIMITIVES["scatter_add"], np.random.default_rng(7)
    a, updates = f64(random.normal(size=(3, 5, 3))), f64(random.normal(size=(2, 4)))
    index = bridge.array(random.integers(0, 3, (3, 4)))
    for batched in [(True, False, True), (True, False, False)]:
        one = index if batched[2] else index[0]
        got = op.batching(3, batched, a, updates, one, axes=[1], at=1, **REGION)
        want = [
            to_numpy(op.call(a[k], updates, one[k] if batched[2] else one, axes=[1], at=1, **REGION)) for k in range(3)
        ]
        np.testing.assert_allclose(to_numpy(got), np.stack(want))


@pytest.mark.parametrize(
    ("places", "error", "text"),
    [
        ({"axes": [0, 1], "at": 0}, ValueError, "one axis for each index"),
        ({"axes": [0], "at": 2}, ValueError, "at 2"),
        ({"axes": [5], "at": 0}, IndexError, "axis 5"),
    ],
)
def test_refused_places(places: dict, error: type[Exception], text: str):
    """Axes and indices must belong together."""
    with pytest.raises(error, match=text):
        PRIMITIVES["gather"].call(bridge.ones((3, 2)), bridge.array([0]), **places)


def test_refused_region():
    """A region must lie in the array and leave the indexed axes whole."""
    op, a, index = PRIMITIVES["scatter_add"], bridge.ones((3, 2)), bridge.array([0])
    for region in [
        {"start": (1, 0), "step": (1, 1), "count": (3, 2)},
        {"start": (0, 1), "step": (1, 1), "count": (3, 1)},
        {"start": (0, 0), "step": (-1, 1), "count": (3, 2)},
    ]:
        with pytest.raises(IndexError, match="the region leaves the array"):
            op.call(a, 1.0, index, axes=[1], at=1, **region)
