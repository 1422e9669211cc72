"""Every primitive under every transform: against central differences in float64, and against a loop over the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from transforms.samples import SAMPLES, Sample, is_float, results_of

import bridge as mx
from bridge.core.ops.declare import PRIMITIVES

IDS = [f"{one.name}-{k}" for k, one in enumerate(SAMPLES)]
SMOOTH = [
    one
    for one in SAMPLES
    if PRIMITIVES[one.name].derivative != "flat" and PRIMITIVES[one.name].kind != "index_reduction"
    if any(r.dtype in (mx.float64, mx.complex128) for r in results_of(one.call(*map(mx.asarray, one.operands))))
]
SMOOTH_IDS = [f"{one.name}-{k}" for k, one in enumerate(SMOOTH)]


def arrays(operands: tuple[Any, ...]) -> list[Any]:
    return [mx.array(one, dtype=mx.float64) if is_float(one) else mx.array(one) for one in operands]


def weighted(sample: Sample, operands: list[Any]) -> Any:
    """A scalar that every element of every result takes part in, with a weight of its own."""
    total: Any = mx.array(0.0, dtype=mx.float64)
    for k, y in enumerate(results_of(sample.call(*operands))):
        if y.dtype in (mx.float64, mx.complex128):
            weight = np.random.default_rng([k, 3]).uniform(0.5, 1.5, y.shape)
            total = total + (mx.real(y) * mx.array(weight, dtype=mx.float64)).sum()
    return total


def directions(sample: Sample) -> list[Any]:
    random = np.random.default_rng(11)
    return [random.uniform(0.5, 1.5, one.shape) if is_float(one) else None for one in sample.operands]


def moved(sample: Sample, h: float) -> list[Any]:
    along = directions(sample)
    return arrays(tuple(a if d is None else a + h * d for a, d in zip(sample.operands, along, strict=True)))


def floats(sample: Sample) -> list[int]:
    return [k for k, one in enumerate(sample.operands) if is_float(one)]


def pushed(sample: Sample, fun: Any, operands: list[Any]) -> Any:
    """The derivative of fun(operands) along the directions, forwards."""
    at, along = floats(sample), directions(sample)

    def of_floats(*some: Any) -> Any:
        whole = list(operands)
        for k, one in zip(at, some, strict=True):
            whole[k] = one
        return fun(whole)

    return mx.jvp(of_floats, [operands[k] for k in at], arrays(tuple(along[k] for k in at)))[1][0]


@pytest.mark.parametrize("sample", SMOOTH, ids=SMOOTH_IDS)
def test_backwards_and_forwards(sample: Sample):
    """grad and jvp agree with central differences along a direction."""
    operands = arrays(sample.operands)
    h = 1e-6
    want = (weighted(sample, moved(sample, h)).item() - weighted(sample, moved(sample, -h)).item()) / (2 * h)
    gradients = mx.grad(lambda *args: weighted(sample, list(args)), argnums=floats(sample))(*operands)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    along = [d for d in directions(sample) if d is not None]
    got = sum(float(np.sum(np.asarray(g) * d)) for g, d in zip(gradients, along, strict=True))
    assert got == pytest.approx(want, rel=1e-6, abs=1e-7)
    assert pushed(sample, lambda args: weighted(sample, args), operands).item() == pytest.approx(
        got, rel=1e-9, abs=1e-10
    )


@pytest.mark.parametrize("sample", SMOOTH, ids=SMOOTH_IDS)
def test_second_order(sample: Sample):
    """The derivative of the gradient, forwards and backwards, agrees with central differences of the gradient."""
    operands = arrays(sample.operands)
    at = floats(sample)

    def slope(args: list[Any]) -> Any:
        made = mx.grad(lambda *some: weighted(sample, list(some)), argnums=at)(*args)
        made = made if isinstance(made, tuple) else (made,)
        total: Any = mx.array(0.0, dtype=mx.float64)
        for k, g in enumerate(made):
            total = (
                total + (g * mx.array(np.random.default_rng([k, 9]).uniform(0.5, 1.5, g.shape), dtype=mx.float64)).sum()
            )
        return total

    h = 1e-5
    want = (slope(moved(sample, h)).item() - slope(moved(sample, -h)).item()) / (2 * h)
    forwards = pushed(sample, slope, operands).item()
    gradients = mx.grad(lambda *args: slope(list(args)), argnums=at)(*operands)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    along = [d for d in directions(sample) if d is not None]
    backwards = sum(float(np.sum(np.asarray(g) * d)) for g, d in zip(gradients, along, strict=True))
    assert forwards == pytest.approx(want, rel=1e-5, abs=1e-5)
    assert backwards == pytest.approx(forwards, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("sample", SAMPLES, ids=IDS)
def test_batches(sample: Sample):
    """vmap agrees with a loop, whether one operand is mapped, along any axis, or all are."""
    random = np.random.default_rng(4)
    n = len(sample.operands)
    for mapped in {(True,) * n, (True, *(False,) * (n - 1)), (*(False,) * (n - 1), True)}:
        rows = [
            [one + 0.01 * random.uniform(size=one.shape) if is_float(one) else one for _ in range(3)]
            if has
            else [one] * 3
            for one, has in zip(sample.operands, mapped, strict=True)
        ]
        axis = {k: -1 if k == 0 else 0 for k in range(n)}
        whole = arrays(
            tuple(
                np.stack(row, axis[k]) if has else row[0] for k, (row, has) in enumerate(zip(rows, mapped, strict=True))
            )
        )
        axes = tuple(axis[k] if has else None for k, has in enumerate(mapped))
        got = results_of(mx.vmap(lambda *args: sample.call(*args), axes)(*whole))
        want = [results_of(sample.call(*arrays(tuple(row[i] for row in rows)))) for i in range(3)]
        for k, one in enumerate(got):
            assert one.dtype == want[0][k].dtype
            np.testing.assert_allclose(
                np.asarray(one), np.stack([np.asarray(row[k]) for row in want]), rtol=1e-9, atol=1e-11
            )


def test_every_primitive_is_tried():
    """What is not tried above has no derivative by nature, or is made of primitives that are."""
    untried = {
        op.name
        for op in PRIMITIVES.values()
        if op.of is None and op.derivative != "flat" and not any(one.name == op.name for one in SAMPLES)
    }
    assert untried <= UNTRIED, untried


# Tried by the tests of their family (tests/core), or without operands.
UNTRIED = {
    "after",
    "arange",
    "eig",
    "eigvals",
    "frames",
    "lu",
    "lu_factor",
    "nextafter",
    "overlap_add",
}
