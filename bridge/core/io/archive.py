"""The directory of a zip file, read without trusting it.

A zip file says everything twice: in the directory at its end and before each member. Tools that believe different
halves see different files, so only what both say alike is taken. Members that overlap, that are encrypted, that expand
beyond what deflate can do, or whose names would leave a folder are refused.

Source: PKWARE's APPNOTE 6.3.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy

from bridge.core.io.files import File, shown

__all__ = ["DEFLATED", "STORED", "Member", "inflate", "inflate_start", "is_inside", "members"]

STORED, DEFLATED = 0, 8
_METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "Zstandard",
    95: "XZ",
    99: "AES encryption",
}
_END, _END64, _LOCATOR, _CENTRAL, _LOCAL = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2", b"PK\3\4"
_ENCRYPTED, _MASKED, _UTF8 = 1, 1 << 13, 1 << 11
_LATER = 1 << 3  # sizes stand after the member
_MOST = 1032  # bytes that deflate can make of one
#: Beyond this, members that expand by more than `max_ratio` are taken for a bomb.
_HARMLESS = 1 << 30


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the archive; offsets from the beginning of the archive."""

    name: str
    method: int  # STORED or DEFLATED
    crc: int
    begin: int  # of its bytes as they are stored
    stored: int  # their number
    size: int  # ... and what they become


def members(file: File, *, max_ratio: float) -> list[Member]:
    """All members, folders left out. FormatError if anything does not fit together."""
    entries, directory = _entries(file)
    names: set[str] = set()
    found, spans = [], []
    for entry in entries:
        if entry.name in names:
            file.refuse(f"two members are called {shown(entry.name)}.")
        names.add(entry.name)
        begin = _data_begin(file, entry, directory)
        spans.append((entry.local, begin + entry.stored, entry.name))
        if not entry.name.endswith("/"):
            found.append(Member(entry.name, entry.method, entry.crc, begin, entry.stored, entry.size))
    end, last = 0, ""
    for start, stop, name in sorted(spans):
        if start < end:
            file.refuse(f"it overlaps member {shown(last)}.", name, kind="member")
        end, last = stop, name
    _refuse_bombs(file, found, max_ratio)
    return found


def _refuse_bombs(file: File, found: list[Member], max_ratio: float) -> None:
    for one in found:
        if one.method == STORED and one.size != one.stored:
            file.refuse(
                f"it is stored as it is and has two sizes, {one.stored} and {one.size} bytes.", one.name, kind="member"
            )
        if one.size > _MOST * (one.stored + 1):
            ratio = one.size // max(one.stored, 1)
            file.refuse(
                f"it says that it expands {ratio}:1, and {_MOST}:1 is the most that deflate can.",
                one.name,
                kind="member",
            )
    size, stored = sum(one.size for one in found), sum(one.stored for one in found)
    if size > _HARMLESS and size > max_ratio * stored:
        file.refuse(
            f"{stored} bytes expand to {size}, {size // max(stored, 1)}:1, as those of a bomb do.",
            fix=f"bridge.load(file, max_ratio={size // max(stored, 1) + 1}), if that is meant",
        )


# ---------------------------------------------------------------------------------------------------------- directories


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the directory says of a member."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    stored: int
    size: int
    local: int  # where the member's own header is


def _entries(file: File) -> tuple[list[_Entry], int]:
    """The entries, and where the directory begins."""
    count, size, offset = _end(file)
    raw = file.read(offset, size)
    entries, at = [], 0
    for _ in range(count):
        entry, at = _entry(file, raw, at)
        entries.append(entry)
    if at != size:
        file.refuse(f"the directory has {size} bytes, and its {count} entries take {at}.")
    return entries, offset


