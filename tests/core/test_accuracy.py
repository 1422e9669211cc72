"""The declared error bounds: no float32 result is further off, over the sampled range and over all numbers."""

from __future__ import annotations

import numpy as np
import pytest
from core.oracle import ELEMENTWISE
from core.values import assert_near, to_bridge, to_numpy

from bridge.core.ops.declare import PRIMITIVES, Declaration

BOUNDED = [op for op in PRIMITIVES.values() if op.kind == "elementwise" and op.ulp is not None]
COUNT = 100_000


def spread(low: float, high: float, seed: int) -> np.ndarray:
    """Half of the values evenly in [low, high], half by magnitude down to 1e-30 of both signs."""
    random = np.random.default_rng(seed)
    even = random.uniform(low, high, COUNT // 2)
    small = np.exp(random.uniform(np.log(1e-30), np.log(max(abs(low), abs(high))), COUNT // 2))
    small = np.clip(small * random.choice([-1, 1], small.size), low, high)
    return random.permutation(np.concatenate([even, small])).astype(np.float32)


@pytest.mark.parametrize("op", BOUNDED, ids=lambda op: op.name)
def test_declared_bound(op: Declaration):
    """The declaration's `ulp` holds over its `sample`, against float64."""
    operands = [spread(low, high, k) for k, (low, high) in enumerate(op.sample)]
    with np.errstate(all="ignore"):
        want = np.asarray(ELEMENTWISE[op.name](*(x.astype(np.float64) for x in operands)))
    assert_near(to_numpy(op.call(*map(to_bridge, operands))), want, op.ulp, op.name)


@pytest.mark.parametrize("op", [op for op in BOUNDED if len(op.sample) == 1], ids=lambda op: op.name)
def test_declared_bound_over_all_numbers(op: Declaration):
    """It also holds for random bit patterns: huge and tiny numbers, subnormal ones, infinities and NaN."""
    bits = np.random.default_rng(11).integers(0, 2**32, COUNT, dtype=np.uint32)
    x = bits.view(np.float32)
    with np.errstate(all="ignore"):
        want = np.asarray(ELEMENTWISE[op.name](x.astype(np.float64)))
    assert_near(to_numpy(op.call(to_bridge(x))), want, op.ulp, op.name)
