"""The held dtypes, float8 and those of four bits: moved and converted with exact bits, refused where one would compute.

The oracle is ml_dtypes: what its NumPy dtypes give, bit for bit.
"""

from __future__ import annotations

import copy
import operator
import pickle

import ml_dtypes
import numpy as np
import pytest
from core.values import EVERY, HELD, numpy_dtype

import bridge
from bridge.core import dtypes
from bridge.core._native import DTYPES, set_kernel_log

held = pytest.mark.parametrize("name", HELD)


def every(name: str) -> np.ndarray:
    """Every bit pattern of a dtype, as an ml_dtypes array."""
    return np.arange(2 ** HELD[name][0], dtype=np.uint8).view(numpy_dtype(name))


def bits(value: object) -> list[object]:
    return np.asarray(value).view(np.uint8).tolist()


def quiet(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    with np.errstate(all="ignore"):
        return values.astype(dtype)


def test_the_set():
    """The held dtypes are these nine; each names its exact dtype."""
    assert {dtype.name for dtype in dtypes.HELD} == set(HELD)
    for name, (width, code, exact) in HELD.items():
        row = dtypes.ROWS[DTYPES[name]]
        assert (row.bits, row.dlpack_code, row.exact, row.size, row.format) == (width, code, exact, 1, None)


@held
def test_import_shares_and_keeps_the_dtype(name: str):
    """A NumPy array of an ml_dtypes dtype comes in and goes out with the same bits at the same address."""
    values = every(name)
    a = bridge.asarray(values)
    assert a.dtype is DTYPES[name]
    assert np.asarray(a).ctypes.data == values.ctypes.data
    assert np.asarray(a).dtype == values.dtype
    assert bridge.array(values).dtype is DTYPES[name]
    assert bits(bridge.array(values)) == bits(values)


@held
def test_views_and_copies_move_bytes(name: str):
    """Slices, reshapes, transposes, broadcasts, joins and updates give the bits that NumPy gives."""
    values = every(name).reshape(4, -1)
    a = bridge.array(values)
    assert bits(a.T) == bits(np.ascontiguousarray(values.T))
    assert bits(a[1:, ::-2]) == bits(np.ascontiguousarray(values[1:, ::-2]))
    assert bits(bridge.broadcast_to(a[0], (3, values.shape[1]))) == bits(np.repeat(values[:1], 3, 0))
    assert bits(bridge.concatenate([a, a], axis=1)) == bits(np.concatenate([values, values], 1))
    assert bits(bridge.stack([a[0], a[2]])) == bits(np.stack([values[0], values[2]]))
    expected = values.copy()
    expected[1:3] = expected[:2]
    a[1:3] = a[:2]
    assert bits(a) == bits(expected)


def test_views_are_lazy_and_run_the_loops_of_bytes():
    """Moving held elements is a kernel over uint8, run when the values are asked for."""
    a = bridge.array(every("float8_e5m2")).reshape(16, 16)
    lines: list[str] = []
    b = bridge.concatenate([a.T, a])
    set_kernel_log(lines.append)
    try:
        bridge.eval(b)
    finally:
        set_kernel_log(None)
    assert lines
    assert all("uint8" in line and "float8" not in line for line in lines)


@held
def test_numbers_that_come_out(name: str):
    """item() and tolist() give Python's numbers: int for the integers, float for the others."""
    a = bridge.array(every(name))
    expected = every(name).astype(np.float32).tolist()
    np.testing.assert_array_equal(a.tolist(), expected)
    kind = int if "int" in name else float
    assert type(a[1].item()) is kind
    assert kind(a[1].item()) == expected[1]


@held
def test_what_prints(name: str):
    """An array prints its values and its dtype."""
    assert repr(bridge.array([1, 2], dtype=DTYPES[name])) == f"array([1, 2], dtype={name})"


@held
def test_pickle_and_copy(name: str):
    """Pickling and copying keep dtype and bits."""
    a = bridge.array(every(name))[::2]
    for protocol in (4, 5):
        again = pickle.loads(pickle.dumps(a, protocol))
        assert again.dtype is a.dtype
        assert bits(again) == bits(a)
    assert bits(copy.deepcopy(a)) == bits(a)


@held
@pytest.mark.parametrize("target", [*EVERY, *HELD])
def test_conversion_from(name: str, target: str):
    """astype gives what the value itself gives: through the exact dtype, rounded once."""
    exact = every(name).astype(numpy_dtype(HELD[name][2]))
    converted = bridge.array(every(name)).astype(DTYPES[target])
    assert converted.dtype is DTYPES[target]
    if target in HELD:
        expected = every(name) if target == name else quiet(exact, numpy_dtype(target))
        assert bits(converted) == bits(expected)
    else:
        engine = bridge.array(exact).astype(DTYPES[target])
        assert bits(converted) == bits(engine)


@held
@pytest.mark.parametrize("source", EVERY)
def test_conversion_to(name: str, source: str):
    """astype rounds, saturates and makes NaN as ml_dtypes does, from every dtype."""
    numbers = np.concatenate([np.linspace(-20, 20, 81), [0.0, 300, 448, 1e-3, 6e4]])
    if "complex" in source or "float" in source:
        numbers = np.concatenate([numbers, [-0.0, np.nan, np.inf, -np.inf]])
    values = quiet(numbers, numpy_dtype(source))
    expected = quiet(values.real if "complex" in source else values, numpy_dtype(name))
    assert bits(bridge.array(values, dtype=DTYPES[source]).astype(DTYPES[name])) == bits(expected)


@held
def test_the_exact_dtype_is_exact(name: str):
    """To the dtype that errors name and back: every value returns."""
    a = bridge.array(every(name))
    there = a.astype(DTYPES[HELD[name][2]])
    np.testing.assert_array_equal(there.astype(DTYPES[name]).tolist(), a.tolist())


@held
def test_creation(name: str):
    """full, ones, zeros and array of Python numbers round as ml_dtypes does."""
    dtype, own = DTYPES[name], numpy_dtype(name)
    assert bits(bridge.full((2,), 3, dtype=dtype)) == bits(np.array([3.0, 3.0]).astype(own))
    assert bits(bridge.ones((2,), dtype)) == bits(np.array([1.0, 1.0]).astype(own))
    assert bits(bridge.zeros((2,), dtype)) == bits(quiet(np.array([0.0, 0.0]), own))
    assert bits(bridge.array([[1, 2.0], [True, 4]], dtype=dtype)) == bits(np.array([[1.0, 2], [1, 4]]).astype(own))


@pytest.mark.parametrize(("name", "number"), [("int4", 8), ("int4", -9), ("uint4", 16), ("uint4", -1)])
def test_numbers_out_of_reach(name: str, number: int):
    """A Python number that four bits do not hold raises, as for every integer dtype."""
    with pytest.raises(OverflowError, match=f"the number {number} does not fit in {name}"):
        bridge.array(number, dtype=DTYPES[name])


def test_padding_bits_count_for_nothing():
    """Of an element of four bits only the low four count, whatever lies above them."""
    raw = np.array([0x17, 0xF9], np.uint8)
    assert bridge.asarray(raw.view(ml_dtypes.int4)).tolist() == [7, -7]
    assert bridge.asarray(raw.view(ml_dtypes.uint4)).astype(bridge.int32).tolist() == [7, 9]


COMPUTING = {
    "add": lambda a: a + a,
    "multiply": lambda a: a * 2,
    "divide": lambda a: 1.0 / a,
    "negative": operator.neg,
    "abs": abs,
    "equal": lambda a: a == a,
    "less": lambda a: a < 1,
    "logical_not": bridge.logical_not,
    "bitwise_invert": operator.invert,
    "select": lambda a: bridge.where(True, a, a),
    "sum": bridge.sum,
    "max": bridge.max,
    "any": bridge.any,
    "argmax": bridge.argmax,
    "mean": bridge.mean,
    "var": bridge.var,
    "softmax": bridge.softmax,
    "logsumexp": bridge.logsumexp,
    "isclose": lambda a: bridge.isclose(a, a),
    "round": bridge.round,
    "matmul": lambda a: a @ a,
    "exp": bridge.exp,
}


@held
@pytest.mark.parametrize("op", COMPUTING)
def test_computing_is_refused(name: str, op: str):
    """What would compute says that it does not, and which conversion is exact."""
    a = bridge.array(every(name))
    with pytest.raises(bridge.DTypeError, match="held, moved and converted, but not computed with") as error:
        COMPUTING[op](a)
    assert str(error.value).startswith(f"[bridge.{op}] {name} arrays")
    assert f"fix:  a.astype(bridge.{HELD[name][2]}), which has every value of {name}" in str(error.value)


@pytest.mark.parametrize(
    "compute",
    [bridge.fft.fft, bridge.fft.rfft, bridge.fft.irfft, bridge.fft.hfft, bridge.linalg.norm, bridge.linalg.det],
)
def test_transforms_and_linear_algebra_are_refused(compute):
    """What would convert integers first does not do so with a held dtype."""
    with pytest.raises(bridge.DTypeError, match=r"fix: .*a\.astype\(bridge\."):
        compute(bridge.eye(2, dtype=bridge.int4))


@held
def test_promotion_is_refused(name: str):
    """A held dtype has no common dtype with another one, and is its own with itself."""
    a = bridge.ones((2,), DTYPES[name])
    assert bridge.result_type(a, a) is DTYPES[name]
    for other in (bridge.ones((2,)), bridge.bool_, 1.0):
        with pytest.raises(bridge.DTypeError, match="have no dtype in common"):
            bridge.result_type(a, other)
    with pytest.raises(bridge.DTypeError, match="have no dtype in common"):
        bridge.concatenate([a, bridge.ones((2,))])
    with pytest.raises(bridge.DTypeError, match="have no dtype in common"):
        dtypes.promote(DTYPES[name], bridge.float32)


@held
def test_the_buffer_protocol_has_no_code(name: str):
    """memoryview refuses; NumPy arrives by __array__, over the same bytes."""
    a = bridge.array(every(name))
    with pytest.raises(BufferError, match=f"the buffer protocol has no code for {name}"):
        memoryview(a)
    assert np.shares_memory(np.asarray(a), np.asarray(a))
