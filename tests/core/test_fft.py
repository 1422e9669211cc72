"""bridge.fft against NumPy and MLX: values, dtypes, shapes, layouts, rules, errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from core.linear import assert_close
from core.values import draw, numpy_dtype, to_bridge
from hypothesis import given as drawn
from hypothesis import strategies as st

import bridge
from bridge.core.ops.declare import PRIMITIVES

ONE = ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"]
TWO = ["fft2", "ifft2", "rfft2", "irfft2"]
MANY = ["fftn", "ifftn", "rfftn", "irfftn"]
REAL_INPUT = {"rfft", "ihfft", "rfft2", "rfftn"}
REAL_OUTPUT = {"irfft", "hfft", "irfft2", "irfftn"}
NORMS = ["backward", "ortho", "forward"]
# What is computed in: everything else goes through float32.
WIDE = {"float64", "complex128"}


def result_dtype(name: str, dtype: str) -> str:
    if name in REAL_OUTPUT:
        return "float64" if dtype in WIDE else "float32"
    return "complex128" if dtype in WIDE else "complex64"


def both(name: str, dtype: str, shape: tuple[int, ...], *args: Any, **keywords: Any) -> None:
    """Bridge and NumPy agree on one call."""
    a = draw(dtype, shape)
    wide = a if dtype in WIDE else a.astype(np.complex64 if "complex" in dtype else np.float32)
    got = getattr(bridge.fft, name)(to_bridge(a), *args, **keywords)
    assert_close(got, getattr(np.fft, name)(wide, *args, **keywords), result_dtype(name, dtype))


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "complex64", "complex128", "float16", "bfloat16", "int32", "bool"]
)
@pytest.mark.parametrize("name", [*ONE, *TWO, *MANY])
def test_dtypes(name: str, dtype: str):
    """Single precision stays single, double stays double, and everything else counts as float32."""
    if name in REAL_INPUT and numpy_dtype(dtype).kind == "c":
        with pytest.raises(bridge.DTypeError, match=rf"\[bridge\.fft\.{name}\] real numbers are wanted(.|\n)*a\.real"):
            getattr(bridge.fft, name)(to_bridge(draw(dtype, (3, 4))))
        return
    both(name, dtype, (3, 4))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n", [None, 1, 3, 6, 7, 12])
@pytest.mark.parametrize("name", ONE)
def test_one_axis(name: str, n: int | None, norm: str):
    """Cut, filled up or as it is, along any axis, with every norm."""
    for axis in (-1, 0, 1):
        both(name, "float64", (6, 7, 5), n, axis, norm)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", [*TWO, *MANY])
def test_several_axes(name: str, norm: str):
    """Sizes and axes in any order, with every norm."""
    for s, axes in ((None, (0, 1)), ((3, 8), (0, 1)), ((5, 2), (-1, 0)), (None, (2, 0)), ((4, 4), (1, 2))):
        both(name, "float64", (4, 5, 6), s, axes, norm)
    both(name, "float64", (4, 5, 6), norm=norm)


@pytest.mark.parametrize("name", MANY)
def test_default_axes(name: str):
    """All axes by default; with sizes only, the last ones; -1 keeps an extent."""
    both(name, "float64", (4, 5, 6))
    a = draw("float64", (4, 5, 6))
    call, theirs = getattr(bridge.fft, name), getattr(np.fft, name)
    assert_close(call(to_bridge(a), (3, 8)), theirs(a, (3, 8), (1, 2)), result_dtype(name, "float64"))
    assert_close(call(to_bridge(a), (-1, 8), (0, 1)), theirs(a, (4, 8), (0, 1)), result_dtype(name, "float64"))
    assert_close(call(to_bridge(a), axes=(1,)), theirs(a, axes=(1,)), result_dtype(name, "float64"))


def test_no_axes():
    """Over no axes a complex transform does nothing; a real one has nothing to halve."""
    a = bridge.ones((2, 2))
    assert bridge.fft.fftn(a, axes=()).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(ValueError, match="at least one axis"):
        bridge.fft.rfftn(a, axes=())


@pytest.mark.parametrize("name", ["fft", "rfft", "irfft", "fftn"])
def test_layouts(name: str):
    """Transposed, reversed, strided and broadcast operands transform like dense ones."""
    a = draw("float64", (8, 12))
    for view in (lambda m: m.T, lambda m: m[::-1, ::-1], lambda m: m[::2, 1::3]):
        got = getattr(bridge.fft, name)(view(to_bridge(a)))
        assert_close(got, getattr(np.fft, name)(view(a)), result_dtype(name, "float64"))
    spread = bridge.broadcast_to(to_bridge(a[:1]), (8, 12))
    want = getattr(np.fft, name)(np.broadcast_to(a[:1], (8, 12)))
    assert_close(getattr(bridge.fft, name)(spread), want, result_dtype(name, "float64"))


def test_empty():
    """A batch of none is transformed to none; no points at all are refused."""
    assert bridge.fft.fft(bridge.ones((0, 4))).shape == (0, 4)
    assert bridge.fft.rfft(bridge.ones((0, 4))).tolist() == []
    assert bridge.fft.fft(bridge.ones((3, 0)), 4).tolist() == [[0] * 4] * 3
    with pytest.raises(ValueError, match=r"at least one point(.|\n)*float32\[3, 0\]"):
        bridge.fft.fft(bridge.ones((3, 0)))


def test_lazy():
    """No transform runs before its values are needed."""
    from bridge.core._native import is_evaluated

    y = bridge.fft.rfft(bridge.ones((8,)))
    assert not is_evaluated(y)
    assert y.tolist() == [8, 0, 0, 0, 0]


@drawn(st.integers(1, 40), st.integers(1, 40), st.sampled_from(NORMS))
def test_there_and_back(n: int, m: int, norm: str):
    """Every inverse undoes its transform, at every length."""
    f = bridge.fft
    a = draw("float64", (2, n))
    b = to_bridge(a)
    assert_close(f.ifft(f.fft(b, norm=norm), norm=norm).real, a, "float64")
    assert_close(f.irfft(f.rfft(b, norm=norm), n, norm=norm), a, "float64")
    assert_close(f.hfft(f.ihfft(b, norm=norm), n, norm=norm), a, "float64")
    grid = draw("float64", (m, n))
    assert_close(f.irfft2(f.rfft2(to_bridge(grid)), grid.shape), grid, "float64")
    assert_close(f.ifftshift(f.fftshift(to_bridge(grid))), grid, "float64")


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_frequencies(n: int):
    """fftfreq and rfftfreq are NumPy's, in float32 or the dtype asked for."""
    for name in ("fftfreq", "rfftfreq"):
        ours, theirs = getattr(bridge.fft, name), getattr(np.fft, name)
        assert_close(ours(n), theirs(n), "float32")
        assert_close(ours(n, 0.1, dtype=bridge.float64), theirs(n, 0.1), "float64")
        assert ours(n, d=0.5, device=bridge.cpu).shape == theirs(n, 0.5).shape
        with pytest.raises(ValueError, match="at least one point"):
            ours(0)


