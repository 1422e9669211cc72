"""gguf: arrays by name after typed metadata. Versions 2 and 3, little-endian, are read; version 3 is written.

Source: the format's description in the repository ggml-org/ggml (docs/gguf.md); numbers of types as in its ggml.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy

from bridge.core import _native
from bridge.core._native import DTYPES, array
from bridge.core.dtypes import float32, uint8
from bridge.core.errors import DTypeError, message
from bridge.core.io.files import File, lazily, shown
from bridge.core.io.packed import BLOCKS, DEQUANTISE
from bridge.core.io.writing import Part, bytes_of

__all__ = ["MAGIC", "Tensor", "parts", "read", "tensors"]

MAGIC = b"GGUF"
_TAG = "bridge.save_gguf"
_DEFAULT_ALIGNMENT = 32
_ALIGNMENT_KEY = "general.alignment"
_MAX_NDIM = 4  # ggml's own limit

#: Types of tensors by number: a dtype's name, or that of a quantised block.
_TYPES: dict[int, str] = {
    0: "float32",
    1: "float16",
    24: "int8",
    25: "int16",
    26: "int32",
    27: "int64",
    28: "float64",
    30: "bfloat16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    9: "Q8_1",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    29: "IQ1_M",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
    41: "Q1_0",
}
_TYPE_NUMBERS = {DTYPES[name]: number for number, name in _TYPES.items() if name in DTYPES}

#: Types of metadata by number.
_SCALARS: dict[int, str] = {
    0: "uint8",
    1: "int8",
    2: "uint16",
    3: "int16",
    4: "uint32",
    5: "int32",
    6: "float32",
    7: "bool",
    10: "uint64",
    11: "int64",
    12: "float64",
}
_SCALAR_NUMBERS = {DTYPES[name]: number for number, name in _SCALARS.items()}
_TEXT, _ARRAY = 8, 9
_DEEPEST = 4  # arrays of arrays in metadata

Value: TypeAlias = Any  # array, str, list[str]; a list of these where the file nests them


@dataclass(frozen=True, slots=True)
class Tensor:
    """What the file says of one array."""

    name: str
    type: str  # a dtype's name, or that of a quantised block
    shape: tuple[int, ...]
    offset: int  # from the beginning of the file
    nbytes: int


def read(file: File, *, dequantize: bool) -> tuple[dict[str, array], dict[str, Value]]:
    """The arrays and the metadata.

    Tensors of quantised blocks come as uint8 arrays of the blocks, a row each where the tensor has one; or, if asked
    for, as the float32 values that the blocks stand for.
    """
    found, metadata = tensors(file)
    return {each.name: _array(file, each, dequantize=dequantize) for each in found}, metadata


def _array(file: File, each: Tensor, *, dequantize: bool) -> array:
    if each.type in DTYPES:
        return file.array(each.offset, DTYPES[each.type], each.shape, each.name)
    elements, size = BLOCKS[each.type]
    blocks = file.array(each.offset, uint8, (*each.shape[:-1], each.shape[-1] // elements * size), each.name)
    if not dequantize:
        return blocks
    if each.type not in DEQUANTISE:
        known = ", ".join(DEQUANTISE)
        file.refuse(f"bridge cannot dequantise {each.type}, only {known}.", each.name, fix="dequantize=False")
    file.checked_size(float32, each.shape, each.name)
    kernel = DEQUANTISE[each.type]
    return lazily(
        lambda raw: kernel(raw.reshape(-1, size)).astype(numpy.float32, copy=False).reshape(each.shape),
        blocks,
        float32,
        each.shape,
    )


def tensors(file: File) -> tuple[list[Tensor], dict[str, Value]]:
    """What the file holds, checked against its size, and the metadata."""
    cursor = _Cursor(file)
    if cursor.take(4) != MAGIC:
        file.refuse("it does not begin as gguf does.")
    version = cursor.number("I")
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        extra = ", and this one is big-endian" if swapped in (2, 3) else ""
        file.refuse(f"version {version} of gguf is not known; 2 and 3, little-endian, are{extra}.")
    n_tensors, n_metadata = cursor.number("Q"), cursor.number("Q")
    # The least that one takes, so that a lying number ends here and not in a long loop.
    if n_metadata > file.size // 13 or n_tensors > file.size // 24:
        file.refuse(f"it is too small for {n_tensors} tensors and {n_metadata} metadata entries.")
    metadata: dict[str, Value] = {}
    for _ in range(n_metadata):
        key = cursor.text("the key of a metadata entry")
        if key in metadata:
            file.refuse(f"two metadata entries are called {shown(key)}.")
        metadata[key] = cursor.value(key, cursor.number("I"))
    heads = [_head(file, cursor) for _ in range(n_tensors)]
    alignment = _alignment(file, metadata)
    begin = cursor.at + -cursor.at % alignment
    return _placed(file, heads, begin, alignment), metadata


def _head(file: File, cursor: _Cursor) -> Tensor:
    name = cursor.text("the name of a tensor")
    ndim = cursor.number("I")
    if ndim > _MAX_NDIM:
        file.refuse(f"it has {ndim} axes; {_MAX_NDIM} are the most.", name)
    shape = tuple(reversed(struct.unpack(f"<{ndim}Q", cursor.take(8 * ndim))))
    number = cursor.number("I")
    kind = _TYPES.get(number)
    if kind is None:
        file.refuse(f"the type {number} is not known.", name)
    offset = cursor.number("Q")
    if kind in DTYPES:
        return Tensor(name, kind, shape, offset, file.checked_size(DTYPES[kind], shape, name))
    elements, size = BLOCKS[kind]
    if not shape or shape[-1] % elements:
        file.refuse(f"its rows are no whole number of {kind} blocks of {elements} elements.", name)
    nbytes = file.checked_size(uint8, shape, name) // elements * size
    return Tensor(name, kind, shape, offset, nbytes)


def _alignment(file: File, metadata: Mapping[str, Value]) -> int:
    given = metadata.get(_ALIGNMENT_KEY)
    if given is None:
        return _DEFAULT_ALIGNMENT
    if not isinstance(given, array) or given.dtype.name != "uint32" or given.ndim:
        file.refuse(f"{_ALIGNMENT_KEY} is no uint32.")
    alignment = int(given)
    if alignment == 0 or alignment & (alignment - 1):
        file.refuse(f"{_ALIGNMENT_KEY} is {alignment}, which is no power of two.")
    return alignment


def _placed(file: File, heads: list[Tensor], begin: int, alignment: int) -> list[Tensor]:
    """The tensors at their place in the file. FormatError where one lies beside or upon another."""
    names: set[str] = set()
    placed = []
    for head in heads:
        if head.name in names:
            file.refuse(f"two tensors are called {shown(head.name)}.")
        names.add(head.name)
        if head.offset % alignment:
            file.refuse(f"it begins at {head.offset}, which is no multiple of the alignment {alignment}.", head.name)
        at = begin + head.offset
        if at + head.nbytes > file.size and head.nbytes:
            beyond = at + head.nbytes - file.size
            file.refuse(f"its {head.nbytes} bytes end {beyond} bytes beyond the end of the file.", head.name)
        placed.append(Tensor(head.name, head.type, head.shape, min(at, file.size), head.nbytes))
    end, last = 0, ""
    for each in sorted((one for one in placed if one.nbytes), key=lambda one: one.offset):
        if each.offset < end:
            file.refuse(f"its bytes overlap those of tensor {shown(last)}.", each.name)
        end, last = each.offset + each.nbytes, each.name
    return placed


class _Cursor:
    """Reads from the beginning of the file, a piece at a time."""

    _PIECE = 1 << 16

    def __init__(self, file: File) -> None:
        self.file = file
        self.at = 0
        self.begin = 0  # of `piece` in the file
        self.piece = b""

    def take(self, size: int) -> bytes:
        start = self.at - self.begin
        if start + size > len(self.piece):
            if size > self.file.size - self.at:
                self.file.refuse("the file ends inside the header.")
            self.piece = self.file.read(self.at, min(max(size, self._PIECE), self.file.size - self.at))
            self.begin, start = self.at, 0
        self.at += size
        return self.piece[start : start + size]

    def number(self, code: str) -> int:
        return int.from_bytes(self.take(4 if code == "I" else 8), "little")

    def text(self, what: str) -> str:
        raw = self.take(self.number("Q"))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.file.refuse(f"{what} is not UTF-8.")

    def value(self, key: str, kind: int, depth: int = 0) -> Value:
        if kind in _SCALARS:
            return self._numbers(key, _SCALARS[kind], ())
        if kind == _TEXT:
            return self.text(f"the metadata entry {shown(key)}")
        if kind != _ARRAY:
            self.file.refuse(f"the metadata entry {shown(key)} is of the type {kind}, which is not known.")
        of, count = self.number("I"), self.number("Q")
        if of in _SCALARS:
            return self._numbers(key, _SCALARS[of], (count,))
        if depth == _DEEPEST:
            self.file.refuse(f"the metadata entry {shown(key)} is nested more than {_DEEPEST} deep.")
        if count > (self.file.size - self.at) // 8:  # the least that one takes
            self.file.refuse("the file ends inside the header.")
        return [self.value(key, of, depth + 1) for _ in range(count)]

    def _numbers(self, key: str, name: str, shape: tuple[int, ...]) -> array:
        dtype = DTYPES[name]
        raw = self.take(self.file.checked_size(dtype, shape))
        values = numpy.frombuffer(raw, name.replace("bool", "uint8")).reshape(shape)
        if name == "bool":
            if (values > 1).any():
                self.file.refuse(f"the metadata entry {shown(key)} holds a bool that is neither 0 nor 1.")
            values = values.astype(bool)
        return _native.copy(_native.import_buffer(values, readonly=True))


# -------------------------------------------------------------------------------------------------------------- writing


def parts(arrays: Mapping[str, array], metadata: Mapping[str, Value]) -> Iterator[Part]:
    """The file, piece by piece.

    Raises:
        DTypeError: the format has no type for a dtype.
        TypeError:  a value of the metadata is no array, text or list of texts.
        ValueError: an array has too many axes, or a value of the metadata has more than one.
    """
    alignment = _alignment_of(metadata)
    head = [MAGIC, struct.pack("<IQQ", 3, len(arrays), len(metadata))]
    for key, value in metadata.items():
        head += [_text(key), _value(key, value)]
    at, paddings = 0, []
    for name, a in arrays.items():
        if a.dtype not in _TYPE_NUMBERS:
            want = ", ".join(sorted(dtype.name for dtype in _TYPE_NUMBERS))
            raise DTypeError(message(_TAG, f"gguf has no type for {a.dtype.name}", got=f"array {name!a}", want=want))
        if a.ndim > _MAX_NDIM:
            raise ValueError(message(_TAG, f"array {name!a} has {a.ndim} axes; gguf has at most {_MAX_NDIM}"))
        shape = struct.pack(f"<I{a.ndim}Q", a.ndim, *reversed(a.shape))
        head += [_text(name), shape, struct.pack("<IQ", _TYPE_NUMBERS[a.dtype], at)]
        paddings.append(-a.nbytes % alignment)
        at += a.nbytes + paddings[-1]
    length = sum(map(len, head))
    yield b"".join(head) + bytes(-length % alignment)
    for a, padding in zip(arrays.values(), paddings, strict=True):
        yield bytes_of(a)
        yield bytes(padding)


def _alignment_of(metadata: Mapping[str, Value]) -> int:
    given = metadata.get(_ALIGNMENT_KEY)
    if given is None:
        return _DEFAULT_ALIGNMENT
    if not isinstance(given, array) or given.dtype.name != "uint32" or given.ndim:
        raise TypeError(message(_TAG, f"{_ALIGNMENT_KEY} is a uint32", fix="bridge.array(32, bridge.uint32)"))
    alignment = int(given)
    if alignment == 0 or alignment & (alignment - 1) or alignment > 1 << 20:
        raise ValueError(message(_TAG, f"{_ALIGNMENT_KEY} is a power of two, at most 1 MiB", got=str(alignment)))
    return alignment


def _text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def _value(key: str, value: Value) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _TEXT) + _text(value)
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return struct.pack("<IIQ", _ARRAY, _TEXT, len(value)) + b"".join(map(_text, value))
    if isinstance(value, array) and value.dtype in _SCALAR_NUMBERS:
        return _number(key, value)
    raise TypeError(
        message(
            _TAG,
            f"the metadata entry {key!a} is no array of numbers, text or list of texts",
            got=value.dtype.name if isinstance(value, array) else type(value).__name__,
            fix="bridge.array(3, bridge.uint32) for a number",
        )
    )


def _number(key: str, value: array) -> bytes:
    number, raw = _SCALAR_NUMBERS[value.dtype], numpy.asarray(value).tobytes()
    if value.ndim == 0:
        return struct.pack("<I", number) + raw
    if value.ndim > 1:
        raise ValueError(message(_TAG, f"the metadata entry {key!a} has {value.ndim} axes; one is the most"))
    return struct.pack("<IIQ", _ARRAY, number, value.size) + raw
