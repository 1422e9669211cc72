"""bridge.random: keys, words and their exact consequences. test_random_laws.py looks at the distributions."""

from __future__ import annotations

import itertools
import json
import threading

import numpy as np
import pytest
from core.threefry import threefry, wide_words, words
from core.values import numpy_dtype, to_numpy
from hypothesis import given
from hypothesis import strategies as st
from isolated import run_code

import bridge
from bridge import random
from bridge.core.ops.declare import PRIMITIVES
from bridge.core.ops.random_kernels import random_integers, random_permutation, random_sample

KEY = random.key(0x123456789ABCDEF)
PARTS = (0x01234567, 0x89ABCDEF)
SIZES = [0, 1, 2, 3, 4, 5, 63, 64, 65, 2047, 2048, 2049, 100_001]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]


def bits(n: int, dtype: bridge.Dtype = bridge.uint32) -> np.ndarray:
    return to_numpy(random_sample(KEY, (n,), dtype, "bits"))


# ---- keys and words
def test_threefry_itself():
    """The reference gives the known answers of the authors' library."""
    for key, counter, want in [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((2**32 - 1, 2**32 - 1), (2**32 - 1, 2**32 - 1), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ]:
        got = threefry(key, *(np.array([one]) for one in counter))
        assert tuple(int(x[0]) for x in got) == want


@pytest.mark.parametrize("n", SIZES)
def test_words(n: int):
    """Words of every count are Threefry's, 32 and 64 bits wide."""
    np.testing.assert_array_equal(bits(n), words(PARTS, n))
    np.testing.assert_array_equal(bits(n, bridge.uint64), wide_words(PARTS, n))


@pytest.mark.parametrize("number", [0, 1, 2**32 + 5, 2**63, 2**64 - 1])
def test_keys(number: int):
    """A key is the seed's two halves, and its splits are its words."""
    key = random.key(number)
    assert key.tolist() == [number >> 32, number & 0xFFFFFFFF]
    assert key.dtype is bridge.uint32
    for num in (0, 1, 2, 3, 7):
        got = random.split(key, num)
        assert got.shape == (num, 2)
        np.testing.assert_array_equal(
            to_numpy(got).ravel(), words((number >> 32, number & 0xFFFFFFFF), 2 * num), err_msg=str(num)
        )


@pytest.mark.parametrize("number", [-1, 2**64])
def test_seeds_out_of_range(number: int):
    """A seed has 64 bits."""
    with pytest.raises(ValueError, match="a seed is an integer from 0"):
        random.key(number)


@pytest.mark.parametrize(
    ("key", "error", "text"),
    [
        (bridge.zeros((3,), bridge.uint32), ValueError, "this is no key"),
        (bridge.array([1, 2]), ValueError, "this is no key"),
        (bridge.zeros((3, 2), bridge.uint32), ValueError, "one key is wanted"),
        (5, TypeError, "a key is an array"),
    ],
)
def test_what_is_no_key(key: object, error: type, text: str):
    """Another dtype, shape or type is refused."""
    for draw in (random.uniform, random.normal, random.gumbel):
        with pytest.raises(error, match=text):
            draw(key=key)
    with pytest.raises(error, match=text):
        random.split(key)


def test_keys_of_every_layout():
    """A key may be a row of another array, lazy, strided or reversed."""
    keys = random.split(KEY, 5)
    want = to_numpy(random.uniform(shape=(9,), key=bridge.array(to_numpy(keys)[3].tolist(), bridge.uint32)))
    np.testing.assert_array_equal(to_numpy(random.uniform(shape=(9,), key=keys[3])), want)
    np.testing.assert_array_equal(to_numpy(random.uniform(shape=(9,), key=keys.T[:, 3])), want)
    np.testing.assert_array_equal(to_numpy(random.uniform(shape=(9,), key=keys[3][::-1][::-1])), want)


# ---- MLX
@pytest.mark.parametrize("n", [1, 2, 7, 1000, 100_001])
def test_mlx_draws_the_same(n: int):
    """For a key MLX gives the same words, uniform numbers, integers and orders, and normal numbers to a few units."""
    import mlx.core as mx

    ours, theirs = {"shape": (n,), "key": random.key(42)}, {"shape": (n,), "key": mx.random.key(42)}
    np.testing.assert_array_equal(to_numpy(random.uniform(**ours)), np.array(mx.random.uniform(**theirs)))
    for bounds in ((-2.5, 7.0), (0.1, 0.3), (3.0, 1.0)):
        got = to_numpy(random.uniform(*bounds, **ours))
        same = got == np.array(mx.random.uniform(*bounds, **theirs))
        assert np.all(same | (got == np.float32(bounds[0])))  # MLX may draw the upper bound
    np.testing.assert_array_equal(
        to_numpy(random.randint(-5, 10, **ours)), np.array(mx.random.randint(-5, 10, **theirs))
    )
    np.testing.assert_array_equal(to_numpy(random.bernoulli(0.3, **ours)), np.array(mx.random.bernoulli(0.3, **theirs)))
    for law, relative in (("normal", 2e-6), ("laplace", 1e-5), ("gumbel", 1e-5)):
        got, want = to_numpy(getattr(random, law)(**ours)), np.array(getattr(mx.random, law)(**theirs))
        np.testing.assert_allclose(got, want, rtol=relative, atol=3e-7, err_msg=law)
    got = to_numpy(random.truncated_normal(-1, 2, **ours))
    np.testing.assert_allclose(got, np.array(mx.random.truncated_normal(-1, 2, **theirs)), rtol=1e-5, atol=1e-6)
    order = np.array(mx.random.permutation(n, key=theirs["key"]))
    assert np.mean(to_numpy(random.permutation(n, key=ours["key"])) == order) > 0.9999  # ties of 32 bits aside


def test_mlx_draws_the_same_from_its_state():
    """After the same seed, the same calls."""
    import mlx.core as mx

    mx.random.seed(7)
    random.seed(7)
    for _ in range(3):
        assert random.uniform().item() == mx.random.uniform().item()
        assert random.randint(0, 1000, (4,)).tolist() == mx.random.randint(0, 1000, (4,)).tolist()


def test_mlx_chooses_the_same_categories():
    """Along every axis, one draw, a shape of draws, and samples as the last axis."""
    import mlx.core as mx

    logits = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    for axis, more in itertools.product((0, 1, -1), ({}, {"num_samples": 6}, {"shape": "two"})):
        rest = np.delete(logits.shape, axis).tolist()
        asked = {"shape": [2, *rest]} if "shape" in more else more
        got = random.categorical(bridge.array(logits), axis, **asked, key=random.key(3))
        want = np.array(mx.random.categorical(mx.array(logits), axis, **asked, key=mx.random.key(3)))
        np.testing.assert_array_equal(to_numpy(got), want)


def test_mlx_draws_the_same_vectors():
    """multivariate_normal up to the signs of singular vectors: the same lengths along each of them."""
    import mlx.core as mx

    cov = np.diag([1.0, 4.0, 9.0]).astype(np.float32)
    mean = np.array([1, 2, 3], np.float32)
    got = random.multivariate_normal(bridge.array(mean), bridge.array(cov), (50,), key=random.key(1))
    want = mx.random.multivariate_normal(mx.array(mean), mx.array(cov), (50,), key=mx.random.key(1), stream=mx.cpu)
    np.testing.assert_allclose(np.abs(to_numpy(got) - mean), np.abs(np.array(want) - mean), rtol=1e-4, atol=1e-5)


# ---- uniform
@pytest.mark.parametrize("n", [7, 4097])
def test_uniform_is_its_words(n: int):
    """float32: the word divided by 2^32, below one; float64: its highest 53 bits of 64."""
    small = np.minimum(words(PARTS, n).astype(np.float32) * np.float32(2**-32), np.float32(1 - 2**-24))
    np.testing.assert_array_equal(to_numpy(random.uniform(shape=(n,), key=KEY)), small)
    wide = (wide_words(PARTS, n) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    np.testing.assert_array_equal(to_numpy(random.uniform(shape=(n,), dtype=bridge.float64, key=KEY)), wide)
    assert np.abs(wide - small).max() < 2**-24


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize(("low", "high"), [(0, 1), (1, 2), (-1, 1e-8), (0.1, 0.3), (5, 5), (3, 1), (1000, 1001)])
def test_uniform_stays_in_its_bounds(name: str, low: float, high: float):
    """low <= x < high in every dtype, for bounds as numbers and as arrays; the other way round if low > high."""
    dtype = bridge.core.dtypes.as_dtype(name)
    exact_low, exact_high = (float(np.asarray(bound, numpy_dtype(name))) for bound in (low, high))
    for a, b in ((low, high), (bridge.array(low, dtype), bridge.array(high, dtype))):
        got = to_numpy(random.uniform(a, b, (300_000,), dtype, key=KEY)).astype(np.float64)
        assert got.min() >= min(exact_low, exact_high)
        assert got.max() <= max(exact_low, exact_high)
        if exact_low != exact_high:
            assert exact_high not in got


@pytest.mark.parametrize("name", FLOATS)
def test_the_largest_words(name: str):
    """The words next to 2^32 give the largest number below one, not one."""
    dtype = bridge.core.dtypes.as_dtype(name)
    got = to_numpy(random.uniform(shape=(3_000_000,), dtype=dtype, key=KEY)).astype(np.float64)
    assert got.max() < 1
    if name in ("float16", "bfloat16"):
        assert got.max() == 1 - 2.0 ** (-11 if name == "float16" else -8)


def test_uniform_over_everything():
    """Bounds whose difference is more than the dtype holds."""
    largest = 3.4e38
    got = to_numpy(random.uniform(-largest, largest, (10_000,), key=KEY)).astype(np.float64)
    assert np.all(np.isfinite(got))
    assert abs(got.mean() / largest) < 0.02


def test_bounds_broadcast():
    """Bounds of each row and each column; the shape must be given."""
    low, high = bridge.array([[0.0], [10.0], [20.0]]), bridge.array([1.0, 2.0, 3.0, 4.0]) + 20
    got = to_numpy(random.uniform(low, high, (3, 4), key=KEY))
    unit = to_numpy(random.uniform(shape=(3, 4), key=KEY))
    np.testing.assert_array_equal(got, unit * (to_numpy(high) - to_numpy(low)) + to_numpy(low))
    with pytest.raises(ValueError, match=r"parameters of shape \(3, 4\) do not broadcast[\s\S]*fix:  shape=\(3, 4\)"):
        random.uniform(low, high, key=KEY)
    with pytest.raises(ValueError, match="cannot be broadcast"):
        random.uniform(bridge.zeros((3,)), 1, (4,), key=KEY)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 4)])
