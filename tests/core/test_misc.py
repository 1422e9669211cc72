"""pad, meshgrid, nan_to_num, windows and erfinv."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath
import numpy as np
import pytest
from core.values import EVERY, HELD, LAYOUTS, draw, laid_out, numpy_dtype, to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st

import bridge
from bridge.core._native import DTYPES
from bridge.core.ops.declare import PRIMITIVES
from bridge.core.ops.misc import padded

MODES = ["constant", "edge", "reflect", "symmetric"]


# ---- pad
@given(
    st.sampled_from(MODES),
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=3),
)
def test_pad(mode: str, axes: list[tuple[int, int, int]]):
    """NumPy's padding in every mode, also by more than the axis has."""
    x = np.arange(np.prod([axis[0] for axis in axes])).reshape([axis[0] for axis in axes])
    widths = [axis[1:] for axis in axes]
    np.testing.assert_array_equal(to_numpy(bridge.pad(bridge.array(x), widths, mode)), np.pad(x, widths, mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", EVERY)
def test_pad_dtypes(name: str, mode: str):
    """Every dtype keeps its bits."""
    x = draw(name, (3, 5), seed=4)
    np.testing.assert_array_equal(to_numpy(bridge.pad(to_bridge(x), 2, mode)), np.pad(x, 2, mode))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pad_layouts(layout: str, mode: str):
    """Strided, reversed, transposed and broadcast arrays."""
    x, a = laid_out(layout, "float32", -4, 4)
    np.testing.assert_array_equal(to_numpy(bridge.pad(a, ((1, 2), (3, 0)), mode)), np.pad(x, ((1, 2), (3, 0)), mode))


@pytest.mark.parametrize("held", HELD)
def test_pad_held(held: str):
    """Held dtypes are moved as bytes."""
    a = bridge.view(bridge.array([1, 2, 3], bridge.uint8), DTYPES[held])
    assert to_numpy(bridge.pad(a, 1, "edge").view(bridge.uint8)).tolist() == [1, 1, 2, 3, 3]
    assert to_numpy(bridge.pad(a, (1, 0)).view(bridge.uint8)).tolist()[1:] == [1, 2, 3]


@pytest.mark.parametrize("width", [1, (2,), (1, 2), [1, 2], [(1, 2)], ((1, 2), (0, 3)), [[0, 0], [1, 0]]])
def test_widths(width: Any):
    """A number, a pair for all axes, or a pair each; as MLX and NumPy read them."""
    x = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(to_numpy(bridge.pad(bridge.array(x), width)), np.pad(x, width))


def test_constants():
    """One number, converted to the array's dtype; an array of one element too."""
    x = bridge.array([1, 2])
    assert bridge.pad(x, 1, constant_values=7).tolist() == [7, 1, 2, 7]
    assert bridge.pad(x, 1, constant_values=2.7).tolist() == [2, 1, 2, 2]
    assert bridge.pad(x, 1, constant_values=bridge.array([5.5])).tolist() == [5, 1, 2, 5]
    assert bridge.pad(bridge.array([True]), 1, constant_values=1).tolist() == [True] * 3
    assert bridge.pad(bridge.zeros((0, 2)), 1, constant_values=3).tolist() == [[3.0] * 4] * 2
    assert bridge.pad(bridge.array(2.0), 1).item() == 2


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: bridge.pad(x, -1), "a width is negative"),
        (lambda x: bridge.pad(x, 1, "wrap"), r"there is no such mode[\s\S]*got:  wrap"),
        (lambda x: bridge.pad(x, [(1, 2)] * 3), "one pair of widths an axis"),
        (lambda x: bridge.pad(x, (1, 2, 3)), "one pair of widths an axis"),
        (lambda x: bridge.pad(x, 1, constant_values=bridge.ones((2,))), "one constant is wanted"),
        (lambda x: bridge.pad(x[:0], 1, "edge"), "axis 0 has no element to repeat"),
        (lambda x: bridge.pad(x, 2**62), "too large|too many|overflow"),
    ],
)
def test_pad_refusals(call: Any, text: str):
    """What cannot be padded says why."""
    with pytest.raises(ValueError, match=text):
        call(bridge.ones((2, 3)))


