"""The dtype table: one set of rows, in C++, in Python and in the objects that users hold."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from core.values import EVERY, numpy_dtype

import bridge
from bridge.core import dtypes
from bridge.core._native import DTYPES

KINDS = {
    "boolean": "bool",
    "unsigned_integer": "unsigned",
    "signed_integer": "signed",
    "floating": "floating",
    "complex": "complex",
    "held": "held",
}
NAMES = [row.name for row in dtypes.TABLE]


def header_rows() -> list[dtypes.Row]:
    """The rows of kDTypes in dtypes.h."""
    text = (Path(__file__).parents[2] / "bridge/core/native/dtypes.h").read_text()
    pattern = r'\{"(\w+)", (\d+), Kind::(\w+), (\d+), (?:"(\w+|\?)"|nullptr)(?:, (\d), DType::(\w+))?\}'
    return [
        dtypes.Row(name, int(size), KINDS[kind], int(code), form or None, int(padding or 0), exact or None)
        for name, size, kind, code, form, padding, exact in re.findall(pattern, text)
    ]


def test_python_and_cpp_hold_the_same_rows():
    """bridge/core/dtypes.py and native/dtypes.h list the same dtypes, in the same order, with the same facts."""
    assert header_rows() == list(dtypes.TABLE)


def test_the_objects_match_the_rows():
    """The extension's Dtype objects have the names, sizes and codes of the table."""
    assert list(DTYPES) == NAMES
    assert NAMES[: len(EVERY)] == EVERY
    for code, row in enumerate(dtypes.TABLE):
        dtype = DTYPES[row.name]
        assert (dtype.name, dtype.size, dtype.code) == (row.name, row.size, code)


@pytest.mark.parametrize("name", NAMES)
def test_public_names(name: str):
    """Each dtype is an attribute of bridge; bool is bool_, as in MLX."""
    public = "bool_" if name == "bool" else name
    assert getattr(bridge, public) is DTYPES[name]
    assert repr(DTYPES[name]) == f"bridge.{public}"


@pytest.mark.parametrize("name", NAMES)
def test_dtypes_are_singletons(name: str):
    """Copying and pickling a dtype gives the same object, and it can be a dictionary key."""
    dtype = DTYPES[name]
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert copy.deepcopy(dtype) is dtype
    assert {dtype: 1}[dtype] == 1


def test_comparison_with_anything_else_is_false():
    """dtype == x is False for foreign objects, and != is True: no TypeError, no guess."""
    for other in (None, "float32", np.float32, np.dtype("float32"), 1, object()):
        assert (bridge.float32 == other) is False
        assert (bridge.float32 != other) is True
    assert bridge.float32 == bridge.float32
    assert bridge.float32 != bridge.float16


@pytest.mark.parametrize("name", NAMES)
def test_numpy_round_trip(name: str):
    """to_numpy and from_numpy are inverse; bfloat16 and the held dtypes are ml_dtypes' own."""
    assert dtypes.to_numpy(DTYPES[name]) == numpy_dtype(name)
    assert dtypes.from_numpy(numpy_dtype(name)) is DTYPES[name]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("float32", "float32"),
        ("bool_", "bool"),
        ("bfloat16", "bfloat16"),
        (bool, "bool"),
        (int, "int32"),
        (float, "float32"),
        (complex, "complex64"),
        (np.int64, "int64"),
        (np.dtype("u2"), "uint16"),
        (ml_dtypes.bfloat16, "bfloat16"),
        (bridge.float16, "float16"),
        ("float8_e5m2", "float8_e5m2"),
        (ml_dtypes.int4, "int4"),
        (np.dtype(ml_dtypes.float8_e8m0fnu), "float8_e8m0fnu"),
    ],
)
def test_as_dtype(value: object, name: str):
    """Dtypes can be named by string, Python type, NumPy type or dtype."""
    assert dtypes.as_dtype(value) is DTYPES[name]


@pytest.mark.parametrize(
    "value", ["float8", "S5", np.dtype("O"), np.dtype(">f4"), np.dtype([("a", "i4")]), ml_dtypes.float8_e3m4, [], 3.5]
)
def test_what_has_no_counterpart_is_refused(value: object):
    """Strings, objects, records, rarer float8 types and foreign byte order raise DTypeError that lists what exists."""
    with pytest.raises(bridge.DTypeError, match="bridge has no dtype of this description"):
        dtypes.as_dtype(value)


def test_longdouble_is_refused_where_it_is_wider():
    """A longdouble is only accepted where it is float64."""
    if np.dtype(np.longdouble).itemsize == 8:
        assert dtypes.as_dtype(np.longdouble) is bridge.float64
        return
    with pytest.raises(bridge.DTypeError, match="bridge has no dtype of this description"):
        dtypes.as_dtype(np.longdouble)


def test_sets():
    """The sets that declarations are written with partition the table."""
    parts = [dtypes.BOOL, dtypes.UNSIGNED, dtypes.SIGNED, dtypes.FLOATING, dtypes.COMPLEX]
    assert sum(map(len, parts)) == len(dtypes.ALL) == len(DTYPES) - len(dtypes.HELD)
    assert not dtypes.ALL & dtypes.HELD
    assert dtypes.mask(dtypes.ALL) == 2 ** len(dtypes.ALL) - 1
    assert dtypes.mask(dtypes.BOOL) == 1
