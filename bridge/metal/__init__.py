"""The Metal backend: whether it can run here, and why not.

`msl.py` prints fused kernels (`spec.py`) as Metal source, on any machine. What runs that source on a GPU is not part
of this version, so `is_available` is False everywhere.
"""

from __future__ import annotations

import sys

from bridge.core.errors import BridgeError, message

__all__ = ["device_info", "is_available", "reason"]

_SYSTEMS = {"linux": "Linux", "win32": "Windows"}


def is_available() -> bool:
    """Whether work can run on ``bridge.gpu``."""
    return False


def reason() -> str:
    """Why `is_available` is False, as a sentence."""
    if sys.platform != "darwin":
        return f"Metal exists on macOS only; this is {_SYSTEMS.get(sys.platform, sys.platform)}."
    return "this version of bridge has no Metal backend; all work runs on the CPU, in the same memory."


def device_info() -> dict[str, str | int]:
    """Name, architecture and limits of the GPU.

    Raises:
        BridgeError: nothing can run on a GPU here; the text says why.
    """
    raise BridgeError(
        message("bridge.metal.device_info", f"there is no Metal device: {reason()}", fix="bridge.metal.is_available()")
    )
