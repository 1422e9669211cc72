"""view, contiguous, depends and the bits of float8."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from core.values import BASES, EVERY, HELD, LAYOUTS, draw, laid_out, numpy_dtype, to_bridge, to_numpy

import bridge
from bridge.core._native import DTYPES, leases
from bridge.core.ops.declare import PRIMITIVES

SIZED = [name for name in EVERY if name != "bool"]


def raw(a: bridge.array) -> np.ndarray:
    """The bytes of an array in row-major order."""
    return np.frombuffer(np.ascontiguousarray(to_numpy(a)).tobytes(), np.uint8)


@pytest.mark.parametrize("target", SIZED)
@pytest.mark.parametrize("name", EVERY)
def test_view(name: str, target: str):
    """NumPy's view of the same bytes, for arrays with bytes and for pending ones."""
    x = draw(name, (3, 16), seed=2)
    want = x.view(np.uint8).reshape(3, -1).view(numpy_dtype(target))
    for a in (to_bridge(x), to_bridge(np.concatenate([x, x]))[:3] + bridge.array(0, DTYPES[name])):
        got = bridge.view(a, DTYPES[target])
        assert got.shape == want.shape
        assert got.dtype.name == target
        if a.dtype.name == name and name != "bool":
            np.testing.assert_array_equal(raw(got), np.frombuffer(want.tobytes(), np.uint8))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "target"), [("float32", "uint32"), ("float32", "uint16"), ("uint16", "float32")])
def test_view_of_layouts(layout: str, name: str, target: str):
    """Strided, reversed and transposed arrays give what their dense copies give."""
    x, a = laid_out(layout, name, 0, 50)
    want = np.ascontiguousarray(x).view(target)
    np.testing.assert_array_equal(raw(bridge.view(a, DTYPES[target])), np.frombuffer(want.tobytes(), np.uint8))
    assert bridge.view(a, DTYPES[target]).shape == want.shape
    assert BASES


def address(a: bridge.array) -> int:
    return np.asarray(memoryview(a)).__array_interface__["data"][0]


def test_view_shares():
    """Bytes that lie together and aligned are not copied: the address is the same, whatever the strides around."""
    a = bridge.arange(24, dtype=bridge.float32).reshape(4, 6)
    bridge.eval(a)
    for part in (a, a[1:], a[::2], a[:, 2:4], a[::-1]):
        for dtype in (bridge.int32, bridge.uint16, bridge.uint8, bridge.complex64):
            seen = bridge.view(part, dtype)
            assert address(seen) == address(part)
            assert leases(seen) == []
    assert address(bridge.view(a[:, 1:3], bridge.complex64)) != address(a[:, 1:3])  # not aligned
    assert address(bridge.view(a.T, bridge.int32)) == address(a.T)
    assert bridge.view(a.T, bridge.int16).shape == (6, 8)


def test_view_of_an_open_array_is_a_copy():
    """Where somebody else can write, a view does not show later updates, as no view does."""
    a = bridge.zeros((4,))
    outside = np.from_dlpack(a)
    seen = bridge.view(a, bridge.int32)
    a[0] = 1.0
    assert seen.tolist() == [0, 0, 0, 0]
    assert outside[0] == 1.0


def test_an_update_does_not_reach_a_view():
    """Arrays are values: what is written to one shows in no view."""
    a = bridge.ones((4,))
    seen = a.view(bridge.uint32)
    a += 1
    assert seen.tolist() == [0x3F800000] * 4
    seen[0] = 0
    assert a.tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("held", HELD)
def test_view_of_held_dtypes(held: str):
    """Bytes become float8 and back, unchanged."""
    byte = np.arange(256, dtype=np.uint8) & (0xFF if HELD[held][0] == 8 else 0x0F)
    seen = bridge.view(bridge.array(byte), DTYPES[held])
    assert seen.dtype.name == held
    np.testing.assert_array_equal(to_numpy(bridge.view(seen, bridge.uint8)), byte)


def test_view_as_bool():
    """Every byte that is not 0 is true, so that no truth value holds anything else."""
    seen = bridge.view(bridge.array([0, 1, 2, 256], bridge.int32), bridge.bool_)
    assert seen.tolist() == [False] * 4 + [True] + [False] * 3 + [True] + [False] * 3 + [False, True, False, False]
    assert seen.sum().item() == 3


def test_view_of_numbers_and_nothing():
    """Python numbers, constants, 0-d and empty arrays."""
    assert bridge.view(1.0, bridge.int32).item() == 0x3F800000
    assert bridge.full((2,), 1.0).view(bridge.uint32).tolist() == [0x3F800000] * 2
    assert bridge.view(bridge.zeros((2, 0)), bridge.complex64).shape == (2, 0)
    assert bridge.view(bridge.zeros((0, 4)), bridge.uint8).shape == (0, 16)


@pytest.mark.parametrize(
    ("shape", "dtype", "text"),
    [((3,), bridge.complex64, "no whole number of elements"), ((), bridge.int16, "dtype of the same size")],
)
def test_view_refusals(shape: tuple[int, ...], dtype: bridge.Dtype, text: str):
    """Bytes that do not fill elements."""
    with pytest.raises(ValueError, match=text):
        bridge.view(bridge.ones(shape), dtype)