def _end(file: File) -> tuple[int, int, int]:
    """Number of entries, size and offset of the directory."""
    tail_begin = max(0, file.size - 22 - 0xFFFF)
    tail = file.read(tail_begin, file.size - tail_begin)
    at = tail.rfind(_END)
    while at >= 0 and (at + 22 > len(tail) or at + 22 + struct.unpack_from("<H", tail, at + 20)[0] != len(tail)):
        at = tail.rfind(_END, 0, at)
    if at < 0:
        file.refuse("it has no directory at its end: it is no zip file, or it was cut off.")
    disk, directory_disk, here, count, size, offset = struct.unpack_from("<4H2I", tail, at + 4)
    stop = tail_begin + at
    if at >= 20 and tail[at - 20 : at - 16] == _LOCATOR:
        disk, directory_disk, here, count, size, offset, stop = _end64(file, tail[at - 20 : at], stop - 20)
    elif 0xFFFF in (here, count) or 0xFFFFFFFF in (size, offset):
        file.refuse("the directory of its large files is missing.")
    if disk or directory_disk or here != count:
        file.refuse("it is one part of an archive of several files.")
    if offset + size != stop:
        file.refuse(f"its directory should end at {offset + size} and ends at {stop}.")
    if count * 46 > size:
        file.refuse(f"the directory has {size} bytes, too few for {count} entries.")
    return count, size, offset


def _end64(file: File, locator: bytes, stop: int) -> tuple[int, int, int, int, int, int, int]:
    disk, offset, disks = struct.unpack_from("<IQI", locator, 4)
    if disk or disks > 1:
        file.refuse("it is one part of an archive of several files.")
    if offset + 56 > stop:
        file.refuse("the directory of its large files is not where it should be.")
    raw = file.read(offset, 56)
    length = struct.unpack_from("<Q", raw, 4)[0]
    if raw[:4] != _END64 or offset + 12 + length != stop:
        file.refuse("the directory of its large files is damaged.")
    here_disk, directory_disk, here, count, size, begin = struct.unpack_from("<2I4Q", raw, 16)
    return here_disk, directory_disk, here, count, size, begin, offset


def _entry(file: File, raw: bytes, at: int) -> tuple[_Entry, int]:
    if len(raw) - at < 46 or raw[at : at + 4] != _CENTRAL:
        file.refuse("the directory is damaged.")
    flags, method = struct.unpack_from("<2H", raw, at + 8)
    crc, stored, size, name_size, extra_size, comment_size = struct.unpack_from("<3I3H", raw, at + 16)
    (local,) = struct.unpack_from("<I", raw, at + 42)
    name_begin = at + 46
    extra_begin = name_begin + name_size
    stop = extra_begin + extra_size + comment_size
    if stop > len(raw):
        file.refuse("the directory is damaged.")
    raw_name = raw[name_begin:extra_begin]
    name = _name(file, raw_name, flags)
    large = _large(file, name, raw[extra_begin : extra_begin + extra_size], (size, stored, local))
    size, stored, local = large
    if flags & (_ENCRYPTED | _MASKED):
        file.refuse("it is encrypted.", name, kind="member")
    if method not in (STORED, DEFLATED):
        called = _METHODS.get(method, "not known")
        file.refuse(
            f"it is compressed by the method {method} ({called}); stored and deflated members are read.",
            name,
            kind="member",
        )
    return _Entry(name, raw_name, flags, method, crc, stored, size, local), stop


def _name(file: File, raw: bytes, flags: int) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        file.refuse("the name of a member is not UTF-8.")
    if not is_inside(name):
        file.refuse(f"the member name {shown(name)} would leave the folder that it is unpacked in.")
    return name


def is_inside(name: str) -> bool:
    """Whether a member of that name stays in the folder that it is unpacked in, on any system."""
    pieces = name.replace("\\", "/").split("/")
    drive = len(pieces[0]) == 2 and pieces[0][1] == ":"
    return bool(name) and "\0" not in name and pieces[0] != "" and ".." not in pieces and not drive


def _large(file: File, name: str, extra: bytes, given: tuple[int, int, int]) -> tuple[int, int, int]:
    """Size, stored size and offset, from the extra field where they do not fit into 32 bits."""
    if 0xFFFFFFFF not in given:
        return given
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        field = extra[at + 4 : at + 4 + length]
        at += 4 + length
        if kind != 1:
            continue
        if len(field) != length or len(field) < 8 * given.count(0xFFFFFFFF):
            break
        numbers = iter(struct.unpack_from(f"<{len(field) // 8}Q", field))
        first, second, third = (next(numbers) if one == 0xFFFFFFFF else one for one in given)
        return first, second, third
    file.refuse("the directory has no size for it.", name, kind="member")


