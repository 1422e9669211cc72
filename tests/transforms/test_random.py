"""Random numbers, padding and views inside transforms."""

from __future__ import annotations

import numpy as np
import pytest
from core.values import to_numpy

import bridge
from bridge import random

KEY = random.key(17)
WEIGHTS = bridge.array(np.linspace(-1, 2, 5), bridge.float32)


def test_gradients_reach_the_parameters():
    """d(loc + scale x)/d(loc, scale) = (1, x); the bounds of uniform share each number between them."""
    x = random.normal((5,), key=KEY)
    loss = lambda loc, scale: (random.normal((5,), loc=loc, scale=scale, key=KEY) * WEIGHTS).sum()  # noqa: E731
    by_loc, by_scale = bridge.grad(loss, argnums=(0, 1))(bridge.array(0.5), bridge.array(2.0))
    np.testing.assert_allclose(by_loc.item(), WEIGHTS.sum().item(), rtol=1e-6)
    np.testing.assert_allclose(by_scale.item(), (WEIGHTS * x).sum().item(), rtol=1e-5)
    u = random.uniform(shape=(5,), key=KEY)
    loss = lambda low, high: (random.uniform(low, high, (5,), key=KEY) * WEIGHTS).sum()  # noqa: E731
    by_low, by_high = bridge.grad(loss, argnums=(0, 1))(bridge.array(-1.0), bridge.array(3.0))
    np.testing.assert_allclose(by_low.item(), (WEIGHTS * (1 - u)).sum().item(), rtol=1e-5)
    np.testing.assert_allclose(by_high.item(), (WEIGHTS * u).sum().item(), rtol=1e-5)


DRAWS = {
    "uniform": lambda key: random.uniform(-1, 3, (4,), key=key),
    "normal": lambda key: random.normal((2, 3), key=key),
    "complex": lambda key: random.normal((3,), bridge.complex64, key=key),
    "bernoulli": lambda key: random.bernoulli(0.3, (5,), key=key),
    "randint": lambda key: random.randint(0, 100, (5,), key=key),
    "permutation": lambda key: random.permutation(6, key=key),
    "categorical": lambda key: random.categorical(WEIGHTS, num_samples=4, key=key),
    "truncated_normal": lambda key: random.truncated_normal(-1, 2, (3,), key=key),
    "split": lambda key: random.split(key, 3),
}


@pytest.mark.parametrize("name", DRAWS)
def test_vmap_over_keys(name: str):
    """A batch of keys draws what a loop over them draws."""
    keys = random.split(KEY, 4)
    want = np.stack([to_numpy(DRAWS[name](keys[k])) for k in range(4)])
    np.testing.assert_array_equal(to_numpy(bridge.vmap(DRAWS[name])(keys)), want)


def test_vmap_over_bounds():
    """The same key for every row, whose bounds differ."""
    highs = bridge.array([10, 100, 1000])
    got = bridge.vmap(lambda high: random.randint(0, high, (4,), key=KEY))(highs)
    want = [random.randint(0, high, (4,), key=KEY).tolist() for high in (10, 100, 1000)]
    assert got.tolist() == want


def test_compile_with_the_state():
    """A compiled function that names the state draws anew at each call, as the plain one does."""
    step = bridge.compile(lambda x: x + random.uniform(shape=(3,)), inputs=random.state, outputs=random.state)
    draws = []
    for function in (step, lambda x: x + random.uniform(shape=(3,))):
        random.seed(5)
        draws.append([function(bridge.ones((3,))).tolist() for _ in range(3)])
    assert draws[0] == draws[1]
    assert draws[0][0] != draws[0][1]


MODES = ["constant", "edge", "reflect", "symmetric"]


@pytest.mark.parametrize("mode", MODES)
def test_gradient_of_pad(mode: str):
    """Against central differences, for widths beyond the array; the same over a batch."""
    x = np.random.default_rng(3).normal(size=(2, 3))
    weights = np.random.default_rng(4).normal(size=(7, 9))
    loss = lambda a: (bridge.pad(a, ((4, 1), (2, 4)), mode) * bridge.array(weights, bridge.float64)).sum()  # noqa: E731
    got = to_numpy(bridge.grad(loss)(bridge.array(x, bridge.float64)))
    want = np.empty_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-5
        want[place] = np.sum(
            weights * (np.pad(x + step, ((4, 1), (2, 4)), mode) - np.pad(x - step, ((4, 1), (2, 4)), mode))
        )
    np.testing.assert_allclose(got, want / 2e-5, rtol=1e-6)
    batch = bridge.vmap(lambda a: bridge.pad(a, 2, mode))(bridge.array(np.stack([x, x + 1]), bridge.float64))
    np.testing.assert_array_equal(to_numpy(batch), np.stack([np.pad(x, 2, mode), np.pad(x + 1, 2, mode)]))


def test_gradients_through_bytes():
    """Parts of complex numbers seen as one array; contiguous copies and dependencies hand gradients on."""
    x = bridge.array([1.0, 2.0, 3.0, 4.0])
    grown = bridge.grad(lambda a: bridge.abs(bridge.view(a, bridge.complex64)).sum())(x)
    np.testing.assert_allclose(to_numpy(grown), [1 / 5**0.5, 2 / 5**0.5, 0.6, 0.8], rtol=1e-6)
    for through in (bridge.contiguous, lambda a: bridge.depends(a, a * 2), lambda a: bridge.depends([a], [a])[0]):
        assert bridge.grad(lambda a, f=through: (f(a) * a).sum())(x).tolist() == [2, 4, 6, 8]
    assert bridge.grad(bridge.erfinv)(bridge.array(0.0)).item() == pytest.approx(np.sqrt(np.pi) / 2)
