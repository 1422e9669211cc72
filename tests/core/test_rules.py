"""Derivative, transpose and batching rules of the declarations, checked as functions: the transforms rely on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from core.values import names, to_numpy

import bridge
from bridge.core.ops.declare import PRIMITIVES, Declaration

ELEMENTWISE = [op for op in PRIMITIVES.values() if op.kind == "elementwise"]
SMOOTH = [op for op in ELEMENTWISE if isinstance(op.derivative, tuple)]
HOLOMORPHIC = [
    op for op in SMOOTH if op.adjoint is None and op.name not in ("remainder", "maximum", "minimum", "select")
]
COMPLEX = [op for op in SMOOTH if "complex128" in names(op.accepts) and op.name not in ("maximum", "minimum")]


def f64(value: object) -> bridge.array:
    return bridge.array(np.asarray(value), dtype=bridge.float64)


def c128(value: object) -> bridge.array:
    return bridge.array(np.asarray(value), dtype=bridge.complex128)


def inside(op: Declaration, k: int, complex_values: bool) -> np.ndarray:
    """Points well inside the domain of operand k, away from zeros and jumps."""
    low, high = op.sample[k]
    low, high = max(low, -2.0), min(high, 3.0)
    random = np.random.default_rng([k, 7])
    points = random.uniform(low + 0.1 * (high - low), high - 0.1 * (high - low), 9)
    points = np.where(np.abs(points) < 0.05, 0.3, points)
    return points + 1j * random.uniform(-0.4, 0.4, 9) if complex_values else points


def tangents(op: Declaration, make: Callable, points: list, directions: list) -> np.ndarray:
    """The derivative along a direction, from the rules."""
    operands = [make(p) for p in points]
    y = op.call(*operands)
    total = 0
    for k, rule in enumerate(op.derivative):
        if rule is not None:
            total = total + to_numpy(rule(make(directions[k]), y, *operands))
    return total


def differences(op: Declaration, make: Callable, points: list, directions: list) -> np.ndarray:
    """The same by central differences."""
    h = 1e-6
    ahead = op.call(*(make(p + h * d) for p, d in zip(points, directions, strict=True)))
    behind = op.call(*(make(p - h * d) for p, d in zip(points, directions, strict=True)))
    return (to_numpy(ahead) - to_numpy(behind)) / (2 * h)


@pytest.mark.parametrize("op", ELEMENTWISE, ids=lambda op: op.name)
def test_every_op_says_something(op: Declaration):
    """An elementwise op has one rule an operand, or says that it is flat."""
    assert op.derivative == "flat" or len(op.derivative) == len(op.sample)


@pytest.mark.parametrize("op", [op for op in SMOOTH if op.name != "select"], ids=lambda op: op.name)
def test_derivative(op: Declaration):
    """The rules agree with central differences in float64."""
    points = [inside(op, k, False) for k in range(len(op.sample))]
    directions = [np.random.default_rng(k).uniform(0.5, 1.5, 9) for k in range(len(points))]
    if op.name in ("maximum", "minimum"):
        points[1] = points[0] + np.where(np.arange(9) % 2, 0.5, -0.5)
    if op.name == "remainder":
        points = [np.linspace(-3.3, 4.1, 9), np.full(9, 1.3)]
    np.testing.assert_allclose(
        tangents(op, f64, points, directions), differences(op, f64, points, directions), rtol=2e-7, atol=1e-8
    )


@pytest.mark.parametrize("op", COMPLEX, ids=lambda op: op.name)
def test_complex_derivative(op: Declaration):
    """The rules agree with central differences along complex directions."""
    if op.name == "select":
        return
    points = [inside(op, k, True) for k in range(len(op.sample))]
    directions = [np.exp(1j * np.random.default_rng(k).uniform(0, 6, 9)) for k in range(len(points))]
    np.testing.assert_allclose(
        tangents(op, c128, points, directions), differences(op, c128, points, directions), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("op", COMPLEX, ids=lambda op: op.name)
def test_complex_adjoint(op: Declaration):
    """Backwards is the adjoint of forwards: Re<g, Jt> = Re<J*g, t>, by conjugation or by the rule that replaces it."""
    points = [inside(op, k, True) for k in range(len(op.sample))]
    operands = [c128(p) for p in points]
    if op.name == "select":
        operands[0] = bridge.array(np.arange(9) % 2 == 0)
    y = op.call(*operands)
    random = np.random.default_rng(3)
    g = random.normal(size=9) + 1j * random.normal(size=9)
    g = g if y.dtype is bridge.complex128 else g.real
    for rule in op.derivative:
        if rule is None:
            continue
        t = random.normal(size=9) + 1j * random.normal(size=9)
        forwards = to_numpy(rule(c128(t), y, *operands))
        make = c128 if np.iscomplexobj(g) else f64
        if op.adjoint is not None:
            backwards = to_numpy(op.adjoint(make(g), y, *operands))
        else:
            backwards = np.conj(to_numpy(rule(make(np.conj(g)), y, *operands)))
        np.testing.assert_allclose(
            np.sum(np.conj(g) * forwards).real, np.sum(np.conj(backwards) * t).real, rtol=1e-9, atol=1e-9
        )


EDGES = [
    ("power", (0.0, 0.0), 0, 0.0),
    ("power", (0.0, 2.0), 1, 0.0),
    ("power", (2.0, 0.0), 0, 0.0),
    ("maximum", (1.0, 1.0), 0, 0.5),
    ("minimum", (1.0, 1.0), 1, 0.5),
    ("abs", (0.0,), 0, 0.0),
    ("sign", (0.0,), 0, 0.0),
    ("logaddexp", (-np.inf, -np.inf), 0, 0.5),
    ("logaddexp", (np.inf, 1.0), 0, 1.0),
    ("logaddexp", (np.inf, 1.0), 1, 0.0),
]


@pytest.mark.parametrize(("name", "at", "operand", "want"), EDGES)
def test_edges(name: str, at: tuple[float, ...], operand: int, want: float):
    """Where the formula would give NaN, or operands tie, the rule gives the number that is meant."""
    op = PRIMITIVES[name]
    operands = [f64(value) for value in at]
    assert op.derivative[operand](f64(1.0), op.call(*operands), *operands).item() == want


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", ["sum", "prod", "max", "min"])
def test_reduction_derivative(name: str, axes: tuple[int, ...]):
    """A reduction's rule, summed over the axes, agrees with central differences; products with zeros included."""
    op = PRIMITIVES[name]
    x = np.random.default_rng(5).permutation(60).reshape(3, 4, 5) / 10 - 2.0
    t = np.random.default_rng(6).normal(size=x.shape)
    y = op.call(f64(x), axes, True)
    got = to_numpy(bridge.broadcast_to(op.derivative[0](f64(t), y, f64(x), axes), x.shape)).sum(axes)
    h = 1e-6
    want = (to_numpy(op.call(f64(x + h * t), axes)) - to_numpy(op.call(f64(x - h * t), axes))) / (2 * h)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * np.abs(want).max())


