"""Products of masked blocks, gathered matrices and segments, and the Hadamard transform: NumPy, SciPy and MLX say."""

from __future__ import annotations

import itertools

import mlx.core as mx
import numpy as np
import pytest
import scipy.linalg
from core.values import draw, to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st

import bridge
from bridge.core.ops.declare import PRIMITIVES

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SHORT = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-12}


def f64(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


# Masked blocks


def blocks(mask: np.ndarray, size: int, rows: int, columns: int) -> np.ndarray:
    return np.repeat(np.repeat(mask, size, -2), size, -1)[..., :rows, :columns]


@pytest.mark.parametrize("kind", ["bool", "float32"])
@pytest.mark.parametrize("names", [(), ("out",), ("lhs",), ("rhs",), ("out", "lhs", "rhs")])
def test_block_masked_mm(names: tuple[str, ...], kind: str):
    """Masks of any of the three, bool or numbers, with last blocks that are smaller: as MLX's and NumPy's."""
    a, b = f64((2, 70, 40), 1), f64((40, 100), 2)
    shapes = {"out": (2, 3, 4), "lhs": (1, 3, 2), "rhs": (2, 4)}
    masks = {n: draw(kind, shapes[n], 0, 2, seed=k) for k, n in enumerate(names)}
    x = a * blocks(masks["lhs"], 32, 70, 40) if "lhs" in masks else a
    y = b * blocks(masks["rhs"], 32, 40, 100) if "rhs" in masks else b
    want = x @ y * (blocks(masks["out"], 32, 70, 100) if "out" in masks else 1)
    ours = {f"mask_{n}": to_bridge(mask) for n, mask in masks.items()}
    got = bridge.block_masked_mm(to_bridge(a), to_bridge(b), 32, **ours)
    np.testing.assert_allclose(to_numpy(got), want, rtol=1e-10, atol=1e-10)
    with mx.stream(mx.cpu):
        theirs = {f"mask_{n}": mx.array(mask) for n, mask in masks.items()}
        mlx = mx.block_masked_mm(mx.array(a.astype("f")), mx.array(b.astype("f")), 32, **theirs)
        np.testing.assert_allclose(to_numpy(got), np.array(mlx), rtol=1e-4, atol=1e-4)


def test_block_masked_mm_hides_nan():
    """Where a bool mask is False there is a zero, whatever was there."""
    a = bridge.full((4, 4), float("nan"))
    shut = bridge.array([[False, True], [True, False]])
    assert bridge.block_masked_mm(a, a, 2, mask_out=shut)[0, 0].item() == 0
    assert bridge.block_masked_mm(a, bridge.ones((4,)), 4, mask_lhs=bridge.array([[False]])).tolist() == [0] * 4


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"block_size": 0}, "block_size must be positive"),
        ({"block_size": 2, "mask_out": bridge.ones((3, 2))}, "mask_out does not broadcast"),
        ({"block_size": 2, "mask_lhs": bridge.ones((2,))}, "mask_lhs does not broadcast"),
    ],
)
def test_block_masked_mm_refusals(settings: dict, text: str):
    """Masks that do not fit the blocks raise."""
    with pytest.raises(ValueError, match=text):
        bridge.block_masked_mm(bridge.ones((4, 4)), bridge.ones((4, 4)), **settings)


# Gathered matrices


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16", "int32", "complex64"])
@pytest.mark.parametrize(("m", "k", "n"), [(3, 5, 7), (1, 9, 4), (40, 50, 60), (2, 0, 3)])
def test_gather_mm(m: int, k: int, n: int, name: str):
    """The matrices that the indices choose, which broadcast, multiplied like those of a take."""
    x, y = draw(name, (2, 3, m, k), -2, 2, seed=1), draw(name, (4, k, n), -2, 2, seed=2)
    a, b = to_bridge(x), to_bridge(y)
    left, right = np.array([[0], [5], [3]], np.uint32), np.array([3, 0, 0, 1], np.int64)
    got = bridge.gather_mm(a, b, to_bridge(left), to_bridge(right))
    want = bridge.matmul(to_bridge(x.reshape(6, m, k)[left]), to_bridge(y[right]))
    assert got.shape == (3, 4, m, n)
    assert got.dtype is want.dtype
    np.testing.assert_allclose(
        to_numpy(got.astype(bridge.complex128)), to_numpy(want.astype(bridge.complex128)), rtol=1e-5, atol=1e-4
    )


