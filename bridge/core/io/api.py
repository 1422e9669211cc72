"""load() and the save functions."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from bridge.core import devices
from bridge.core._native import array
from bridge.core.errors import FormatError, message
from bridge.core.io import gguf, npy, npz, safetensors
from bridge.core.io.archive import is_inside
from bridge.core.io.files import File, opened
from bridge.core.io.writing import as_arrays, destination, write

__all__ = ["FORMATS", "format_of", "load", "save", "save_gguf", "save_safetensors", "savez", "savez_compressed"]

FORMATS = ("npy", "npz", "safetensors", "gguf")

#: Members of an archive of more than 1 GiB expand at most by this factor.
_MAX_RATIO = 200.0


def load(
    file: Any,
    /,
    format: str | None = None,
    return_metadata: bool = False,
    *,
    stream: Any = None,
    dtype: Any = None,
    dequantize: bool = False,
    verify: bool = False,
    max_ratio: float = _MAX_RATIO,
) -> Any:
    """Array(s) of a file: npy, npz, safetensors or gguf.

    Only the headers are read now. The arrays are read-only views of the mapped file; an in-place update moves the array
    to memory of its own. Bytes that cannot be viewed (compressed, misaligned, in the other byte order, packed) are
    converted when the array is evaluated. An array over a file that has become shorter raises FormatError when it is
    evaluated or exported.

    Args:
        file:            a path, or an open binary file, which is read from where it stands.
        format:          "npy", "npz", "safetensors" or "gguf"; None goes by the extension, then by the content.
        return_metadata: give (arrays, metadata) of a safetensors or gguf file.
        dtype:           what elements are that an npy file calls 'V2' or 'V1'; others keep the dtype that they have.
        dequantize:      give gguf's Q4_0, Q4_1 and Q8_0 tensors as float32; otherwise quantised tensors are the uint8
                         arrays of their blocks.
        verify:          compare the checksums of all members of an npz file now, which reads all of it.
        max_ratio:       how far an npz file of more than 1 GiB may expand.

    Returns:
        An array (npy) or a dict of arrays by name.

    Raises:
        OSError:     the file cannot be opened or mapped.
        FormatError: it is damaged or not of this format; the text names the tensor.
        ValueError:  the format is not known, or has no metadata.
    """
    if stream is not None:
        devices.check(stream)
    if format is not None and format not in FORMATS:
        raise ValueError(message("bridge.load", "the format is not known", got=format, want=", ".join(FORMATS)))
    source = opened(file)
    kind = format or format_of(file, source)
    if return_metadata and kind in ("npy", "npz"):
        raise ValueError(
            message("bridge.load", f"a file of the format {kind} has no metadata", fix="return_metadata=False")
        )
    wanted = npy.wanted_dtype(dtype)
    if kind == "npy":
        single, taken = npy.read(source, dtype=wanted)
        _skip(file, source.start + taken)
        return single
    _skip(file, source.start + source.size)
    if kind == "npz":
        return npz.read(source, dtype=wanted, max_ratio=max_ratio, verify=verify)
    arrays, metadata = safetensors.read(source) if kind == "safetensors" else gguf.read(source, dequantize=dequantize)
    return (arrays, metadata) if return_metadata else arrays


def _skip(file: Any, end: int) -> None:
    """An open file goes on after what was read, as if it had been read from it."""
    if type(file) in (io.FileIO, io.BufferedReader, io.BufferedRandom):
        file.seek(end)


_BEGINNINGS = ((npy.MAGIC, "npy"), (b"PK\3\4", "npz"), (b"PK\5\6", "npz"), (gguf.MAGIC, "gguf"))


def format_of(file: Any, source: File) -> str:
    """The format, by the extension if it is a known one, else by the first bytes. FormatError if neither tells."""
    name = file if isinstance(file, str | os.PathLike) else getattr(file, "name", None)
    if isinstance(name, str | os.PathLike):
        extension = PurePath(os.fsdecode(os.fspath(name))).suffix[1:].lower()
        if extension in FORMATS:
            return extension
    start = source.read(0, min(9, source.size))
    for beginning, kind in _BEGINNINGS:
        if start.startswith(beginning):
            return kind
    if start[8:9] == b"{":
        return "safetensors"
    raise FormatError(
        message("bridge.load", f"{source.name}: neither its name nor its content is of a known format", fix="format=")
    )


# --------------------------------------------------------------------------------------------------------------- saving


def save(file: Any, arr: array) -> None:
    """Save one array as npy.

    The file is replaced at once when everything is on the disk, so the old one stays whole whatever happens. The bytes
    go from the array to the system without a copy if it is row-major or column-major.

    Args:
        file: a path, to which ".npy" is added where it is missing, or an open binary file.
        arr:  the array. bfloat16 and other dtypes that NumPy has not are stored by name: numpy.load() reads them once
              ml_dtypes has been imported.
    """
    target = destination(file, ".npy")
    taken = as_arrays("bridge.save", {"arr": arr})["arr"]
    write(target, npy.parts(taken))


def savez(file: Any, *args: array, **kwargs: array) -> None:
    """Save arrays as npz, uncompressed: load() views them where they are.

    Args:
        file:   a path, to which ".npz" is added where it is missing, or an open binary file.
        args:   arrays, which are called arr_0, arr_1 and so on.
        kwargs: arrays by name.
    """
    _savez("bridge.savez", file, args, kwargs, compressed=False)


def savez_compressed(file: Any, *args: array, **kwargs: array) -> None:
    """Save arrays as npz, compressed. Arguments as for savez()."""
    _savez("bridge.savez_compressed", file, args, kwargs, compressed=True)


def _savez(tag: str, file: Any, args: tuple[array, ...], named: Mapping[str, array], *, compressed: bool) -> None:
    arrays = {f"arr_{i}": one for i, one in enumerate(args)}
    both = arrays.keys() & named.keys()
    if both:
        raise ValueError(message(tag, f"two arrays would be called {min(both)}", fix="another keyword"))
    for name in named:
        if not is_inside(name):
            raise ValueError(message(tag, f"the name {name!a} would leave the folder that it is unpacked in"))
    target = destination(file, ".npz")
    write(target, npz.parts(as_arrays(tag, {**arrays, **named}), compressed=compressed))


def save_safetensors(file: Any, arrays: dict[str, array], metadata: dict[str, str] | None = None) -> None:
    """Save arrays as safetensors.

    Args:
        file:     a path, to which ".safetensors" is added where it is missing, or an open binary file.
        arrays:   arrays by name.
        metadata: texts by name.

    Raises:
        DTypeError: the format has no name for a dtype (complex128, int4, uint4, float8_e4m3b11fnuz).
    """
    target = destination(file, ".safetensors")
    taken = as_arrays("bridge.save_safetensors", arrays)
    write(target, list(safetensors.parts(taken, metadata)))


def save_gguf(file: Any, arrays: dict[str, array], metadata: dict[str, Any] | None = None) -> None:
    """Save arrays as gguf.

    Args:
        file:     a path, to which ".gguf" is added where it is missing, or an open binary file.
        arrays:   arrays by name, of at most four axes.
        metadata: arrays of no or one axis, texts and lists of texts by name. "general.alignment" sets the alignment.

    Raises:
        DTypeError: the format has no type for a dtype (bool, unsigned integers, complex, float8).
    """
    target = destination(file, ".gguf")
    taken = as_arrays("bridge.save_gguf", arrays)
    write(target, list(gguf.parts(taken, metadata or {})))
