"""npz: a zip file of npy files. Members that are stored as they are become views of the map.

What is written begins on 64-byte boundaries, so that it can be viewed; members of other writers, which begin anywhere,
are copied when they are evaluated. Checksums are compared whenever bytes are copied, and for all members if
load(verify=True) asks for it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy

from bridge.core import _native
from bridge.core._native import Dtype, array
from bridge.core.dtypes import to_numpy, uint8
from bridge.core.io import npy
from bridge.core.io.archive import DEFLATED, STORED, Member, check, inflate, inflate_start, members
from bridge.core.io.files import File, lazily, shown
from bridge.core.io.writing import Part

__all__ = ["Entry", "entries", "parts", "read"]

_EXTENSION = ".npy"


@dataclass(frozen=True, slots=True)
class Entry:
    """An array of the file."""

    name: str
    member: Member
    header: npy.Header


def read(file: File, *, dtype: Dtype | None, max_ratio: float, verify: bool) -> dict[str, array]:
    """The arrays by name, in the order of the directory."""
    return {one.name: _array(file, one, verify=verify) for one in entries(file, dtype=dtype, max_ratio=max_ratio)}


def entries(file: File, *, dtype: Dtype | None, max_ratio: float, listed: bool = False) -> list[Entry]:
    """What the file holds. FormatError if it is no npz file, or a member is no array of numbers."""
    found: dict[str, Entry] = {}
    for member in members(file, max_ratio=max_ratio):
        if not member.name.endswith(_EXTENSION):
            file.refuse("it is no npy file.", member.name, kind="member")
        name = member.name.removesuffix(_EXTENSION)
        if name in found:
            file.refuse(f"two members are called {shown(name)}.")
        start = inflate_start(file, member, 1 << 10)
        if len(start) == 1 << 10 and _header_size(start) > len(start):
            start = inflate_start(file, member, 1 << 17)
        header = npy.header_at(file, start, name, dtype, listed=listed)
        nbytes = file.checked_size(header.dtype, header.shape, name)
        if header.size + nbytes != member.size:
            file.refuse(f"its header says {header.size + nbytes} bytes, and it has {member.size}.", name)
        found[name] = Entry(name, member, header)
    return list(found.values())


def _header_size(start: bytes) -> int:
    wide = start[6] > 1
    return int.from_bytes(start[8 : 12 if wide else 10], "little") + (12 if wide else 10)


def _array(file: File, one: Entry, *, verify: bool) -> array:
    member, header = one.member, one.header
    if member.method == STORED:
        if verify:
            check(file, member, memoryview(file.read(member.begin, member.size)))
        start = zlib.crc32(file.read(member.begin, header.size))

        def checked(flat: numpy.ndarray[Any, Any]) -> None:
            if zlib.crc32(flat.data, start) != member.crc:
                file.refuse("its checksum is wrong: the bytes have changed since it was written.", one.name)

        return file.array(
            member.begin + header.size,
            header.dtype,
            header.shape,
            one.name,
            columns=header.columns,
            swapped=header.swapped,
            check=checked,
        )
    raw = file.array(member.begin, uint8, (member.stored,), one.name)
    source = to_numpy(header.dtype)
    source = source.newbyteorder("S") if header.swapped else source

    def unpacked(stored: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
        content = numpy.frombuffer(inflate(file, member, stored), numpy.uint8)[header.size :].view(source)
        return content.reshape(header.shape[::-1]).T if header.columns else content.reshape(header.shape)

    values = lazily(unpacked, raw, header.dtype, header.shape)
    if verify:
        _native.eval(values)
    return values


# -------------------------------------------------------------------------------------------------------------- writing

_ALIGNMENT = 64
_LARGE = 0xFFFFFFFF
_PADDING = 0xD935  # the number under which the padding of aligned members is known
_EPOCH = (0, 0x21)  # 1980-01-01: the same arrays give the same file


def parts(arrays: Mapping[str, array], *, compressed: bool) -> Iterator[Part]:
    """The file, piece by piece."""
    directory, at = [], 0
    for name, a in arrays.items():
        pieces = list(npy.parts(a))
        crc = size = 0
        for piece in pieces:
            view = memoryview(piece).cast("B")
            crc, size = zlib.crc32(view, crc), size + len(view)
        if compressed:
            pieces = _deflated(pieces)
        stored = sum(len(memoryview(piece).cast("B")) for piece in pieces)
        head = _Head(name + _EXTENSION, DEFLATED if compressed else STORED, crc, stored, size, at)
        local = head.local(aligned=not compressed)
        yield local
        yield from pieces
        directory.append(head.central())
        at += len(local) + stored
    yield b"".join(directory) + _end(len(directory), sum(map(len, directory)), at)


def _deflated(pieces: list[Part]) -> list[Part]:
    pack = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    out: list[Part] = []
    for piece in pieces:
        view = memoryview(piece).cast("B")
        out += [pack.compress(view[at : at + (1 << 20)]) for at in range(0, len(view), 1 << 20)]
    out.append(pack.flush())
    return [piece for piece in out if piece]


@dataclass(frozen=True, slots=True)
class _Head:
    """What the two headers of a member say."""

    name: str
    method: int
    crc: int
    stored: int
    size: int
    local_at: int

    def local(self, *, aligned: bool) -> bytes:
        raw = self.name.encode("utf-8")
        large = struct.pack("<2H2Q", 1, 16, self.size, self.stored) if max(self.size, self.stored) >= _LARGE else b""
        begin = self.local_at + 30 + len(raw) + len(large)
        if aligned:
            padding = -(begin + 4) % _ALIGNMENT
            large += struct.pack("<2H", _PADDING, padding) + bytes(padding)
        sizes = (_LARGE, _LARGE) if max(self.size, self.stored) >= _LARGE else (self.stored, self.size)
        return (
            struct.pack("<4s5H3I2H", b"PK\3\4", *self._common(), self.crc, *sizes, len(raw), len(large)) + raw + large
        )

    def central(self) -> bytes:
        raw = self.name.encode("utf-8")
        numbers = (self.size, self.stored, self.local_at)
        wide = [one for one in numbers if one >= _LARGE]
        extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size, stored, local = (min(one, _LARGE) for one in numbers)
        made_by = 3 << 8 | 45  # Unix
        return (
            struct.pack("<4s6H3I", b"PK\1\2", made_by, *self._common(), self.crc, stored, size)
            + struct.pack("<5H2I", len(raw), len(extra), 0, 0, 0, 0o644 << 16, local)
            + raw
            + extra
        )

    def _common(self) -> tuple[int, int, int, int, int]:
        flags = 0 if self.name.isascii() else 1 << 11
        return 45, flags, self.method, *_EPOCH


def _end(count: int, size: int, offset: int) -> bytes:
    large = b""
    if count >= 0xFFFF or size >= _LARGE or offset >= _LARGE:
        large = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
        large += struct.pack("<4sIQI", b"PK\6\7", 0, offset + size, 1)
    few, small, near = min(count, 0xFFFF), min(size, _LARGE), min(offset, _LARGE)
    return large + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, few, few, small, near, 0)
