"""npy: one array. Versions 1 to 3 are read, the lowest that holds the header is written.

Dtypes that NumPy has not are written by their name ("bfloat16"), which NumPy understands once ml_dtypes is imported.
Source: NumPy enhancement proposal 1 and numpy.lib.format.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bridge.core import _native
from bridge.core._native import DTYPES, Dtype, array
from bridge.core.dtypes import as_dtype, to_numpy
from bridge.core.errors import DTypeError, message
from bridge.core.io.files import File
from bridge.core.io.writing import Part, bytes_of
from bridge.core.memory import NATIVE

__all__ = ["MAGIC", "Header", "header_at", "parts", "read", "wanted_dtype"]

MAGIC = b"\x93NUMPY"
_ALIGNMENT = 64  # of the first element in the file
_MAX_HEADER = 1 << 16  # bytes; NumPy's own limit is 10,000 characters


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the elements."""

    dtype: Dtype
    swapped: bool  # big-endian
    columns: bool  # Fortran's order
    shape: tuple[int, ...]
    size: int  # bytes from the magic to the first element
    note: str = ""


def read(file: File, *, dtype: Dtype | None) -> tuple[array, int]:
    """The array at the beginning of the file, and the number of bytes that it takes."""
    header = header_at(file, file.read(0, min(file.size, 12 + _MAX_HEADER)), None, dtype)
    data = file.array(header.size, header.dtype, header.shape, columns=header.columns, swapped=header.swapped)
    return data, header.size + data.nbytes


def header_at(file: File, start: bytes, tensor: str | None, dtype: Dtype | None, *, listed: bool = False) -> Header:
    """The header that the bytes begin with. `dtype` is what anonymous bytes ('V2') are.

    listed: they are shown and not loaded, as unsigned integers of their size.

    Raises:
        FormatError: it is damaged, or it describes what is no array of numbers.
    """
    if start[:6] != MAGIC:
        file.refuse("it does not begin as npy does.", tensor)
    if len(start) < 12:
        file.refuse("it ends inside the header.", tensor)
    major, minor = start[6:8]
    if major not in (1, 2, 3) or minor != 0:
        file.refuse(f"version {major}.{minor} of npy is not known; 1.0, 2.0 and 3.0 are.", tensor)
    begin = 10 if major == 1 else 12
    (length,) = struct.unpack_from("<H" if major == 1 else "<I", start, 8)
    if length > _MAX_HEADER:
        file.refuse(f"the header says that it has {length} bytes; {_MAX_HEADER} are the most.", tensor)
    if begin + length > len(start):
        file.refuse("it ends inside the header.", tensor)
    raw = start[begin : begin + length]
    try:
        text = raw.decode("utf-8" if major == 3 else "latin-1")
    except UnicodeDecodeError:
        file.refuse("the header is not UTF-8.", tensor)
    fields = _Fields(file, tensor, text).read()
    called = fields["descr"]
    note = "of a dtype that the file does not name" if listed and called[1:] in _UNNAMED else ""
    found, swapped = (_UNNAMED[called[1:]], False) if note else _dtype(file, tensor, called, dtype)
    shape = fields["shape"]
    file.checked_size(found, shape, tensor)
    return Header(found, swapped, fields["fortran_order"], shape, begin + length, note)


# -------------------------------------------------------------------------------------------------------------- reading

_TOKEN = re.compile(
    r"[ \t\r\n\f]*(?:(?P<text>'[^'\\\n]*'|\"[^\"\\\n]*\")|(?P<number>[0-9]+)L?|(?P<word>[A-Za-z]+)"
    r"|(?P<mark>[{}()\[\]:,-]))"
)


class _Fields:
    """The header's text: a literal dict of Python with three entries, read without evaluating anything."""

    def __init__(self, file: File, tensor: str | None, text: str) -> None:
        self.file = file
        self.tensor = tensor
        self.text = text
        self.at = 0

    def read(self) -> dict[str, Any]:
        readers = {"descr": self._descr, "fortran_order": self._flag, "shape": self._shape}
        fields: dict[str, Any] = {}
        self._expect("{")
        while not self._take("}"):
            kind, key = self._token()
            if kind != "text" or key not in readers:
                self._fail("the header has an entry that npy does not know")
            if key in fields:
                self._fail(f"the header has two entries '{key}'")
            self._expect(":")
            fields[key] = readers[key]()
            if not self._take(","):
                self._expect("}")
                break
        if self.text[self.at :].strip(" \t\r\n\f\0"):
            self._fail("the header goes on after its end")
        for key in readers:
            if key not in fields:
                self._fail(f"the header has no entry '{key}'")
        return fields

    def _fail(self, problem: str) -> None:
        self.file.refuse(f"{problem}.", self.tensor)

    def _token(self) -> tuple[str, str]:
        found = _TOKEN.match(self.text, self.at)
        if found is None or found.lastgroup is None:
            self._fail("the header is damaged")
            raise AssertionError
        self.at = found.end()
        value = found[found.lastgroup]
        return found.lastgroup, value[1:-1] if found.lastgroup == "text" else value

    def _take(self, mark: str) -> bool:
        before = self.at
        found = _TOKEN.match(self.text, self.at)
        if found is not None and found.lastgroup == "mark" and found["mark"] == mark:
            self.at = found.end()
            return True
        self.at = before
        return False

    def _expect(self, mark: str) -> None:
        if not self._take(mark):
            self._fail(f"the header is damaged: '{mark}' is missing")

    def _descr(self) -> str:
        if self._take("[") or self._take("("):
            self._fail("its elements are records of several fields, and arrays of bridge have one number each")
        kind, value = self._token()
        if kind != "text":
            self._fail("the header has no dtype")
        return value

    def _flag(self) -> bool:
        kind, value = self._token()
        if kind != "word" or value not in ("True", "False"):
            self._fail("fortran_order is neither True nor False")
        return value == "True"

    def _shape(self) -> tuple[int, ...]:
        self._expect("(")
        extents: list[int] = []
        while not self._take(")"):
            kind, value = self._token()
            if kind != "number" or len(value) > 20:
                self._fail("the shape is no tuple of whole numbers that are not negative")
            extents.append(int(value))
            if not self._take(","):
                self._expect(")")
                break
        return tuple(extents)


