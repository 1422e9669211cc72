"""Files written byte by byte, so that they can be wrong in every way."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# ------------------------------------------------------------------------------------------------------------------ npy


def npy(
    descr: str = "'<f4'",
    shape: str = "(2, 3)",
    data: bytes = bytes(24),
    *,
    order: str = "False",
    version: tuple[int, int] = (1, 0),
    text: str | None = None,
    length: int | None = None,
) -> bytes:
    """An npy file with this header. `text` replaces the whole of it, `length` what is said of its length."""
    if text is None:
        text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    raw = text.encode("utf-8" if version[0] == 3 else "latin-1")
    begin = 10 if version[0] == 1 else 12
    raw += b" " * (-(begin + len(raw) + 1) % 64) + b"\n"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(raw) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + raw + data


# ------------------------------------------------------------------------------------------------------------------ zip


@dataclass(frozen=True)
class Member:
    """A member of an archive; what is None is what it should be."""

    name: str = "a.npy"
    content: bytes = npy()
    method: int = 0
    flags: int = 0
    stored: bytes | None = None  # the bytes in the archive
    crc: int | None = None
    size: int | None = None  # what the headers say
    local_name: str | None = None
    local_size: int | None = None
    local_flags: int | None = None
    at: int | None = None  # where the directory says that it is

    def packed(self) -> bytes:
        if self.stored is not None:
            return self.stored
        if self.method != 8:
            return self.content
        pack = zlib.compressobj(9, zlib.DEFLATED, -15)
        return pack.compress(self.content) + pack.flush()


def archive(
    members: Sequence[Member],
    *,
    count: int | None = None,
    directory_size: int | None = None,
    disk: int = 0,
    tail: bytes = b"",
) -> bytes:
    """A zip file of these members."""
    body, directory = b"", b""
    for member in members:
        packed = member.packed()
        crc = zlib.crc32(member.content) if member.crc is None else member.crc
        size = len(member.content) if member.size is None else member.size
        at = len(body) if member.at is None else member.at
        name, local_name = member.name.encode(), (member.local_name or member.name).encode()
        local_size = size if member.local_size is None else member.local_size
        local_flags = member.flags if member.local_flags is None else member.local_flags
        body += struct.pack(
            "<4s5H3I2H",
            b"PK\3\4",
            20,
            local_flags,
            member.method,
            0,
            33,
            crc,
            len(packed),
            local_size,
            len(local_name),
            0,
        )
        body += local_name + packed
        directory += struct.pack(
            "<4s6H3I5H2I",
            *(b"PK\1\2", 20, 20, member.flags, member.method, 0, 33, crc, len(packed), size),
            *(len(name), 0, 0, 0, 0, 0, at),
        )
        directory += name
    n = len(members) if count is None else count
    length = len(directory) if directory_size is None else directory_size
    return body + directory + struct.pack("<4s4H2IH", b"PK\5\6", disk, disk, n, n, length, len(body), 0) + tail


# ---------------------------------------------------------------------------------------------------------- safetensors


def safetensors(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with this header: text, bytes, or something that JSON can write."""
    raw = header if isinstance(header, bytes) else (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(begin: int = 0, end: int = 24, shape: Sequence[int] = (2, 3), dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


# ----------------------------------------------------------------------------------------------------------------- gguf


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str | bytes, kind: int, raw: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + raw


def info(name: str | bytes = "a", dims: Sequence[int] = (3, 2), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf(
    infos: Sequence[bytes] = (),
    entries: Sequence[bytes] = (),
    data: bytes = bytes(24),
    *,
    version: int = 3,
    magic: bytes = b"GGUF",
    n_infos: int | None = None,
    n_entries: int | None = None,
    alignment: int = 32,
) -> bytes:
    counts = (len(infos) if n_infos is None else n_infos, len(entries) if n_entries is None else n_entries)
    head = magic + struct.pack("<IQQ", version, *counts) + b"".join(entries) + b"".join(infos)
    return head + bytes(-len(head) % alignment) + data
