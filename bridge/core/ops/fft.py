"""Discrete Fourier transforms: `bridge.fft`, computed by NumPy.

float64 and complex128 give complex128, everything else complex64; real results are float64 and float32 likewise.
Everything is lazy. `norm` says which direction is divided by the number of points: "backward" the inverse, "forward"
the forward one, "ortho" each by its square root. `n` and `s` cut the input or fill it with zeros before the transform.
Names and arguments are MLX's and those of the Python array API.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy

from bridge.core._native import Dtype, array
from bridge.core.dtypes import COMPLEX, complex64, complex128, float32, float64
from bridge.core.errors import DTypeError, message
from bridge.core.held import check_computed
from bridge.core.ops import fft_frames as parts
from bridge.core.ops import placed
from bridge.core.ops.arithmetic import conjugate, divide, multiply, real, square
from bridge.core.ops.compare import greater, where
from bridge.core.ops.create import arange, zeros
from bridge.core.ops.host import Spec, describe, host
from bridge.core.ops.shape import as_array, broadcast_to, concatenate, normalize_axes, roll, swapaxes
from bridge.core.ops.shape import reshape as reshaped
from bridge.core.ops.types import Axis, Shape, Stream

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "istft",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
    "stft",
]

INVERSE_NORM = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
WIDE = frozenset({float64, complex128})


# Three primitives, each over axes in their full extent; the functions below cut, fill and combine.


@host(
    "fft",
    accepts=frozenset({complex64, complex128}),
    result=lambda a, axes, inverse, norm: (a.dtype, a.shape),
    kernel=lambda a, axes, inverse, norm: (numpy.fft.ifftn if inverse else numpy.fft.fftn)(a, axes=axes, norm=norm),
    transpose=lambda g, a, axes, inverse, norm: complex_transform(g, axes, inverse, norm),
    batching=lambda size, batched, a, axes, inverse, norm: complex_transform(a, _behind(axes), inverse, norm),
)
def complex_transform(a: array, /, axes: tuple[int, ...], inverse: bool, norm: str, *, stream: Stream = None) -> array:
    """Transform of complex numbers along axes that are counted from the front."""


@host(
    "fft",
    accepts=frozenset({float32, float64}),
    result=lambda a, axis, norm: _half(a, axis),
    kernel=lambda a, axis, norm: numpy.fft.rfft(a, axis=axis, norm=norm),
    transpose=lambda g, a, axis, norm: real(complex_transform(_resized(g, axis, a.shape[axis]), (axis,), False, norm)),
    batching=lambda size, batched, a, axis, norm: real_transform(a, axis + 1, norm),
)
def real_transform(a: array, /, axis: int, norm: str, *, stream: Stream = None) -> array:
    """Transform of real numbers: the n // 2 + 1 frequencies that are not negative."""


@host(
    "fft",
    accepts=frozenset({complex64, complex128}),
    result=lambda a, axis, n, norm: _whole(a, axis, n),
    kernel=lambda a, axis, n, norm: numpy.fft.irfft(a, n, axis, norm),
    transpose=lambda g, a, axis, n, norm: multiply(
        conjugate(real_transform(g, axis, INVERSE_NORM[norm])), _weights(a, axis, n)
    ),
    batching=lambda size, batched, a, axis, n, norm: real_inverse(a, axis + 1, n, norm),
)
def real_inverse(a: array, /, axis: int, n: int, norm: str, *, stream: Stream = None) -> array:
    """Inverse of `real_transform`: n real numbers from n // 2 + 1 complex ones."""


def fft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Stream = None) -> array:
    """Transform along one axis."""
    return _complex("fft", a, n, axis, norm, False, stream)


def ifft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Stream = None) -> array:
    """Inverse transform along one axis."""
    return _complex("ifft", a, n, axis, norm, True, stream)


def rfft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Stream = None) -> array:
    """Transform of real numbers along one axis: the n // 2 + 1 frequencies that are not negative.

    Raises:
        DTypeError: the array is complex.
    """
    return _rfftn("rfft", a, _one(n), (axis,), norm, stream)


