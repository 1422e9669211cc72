"""unique and its relatives, isin, diff: NumPy's answers."""

from __future__ import annotations

import numpy as np
import pytest
from core.test_sort import bits_of, key_of, with_edges
from core.values import EVERY, PARTS, draw, numpy_dtype, to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as shapes

import bridge

NAMES = [name for name in EVERY if name not in PARTS]


def unique(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """NumPy's answer: values, first places, inverse, counts; every NaN counts."""
    key = key_of(x)
    _, places, inverse, counts = np.unique(
        key, return_index=True, return_inverse=True, return_counts=True, equal_nan=False
    )
    return x.reshape(-1)[places], places, inverse.reshape(x.shape), counts


@pytest.mark.parametrize("name", NAMES)
def test_unique(name: str):
    """The array API's four functions agree with NumPy; an element's bits are those of its first occurrence."""
    for shape in ((0,), (1,), (3, 0), (40,), (5, 40), (3, 100, 5)):
        x = with_edges(name, int(np.prod(shape))).reshape(shape)
        a = to_bridge(x)
        values, places, inverse, counts = unique(x)
        got = bridge.unique_all(a)
        np.testing.assert_array_equal(bits_of(to_numpy(got.values)), bits_of(values))
        np.testing.assert_array_equal(to_numpy(got.indices), places)
        # NumPy gives every NaN the place of the first one.
        numbers = ~np.isnan(key_of(x)) if key_of(x).dtype.kind == "f" else np.ones(shape, bool)
        np.testing.assert_array_equal(to_numpy(got.inverse_indices)[numbers], inverse[numbers])
        np.testing.assert_array_equal(
            bits_of(to_numpy(got.values[got.inverse_indices])[~numbers]), bits_of(x[~numbers])
        )
        np.testing.assert_array_equal(to_numpy(got.counts), counts)
        assert [one.dtype for one in got[1:]] == [bridge.int32] * 3
        np.testing.assert_array_equal(bits_of(to_numpy(bridge.unique_values(a))), bits_of(values))
        np.testing.assert_array_equal(to_numpy(bridge.unique_counts(a).counts), counts)
        np.testing.assert_array_equal(to_numpy(bridge.unique_inverse(a).inverse_indices)[numbers], inverse[numbers])


@pytest.mark.parametrize("name", PARTS)
def test_unique_complex(name: str):
    """Complex numbers come by real part, then by imaginary part."""
    x = draw(name, (60,)).round()
    got = bridge.unique_all(to_bridge(x))
    values, places, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    for one, want in zip(got, (values, places, inverse, counts), strict=True):
        np.testing.assert_array_equal(to_numpy(one), want)


@given(
    x=shapes.arrays(
        st.sampled_from([np.float32, np.int8, np.uint16, np.bool_]),
        shapes.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=8),
    )
)
def test_unique_rebuilds(x: np.ndarray):
    """The distinct elements at the inverse positions are the array; the counts add up to its size."""
    got = bridge.unique_all(to_bridge(x))
    np.testing.assert_array_equal(to_numpy(got.values)[to_numpy(got.inverse_indices)], x)
    assert to_numpy(got.counts).sum() == x.size
    np.testing.assert_array_equal(x.reshape(-1)[to_numpy(got.indices)], to_numpy(got.values))


