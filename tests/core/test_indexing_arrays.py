"""What indexing by arrays and masks does beyond NumPy's values: errors in time, laziness, leases, and the functions."""

from __future__ import annotations

import numpy as np
import pytest
from core.values import to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import bridge
from bridge.core._native import is_evaluated, storage_address

X = np.arange(24, dtype=np.float32).reshape(4, 6)


def pending(value: object) -> bridge.array:
    a = bridge.array(value) + 0
    assert not is_evaluated(a)
    return a


OUTSIDE = [
    (lambda a, i: a[i], "axis 0 with size 4"),
    (lambda a, i: a[:, i], "axis 1 with size 6"),
    (lambda a, i: a.at[i].add(1), "axis 0 with size 4"),
    (lambda a, i: bridge.take(a, i, 1), "axis 1 with size 6"),
    (lambda a, i: bridge.take(a, i), "axis 0 with size 24"),
    (lambda a, i: bridge.take_along_axis(a, i[:, None], 0), "axis 0 with size 4"),
    (lambda a, i: bridge.put_along_axis(a, i[:, None], bridge.array(0.0), 0), "axis 0 with size 4"),
]


@pytest.mark.parametrize(("op", "text"), OUTSIDE)
@pytest.mark.parametrize("index", [[0, 100], [-101, 0]])
def test_out_of_bounds_at_once(op, text: str, index: list[int]):
    """An index that has a value is checked in the call."""
    a, i = to_bridge(X), bridge.array(index)
    bridge.eval(i)
    with pytest.raises(IndexError, match=rf"index -?10[01] is out of bounds for {text}"):
        op(a, i)


@pytest.mark.parametrize(("op", "text"), OUTSIDE)
def test_out_of_bounds_at_evaluation(op, text: str):
    """An index that has no value yet is checked when the result is evaluated, every time, and the op is named."""
    a = to_bridge(X)
    result = op(a, pending([3, 100]))
    for _ in range(2):
        with pytest.raises(IndexError, match=rf"(?s)bridge\.(gather|scatter).*index 100 is out of bounds for {text}"):
            bridge.eval(result)
    assert a.tolist() == X.tolist()


def test_a_refused_update_writes_nothing():
    """An update by indices of which one is out of bounds leaves the array as it was, in its own memory as well."""
    a = to_bridge(X)
    bridge.eval(a)
    with pytest.raises(IndexError, match="index 9"):
        a[[0, 9]] = -1
    assert a.tolist() == X.tolist()
    index = pending([0, 9])
    a[index] = -1
    with pytest.raises(IndexError, match="index 9"):
        bridge.eval(a)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"])
def test_extreme_indices(dtype: str):
    """The largest and smallest numbers of a dtype are out of bounds, not wrapped round."""
    limits = np.iinfo(dtype)
    a = bridge.arange(3)
    for value in {limits.max, limits.min} - {0}:
        with pytest.raises(IndexError, match=f"index {value} is out of bounds"):
            a[np.array([0, value], dtype=dtype)]
    assert a[np.array([2, 0], dtype=dtype)].tolist() == [2, 0]


def test_nothing_is_evaluated():
    """Reading and writing by integer arrays is lazy; so is a mask that is set to one value."""
    a, i, mask = pending(X), pending([1, -1]), pending([0.0, 1, 0, 1]) > 0
    part = a[i, 1:]
    a[:, i] = part[:, :1].sum()
    a[mask] = 7
    assert not any(map(is_evaluated, (a, i, mask, part)))
    y = X.copy()
    y[:, [1, -1]] = y[[1, -1], 1:][:, :1].sum()
    y[[1, 3]] = 7
    np.testing.assert_array_equal(to_numpy(a), y)


def test_a_pending_index_stays_pending():
    """A 0-d index that has no value is not asked for it; the axis goes all the same."""
    a, k = to_bridge(X), pending(X[0]).argmax()
    part = a[:, k]
    assert part.shape == (4,)
    assert not is_evaluated(k)
    assert part.tolist() == X[:, 5].tolist()
    a[k - 5, k] = 0
    assert to_numpy(a)[0, 5] == 0