def irfft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Stream = None) -> array:
    """Inverse of `rfft`: n real numbers, n being ``2 * (a.shape[axis] - 1)`` by default."""
    return _irfftn("irfft", a, _one(n), (axis,), norm, stream)


def hfft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Stream = None) -> array:
    """Transform of a Hermitian signal given by its first half: n real numbers."""
    return _irfftn("hfft", conjugate(_as_complex(as_array(a))), _one(n), (axis,), _inverse("hfft", norm), stream)


def ihfft(a: array, n: int | None = None, axis: int = -1, norm: str = "backward", stream: Stream = None) -> array:
    """Inverse of `hfft`: the first half of the Hermitian signal."""
    return conjugate(_rfftn("ihfft", a, _one(n), (axis,), _inverse("ihfft", norm), stream))


def fft2(
    a: array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str = "backward",
    stream: Stream = None,
) -> array:
    """Transform along two axes."""
    return _complex("fft2", a, s, axes, norm, False, stream)


def ifft2(
    a: array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str = "backward",
    stream: Stream = None,
) -> array:
    """Inverse transform along two axes."""
    return _complex("ifft2", a, s, axes, norm, True, stream)


def rfft2(
    a: array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str = "backward",
    stream: Stream = None,
) -> array:
    """Transform of real numbers along two axes; the last of them keeps the frequencies that are not negative."""
    return _rfftn("rfft2", a, s, axes, norm, stream)


def irfft2(
    a: array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = (-2, -1),
    norm: str = "backward",
    stream: Stream = None,
) -> array:
    """Inverse of `rfft2`."""
    return _irfftn("irfft2", a, s, axes, norm, stream)


def fftn(
    a: array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
    stream: Stream = None,
) -> array:
    """Transform along several axes: by default all, or the last ones that `s` has extents for."""
    return _complex("fftn", a, s, axes, norm, False, stream)


def ifftn(
    a: array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
    stream: Stream = None,
) -> array:
    """Inverse transform along several axes."""
    return _complex("ifftn", a, s, axes, norm, True, stream)


def rfftn(
    a: array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
    stream: Stream = None,
) -> array:
    """Transform of real numbers along several axes; the last of them keeps the frequencies that are not negative."""
    return _rfftn("rfftn", a, s, axes, norm, stream)


def irfftn(
    a: array,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
    stream: Stream = None,
) -> array:
    """Inverse of `rfftn`; the last extent is ``2 * (n - 1)`` by default."""
    return _irfftn("irfftn", a, s, axes, norm, stream)


