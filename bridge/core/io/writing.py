"""Atomic writing: a file is either the old one or the new one, whatever happens in between."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, TypeAlias

from bridge.core import _native
from bridge.core._native import array
from bridge.core.errors import message
from bridge.core.ops.shape import as_array

__all__ = ["Part", "as_arrays", "bytes_of", "destination", "write"]

#: Something that gives its bytes without a copy: bytes, a memoryview, a lease on an array.
Part: TypeAlias = Any

_BATCH = 512  # buffers to a system call; POSIX lets systems stop at 16, Linux and macOS take 1024
#: Bytes to a system call. The disk begins with each piece while the next is written, so that fsync waits for little.
_PIECE = 32 << 20
#: Files beyond this leave the system's memory as they are written, but for a few pieces: a checkpoint would push out
#: what is used, and pages that the system has to find for it take longer than the disk.
_CACHED = 256 << 20
_WINDOW = 4
_LARGE = 64 << 20


def destination(file: Any, extension: str) -> Any:
    """The path, with the extension of the format where it has another; an open file is taken as it is."""
    if isinstance(file, str | os.PathLike):
        path = os.fsdecode(os.fspath(file))
        return path if path.endswith(extension) else path + extension
    if not hasattr(file, "write"):
        raise TypeError(message("bridge.save", "a file is a path or an object with write().", got=type(file).__name__))
    return file


def as_arrays(tag: str, arrays: Any) -> dict[str, array]:
    """The arrays by name, evaluated all at once. TypeError if it is no dict of them."""
    if not isinstance(arrays, dict):
        raise TypeError(message(tag, "the arrays come as a dict from names to arrays.", got=type(arrays).__name__))
    for name in arrays:
        if not isinstance(name, str):
            raise TypeError(message(tag, "the name of an array is text.", got=type(name).__name__))
    taken = {name: as_array(one) for name, one in arrays.items()}
    _native.eval(taken)
    return taken


def bytes_of(a: array) -> Part:
    """The elements as flat row-major bytes: a view, or a copy where the array is not row-major or others write it."""
    return _native._bytes_lease(a)


def write(file: Any, parts: Iterable[Part]) -> None:
    """Write the parts, one after the other.

    A path is replaced at once, when everything is written and on the disk (fsync): a crash, a full disk or an error
    before that leaves the old file as it was. The new file has the old one's permissions; a symbolic link goes on
    pointing to it. What is no regular file (a pipe, /dev/stdout) and an open file are written to as they are.
    """
    if not isinstance(file, str):
        for part in parts:
            _write_to(file, memoryview(part).cast("B"))
        return
    path = os.path.realpath(file)
    try:
        old: os.stat_result | None = os.stat(path)
    except FileNotFoundError:
        old = None
    if old is not None and not stat.S_ISREG(old.st_mode):
        with open(path, "wb", buffering=0) as special:
            _write_all(special.fileno(), parts)
        return
    temporary = _temporary(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        try:
            if old is not None:
                _keep_owner(descriptor, old)
            _write_all(descriptor, parts)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _replace(temporary, path, old)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _replace(temporary: str, path: str, old: os.stat_result | None) -> None:
    """Put the new file in the place of the old one, whose pages go on another thread if they are many.

    To free them can take a third of the time that writing the new ones took.
    """
    kept = None
    if old is not None and old.st_size > _LARGE:
        with contextlib.suppress(OSError):
            kept = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.replace(temporary, path)
    finally:
        if kept is not None:
            threading.Thread(target=os.close, args=(kept,), daemon=True).start()


def _temporary(path: str) -> str:
    """A name beside `path` that nobody has, short enough wherever the name itself is."""
    folder, name = os.path.split(path)
    kept = os.fsencode(name)[:200].decode("utf-8", "ignore")
    return os.path.join(folder, f".{kept}.{secrets.token_hex(6)}.tmp")


def _keep_owner(descriptor: int, old: os.stat_result) -> None:
    fresh = os.fstat(descriptor)
    if (fresh.st_uid, fresh.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(OSError):  # only root may give files away
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _write_all(descriptor: int, parts: Iterable[Part]) -> None:
    waiting: deque[memoryview] = deque()
    pieces: deque[tuple[int, int]] = deque()  # on their way to the disk
    size = at = 0
    for part in parts:
        view = memoryview(part).cast("B")
        if len(view):
            waiting.append(view)
            size += len(view)
        while size >= _PIECE or len(waiting) >= _BATCH:
            written = _write_some(descriptor, waiting)
            _native.write_out(descriptor, at, written, False)
            pieces.append((at, written))
            size, at = size - written, at + written
            while at > _CACHED and len(pieces) > _WINDOW:
                _native.write_out(descriptor, *pieces.popleft(), True)
    while waiting:
        _write_some(descriptor, waiting)


def _write_some(descriptor: int, waiting: deque[memoryview]) -> int:
    """Give the system a piece of what waits, and take away what it took."""
    batch: list[memoryview] = []
    room = _PIECE
    for view in itertools.islice(waiting, _BATCH):
        batch.append(view[:room])
        room -= len(batch[-1])
        if room == 0:
            break
    written = taken = os.writev(descriptor, batch)
    while waiting and taken >= len(waiting[0]):
        taken -= len(waiting.popleft())
    if taken:
        waiting[0] = waiting[0][taken:]
    return written


def _write_to(file: Any, view: memoryview) -> None:
    """To an object with write(), which may take less than it is given (a raw file)."""
    while len(view):
        taken = file.write(view)
        if not isinstance(taken, int) or taken >= len(view):
            return
        view = view[taken:]
