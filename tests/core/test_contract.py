"""Matrix products and contractions against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from core.values import EVERY, draw, to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st

import bridge

EPSILON = {
    "float16": 2**-10,
    "bfloat16": 2**-7,
    "float32": 2**-22,
    "float64": 2**-51,
    "complex64": 2**-21,
    "complex128": 2**-50,
}
WIDE = {"complex64": np.complex128, "complex128": np.complex128}


def assert_product(got: bridge.array, x: np.ndarray, y: np.ndarray, name: str) -> None:
    """Within a few units of the sum of magnitudes: the bound that any order of summation keeps."""
    if name not in EPSILON:
        want = np.matmul(x, y) if name == "bool" else np.matmul(x.astype(np.int64), y.astype(np.int64))
        np.testing.assert_array_equal(to_numpy(got), want.astype(name))
        return
    wide = WIDE.get(name, np.float64)
    want = np.matmul(x.astype(wide), y.astype(wide))
    size = np.matmul(np.abs(x.astype(wide)), np.abs(y.astype(wide)))
    out = to_numpy(got)
    assert out.shape == want.shape
    assert np.all(np.abs(out.astype(wide) - want) <= EPSILON[name] * (np.abs(want) + 4 * size * 2**-3)), name


SHAPES = [
    ((3, 4), (4, 5)),
    ((4,), (4,)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((2, 3, 4), (4, 5)),
    ((3, 4), (2, 4, 5)),
    ((2, 1, 3, 4), (7, 4, 5)),
    ((4,), (2, 4, 5)),
    ((2, 3, 4), (4,)),
    ((0, 4), (4, 5)),
    ((3, 0), (0, 5)),
    ((2, 0, 3, 4), (4, 5)),
    ((1, 1), (1, 1)),
    ((33, 65), (65, 17)),
]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], name: str):
    """NumPy's shape and values for every dtype: vectors, matrices, batches, nothing at all."""
    x, y = draw(name, left, -2, 2, seed=1), draw(name, right, -2, 2, seed=2)
    got = to_bridge(x) @ to_bridge(y)
    assert got.dtype.name == name
    assert_product(got, x, y, name)


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float64", "int32"])
def test_matmul_layouts(name: str):
    """Transposed, reversed, strided and broadcast operands multiply like dense ones."""
    x, y = draw(name, (8, 12), -2, 2, seed=1), draw(name, (12, 10), -2, 2, seed=2)
    a, b = to_bridge(x), to_bridge(y)
    views = [
        (lambda m: m.T, lambda m: m.T),
        (lambda m: m[::-1, ::-1], lambda m: m),
        (lambda m: m[::2], lambda m: m[:, ::3]),
        (lambda m: m[:, ::2], lambda m: m[::2]),
    ]
    for left, right in views:
        if left(x).shape[-1] == right(y).shape[0]:
            assert_product(left(a) @ right(b), left(x), right(y), name)
        if right(y).shape[-1] == left(x).shape[0]:
            assert_product(right(b) @ left(a), right(y), left(x), name)
    row = np.broadcast_to(x[:1], (8, 12))
    assert_product(bridge.broadcast_to(a[:1], (8, 12)) @ b, row, y, name)


@pytest.mark.parametrize(
    ("left", "right", "text"),
    [((3, 4), (3, 4), "contracted extents differ"), ((2, 3, 4), (5, 4, 3), "broadcast"), ((), (3,), "0-d|scalar")],
)
def test_matmul_refusals(left: tuple[int, ...], right: tuple[int, ...], text: str):
    """Operands that do not fit raise ValueError saying why."""
    with pytest.raises(ValueError, match=text):
        bridge.matmul(bridge.ones(left), bridge.ones(right))


def test_matmul_promotes():
    """Operands of two dtypes are promoted first."""
    product = bridge.ones((2, 3), bridge.float16) @ bridge.ones((3, 2), bridge.int32)
    assert product.dtype is bridge.float16
    assert product.tolist() == [[3, 3], [3, 3]]


