"""Convolutions against a sum over taps in NumPy, and against torch and MLX's conventions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from core.values import to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st

import bridge
from bridge.core.ops.declare import PRIMITIVES

RULES = PRIMITIVES["conv_general"]
WIDE = {"float16": "float64", "bfloat16": "float64", "float32": "float64", "complex64": "complex128"}


def spread(x: np.ndarray, steps: tuple[int, ...]) -> np.ndarray:
    """Zeros between neighbours on the axes of space."""
    extents = [(n - 1) * s + 1 if n else 0 for n, s in zip(x.shape[1:-1], steps, strict=True)]
    out = np.zeros((x.shape[0], *extents, x.shape[-1]), x.dtype)
    out[(slice(None), *(slice(None, None, s) for s in steps))] = x
    return out


def padded(x: np.ndarray, low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    wide = np.pad(x, [(0, 0), *((max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)), (0, 0)])
    cut = [slice(max(-a, 0), n - max(-b, 0)) for a, b, n in zip(low, high, wide.shape[1:-1], strict=True)]
    return wide[(slice(None), *cut)]


def reference(x, w, stride, padding, kernel_dilation=None, input_dilation=None, groups=1, flip=False):
    """One product of matrices for every tap and group."""
    space = x.ndim - 2
    ones = (1,) * space
    between = kernel_dilation or ones
    x = padded(spread(x, input_dilation or ones), *padding)
    taps = w.shape[1:-1]
    out = [
        (n - ((k - 1) * d + 1 if k else 0)) // s + 1
        for n, k, d, s in zip(x.shape[1:-1], taps, between, stride, strict=True)
    ]
    within, each = x.shape[-1] // groups, w.shape[0] // groups
    y = np.zeros((x.shape[0], *out, w.shape[0]), np.result_type(x, w))
    for tap in itertools.product(*map(range, taps)):
        at = [k - 1 - t for k, t in zip(taps, tap, strict=True)] if flip else tap
        where = [
            slice(t * d, t * d + (o - 1) * s + 1 if o else 0, s)
            for t, d, o, s in zip(tap, between, out, stride, strict=True)
        ]
        part = x[(slice(None), *where)]
        for g in range(groups):
            y[..., g * each : (g + 1) * each] += (
                part[..., g * within : (g + 1) * within] @ w[(slice(g * each, (g + 1) * each), *at)].T
            )
    return y


def draw(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    random = np.random.default_rng([seed, *shape])
    if name.startswith(("int", "uint")):
        return random.integers(0, 100, shape).astype(name)
    values = random.normal(size=shape)
    return values + 1j * random.normal(size=shape) if name.startswith("complex") else values


def check(name: str, x_shape: tuple[int, ...], w_shape: tuple[int, ...], **settings) -> None:
    """Same shape, dtype and values as the sum over taps, in every dtype."""
    x, w = draw(name, x_shape, 1), draw(name, w_shape, 2)
    a, b = (to_bridge(v).astype(getattr(bridge, name)) for v in (x, w))
    space = len(x_shape) - 2
    stride = settings.pop("stride", (1,) * space)
    padding = settings.pop("padding", ((0,) * space, (0,) * space))
    got = bridge.conv_general(a, b, stride, padding, **settings)
    assert got.dtype is a.dtype
    wide = WIDE.get(name, name)
    exact = [to_numpy(v.astype(getattr(bridge, wide))) for v in (a, b)]
    with np.errstate(over="ignore"):
        want = reference(*exact, stride, padding, **settings)
    if name not in WIDE and not name.startswith(("float", "complex")):
        np.testing.assert_array_equal(to_numpy(got), want)
        return
    size = np.abs(want).max(initial=1)
    close = {"float16": 2e-3, "bfloat16": 1e-2, "float32": 1e-5, "complex64": 1e-5}.get(name, 1e-13)
    assert got.shape == want.shape
    np.testing.assert_allclose(to_numpy(got.astype(getattr(bridge, wide))), want, rtol=0, atol=close * size)


DTYPES = ["float32", "float64", "float16", "bfloat16", "complex64", "complex128", "int8", "uint16", "int32", "int64"]
CASES = [
    ((2, 9, 3), (4, 3, 3), {}),
    ((2, 9, 8), (8, 3, 1), {"groups": 8, "padding": ((1,), (1,))}),
    ((2, 9, 6), (9, 2, 2), {"groups": 3, "padding": ((2,), (0,)), "flip": True}),
    ((1, 7, 8, 5), (50, 3, 2, 5), {"stride": (2, 1), "padding": ((1, 0), (1, 2))}),
    ((2, 5, 6, 4), (6, 3, 3, 4), {"padding": ((2, 2), (2, 2)), "input_dilation": (2, 3), "flip": True}),
    ((1, 9, 9, 2), (3, 2, 3, 2), {"kernel_dilation": (3, 2), "stride": (2, 3)}),
    ((1, 4, 5, 6, 2), (3, 2, 3, 2, 2), {"padding": ((1, 0, 1), (0, 1, 1)), "stride": (1, 2, 1)}),
    ((9, 2, 2, 7), (5, 2, 2, 7), {}),
    ((3, 4, 1, 1), (2, 1, 1, 1), {}),
]


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize(("x", "w", "settings"), CASES)
def test_every_dtype(x: tuple[int, ...], w: tuple[int, ...], settings: dict, name: str):
    """Numbers of every dtype are convolved: halves are summed in float32, integers wrap."""
    check(name, x, w, **settings)


@st.composite
def settings(draw_):
    space = draw_(st.integers(1, 3))
    groups = draw_(st.sampled_from([1, 1, 2, 5, 16]))
    small = st.integers(1, 3)
    each = lambda of: tuple(draw_(of) for _ in range(space))  # noqa: E731
    within, out = draw_(st.integers(1, 4)), draw_(st.sampled_from([1, 2, 3, 9, 17]))
    x = (draw_(st.integers(1, 9)), *each(st.integers(1, [40, 12, 5][space - 1])), groups * within)
    w = (groups * out, *each(st.integers(1, 4)), within)
    chosen = {
        "stride": each(small),
        "padding": (each(st.integers(-1, 4)), each(st.integers(-1, 4))),
        "kernel_dilation": each(small),
        "input_dilation": each(st.sampled_from([1, 1, 2, 3])),
        "groups": groups,
        "flip": draw_(st.booleans()),
    }
    return x, w, chosen


def extents(x: tuple[int, ...], w: tuple[int, ...], chosen: dict) -> list[int]:
    low, high = chosen["padding"]
    return [
        (x[k + 1] - 1) * chosen["input_dilation"][k]
        + 1
        + low[k]
        + high[k]
        - (w[k + 1] - 1) * chosen["kernel_dilation"][k]
        for k in range(len(x) - 2)
    ]


@given(settings())
def test_any_settings(case):
    """Every combination of extents, strides, paddings, dilations, groups and order agrees, or is refused."""
    x, w, chosen = case
    if min(extents(x, w, chosen)) < 1:
        with pytest.raises(ValueError, match="larger than the padded input"):
            bridge.conv_general(bridge.ones(x), bridge.ones(w), **chosen)
    else:
        check("float32", x, w, **chosen)


@given(settings())
def test_transposes(case):
    """Backwards is the transpose of forwards in both operands: <g, f(t)> = <f'(g), t>, whatever the settings."""
    x, w, chosen = case
    if min(extents(x, w, chosen)) < 1:
        return
    a, b = (to_bridge(draw("float64", shape, 3)) for shape in (x, w))
    y = bridge.conv_general(a, b, **chosen)
    g = to_bridge(draw("float64", y.shape, 4))
    forwards = (g * y).sum().item()
    for rule, operand in zip(RULES.transpose, (a, b), strict=True):
        back = rule(g, a, b, **chosen)
        assert back.shape == operand.shape
        np.testing.assert_allclose((back * operand).sum().item(), forwards, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("batched", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("groups", [1, 3])
def test_batching(batched: tuple[bool, bool], groups: int):
    """The batching rule gives what a loop over the batch gives."""
    chosen = {"stride": [2, 1], "padding": ([1, 0], [0, 2]), "kernel_dilation": [1, 2], "groups": groups, "flip": True}
    shapes = [(2, 6, 5, 6), (9, 3, 2, 6 // groups)]
    operands = [draw("float64", (4, *s) if has else s, 5) for s, has in zip(shapes, batched, strict=True)]
    got = RULES.batching(4, batched, *map(to_bridge, operands), **chosen)
    rows = [[a[k] if has else a for a, has in zip(operands, batched, strict=True)] for k in range(4)]
    want = np.stack([to_numpy(bridge.conv_general(*map(to_bridge, row), **chosen)) for row in rows])
    np.testing.assert_allclose(to_numpy(got), want, rtol=1e-12, atol=1e-12)


def test_large_enough_for_threads():
    """Shapes that are cut into many tasks: bands, stretches of a long axis, columns, narrow planes, large weights."""
    check("float32", (2, 40, 40, 20), (70, 3, 3, 20), padding=((1, 1), (1, 1)))
    check("float32", (1, 30_000, 1), (5, 9, 1), padding=((4,), (4,)))
    check("float32", (1, 5, 5, 300), (200, 3, 3, 300), padding=((1, 1), (1, 1)))
    check("bfloat16", (1, 5, 5, 300), (100, 3, 3, 300), padding=((1, 1), (1, 1)))
    check("float32", (24, 20, 20, 3), (17, 18, 18, 3))
    check("float32", (1, 64, 64, 96), (96, 3, 3, 1), groups=96, padding=((1, 1), (1, 1)))
    check("float32", (1, 4000, 8), (6, 5, 8), input_dilation=(4,), padding=((4,), (4,)))


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float64"])
def test_layouts(name: str):
    """Strided, reversed, transposed and broadcast operands convolve like dense ones."""
    dtype = getattr(bridge, name)
    x, w = (to_bridge(draw("float64", shape, 6)).astype(dtype) for shape in [(2, 8, 9, 6), (4, 3, 3, 6)])
    dense = {"x": x, "w": w}

    def same(a: bridge.array, b: bridge.array) -> None:
        want = bridge.conv2d(to_bridge(to_numpy(a)).astype(dtype), to_bridge(to_numpy(b)).astype(dtype), padding=1)
        assert bridge.array_equal(bridge.conv2d(a, b, padding=1), want)

    same(dense["x"][:, ::-2, 1:], w[::-1])
    same(bridge.moveaxis(bridge.moveaxis(x, -1, 1), 1, -1), w[:, ::-1, ::-1])
    same(bridge.swapaxes(x, 1, 2), bridge.swapaxes(w, 1, 2))
    same(bridge.moveaxis(bridge.array(to_numpy(bridge.moveaxis(x, -1, 0))).astype(dtype), 0, -1), w)
    same(bridge.broadcast_to(x[:, :, :1], x.shape), bridge.broadcast_to(w[:1], w.shape))
    same(x[..., ::2], w[..., ::-2])


EMPTY = [
    ((0, 9, 2), (3, 3, 2), {}),
    ((2, 9, 0), (3, 3, 0), {}),
    ((2, 9, 2), (0, 3, 2), {}),
    ((2, 0, 2), (3, 3, 2), {"padding": ((2,), (2,))}),
    ((2, 4, 5, 2), (3, 0, 2, 2), {}),
]


@pytest.mark.parametrize(("x", "w", "chosen"), EMPTY)
def test_nothing(x: tuple[int, ...], w: tuple[int, ...], chosen: dict):
    """Without a batch, without channels, without input or taps: a result of the right shape, of zeros."""
    check("float32", x, w, **chosen)
    a, b = bridge.ones(x), bridge.ones(w)
    y = bridge.conv_general(a, b, **chosen)
    space = len(x) - 2
    full = {"stride": [1] * space, "padding": ([0] * space,) * 2, "kernel_dilation": [1] * space, "groups": 1}
    full |= {"input_dilation": [1] * space, "flip": False} | chosen
    for rule, operand in zip(RULES.transpose, (a, b), strict=True):
        back = rule(y, a, b, **full)
        assert back.shape == operand.shape
        assert not back.size or back.max().item() == 0


def channels_first(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(a, -1, 1).copy())


@pytest.mark.parametrize("space", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_as_torch(space: int, groups: int):
    """conv1d to conv3d and their transposes against torch, with strides, dilation, groups and output padding."""
    x, w = draw("float64", (2, *range(7, 7 + space), 4), 7), draw("float64", (6, *range(2, 2 + space), 4 // groups), 8)
    conv = getattr(bridge, f"conv{space}d")
    out = conv(to_bridge(x), to_bridge(w), stride=2, padding=1, dilation=2, groups=groups)
    want = getattr(torch.nn.functional, f"conv{space}d")(
        channels_first(x), channels_first(w), stride=2, padding=1, dilation=2, groups=groups
    )
    np.testing.assert_allclose(to_numpy(out), np.moveaxis(want.numpy(), 1, -1), rtol=1e-12, atol=1e-12)

    back = getattr(bridge, f"conv_transpose{space}d")(
        to_bridge(x), to_bridge(w), stride=3, padding=1, dilation=2, output_padding=1, groups=groups
    )
    parts = [np.moveaxis(part, -1, 0) for part in np.split(w, groups)]  # torch: (C_in, C_out / groups, ...)
    weight = torch.from_numpy(np.concatenate(parts).copy())
    want = getattr(torch.nn.functional, f"conv_transpose{space}d")(
        channels_first(x), weight, stride=3, padding=1, dilation=2, output_padding=1, groups=groups
    )
    np.testing.assert_allclose(to_numpy(back), np.moveaxis(want.numpy(), 1, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("first", "second"), [(1, 1), (5, 3), (3, 5), (6, 4), (4, 4), (7, 1)])
def test_convolve(first: int, second: int, mode: str):
    """NumPy's convolution in each mode, of floats and of integers."""
    a, v = draw("float64", (first,), 1), draw("int32", (second,), 2)
    np.testing.assert_allclose(to_numpy(bridge.convolve(to_bridge(a), to_bridge(v), mode)), np.convolve(a, v, mode))
    whole = to_numpy(bridge.convolve(to_bridge(v), to_bridge(v[::-1].copy()), mode=mode))
    np.testing.assert_array_equal(whole, np.convolve(v, v[::-1], mode))


ONE, TWO = bridge.ones((1, 5, 2)), bridge.ones((1, 5, 5, 2))
REFUSED = [
    (lambda: bridge.conv_general(bridge.ones((5, 2)), ONE), "one to three axes of space"),
    (lambda: bridge.conv_general(bridge.ones((1,) * 6), bridge.ones((1,) * 6)), "one to three axes of space"),
    (lambda: bridge.conv_general(TWO, ONE), "another number of axes"),
    (lambda: bridge.conv_general(ONE, bridge.ones((3, 3, 1))), "channels of input and weight differ"),
    (lambda: bridge.conv_general(ONE, bridge.ones((3, 3, 1)), groups=2), "divide into the groups"),
    (lambda: bridge.conv_general(ONE, ONE, groups=0), "groups must be positive"),
    (lambda: bridge.conv_general(ONE, ONE, stride=0), "stride must be positive"),
    (lambda: bridge.conv_general(ONE, ONE, kernel_dilation=[0]), "kernel_dilation must be positive"),
    (lambda: bridge.conv_general(ONE, ONE, input_dilation=-1), "input_dilation must be positive"),
    (lambda: bridge.conv_general(TWO, TWO, stride=[1, 1, 1]), "one entry for each axis of space"),
    (lambda: bridge.conv_general(TWO, TWO, padding=([1, 1], [1, 1, 1])), "one entry for each axis of space"),
    (lambda: bridge.conv_general(ONE, ONE, padding=-3), "larger than the padded input"),
    (lambda: bridge.conv_general(ONE, ONE, padding=2**60), "too large"),
    (lambda: bridge.conv1d(TWO, TWO), r"bridge.conv1d.*number of axes"),
    (lambda: bridge.conv2d(TWO, TWO, stride=(1, 2, 3)), "one entry for each axis of space"),
    (lambda: bridge.conv_transpose2d(ONE, ONE), r"bridge.conv_transpose2d.*number of axes"),
    (lambda: bridge.convolve(ONE, ONE), "two 1-d arrays"),
    (lambda: bridge.convolve(bridge.ones(3), bridge.ones(0)), "two 1-d arrays"),
    (lambda: bridge.convolve(bridge.ones(3), bridge.ones(2), mode="all"), "unknown mode"),
]


@pytest.mark.parametrize(("act", "text"), REFUSED)
def test_refusals(act, text: str):
    """What does not fit raises ValueError that says why."""
    with pytest.raises(ValueError, match=text):
        act()


def test_truth_values_are_refused():
    """Bool operands raise DTypeError; with numbers they are promoted."""
    with pytest.raises(bridge.DTypeError, match="truth values"):
        bridge.conv1d(ONE.astype(bridge.bool_), ONE.astype(bridge.bool_))
    assert bridge.conv1d(ONE.astype(bridge.bool_), ONE.astype(bridge.float16)).tolist() == [[[10]]]


def test_halves_are_summed_in_float32():
    """70,000 ones of float16 sum to 70,000, and a result beyond the largest finite number is infinite."""
    ones = bridge.ones((1, 70_000, 1), bridge.bfloat16)
    assert bridge.conv1d(ones, bridge.ones((1, 70_000, 1), bridge.bfloat16)).item() == 70144  # the nearest bfloat16
    half = bridge.ones((1, 70_000, 1), bridge.float16)
    assert bridge.conv1d(half, bridge.full((1, 70_000, 1), 0.5, bridge.float16)).item() == 35008
