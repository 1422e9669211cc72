"""Elements of less than a byte in files, and gguf's blocks of quantised weights.

Sources: DLPack's order of packed elements (the lower half of a byte comes first), which safetensors' F4 has as well;
the block layouts Q4_0, Q4_1 and Q8_0 of ggml.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from bridge.core._native import Dtype, array
from bridge.core.dtypes import to_numpy

__all__ = ["BLOCKS", "DEQUANTISE", "joined_nibbles", "split_nibbles"]

NDArray = numpy.ndarray[Any, Any]


def split_nibbles(flat: NDArray, dtype: Dtype) -> NDArray:
    """Two elements of each byte, flat, the lower half first."""
    pairs = numpy.stack((flat & 15, flat >> 4), axis=-1)
    return pairs.reshape(-1).view(to_numpy(dtype))


def joined_nibbles(a: array) -> bytes:
    """The elements two to a byte, the lower half first. Their number is even."""
    flat = numpy.asarray(a).reshape(-1).view(numpy.uint8)
    return ((flat[0::2] & 15) | (flat[1::2] << 4)).tobytes()


# Elements to a block, and bytes of one.
BLOCKS: dict[str, tuple[int, int]] = {
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q8_0": (32, 34),
    "Q8_1": (32, 40),
    "Q2_K": (256, 84),
    "Q3_K": (256, 110),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    "Q8_K": (256, 292),
    "IQ2_XXS": (256, 66),
    "IQ2_XS": (256, 74),
    "IQ3_XXS": (256, 98),
    "IQ1_S": (256, 50),
    "IQ4_NL": (32, 18),
    "IQ3_S": (256, 110),
    "IQ2_S": (256, 82),
    "IQ4_XS": (256, 136),
    "IQ1_M": (256, 56),
    "TQ1_0": (256, 54),
    "TQ2_0": (256, 66),
    "MXFP4": (32, 17),
    "NVFP4": (64, 36),
    "Q1_0": (128, 18),
}


def _q4_0(blocks: NDArray) -> NDArray:
    """A float16 scale, then 16 bytes: element i in the lower half of byte i, 16 + i in the upper; 8 stands for 0."""
    scale = _half(blocks, 0)
    return scale * (_nibbles(blocks[:, 2:]).astype(numpy.float32) - 8)


def _q4_1(blocks: NDArray) -> NDArray:
    """A float16 scale and a float16 minimum, then 16 bytes as in Q4_0, unbiased."""
    scale, least = _half(blocks, 0), _half(blocks, 2)
    return scale * _nibbles(blocks[:, 4:]).astype(numpy.float32) + least


def _q8_0(blocks: NDArray) -> NDArray:
    """A float16 scale, then 32 signed bytes."""
    return _half(blocks, 0) * blocks[:, 2:].view(numpy.int8).astype(numpy.float32)


def _half(blocks: NDArray, at: int) -> NDArray:
    return numpy.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(numpy.float32)


def _nibbles(packed: NDArray) -> NDArray:
    return numpy.concatenate((packed & 15, packed >> 4), axis=1)


#: Blocks (rows of bytes) to float32 values, a row each.
DEQUANTISE: dict[str, Callable[[NDArray], NDArray]] = {"Q4_0": _q4_0, "Q4_1": _q4_1, "Q8_0": _q8_0}