PADS = [
    ((2, 3), (1, 0), (2, 4), "constant"),
    ((2, 3), (1, 0), (2, 4), "edge"),
    ((3, 4), (5, 2), (1, 9), "reflect"),
    ((3, 4), (5, 2), (1, 9), "symmetric"),
    ((1, 4), (2, 2), (1, 0), "reflect"),
    ((0, 2), (1, 1), (1, 0), "constant"),
]


@pytest.mark.parametrize(("shape", "before", "after", "mode"), PADS)
def test_pad_transpose(shape: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...], mode: str):
    """Backwards is the transpose of forwards, in the array and in the constant."""
    op, rng = PRIMITIVES["padded"], np.random.default_rng(2)
    a, value = (to_bridge(rng.normal(size=s)) for s in (shape, ()))
    out = op.call(a, value, before, after, mode)
    g = to_bridge(rng.normal(size=out.shape))
    ones, nothing = to_bridge(rng.normal(size=shape)), bridge.zeros((), bridge.float64)
    back = [rule(g, a, value, before=before, after=after, mode=mode) for rule in op.transpose]
    for tangent, zero, order in ((ones, nothing, 0), (to_bridge(np.array(1.5)), bridge.zeros_like(a), 1)):
        operands = (tangent, zero) if order == 0 else (zero, tangent)
        forwards = (op.call(*operands, before, after, mode) * g).sum().item()
        assert back[order].shape == tangent.shape
        np.testing.assert_allclose(forwards, (back[order] * tangent).sum().item(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("shape", "before", "after", "mode"), PADS)
def test_pad_batching(shape: tuple[int, ...], before: tuple[int, ...], after: tuple[int, ...], mode: str):
    """Whichever operand carries the batch, the rule gives what a loop gives."""
    op, rng = PRIMITIVES["padded"], np.random.default_rng(3)
    whole = [to_bridge(rng.normal(size=(3, *shape))), to_bridge(rng.normal(size=3))]
    for batched in itertools.product((True, False), repeat=2):
        if not any(batched):
            continue
        operands = [a if has else a[0] for a, has in zip(whole, batched, strict=True)]
        got = op.batching(3, batched, *operands, before=before, after=after, mode=mode)
        rows = [[a[k] if has else a for a, has in zip(operands, batched, strict=True)] for k in range(3)]
        want = np.stack([to_numpy(padded(*row, before, after, mode)) for row in rows])
        np.testing.assert_array_equal(to_numpy(got), want)


# ---- meshgrid
@pytest.mark.parametrize("indexing", ["xy", "ij"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_meshgrid(count: int, sparse: bool, indexing: str):
    """NumPy's grids, each in its own dtype."""
    xs = [np.arange(2 + k, dtype=("int32", "float32", "uint8")[k]) for k in range(count)]
    got = bridge.meshgrid(*map(bridge.array, xs), sparse=sparse, indexing=indexing)
    want = np.meshgrid(*xs, sparse=sparse, indexing=indexing)
    assert isinstance(got, tuple)
    assert len(got) == count
    for a, x in zip(got, want, strict=True):
        np.testing.assert_array_equal(to_numpy(a), x)
        assert to_numpy(a).dtype == x.dtype


def test_meshgrid_of_numbers_and_matrices():
    """0-d arrays have one coordinate, matrices are flattened; another indexing is refused."""
    a, b = bridge.meshgrid(bridge.array(3), bridge.ones((2, 2)))
    assert a.tolist() == [[3]] * 4
    assert b.tolist() == [[1.0]] * 4
    with pytest.raises(ValueError, match="there is no such indexing"):
        bridge.meshgrid(a, indexing="yx")


# ---- nan_to_num
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("more", [{}, {"nan": 2.0, "posinf": 5.0, "neginf": -7.0}])
def test_nan_to_num(name: str, more: dict[str, float]):
    """NumPy's replacements; integers and bool unchanged; both parts of complex numbers."""
    x = draw(name, (2, 6), seed=5)
    if x.dtype.kind not in "biu":
        x[0, :3] = [np.nan, np.inf, -np.inf]
        if x.dtype.kind == "c":
            x[1, :2] = [complex(1, np.nan), complex(-np.inf, np.inf)]
    got = to_numpy(bridge.nan_to_num(to_bridge(x), **more))
    want = x.copy() if name == "bfloat16" else np.nan_to_num(x, **more)
    if name == "bfloat16":
        largest = 3.3895313892515355e38
        want[0, :3] = [more.get("nan", 0), more.get("posinf", largest), more.get("neginf", -largest)]
    assert got.dtype == numpy_dtype(name)
    np.testing.assert_array_equal(got, want)


# ---- windows
@pytest.mark.parametrize("name", ["bartlett", "blackman", "hamming", "hanning"])
@pytest.mark.parametrize("points", [-1, 0, 1, 2, 3, 8, 101, 4096])
def test_windows(name: str, points: int):
    """NumPy's windows, rounded to float32."""
    got = getattr(bridge, name)(points)
    assert got.dtype is bridge.float32
    np.testing.assert_allclose(to_numpy(got), getattr(np, name)(points), rtol=1e-6, atol=2e-8)


# ---- empty
def test_empty():
    """Zeros, of a shape or like an array."""
    assert bridge.empty((2, 3)).tolist() == [[0.0] * 3] * 2
    assert bridge.empty(3, bridge.int8).dtype is bridge.int8
    like = bridge.empty_like(bridge.ones((2,), bridge.float16))
    assert like.dtype is bridge.float16
    assert like.tolist() == [0, 0]


# ---- erfinv
def test_erfinv_float32():
    """To half a unit in the last place over the whole range, next to one and near zero included."""
    rng = np.random.default_rng(6)
    near = 1 - np.exp(-rng.uniform(0, 17, 300))
    x = np.concatenate([rng.uniform(-1, 1, 300), near, -near, np.exp(-rng.uniform(0, 90, 100))]).astype(np.float32)
    x = np.unique(x[np.abs(x) < 1])
    want = np.array([float(mpmath.erfinv(mpmath.mpf(float(v)))) for v in x])
    got = to_numpy(bridge.erfinv(bridge.array(x)))
    assert np.max(np.abs(got - want) / np.spacing(np.abs(want).astype(np.float32))) <= 0.501


def test_erfinv_float64():
    """Within three units in the last place."""
    rng = np.random.default_rng(7)
    near = 1 - np.exp(-rng.uniform(0, 36, 400))
    x = np.unique(np.concatenate([rng.uniform(-1, 1, 400), near, -near, np.exp(-rng.uniform(0, 600, 100))]))
    x = x[np.abs(x) < 1]
    with mpmath.workdps(30):
        want = [mpmath.erfinv(mpmath.mpf(float(v))) for v in x]
        got = to_numpy(bridge.erfinv(bridge.array(x, bridge.float64)))
        error = [
            abs(mpmath.mpf(float(g)) - w) / float(np.spacing(abs(float(w)))) for g, w in zip(got, want, strict=True)
        ]
    assert max(error) <= 3


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_erfinv_edges(name: str):
    """Infinite at the ends, NaN beyond, signed zeros kept; subnormal numbers too."""
    x = np.array([0.0, -0.0, 1, -1, 1.5, -np.inf, np.nan]).astype(numpy_dtype(name))
    got = to_numpy(bridge.erfinv(to_bridge(x))).astype(np.float64)
    np.testing.assert_array_equal(got, [0, 0, np.inf, -np.inf, np.nan, np.nan, np.nan])
    assert np.signbit(got[:2]).tolist() == [False, True]
    assert bridge.erfinv(bridge.array([0, 1])).dtype is bridge.float32
    with pytest.raises(bridge.core.errors.DTypeError, match="erfinv"):
        bridge.erfinv(bridge.array([1j]))