@pytest.mark.parametrize("name", FLOATS)
def test_shapes_and_dtypes(name: str, shape: tuple[int, ...]):
    """Every law has every real floating dtype and every shape, lists as well as tuples; dtype None is float32."""
    dtype = bridge.core.dtypes.as_dtype(name)
    for law in (random.uniform, random.normal, random.gumbel, random.laplace):
        got = law(shape=list(shape), dtype=dtype, key=KEY)
        assert got.shape == shape
        assert got.dtype is dtype
        assert bool(bridge.all(bridge.isfinite(got)).item())
        assert law(shape=shape, dtype=None, key=KEY).dtype is bridge.float32
    assert random.truncated_normal(-1, 1, shape, dtype, key=KEY).shape == shape
    assert random.randint(0, 5, shape, key=KEY).shape == shape
    assert random.bernoulli(0.5, shape, key=KEY).shape == shape


def test_halves_are_rounded_float32():
    """float16 and bfloat16 are what float32 gives, rounded once."""
    for law in (random.normal, random.gumbel, random.laplace):
        full = law(shape=(100,), key=KEY)
        for half in (bridge.float16, bridge.bfloat16):
            np.testing.assert_array_equal(to_numpy(law(shape=(100,), dtype=half, key=KEY)), to_numpy(full.astype(half)))


