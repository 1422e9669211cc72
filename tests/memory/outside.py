"""Threads that Python does not know, and code that runs after Python has ended: what C++ libraries do with memory."""

from __future__ import annotations

import ctypes
from typing import Any

from dlpack import capsules

_process = ctypes.CDLL(None)  # releases the GIL around a call
_holding = ctypes.PyDLL(None)  # keeps it
for _library in (_process, _holding):
    _library.pthread_create.argtypes = [ctypes.c_void_p] * 4
    _library.pthread_join.argtypes = [ctypes.c_ulong, ctypes.c_void_p]

#: Calls a function when the process ends, after the interpreter: how destructors of C++ statics run.
at_exit = _process.__cxa_atexit
at_exit.argtypes = [ctypes.c_void_p] * 3


def on_bare_thread(function: int, argument: int, *, hold_gil: bool = False) -> None:
    """Calls a C function of one argument on a thread that has no Python state, and waits for it.

    hold_gil: waits without letting go of the GIL, so a function that needs it would wait for ever.
    """
    library, thread = _holding if hold_gil else _process, ctypes.c_ulong()
    assert library.pthread_create(ctypes.addressof(thread), None, function, argument) == 0
    assert library.pthread_join(thread, None) == 0


def taken(capsule: Any) -> tuple[int, int]:
    """Takes a capsule as a consumer does: the deleter, and what it is to be called with."""
    managed = capsules.read(capsule)
    versioned = b"versioned" in capsules.name(capsule)
    capsules._api.PyCapsule_SetName(capsule, capsules.USED_VERSIONED if versioned else capsules.USED_LEGACY)
    return managed.deleter, ctypes.addressof(managed)
