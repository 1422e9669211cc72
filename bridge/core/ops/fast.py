"""`bridge.fast`: what layers of neural networks spend their time in, under MLX's names.

float16 and bfloat16 are computed in float32 and rounded once. Everything here is made of other operations, so
it is differentiated like them. Kernels written in Metal or CUDA are not run: `metal_kernel`, `cuda_kernel` and
`precompiled_cuda_kernel` raise.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from bridge.core._native import Dtype, array, result_type
from bridge.core.dtypes import FLOATING, INTEGER, bool_, float32, float64
from bridge.core.errors import BridgeError, DTypeError, message
from bridge.core.ops import placed
from bridge.core.ops.arithmetic import maximum, multiply, square, subtract
from bridge.core.ops.compare import equal, less_equal, where
from bridge.core.ops.contract import matmul
from bridge.core.ops.create import arange, zeros
from bridge.core.ops.exponential import exp, rsqrt
from bridge.core.ops.reduce import logsumexp, mean
from bridge.core.ops.reduce import max as highest_of
from bridge.core.ops.reduce import sum as sum_of
from bridge.core.ops.shape import (
    broadcast_to,
    concatenate,
    describe,
    expand_dims,
    repeat,
    reshape,
    stack,
    swapaxes,
)
from bridge.core.ops.trigonometric import cos, sin
from bridge.core.ops.types import Stream

__all__ = [
    "cross_entropy",
    "cuda_kernel",
    "gated_delta_update",
    "layer_norm",
    "metal_kernel",
    "precompiled_cuda_kernel",
    "rms_norm",
    "rope",
    "scaled_dot_product_attention",
]

BLOCK = 4 << 20  # scores that attention holds at a time


# Normalisation


def rms_norm(x: array, weight: array | None, eps: float, *, stream: Stream = None) -> array:
    """The last axis divided by its root mean square, times `weight`.

    Args:
        weight: 1-d, as long as the last axis; None scales by nothing.
        eps: added to the mean square.

    Raises:
        DTypeError: `x` is no array of floating point numbers.
        ValueError: the weight does not fit the last axis.
    """
    wide = _normalised("rms_norm", x, weight=weight)
    scaled = multiply(wide, rsqrt(mean(square(wide), -1, True) + eps), stream=stream)
    return _scaled(scaled, x, weight, None)


def layer_norm(x: array, weight: array | None, bias: array | None, eps: float, *, stream: Stream = None) -> array:
    """The last axis less its mean, divided by its standard deviation, times `weight`, plus `bias`.

    Args:
        weight, bias: 1-d, as long as the last axis; or None.
        eps: added to the variance.

    Raises:
        DTypeError: `x` is no array of floating point numbers.
        ValueError: weight or bias do not fit the last axis.
    """
    wide = _normalised("layer_norm", x, weight=weight, bias=bias)
    middle = mean(wide, -1, True)
    # The difference is formed twice: it costs less to compute again than to store.
    spread = rsqrt(mean(square(wide - middle), -1, True) + eps)
    return _scaled(multiply(wide - middle, spread, stream=stream), x, weight, bias)


def _normalised(op: str, x: array, **vectors: array | None) -> array:
    """`x` in the dtype that is computed in, once it and the vectors are known to fit."""
    wide = _wide(op, x)
    if x.ndim == 0:
        raise ValueError(message(f"bridge.fast.{op}", "a 0-d array has no axis to normalise", got=describe(x)))
    for name, vector in vectors.items():
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(
                message(
                    f"bridge.fast.{op}",
                    f"the {name} does not fit the last axis",
                    got=f"x {describe(x)}, {name} {describe(vector)}",
                    want=f"shape ({x.shape[-1]},)",
                )
            )
    return wide


def _scaled(wide: array, x: array, weight: array | None, bias: array | None) -> array:
    """As MLX has it, the bias joins the promotion only where there is a weight."""
    dtype = x.dtype
    if weight is not None:
        dtype = result_type(x, weight) if bias is None else result_type(x, weight, bias)
        wide = wide * weight
    return (wide if bias is None else wide + bias).astype(dtype)


# Positions


def rope(
    a: array,
    dims: int,
    *,
    traditional: bool,
    base: float | None,
    scale: float,
    offset: int | array,
    freqs: array | None = None,
    stream: Stream = None,
) -> array:
    """Rotary positions: pairs of features turned by angles that grow with the position.

    Args:
        a: shape (B, ..., T, D).
        dims: how many features are turned, an even number; the rest are left as they are.
        traditional: neighbouring features are a pair; otherwise feature k of the first half and of the second.
        base: pair k turns by ``base ** (-2 k / dims)`` a position. None: `freqs` says how.
        scale: of the positions.
        offset: the first position; or B of them, one for each row of the batch.
        freqs: instead of `base`: positions for one radian, a 1-d array with an entry for each pair.

    Raises:
        DTypeError: `a` is no array of floating point numbers.
        ValueError: shapes or settings do not fit.
    """
    wide, pairs = _wide("rope", a), _pairs(a, dims, base, freqs)
    angles = expand_dims(_positions(a, offset).astype(wide.dtype) * scale, -1) * _turns(pairs, base, freqs, wide.dtype)
    if angles.ndim == 3:  # (B, T, pairs)
        angles = reshape(angles, (a.shape[0], *(1,) * (a.ndim - 3), *angles.shape[1:]))
    cosine, sine = cos(angles), sin(angles)
    turned, rest = wide[..., :dims], a[..., dims:]
    if traditional:
        split = reshape(turned, (*a.shape[:-1], pairs, 2))
        first, second = split[..., 0], split[..., 1]
    else:
        first, second = turned[..., :pairs], turned[..., pairs:]
    parts = [multiply(first, cosine, stream=stream) - second * sine, first * sine + second * cosine]
    result = reshape(stack(parts, -1), turned.shape) if traditional else concatenate(parts, -1)
    result = result.astype(a.dtype)
    return concatenate([result, rest], -1) if rest.shape[-1] else result


def _pairs(a: array, dims: int, base: float | None, freqs: array | None) -> int:
    problem = None
    if a.ndim < 3:
        problem = "an array (B, ..., T, D) is wanted"
    elif dims <= 0 or dims % 2 or dims > a.shape[-1]:
        problem = "dims must be an even number, positive and at most D"
    elif (base is None) == (freqs is None):
        problem = "either base or freqs is wanted"
    elif freqs is not None and freqs.shape != (dims // 2,):
        problem = f"freqs must have shape ({dims // 2},)"
    if problem:
        got = describe(a) + f", dims={dims}" + (f", freqs {describe(freqs)}" if freqs is not None else "")
        raise ValueError(message("bridge.fast.rope", problem, got=got))
    return dims // 2


def _positions(a: array, offset: int | array) -> array:
    """Integers of shape (T,), or (B, T)."""
    rows = arange(a.shape[-2])
    if not isinstance(offset, array):
        return rows + operator.index(offset)
    if offset.dtype not in INTEGER:
        raise DTypeError(message("bridge.fast.rope", "offset must be an integer", got=describe(offset)))
    if offset.ndim > 1 or offset.shape not in ((), (1,), a.shape[:1]):
        raise ValueError(
            message(
                "bridge.fast.rope",
                "offset is neither one number nor one for each row of the batch",
                got=f"{describe(a)}, offset {describe(offset)}",
            )
        )
    return rows + (expand_dims(offset, -1) if offset.ndim and offset.size > 1 else reshape(offset, ()))


def _turns(pairs: int, base: float | None, freqs: array | None, dtype: Dtype) -> array:
    """Radians a position, for each pair."""
    if freqs is not None:
        return 1 / freqs.astype(dtype)
    assert base is not None
    return exp(arange(pairs, dtype=dtype) * (-math.log(base) / pairs))


# Attention


def scaled_dot_product_attention(
    q: array,
    k: array,
    v: array,
    *,
    scale: float,
    mask: str | array | None = None,
    sinks: array | None = None,
    force_fused: bool = False,
    stream: Stream = None,
) -> array:
    """``softmax(scale * q @ k.T + mask) @ v`` for many heads, without holding all scores at once.

    Args:
        q: shape (B, N_q, T_q, D).
        k, v: shapes (B, N_kv, T_kv, D) and (B, N_kv, T_kv, D_v). N_q is a multiple of N_kv: neighbouring heads of `q`
            share one head of `k` and `v`.
        mask: "causal" hides later keys, the last query aligned with the last key; a bool array keeps the scores where
            it is True; any other array is added to the scores. Arrays broadcast to (B, N_q, T_q, T_kv).
        sinks: for each head of `q` a further score that takes its share of the softmax and gives nothing.
        force_fused: asks for one kernel, which only a GPU has: raises.

    Returns:
        Shape (B, N_q, T_q, D_v). A query from which a bool mask hides every key gets the mean of `v`, as in MLX.

    Raises:
        DTypeError: operands are no floating point numbers, or mask or sinks would need another dtype than the result's.
        ValueError: shapes do not fit, or the mask is another text than "causal".
    """
    dtype = _check_attention(q, k, v, mask, sinks, force_fused)
    wide = float64 if dtype is float64 else float32
    batch, heads, queries, _ = q.shape
    kv_heads, keys = k.shape[1:3]
    if q.size == 0 or keys == 0 or v.size == 0:
        return zeros((batch, heads, queries, v.shape[-1]), dtype)
    columns, values = swapaxes(k.astype(wide), -1, -2), v.astype(wide)
    rows = multiply(q.astype(wide), scale, stream=stream)
    step = max(BLOCK // (batch * heads * keys), 32)
    parts = []
    for start in range(0, queries, step):
        stop = min(start + step, queries)
        last = start + keys - queries  # the last key that the first of these queries sees
        seen = min(stop + keys - queries, keys) if isinstance(mask, str) and last >= 0 else keys
        block = reshape(rows[:, :, start:stop], (batch, kv_heads, heads // kv_heads * (stop - start), -1))
        scores = reshape(matmul(block, columns[..., :seen]), (batch, heads, stop - start, seen))
        if isinstance(mask, str):
            scores = _kept(scores, less_equal(arange(seen), expand_dims(arange(last, last + stop - start), -1)))
        elif mask is not None:
            part = broadcast_to(mask, (*mask.shape[:-2], queries, keys))[..., start:stop, :]
            scores = _kept(scores, part) if mask.dtype is bool_ else scores + part.astype(wide)
        parts.append(_weighted(scores, values[:, :, :seen], sinks).astype(dtype))
    return parts[0] if len(parts) == 1 else concatenate(parts, 2)


def _weighted(scores: array, values: array, sinks: array | None) -> array:
    """Means of the values, weighted by the softmax of the scores. The division comes last, where there is least."""
    batch, heads, queries, keys = scores.shape
    highest = highest_of(scores, -1, True)
    if sinks is not None:
        sinks = reshape(sinks.astype(scores.dtype), (1, heads, 1, 1))
        highest = maximum(highest, sinks)
    weights = exp(scores - highest)
    total = sum_of(weights, -1, True)
    if sinks is not None:
        total = total + exp(sinks - highest)
    summed = matmul(reshape(weights, (batch, values.shape[1], -1, keys)), values)
    return reshape(summed, (batch, heads, queries, -1)) / total


def _kept(scores: array, kept: array) -> array:
    """Hidden scores become the lowest finite number, so that a query that sees nothing weighs all keys alike."""
    lowest = -sys.float_info.max if scores.dtype is float64 else -3.4028234663852886e38
    return where(kept, scores, lowest)


def _check_attention(
    q: array, k: array, v: array, mask: str | array | None, sinks: array | None, force_fused: bool
) -> Dtype:
    """The dtype of the result."""
    op = "bridge.fast.scaled_dot_product_attention"
    dtype = result_type(q, k, v)
    got = f"q {describe(q)}, k {describe(k)}, v {describe(v)}"
    for name, operand in (("mask", mask), ("sinks", sinks)):
        got += f", {name} {describe(operand)}" if isinstance(operand, array) else ""
    if dtype not in FLOATING:
        raise DTypeError(message(op, "floating point numbers are wanted", got=got))
    if isinstance(mask, array) and mask.dtype is not bool_ and result_type(mask, dtype) is not dtype:
        raise DTypeError(message(op, "the mask would need another dtype than the result's", got=got))
    if sinks is not None and result_type(sinks, dtype) is not dtype:
        raise DTypeError(message(op, "the sinks would need another dtype than the result's", got=got))
    problem = _misfit(q, k, v, mask, sinks)
    if force_fused:
        problem = "there is no fused kernel on the CPU (force_fused=True)"
    if problem:
        raise ValueError(message(op, problem, got=got))
    return dtype


def _misfit(q: array, k: array, v: array, mask: str | array | None, sinks: array | None) -> str | None:
    """What does not fit, or None."""
    if q.ndim != 4 or k.ndim != 4 or v.ndim != 4:
        return "q, k and v must have four axes: (B, heads, T, D)"
    if not q.shape[0] == k.shape[0] == v.shape[0]:
        return "the batches differ"
    if q.shape[3] != k.shape[3]:
        return "the features of q and k differ"
    if k.shape[1:3] != v.shape[1:3]:
        return "the heads or the lengths of k and v differ"
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        return "the heads of q are no multiple of those of k and v"
    if isinstance(mask, str):
        return None if mask == "causal" else f"unknown mask {mask!r}: an array, or 'causal'"
    scores = (*q.shape[:3], k.shape[2])
    if mask is not None and (
        mask.ndim > 4 or any(have not in (1, want) for have, want in zip(mask.shape[::-1], scores[::-1], strict=False))
    ):
        return f"the mask does not broadcast to {scores}"
    if sinks is not None and sinks.shape != q.shape[1:2]:
        return f"sinks must have shape ({q.shape[1]},)"
    return None


# Losses and recurrences


def cross_entropy(logits: array, targets: array, *, stream: Stream = None) -> array:
    """``logsumexp(logits, -1) - logits[..., target]``: the loss for each row.

    Args:
        logits: floating point numbers; the classes are the last axis.
        targets: class indices in [0, logits.shape[-1]), of the shape of `logits` without its last axis. What an index
            outside of it gives is not defined.

    Returns:
        float32, or float64 for float64.

    Raises:
        DTypeError: logits are no floating point numbers, or targets no integers.
        ValueError: the shapes do not fit.
    """
    wide = _wide("cross_entropy", logits)
    got = f"logits {describe(logits)}, targets {describe(targets)}"
    if targets.dtype not in INTEGER:
        raise DTypeError(message("bridge.fast.cross_entropy", "targets must be integers", got=got))
    if logits.ndim == 0 or targets.shape != logits.shape[:-1]:
        raise ValueError(
            message("bridge.fast.cross_entropy", "targets must have the shape of logits without the last axis", got=got)
        )
    chosen = where(equal(arange(logits.shape[-1]), expand_dims(targets, -1)), wide, 0)
    return subtract(logsumexp(wide, -1), sum_of(chosen, -1), stream=stream)


def gated_delta_update(
    q: array,
    k: array,
    v: array,
    gamma: array,
    beta: array,
    initial_state: array | None = None,
    mask: array | None = None,
    stream: Stream = None,
) -> list[array]:
    """A gated delta network over a sequence.

    At each step the state S, a matrix (Dv, Dk) for each head, becomes ``S' + beta (v - S' k) k^T`` with
    ``S' = gamma S``, and the output is ``S q``. Neighbouring heads of `v` share one head of `q` and `k`.

    Args:
        q, k: shape (B, T, Hk, Dk).
        v: shape (B, T, Hv, Dv); Hv is a multiple of Hk.
        gamma, beta: shape (B, T, Hv).
        initial_state: shape (B, Hv, Dv, Dk); None: zeros.
        mask: bool of shape (B, T). Where it is False the state stays as it is and the output is zero.

    Returns:
        The outputs, (B, T, Hv, Dv), in the promoted dtype of q, k and v; and the last state, in float32 or float64.

    Raises:
        DTypeError: an operand is no array of floating point numbers.
        ValueError: the shapes do not fit.
    """
    operands = {"q": q, "k": k, "v": v, "gamma": gamma, "beta": beta}
    wide = [_wide("gated_delta_update", operand) for operand in operands.values()]
    _check_recurrence(operands, initial_state, mask)
    dtype, exact = result_type(q, k, v), result_type(*wide)
    dtype, exact = result_type(q, k, v), result_type(*wide)
    batch, steps, heads, features = v.shape
    repeats = heads // q.shape[2]
    query, key = (expand_dims(repeat(one, repeats, 2), -1) for one in wide[:2])
    value, decay, rate = expand_dims(wide[2], -1), *(reshape(one, (*one.shape, 1, 1)) for one in wide[3:])
    state = zeros((batch, heads, features, k.shape[-1]), exact)
    if initial_state is not None:
        state = initial_state.astype(exact)
    outputs = []
    for t in range(steps):
        faded = multiply(state, decay[:, t], stream=stream)
        change = (value[:, t] - matmul(faded, key[:, t])) * rate[:, t]
        after = faded + change * swapaxes(key[:, t], -1, -2)
        output = matmul(after, query[:, t])[..., 0]
        if mask is not None:
            kept = reshape(mask[:, t], (batch, 1, 1))
            after, output = where(expand_dims(kept, -1), after, state), where(kept, output, 0)
        state = after
        outputs.append(output)
    result = stack(outputs, 1) if outputs else zeros(v.shape, exact)
    return [result.astype(dtype), state]


def _check_recurrence(operands: dict[str, array], state: array | None, mask: array | None) -> None:
    q, k, v = (operands[name] for name in "qkv")
    given = operands | {name: one for name, one in (("initial_state", state), ("mask", mask)) if one is not None}
    got = ", ".join(f"{name} {describe(one)}" for name, one in given.items())
    fits = q.ndim == v.ndim == 4 and q.shape == k.shape and q.shape[:2] == v.shape[:2]
    fits = fits and q.shape[2] > 0 and v.shape[2] % q.shape[2] == 0
    fits = fits and operands["gamma"].shape == operands["beta"].shape == v.shape[:3]
    fits = fits and (state is None or state.shape == (v.shape[0], *v.shape[2:], q.shape[3]))
    fits = fits and (mask is None or mask.shape == v.shape[:2])
    if not fits:
        raise ValueError(
            message(
                "bridge.fast.gated_delta_update",
                "the shapes do not fit",
                got=got,
                want="q and k (B, T, Hk, Dk), v (B, T, Hv, Dv), gamma and beta (B, T, Hv), initial_state "
                "(B, Hv, Dv, Dk), mask (B, T)",
            )
        )


def _wide(op: str, a: array) -> array:
    """The values in the dtype that is computed in: float64, or float32 for the others."""
    if a.dtype not in FLOATING:
        raise DTypeError(message(f"bridge.fast.{op}", "floating point numbers are wanted", got=describe(a)))
    return a.astype(float32) if a.dtype.size == 2 else a


# Kernels of the user's


def metal_kernel(
    name: str,
    input_names: Sequence[str],
    output_names: Sequence[str],
    source: str,
    header: str = "",
    ensure_row_contiguous: bool = True,
    atomic_outputs: bool = False,
    compile_options: object | None = None,
) -> NoReturn:
    """Raises: kernels in Metal are not run.

    Raises:
        BridgeError: always.
    """
    _refuse_kernel("metal_kernel", "Metal")


def cuda_kernel(
    name: str,
    input_names: Sequence[str],
    output_names: Sequence[str],
    source: str,
    header: str = "",
    ensure_row_contiguous: bool = True,
    shared_memory: int = 0,
) -> NoReturn:
    """Raises: kernels in CUDA are not run.

    Raises:
        BridgeError: always.
    """
    _refuse_kernel("cuda_kernel", "CUDA")


def precompiled_cuda_kernel(
    *,
    name: str,
    compiled_source: bytes,
    inputs: Sequence[Any],
    output_shapes: Sequence[tuple[int, ...]],
    output_dtypes: Sequence[Dtype],
    scalars: Sequence[object],
    grid: tuple[int, int, int],
    threadgroup: tuple[int, int, int],
    shared_memory: int = 0,
    init_value: float | None = None,
    ensure_row_contiguous: bool = False,
    stream: Stream = None,
) -> NoReturn:
    """Raises: kernels in CUDA are not run.

    Raises:
        BridgeError: always.
    """
    _refuse_kernel("precompiled_cuda_kernel", "CUDA")


def _refuse_kernel(op: str, language: str) -> NoReturn:
    raise BridgeError(
        message(f"bridge.fast.{op}", f"bridge runs no kernels in {language}", fix="write it with operations of bridge")
    )


placed.replace([sys.modules[__name__]])