@pytest.mark.parametrize("law", ["uniform", "normal", "gumbel", "laplace", "truncated_normal", "multivariate_normal"])
def test_dtypes_without_a_law(law: str):
    """Integers have none; complex numbers a normal one only."""
    arguments = {"truncated_normal": (-1, 1), "multivariate_normal": (bridge.zeros((2,)), bridge.eye(2))}.get(law, ())
    for dtype in (bridge.int32, bridge.bool_, *([] if law == "normal" else [bridge.complex64])):
        with pytest.raises(bridge.core.errors.DTypeError, match=rf"\[bridge.random.{law}\] there are no such numbers"):
            getattr(random, law)(*arguments, dtype=dtype)


def test_negative_extents():
    """A shape has no negative extent."""
    for law in (random.uniform, random.normal, random.gumbel, random.laplace):
        with pytest.raises(ValueError, match="negative"):
            law(shape=(2, -1), key=KEY)
    with pytest.raises(ValueError, match="negative"):
        random.split(KEY, -1)


# ---- normal, laplace and their parameters
@pytest.mark.parametrize("law", ["normal", "laplace"])
def test_loc_and_scale(law: str):
    """loc + scale * x, for numbers and for arrays, which broadcast with the draws."""
    standard = to_numpy(getattr(random, law)((3, 4), key=KEY))
    got = getattr(random, law)((3, 4), loc=2.5, scale=3.0, key=KEY)
    np.testing.assert_allclose(to_numpy(got), 2.5 + 3 * standard, rtol=1e-6)
    loc, scale = np.arange(4, dtype=np.float32), np.array([[1], [2], [3]], np.float32)
    got = getattr(random, law)((3, 4), loc=bridge.array(loc), scale=bridge.array(scale), key=KEY)
    np.testing.assert_allclose(to_numpy(got), loc + scale * standard, rtol=1e-6, atol=1e-6)
    assert getattr(random, law)((3,), bridge.float16, bridge.array(1.0), bridge.array(2), KEY).dtype is bridge.float16