def test_every_name_sees_an_update():
    """An update by index rebinds the array object: all its names see it, arrays made before do not."""
    a = to_bridge(X)
    name, before = a, a[[0, 1]]
    a[[0, 0, 1]] += 1
    a[a > 20] = 0
    want = X.copy()
    want[[0, 1]] += 1
    want[want > 20] = 0
    assert name.tolist() == want.tolist()
    assert before.tolist() == X[:2].tolist()


@pytest.mark.parametrize(
    "update",
    [
        lambda a: a.__setitem__([0, 2], -1.0),
        lambda a: a.__setitem__((slice(None), [5, 0]), a[:, [0, 5]]),
        lambda a: a.__setitem__(a > 10, 0.5),
        lambda a: a.__setitem__(a > 10, a[a > 10][::-1]),
    ],
    ids=["rows", "columns", "mask", "mask and values"],
)
def test_a_view_sees_an_update(update):
    """A NumPy view of the array sees an update by index, in the same memory."""
    a, y = to_bridge(X), X.copy()
    view = np.asarray(a)
    address = storage_address(a)
    update(a)
    update(y)
    np.testing.assert_array_equal(view, y)
    assert storage_address(a) == address
    np.testing.assert_array_equal(to_numpy(a), y)


def test_an_index_that_somebody_writes():
    """An index in memory that NumPy can write counts as it was in the call."""
    i = np.array([0, 1])
    a = to_bridge(X)
    part = a[bridge.asarray(i)]
    i[:] = 99
    assert part.tolist() == X[:2].tolist()


def test_an_update_in_its_own_memory():
    """An array that nobody else looks at is updated where it lies: no second array is made."""
    a = bridge.zeros((1 << 20,)) + 1
    bridge.eval(a)
    address = storage_address(a)
    for k in range(3):
        a[[k, -k]] = 5
        bridge.eval(a)
        assert storage_address(a) == address
    assert a.sum().item() == (1 << 20) + 5 * 4


def test_at_leaves_the_array():
    """a.at[key].op(value) gives another array; keys and values are as in a[key] = value."""
    a = bridge.zeros((3,), bridge.int32)
    assert a.at[[0, 0, 2]].add(1).tolist() == [2, 0, 1]
    assert a.at[[0, 0, 2]].subtract(bridge.array([1, 2, 3])).tolist() == [-3, 0, -3]
    assert (a + 3).at[[0, 0]].multiply(2).tolist() == [12, 3, 3]
    assert (a + 13).at[[0, 0, 1]].divide(2).tolist() == [3, 6, 13]
    assert (a + 3).at[[0, 0]].maximum([5, 4]).tolist() == [5, 3, 3]
    assert (a + 3).at[[0, 0]].minimum([2, 4]).tolist() == [2, 3, 3]
    assert a.at[1:].add(2).tolist() == [0, 2, 2]
    assert a.at[-1].add(2.9).tolist() == [0, 0, 2]
    assert a.at[bridge.array([True, False, True])].add([1, 2]).tolist() == [1, 0, 2]
    assert a.at[None, ..., [[1], [1]]].add(1).tolist() == [0, 2, 0]
    assert a.tolist() == [0, 0, 0]
    assert isinstance(a.at, bridge.ArrayAt)


def test_at_of_integers():
    """Integers wrap; a quotient by zero saturates as a conversion of infinity does; unsigned ones subtract."""
    a = bridge.array([250, 7, 0], dtype=bridge.uint8)
    assert a.at[[0]].add(10).tolist() == [4, 7, 0]
    assert a.at[[1]].subtract(10).tolist() == [250, 253, 0]
    assert a.at[[0, 1, 2]].divide([0, 2, 0]).tolist() == [255, 3, 0]
    b = bridge.array([-128, 5], dtype=bridge.int8)
    assert b.at[[0]].divide(-1).tolist() == [-128, 5]
    assert b.at[[0, 1]].divide(0).tolist() == [-128, 127]