def test_gather_mm_without_indices():
    """Without indices all matrices are taken, in the shape of their batch; vectors count as rows and columns."""
    a, b = to_bridge(f64((4, 3, 5), 1)), to_bridge(f64((2, 5, 7), 2))
    some = bridge.array([0, 1, 1, 0])
    assert bridge.array_equal(bridge.gather_mm(a, b, rhs_indices=some), bridge.gather_mm(a, b, bridge.arange(4), some))
    assert bridge.gather_mm(a, b[:1]).shape == (4, 3, 7)
    assert bridge.gather_mm(a[0], b[0]).shape == (3, 7)
    assert bridge.gather_mm(bridge.ones(5), b, bridge.array(0), some, sorted_indices=True).shape == (4, 7)
    assert bridge.gather_mm(a, bridge.ones(5), bridge.array([[1]]), bridge.array(0)).shape == (1, 1, 3)
    assert bridge.gather_mm(a, b, some[:0], some[:0]).shape == (0, 3, 7)


def test_gather_mm_of_views():
    """Transposed, reversed and broadcast operands are multiplied where they are."""
    a = bridge.swapaxes(to_bridge(f64((4, 5, 3), 3)), -1, -2)[::-1]
    b = bridge.broadcast_to(to_bridge(f64((5, 7), 4)), (3, 5, 7))[:, ::-1]
    got = bridge.gather_mm(a, b, bridge.array([2, 0]), bridge.array([1, 2]))
    np.testing.assert_allclose(to_numpy(got), to_numpy(a)[[2, 0]] @ to_numpy(b)[[1, 2]], rtol=1e-12)


def test_gather_mm_refusals():
    """Indices out of bounds raise IndexError when the values are needed; the rest raises at once."""
    a, b = bridge.ones((4, 3, 5)), bridge.ones((2, 5, 7))
    for bad in (4, -5):
        lazy = bridge.gather_mm(a, b, bridge.array([0, bad]), bridge.array(0))
        with pytest.raises(IndexError, match=r"gather_mm\] an index is out of bounds"):
            bridge.eval(lazy)
    with pytest.raises(bridge.DTypeError, match="lhs_indices must be integers"):
        bridge.gather_mm(a, b, bridge.array([0.0]))
    with pytest.raises(ValueError, match="broadcast"):
        bridge.gather_mm(a, b)
    with pytest.raises(ValueError, match="contracted extents differ"):
        bridge.gather_mm(a, a)


# Segments


@given(st.lists(st.tuples(st.integers(-2, 12), st.integers(-2, 12)), max_size=5))
def test_segmented_mm(pairs: list[tuple[int, int]]):
    """One product for every segment; what lies outside of the axis does not count, and an empty segment gives zero."""
    a, b = f64((3, 9), 1), f64((9, 4), 2)
    segments = np.array(pairs, np.int32).reshape(len(pairs), 2)
    got = bridge.segmented_mm(to_bridge(a), to_bridge(b), to_bridge(segments))
    cut = [range(max(first, 0), min(end, 9)) for first, end in pairs]
    want = np.array([a[:, list(one)] @ b[list(one)] for one in cut]).reshape(len(pairs), 3, 4)
    np.testing.assert_allclose(to_numpy(got), want, rtol=1e-12, atol=1e-12)


def test_segmented_mm_as_mlx():
    """MLX's shapes and values, for segments with further axes."""
    a, b = f64((3, 9), 1).astype("f"), f64((9, 4), 2).astype("f")
    segments = np.array([[[0, 3], [3, 9]], [[4, 4], [2, 5]]], np.uint32)
    got = bridge.segmented_mm(to_bridge(a), to_bridge(b), to_bridge(segments))
    with mx.stream(mx.cpu):
        want = np.array(mx.segmented_mm(mx.array(a), mx.array(b), mx.array(segments)))
    np.testing.assert_allclose(to_numpy(got), want, **CLOSE)


def test_segmented_mm_refusals():
    """Batches, segments that are no pairs, and numbers that are no integers raise."""
    a, b = bridge.ones((3, 9)), bridge.ones((9, 4))
    pairs = bridge.array([[0, 3]])
    with pytest.raises(ValueError, match="two matrices"):
        bridge.segmented_mm(bridge.ones((2, 3, 9)), b, pairs)
    with pytest.raises(ValueError, match="segments are pairs"):
        bridge.segmented_mm(a, b, bridge.array([[0, 3, 4]]))
    with pytest.raises(bridge.DTypeError, match="segments must be integers"):
        bridge.segmented_mm(a, b, pairs.astype(bridge.float32))