def test_complex_normal():
    """Real and imaginary part have half of the variance, and are the draws of twice as many numbers."""
    got = to_numpy(random.normal((50_000,), bridge.complex64, key=KEY))
    parts = to_numpy(random.normal((50_000, 2), key=KEY)) * np.sqrt(0.5)
    np.testing.assert_allclose(got.real, parts[:, 0], rtol=1e-6)
    np.testing.assert_allclose(got.imag, parts[:, 1], rtol=1e-6)
    wide = random.normal((4, 3), bridge.complex128, loc=1 + 2j, scale=3.0, key=KEY)
    assert wide.dtype is bridge.complex128
    assert wide.shape == (4, 3)
    assert random.normal((), bridge.complex64, key=KEY).shape == ()


# ---- integers
@pytest.mark.parametrize("name", INTEGERS)
def test_the_whole_range(name: str):
    """Every bit of every width is drawn, and both ends of a narrow range."""
    info = np.iinfo(name)
    dtype = bridge.core.dtypes.as_dtype(name)
    got = to_numpy(random.randint(info.min, info.max + 1, (50_000,), dtype, key=KEY))
    assert got.dtype == name
    assert np.bitwise_or.reduce(got) == (info.max if info.min == 0 else -1)
    assert abs((got.astype(np.float64) - info.min) / (float(info.max) - info.min) - 0.5).mean() < 0.26
    ends = to_numpy(random.randint(info.max - 2, info.max + 1, (1000,), dtype, key=KEY))
    assert set(ends.tolist()) == {info.max - 2, info.max - 1, info.max}


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63))
def test_integers_are_their_words(low: int, high: int):
    """low + floor(w (high - low) / 2^64) for 64 random bits w; `low` where there is no integer between."""
    got = random.randint(low, high, (5,), bridge.int64, key=KEY).tolist()
    span = max(high - low, 1)
    assert got == [low + int(w) * span // 2**64 for w in wide_words(PARTS, 5)]


@pytest.mark.parametrize("name", ["int32", "uint8", "int64", "uint64"])
def test_integer_bounds_as_arrays(name: str):
    """Each element between its own bounds; the upper one may be one more than the dtype holds."""
    dtype = bridge.core.dtypes.as_dtype(name)
    low, high = bridge.array([0, 5, 7, 9]), bridge.array([[1], [6], [100]])
    got = to_numpy(random.randint(low, high, (3, 4), dtype, key=KEY)).astype(int)
    first, last = np.broadcast_arrays(to_numpy(low), to_numpy(high))
    assert got.shape == (3, 4)
    assert np.all((got >= first) & (got < np.maximum(last, first + 1)))
    if name == "uint8":
        top = random.randint(bridge.array([255, 254]), bridge.array([256, 256]), (500, 2), dtype, key=KEY)
        assert to_numpy(top).min(0).tolist() == [255, 254]
        assert to_numpy(top).max(0).tolist() == [255, 255]


def test_numbers_and_arrays_agree():
    """The same bounds give the same integers, however they are written; fractions are rounded up."""
    want = random.randint(-3, 9, (50,), key=KEY).tolist()
    assert random.randint(bridge.array(-3), bridge.array(9), (50,), key=KEY).tolist() == want
    assert random.randint(-3, bridge.full((50,), 9), (50,), key=KEY).tolist() == want
    assert random.randint(-3.5, 8.5, (50,), key=KEY).tolist() == want
    assert random.randint(bridge.array(-3.5), bridge.array(8.5), (50,), key=KEY).tolist() == want


def test_integer_refusals():
    """Bounds out of reach, dtypes without integers, bounds that need a shape."""
    with pytest.raises(ValueError, match=r"uint8 does not reach from -1 to 4[\s\S]*want: 0 to 255"):
        random.randint(-1, 5, dtype=bridge.uint8)
    with pytest.raises(ValueError, match="int8 does not reach"):
        random.randint(0, 129, dtype=bridge.int8)
    with pytest.raises(bridge.core.errors.DTypeError, match="want: an integer dtype or bool"):
        random.randint(0, 5, dtype=bridge.float32)
    with pytest.raises(ValueError, match=r"fix:  shape=\(2,\)"):
        random.randint(bridge.array([0, 1]), 5)
    assert random.randint(5, 5, (3,)).tolist() == [5, 5, 5]
    assert random.randint(5, 0, (3,)).tolist() == [5, 5, 5]
    assert set(random.randint(0, 2, (100,), bridge.bool_, key=KEY).tolist()) == {True, False}


# ---- choices
def test_bernoulli():
    """Never for 0, always for 1; a probability for each column; float64 probabilities are compared in full."""
    p = bridge.array([0.0, 0.5, 1.0])
    got = to_numpy(random.bernoulli(p, (2000, 3), key=KEY))
    assert got.dtype == bool
    assert got.mean(0)[[0, 2]].tolist() == [0, 1]
    assert abs(got.mean(0)[1] - 0.5) < 0.05
    assert random.bernoulli(p, key=KEY).shape == (3,)
    assert random.bernoulli(key=KEY).shape == ()
    unit = to_numpy(random.uniform(shape=(50,), dtype=bridge.float64, key=KEY))
    got = random.bernoulli(bridge.array(unit, bridge.float64), key=KEY)
    assert not np.any(to_numpy(got))
    with pytest.raises(bridge.core.errors.DTypeError, match="probabilities of a floating dtype"):
        random.bernoulli(bridge.array([0, 1]))
    with pytest.raises(ValueError, match="broadcast"):
        random.bernoulli(p, (2, 2))


def test_categorical():
    """What has no weight is never chosen; refusals name the problem."""
    logits = bridge.array([[0.0, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]])
    got = to_numpy(random.categorical(logits, num_samples=500, key=KEY))
    assert got.shape == (2, 500)
    assert set(got[0].tolist()) == {0, 2}
    assert set(got[1].tolist()) == {1}
    assert random.categorical(logits, 0, key=KEY).shape == (3,)
    assert random.categorical(logits, shape=(4, 2), key=KEY).shape == (4, 2)
    assert random.categorical(bridge.array([1, 2, 3]), key=KEY).shape == ()
    with pytest.raises(ValueError, match="give shape or num_samples, not both"):
        random.categorical(logits, shape=(2,), num_samples=3)
    with pytest.raises(IndexError, match="out of bounds"):
        random.categorical(logits, 2)
    with pytest.raises(ValueError, match="broadcast"):
        random.categorical(logits, shape=(3,))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 100, 2048, 2049, 5000, 300_000])
