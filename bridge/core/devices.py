"""Where an op runs: the `stream=` argument of every op takes one of these, or None for the default.

Memory is unified, so an array has no device; only work has one. Streams of their own are not there yet: each device
has one queue, and work for the CPU runs in the calling thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Device", "check", "cpu", "gpu"]


@dataclass(frozen=True, slots=True)
class Device:
    """A processor that ops can run on: "cpu", or "gpu" where Metal is available."""

    type: str
    index: int = 0

    def __repr__(self) -> str:
        return f"Device({self.type}, {self.index})"


cpu = Device("cpu")
gpu = Device("gpu")


def check(stream: Any) -> None:
    """Raise unless work can run there. The extension calls it for every `stream=` that is not None.

    Raises:
        TypeError:  not a device.
        ValueError: a device that this machine does not have; the text says why.
    """
    if not isinstance(stream, Device):
        raise TypeError(f"[bridge] stream must be bridge.cpu, bridge.gpu or None, not {type(stream).__name__}.")
    if stream == cpu:
        return
    if stream.type != "gpu":
        raise ValueError(f"[bridge] there is no device {stream!r}.\n  want: bridge.cpu")
    from bridge import metal

    raise ValueError(f"[bridge] nothing can run on {stream!r}: {metal.reason()}\n  fix:  stream=bridge.cpu")
