"""Devices and streams: where work runs. The `stream=` argument of every op takes one of these, or None.

Memory is unified, so an array has no device and no stream; only work has one. A stream is a queue of work. What is on
different streams runs beside each other, and what depends on each other is ordered by the engine, across streams too.
Names and signatures are MLX's; unlike there, a stream works from any thread.

None is the default stream of the default device, both settings of the calling thread. The default stream of the CPU
runs in the thread that asks for the values, so small graphs are handed to nobody.
"""

from __future__ import annotations

import itertools
import os
import platform
import weakref
from _thread import _local
from enum import Enum
from typing import Any, TypeAlias

from bridge.core import _native

__all__ = [
    "Device",
    "DeviceType",
    "Stream",
    "StreamContext",
    "ThreadLocalStream",
    "check",
    "clear_streams",
    "cpu",
    "default_device",
    "default_stream",
    "device_count",
    "device_info",
    "gpu",
    "is_available",
    "new_stream",
    "new_thread_local_stream",
    "new_thread_unsafe_stream",
    "number",
    "set_default_device",
    "set_default_stream",
    "stream",
    "synchronize",
]


class DeviceType(Enum):
    """A kind of processor: `bridge.cpu`, or `bridge.gpu` where Metal is available. It equals its first device."""

    cpu = 0
    gpu = 1

    def __repr__(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Device):
            return other == self
        return self is other

    def __hash__(self) -> int:
        return hash((self.name, 0))


cpu = DeviceType.cpu
gpu = DeviceType.gpu


class Device:
    """A processor that ops can run on. Equal when type and index are; a type counts as its first device."""

    __slots__ = ("_index", "_type")

    def __init__(self, type: DeviceType, index: int = 0) -> None:
        if not isinstance(type, DeviceType):
            raise TypeError(f"[bridge.Device] the type must be bridge.cpu or bridge.gpu, not {_kind(type)}.")
        self._type = type
        self._index = int(index)

    @property
    def type(self) -> DeviceType:
        return self._type

    def __repr__(self) -> str:
        return f"Device({self._type.name}, {self._index})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DeviceType):
            return self._type is other and self._index == 0
        return isinstance(other, Device) and (self._type, self._index) == (other._type, other._index)

    def __hash__(self) -> int:
        return hash((self._type.name, self._index))

    def __reduce__(self) -> tuple[Any, ...]:
        return Device, (self._type, self._index)


class Stream:
    """A queue of work for a device. Made by `new_stream`; works from any thread."""

    __slots__ = ("__weakref__", "_device", "_index", "_number")

    def __init__(self) -> None:
        raise TypeError("[bridge.Stream] streams are made by bridge.new_stream(device).")

    @property
    def device(self) -> Device:
        return self._device

    def __repr__(self) -> str:
        return f"Stream({self._device}, {self._index})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and (self._device, self._index) == (other._device, other._index)

    def __hash__(self) -> int:
        return hash((self._device, self._index))

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(f"[bridge.Stream] {self!r} belongs to this process and cannot be sent to another.")

    _device: Device
    _index: int  # never used again
    _number: int  # of the engine, which uses it again once the stream is gone


class ThreadLocalStream:
    """Stands for a stream of its own in every thread that uses it."""

    __slots__ = ("_device", "_index", "_streams")

    def __init__(self) -> None:
        raise TypeError("[bridge.ThreadLocalStream] it is made by bridge.new_thread_local_stream(device).")

    @property
    def device(self) -> Device:
        return self._device

    def __repr__(self) -> str:
        return f"ThreadLocalStream({self._device}, {self._index})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ThreadLocalStream) and (self._device, self._index) == (other._device, other._index)

    def __hash__(self) -> int:
        return hash((ThreadLocalStream, self._device, self._index))

    _device: Device
    _index: int
    _streams: Any


StreamOrDevice: TypeAlias = Stream | ThreadLocalStream | Device | DeviceType

_indices = itertools.count(1)
_local_indices = itertools.count()


def _kind(value: object) -> str:
    return type(value).__name__


def _make(device: Device, index: int, number: int) -> Stream:
    made = object.__new__(Stream)
    made._device, made._index, made._number = device, index, number
    return made


_CPU = Device(cpu)
_DEFAULT = _make(_CPU, 0, 0)  # of the CPU, in every thread


class _Settings(_local):
    """What a thread has set. Nothing is kept of a thread that has ended."""

    def __init__(self) -> None:
        self.device = _CPU
        self.default = _DEFAULT  # stream of the CPU
        self.made: weakref.WeakSet[Stream] = weakref.WeakSet()


_settings = _Settings()


def _device_of(device: Any, where: str) -> Device:
    """The device that is meant.

    Raises:
        TypeError:  not a device.
        ValueError: a device that this machine does not have; the text says why.
    """
    if isinstance(device, DeviceType):
        device = Device(device)
    if not isinstance(device, Device):
        raise TypeError(f"[bridge.{where}] a device is wanted: bridge.cpu or bridge.gpu, not {_kind(device)}.")
    if device == _CPU:
        return _CPU
    raise ValueError(_missing(device))


def _missing(device: Device) -> str:
    """Why nothing can run there. The Metal backend takes this function's place for its devices."""
    if device.type is cpu:
        return f"[bridge] there is no device {device!r}.\n  want: bridge.cpu"
    from bridge import metal

    return f"[bridge] nothing can run on {device!r}: {metal.reason()}\n  fix:  stream=bridge.cpu"