def stft(
    x: array,
    n_fft: int = 2048,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: array | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    norm: str = "backward",
    onesided: bool | None = None,
    stream: Stream = None,
) -> array:
    """Transforms of overlapping frames of the last axis: shape (..., frequencies, frames).

    Args:
        n_fft: points of a frame.
        hop_length: elements from one frame to the next; None: a quarter of `n_fft`.
        win_length: elements of the window; None: `n_fft`.
        window: what every frame is multiplied by, centred in it; None: ones.
        center: frames are centred on their place: both ends are continued by half a frame, as `pad_mode` says
            ("reflect", "constant" or "edge").
        onesided: only the frequencies that are not negative; None: of real numbers.
    """
    x = as_array(x)
    check_computed("fft.stft", x.dtype)
    x = x if x.dtype in parts.COMPUTED else x.astype(float32)
    hop = parts.hop("stft", n_fft, hop_length)
    if onesided is None:
        onesided = x.dtype not in COMPLEX
    if center:
        x = parts.continued(x, n_fft // 2, pad_mode)
    if x.ndim < 1 or x.shape[-1] < n_fft:
        raise ValueError(message("bridge.fft.stft", f"the signal is shorter than a frame of {n_fft}.", got=describe(x)))
    cut = multiply(parts.frames(x, n_fft, hop, stream=stream), parts.window("stft", n_fft, win_length, window))
    return swapaxes((rfft if onesided else fft)(cut, norm=norm), -1, -2)


def istft(
    stft_matrix: array,
    n_fft: int | None = None,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: array | None = None,
    center: bool = True,
    norm: str = "backward",
    onesided: bool | None = None,
    length: int | None = None,
    stream: Stream = None,
) -> array:
    """Inverse of `stft`: the frames transformed back, windowed, added up and divided by the squares of the windows.

    Args:
        n_fft: None: told from the number of frequencies, as an even one.
        onesided: None is True.
        length: elements of the result, which is cut or filled with zeros.
    """
    spectrum = as_array(stft_matrix)
    if spectrum.ndim < 2:
        got = describe(spectrum)
        raise ValueError(message("bridge.fft.istft", "frequencies and frames are wanted.", got=got, want="two axes"))
    half = onesided is None or onesided
    if n_fft is None:
        n_fft = 2 * (spectrum.shape[-2] - 1) if half else spectrum.shape[-2]
    hop = parts.hop("istft", n_fft, hop_length)
    scale = parts.window("istft", n_fft, win_length, window)
    turned = swapaxes(spectrum, -1, -2)
    cut = irfft(turned, n_fft, norm=norm, stream=stream) if half else ifft(turned, n_fft, norm=norm, stream=stream)
    count = cut.shape[-2]
    size = n_fft + hop * (count - 1)
    total = parts.overlap_add(multiply(cut, scale), size, hop)
    weight = parts.overlap_add(broadcast_to(square(scale), (count, n_fft)), size, hop)
    signal = divide(total, where(greater(weight, 1e-10), weight, 1))
    start = n_fft // 2 if center else 0
    if length is None:
        return signal[..., start : size - start]
    return parts.of_length(signal[..., start:], length)


def fftfreq(
    n: int, d: float = 1.0, stream: Stream = None, *, dtype: Dtype | None = None, device: Stream = None
) -> array:
    """Frequencies of the n points of `fft` of samples at distance `d`: those from 0 up, then the negative ones."""
    steps = _frequency_steps("fftfreq", n, dtype, device if stream is None else stream)
    return divide(where(steps < (n + 1) // 2, steps, steps - n), n * d)


def rfftfreq(
    n: int, d: float = 1.0, stream: Stream = None, *, dtype: Dtype | None = None, device: Stream = None
) -> array:
    """Frequencies of the n // 2 + 1 points of `rfft` of n samples at distance `d`."""
    return divide(_frequency_steps("rfftfreq", n, dtype, device if stream is None else stream)[: n // 2 + 1], n * d)


def fftshift(a: array, axes: Axis = None, stream: Stream = None) -> array:
    """Frequency 0 moved from the front of the axes to their middle."""
    a = as_array(a)
    moved = normalize_axes(a, axes)
    return roll(a, [a.shape[axis] // 2 for axis in moved], moved, stream=stream)


def ifftshift(a: array, axes: Axis = None, stream: Stream = None) -> array:
    """Inverse of `fftshift`."""
    a = as_array(a)
    moved = normalize_axes(a, axes)
    return roll(a, [-(a.shape[axis] // 2) for axis in moved], moved, stream=stream)


def _complex(name: str, a: array, s: Shape | None, axes: Axis, norm: str, inverse: bool, stream: Stream) -> array:
    a = as_array(a)
    extents, places = _extents(name, a, s, axes, norm)
    a = _as_complex(a)
    for axis, extent in zip(places, extents, strict=True):
        a = _resized(a, axis, extent)
    return complex_transform(a, places, inverse, norm, stream=stream) if places else a


def _rfftn(name: str, a: array, s: Shape | None, axes: Axis, norm: str, stream: Stream) -> array:
    a = as_array(a)
    if a.dtype in COMPLEX:
        raise DTypeError(
            message(
                f"bridge.fft.{name}",
                "real numbers are wanted: the imaginary parts would be lost.",
                got=describe(a),
                fix="a.real, or bridge.fft.fft",
            )
        )
    extents, places = _extents(name, a, s, axes, norm, at_least=1)
    a = a.astype(float64 if a.dtype in WIDE else float32)
    for axis, extent in zip(places, extents, strict=True):
        a = _resized(a, axis, extent)
    a = real_transform(a, places[-1], norm, stream=stream)
    return complex_transform(a, places[:-1], False, norm, stream=stream) if places[1:] else a


def _irfftn(name: str, a: array, s: Shape | None, axes: Axis, norm: str, stream: Stream) -> array:
    a = as_array(a)
    extents, places = _extents(name, a, s, axes, norm, at_least=1, halved=True)
    a = _as_complex(a)
    for axis, extent in zip(places, [*extents[:-1], extents[-1] // 2 + 1], strict=True):
        a = _resized(a, axis, extent)
    if places[1:]:
        a = complex_transform(a, places[:-1], True, norm, stream=stream)
    return real_inverse(a, places[-1], extents[-1], norm, stream=stream)


def _one(n: int | None) -> tuple[int] | None:
    return None if n is None else (n,)


def _extents(
    name: str, a: array, s: Shape | None, axes: Axis, norm: str, *, at_least: int = 0, halved: bool = False
) -> tuple[list[int], tuple[int, ...]]:
    """Points of the transform and axes counted from the front. `halved`: the last axis of `a` holds half a spectrum."""
    tag = f"bridge.fft.{name}"
    check_computed(f"fft.{name}", a.dtype)
    _check_norm(tag, norm)
    given = None if s is None else [s] if isinstance(s, int) else list(s)
    if axes is None and given is not None:
        axes = tuple(range(-len(given), 0))
    places = normalize_axes(a, axes)
    if len(set(places)) < len(places):
        raise ValueError(message(tag, "an axis is named twice.", got=str(axes)))
    if len(places) < at_least:
        raise ValueError(message(tag, "at least one axis is needed.", got=describe(a)))
    extents = [a.shape[axis] for axis in places]
    if halved:
        extents[-1] = 2 * (extents[-1] - 1)
    if given is not None:
        if len(given) != len(places):
            raise ValueError(message(tag, "sizes and axes differ in number.", got=f"{given} for {places}"))
        extents = [own if want == -1 else want for want, own in zip(given, extents, strict=True)]
    if any(extent < 1 for extent in extents):
        raise ValueError(message(tag, "a transform has at least one point.", got=f"{extents} points of {describe(a)}"))
    return extents, places


def _check_norm(tag: str, norm: str) -> None:
    if norm not in INVERSE_NORM:
        raise ValueError(message(tag, f"there is no norm {norm!r}.", want="'backward', 'ortho' or 'forward'"))


def _inverse(name: str, norm: str) -> str:
    _check_norm(f"bridge.fft.{name}", norm)
    return INVERSE_NORM[norm]


def _as_complex(a: array) -> array:
    check_computed("fft", a.dtype)
    return a.astype(complex128 if a.dtype in WIDE else complex64)


def _resized(a: array, axis: int, extent: int) -> array:
    """Cut, or filled with zeros, at the end of one axis."""
    missing = extent - a.shape[axis]
    if missing > 0:
        return concatenate([a, zeros((*a.shape[:axis], missing, *a.shape[axis + 1 :]), a.dtype)], axis)
    return a[(slice(None),) * axis + (slice(extent),)] if missing < 0 else a


def _half(a: array, axis: int) -> Spec:
    shape = (*a.shape[:axis], a.shape[axis] // 2 + 1, *a.shape[axis + 1 :])
    return complex128 if a.dtype is float64 else complex64, shape


def _whole(a: array, axis: int, n: int) -> Spec:
    return float64 if a.dtype is complex128 else float32, (*a.shape[:axis], n, *a.shape[axis + 1 :])


def _weights(a: array, axis: int, n: int) -> array:
    """How often a frequency of half a spectrum stands in the whole: once the first, and the last if n is even."""
    at = arange(n // 2 + 1)
    once = (at == 0) | (2 * at == n)
    weights = where(once, 1.0, 2.0).astype(float64 if a.dtype is complex128 else float32)
    return reshaped(weights, [-1 if k == axis else 1 for k in range(a.ndim)])


def _behind(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


def _frequency_steps(name: str, n: int, dtype: Any, stream: Stream) -> array:
    if n < 1:
        raise ValueError(message(f"bridge.fft.{name}", "at least one point is needed.", got=f"n={n}"))
    return arange(0, n, 1, dtype or float32, stream=stream)


placed.replace([sys.modules[__name__]])