def test_product_of_others():
    """The rule of prod is exact with none, one and two zeros in a row."""
    for row, want in [([2, 3, 4], [12, 8, 6]), ([2, 0, 4], [0, 8, 0]), ([0, 0, 4], [0, 0, 0]), ([5], [1])]:
        x = f64(row)
        y = x.prod(keepdims=True)
        rule = PRIMITIVES["prod"].derivative[0]
        assert rule(f64(1.0), y, x, (0,)).tolist() == want


def test_ties_share():
    """Equal extremes share the derivative evenly."""
    x = f64([1.0, 3.0, 3.0])
    assert PRIMITIVES["max"].derivative[0](f64(1.0), x.max(keepdims=True), x, (0,)).tolist() == [0, 0.5, 0.5]


# name -> operands, parameters: where the linear ops are tried
LINEAR = {
    "contiguous": [([(2, 3)], {"allow_col_major": True})],
    "reshape": [([(2, 3, 4)], {"shape": (6, 4)})],
    "transpose": [([(2, 3, 4)], {}), ([(2, 3, 4)], {"axes": (1, 2, 0)}), ([(2, 3, 4)], {"axes": (-1, 0, 1)})],
    "broadcast_to": [([(3, 1)], {"shape": (2, 3, 4)}), ([()], {"shape": (2,)}), ([(2, 3)], {"shape": (2, 3)})],
    "concatenate": [([(2, 3), (4, 3)], {"axis": 0}), ([(2, 3), (2, 1)], {"axis": -1})],
    "matmul": [
        ([(3, 4), (4, 5)], {}),
        ([(4,), (4,)], {}),
        ([(4,), (4, 5)], {}),
        ([(3, 4), (4,)], {}),
        ([(2, 3, 4), (4, 5)], {}),
        ([(1, 3, 4), (7, 4, 5)], {}),
        ([(4,), (7, 4, 5)], {}),
    ],
    "conv_general": [
        (
            [(2, 6, 4), (6, 3, 2)],
            {
                "stride": [2],
                "padding": ([1], [2]),
                "kernel_dilation": [2],
                "input_dilation": [3],
                "groups": 2,
                "flip": True,
            },
        ),
    ],
    "cumsum": [([(3, 4)], {"axis": 1, "reverse": True}), ([(3, 4)], {"axis": 0, "inclusive": False})],
    "strided_slice": [([(6, 7)], {"start": (5, 1), "step": (-2, 3), "count": (3, 2)})],
    "strided_update": [([(6, 7), (3, 2)], {"start": (5, 1), "step": (-2, 3)})],
}
BILINEAR = ("conv_general", "matmul")  # linear in each operand by itself
LINEAR_CASES = [(name, *case) for name, cases in LINEAR.items() for case in cases]