def test_at_refuses():
    """Without places there is no update; bools are neither subtracted nor divided."""
    with pytest.raises(ValueError, match=r"a\.at\[key\]\.add"):
        bridge.zeros((3,)).at.add(1)
    for update in ("subtract", "divide"):
        with pytest.raises(bridge.DTypeError, match="bool"):
            getattr(bridge.array([True]).at[[0]], update)(True)
    with pytest.raises(ValueError, match="broadcast"):
        bridge.zeros((3,)).at[[0, 1]].add([1, 2, 3])


REFUSED = [
    ([0.5], IndexError, "integers, or of bool"),
    (bridge.array([1.0]), IndexError, "integers, or of bool"),
    (np.array([1 + 0j]), IndexError, "integers, or of bool"),
    ("row", TypeError, "str"),
    (([0, 1], [0, 1, 2]), IndexError, "cannot be broadcast together"),
    (([0], 0, 0), IndexError, "too many indices"),
    ((..., [0], ...), IndexError, "single ellipsis"),
    (np.ones((4, 5), bool), IndexError, "does not match the array along axis 1"),
    (([0, 1], False), IndexError, "cannot be broadcast together"),
]


@pytest.mark.parametrize(("key", "error", "text"), REFUSED, ids=lambda one: str(one)[:20])
def test_refused_keys(key: object, error: type[Exception], text: str):
    """A key that NumPy refuses is refused with the reason, for reading and for writing."""
    a = to_bridge(X)
    with pytest.raises(error, match=text):
        a[key]
    with pytest.raises(error, match=text):
        a[key] = 0
    assert a.tolist() == X.tolist()


def test_refused_values():
    """A value that does not fit the places raises and leaves the array as it was."""
    a = to_bridge(X)
    for key, value in [([0, 1], np.ones((3, 6))), (X > 20, [1, 2]), (slice(0), np.ones((2, 2, 6)))]:
        with pytest.raises(ValueError, match="broadcast"):
            a[key] = bridge.array(value)
    assert a.tolist() == X.tolist()


def test_lists_keep_their_precision():
    """A list that is assigned to float64 elements is not rounded to float32 on the way."""
    a = bridge.zeros((2,), bridge.float64)
    a[[0, 1]] = [0.1, 0.2]
    assert a.tolist() == [0.1, 0.2]


@given(st.data())
def test_take(data):
    """take is NumPy's, along any axis and of the flattened array, with indices of any shape."""
    x = data.draw(arrays.arrays(np.int32, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)))
    axis = data.draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    extent = x.size if axis is None else x.shape[axis]
    shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    if extent == 0:
        shape = (0, *shape)
    i = data.draw(arrays.arrays(np.int64, shape, elements=st.integers(-extent, max(extent - 1, 0))))
    np.testing.assert_array_equal(to_numpy(bridge.take(to_bridge(x), to_bridge(i), axis)), np.take(x, i, axis))