def _data_begin(file: File, entry: _Entry, directory: int) -> int:
    """Where the member's bytes begin, if its own header says what the directory says."""
    if entry.local + 30 > directory:
        file.refuse("it begins beyond the members.", entry.name, kind="member")
    head = file.read(entry.local, 30)
    flags, method = struct.unpack_from("<2H", head, 6)
    crc, stored, size, name_size, extra_size = struct.unpack_from("<3I2H", head, 14)
    begin: int = entry.local + 30 + name_size + extra_size
    if head[:4] != _LOCAL:
        file.refuse("there is no member where the directory says.", entry.name, kind="member")
    if begin + entry.stored > directory:
        file.refuse("it goes on beyond the members.", entry.name, kind="member")
    if file.read(entry.local + 30, name_size) != entry.raw_name:
        file.refuse("it has another name in the directory.", entry.name, kind="member")
    if method != entry.method or flags & (_ENCRYPTED | _MASKED):
        file.refuse("it is compressed or encrypted in another way than the directory says.", entry.name, kind="member")
    told = (crc, stored, size)
    for mine, theirs in zip(told, (entry.crc, entry.stored, entry.size), strict=True):
        later = flags & _LATER and mine == 0
        if mine not in (theirs, 0xFFFFFFFF) and not later:
            file.refuse("it has another size or checksum than the directory says.", entry.name, kind="member")
    return begin


# ------------------------------------------------------------------------------------------------------------ inflating


def inflate_start(file: File, member: Member, size: int) -> bytes:
    """At most `size` bytes of the beginning, for a look at the header inside."""
    if member.method == STORED:
        return file.read(member.begin, min(size, member.stored))
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    start = b""
    at = 0
    try:
        while len(start) < size and at < member.stored and not unpack.eof:
            piece = file.read(member.begin + at, min(1 << 14, member.stored - at))
            at += len(piece)
            start += unpack.decompress(piece, size - len(start))
    except zlib.error:
        file.refuse("its compressed bytes are damaged.", member.name, kind="member")
    return start


def inflate(file: File, member: Member, stored: numpy.ndarray[tuple[int], numpy.dtype[numpy.uint8]]) -> memoryview:
    """All its bytes, which are as many as the directory says, and have its checksum."""
    out = numpy.empty(member.size, numpy.uint8)
    unpack = zlib.decompressobj(-zlib.MAX_WBITS)
    filled, at, pending = 0, 0, b""
    source = stored.data
    try:
        while not unpack.eof and (pending or at < len(source)):
            if not pending:
                pending = bytes(source[at : at + (1 << 18)])
                at += len(pending)
            # One byte more than is missing, so that too many are noticed.
            piece = unpack.decompress(pending, min(1 << 20, member.size - filled + 1))
            pending = unpack.unconsumed_tail
            if filled + len(piece) > member.size:
                file.refuse(
                    f"it has more than the {member.size} bytes that the directory says.", member.name, kind="member"
                )
            out[filled : filled + len(piece)] = numpy.frombuffer(piece, numpy.uint8)
            filled += len(piece)
    except zlib.error:
        file.refuse("its compressed bytes are damaged.", member.name, kind="member")
    if not unpack.eof or filled != member.size:
        file.refuse(f"it has {filled} bytes, and the directory says {member.size}.", member.name, kind="member")
    if at < len(source) or pending or unpack.unused_data:
        file.refuse("bytes follow the end of its compressed bytes.", member.name, kind="member")
    check(file, member, out.data)
    return out.data


def check(file: File, member: Member, content: memoryview) -> None:
    """FormatError if the bytes have another checksum than the directory says."""
    if zlib.crc32(content) != member.crc:
        file.refuse("its checksum is wrong: the bytes have changed since it was written.", member.name, kind="member")