def call(op: Declaration, operands: list[bridge.array], parameters: dict) -> bridge.array:
    if op.name == "concatenate":
        return op.call(operands, **parameters)
    return op.call(*operands, **parameters)


def test_every_linear_op_is_tried():
    """Views and structured ops with rules of their own are in the table above, or tried where they are tested."""
    ruled = {op.name for op in PRIMITIVES.values() if op.transpose is not None and op.kind != "host"}
    elsewhere = {"cast", "padded", "after", "gather", "scatter", "scatter_add", "matmul_gathered", "segmented_mm"}
    assert ruled == {*LINEAR, *elsewhere}
    for op in PRIMITIVES.values():
        if op.kind in ("view", "structured") and op.of is not None:
            assert op.of in PRIMITIVES


@pytest.mark.parametrize(("name", "shapes", "parameters"), LINEAR_CASES)
def test_transpose(name: str, shapes: list, parameters: dict):
    """Backwards is the transpose of forwards in each operand: <g, f(t)> = <f'(g), t>."""
    op = PRIMITIVES[name]
    random = np.random.default_rng(8)
    operands = [f64(random.normal(size=shape)) for shape in shapes]
    g = f64(random.normal(size=call(op, operands, parameters).shape))
    for k in range(len(operands)):
        t = random.normal(size=shapes[k])
        changed = [
            f64(t) if j == k else a if name in BILINEAR else bridge.zeros_like(a) for j, a in enumerate(operands)
        ]
        forwards = np.sum(to_numpy(g * call(op, changed, parameters)))
        if name == "concatenate":
            back = op.transpose[0](g, *operands, **parameters)[k]
        else:
            back = op.transpose[k](g, *operands, **parameters)
        assert back.shape == operands[k].shape
        np.testing.assert_allclose(forwards, np.sum(to_numpy(back) * t), rtol=1e-12)


@pytest.mark.parametrize(("name", "shapes", "parameters"), LINEAR_CASES)
def test_batching(name: str, shapes: list, parameters: dict):
    """The batching rule gives what a loop over the batch gives, whichever operands carry the batch."""
    op = PRIMITIVES[name]
    random = np.random.default_rng(9)
    size = 3
    for batched in itertools.product([True, False], repeat=len(shapes)):
        if not any(batched):
            continue
        operands = [f64(random.normal(size=(size, *s) if has else s)) for s, has in zip(shapes, batched, strict=True)]
        got = op.batching(size, batched, *operands, **parameters)
        rows = [[a[k] if has else a for a, has in zip(operands, batched, strict=True)] for k in range(size)]
        want = np.stack([to_numpy(call(op, row, parameters)) for row in rows])
        np.testing.assert_allclose(to_numpy(got), want, rtol=1e-12, atol=1e-12)


def test_cast_rules():
    """A cast transposes to the cast back and batches as it is."""
    op = PRIMITIVES["cast"]
    a = bridge.ones((2,), bridge.float16)
    assert op.transpose[0](bridge.ones((2,), bridge.float32), a, bridge.float32).dtype is bridge.float16
    assert op.batching(2, (True,), a, bridge.int32).dtype is bridge.int32
