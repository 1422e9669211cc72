"""Functions that take `stream=` run on it as a whole.

A function made of other ops may hand its stream on to some of them only, and to an operator it cannot. So each is
replaced by a native callable around it (`bridge.core._native.place`), which makes the stream the thread's own for the
time of the call. Inside, passing `stream=` on is allowed and not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from bridge.core._native import place

__all__ = ["on_stream", "replace"]

_placed: dict[FunctionType, Callable[..., Any]] = {}


def on_stream(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run on the stream that it is given; itself, if it is native or takes none."""
    if not isinstance(function, FunctionType):
        return function
    if function not in _placed:
        code = function.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if "stream" not in names:
            return function
        at = names.index("stream")
        _placed[function] = place(function, at if at < code.co_argcount else -1)
    return _placed[function]


def replace(modules: Iterable[ModuleType]) -> None:
    """Put the callables in the place of the public functions of the modules."""
    for module in modules:
        for name, value in list(vars(module).items()):
            if not name.startswith("_") and isinstance(value, FunctionType):
                setattr(module, name, on_stream(value))
