"""Basic indexing and in-place updates against NumPy: ints, slices of any step, None, Ellipsis."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from core.values import EVERY, draw, to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices

import bridge

SHAPE = (3, 4, 5)
KEYS = [
    0,
    -1,
    (1, 2, 3),
    (-3, -4, -5),
    slice(None),
    slice(1, 3),
    slice(None, None, -1),
    slice(-1, 0, -2),
    slice(5, 1),
    slice(-100, 100, 2),
    (slice(None), 1),
    (Ellipsis, 0),
    (0, Ellipsis),
    (0, Ellipsis, 0),
    Ellipsis,
    (),
    None,
    (None, 0, None, slice(None), None),
    (Ellipsis, None),
    (slice(2, None, -1), None, slice(None, None, 3), -1),
    (np.int64(1), slice(np.int32(0), np.int32(2))),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
@pytest.mark.parametrize("lazy", [False, True])
def test_reading(key: object, lazy: bool):
    """a[key] has NumPy's shape and elements, before and after evaluation."""
    x = np.arange(60).reshape(SHAPE)
    a = bridge.arange(60).reshape(SHAPE)
    if not lazy:
        bridge.eval(a)
    np.testing.assert_array_equal(to_numpy(a[key]), x[key])


@given(basic_indices(SHAPE, max_dims=6, allow_newaxis=True), st.sampled_from([1, 2]))
def test_reading_anything(key: object, factor: int):
    """Any basic index reads what NumPy reads, of a pending and of an evaluated array."""
    x = np.arange(60).reshape(SHAPE) * factor
    a = bridge.arange(60).reshape(SHAPE) * factor
    np.testing.assert_array_equal(to_numpy(a[key]), x[key])
    np.testing.assert_array_equal(to_numpy(a[key]), x[key])


@given(basic_indices(SHAPE, max_dims=4, allow_newaxis=True))
def test_writing_anything(key: object):
    """Any basic index writes what NumPy writes: a scalar, an array of that shape, one that broadcasts."""
    x = np.arange(60, dtype=np.float32).reshape(SHAPE)
    value = np.asarray(-x[key] - 1)
    for one in [value, np.float32(7), value[..., :1] if value.ndim else value]:
        a, y = bridge.arange(60, dtype=bridge.float32).reshape(SHAPE), x.copy()
        y[key] = one
        a[key] = bridge.array(one) if isinstance(one, np.ndarray) else float(one)
        np.testing.assert_array_equal(to_numpy(a), y)


@pytest.mark.parametrize("name", EVERY)
def test_every_dtype(name: str):
    """Slices and updates carry every dtype; the value is converted to the array's."""
    x = draw(name, (5, 6))
    a, y = to_bridge(x), x.copy()
    np.testing.assert_array_equal(to_numpy(a[::-2, 1::2]), x[::-2, 1::2])
    a[1:3, ::-1] = to_bridge(x[2:4])
    y[1:3, ::-1] = x[2:4]
    a[0] = True
    y[0] = True
    np.testing.assert_array_equal(to_numpy(a), y)
    assert a.dtype.name == name


OPERATORS = [
    operator.iadd,
    operator.isub,
    operator.imul,
    operator.itruediv,
    operator.ifloordiv,
    operator.imod,
    operator.ipow,
]


@pytest.mark.parametrize("update", OPERATORS, ids=lambda f: f.__name__)
def test_augmented_assignment(update):
    """a op= b and a[key] op= b give NumPy's values, and every name of the array sees them."""
    x = draw("float32", (4, 5), 1, 3)
    a = to_bridge(x)
    other = a
    np.testing.assert_allclose(to_numpy(update(a, 2.0)), update(x.copy(), 2.0), rtol=1e-6)
    np.testing.assert_allclose(to_numpy(other), update(x.copy(), 2.0), rtol=1e-6)
    y = x.copy()
    b = to_bridge(x)
    y[1:, ::2] = update(y[1:, ::2], y[:1, ::2])
    b[1:, ::2] = update(b[1:, ::2], b[:1, ::2])
    np.testing.assert_allclose(to_numpy(b), y, rtol=1e-6)


def test_values_not_references():
    """A slice is a value: an update of the array is not seen in a slice taken before, nor the other way."""
    a = bridge.arange(6)
    part, whole = a[2:4], a
    a[2] = 100
    assert part.tolist() == [2, 3]
    assert whole.tolist() == [0, 1, 100, 3, 4, 5]
    part[1] = -1
    assert a.tolist() == [0, 1, 100, 3, 4, 5]


def test_overlapping_update():
    """The right side is read before the left side is written."""
    a = bridge.arange(6)
    a[1:] = a[:-1]
    assert a.tolist() == [0, 0, 1, 2, 3, 4]
    a[:] = a[::-1]
    assert a.tolist() == [4, 3, 2, 1, 0, 0]


def test_iteration():
    """Iterating gives the rows; len is the first extent; 0-d arrays have neither."""
    a = bridge.arange(6).reshape(3, 2)
    assert [row.tolist() for row in a] == [[0, 1], [2, 3], [4, 5]]
    assert len(a) == 3
    first, *_, last = a
    assert (first.tolist(), last.tolist()) == ([0, 1], [4, 5])
    with pytest.raises(TypeError, match="0-d"):
        len(bridge.array(1))
    with pytest.raises(TypeError, match="0-d"):
        iter(bridge.array(1))


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (3, IndexError, "3 is out of bounds"),
        (-4, IndexError, "-4 is out of bounds"),
        ((0, 0, 5), IndexError, "5 is out of bounds"),
        ((0, 0, 0, 0), IndexError, "too many ind"),
        ((Ellipsis, Ellipsis), IndexError, "[Ee]llipsis"),
        (slice(None, None, 0), ValueError, "step"),
        ("a", (TypeError, IndexError), "str"),
        (1.0, (TypeError, IndexError), "float"),
    ],
)
def test_refused_keys(key: object, error: type[Exception], text: str):
    """Out of bounds raises IndexError (MLX leaves it undefined), for reading and for writing."""
    a = bridge.zeros(SHAPE)
    with pytest.raises(error, match=text):
        a[key]
    with pytest.raises(error, match=text):
        a[key] = 1


def test_refused_values():
    """A value that does not broadcast to the place raises and leaves the array as it was."""
    a = bridge.arange(6)
    with pytest.raises(ValueError, match="broadcast"):
        a[:3] = bridge.ones((2,))
    assert a.tolist() == [0, 1, 2, 3, 4, 5]


def test_python_scalars():
    """item, int, float, complex, bool and index evaluate; arrays of several elements have none."""
    assert bridge.array(3).item() == 3
    assert int(bridge.array(2.7)) == 2
    assert float(bridge.array([[2]])) == 2.0
    assert complex(bridge.array(1j)) == 1j
    assert bool(bridge.array(0.0)) is False
    assert [10, 20, 30][bridge.array(1)] == 20
    for convert in (float, int, complex, bool, bridge.array.item):
        with pytest.raises(ValueError, match=r"one element|ambiguous"):
            convert(bridge.array([1, 2]))
    with pytest.raises(TypeError, match="integer"):
        operator.index(bridge.array(1.0))
