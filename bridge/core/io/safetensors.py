"""safetensors: arrays by name under one JSON header. The header is read by native/safetensors.cpp.

Source: the format's description in the repository huggingface/safetensors; bits and names of dtypes as its version 0.8
writes them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from bridge.core import _native
from bridge.core._native import Dtype, array
from bridge.core.dtypes import to_numpy
from bridge.core.errors import DTypeError, message
from bridge.core.io.files import File, lazily
from bridge.core.io.packed import joined_nibbles, split_nibbles
from bridge.core.io.writing import Part, bytes_of

__all__ = ["parts", "read"]

_TAG = "bridge.save_safetensors"
_ALIGNMENT = 64  # of the first tensor in the file


def read(file: File) -> tuple[dict[str, array], dict[str, str]]:
    """The arrays and the metadata. FormatError if anything is wrong with the header."""
    arrays, metadata, odd = _native.map_safetensors(file.handle, file.start)
    for name, dtype, shape in odd:
        arrays[name] = _meant(arrays[name], dtype, shape)
    return arrays, metadata or {}


def _meant(raw: array, dtype: Dtype, shape: tuple[int, ...]) -> array:
    """The array of packed or misaligned bytes, made when it is evaluated."""
    if dtype.name == "float4_e2m1fn":
        return lazily(lambda flat: split_nibbles(flat, dtype).reshape(shape), raw, dtype, shape)
    return lazily(lambda flat: flat.view(to_numpy(dtype)).reshape(shape), raw, dtype, shape)


def parts(arrays: Mapping[str, array], metadata: Mapping[str, str] | None) -> Iterator[Part]:
    """The file, piece by piece.

    Raises:
        DTypeError: the format has no name for a dtype.
        ValueError: a name cannot be written.
        TypeError:  metadata is no dict of texts.
    """
    names = {dtype: name for name, dtype in _native.safetensors_types().items()}
    # By descending alignment, then by name: so every array is aligned where the first one is.
    order = sorted(arrays.items(), key=lambda item: (-_bits(item[1].dtype), item[0]))
    header: dict[str, Any] = {}
    if metadata is not None:
        header["__metadata__"] = _checked(metadata)
    at = 0
    for name, a in order:
        if name == "__metadata__":
            raise ValueError(message(_TAG, "no array can be called '__metadata__': the format uses the name itself"))
        if a.dtype not in names:
            fix = "save it as npy, or convert it"
            raise DTypeError(
                message(_TAG, f"safetensors has no name for {a.dtype.name}", got=f"array {name!a}", fix=fix)
            )
        if a.size * _bits(a.dtype) % 8:
            raise ValueError(
                message(_TAG, f"array {name!a}: an odd number of elements of four bits is no number of bytes")
            )
        size = a.size * _bits(a.dtype) // 8
        header[name] = {"dtype": names[a.dtype], "shape": list(a.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    yield struct.pack("<Q", len(text)) + text
    for _, a in order:
        yield joined_nibbles(a) if _bits(a.dtype) < 8 else bytes_of(a)


def _bits(dtype: Dtype) -> int:
    return 4 if dtype.name == "float4_e2m1fn" else 8 * dtype.size


def _checked(metadata: Mapping[str, str]) -> dict[str, str]:
    pairs = dict(metadata)
    if not all(isinstance(text, str) for pair in pairs.items() for text in pair):
        raise TypeError(message(_TAG, "metadata is a dict from text to text.", fix="str(value)"))
    return pairs