def test_contractions():
    """inner, outer, tensordot, vecdot and addmm against NumPy."""
    x, y, z = (draw("float32", shape, seed=k) for k, shape in enumerate([(2, 3, 4), (5, 4), (4, 3, 2)]))
    a, b, c = map(to_bridge, (x, y, z))
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(to_numpy(bridge.inner(a, b)), np.inner(x, y), **close)
    np.testing.assert_allclose(to_numpy(bridge.outer(a, b)), np.outer(x, y), **close)
    np.testing.assert_allclose(
        to_numpy(bridge.tensordot(a, c, ([2, 0], [0, 2]))), np.tensordot(x, z, ([2, 0], [0, 2])), **close
    )
    np.testing.assert_allclose(to_numpy(bridge.tensordot(a, c, 1)), np.tensordot(x, z, 1), **close)
    np.testing.assert_allclose(to_numpy(bridge.tensordot(a, b, 0)), np.tensordot(x, y, 0), **close)
    np.testing.assert_allclose(to_numpy(bridge.vecdot(a, a)), (x * x).sum(-1), **close)
    np.testing.assert_allclose(
        to_numpy(bridge.addmm(b[0, 0], a, c[:, :, 0], 2.0, 3.0)), 3 * y[0, 0] + 2 * x @ z[:, :, 0], **close
    )
    with pytest.raises(ValueError, match="contracted extents differ"):
        bridge.tensordot(a, b, 1)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_sizes(rows: int, inner: int, columns: int):
    """Every small size, so that no edge of a tile is missed."""
    x, y = draw("float32", (rows, inner), seed=3), draw("float32", (inner, columns), seed=4)
    assert_product(to_bridge(x) @ to_bridge(y), x, y, "float32")


@pytest.mark.parametrize("name", ["int8", "uint16", "float16", "bfloat16", "float64", "complex64", "bool"])
def test_vecdot(name: str):
    """The dot product along any axis keeps the promoted dtype; the first operand is conjugated."""
    x, y = draw(name, (4, 3), -2, 2, seed=1), draw(name, (4, 3), -2, 2, seed=2)
    for axis in (0, -1):
        got = bridge.vecdot(to_bridge(x), to_bridge(y), axis=axis)
        assert got.dtype.name == name
        want = (
            np.logical_and(x, y).any(axis)
            if name == "bool"
            else (np.conj(x).astype(WIDE.get(name, float)) * y.astype(WIDE.get(name, float))).sum(axis)
        )
        close = {"float16": 4e-3, "bfloat16": 3e-2}.get(name, 1e-5)
        np.testing.assert_allclose(to_numpy(got.astype(bridge.complex128)), want, rtol=close, atol=close)
    half = bridge.full((70_000,), 1, bridge.float16)
    assert bridge.vecdot(half, half / 2).item() == 35_008


A, B = bridge.ones((2, 3)), bridge.ones((3, 2))
CONTRACTIONS_REFUSED = [
    (lambda: bridge.vecdot(A, bridge.ones(1)), ValueError, "extents of axis -1 differ"),
    (lambda: bridge.vecdot(bridge.array(1.0), A), ValueError, "0-d operand"),
    (lambda: bridge.vecdot(A, A, axis=2), IndexError, "axis 2 is out of bounds"),
    (lambda: bridge.tensordot(A, B, -1), ValueError, "not so many axes"),
    (lambda: bridge.tensordot(A, B, 3), ValueError, "not so many axes"),
    (lambda: bridge.tensordot(A, B, [[5], [0]]), ValueError, "axis 5 is out of bounds"),
    (lambda: bridge.tensordot(A, B, [[5], [0]]), IndexError, "axis 5 is out of bounds"),
    (lambda: bridge.tensordot(A, B, [[0, 0], [1, 1]]), ValueError, "do not pair up"),
    (lambda: bridge.tensordot(A, B, [[0], [0, 1]]), ValueError, "do not pair up"),
    (lambda: bridge.tensordot(A, B, [[0], [1], [0]]), ValueError, "two lists of axes"),
    (lambda: bridge.addmm(bridge.ones((5, 2, 2)), A, B), ValueError, "c does not broadcast"),
    (lambda: bridge.addmm(bridge.ones((3,)), A, B), ValueError, "c does not broadcast"),
]


@pytest.mark.parametrize(("act", "error", "text"), CONTRACTIONS_REFUSED)
def test_contraction_refusals(act, error: type[Exception], text: str):
    """Axes and shapes that do not fit raise, and the text says which."""
    with pytest.raises(error, match=text):
        act()


@pytest.mark.parametrize("name", ["float32", "float64", "complex64", "int32", "float16"])
@pytest.mark.parametrize(
    ("left", "right"), [((40, 5000), (5000, 64)), ((3, 9000), (9000, 32)), ((600, 8, 16), (600, 16, 24))]
)
def test_deep_and_many(left: tuple[int, ...], right: tuple[int, ...], name: str):
    """Few columns under many rows, which are taken in stretches, and many small products, which threads share."""
    x, y = draw(name, left, -2, 2, seed=1), draw(name, right, -2, 2, seed=2)
    assert_product(to_bridge(x) @ to_bridge(y), x, y, name)
