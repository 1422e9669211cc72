"""Promotion: the lattice, the generated tables of the engine, and what operations really give."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from core.values import EVERY

import bridge
from bridge.core import _native, dtypes
from bridge.core._native import DTYPES
from bridge.core.promotion import HOLDS, above, join, promote, promote_weak

PAIRS = list(itertools.product(EVERY, EVERY))
SCALARS = {"bool": True, "int": 3, "float": 0.5, "complex": 1j}


def test_the_lattice_is_one():
    """Any two dtypes have exactly one least dtype above both: a join exists, commutes and is associative."""
    for a, b in itertools.product(HOLDS, HOLDS):
        assert join(a, b) == join(b, a)
        assert {a, b} <= {name for name in HOLDS if join(a, b) in above(name)}
    for a, b, c in itertools.product(HOLDS, HOLDS, HOLDS):
        assert join(join(a, b), c) == join(a, join(b, c))


@pytest.mark.parametrize(
    ("a", "b", "result"),
    [
        ("bool", "uint8", "uint8"),
        ("uint8", "int8", "int16"),
        ("uint32", "int8", "int64"),
        ("uint64", "int64", "float32"),
        ("int64", "float16", "float16"),
        ("float16", "bfloat16", "float32"),
        ("int32", "complex64", "complex64"),
        ("float32", "complex64", "complex64"),
        ("float64", "complex64", "complex128"),
    ],
)
def test_decided_pairs(a: str, b: str, result: str):
    """The pairs on which libraries differ are as docs/dtypes.md says."""
    assert promote(a, b) == result


def test_the_engine_promotes_by_the_table():
    """_native.promote agrees with the lattice on all 225 pairs."""
    for a, b in PAIRS:
        assert _native.promote(DTYPES[a], DTYPES[b]).name == promote(a, b), (a, b)


@pytest.mark.parametrize("a", EVERY)
def test_operators_promote(a: str):
    """a + b has the dtype of the table for every pair of arrays."""
    left = bridge.ones((2,), DTYPES[a])
    for b in EVERY:
        assert (left + bridge.ones((2,), DTYPES[b])).dtype.name == promote(a, b), b


@pytest.mark.parametrize("scalar", SCALARS)
@pytest.mark.parametrize("a", EVERY)
def test_python_scalars_are_weak(a: str, scalar: str):
    """A Python scalar changes the kind of the result, never the width within a kind, on either side."""
    x = bridge.ones((2,), DTYPES[a])
    assert (x + SCALARS[scalar]).dtype.name == promote_weak(a, scalar)
    assert (SCALARS[scalar] + x).dtype.name == promote_weak(a, scalar)
    assert bridge.where(x != 0, x, SCALARS[scalar]).dtype.name == promote_weak(a, scalar)


@pytest.mark.parametrize("a", EVERY)
def test_a_0d_array_is_not_weak(a: str):
    """Only Python scalars are weak: a 0-d array promotes like any array."""
    zero_d = bridge.array(1.0, dtype=bridge.float64)
    assert (bridge.ones((2,), DTYPES[a]) + zero_d).dtype.name == promote(a, "float64")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "bool"),
        (1, "int32"),
        (2**31 - 1, "int32"),
        (2**31, "int64"),
        (2**63, "uint64"),
        (0.5, "float32"),
        (1j, "complex64"),
    ],
)
def test_default_dtypes(value: complex, name: str):
    """A lone Python scalar has the default dtype of its kind; an int widens only when it must."""
    assert bridge.array(value).dtype.name == name
    assert bridge.array([value]).dtype.name == name


def test_an_integer_that_does_not_fit_raises():
    """A Python int outside the array's dtype raises OverflowError instead of wrapping."""
    with pytest.raises(OverflowError, match="300 does not fit in uint8"):
        bridge.zeros((2,), bridge.uint8) + 300
    with pytest.raises(OverflowError, match="-1 does not fit in uint8"):
        bridge.zeros((2,), bridge.uint8) + -1


def test_result_type():
    """result_type promotes dtypes, arrays and scalars together."""
    assert bridge.result_type(bridge.int8, bridge.ones((2,), bridge.uint8)) is bridge.int16
    assert bridge.result_type(bridge.ones((2,), bridge.float16), 2.0) is bridge.float16
    assert dtypes.promote(bridge.float16, bridge.bfloat16) is bridge.float32


def test_the_generated_tables_are_current():
    """promotion.inc and promotion_weak.inc are what tools/make_promotion.py writes."""
    tool = Path(__file__).parents[2] / "tools" / "make_promotion.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