def test_permutations(n: int):
    """Each number once, in the order of its 64 bits."""
    got = random.permutation(n, key=KEY)
    assert got.dtype is bridge.int32
    np.testing.assert_array_equal(to_numpy(got), np.argsort(wide_words(PARTS, n), kind="stable"))


def test_permuted_arrays():
    """Entries along an axis move together, in the order of the permutation."""
    x = np.arange(60).reshape(3, 4, 5)
    for axis in (0, 1, 2, -1):
        order = to_numpy(random.permutation(x.shape[axis], key=KEY))
        got = random.permutation(bridge.array(x), axis, key=KEY)
        np.testing.assert_array_equal(to_numpy(got), np.take(x, order, axis))
    for wrong in (bridge.array(x), bridge.array(1.0)):
        with pytest.raises(IndexError, match="out of bounds"):
            random.permutation(wrong, 3)
    with pytest.raises(ValueError, match="no permutation of so many elements"):
        random.permutation(-1)
    with pytest.raises(TypeError, match="float"):
        random.permutation(2.5)


def test_multivariate_normal():
    """Shapes as they broadcast; a covariance without full rank; refusals."""
    mean, cov = bridge.zeros((5, 1, 2)), bridge.array([[[2.0, 1.0], [1.0, 2.0]]] * 3)
    assert random.multivariate_normal(mean, cov, key=KEY).shape == (5, 3, 2)
    assert random.multivariate_normal(mean, cov, (7, 5, 3), bridge.float64, KEY).shape == (7, 5, 3, 2)
    line = random.multivariate_normal(bridge.zeros((2,)), bridge.ones((2, 2)), (100,), key=KEY)
    np.testing.assert_allclose(to_numpy(line)[:, 0], to_numpy(line)[:, 1], atol=1e-5)
    for wrong in ((bridge.zeros((3,)), bridge.eye(2)), (bridge.array(0.0), bridge.eye(2)), (mean, bridge.ones((2,)))):
        with pytest.raises(ValueError, match="the mean is a vector, and the covariance a matrix"):
            random.multivariate_normal(*wrong)
    with pytest.raises(ValueError, match="cannot be broadcast"):
        random.multivariate_normal(mean, cov, (4,))


