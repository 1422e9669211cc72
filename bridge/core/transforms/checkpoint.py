"""`checkpoint`: derivatives that compute values again instead of keeping them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from bridge.core import _native
from bridge.core._native import array
from bridge.core.errors import message
from bridge.core.transforms.custom import Arrays, Call, Changes
from bridge.core.transforms.nest import leaves, rebuilt
from bridge.core.transforms.reverse import vjp
from bridge.core.transforms.tape import Trace

P = ParamSpec("P")
R = TypeVar("R")


def checkpoint(fun: Callable[P, R]) -> Callable[P, R]:
    """The same function, of which a derivative keeps the arguments only: what lies between is computed a second time
    on the way back, when it is needed. Less memory, more work.

    Arrays that the function captures count as arguments, so their gradients are right, too. The function itself is
    called once.
    """
    if not callable(fun):
        raise TypeError(message("bridge.checkpoint", "a function is wanted.", got=type(fun).__name__))

    @functools.wraps(fun)
    def checkpointed(*args: P.args, **kwargs: P.kwargs) -> R:
        if not _native._is_tracing():
            return fun(*args, **kwargs)
        values = leaves((args, kwargs))
        places = [k for k, leaf in enumerate(values) if isinstance(leaf, array)]
        arguments = [values[k] for k in places]
        with Trace("checkpoint") as trace:
            for k, one in zip(places, trace.inputs(arguments), strict=True):
                values[k] = one
            fresh_args, fresh_kwargs = rebuilt((args, kwargs), values)
            results = fun(*fresh_args, **fresh_kwargs)
            ends = leaves(results)
            at = [k for k, leaf in enumerate(ends) if isinstance(leaf, array)]
            graph, captured = _native._graph_make(trace.number, [ends[k] for k in at], True)
        flat = functools.partial(_native._graph_run, graph)
        call = Call(flat, lambda changes, outputs, xs: _again(flat, changes, xs))
        call.n_results = len(at)
        for k, one in zip(at, _native._call(call, [*arguments, *captured], [ends[k] for k in at]), strict=True):
            ends[k] = one
        return rebuilt(results, ends)  # type: ignore[no-any-return]

    return checkpointed


def _again(flat: Callable[[Arrays], list[array]], changes: Arrays, arguments: Arrays) -> Changes:
    """Back through the function computed anew, which begins when the changes of its results are there."""
    later = [_native._identity(a, *changes) for a in arguments]
    return vjp(lambda *xs: flat(xs), later, changes)[1]
