"""A file as the readers see it: bytes at an offset, and lazy arrays over them."""

from __future__ import annotations

import io
import math
import os
import stat
from collections.abc import Callable
from typing import Any, NoReturn

import numpy

from bridge.core import _native
from bridge.core._native import Dtype, array
from bridge.core.dtypes import to_numpy, uint8
from bridge.core.errors import FormatError, message
from bridge.core.ops.host import Call

__all__ = ["MAX_NDIM", "File", "lazily", "opened", "shown"]

#: Axes that an array can have.
MAX_NDIM = 32
_MAX_BYTES = 2**63 - 1


class File:
    """Bytes from `start` on: of a file that is mapped, or of a buffer in the place of one.

    Offsets count from `start`. `size` is the number of bytes when the file was opened.
    """

    __slots__ = ("handle", "name", "size", "start")

    def __init__(self, handle: Any, name: str, start: int = 0) -> None:
        self.handle = handle
        self.name = name
        self.start = min(start, _native.file_size(handle))
        self.size = _native.file_size(handle) - self.start

    def refuse(
        self, problem: str, tensor: str | None = None, *, kind: str = "tensor", fix: str | None = None
    ) -> NoReturn:
        """Raise the FormatError that says what is wrong with the file, or with one of its tensors."""
        where = self.name if tensor is None else f"{self.name}: {kind} {shown(tensor)}"
        raise FormatError(message("bridge.load", f"{where}: {problem}", fix=fix))

    def read(self, offset: int, size: int) -> bytes:
        """A copy of these bytes, read without the map. FormatError if the file ends before."""
        if offset < 0 or size < 0 or offset > self.size or size > self.size - offset:
            self.refuse("the file ends too early.")
        return _native.read_file(self.handle, self.start + offset, size)

    def array(
        self,
        offset: int,
        dtype: Dtype,
        shape: tuple[int, ...],
        tensor: str | None = None,
        *,
        columns: bool = False,
        swapped: bool = False,
        check: Callable[[numpy.ndarray[Any, Any]], None] | None = None,
    ) -> array:
        """The array of these bytes: a view of the map where that is possible, else a copy made when it is evaluated.

        Args:
            columns: the first axis is the one whose elements lie side by side (Fortran's order).
            swapped: the bytes of an element are in the other order than this machine's.
            check:   called with the bytes (uint8) if they are copied, to raise if they are not what they should be.
        """
        nbytes = self.checked_end(offset, dtype, shape, tensor)
        swapped = swapped and dtype.size > 1
        if not swapped and (nbytes == 0 or self.is_aligned(offset, dtype.size)):
            return _native.map_array(self.handle, self.start + offset, dtype, shape, columns)
        raw = _native.map_array(self.handle, self.start + offset, uint8, (nbytes,))
        source = to_numpy(dtype).newbyteorder("S") if swapped else to_numpy(dtype)

        def straightened(flat: numpy.ndarray[Any, Any]) -> numpy.ndarray[Any, Any]:
            if check is not None:
                check(flat)
            values = flat.view(source)
            return values.reshape(shape[::-1]).T if columns else values.reshape(shape)

        return lazily(straightened, raw, dtype, shape)

    def checked_end(self, offset: int, dtype: Dtype, shape: tuple[int, ...], tensor: str | None = None) -> int:
        """Bytes of such an array. FormatError if the file ends before they do."""
        nbytes = self.checked_size(dtype, shape, tensor)
        if offset + nbytes > self.size:
            missing = offset + nbytes - self.size
            self.refuse(f"its {nbytes} bytes end {missing} bytes beyond the end of the file.", tensor)
        return nbytes

    def checked_size(self, dtype: Dtype, shape: tuple[int, ...], tensor: str | None = None) -> int:
        """Bytes of such an array. FormatError if there can be none."""
        if len(shape) > MAX_NDIM:
            self.refuse(f"it has {len(shape)} axes; {MAX_NDIM} are the most.", tensor)
        # Empty arrays as well: nobody else could hold a view of such a shape.
        if math.prod(extent or 1 for extent in shape) * dtype.size > _MAX_BYTES:
            self.refuse("its shape has more elements than can be counted.", tensor)
        return math.prod(shape) * dtype.size

    def is_aligned(self, offset: int, size: int) -> bool:
        """Whether the bytes at `offset` lie at a multiple of `size` in memory."""
        return bool((_native.file_address(self.handle) + self.start + offset) % size == 0)


def lazily(kernel: Callable[..., Any], raw: array, dtype: Dtype, shape: tuple[int, ...]) -> array:
    """The array that kernel(raw as a read-only ndarray) gives, called when it is needed."""
    node: array = _native.host(Call("bridge.load", kernel, {}, (dtype, shape)), (raw,), (dtype, shape), None)
    return node


def opened(file: Any) -> File:
    """The file under a path, or the rest of an open binary file.

    A path, and a file that `open(path, "rb")` gave, is mapped; anything else with `read` is read into memory. The
    descriptor that the caller opened stays his.

    Raises:
        OSError:   the path cannot be opened.
        TypeError: it is no path and has no `read`, or it gives text.
    """
    if isinstance(file, str | os.PathLike):
        return _open_path(os.fspath(file))
    if not hasattr(file, "read"):
        raise TypeError(message("bridge.load", "a file is a path or an object with read().", got=type(file).__name__))
    name = shown_name(file)
    if type(file) in (io.FileIO, io.BufferedReader, io.BufferedRandom):  # a GzipFile has a fileno(), too
        descriptor = file.fileno()
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return File(_native.map_file(descriptor, name), name, file.tell())
    return _whole(file.read(), name)


def _open_path(path: str | bytes) -> File:
    name = printable(os.fsdecode(path))
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return File(_native.map_file(descriptor, name), name)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(message("bridge.load", f"{name}: it is a folder."))
        if not stat.S_ISFIFO(mode):
            raise FormatError(
                message("bridge.load", f"{name}: it is no regular file.", fix="open it and pass the file")
            )
        with os.fdopen(os.dup(descriptor), "rb") as pipe:
            return _whole(pipe.read(), name)
    finally:
        os.close(descriptor)


def _whole(content: Any, name: str) -> File:
    if isinstance(content, str):
        raise TypeError(message("bridge.load", f"{name}: read() gives text.", fix='open(path, "rb")'))
    return File(_native.map_memory(bytes(content), name), name)


def shown_name(file: Any) -> str:
    """What errors call an open file."""
    name = getattr(file, "name", None)
    return printable(name) if isinstance(name, str) else f"<{type(file).__name__}>"


def shown(name: str) -> str:
    """A name that came out of a file, quoted: short, on one line, with nothing in it that a terminal obeys."""
    return ascii(name) if len(name) <= 80 else f"{name[:80]!a}..."


def printable(name: str) -> str:
    """A path as it is, or escaped where it holds what no terminal should see."""
    return name if name.isprintable() else ascii(name)[1:-1]
