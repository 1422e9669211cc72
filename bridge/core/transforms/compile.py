"""`compile`: a function is traced once, and its graph made again natively on every call with like arguments.

The graph of a set of arguments is kept under what it depends on: the nest they are in, shapes and dtypes of the arrays,
and the values of everything else. Equal work in it is done once, and what depends on no argument is computed once for all.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

from bridge.core import _native
from bridge.core._native import array
from bridge.core.errors import message
from bridge.core.transforms.nest import leaves, rebuilt
from bridge.core.transforms.tape import Trace

P = ParamSpec("P")
R = TypeVar("R")

_disabled = bool(os.environ.get("BRIDGE_DISABLE_COMPILE"))


def enable_compile() -> None:
    """Let `compile` compile, whatever the environment variable BRIDGE_DISABLE_COMPILE says."""
    global _disabled
    _disabled = False


def disable_compile() -> None:
    """Let compiled functions run as they were written. BRIDGE_DISABLE_COMPILE=1 in the environment does it at import."""
    global _disabled
    _disabled = True


def compile(
    fun: Callable[P, R], inputs: object | None = None, outputs: object | None = None, shapeless: bool = False
) -> Callable[P, R]:
    """The same function without the cost of building its graph on every call.

    Args:
        fun: takes nests (list, tuple, dict) of arrays and constants and gives a nest. It is called when arguments of a
            new kind come: other shapes or dtypes, another nest, another constant. Arrays that it captures are constants.
        inputs: list or dict of arrays, nested as needed, that the function reads besides its arguments.
        outputs: list or dict of arrays that the function replaces; they are replaced on every call.
        shapeless: the graph does not depend on the extents of the arguments, and is traced once for all of them.

    Raises, when called:
        TracedError: the function looks at values, which are not there while it is traced.
        ValueError: an argument that is neither an array nor a constant; with `shapeless`, a graph that depends on extents.
    """
    if not callable(fun):
        raise TypeError(message("bridge.compile", "a function is wanted.", got=type(fun).__name__))
    graphs = _Graphs(fun, inputs, outputs, shapeless)

    @functools.wraps(fun)
    def compiled(*args: P.args, **kwargs: P.kwargs) -> R:
        if _disabled:
            return fun(*args, **kwargs)
        return graphs(args, kwargs)  # type: ignore[no-any-return]

    return compiled


class _Compiled(NamedTuple):
    graph: Any
    n_results: int  # of the function; behind them those of `outputs`
    nest: Any  # what the function gives, arrays left out
    lone: bool  # an array and nothing else
    places: list[int]  # of the arrays among the leaves
    values: list[Any]  # the leaves


class _Graphs:
    """A function with the graphs that it has led to so far."""

    def __init__(self, fun: Callable[..., Any], inputs: Any, outputs: Any, shapeless: bool) -> None:
        self.fun = fun
        self.inputs = inputs
        self.outputs = outputs
        self.shapeless = shapeless
        self.known: dict[Any, _Compiled] = {}

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.inputs is None:
            key, arrays = _native._signature(args, kwargs)
        else:
            key, arrays = _native._signature(args, kwargs, _state(self.inputs))
        found = self.known.get(key)
        if found is None:
            found, captured = self.trace(args, kwargs)
            if captured:  # by another transform around this call: the graph is for this call alone
                arrays = [*arrays, *captured]
            else:
                self.known[key] = found
        made = _native._graph_run(found.graph, arrays)
        if self.outputs is not None:
            _fill(self.outputs, iter(made[found.n_results :]))
        if found.lone:
            return made[0]
        values = list(found.values)
        for place, one in zip(found.places, made, strict=False):
            values[place] = one
        return rebuilt(found.nest, values)

    def trace(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[_Compiled, list[array]]:
        """The graph for arguments of this kind, and arrays that it needs besides them."""
        values = leaves((args, kwargs))
        slots = [] if self.inputs is None else list(_slots(self.inputs))
        places = [k for k, leaf in enumerate(values) if isinstance(leaf, array)]
        before = [container[key] for container, key in slots]
        with Trace("compile", symbolic=True) as trace:
            symbols = trace.symbols([(a.dtype, a.shape) for a in [*(values[k] for k in places), *before]])
            for k, symbol in zip(places, symbols, strict=False):
                values[k] = symbol
            args, kwargs = rebuilt((args, kwargs), values)
            try:
                for (container, key), symbol in zip(slots, symbols[len(places) :], strict=True):
                    container[key] = symbol
                results = self.fun(*args, **kwargs)
                replaced = [] if self.outputs is None else [container[key] for container, key in _slots(self.outputs)]
            finally:
                for (container, key), one in zip(slots, before, strict=True):
                    container[key] = one
            ends = leaves(results)
            at = [k for k, leaf in enumerate(ends) if isinstance(leaf, array)]
            graph, captured = _native._graph_make(trace.number, [*(ends[k] for k in at), *replaced], True)
        for k in at:
            ends[k] = None
        lone = isinstance(results, array)
        return _Compiled(graph, len(at), None if lone else rebuilt(results, ends), lone, at, ends), captured


def _slots(nest: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every array in a nest of dicts and lists. Arrays that stand in a tuple cannot be replaced."""
    items = nest.items() if isinstance(nest, dict) else enumerate(nest) if isinstance(nest, (list, tuple)) else ()
    for key, value in list(items):
        if isinstance(value, array):
            if not isinstance(nest, tuple):
                yield nest, key
        else:
            yield from _slots(value)


def _state(inputs: Any) -> list[array]:
    return [container[key] for container, key in _slots(inputs)]


def _fill(outputs: Any, new: Iterator[array]) -> None:
    for (container, key), one in zip(_slots(outputs), new, strict=False):
        container[key] = one
