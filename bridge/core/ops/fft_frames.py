"""Overlapping frames of a signal, and a signal put together from them: what short-time Fourier transforms work on."""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from bridge.core._native import array
from bridge.core.dtypes import complex64, complex128, float32, float64
from bridge.core.errors import message
from bridge.core.ops.create import ones, zeros
from bridge.core.ops.host import Spec, describe, host
from bridge.core.ops.shape import as_array, broadcast_to, concatenate, flip
from bridge.core.ops.types import Stream

COMPUTED = frozenset({float32, float64, complex64, complex128})


@host(
    "fft",
    accepts=COMPUTED,
    result=lambda a, length, hop: _cut(a, length, hop),
    kernel=lambda a, length, hop: numpy.lib.stride_tricks.sliding_window_view(a, length, -1)[..., ::hop, :],
    transpose=lambda g, a, length, hop: overlap_add(g, a.shape[-1], hop),
)
def frames(a: array, /, length: int, hop: int, *, stream: Stream = None) -> array:
    """Frames of `length` elements of the last axis, one every `hop` elements: shape (..., count, length)."""


@host(
    "fft",
    accepts=COMPUTED,
    result=lambda a, size, hop: (a.dtype, (*a.shape[:-2], size)),
    kernel=lambda a, size, hop: _sum_of_frames(a, size, hop),
    transpose=lambda g, a, size, hop: frames(g, a.shape[-1], hop)[..., : a.shape[-2], :],
)
def overlap_add(a: array, /, size: int, hop: int, *, stream: Stream = None) -> array:
    """Sum of frames, each `hop` elements behind the one before: the transpose of `frames`."""


def _cut(a: array, length: int, hop: int) -> Spec:
    return a.dtype, (*a.shape[:-1], (a.shape[-1] - length) // hop + 1, length)


def _sum_of_frames(a: Any, size: int, hop: int) -> Any:
    total = numpy.zeros((*a.shape[:-2], size), a.dtype)
    for k in range(a.shape[-2]):
        total[..., k * hop : k * hop + a.shape[-1]] += a[..., k, :]
    return total


def hop(name: str, n_fft: int, hop_length: int | None) -> int:
    hop = n_fft // 4 if hop_length is None else hop_length
    if n_fft < 1 or hop < 1:
        raise ValueError(message(f"bridge.fft.{name}", "frames and the way between them have at least one element."))
    return hop


def window(name: str, n_fft: int, win_length: int | None, window: array | None) -> array:
    """The window with zeros at both ends, as long as a frame."""
    wanted = n_fft if win_length is None else win_length
    inner = ones((wanted,)) if window is None else as_array(window)
    if inner.ndim != 1 or inner.shape[0] > n_fft or (win_length is not None and inner.shape[0] != win_length):
        want = f"one axis of {n_fft if win_length is None else win_length} elements"
        raise ValueError(message(f"bridge.fft.{name}", "the window does not fit.", got=describe(inner), want=want))
    before = (n_fft - inner.shape[0]) // 2
    behind = n_fft - inner.shape[0] - before
    if before == behind == 0:
        return inner
    return concatenate([zeros((before,), inner.dtype), inner, zeros((behind,), inner.dtype)])


def continued(x: array, by: int, mode: str) -> array:
    """The last axis with `by` elements more at both ends."""
    if mode not in CONTINUATIONS:
        want = ", ".join(map(repr, CONTINUATIONS))
        raise ValueError(message("bridge.fft.stft", f"there is no pad_mode {mode!r}.", want=want))
    if x.ndim < 1 or x.shape[-1] <= (by if mode == "reflect" else 0):
        text = f"the signal is too short to continue it by {by} elements."
        raise ValueError(message("bridge.fft.stft", text, got=describe(x), fix="pad_mode='constant', or center=False"))
    if by == 0:
        return x
    before, behind = CONTINUATIONS[mode](x, by)
    return concatenate([before, x, behind], -1)


def _edge(one: array, by: int) -> array:
    return broadcast_to(one, (*one.shape[:-1], by))


CONTINUATIONS: dict[str, Callable[[array, int], tuple[array, array]]] = {
    "reflect": lambda x, by: (flip(x[..., 1 : by + 1], -1), flip(x[..., -by - 1 : -1], -1)),
    "constant": lambda x, by: (zeros((*x.shape[:-1], by), x.dtype),) * 2,
    "edge": lambda x, by: (_edge(x[..., :1], by), _edge(x[..., -1:], by)),
}


def of_length(x: array, length: int) -> array:
    missing = length - x.shape[-1]
    return x[..., :length] if missing <= 0 else concatenate([x, zeros((*x.shape[:-1], missing), x.dtype)], -1)