@given(st.data())
def test_along_an_axis(data):
    """take_along_axis and put_along_axis are NumPy's; the other axes broadcast."""
    shape = data.draw(arrays.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    extents = list(shape)
    extents[axis] = data.draw(st.integers(0, 5))
    i = data.draw(arrays.arrays(np.int64, tuple(extents), elements=st.integers(-shape[axis], shape[axis] - 1)))
    a, k = to_bridge(x), to_bridge(i)
    np.testing.assert_array_equal(to_numpy(bridge.take_along_axis(a, k, axis)), np.take_along_axis(x, i, axis))
    y = x.copy()
    np.put_along_axis(y, i, -1, axis)
    np.testing.assert_array_equal(to_numpy(bridge.put_along_axis(a, k, bridge.array(-1.0), axis)), y)
    flat = k.reshape(-1) % x.size
    np.testing.assert_array_equal(to_numpy(bridge.take_along_axis(a, flat, None)), x.ravel()[i.ravel() % x.size])


def test_along_an_axis_broadcasts():
    """Indices of extent 1 along another axis serve all its positions; so does the array."""
    a = to_bridge(X)
    assert bridge.take_along_axis(a, bridge.array([[2]]), 0).tolist() == [X[2].tolist()]
    assert bridge.take_along_axis(a[:1], bridge.array([[2], [3]]), 1).tolist() == [[2], [3]]
    with pytest.raises(ValueError, match="other axes"):
        bridge.take_along_axis(a, bridge.array([1]), 1)
    with pytest.raises(ValueError, match="other axes"):
        bridge.put_along_axis(a[:1], bridge.array([[2], [3]]), bridge.array(0.0), 1)


def test_take_of_a_number():
    """A number takes one element, and its axis goes; bools are no positions."""
    a = to_bridge(X)
    assert bridge.take(a, -1, 0).tolist() == X[-1].tolist()
    assert bridge.take(a, 5).item() == 5
    assert bridge.take(a, [5, 7]).tolist() == [5, 7]
    with pytest.raises(IndexError, match="out of bounds"):
        bridge.take(a, 24)
    with pytest.raises(IndexError, match="integers"):
        bridge.take(a, bridge.array([True]))


STARTS = [
    ((1, 2), (0, 1), (2, 3)),
    ((2, 1), (1, 0), (2, 3)),
    ((-2,), (0,), (1, 6)),
    ((3,), (1,), (4, 2)),
    ((), (), (4, 3)),
    ((1, 1, 0), (2, 0, 1), (2, 3, 1)),
    ((1, 1), (2, 0), (2, 3, 1)),
]


@pytest.mark.parametrize(("starts", "axes", "sizes"), STARTS)
@pytest.mark.parametrize("lazy", [False, True])
def test_slices_at_runtime(starts: tuple, axes: tuple, sizes: tuple, lazy: bool):
    """slice and slice_update work at starts that have values and at starts that have none yet."""
    x = np.arange(24).reshape(4, 6) if len(sizes) == 2 else np.arange(48).reshape(4, 6, 2)
    key = [slice(0, size) for size in sizes]
    for start, axis in zip(starts, axes, strict=True):
        at = start % x.shape[axis]
        key[axis] = slice(at, at + sizes[axis])
    given = bridge.array(starts, dtype=bridge.int32)
    if lazy and starts:
        given = given * 1
    a = to_bridge(x)
    np.testing.assert_array_equal(to_numpy(bridge.slice(a, given, axes, sizes)), x[tuple(key)])
    update = -np.arange(np.prod(sizes)).reshape(sizes)
    y = x.copy()
    y[tuple(key)] = update
    np.testing.assert_array_equal(to_numpy(bridge.slice_update(a, to_bridge(update), given, axes)), y)
    assert is_evaluated(given) or lazy or not starts
    np.testing.assert_array_equal(to_numpy(a), x)


@pytest.mark.parametrize("start", [3, -5, 100, -100])
@pytest.mark.parametrize("lazy", [False, True])
def test_slices_outside(start: int, lazy: bool):
    """A part that leaves the array raises; it neither wraps round nor moves."""
    a, given = to_bridge(X), bridge.array([start])
    given = given * 1 if lazy else given
    with pytest.raises(IndexError, match=r"leave axis 0|out of bounds for axis 0"):
        bridge.eval(bridge.slice(a, given, [0], [2, 6]))
    with pytest.raises(IndexError, match=r"leave axis 0|out of bounds for axis 0"):
        bridge.eval(bridge.slice_update(a, a[:2], given, [0]))


def test_refused_slices():
    """Starts belong to axes one by one, are integers, and the part is no larger than the array."""
    a = to_bridge(X)
    for starts, axes, sizes, error, text in [
        ([1, 1], (0,), (1, 1), ValueError, "one start for each"),
        ([1, 1], (0, 0), (1, 1), ValueError, "one start for each"),
        ([1], (0,), (5, 1), ValueError, "sizes do not fit"),
        ([1], (0,), (1,), ValueError, "sizes do not fit"),
        ([1.0], (0,), (1, 1), bridge.DTypeError, "integers"),
        ([1], (2,), (1, 1), IndexError, "axis 2"),
    ]:
        with pytest.raises(error, match=text):
            bridge.slice(a, bridge.array(starts), axes, sizes)
    with pytest.raises(ValueError, match="update does not fit"):
        bridge.slice_update(a, bridge.zeros((5, 1)), bridge.array([0]), (0,))


@given(st.data())
def test_strided(data):
    """as_strided is NumPy's on the row-major elements, for strides of any sign, and never leaves them."""
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=3)))
    strides = tuple(data.draw(st.lists(st.integers(-4, 6), min_size=len(shape), max_size=len(shape))))
    offset = data.draw(st.integers(0, 30))
    x = np.arange(24, dtype=np.int32)
    reach = [(n - 1) * s for n, s in zip(shape, strides, strict=True)]
    inside = 0 in shape or 0 <= offset + sum(min(r, 0) for r in reach) <= offset + sum(max(r, 0) for r in reach) < 24
    a = to_bridge(x.reshape(6, 4).T.copy().T)
    if not inside:
        with pytest.raises(ValueError, match="outside of the array"):
            bridge.as_strided(a, shape, strides, offset)
        return
    got = to_numpy(bridge.as_strided(a, shape, strides, offset))
    assert got.shape == shape
    for index in np.ndindex(shape):
        assert got[index] == offset + sum(i * s for i, s in zip(index, strides, strict=True))


