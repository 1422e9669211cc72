"""bridge.fast against MLX, and against NumPy in double precision."""

from __future__ import annotations

import inspect

import mlx.core as mx
import numpy as np
import pytest
from core.values import to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st

import bridge
from bridge import fast

CLOSE = {"float16": 2e-3, "bfloat16": 1.6e-2, "float32": 3e-6, "float64": 1e-12}


def draw(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def both(x: np.ndarray, name: str) -> tuple[bridge.array, mx.array]:
    with mx.stream(mx.cpu):
        return to_bridge(x).astype(getattr(bridge, name)), mx.array(x, dtype=getattr(mx, name))


def assert_same(got: bridge.array, want: mx.array, name: str) -> None:
    """Dtype and shape of MLX; values within the rounding of the dtype, where MLX computes float64 in float32."""
    assert got.dtype.name == str(want.dtype).removeprefix("mlx.core.")
    assert got.shape == tuple(want.shape)
    with mx.stream(mx.cpu):
        exact = np.array(want.astype(mx.float64))
    np.testing.assert_allclose(
        to_numpy(got.astype(bridge.float64)), exact, rtol=0, atol=max(CLOSE[name], CLOSE["float32"]) * 4
    )


@pytest.fixture(autouse=True)
def _on_the_cpu():
    with mx.stream(mx.cpu):
        yield


@pytest.mark.parametrize("name", CLOSE)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 8), (0, 4), (7, 1), (3, 300)])
def test_norms(shape: tuple[int, ...], name: str):
    """rms_norm and layer_norm, with and without weight and bias, as MLX's."""
    (x, mx_x), (w, mx_w), (b, mx_b) = (both(draw(s, k), name) for k, s in enumerate([shape, shape[-1:], shape[-1:]]))
    assert_same(fast.rms_norm(x, w, 1e-5), mx.fast.rms_norm(mx_x, mx_w, 1e-5), name)
    assert_same(fast.rms_norm(x, None, 1e-2), mx.fast.rms_norm(mx_x, None, 1e-2), name)
    for ours, theirs in [
        ((w, b), (mx_w, mx_b)),
        ((None, b), (None, mx_b)),
        ((w, None), (mx_w, None)),
        ((None,) * 2,) * 2,
    ]:
        assert_same(fast.layer_norm(x, *ours, 1e-3), mx.fast.layer_norm(mx_x, *theirs, 1e-3), name)


def test_norms_promote_as_mlx():
    """The weight joins the promotion, a bias only with a weight."""
    x, w = bridge.ones((2, 3), bridge.float16), bridge.ones((3,), bridge.float32)
    assert fast.rms_norm(x, w, 1e-5).dtype is bridge.float32
    assert fast.layer_norm(x, w, None, 1e-5).dtype is bridge.float32
    assert fast.layer_norm(x, None, w, 1e-5).dtype is bridge.float16


def test_norms_of_large_halves():
    """Squares that float16 cannot hold are summed in float32."""
    x = bridge.full((1, 64), 1000, bridge.float16)
    assert fast.rms_norm(x, None, 0.0).tolist() == [[1] * 64]


@pytest.mark.parametrize("name", ["float32", "float16", "float64"])
@pytest.mark.parametrize("shape", [(2, 3, 8), (2, 4, 5, 8), (3, 1, 6), (1, 0, 8)])
@pytest.mark.parametrize("traditional", [True, False])
def test_rope(shape: tuple[int, ...], name: str, traditional: bool):
    """All or some features, offsets as a number or one a row, frequencies given or by a base: as MLX's."""
    x, mx_x = both(draw(shape, 1), name)
    batch = np.arange(shape[0], dtype=np.int32) * 3
    freqs = np.array([1.0, 3.0, 7.0], np.float32)
    cases = [
        (6, {"base": 1e4, "scale": 1.0, "offset": 0}, {}),
        (4, {"base": 100.0, "scale": 0.5, "offset": 7}, {}),
        (6, {"base": None, "scale": 2.0, "offset": 1}, {"freqs": freqs}),
        (2, {"base": 1e4, "scale": 1.0}, {"offset": batch}),
        (2, {"base": 1e4, "scale": 1.0}, {"offset": np.int32(5)}),
    ]
    for dims, numbers, arrays in cases:
        ours = {key: to_bridge(np.asarray(value)) for key, value in arrays.items()}
        theirs = {key: mx.array(value) for key, value in arrays.items()}
        got = fast.rope(x, dims, traditional=traditional, **numbers, **ours)
        want = mx.fast.rope(mx_x, dims, traditional=traditional, **numbers, **theirs)
        assert_same(got, want, name)


