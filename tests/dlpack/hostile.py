"""Capsules that lie, handed to `bridge.from_dlpack`. Each function returns what a test can judge, as plain values.

They run in a process of their own: a consumer that believes one of these capsules dies of it.
"""

from __future__ import annotations

import ctypes
import gc
from typing import Any

from dlpack.capsules import BFLOAT, BOOL, COMPLEX, CUDA, FLOAT, INT, LEGACY, METAL, OPAQUE, VERSIONED, Forged

import bridge

HUGE = 2**62

# name -> how the capsule is forged. None of them may be imported.
REFUSED: dict[str, dict[str, Any]] = {
    "NULL data": {"null_data": True},
    "NULL data, legacy": {"null_data": True, "versioned": False},
    "NULL shape": {"null_shape": True},
    "negative extent": {"shape": (2, -3), "strides": (3, 1)},
    "all extents negative": {"shape": (-2, -3), "strides": (3, 1)},
    "negative ndim": {"ndim": -1},
    "huge ndim": {"shape": (1,) * 100},
    "ndim of a wild integer": {"ndim": 2**31 - 1},
    "product of the extents overflows": {"shape": (2**32, 2**32), "strides": (2**32, 1)},
    "product overflows to a small number": {"shape": (2**62, 4, 2), "strides": (8, 2, 1)},
    "bytes overflow": {"shape": (HUGE,), "strides": (1,)},
    "strides overflow": {"shape": (2, 3), "strides": (HUGE, HUGE)},
    "strides overflow downwards": {"shape": (2, 3), "strides": (-HUGE, -HUGE)},
    "major version 2": {"version": (2, 0)},
    "major version 0 in a versioned capsule": {"version": (0, 8)},
    "major version of a wild integer": {"version": (2**32 - 1, 0)},
    "two lanes": {"lanes": 2},
    "no lane": {"lanes": 0},
    "unknown dtype code": {"code": 200},
    "opaque handle": {"code": OPAQUE, "bits": 64},
    "float8 of a kind that nobody has": {"code": 8, "bits": 8},
    "float8 of 16 bits": {"code": 12, "bits": 16},
    "packed integers of 4 bits": {"code": INT, "bits": 4, "flags": 1},
    "packed pairs of 4 bits": {"code": 17, "bits": 4, "lanes": 2},
    "padded pairs of 4 bits": {"code": 17, "bits": 4, "lanes": 2, "flags": 4},
    "padded integer of 2 bits": {"code": INT, "bits": 2, "flags": 4},
    "float of 24 bits": {"code": FLOAT, "bits": 24},
    "float of 0 bits": {"code": FLOAT, "bits": 0},
    "float of 128 bits": {"code": FLOAT, "bits": 128},
    "integer of 4 bits": {"code": INT, "bits": 4},
    "bfloat of 32 bits": {"code": BFLOAT, "bits": 32},
    "bool of 1 bit": {"code": BOOL, "bits": 1},
    "bool of 16 bits": {"code": BOOL, "bits": 16},
    "complex of 32 bits": {"code": COMPLEX, "bits": 32},
    "CUDA": {"device": (CUDA, 0)},
    "Metal": {"device": (METAL, 0)},
    "unknown device": {"device": (77, 0)},
    "negative device": {"device": (-1, 0)},
    "unknown name": {"label": b"something_else"},
    "already used, legacy": {"label": b"used_dltensor", "versioned": False},
    "already used, versioned": {"label": b"used_dltensor_versioned"},
    "byte offset past the address space": {"byte_offset": 2**64 - 8},
}