@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
def test_shifts(name: str):
    """The shifts are NumPy's, over all axes, one or several."""
    a = draw("float32", (3, 4, 5))
    for axes in (None, 0, -1, (0, 2)):
        assert_close(getattr(bridge.fft, name)(to_bridge(a), axes), getattr(np.fft, name)(a, axes), "float32")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda f, a: f.fft(a, 0), ValueError, r"\[bridge\.fft\.fft\] a transform has at least one point"),
        (lambda f, a: f.fft(a, -3), ValueError, "at least one point"),
        (lambda f, a: f.irfft(a[:, :1]), ValueError, "at least one point"),
        (lambda f, a: f.fft(a, axis=2), IndexError, "axis 2 is out of bounds"),
        (lambda f, a: f.fft(bridge.ones(())), IndexError, "out of bounds"),
        (lambda f, a: f.fft(a, norm="half"), ValueError, "no norm 'half'"),
        (lambda f, a: f.hfft(a, norm="half"), ValueError, "no norm 'half'"),
        (lambda f, a: f.fftn(a, axes=(0, -2)), ValueError, "an axis is named twice"),
        (lambda f, a: f.fft2(a, (3,)), ValueError, "sizes and axes differ in number"),
        (lambda f, a: f.fft(a, stream="cpu"), TypeError, "stream must be"),
    ],
)
def test_refusals(call: Callable[[Any, bridge.array], Any], error: type[Exception], text: str):
    """What cannot be transformed is refused in the call, with the op named."""
    with pytest.raises(error, match=text):
        call(bridge.fft, bridge.ones((3, 4)))