def attention(q, k, v, scale, mask=None, sinks=None):
    """In NumPy: one head of keys for each head of queries."""
    repeats = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, repeats, 1), np.repeat(v, repeats, 1)
    scores = scale * q @ np.swapaxes(k, -1, -2)
    if isinstance(mask, str):
        rows, columns = scores.shape[-2:]
        mask = np.tril(np.ones((rows, columns), bool), columns - rows)
    if mask is not None:
        scores = np.where(mask, scores, -1e300) if mask.dtype == bool else scores + mask
    sinks = np.full(q.shape[1], -np.inf) if sinks is None else sinks
    sinks = sinks.reshape(1, -1, 1, 1)
    highest = np.maximum(scores.max(-1, keepdims=True), sinks)
    powers = np.exp(scores - highest)
    total = powers.sum(-1, keepdims=True) + np.exp(sinks - highest)
    return powers / total @ v


@st.composite
def attentions(draw_):
    batch, kv_heads, repeats = (draw_(st.integers(1, 3)) for _ in range(3))
    queries, keys, features, values = (draw_(st.integers(1, 9)) for _ in range(4))
    heads = kv_heads * repeats
    q = draw((batch, heads, queries, features), 1)
    k, v = draw((batch, kv_heads, keys, features), 2), draw((batch, kv_heads, keys, values), 3)
    full = [batch, heads, queries, keys]
    shape = [draw_(st.sampled_from([extent, 1])) for extent in full][draw_(st.integers(0, 3)) :]
    mask = draw_(st.sampled_from([None, "causal", "bool", "added"]))
    if mask in ("bool", "added"):
        mask = draw(tuple(shape), 4) > 0 if mask == "bool" else draw(tuple(shape), 4)
    return q, k, v, mask, draw((heads,), 5) if draw_(st.booleans()) else None