# Rules

INDICES = [np.array([[0, 3], [1, 1]]), np.array([[1, 1], [0, -1]])]
RULES = {
    "matmul_gathered": ([(2, 2, 3, 5), (2, 5, 4)], INDICES),
    "segmented_mm": ([(3, 6), (6, 4)], [np.array([[[0, 2], [2, 6]], [[5, 3], [1, 9]]])]),
}


@pytest.mark.parametrize("name", RULES)
def test_transpose(name: str):
    """Backwards is the transpose of forwards in both operands: <g, f(t)> = <f'(g), t>."""
    op, (shapes, indices) = PRIMITIVES[name], RULES[name]
    operands = [to_bridge(f64(shape, k)) for k, shape in enumerate(shapes)]
    rest = list(map(to_bridge, indices))
    y = op.call(*operands, *rest)
    g = to_bridge(f64(y.shape, 7))
    for rule, operand in zip(op.transpose[:2], operands, strict=True):
        back = rule(g, *operands, *rest)
        assert back.shape == operand.shape
        np.testing.assert_allclose((back * operand).sum().item(), (g * y).sum().item(), rtol=1e-10)
    assert set(op.transpose[2:]) == {None}


@pytest.mark.parametrize("name", RULES)
def test_batching(name: str):
    """The batching rule gives what a loop over the batch gives, whichever operands carry the batch."""
    op, (shapes, indices) = PRIMITIVES[name], RULES[name]
    for batched in itertools.product([True, False], repeat=len(shapes) + len(indices)):
        if not any(batched):
            continue
        operands = [f64((3, *s) if has else s, 5) for s, has in zip(shapes, batched, strict=False)]
        chosen = batched[len(shapes) :]
        operands += [np.stack([i, i[::-1], i]) if has else i for i, has in zip(indices, chosen, strict=True)]
        got = op.batching(3, batched, *map(to_bridge, operands))
        rows = [[a[k] if has else a for a, has in zip(operands, batched, strict=True)] for k in range(3)]
        want = np.stack([to_numpy(op.call(*(to_bridge(np.ascontiguousarray(a)) for a in row))) for row in rows])
        np.testing.assert_allclose(to_numpy(got), want, rtol=1e-12, atol=1e-12)


# Hadamard


@pytest.mark.parametrize("name", SHORT)
@pytest.mark.parametrize("length", [1, 2, 8, 64, 128, 12, 20, 28, 24, 80, 56, 12 * 128, 4096])
def test_hadamard(length: int, name: str):
    """MLX's transform, and SciPy's matrix where the length is a power of two."""
    x = f64((3, length), 1)
    a = to_bridge(x).astype(getattr(bridge, name))
    got = bridge.hadamard_transform(a)
    assert got.dtype is a.dtype
    exact = to_numpy(a.astype(bridge.float64))
    with mx.stream(mx.cpu):
        want = np.array(mx.hadamard_transform(mx.array(exact.astype("f"))))
    np.testing.assert_allclose(to_numpy(got.astype(bridge.float64)), want, rtol=0, atol=max(SHORT[name] * 4, 1e-5))
    if length & (length - 1) == 0 and length <= 128:
        plain = bridge.hadamard_transform(to_bridge(x), 1.0)
        np.testing.assert_allclose(to_numpy(plain), x @ scipy.linalg.hadamard(length), rtol=1e-10, atol=1e-10)


def test_hadamard_of_other_dtypes():
    """Integers give float32, complex numbers stay; a scalar is a row of one, and no rows give no rows."""
    assert bridge.hadamard_transform(bridge.ones((4,), bridge.int32)).tolist() == [2, 0, 0, 0]
    z = bridge.array(np.array([1j, 1, 0, 2]))
    assert bridge.hadamard_transform(z, 1.0).tolist() == [3 + 1j, -3 + 1j, -1 + 1j, 1 + 1j]
    assert bridge.hadamard_transform(bridge.array(3.0)).item() == 3
    assert bridge.hadamard_transform(bridge.ones((0, 24))).shape == (0, 24)


@pytest.mark.parametrize("length", [0, 3, 5, 6, 36, 44])
def test_hadamard_refusals(length: int):
    """Other lengths raise."""
    with pytest.raises(ValueError, match="no matrix of this length"):
        bridge.hadamard_transform(bridge.ones((2, length)))