MLX_NAMES = ["fft", "ifft", "rfft", "irfft", *TWO, *MANY]


@pytest.mark.parametrize("name", MLX_NAMES)
def test_mlx(name: str):
    """Called as MLX is, each function gives arrays of MLX's dtypes, shapes and values."""
    import mlx.core as mx

    for dtype in ("float32", "int32", *(() if name in REAL_INPUT else ("complex64",))):
        a = draw(dtype, (4, 6))
        sizes = {} if name in MANY else {"n": 5, "axis": 0} if name in ONE else {"s": (3, 5), "axes": (1, 0)}
        for keywords in ({}, {"norm": "ortho"}, sizes):
            got = getattr(bridge.fft, name)(to_bridge(a), **keywords, stream=bridge.cpu)
            want = np.array(getattr(mx.fft, name)(mx.array(a), **keywords, stream=mx.cpu))
            assert (np.asarray(got).dtype, got.shape) == (want.dtype, want.shape)
            np.testing.assert_allclose(np.asarray(got), want, rtol=1e-4, atol=1e-3)


def test_every_name_of_mlx_is_there():
    """Nothing of mlx.core.fft is missing."""
    import mlx.core as mx

    assert {name for name in dir(mx.fft) if not name.startswith("_")} <= set(bridge.fft.__all__)


@pytest.mark.parametrize("name", [*MLX_NAMES, "fftshift", "ifftshift", "fftfreq", "rfftfreq", "stft", "istft"])
def test_the_order_of_arguments(name: str):
    """Positional arguments stand where MLX has them: its documented signature is the beginning of ours."""
    import mlx.core as mx

    line = getattr(mx.fft, name).__doc__.splitlines()[0]
    theirs = [part.split(":")[0].strip() for part in line[line.index("(") + 1 :].split(", ") if ":" in part]
    theirs = [one for one in theirs if one.isidentifier()]
    assert list(inspect.signature(getattr(bridge.fft, name)).parameters)[: len(theirs)] == theirs


def window(size: int) -> np.ndarray:
    return np.hanning(size + 2)[1:-1].astype(np.float32)


FRAMES: dict[str, dict[str, Any]] = {
    "plain": {"n_fft": 16},
    "hop": {"n_fft": 16, "hop_length": 5},
    "reflect": {"n_fft": 16, "window": window(16)},
    "constant": {"n_fft": 16, "window": window(16), "pad_mode": "constant"},
    "edge": {"n_fft": 16, "window": window(16), "pad_mode": "edge"},
    "not centred": {"n_fft": 16, "center": False},
    "short window": {"n_fft": 16, "win_length": 11, "window": window(11)},
    "no window": {"n_fft": 16, "win_length": 12},
    "both sides": {"n_fft": 16, "onesided": False},
    "ortho": {"n_fft": 16, "norm": "ortho"},
    "odd": {"n_fft": 15, "hop_length": 4},
}


def given(module: Any, keywords: dict[str, Any]) -> dict[str, Any]:
    """Keywords with their arrays in that framework."""
    return {key: module.array(one) if isinstance(one, np.ndarray) else one for key, one in keywords.items()}


@pytest.mark.parametrize("dtype", ["float32", "int32", "float16", "complex64"])
@pytest.mark.parametrize("name", FRAMES)
def test_stft(name: str, dtype: str):
    """Short-time transforms have MLX's dtypes, shapes and values."""
    import mlx.core as mx

    a = draw(dtype, (2, 100))
    keywords = FRAMES[name]
    got = np.asarray(bridge.fft.stft(to_bridge(a), **given(bridge, keywords)))
    want = np.array(mx.fft.stft(mx.array(a), **given(mx, keywords)))
    if dtype == "complex64" and "onesided" not in keywords:
        assert got.shape[-2] == keywords["n_fft"]
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("length", [None, 90, 130])
@pytest.mark.parametrize("name", [name for name in FRAMES if name not in ("both sides", "constant", "edge")])
def test_istft(name: str, length: int | None):
    """The way back has MLX's dtypes, shapes and values, and gives the signal where windows cover it."""
    import mlx.core as mx

    a = draw("float32", (2, 100))
    keywords = {key: one for key, one in FRAMES[name].items() if key != "pad_mode"}
    spectrum = bridge.fft.stft(to_bridge(a), **given(bridge, keywords))
    got = np.asarray(bridge.fft.istft(spectrum, length=length, **given(bridge, keywords)))
    want = np.array(mx.fft.istft(mx.array(np.asarray(spectrum)), length=length, **given(mx, keywords)))
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(got[:, 8:80], a[:, 8:80], atol=1e-5)