def test_truncated_normal_bounds():
    """Bounds as arrays, one-sided bounds, an interval without numbers: within the bounds always."""
    low, high = bridge.array([-3.0, 0.0, 2.0, 5.0]), bridge.array([-2.0, np.inf, 2.5, 6.0])
    got = to_numpy(random.truncated_normal(low, high, (1000, 4), key=KEY))
    assert np.all((got >= to_numpy(low)) & (got <= to_numpy(high)))
    assert np.all(got.std(0) > 0.05)
    assert random.truncated_normal(low, high, key=KEY).shape == (4,)
    assert random.truncated_normal(2, 1, (2,), key=KEY).tolist() == [2, 2]


# ---- the state
def test_seed_repeats():
    """The same seed, the same draws; the list that holds the state stays the same one."""
    held = random.state
    draws = []
    for _ in range(2):
        random.seed(11)
        draws.append([random.normal((3,)).tolist(), random.permutation(5).tolist(), random.uniform().item()])
    assert draws[0] == draws[1]
    assert random.state is held
    assert len(set(random.uniform(shape=(1000,)).tolist())) > 990


def test_a_draw_takes_the_next_key():
    """A draw without a key uses the second split of the state, which becomes the first; lazily set states too."""
    for start in (random.key(5), bridge.array([0, 4], bridge.uint32) + bridge.array([0, 1], bridge.uint32)):
        random.state[0] = start
        kept, used = random.split(random.key(5))
        assert random.uniform(shape=(4,)).tolist() == random.uniform(shape=(4,), key=used).tolist()
        assert random.state[0].tolist() == kept.tolist()


def test_a_state_that_is_no_key():
    """What is put into the state is checked when it is used."""
    kept = random.state[0]
    random.state[0] = bridge.ones((3,))
    try:
        with pytest.raises(ValueError, match="this is no key"):
            random.uniform()
    finally:
        random.state[0] = kept


def test_threads_get_different_keys():
    """No two draws of eight threads are the same."""
    draws: list[list[float]] = []

    def work() -> None:
        draws.append([random.uniform(dtype=bridge.float64).item() for _ in range(200)])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({x for one in draws for x in one}) == 1600


FORK = """
import os, bridge
bridge.random.seed(3)
bridge.random.uniform().item()
read, write = os.pipe()
child = os.fork()
draw = bridge.random.uniform(shape=(3,)).tolist()
if child == 0:
    os.write(write, repr(draw).encode())
    os._exit(0)
os.waitpid(child, 0)
assert os.read(read, 1000).decode() == repr(draw)
"""


def test_a_child_goes_on_with_the_state():
    """A forked process draws what its parent draws, until it takes a seed of its own."""
    done = run_code(FORK)
    assert done.returncode == 0, done.stderr


