"""Every elementwise primitive against NumPy: every dtype that it accepts, every layout; the others are refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from core.oracle import ELEMENTWISE
from core.values import (
    EVERY,
    LAYOUTS,
    SHAPES,
    WIDER,
    assert_near,
    draw,
    laid_out,
    names,
    numpy_dtype,
    to_bridge,
    to_numpy,
)

import bridge
from bridge.core.ops.declare import PRIMITIVES, Declaration

DECLARED = [declaration for declaration in PRIMITIVES.values() if declaration.kind == "elementwise"]
ACCEPTED = [(declaration, name) for declaration in DECLARED for name in names(declaration.accepts)]
REFUSED = [(d, name) for d in DECLARED for name in EVERY if name not in names(d.accepts)]


def cases(pairs: list) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("op", "name"), pairs, ids=[f"{op.name}-{name}" for op, name in pairs])


def interval(op: Declaration, k: int, name: str) -> tuple[float, float]:
    """Where operand k is drawn. Integer powers stay small so that their results, which wrap, are worth comparing."""
    low, high = op.sample[k]
    if name in ("float16", "bfloat16"):
        low, high = max(low, -10), min(high, 10)
    if op.name == "power" and numpy_dtype(name).kind in "iub":
        return (0, 5)
    return low, high


def want(op: Declaration, name: str, operands: list[np.ndarray]) -> np.ndarray:
    """NumPy's answer: integers and bool in their own dtype, the rest one format wider."""
    function = ELEMENTWISE[op.name]
    kind = numpy_dtype(name).kind
    if op.result == "logical":
        return function(*(x != 0 for x in operands))
    if op.result == "float" and kind in "biu":
        return function(*(x.astype(np.float32).astype(np.float64) for x in operands))
    if name in WIDER:
        return function(*(x if x.dtype == bool else x.astype(WIDER[name]) for x in operands))
    if kind == "b" and op.result != "bool" and not op.name.startswith("bitwise"):
        # Arithmetic of bool is that of 0 and 1, and "not zero" of the result.
        return np.asarray(function(*(x.astype(np.int8) for x in operands))).astype(bool)
    return np.asarray(function(*operands))


def result_name(op: Declaration, name: str) -> str:
    """The dtype that the declared rule promises for operands of dtype `name`."""
    if op.result in ("bool", "logical"):
        return "bool"
    if op.result == "float" and numpy_dtype(name).kind in "biu":
        return "float32"
    if op.result == "abs":
        return {"complex64": "float32", "complex128": "float64"}.get(name, name)
    return name


def check(op: Declaration, name: str, operands: list[np.ndarray], arrays: list[bridge.array], label: str) -> None:
    with np.errstate(all="ignore"):
        expected = want(op, name, operands)
    got = op.call(*arrays)
    assert got.dtype.name == result_name(op, name), label
    exact = op.ulp is None and op.name != "abs"
    assert_near(to_numpy(got), expected, 0 if exact else op.ulp, label)


def operand_names(op: Declaration, name: str) -> list[str]:
    arity = len(op.sample)
    return ["bool", name, name] if op.result == "select" else [name] * arity


def test_every_stage_is_declared():
    """stages.def and the declarations name the same ops; copy is the engine's own, cast a structured op."""
    text = (Path(__file__).parents[2] / "bridge/core/native/stages.def").read_text()
    stages = set(re.findall(r"^BRIDGE_STAGE\((\w+), \d\)", text, re.MULTILINE))
    assert stages - {"copy", "cast"} == {op.name for op in DECLARED}


def test_every_primitive_has_an_oracle():
    """The oracle table has a line for every declared elementwise primitive."""
    assert {op.name for op in DECLARED} <= set(ELEMENTWISE)


@cases(ACCEPTED)
def test_values_in_every_layout(op: Declaration, name: str):
    """Same values as NumPy, however the operands lie in memory."""
    for layout in LAYOUTS:
        pairs = [
            laid_out(layout, each, *interval(op, k, name), seed=k) for k, each in enumerate(operand_names(op, name))
        ]
        check(op, name, [x for x, _ in pairs], [a for _, a in pairs], layout)


@cases(ACCEPTED)
def test_values_in_every_shape(op: Declaration, name: str):
    """Same values as NumPy for empty arrays, 0-d arrays and sizes that fill vectors badly."""
    for shape in SHAPES:
        operands = [draw(each, shape, *interval(op, k, name), seed=k) for k, each in enumerate(operand_names(op, name))]
        check(op, name, operands, [to_bridge(x) for x in operands], str(shape))


@cases(REFUSED)
def test_refused_dtypes(op: Declaration, name: str):
    """A dtype that the declaration does not accept raises DTypeError, which is a TypeError, naming op and dtype."""
    operands = [to_bridge(draw(each, (3,))) for each in operand_names(op, name)]
    with pytest.raises(bridge.DTypeError, match=rf"{re.escape(op.name)}[\s\S]*{name}"):
        op.call(*operands)


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, np.inf, -np.inf, np.nan, 1e-40, 3e38, -3e38, 1e-7]
# Where IEEE 754 or C leaves the sign of NaN or the value open, or where float64 can hold what float32 cannot.
FLOATS = [op for op in DECLARED if "float32" in names(op.accepts) and op.result != "select"]


@pytest.mark.parametrize("op", FLOATS, ids=lambda op: op.name)
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_special_values(op: Declaration, name: str):
    """Signed zeros, infinities, NaN, subnormal and huge numbers give what NumPy gives."""
    arity = len(op.sample)
    special = np.array(SPECIAL, name)
    grids = [grid.ravel().copy() for grid in np.meshgrid(*[special] * arity)]
    with np.errstate(all="ignore"):
        expected = np.asarray(want(op, name, grids))
    got = to_numpy(op.call(*(to_bridge(x) for x in grids)))
    if got.dtype == bool:
        np.testing.assert_array_equal(got, expected)
        return
    with np.errstate(all="ignore"):
        rounded = expected.astype(name)
    for k, (value, reference) in enumerate(zip(got, rounded, strict=True)):
        at = [float(grid[k]) for grid in grids]
        if np.isnan(reference):
            assert np.isnan(value), at
        elif np.isinf(reference) or reference == 0:
            assert value == reference, at
            # Which zero is the larger one, IEEE 754 leaves open.
            assert op.name in ("maximum", "minimum") or np.signbit(value) == np.signbit(reference), at
        else:
            assert np.isclose(value, reference, rtol=1e-5, atol=1e-37), at