# name -> how it is forged, and the values that must come out (memory[i] == i, as float32). All of them are honest.
ACCEPTED: dict[str, tuple[dict[str, Any], Any]] = {
    "plain": ({}, [[0, 1, 2], [3, 4, 5]]),
    "legacy": ({"versioned": False}, [[0, 1, 2], [3, 4, 5]]),
    "minor version of the future": ({"version": (1, 99)}, [[0, 1, 2], [3, 4, 5]]),
    "strides NULL": ({"strides": None}, [[0, 1, 2], [3, 4, 5]]),
    "strides NULL, legacy": ({"strides": None, "versioned": False}, [[0, 1, 2], [3, 4, 5]]),
    "byte offset": ({"byte_offset": 8}, [[2, 3, 4], [5, 6, 7]]),
    "Fortran": ({"strides": (1, 2)}, [[0, 2, 4], [1, 3, 5]]),
    "gaps": ({"strides": (10, 2)}, [[0, 2, 4], [10, 12, 14]]),
    "backwards": ({"strides": (-3, -1), "byte_offset": 20}, [[5, 4, 3], [2, 1, 0]]),
    "stride 0": ({"strides": (0, 1)}, [[0, 1, 2], [0, 1, 2]]),
    "overlapping": ({"strides": (1, 1)}, [[0, 1, 2], [1, 2, 3]]),
    "wild stride of an axis of extent 1": ({"shape": (1, 3), "strides": (HUGE, 1)}, [[0, 1, 2]]),
    "0-d": ({"shape": (), "strides": ()}, 0),
    "0-d with NULL shape and strides": ({"shape": (), "strides": None, "null_shape": True}, 0),
    "zero size, NULL data": ({"shape": (0, 3), "null_data": True}, []),
    "zero size, wild strides": ({"shape": (3, 0), "strides": (HUGE, HUGE), "null_data": True}, [[], [], []]),
    "no deleter": ({"has_deleter": False}, [[0, 1, 2], [3, 4, 5]]),
    "read-only": ({"flags": 1}, [[0, 1, 2], [3, 4, 5]]),
    "copied": ({"flags": 2}, [[0, 1, 2], [3, 4, 5]]),
    "pinned host memory": ({"device": (3, 0)}, [[0, 1, 2], [3, 4, 5]]),
    "padded, although nothing is to pad": ({"flags": 4}, [[0, 1, 2], [3, 4, 5]]),
    "unknown flags": ({"flags": 1 << 40}, [[0, 1, 2], [3, 4, 5]]),
}


def forge(options: dict[str, Any]) -> Forged:
    forged = Forged(**{"shape": (2, 3), **options})
    for i in range(1024):
        ctypes.c_float.from_address(forged.address + 4 * i).value = i
    return forged


def refuse(name: str) -> dict[str, Any]:
    """The class and the text of the error, and how often the deleter was called in the end."""
    forged = forge(REFUSED[name])
    try:
        array = bridge.from_dlpack(forged)
        return {"accepted": repr((array.shape, array.dtype))}
    except Exception as error:
        classes, text = [c.__name__ for c in type(error).__mro__], str(error)
    gc.collect()
    return {"errors": classes, "text": text, "deleted": forged.deleted}


def accept(name: str) -> dict[str, Any]:
    """The values, whether the memory is the producer's, and how often the deleter was called before and after."""
    options, _ = ACCEPTED[name]
    forged = forge(options)
    array = bridge.from_dlpack(forged)
    values, before = array.tolist(), forged.deleted
    address = bridge.core._native.facts(array)[3]
    del array
    gc.collect()
    return {
        "values": values,
        "shared": address == forged.address + options.get("byte_offset", 0),
        "before": before,
        "after": forged.deleted,
        "requests": [sorted(r) for r in forged.requests],
        "label": ctypes.pythonapi.PyCapsule_GetName(ctypes.py_object(forged.capsule())).decode(),
    }


def twice(versioned: bool) -> dict[str, Any]:
    """A producer that hands out the same capsule again."""
    forged = forge({"versioned": versioned})
    first = bridge.from_dlpack(forged)
    try:
        bridge.from_dlpack(forged)
        return {"accepted": True}
    except Exception as error:
        classes, text = [c.__name__ for c in type(error).__mro__], str(error)
    values = first.tolist()
    del first
    gc.collect()
    return {"errors": classes, "text": text, "deleted": forged.deleted, "values": values}


class Old(Forged):
    """A producer from before max_version."""

    def __dlpack__(self, stream: Any = None) -> Any:
        return super().__dlpack__()


class Wrong:
    """What `__dlpack__` gives back is no capsule."""

    def __init__(self, result: Any, device: Any = (1, 0)) -> None:
        self.result, self.device = result, device

    def __dlpack__(self, **_: Any) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def __dlpack_device__(self) -> Any:
        return self.device


WRONG: dict[str, Any] = {
    "None": lambda: Wrong(None),
    "a number": lambda: Wrong(7),
    "itself": lambda: (lambda w: (setattr(w, "result", w), w)[1])(Wrong(None)),
    "an error of its own": lambda: Wrong(RuntimeError("no capsule today")),
    "device is no tuple": lambda: Wrong(None, device=3),
    "device raises": lambda: type("D", (Forged,), {"__dlpack_device__": lambda self: 1 // 0})(),
    "no protocol at all": object,
}


def wrong(name: str) -> dict[str, Any]:
    try:
        bridge.from_dlpack(WRONG[name]())
        return {"accepted": True}
    except Exception as error:
        return {"errors": [c.__name__ for c in type(error).__mro__], "text": str(error)}


def old(versioned: bool) -> dict[str, Any]:
    """TypeError for max_version: asked again without keywords."""
    producer = Old((2, 3), versioned=versioned)
    array = bridge.from_dlpack(producer)
    return {"shape": list(array.shape), "label": (VERSIONED if versioned else LEGACY).decode()}