def number(stream: Any) -> int:
    """The engine's number of a stream. The extension calls it for every `stream=` that is not None.

    Raises:
        TypeError:  not a stream and not a device.
        ValueError: a device that this machine does not have; the text says why.
    """
    return _stream_of(stream)._number


def check(stream: Any) -> None:
    """Raise unless work can run there: see `number`."""
    number(stream)


_native._set_number_of(number)


def _stream_of(stream: Any) -> Stream:
    if isinstance(stream, Stream):
        return stream
    if isinstance(stream, ThreadLocalStream):
        own: Stream | None = getattr(stream._streams, "stream", None)
        if own is None:
            own = stream._streams.stream = new_stream(stream.device)
        return own
    if isinstance(stream, Device | DeviceType):
        _device_of(stream, "stream")
        return _settings.default
    raise TypeError(f"[bridge] stream must be a stream, a device (bridge.cpu) or None, not {_kind(stream)}.")


def default_device() -> Device:
    """The device on which this thread's ops run when they are not told another one."""
    return _settings.device


def set_default_device(device: Device | DeviceType) -> None:
    """Let this thread's ops run there when they are not told another device.

    Raises:
        ValueError: this machine does not have it; the text says why.
    """
    _settings.device = _device_of(device, "set_default_device")


def default_stream(device: Device | DeviceType) -> Stream:
    """The stream on which this thread's work for the device is put when no other is named."""
    _device_of(device, "default_stream")
    return _settings.default


def set_default_stream(stream: Stream) -> None:
    """Make it this thread's default stream of its device. The default device stays what it is."""
    if not isinstance(stream, Stream):
        raise TypeError(f"[bridge.set_default_stream] a stream is wanted, not {_kind(stream)}.")
    _settings.default = stream
    _native._set_current_stream(stream._number)


def new_stream(device: Device | DeviceType) -> Stream:
    """Make a stream of a device. It works from any thread, and ends when nobody holds it and its work is done.

    Its thread is started with its first work.
    """
    made = _make(_device_of(device, "new_stream"), next(_indices), _native._new_stream())
    weakref.finalize(made, _native._close_stream, made._number).atexit = False
    _settings.made.add(made)
    return made


def new_thread_unsafe_stream(device: Device | DeviceType) -> Stream:
    """Make a stream of a device: the same as `new_stream`, whose streams are safe in any thread."""
    return new_stream(device)


def new_thread_local_stream(device: Device | DeviceType) -> ThreadLocalStream:
    """Make what stands for a stream of its own in every thread that uses it."""
    made = object.__new__(ThreadLocalStream)
    made._device = _device_of(device, "new_thread_local_stream")
    made._index = next(_local_indices)
    made._streams = _local()
    return made


class StreamContext:
    """Sets the default device and stream of this thread for a block. See `stream`."""

    __slots__ = ("_before", "_stream")

    def __init__(self, s: StreamOrDevice) -> None:
        self._stream = s
        self._before: list[tuple[Device, Stream]] = []
        if not isinstance(s, Stream | ThreadLocalStream | Device | DeviceType):
            raise TypeError(f"[bridge.stream] a stream or a device is wanted, not {_kind(s)}.")
        if isinstance(s, Device | DeviceType):
            _device_of(s, "stream")

    def __enter__(self) -> None:
        stream = _stream_of(self._stream)
        self._before.append((_settings.device, _settings.default))
        _settings.device = stream.device
        set_default_stream(stream)

    def __exit__(self, exc_type: Any = None, exc_value: Any = None, traceback: Any = None) -> None:
        _settings.device, stream = self._before.pop()
        set_default_stream(stream)


def stream(s: StreamOrDevice) -> StreamContext:
    """A context manager that makes a stream or a device this thread's default.

    Args:
        s: a stream; or a device, whose default stream it is then.
    """
    return StreamContext(s)


def synchronize(stream: StreamOrDevice | None = None) -> None:
    """Wait until all work that was started on a stream has ended. What failed raises where its arrays are needed.

    Args:
        stream: a stream; a device, for its default stream; None for the default stream of the default device.
    """
    _native._synchronize(number(_settings.device if stream is None else stream))


def clear_streams() -> None:
    """Wait for the streams that this thread has made, and end their threads. One that is used again starts anew."""
    for one in list(_settings.made):
        _native._synchronize(one._number)
        _native._close_stream(one._number)
        if one == _settings.default:
            set_default_stream(_DEFAULT)
    _settings.made.clear()


def is_available(device: Device | DeviceType) -> bool:
    """Whether work can run there."""
    if not isinstance(device, Device | DeviceType):
        raise TypeError(f"[bridge.is_available] a device is wanted, not {_kind(device)}.")
    return device == _CPU


def device_count(device_type: DeviceType) -> int:
    """How many devices of a type there are."""
    if not isinstance(device_type, DeviceType):
        raise TypeError(f"[bridge.device_count] the type of a device is wanted, not {_kind(device_type)}.")
    return int(device_type is cpu)


def device_info(d: Device | DeviceType | None = None) -> dict[str, str | int]:
    """What is known of a device: device_name, architecture, memory_size in bytes. Empty for one that is not there."""
    if not is_available(_settings.device if d is None else d):
        return {}
    info: dict[str, str | int] = {"device_name": _processor(), "architecture": platform.machine()}
    if hasattr(os, "sysconf"):
        info["memory_size"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return info


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
