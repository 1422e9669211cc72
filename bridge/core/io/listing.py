"""What a file holds, without its data: the rows that `python -m bridge inspect` shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bridge.core._native import DTYPES, array
from bridge.core.io import gguf, npy, npz, safetensors
from bridge.core.io.api import format_of
from bridge.core.io.files import opened

__all__ = ["Listing", "Row", "listing"]


@dataclass(frozen=True, slots=True)
class Row:
    """One array."""

    name: str
    dtype: str  # of a quantised tensor: the type of its blocks
    shape: tuple[int, ...]
    nbytes: int  # in memory; of a quantised tensor, of its blocks
    note: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A file's format, arrays and metadata."""

    format: str
    size: int
    rows: list[Row]
    metadata: dict[str, Any]


def listing(file: Any, format: str | None = None) -> Listing:
    """Read the headers of a file. Raises what load() raises; anonymous bytes ('V2') are listed as unsigned integers."""
    source = opened(file)
    kind = format or format_of(file, source)
    rows: list[Row]
    metadata: dict[str, Any] = {}
    if kind == "npy":
        head = npy.header_at(source, source.read(0, min(source.size, 1 << 17)), None, None, listed=True)
        source.checked_end(head.size, head.dtype, head.shape)
        rows = [_npy_row("", head)]
    elif kind == "npz":
        found = npz.entries(source, dtype=None, max_ratio=float("inf"), listed=True)
        rows = [_npy_row(one.name, one.header, _compression(one)) for one in found]
    elif kind == "safetensors":
        arrays, metadata_of = safetensors.read(source)
        rows = [Row(name, a.dtype.name, a.shape, a.nbytes) for name, a in arrays.items()]
        metadata = dict(metadata_of)
    else:
        tensors, metadata = gguf.tensors(source)
        rows = [
            Row(one.name, one.type, one.shape, one.nbytes, "" if one.type in DTYPES else "quantised") for one in tensors
        ]
    return Listing(kind, source.size, rows, metadata)


def _npy_row(name: str, head: npy.Header, note: str = "") -> Row:
    notes = [note, "column-major" if head.columns else "", "big-endian" if head.swapped else ""]
    nbytes = head.dtype.size
    for extent in head.shape:
        nbytes *= extent
    text = ", ".join(one for one in (*notes, head.note) if one)
    return Row(name, head.dtype.name, head.shape, nbytes, text)


def _compression(one: npz.Entry) -> str:
    member = one.member
    return "" if member.size == member.stored else f"compressed to {member.stored} bytes"


def text_of(value: Any) -> str:
    """A value of the metadata on one line, shortened, with nothing in it that a terminal obeys."""
    if isinstance(value, array):
        size = value.size
        if value.ndim == 0:
            return f"{value.item()} ({value.dtype.name})"
        start = ", ".join(str(one) for one in value[:4].tolist())
        return f"[{start}{', ...' if size > 4 else ''}] ({value.dtype.name}[{size}])"
    if isinstance(value, list):
        start = ", ".join(text_of(one) for one in value[:4])
        return f"[{start}{', ...' if len(value) > 4 else ''}] ({len(value)})"
    text = str(value)
    return ascii(text) if len(text) <= 100 else f"{text[:100]!a}... ({len(text)} characters)"
