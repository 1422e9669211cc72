"""Pickling of arrays. Protocol 5 hands the bytes out of band, so they travel without a copy.

Out of band, the received array is one over the buffer that arrives: its supplier must not write that buffer while the
array lives. In band, the bytes are copied into memory of the engine's own.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy

from bridge.core import _native


def reduce_array(a: _native.array, protocol: int) -> tuple[Any, ...]:
    """What pickle stores of an array: its elements as flat row-major bytes, its dtype and its shape."""
    raw = pickle.PickleBuffer(_native._bytes_lease(a))
    return rebuild, (raw if protocol >= 5 else raw.raw().tobytes(), a.dtype.name, a.shape)


def rebuild(raw: Any, dtype: str, shape: tuple[int, ...]) -> _native.array:
    """The array that reduce_array() took apart."""
    flat = numpy.frombuffer(raw, numpy.uint8) if len(memoryview(raw)) else numpy.empty(0, numpy.uint8)
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    a = _native.import_address(flat, flat.ctypes.data, _native._dtype(dtype), shape, tuple(strides), writable=False)
    if a.nbytes != flat.nbytes:
        raise ValueError(f"[bridge] the pickle holds {flat.nbytes} bytes and its shape says {a.nbytes}.")
    return _native.copy(a) if isinstance(raw, bytes | bytearray) else a