@given(attentions(), st.sampled_from(sorted(CLOSE)), st.sampled_from([1, 40, 10**6]))
def test_attention(case, name: str, block: int):
    """Heads that share keys, every mask and sinks, in blocks of any size, agree with double precision in NumPy."""
    q, k, v, mask, sinks = case
    dtype = getattr(bridge, name)
    operands = [to_bridge(x).astype(dtype) for x in (q, k, v)]
    exact = [to_numpy(x.astype(bridge.float64)) for x in operands]
    extra = None if sinks is None else to_bridge(sinks).astype(dtype)
    given_mask = mask if mask is None or isinstance(mask, str) else to_bridge(mask)
    if isinstance(given_mask, bridge.array) and given_mask.dtype is not bridge.bool_:
        given_mask = given_mask.astype(dtype)
        mask = to_numpy(given_mask.astype(bridge.float64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast, "BLOCK", block)
        got = fast.scaled_dot_product_attention(*operands, scale=0.4, mask=given_mask, sinks=extra)
    assert got.dtype is dtype
    want = attention(*exact, 0.4, mask, None if extra is None else to_numpy(extra.astype(bridge.float64)))
    np.testing.assert_allclose(to_numpy(got.astype(bridge.float64)), want, rtol=0, atol=8 * CLOSE[name])


def test_attention_as_mlx():
    """MLX gives the same for queries that see no key, and for a causal mask of more queries than keys."""
    (q, mx_q), (k, mx_k), (v, mx_v) = (both(draw(s, 6), "float32") for s in [(1, 2, 9, 4), (1, 2, 5, 4), (1, 2, 5, 3)])
    for ours, theirs in [("causal",) * 2, (bridge.zeros((9, 5), bridge.bool_), mx.zeros((9, 5), mx.bool_))]:
        got = fast.scaled_dot_product_attention(q, k, v, scale=0.5, mask=ours)
        assert_same(got, mx.fast.scaled_dot_product_attention(mx_q, mx_k, mx_v, scale=0.5, mask=theirs), "float32")


def test_attention_in_blocks_of_queries():
    """A long sequence is cut into blocks: the scores are never held at once."""
    x = to_bridge(draw((1, 2, 2500, 8), 7).astype(np.float32))
    bridge.eval(x)
    bridge.clear_cache()
    before = bridge.get_active_memory()
    bridge.reset_peak_memory()
    got = fast.scaled_dot_product_attention(x, x, x, scale=0.3, mask="causal")
    bridge.eval(got)
    assert bridge.get_peak_memory() - before < 2 * 2500 * 2500 * 4
    wide = to_numpy(x).astype(np.float64)
    np.testing.assert_allclose(to_numpy(got), attention(wide, wide, wide, 0.3, "causal"), atol=1e-5)


@pytest.mark.parametrize(("queries", "keys"), [(0, 4), (3, 0)])
def test_attention_of_nothing(queries: int, keys: int):
    """Without queries the result is empty; without keys it is zero."""
    q, k = bridge.ones((2, 4, queries, 8)), bridge.ones((2, 2, keys, 8))
    got = fast.scaled_dot_product_attention(q, k, k, scale=1.0)
    assert got.shape == (2, 4, queries, 8)
    assert not got.size or got.max().item() == 0


def test_cross_entropy():
    """The loss of each row, in float32 for halves and float64 for float64, without overflow."""
    x = draw((4, 3, 7), 8) * 50
    targets = np.random.default_rng(9).integers(0, 7, (4, 3)).astype(np.int32)
    shifted = x - x.max(-1, keepdims=True)
    want = np.log(np.exp(shifted).sum(-1)) - np.take_along_axis(shifted, targets[..., None], -1)[..., 0]
    for name, close in {"float64": 1e-6, "float32": 1e-4, "float16": 0.1, "bfloat16": 0.6}.items():
        got = fast.cross_entropy(to_bridge(x).astype(getattr(bridge, name)), to_bridge(targets))
        assert got.dtype.name == ("float64" if name == "float64" else "float32")
        np.testing.assert_allclose(to_numpy(got), want, rtol=1e-6, atol=close)
    assert fast.cross_entropy(bridge.array([0.0, -float("inf")]), bridge.array(0)).item() == 0


@pytest.mark.parametrize("name", ["float32", "float16"])
@pytest.mark.parametrize(("state", "mask"), [(False, False), (True, False), (True, True)])
def test_gated_delta_update(name: str, state: bool, mask: bool):
    """Outputs and the last state as MLX's, heads shared, with a state to start from and steps left out."""
    shapes = [(2, 6, 2, 4), (2, 6, 2, 4), (2, 6, 4, 3), (2, 6, 4), (2, 6, 4)]
    values = [draw(s, 10 + k) for k, s in enumerate(shapes)]
    values[3:] = [1 / (1 + np.exp(-v)) for v in values[3:]]
    ours, theirs = zip(*(both(v, name) for v in values), strict=True)
    more, mx_more = [], []
    if state:
        extra, mx_extra = both(draw((2, 4, 3, 4), 20), "float32")
        more, mx_more = [extra], [mx_extra]
    if mask:
        kept = np.random.default_rng(3).random((2, 6)) < 0.6
        more.append(to_bridge(kept))
        mx_more.append(mx.array(kept))
    got, want = fast.gated_delta_update(*ours, *more), mx.fast.gated_delta_update(*theirs, *mx_more)
    assert isinstance(got, list)
    assert_same(got[0], want[0], "float16")
    assert_same(got[1], want[1], "float16")


X, Q = bridge.ones((2, 3, 8)), bridge.ones((2, 4, 5, 8))
WHOLE_Q = Q.astype(bridge.int32)
ROPE = {"traditional": False, "scale": 1.0, "offset": 0}
ATTEND = fast.scaled_dot_product_attention
REFUSED = [
    (lambda: fast.rms_norm(X, bridge.ones(7), 1e-5), "weight does not fit the last axis"),
    (lambda: fast.layer_norm(X, None, bridge.ones((1, 8)), 1e-5), "bias does not fit the last axis"),
    (lambda: fast.rms_norm(bridge.array(1.0), None, 1e-5), "0-d array"),
    (lambda: fast.rope(X[0], 8, base=1.0, **ROPE), r"\(B, ..., T, D\) is wanted"),
    (lambda: fast.rope(X, 3, base=1.0, **ROPE), "even number"),
    (lambda: fast.rope(X, 10, base=1.0, **ROPE), "even number"),
    (lambda: fast.rope(X, 8, base=None, **ROPE), "either base or freqs"),
    (lambda: fast.rope(X, 8, base=1.0, freqs=bridge.ones(4), **ROPE), "either base or freqs"),
    (lambda: fast.rope(X, 8, base=None, freqs=bridge.ones(3), **ROPE), r"shape \(4,\)"),
    (lambda: fast.rope(X, 8, base=1.0, **ROPE | {"offset": bridge.array([1, 2, 3])}), "one for each row"),
    (lambda: ATTEND(Q, Q, Q, scale=1.0, mask="all"), "unknown mask 'all'"),
    (lambda: ATTEND(Q, Q, Q, scale=1.0, mask=bridge.ones((5, 6))), "mask does not broadcast"),
    (lambda: ATTEND(Q, Q, Q, scale=1.0, mask=bridge.ones((1,) * 5)), "mask does not broadcast"),
    (lambda: ATTEND(Q, Q, Q, scale=1.0, sinks=bridge.ones(3)), r"sinks must have shape \(4,\)"),
    (lambda: ATTEND(Q[0], Q[0], Q[0], scale=1.0), "four axes"),
    (lambda: ATTEND(Q, Q[:1], Q[:1], scale=1.0), "batches differ"),
    (lambda: ATTEND(Q, Q[..., :4], Q, scale=1.0), "features of q and k"),
    (lambda: ATTEND(Q, Q, Q[:, :, :3], scale=1.0), "lengths of k and v"),
    (lambda: ATTEND(Q, Q[:, :3], Q[:, :3], scale=1.0), "no multiple"),
    (lambda: ATTEND(Q, Q, Q, scale=1.0, force_fused=True), "no fused kernel"),
    (lambda: fast.cross_entropy(X, bridge.zeros((2,), bridge.int32)), "shape of logits"),
    (lambda: fast.gated_delta_update(Q, Q, Q, Q[..., 0], Q[..., :2]), "shapes do not fit"),
]


@pytest.mark.parametrize(("act", "text"), REFUSED)
def test_refusals(act, text: str):
    """What does not fit raises ValueError that says why."""
    with pytest.raises(ValueError, match=text):
        act()


HALF, WHOLE = bridge.ones((2, 4, 5, 8), bridge.float16), bridge.ones((2, 8), bridge.int32)
DTYPES = [
    (lambda: fast.rms_norm(WHOLE, None, 1e-5), "floating point"),
    (lambda: fast.layer_norm(WHOLE.astype(bridge.complex64), None, None, 1e-5), "floating point"),
    (lambda: fast.rope(X.astype(bridge.int32), 8, base=1.0, **ROPE), "floating point"),
    (lambda: fast.rope(X, 8, base=1.0, **ROPE | {"offset": bridge.array(1.5)}), "offset must be an integer"),
    (
        lambda: ATTEND(WHOLE_Q, WHOLE_Q, WHOLE_Q, scale=1.0),
        "floating point",
    ),
    (lambda: ATTEND(HALF, HALF, HALF, scale=1.0, mask=bridge.zeros((5, 5))), "mask would need another dtype"),
    (lambda: ATTEND(HALF, HALF, HALF, scale=1.0, sinks=bridge.zeros(4)), "sinks would need another dtype"),
    (lambda: fast.cross_entropy(WHOLE, bridge.zeros((2,), bridge.int32)), "floating point"),
    (lambda: fast.cross_entropy(X, bridge.zeros((2, 3))), "targets must be integers"),
]


@pytest.mark.parametrize(("act", "text"), DTYPES)
def test_dtypes_refused(act, text: str):
    """What is no floating point number, or would need another dtype, raises DTypeError."""
    with pytest.raises(bridge.DTypeError, match=text):
        act()


def test_kernels_are_not_run():
    """Kernels in Metal and CUDA raise, whatever they are called with."""
    with pytest.raises(bridge.BridgeError, match="no kernels in Metal"):
        fast.metal_kernel("copy", ["a"], ["b"], "")
    with pytest.raises(bridge.BridgeError, match="no kernels in CUDA"):
        fast.cuda_kernel("copy", ["a"], ["b"], "")
    settings = dict.fromkeys(
        ("name", "compiled_source", "inputs", "output_shapes", "output_dtypes", "scalars", "grid", "threadgroup")
    )
    with pytest.raises(bridge.BridgeError, match="no kernels in CUDA"):
        fast.precompiled_cuda_kernel(**settings)


def test_names():
    """Everything that MLX has in its module is here."""
    public = {name for name in dir(mx.fast) if not name.startswith("_")}
    assert public <= set(fast.__all__)
    assert all(inspect.isfunction(inspect.unwrap(getattr(fast, name))) for name in fast.__all__)
