"""New arrays: from Python, from NumPy, constants, ranges and triangles."""

from __future__ import annotations

import numpy as np
import pytest
from core.values import EVERY, draw, numpy_dtype, to_numpy
from hypothesis import given
from hypothesis import strategies as st

import bridge
from bridge.core._native import DTYPES


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (3, "int32"),
        (2.5, "float32"),
        (1 + 2j, "complex64"),
        (True, "bool"),
        ([], "float32"),
        ([[], []], "float32"),
        ([1, 2, 3], "int32"),
        ((1, 2, 3), "int32"),
        ([1, 2.5], "float32"),
        ([True, 2], "int32"),
        ([1, 2j], "complex64"),
        ([2**40, 1], "int64"),
        ([[1, 2], [3, 4]], "int32"),
        ([[[1.0]], [[2.0]]], "float32"),
        (np.float64(2.5), "float32"),
        ([np.float64(2.5), 1], "float32"),
        (np.array([1.5]), "float32"),
        (np.array([1j]), "complex64"),
        (np.array([1, 2]), "int64"),
        (np.array([1, 2], np.uint8), "uint8"),
        (np.array([True]), "bool"),
        (np.array(3, np.int16), "int16"),
    ],
)
def test_constructor(value: object, dtype: str):
    """bridge.array takes scalars, nests and arrays, with MLX's dtypes: float64 input becomes float32."""
    a = bridge.array(value)
    assert a.dtype.name == dtype
    np.testing.assert_array_equal(to_numpy(a), np.array(value).astype(dtype))


def test_constructor_with_arrays():
    """Nests may hold arrays; a bridge array keeps its dtype; dtype= converts."""
    inner = bridge.array([3, 4])
    assert bridge.array([bridge.array([1, 2]), inner]).tolist() == [[1, 2], [3, 4]]
    wide = bridge.array([1.0], dtype=bridge.float64)
    assert bridge.array(wide).dtype is bridge.float64
    assert bridge.array([1.7, -1.7], dtype=bridge.int32).tolist() == [1, -1]
    assert bridge.array(np.array([1.5]), dtype=bridge.float64).dtype is bridge.float64


def test_the_constructor_copies():
    """A change of the source is not seen by the array."""
    x = np.zeros(3, np.float32)
    a = bridge.array(x)
    x[0] = 1
    assert a.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ([[1], [2, 3]], ValueError, "length|extent|shape"),
        ([1, [2]], ValueError, "length|extent|shape|nest"),
        ("a", (TypeError, ValueError), "str"),
        ([1, None], (TypeError, ValueError), "NoneType"),
        (object(), (TypeError, ValueError), "object"),
    ],
)
def test_constructor_refusals(value: object, error: type[Exception], text: str):
    """Ragged nests and foreign objects raise, naming what is wrong."""
    with pytest.raises(error, match=text):
        bridge.array(value)


@pytest.mark.parametrize("name", EVERY)
def test_from_numpy_is_exact(name: str):
    """With dtype given, every NumPy dtype comes in and goes out bit by bit."""
    x = draw(name, (3, 5))
    a = bridge.array(x, dtype=DTYPES[name])
    out = to_numpy(a)
    assert out.dtype == numpy_dtype(name)
    np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize("name", EVERY)
def test_constants(name: str):
    """zeros, ones, full and their _like forms, in every dtype."""
    dtype = DTYPES[name]
    for shape in [(), 3, (2, 0), [2, 3]]:
        for value, a in [
            (0, bridge.zeros(shape, dtype)),
            (1, bridge.ones(shape, dtype)),
            (1, bridge.full(shape, 1, dtype)),
        ]:
            assert a.dtype is dtype
            np.testing.assert_array_equal(to_numpy(a), np.full(shape, value, numpy_dtype(name)))
    like = bridge.zeros((2, 3), dtype)
    assert bridge.ones_like(like).dtype is dtype
    assert bridge.zeros_like(like, dtype=bridge.int8).dtype is bridge.int8
    np.testing.assert_array_equal(to_numpy(bridge.full_like(like, 1)), np.ones((2, 3), numpy_dtype(name)))