_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_UNNAMED = {f"V{size}": DTYPES[f"uint{8 * size}"] for size in (1, 2, 4, 8)}
_DESCR = re.compile(r"([<>|=]?)([a-zA-Z])([0-9]{0,9})(?:\[[a-z]+\])?\Z")
_REFUSED = {
    "O": "its elements are Python objects, stored as a pickle, and to load a pickle runs whatever it says",
    "S": "its elements are byte strings, and arrays of bridge hold numbers",
    "a": "its elements are byte strings, and arrays of bridge hold numbers",
    "U": "its elements are text, and arrays of bridge hold numbers",
    "M": "its elements are dates, and arrays of bridge hold numbers",
    "m": "its elements are durations, and arrays of bridge hold numbers",
}


def _dtype(file: File, tensor: str | None, descr: str, anonymous: Dtype | None) -> tuple[Dtype, bool]:
    """The dtype that a descr names, and whether its bytes are in the other order."""
    if descr in DTYPES:  # by its name, as ml_dtypes' are written
        return DTYPES[descr], False
    found = _DESCR.match(descr)
    if found is None:
        file.refuse("the dtype is not known.", tensor)
    order, kind, digits = found.groups()
    if kind in _REFUSED:
        file.refuse(f"{_REFUSED[kind]}.", tensor)
    size = int(digits or "0")
    if (kind, size) == ("f", 1):  # what NumPy writes for the one float8 that ml_dtypes calls a float
        return anonymous or DTYPES["float8_e5m2"], False
    if kind == "V":
        return _anonymous(file, tensor, size, anonymous), False
    name = "bool" if (kind, size) == ("b", 1) else f"{_KINDS.get(kind)}{8 * size}"
    if name not in NATIVE or (kind == "b" and size != 1):
        file.refuse(f"bridge has no dtype for '{order}{kind}{digits}'.", tensor)
    return DTYPES[name], order == ">"


def _anonymous(file: File, tensor: str | None, size: int, wanted: Dtype | None) -> Dtype:
    """bfloat16 and its like, written without their name by NumPy, jax and MLX."""
    if wanted is None:
        likely = {1: "float8_e4m3fn", 2: "bfloat16"}.get(size)
        fix = f'bridge.load(file, dtype="{likely}"), if that is what was saved' if likely else None
        file.refuse(f"its elements are {size} bytes each, and the file does not say of what dtype.", tensor, fix=fix)
    if wanted.size != size:
        file.refuse(f"its elements are {size} bytes each, and dtype={wanted.name} has {wanted.size}.", tensor)
    return wanted


# -------------------------------------------------------------------------------------------------------------- writing


def parts(a: array) -> Iterator[Part]:
    """The file, piece by piece. A column-major array is written as it lies, and comes back so."""
    strides = _native.facts(a)[2]
    columns = a.ndim > 1 and a.size > 0 and strides != _row_major(a.shape) and strides == _column_major(a.shape)
    yield _header(a.dtype, a.shape, columns=columns)
    yield bytes_of(a.transpose() if columns else a)


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return _column_major(shape[::-1])[::-1]


def _column_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for extent in shape:
        strides.append(step)
        step *= max(extent, 1)
    return tuple(strides)


def descr(dtype: Dtype) -> str:
    """What the header calls the dtype."""
    return to_numpy(dtype).str if dtype.name in NATIVE else dtype.name


def _header(dtype: Dtype, shape: tuple[int, ...], *, columns: bool) -> bytes:
    text = f"{{'descr': '{descr(dtype)}', 'fortran_order': {columns}, 'shape': {shape}, }}".encode("ascii")
    begin = 10
    padding = -(begin + len(text) + 1) % _ALIGNMENT
    length = len(text) + padding + 1
    return MAGIC + b"\x01\x00" + struct.pack("<H", length) + text + b" " * padding + b"\n"


def wanted_dtype(dtype: Any) -> Dtype | None:
    """The dtype= of load()."""
    if dtype is None:
        return None
    try:
        return as_dtype(dtype)
    except DTypeError as error:
        raise DTypeError(message("bridge.load", str(error).partition("] ")[2].splitlines()[0])) from None
