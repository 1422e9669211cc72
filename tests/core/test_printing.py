"""Printing: character by character what MLX prints, and cheap for large arrays."""

from __future__ import annotations

import json

import pytest
from core.printing_cases import CASES, PRECISIONS, RECORDED, printed

import bridge
from bridge.core import _native

MLX = json.loads(RECORDED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def ours() -> dict[str, str]:
    return printed(bridge)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("case", CASES)
def test_prints_as_mlx(case: str, precision: int, ours: dict[str, str]):
    """repr is MLX's, for every dtype, nesting, elision and precision."""
    assert ours[f"{precision}: {case}"] == MLX[f"{precision}: {case}"]


def test_dtypes_that_mlx_has_not():
    """float64 and complex128 print like their narrow forms."""
    assert repr(bridge.array([1 / 3], dtype=bridge.float64)) == "array([0.333333], dtype=float64)"
    assert repr(bridge.array([1 / 3 + 2j], dtype=bridge.complex128)) == "array([0.333333+2j], dtype=complex128)"


def test_str_is_repr():
    """print(a) shows what the prompt shows."""
    a = bridge.array([1, 2])
    assert str(a) == repr(a) == "array([1, 2], dtype=int32)"


def test_format():
    """A 0-d array formats as its number; others as they print."""
    assert f"{bridge.array(1.5)}" == "1.5"
    assert f"{bridge.array(1 / 3):.2f}" == "0.33"
    assert f"{bridge.array(7):03d}" == "007"
    assert f"{bridge.array([1, 2])}" == "array([1, 2], dtype=int32)"


def test_printing_evaluates_the_array_only():
    """Printing a large pending array evaluates it once and adds no kernel for the corners."""
    log: list[str] = []
    _native.set_kernel_log(log.append)
    try:
        a = bridge.ones((1000, 1000)) * 2
        text = repr(a)
    finally:
        _native.set_kernel_log(None)
    assert len(log) == 1
    assert text.count("...") == 7


def test_print_options():
    """Options hold until changed, and a block gives back what was."""
    assert bridge.get_printoptions().precision == -1
    bridge.set_printoptions(precision=2)
    try:
        assert repr(bridge.array(1 / 3)) == "array(0.33, dtype=float32)"
        with bridge.printoptions(precision=4):
            assert repr(bridge.array(1 / 3)) == "array(0.3333, dtype=float32)"
        assert bridge.get_printoptions().precision == 2
    finally:
        bridge.set_printoptions()