def test_full():
    """full takes its dtype from the value, and broadcasts an array."""
    assert bridge.full((2,), 3).dtype is bridge.int32
    assert bridge.full((2,), 3.0).dtype is bridge.float32
    assert bridge.full((2,), True).dtype is bridge.bool_
    assert bridge.full((2, 2), bridge.array([1, 2])).tolist() == [[1, 2], [1, 2]]
    assert bridge.zeros(2).dtype is bridge.ones(2, None).dtype is bridge.float32
    with pytest.raises(ValueError, match="negative"):
        bridge.ones(-1)


@pytest.mark.parametrize(
    "arguments",
    [
        (3,),
        (0,),
        (-3,),
        (2, 7),
        (7, 2),
        (0, 10, 3),
        (10, 0, -3),
        (0, 1, 0.25),
        (1.5,),
        (0.5, 3),
        (1, 3.0),
        (5, 5),
        (-1.0, 1.0, 0.1),
    ],
)
def test_arange(arguments: tuple):
    """NumPy's values; int32 for ints, float32 as soon as one argument is a float."""
    a = bridge.arange(*arguments)
    want = np.arange(*arguments)
    assert a.dtype is (bridge.float32 if any(isinstance(x, float) for x in arguments) else bridge.int32)
    np.testing.assert_allclose(to_numpy(a), want, rtol=1e-6, atol=1e-7)


def test_arange_dtypes():
    """dtype= is obeyed; large ints stay exact; a step of 0 raises."""
    assert bridge.arange(3, dtype=bridge.float16).dtype is bridge.float16
    assert bridge.arange(0, 5, 2, bridge.uint8).tolist() == [0, 2, 4]
    assert bridge.arange(start=1, stop=3).tolist() == [1, 2]
    big = bridge.arange(2**53, 2**53 + 3, dtype=bridge.int64)
    assert big.tolist() == [2**53, 2**53 + 1, 2**53 + 2]
    with pytest.raises(ValueError, match="step"):
        bridge.arange(0, 5, 0)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-7, 7).filter(bool))
def test_arange_of_integers(start: int, stop: int, step: int):
    """Integer ranges are Python's."""
    assert bridge.arange(start, stop, step).tolist() == list(range(start, stop, step))


def test_linspace():
    """Both ends hit exactly; endpoint, num and dtype as in NumPy."""
    for arguments in [(0, 1, 5), (0, 1, 1), (0, 1, 0), (-3.5, 7.25, 4), (5, 2, 7)]:
        for endpoint in (True, False):
            got = to_numpy(bridge.linspace(*arguments, endpoint=endpoint))
            np.testing.assert_allclose(got, np.linspace(*arguments, endpoint=endpoint), rtol=1e-6, atol=1e-6)
    assert bridge.linspace(0, 1).shape == (50,)
    assert bridge.linspace(0.1, 0.7, 33)[-1].item() == np.float32(0.7)
    assert bridge.linspace(0, 10, 5, dtype=bridge.int32).tolist() == [0, 2, 5, 7, 10]
    with pytest.raises(ValueError, match="must not be negative"):
        bridge.linspace(0, 1, -1)


@pytest.mark.parametrize("k", [-5, -1, 0, 1, 2, 9])
def test_triangles(k: int):
    """eye, tri, tril and triu against NumPy, for diagonals inside and outside."""
    np.testing.assert_array_equal(to_numpy(bridge.eye(3, 4, k)), np.eye(3, 4, k))
    np.testing.assert_array_equal(to_numpy(bridge.tri(3, 4, k)), np.tri(3, 4, k))
    x = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(to_numpy(bridge.tril(bridge.array(x), k)), np.tril(x, k))
    np.testing.assert_array_equal(to_numpy(bridge.triu(bridge.array(x), k)), np.triu(x, k))
    assert bridge.eye(3, k=k, dtype=bridge.bool_).dtype is bridge.bool_
    np.testing.assert_array_equal(to_numpy(bridge.identity(3)), np.identity(3))


def test_foreign_operands():
    """Every function takes the arrays of other libraries, losslessly; a list is refused with the fix."""
    x = np.arange(6.0).reshape(2, 3)
    for function in (bridge.exp, bridge.sum, bridge.mean, bridge.softmax, bridge.round, bridge.flip, bridge.transpose):
        assert function(x).dtype is bridge.float64
    assert (x + bridge.ones((3,))).dtype is bridge.float64
    assert isinstance(x @ bridge.ones((3,)), bridge.array)
    for function in (bridge.exp, bridge.mean, bridge.flip):
        with pytest.raises(TypeError, match=r"fix:  bridge.array\(...\)"):
            function([1.0, 2.0])
