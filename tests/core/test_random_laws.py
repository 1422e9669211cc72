"""The distributions of bridge.random against SciPy: Kolmogorov-Smirnov, chi-square and moments, with fixed seeds.

Each bound is one that a right generator misses once in about a thousand seeds; these seeds do not.
"""

from __future__ import annotations

import numpy as np
import pytest
from core.values import to_numpy
from scipy import stats

import bridge
from bridge import random
from bridge.core.ops.random_kernels import random_sample

N = 100_000
LAWS = {
    "uniform": stats.uniform(),
    "normal": stats.norm(),
    "gumbel": stats.gumbel_r(),
    "laplace": stats.laplace(),
}


@pytest.mark.parametrize("dtype", [bridge.float32, bridge.float64], ids=lambda one: one.name)
@pytest.mark.parametrize("law", LAWS)
def test_law(law: str, dtype: bridge.Dtype):
    """Distribution function, mean and variance, and no correlation between neighbours or halves."""
    x = to_numpy(getattr(random, law)(shape=(N,), dtype=dtype, key=random.key(2))).astype(np.float64)
    want = LAWS[law]
    assert stats.kstest(x, want.cdf).pvalue > 1e-3
    deviation = want.std() / np.sqrt(N)
    assert abs(x.mean() - want.mean()) < 3.5 * deviation
    assert abs(x.var() / want.var() - 1) < 0.03
    for a, b in ((x[:-1], x[1:]), (x[: N // 2], x[N // 2 :])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


@pytest.mark.parametrize("dtype", [bridge.uint32, bridge.uint64], ids=lambda one: one.name)
def test_bits(dtype: bridge.Dtype):
    """Every bit is set half of the time, and bytes are spread evenly."""
    words = to_numpy(random_sample(random.key(8), (N,), dtype, "bits"))
    bits = np.unpackbits(words.view(np.uint8).reshape(N, -1), axis=1)
    assert np.abs(bits.mean(0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(N)
    counts = np.bincount(words.view(np.uint8), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_keys_are_independent():
    """First draws of neighbouring seeds, and of the splits of one key, are uniform and uncorrelated."""
    seeds = np.array([random.uniform(key=random.key(k)).item() for k in range(2000)])
    splits = to_numpy(random_sample(random.split(random.key(1), 20_000), (), bridge.float32, "uniform"))
    for x in (seeds, splits):
        assert stats.kstest(x, "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 4 / np.sqrt(len(x))


@pytest.mark.parametrize(("low", "high"), [(0, 2), (-3, 4), (0, 1000), (10, 10 + 257)])
def test_integers(low: int, high: int):
    """All integers of the range, evenly."""
    x = to_numpy(random.randint(low, high, (N,), key=random.key(5)))
    assert x.min() == low
    assert x.max() == high - 1
    assert stats.chisquare(np.bincount(x - low, minlength=high - low)).pvalue > 1e-3


def test_wide_integers_have_no_bias():
    """Of 3 * 2^62 numbers, where a remainder would favour the first 2^62 two to one."""
    x = to_numpy(random.randint(0, 3 * 2**62, (N,), bridge.uint64, key=random.key(6)))
    assert stats.chisquare(np.bincount((x >> np.uint64(62)).astype(int), minlength=3)).pvalue > 1e-3


def test_bernoulli():
    """As many as the probability says."""
    for p in (0.01, 0.3, 0.999):
        x = to_numpy(random.bernoulli(p, (N,), key=random.key(4)))
        assert stats.binomtest(int(x.sum()), N, p).pvalue > 1e-3


def test_categorical():
    """As often as the softmax of the logits says."""
    logits = np.array([0.0, 1.0, -2.0, 0.5], np.float32)
    x = to_numpy(random.categorical(bridge.array(logits), num_samples=N, key=random.key(9)))
    share = np.exp(logits.astype(np.float64))
    assert stats.chisquare(np.bincount(x, minlength=4), N * share / share.sum()).pvalue > 1e-3


def test_permutations():
    """All 24 orders of four, equally often; first places of a long one are spread over it."""
    keys = random.split(random.key(3), 24_000)
    orders = to_numpy(bridge.core.ops.random_kernels.random_permutation(keys, 4))
    codes = orders @ np.array([64, 16, 4, 1])
    _, counts = np.unique(codes, return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3
    order = to_numpy(random.permutation(N, key=random.key(3)))
    assert abs(np.corrcoef(order, np.arange(N))[0, 1]) < 4 / np.sqrt(N)


@pytest.mark.parametrize(("low", "high"), [(-1, 2), (0, np.inf), (-np.inf, -2), (3, 5)])
def test_truncated_normal(low: float, high: float):
    """The normal distribution between two bounds, one of which may be infinite."""
    x = to_numpy(random.truncated_normal(low, high, (N,), key=random.key(12)))
    assert stats.kstest(x.astype(np.float64), stats.truncnorm(low, high).cdf).pvalue > 1e-3


def test_multivariate_normal():
    """The mean and the covariance that were asked for, and normal along every direction."""
    mean, cov = np.array([1.0, -2.0, 0.5]), np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
    x = to_numpy(
        random.multivariate_normal(bridge.array(mean), bridge.array(cov), (N,), bridge.float64, random.key(13))
    )
    np.testing.assert_allclose(x.mean(0), mean, atol=4 * np.sqrt(2 / N))
    np.testing.assert_allclose(np.cov(x.T), cov, atol=0.04)
    along = (x - mean) @ np.array([1.0, 2.0, -1.0])
    deviation = np.sqrt(np.array([1.0, 2.0, -1.0]) @ cov @ np.array([1.0, 2.0, -1.0]))
    assert stats.kstest(along / deviation, "norm").pvalue > 1e-3


def test_tails():
    """float64 normal numbers reach beyond five deviations as often as they should, on both sides."""
    x = to_numpy(random.normal((4_000_000,), bridge.float64, key=random.key(14)))
    for side in (x > 4.5, x < -4.5):
        assert stats.binomtest(int(side.sum()), len(x), stats.norm.sf(4.5)).pvalue > 1e-3
