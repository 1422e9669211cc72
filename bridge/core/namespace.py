"""What the array API standard asks of a namespace besides its functions: inspection, and where arrays are.

`bridge` is itself the namespace. Memory is unified: an array is on no device in particular, so every array says that it
is on the CPU, where its bytes can always be read, and moving it to a device that exists gives the array itself.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from bridge.core import devices
from bridge.core._native import DTYPES, Dtype, array
from bridge.core.dtypes import TABLE, complex64, float32, int32
from bridge.core.errors import message
from bridge.core.lattice import KINDS

__all__ = ["API_VERSION", "Info", "array_namespace", "array_namespace_info", "check_device", "device_of", "to_device"]

API_VERSION = "2025.12"
# Every revision only adds to the one before, up to the current one.
_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12", API_VERSION)
_EXTRA = ("float16", "bfloat16")  # computed with, and unknown to the standard
_MAX_NDIM = 32
_CPU = devices.Device(devices.cpu)


class Info:
    """What `bridge.__array_namespace_info__()` gives: the standard's questions about a namespace.

    Source: Python array API standard 2025.12, inspection.
    """

    __slots__ = ()

    def capabilities(self) -> dict[str, Any]:
        """What the standard leaves open: boolean masks, shapes that depend on values, number of axes."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": _MAX_NDIM}

    def default_device(self) -> Any:
        """The device of an array that was made without naming one."""
        return _CPU

    def devices(self) -> tuple[Any, ...]:
        """What `device=` takes on this machine."""
        return (_CPU,)

    def default_dtypes(self, *, device: Any = None) -> dict[str, Dtype]:
        """The dtypes of Python numbers, and of positions in an array."""
        check_device(device)
        return {"real floating": float32, "complex floating": complex64, "integral": int32, "indexing": int32}

    def dtypes(self, *, device: Any = None, kind: str | tuple[str, ...] | None = None) -> dict[str, Dtype]:
        """The standard's dtypes by name: all of them, or those of one kind or of several.

        Raises:
            ValueError: there is no such kind.
        """
        check_device(device)
        kinds = (kind,) if isinstance(kind, str) else kind
        for one in kinds or ():
            if one not in KINDS:
                tag = "bridge.__array_namespace_info__().dtypes"
                raise ValueError(message(tag, "there is no such kind of dtypes", got=repr(one), want=", ".join(KINDS)))
        return {
            name: dtype
            for name, dtype in _STANDARD.items()
            if kinds is None or any(dtype in KINDS[one] for one in kinds)
        }


def array_namespace_info() -> Info:
    """Inspection of the namespace, as the array API standard asks for it."""
    return Info()


def array_namespace(a: array, api_version: str | None = None) -> ModuleType:
    """The module `bridge`, which is the array API namespace of its arrays.

    Raises:
        ValueError: a version of the standard that is not known.
    """
    if api_version is not None and api_version not in _VERSIONS:
        raise ValueError(
            message(
                "bridge.array.__array_namespace__",
                "this version of the array API is not known",
                got=repr(api_version),
                want=", ".join(_VERSIONS),
            )
        )
    return sys.modules["bridge"]


def device_of(a: array) -> Any:
    """The CPU: memory is unified, and every array can be read there."""
    return _CPU


def to_device(a: array, device: Any, /, *, stream: Any = None) -> array:
    """The array itself: memory is unified, so that nothing has to move.

    Raises:
        ValueError: this machine does not have the device, or it is none.
    """
    check_device(device)
    if stream is not None:
        devices.check(stream)
    return a


def check_device(device: Any) -> None:
    """Raise unless `device=` names where arrays can be: None, "cpu", or a device that this machine has.

    The extension calls it for every `device=` that is not None.

    Raises:
        ValueError: there is no such device; the text says why.
    """
    if device is None or device == devices.cpu or device == "cpu":
        return
    try:
        devices.check(devices.gpu if device == "gpu" else device)
    except TypeError:
        raise ValueError(
            message("bridge", "this is no device", got=repr(device), want='"cpu", bridge.cpu or bridge.gpu')
        ) from None


_STANDARD: dict[str, Dtype] = {
    row.name: DTYPES[row.name] for row in TABLE if row.kind != "held" and row.name not in _EXTRA
}
