"""What several plugins need: an object around a capsule, memory by way of the buffer protocol, values to probe with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy

from bridge.core.framework import Access, Source
from bridge.core.memory import aligned_copy

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CPU", "PROBE", "Exporter", "by_buffer", "by_memoryview", "known_shape", "probe"]

#: The host's memory as DLPack names it: device type, device number.
CPU = (1, 0)

#: What a private door is tried with before it is trusted.
PROBE = tuple(range(1, 17))


class Exporter:
    """An object with `__dlpack__` around one capsule, for consumers that take no capsule. Good for one consumer."""

    __slots__ = ("capsule", "device")

    def __init__(self, capsule: Any, device: tuple[int, int] = CPU) -> None:
        self.capsule = capsule
        self.device = device

    def __dlpack__(self, **_: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


def by_buffer(source: Source, access: Access) -> NDArray[Any]:
    """The source's memory as NumPy sees it through the buffer protocol."""
    return numpy.asarray(source.buffer(access=access))


def by_memoryview(source: Source, access: Access) -> NDArray[Any]:
    """The same through a memoryview, which asks for the full buffer: shape, strides and format."""
    return numpy.asarray(memoryview(source.buffer(access=access)))


def known_shape(array: Any) -> tuple[int, ...]:
    """The shape of something that may have none, or one with unknown extents: then ()."""
    try:
        return tuple(int(extent) for extent in array.shape)
    except Exception:
        return ()


def probe() -> NDArray[numpy.int32]:
    """The values of PROBE in new memory that every framework can share."""
    return aligned_copy(numpy.array(PROBE, numpy.int32))