def test_unique_of_a_size():
    """MLX's unique is lazy: it fills up, or leaves out, to the size that is given."""
    a = bridge.array([2, 1, 2, 3, 1])
    assert bridge.unique(a, 3).tolist() == [1, 2, 3]
    assert bridge.unique(a, 5).tolist() == [1, 2, 3, 1, 1]
    got = bridge.unique(a, 4, True, True, True, fill_value=0)
    assert [one.tolist() for one in got] == [[1, 2, 3, 0], [1, 0, 3, 1], [1, 0, 1, 2, 0], [2, 2, 1, 0]]
    got = bridge.unique(a, 2, return_inverse=True, return_counts=True)
    assert [one.tolist() for one in got] == [[1, 2], [1, 0, 1, 1, 0], [2, 2]]
    got = bridge.unique(a, 0, True, True, True)
    assert [one.tolist() for one in got] == [[], [], [0] * 5, []]
    assert bridge.unique(a, 4, fill_value=7.5).tolist() == [1, 2, 3, 7]
    assert bridge.unique(bridge.zeros((0,)), 2, fill_value=3).tolist() == [3, 3]
    got = bridge.unique(bridge.zeros((0, 2)), 0, True, True, True)
    assert [one.shape for one in got] == [(0,), (0,), (0, 2), (0,)]
    got = bridge.unique(bridge.array(5), 1, True, True, True)
    assert [one.tolist() for one in got] == [[5], [0], 0, [1]]
    nan = float("nan")
    values, counts = bridge.unique(bridge.array([nan, 1.0, nan]), 3, return_counts=True)
    np.testing.assert_array_equal(to_numpy(values), np.array([1, nan, nan], np.float32))
    assert counts.tolist() == [1, 1, 1]


ERRORS = {
    "size": (lambda: bridge.unique(bridge.ones(3), -1), ValueError, "the size is negative"),
    "fill": (lambda: bridge.unique(bridge.ones(3), 1, fill_value=bridge.ones(2)), ValueError, "one element"),
    "nothing": (lambda: bridge.unique(bridge.zeros((0,)), 1), ValueError, "no element to fill"),
    "held": (lambda: bridge.unique_values(bridge.ones(3).astype(bridge.float8_e5m2)), TypeError, "float8_e5m2"),
    "n": (lambda: bridge.diff(bridge.ones(3), -1), ValueError, "number of differences is negative"),
    "axis": (lambda: bridge.diff(bridge.array(1.0)), IndexError, "out of bounds"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(case: str):
    """What makes no sense is refused, with the op named."""
    call, error, text = ERRORS[case]
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("name", EVERY)
def test_isin(name: str):
    """Membership as NumPy's; NaN is in nothing, zeros of both signs are equal."""
    for n in (0, 1, 50):
        x1, x2 = with_edges(name, 200).reshape(10, 20), with_edges(name, n, seed=5)
        want = np.isin(key_of(x1), key_of(x2)) if name not in PARTS else (x1[..., None] == x2).any(-1)
        np.testing.assert_array_equal(to_numpy(bridge.isin(to_bridge(x1), to_bridge(x2))), want)
        np.testing.assert_array_equal(to_numpy(bridge.isin(to_bridge(x1), to_bridge(x2), invert=True)), ~want)


def test_isin_of_numbers():
    """Either side may be a Python number; dtypes are promoted."""
    a = bridge.array([1, 2, 3])
    assert bridge.isin(a, 2).tolist() == [False, True, False]
    assert bridge.isin(2, a).item() is True
    assert bridge.isin(2.5, a, invert=True).item() is True
    assert bridge.isin(a, bridge.array([2.0, 2.5])).tolist() == [False, True, False]
    assert bridge.isin(a, bridge.array([[3], [1]])).tolist() == [True, False, True]


@pytest.mark.parametrize("name", EVERY)
def test_diff(name: str):
    """NumPy's differences along any axis, any number of times; of bool, whether neighbours differ."""
    x = draw(name, (4, 5, 3))
    for axis in (0, 1, -1):
        for n in (0, 1, 2, 6):
            got = to_numpy(bridge.diff(to_bridge(x), n, axis))
            if name in ("float16", "bfloat16"):
                want = np.diff(x.astype(np.float32), n, axis)
                assert got.shape == want.shape
                np.testing.assert_allclose(got.astype(np.float32), want, atol=0.1 * 2**n)
            else:
                np.testing.assert_array_equal(got, np.diff(x, n, axis))
                assert got.dtype == numpy_dtype(name)


def test_diff_with_ends():
    """Arrays are joined to the ends first."""
    a = bridge.array([1, 4, 9])
    assert bridge.diff(a, prepend=bridge.array([0]), append=bridge.array([16])).tolist() == [1, 3, 5, 7]