def test_short_time_transforms_keep_what_they_are_given():
    """Complex signals come back complex, and double precision stays double."""
    z = draw("complex128", (64,))
    spectrum = bridge.fft.stft(to_bridge(z), 16)
    assert spectrum.dtype is bridge.complex128
    assert_close(bridge.fft.istft(spectrum, 16, onesided=False), z, "complex128")
    x = draw("float64", (64,))
    assert_close(bridge.fft.istft(bridge.fft.stft(to_bridge(x), 16)), x, "float64")


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda f, a: f.stft(a), "too short to continue it by 1024"),
        (lambda f, a: f.stft(a, 64, center=False), "shorter than a frame of 64"),
        (lambda f, a: f.stft(a, 16, 0), "at least one element"),
        (lambda f, a: f.stft(a, 16, pad_mode="wrap"), "no pad_mode 'wrap'"),
        (lambda f, a: f.stft(a, 16, window=bridge.ones((17,))), "window does not fit"),
        (lambda f, a: f.stft(a, 16, win_length=8, window=bridge.ones((9,))), "window does not fit"),
        (lambda f, a: f.istft(a), "frequencies and frames"),
    ],
)
def test_refusals_of_frames(call: Callable[[Any, bridge.array], Any], text: str):
    """Signals that are too short, and windows that do not fit, are refused in the call."""
    with pytest.raises(ValueError, match=text):
        call(bridge.fft, bridge.ones((40,)))


# name -> operand dtype, shape and parameters, where the linear rules are tried
RULED = [
    ("complex_transform", "complex128", (3, 4), (axes, inverse, norm))
    for axes in ((1,), (0, 1), (1, 0))
    for inverse in (True, False)
    for norm in NORMS
]
RULED += [("real_transform", "float64", (3, n), (1, norm)) for n in (1, 4, 5) for norm in NORMS]
RULED += [("real_transform", "float64", (5, 3), (0, "backward"))]
RULED += [("real_inverse", "complex128", (3, n // 2 + 1), (1, n, norm)) for n in (1, 2, 5, 6) for norm in NORMS]


RULED += [("frames", "float64", (2, 11), (4, hop)) for hop in (1, 2, 3, 5)]
RULED += [("overlap_add", "complex128", (2, 3, 4), (12, 2)), ("overlap_add", "float64", (3, 4), (16, 6))]


@pytest.mark.parametrize(("name", "dtype", "shape", "parameters"), RULED)
def test_transpose(name: str, dtype: str, shape: tuple[int, ...], parameters: tuple[Any, ...]):
    """Backwards is the transpose of forwards: Re<g, f(t)> = Re<f'(g), t>, without conjugation."""
    op = PRIMITIVES[name]
    a, t = to_bridge(draw(dtype, shape)), draw(dtype, shape, seed=1)
    forwards = np.asarray(op.call(to_bridge(t), *parameters))
    g = draw(str(forwards.dtype), forwards.shape, seed=2)
    names = list(inspect.signature(op.header).parameters)[1:-1]
    back = op.transpose[0](to_bridge(g), a, **dict(zip(names, parameters, strict=True)))
    assert (back.dtype, back.shape) == (a.dtype, a.shape)
    np.testing.assert_allclose(np.sum(g * forwards).real, np.sum(np.asarray(back) * t).real, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("name", "dtype", "shape", "parameters"), RULED[::3])
def test_batching(name: str, dtype: str, shape: tuple[int, ...], parameters: tuple[Any, ...]):
    """The batching rule gives what a loop over the batch gives."""
    op = PRIMITIVES[name]
    a = draw(dtype, (2, *shape))
    names = list(inspect.signature(op.header).parameters)[1:-1]
    got = op.batching(2, (True,), to_bridge(a), **dict(zip(names, parameters, strict=True)))
    want = np.stack([np.asarray(op.call(to_bridge(one), *parameters)) for one in a])
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-12, atol=1e-12)