def test_strided_defaults():
    """Without a shape it is the array's, without strides those of a row-major array."""
    a = to_bridge(X)
    assert bridge.as_strided(a).tolist() == X.tolist()
    assert bridge.as_strided(a.T, (2, 3)).tolist() == X.T.reshape(-1)[:6].reshape(2, 3).tolist()
    with pytest.raises(ValueError, match="one stride an axis"):
        bridge.as_strided(a, (2, 3), (1,))


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=40)))
def test_nonzero(mask: np.ndarray):
    """nonzero gives NumPy's positions, as int32, of bools and of numbers, in any layout."""
    for x in (mask, mask.T, mask * 2.5):
        found = bridge.nonzero(to_bridge(mask).T if x is mask.T else to_bridge(x))
        want = np.nonzero(x)
        assert len(found) == len(want)
        for one, other in zip(found, want, strict=True):
            assert one.dtype is bridge.int32
            np.testing.assert_array_equal(to_numpy(one), other)


def test_nonzero_of_many():
    """Blocks of any density meet without a gap; imported bytes other than 0 and 1 count as true."""
    random = np.random.default_rng(1)
    for density in (0, 1e-3, 0.5, 0.999, 1):
        mask = random.random(100_003) < density
        np.testing.assert_array_equal(to_numpy(bridge.nonzero(to_bridge(mask))[0]), np.nonzero(mask)[0])
    strange = np.array([0, 1, 2, 255, 0, 128] * 7, dtype=np.uint8).view(np.bool_)
    assert bridge.nonzero(bridge.asarray(strange))[0].tolist() == [k for k in range(42) if k % 6 not in (0, 4)]
    with pytest.raises(ValueError, match="without axes"):
        bridge.nonzero(bridge.array(1))


def test_places_beyond_two_to_the_31():
    """Offsets are of 64 bits: elements behind the first 2^31 are read where they are."""
    x = np.zeros(2**31 + 64, np.uint8)  # pages that nobody touches take no memory
    x[2**31 + 5], x[3] = 7, 9
    a = bridge.asarray(x)
    assert a[[3, 2**31 + 5, -59]].tolist() == [9, 7, 7]
    assert bridge.take(a.reshape(-1, 8), bridge.array([2**28]), 0).tolist() == [[0, 0, 0, 0, 0, 7, 0, 0]]


def test_iterators():
    """iter(a) is an ArrayIterator that gives rows, knows how many are left and stays at the end."""
    rows = iter(to_bridge(X))
    assert isinstance(rows, bridge.ArrayIterator)
    assert iter(rows) is rows
    assert next(rows).tolist() == X[0].tolist()
    assert rows.__length_hint__() == 3
    assert len(list(rows)) == 3
    assert list(rows) == []
    assert rows.__length_hint__() == 0
