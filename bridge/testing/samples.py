"""Values that a move must not change, in memory whose owner tells when it is gone, in every layout."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy

from bridge.core.memory import ALIGNMENT, NATIVE, numpy_dtype, over

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LAYOUTS", "Sample", "bits_of", "number_unlike", "ones_or_zeros", "sample"]

#: Elements of memory behind every sample.
COUNT = 60


class Layout(NamedTuple):
    """Which of the elements an array shows, and how far behind a 64-byte boundary they begin."""

    view: Callable[[NDArray[Any]], NDArray[Any]]
    shift: int = 0  # bytes


LAYOUTS: Mapping[str, Layout] = {
    "dense": Layout(lambda base: base[:24].reshape(4, 6)),
    "scalar": Layout(lambda base: base[:1].reshape(())),
    "empty": Layout(lambda base: base[:0].reshape(0, 6)),
    "unit axes": Layout(lambda base: base[:24].reshape(1, 4, 1, 6)),
    "offset": Layout(lambda base: base[1:25]),
    "strided": Layout(lambda base: base[:48].reshape(4, 12)[:, ::2]),
    "window": Layout(lambda base: base[:48].reshape(6, 8)[1:5, 1:7]),
    "transposed": Layout(lambda base: base[:24].reshape(4, 6).T),
    "permuted": Layout(lambda base: base[:24].reshape(2, 3, 4).transpose(1, 2, 0)),
    "reversed": Layout(lambda base: base[:24].reshape(4, 6)[::-1]),
    "broadcast": Layout(lambda base: numpy.broadcast_to(base[:6], (4, 6))),
    "16-byte aligned": Layout(lambda base: base[:24].reshape(4, 6), shift=16),
    "unaligned": Layout(lambda base: base[:24].reshape(4, 6), shift=1),
}

# Bits that arithmetic would change: a signalling NaN with a payload, negative zero, the least subnormal.
_DELICATE: Mapping[str, tuple[Any, tuple[int, ...]]] = {
    "float16": (numpy.uint16, (0x7C01, 0x8000, 0x0001)),
    "bfloat16": (numpy.uint16, (0x7F81, 0x8000, 0x0001)),
    "float32": (numpy.uint32, (0x7F800001, 0x80000000, 0x00000001)),
    "float64": (numpy.uint64, (0x7FF0000000000001, 0x8000000000000000, 0x0000000000000001)),
    "complex64": (numpy.uint32, (0x7F800001, 0x80000000, 0x00000001)),
    "complex128": (numpy.uint64, (0x7FF0000000000001, 0x8000000000000000, 0x0000000000000001)),
}


class Owner:
    """Can be watched: what is over the memory of a sample must keep its owner, and so the memory, alive."""

    __slots__ = ("__weakref__", "block")

    def __init__(self, block: NDArray[Any]) -> None:
        self.block = block


class Sample(NamedTuple):
    """An ndarray, and what is known of it without asking anybody."""

    array: NDArray[Any]
    gone: Callable[[], bool]  # whether the owner of its memory is gone
    block: NDArray[Any]  # the memory itself, so that a use after that is a fault of the test and not of the process


def sample(dtype: str, layout: str = "dense", *, writable: bool = True, seed: int = 7) -> Sample:
    """An ndarray of random bits, the delicate ones among them; its memory stays as long as it, or `block`."""
    resolved, described = numpy_dtype(dtype), LAYOUTS[layout]
    content = _elements(dtype, seed)
    block = numpy.zeros(content.nbytes + 2 * ALIGNMENT, numpy.uint8)
    owner = Owner(block)
    start = -block.ctypes.data % ALIGNMENT + described.shift
    block[start : start + content.nbytes] = content.view(numpy.uint8)
    shown = described.view(numpy.ndarray(COUNT, resolved, buffer=block.data, offset=start))
    strides = tuple(stride // resolved.itemsize for stride in shown.strides)
    address = shown.ctypes.data
    array = over(owner, address, dtype, shown.shape, strides, writable=writable)
    watched = weakref.ref(owner)
    return Sample(array, lambda: watched() is None, block)


def _elements(dtype: str, seed: int) -> NDArray[Any]:
    resolved = numpy_dtype(dtype)
    if dtype not in NATIVE and dtype != "bfloat16":  # not every pattern of bits is a number
        return numpy.arange(COUNT).astype(resolved)
    raw = numpy.random.default_rng(seed).integers(0, 256, size=COUNT * resolved.itemsize, dtype=numpy.uint8)
    if dtype == "bool":
        raw %= 2
        raw[:2] = [0, 1]
    if dtype in _DELICATE:
        unsigned, bits = _DELICATE[dtype]
        raw.view(unsigned)[: len(bits)] = bits
    return raw.view(resolved)


def bits_of(array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    """Dtype, shape and the bytes of the elements in row-major order."""
    return array.dtype.name, array.shape, array.tobytes()


def ones_or_zeros(array: NDArray[Any], number: int) -> tuple[str, tuple[int, ...], bytes]:
    """The bits of the same array, every element replaced by `number`."""
    return array.dtype.name, array.shape, numpy.asarray(number).astype(array.dtype).tobytes() * array.size


def number_unlike(array: NDArray[Any]) -> int:
    """0 or 1: the one that the array is not full of."""
    return int(ones_or_zeros(array, 1) != bits_of(array))