# ---- the same bits everywhere
PROGRAM = """
import hashlib, json
import numpy as np, bridge
from bridge import random
from bridge.core import _native
{threads}
key, out = random.key(99), {{}}
def add(name, a):
    out[name] = hashlib.sha256(np.array(a).tobytes()).hexdigest()
for dtype in (bridge.float32, bridge.float64, bridge.float16):
    for law in ("uniform", "normal", "gumbel", "laplace"):
        add(f"{{law}} {{dtype}}", getattr(random, law)(shape=(300_003,), dtype=dtype, key=key).astype(bridge.float64))
    add(f"bounds {{dtype}}", random.uniform(-3.3, 7.7, (30_003,), dtype, key).astype(bridge.float64))
    add(f"truncated {{dtype}}", random.truncated_normal(-1, 2.5, (30_003,), dtype, key).astype(bridge.float64))
add("randint", random.randint(-7, 1000, (300_003,), key=key))
add("permutation", random.permutation(100_003, key=key))
add("categorical", random.categorical(bridge.arange(7) / 3, num_samples=20_001, key=key))
x = bridge.arange(-99_999, 100_000, dtype=bridge.float32) / 100_000
add("erfinv", bridge.erfinv(x))
print(json.dumps(out))
"""


def digests(*, threads: int = 0, **environment: str) -> dict[str, str]:
    line = f"_native.set_thread_count({threads})" if threads else ""
    done = run_code(PROGRAM.format(threads=line), **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_same_bits_everywhere():
    """Every distribution is the same on one thread and on three, and at every SIMD level of this machine."""
    from native.build import levels

    want = digests()
    assert digests(threads=1) == want
    assert digests(threads=3) == want
    available = list(levels())
    best = bridge.core._native.isa_name()
    for level in available[: available.index(best)]:
        assert digests(BRIDGE_ISA=level) == want, level


# ---- rules
@pytest.mark.parametrize(
    ("name", "inner", "parameters"),
    [
        ("random_sample", (2,), {"shape": (3,), "dtype": bridge.float32, "law": "normal"}),
        ("random_sample", (4, 2), {"shape": (), "dtype": bridge.uint64, "law": "bits"}),
        ("random_permutation", (2,), {"n": 9}),
    ],
)
def test_batches_of_keys(name: str, inner: tuple[int, ...], parameters: dict):
    """A batch of keys gives what a loop over them gives."""
    op = PRIMITIVES[name]
    keys = random.split(KEY, int(np.prod(inner) // 2) * 3).reshape((3, *inner))
    got = op.batching(3, (True,), keys, **parameters)
    want = np.stack([to_numpy(op.call(keys[k], *parameters.values())) for k in range(3)])
    np.testing.assert_array_equal(to_numpy(got), want)


def test_batches_of_bounds():
    """Whichever of key and bounds carry the batch, integers are those of a loop."""
    op = PRIMITIVES["random_integers"]
    keys = random.split(KEY, 3)
    lows, lasts = bridge.array([[0], [5], [9]]), bridge.array([[[20, 21]], [[22, 23]], [[24, 25]]])
    for batched in itertools.product((True, False), repeat=3):
        if not any(batched):
            continue
        operands = [a if has else a[0] for a, has in zip((keys, lows, lasts), batched, strict=True)]
        got = op.batching(3, batched, *operands, shape=(4, 2))
        rows = [[a[k] if has else a for a, has in zip(operands, batched, strict=True)] for k in range(3)]
        want = np.stack([to_numpy(random_integers(*row, (4, 2))) for row in rows])
        np.testing.assert_array_equal(to_numpy(got), want)


def test_flat():
    """A draw has no derivative; what is built on it has that of its parameters."""
    for name in ("random_sample", "random_integers", "random_permutation"):
        assert PRIMITIVES[name].derivative == "flat"


def test_many_keys_at_once():
    """A thousand keys, each with an odd number of words."""
    keys = random.split(KEY, 1000)
    got = to_numpy(random_sample(keys, (7,), bridge.uint32, "bits"))
    for k in (0, 499, 999):
        np.testing.assert_array_equal(got[k], words(tuple(to_numpy(keys)[k].tolist()), 7))


def test_what_kernels_refuse():
    """Laws and bounds that do not exist."""
    with pytest.raises(ValueError, match="there is no such law of this dtype"):
        random_sample(KEY, (2,), bridge.float32, "bits")
    with pytest.raises(ValueError, match="there is no such law of this dtype"):
        random_sample(KEY, (2,), bridge.float32, "cauchy")
    with pytest.raises(bridge.core.errors.DTypeError, match="integers of one dtype"):
        random_integers(KEY, bridge.array(1), bridge.array(2.0), (3,))
    with pytest.raises(ValueError, match="no permutation"):
        random_permutation(KEY, 2**40)
