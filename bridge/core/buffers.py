"""Questions about buffers that MLX answers too: how large they are, and how much may stay resident."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.core._native import _buffer, array
from bridge.core.errors import message

__all__ = ["get_array_buffer_size", "set_wired_limit"]

_wired = [0]


def get_array_buffer_size(*args: Any) -> int:
    """Bytes of the buffers behind the arrays in the arguments, each buffer once.

    Args:
        args: arrays, and dicts, lists and tuples of them; other leaves count for nothing.

    Raises:
        ValueError: an array has not been computed: it has no buffer.
    """
    buffers: dict[int, int] = {}
    left: list[Any] = list(args)
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            left.extend(one.values())
        elif isinstance(one, list | tuple):
            left.extend(one)
        elif isinstance(one, array):
            buffer = _buffer(one)
            if buffer is None:
                problem = "an array has not been computed, so it has no buffer"
                raise ValueError(message("bridge.get_array_buffer_size", problem, fix="bridge.eval(a) first"))
            buffers[buffer[0]] = buffer[1]
    return sum(buffers.values())


def set_wired_limit(limit: int) -> int:
    """Set how many bytes Metal keeps resident, and give back the old limit. The CPU keeps no memory wired.

    Raises:
        ValueError: the limit is negative.
    """
    if limit < 0:
        raise ValueError(message("bridge.set_wired_limit", "the limit is negative", got=str(limit)))
    old, _wired[0] = _wired[0], limit
    return old