def test_view_rules():
    """Parts of complex numbers have gradients, other bits none; a batch is seen as its rows are."""
    op = PRIMITIVES["view"]
    x = bridge.array([1.0, 2.0, 3.0, 4.0])
    (back,) = op.pullback(bridge.array([1 + 2j, 3 + 4j]), op.call(x, bridge.complex64), x, dtype=bridge.complex64)
    assert back.tolist() == [1, 2, 3, 4]
    (none,) = op.pullback(bridge.array([1, 2, 3, 4]), op.call(x, bridge.int32), x, dtype=bridge.int32)
    assert none.tolist() == [0, 0, 0, 0]
    assert op.batching(2, (True,), bridge.ones((2, 3, 2)), dtype=bridge.complex64).shape == (2, 3, 1)


def strides(a: bridge.array) -> tuple[int, ...]:
    return np.asarray(memoryview(a)).strides


def test_contiguous():
    """Row-major afterwards; what is so already, or may be column-major, is shared."""
    a = bridge.arange(6, dtype=bridge.float32).reshape(2, 3)
    bridge.eval(a)
    assert address(bridge.contiguous(a)) == address(a)
    turned = bridge.contiguous(a.T)
    assert strides(turned) == (8, 4)
    assert turned.tolist() == a.T.tolist()
    assert address(bridge.contiguous(a.T, allow_col_major=True)) == address(a)
    assert strides(bridge.contiguous(a.T, True)) == (4, 12)
    assert strides(bridge.contiguous(a[::-1], True)) == (12, 4)
    assert bridge.contiguous(3.0).item() == 3
    assert PRIMITIVES["contiguous"].batching(2, (True,), bridge.ones((2, 3)), allow_col_major=True).shape == (2, 3)


def test_depends():
    """The same values; the dependencies are computed first."""
    from bridge.core._native import is_evaluated

    x, first = bridge.ones((3,)) * 2, bridge.ones((4,)) + 1
    got = bridge.depends(x, first)
    assert got.tolist() == [2, 2, 2]
    assert is_evaluated(first)
    many = bridge.depends([x, x + 1], [first, first * 2])
    assert [one.tolist() for one in many] == [[2, 2, 2], [3, 3, 3]]
    op = PRIMITIVES["after"]
    assert op.transpose[0](x, x, first)[1:] == [None]
    assert op.batching(5, (False, True), x, bridge.ones((5, 4))).shape == (5, 3)


def test_float8_bits():
    """to_fp8 rounds as ml_dtypes does, and saturates; from_fp8 is exact for all 256 bytes."""
    x = np.concatenate(
        [np.random.default_rng(3).normal(size=5000) * 100, [0.0, -0.0, 448, 464, 465, 1e30, -1e30, np.inf]]
    )
    x = x.astype(np.float32)
    want = np.clip(x, -448, 448).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
    np.testing.assert_array_equal(to_numpy(bridge.to_fp8(bridge.array(x))), want)
    every = np.arange(256, dtype=np.uint8)
    for dtype in (bridge.bfloat16, bridge.float32):
        got = to_numpy(bridge.from_fp8(bridge.array(every), dtype)).astype(np.float32)
        np.testing.assert_array_equal(got, every.view(ml_dtypes.float8_e4m3fn).astype(np.float32))
    assert bridge.from_fp8(bridge.array(every)).dtype is bridge.bfloat16


def test_float8_bits_of_mlx():
    """The same bits as MLX for finite numbers and infinities; NaN stays NaN here."""
    import mlx.core as mx

    x = np.concatenate([np.random.default_rng(4).normal(size=3000) * 50, [448, 500, -500, 1e-9, np.inf, -np.inf]])
    x = x.astype(np.float32)
    np.testing.assert_array_equal(to_numpy(bridge.to_fp8(bridge.array(x))), np.array(mx.to_fp8(mx.array(x))))
    assert bridge.isnan(bridge.from_fp8(bridge.to_fp8(bridge.array([np.nan])))).item()


def test_float8_refusals():
    """Integers have no float8, and only bytes are bits of one."""
    error = bridge.core.errors.DTypeError
    with pytest.raises(error, match="real floating numbers are wanted"):
        bridge.to_fp8(bridge.array([1, 2]))
    with pytest.raises(error, match="the bits of float8 are wanted"):
        bridge.from_fp8(bridge.array([1.0]))
    with pytest.raises(error, match="a real floating dtype is wanted"):
        bridge.from_fp8(bridge.array([1], bridge.uint8), bridge.int32)


def test_buffer_size():
    """Each buffer once, whatever shares it; nests are walked; pending arrays have none yet."""
    a, b = bridge.array([1.0, 2.0, 3.0]), bridge.ones((1000,), bridge.float64) + 1
    bridge.eval(a, b)
    one, both = bridge.get_array_buffer_size(b), bridge.get_array_buffer_size(a, b)
    assert one >= 8000
    assert both == one + bridge.get_array_buffer_size(a)
    assert bridge.get_array_buffer_size({"x": [a, (b, b[:3])]}, b.view(bridge.uint8), None, 3) == both
    with pytest.raises(ValueError, match="has not been computed"):
        bridge.get_array_buffer_size(a + 1)


def test_wired_limit():
    """The limit is remembered; the old one is given back."""
    assert bridge.set_wired_limit(100) == 0
    assert bridge.set_wired_limit(0) == 100
    with pytest.raises(ValueError, match="negative"):
        bridge.set_wired_limit(-1)
