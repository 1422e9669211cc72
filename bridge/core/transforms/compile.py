"""`compile`: a function is traced once, and its graph made again natively on every call with like arguments.

The graph of a set of arguments is kept under what it depends on: the nest they are in, shapes and dtypes of the arrays,
and the values of everything else. Equal work in it is done once, and what depends on no argument once for all calls.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

from bridge.core import _native
from bridge.core._native import array
from bridge.core.errors import message
from bridge.core.ops.declare import PRIMITIVES
from bridge.core.transforms.nest import leaves, rebuilt
from bridge.core.transforms.tape import Tape, Trace

P = ParamSpec("P")
R = TypeVar("R")

_disabled = bool(os.environ.get("BRIDGE_DISABLE_COMPILE"))


def enable_compile() -> None:
    """Let `compile` compile, whatever the environment variable BRIDGE_DISABLE_COMPILE says."""
    global _disabled
    _disabled = False


def disable_compile() -> None:
    """Let compiled functions run as they were written. BRIDGE_DISABLE_COMPILE=1 in the environment does the same."""
    global _disabled
    _disabled = True


def compile(
    fun: Callable[P, R], inputs: object | None = None, outputs: object | None = None, shapeless: bool = False
) -> Callable[P, R]:
    """The same function without the cost of building its graph on every call.

    Args:
        fun: takes nests (list, tuple, dict) of arrays and constants and gives a nest. It is called when arguments of a
            new kind come: other shapes or dtypes, another nest, another constant. Captured arrays are constants.
        inputs: list or dict of arrays, nested as needed, that the function reads besides its arguments.
        outputs: list or dict of arrays that the function replaces; they are replaced on every call.
        shapeless: trace once for all extents of the arguments, if the function asks for none and consists of
            elementwise ops, reductions, transpositions, products and joins. Otherwise the graph may depend on them,
            and other extents are traced anew as usual: results are right either way.

    Raises, when called:
        TracedError: the function looks at values, which are not there while it is traced.
        ValueError: an argument that is neither an array nor a constant.
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
        self.known: dict[Any, _Compiled | None] = {}
        self.recipes: dict[Any, _Recipe] = {}

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        nests = (args, kwargs) if self.inputs is None else (args, kwargs, _state(self.inputs))
        key, arrays = _native._signature(*nests)
        found = self.known.get(key)
        if found is None and self.shapeless:
            recipe = self.recipes.get(_native._loose_signature(*nests)[0])
            found = self.known[key] = recipe.made_for(arrays) if recipe is not None else None
        if found is None:
            found, captured = self.trace(args, kwargs, nests)
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

    def trace(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], nests: tuple[Any, ...]
    ) -> tuple[_Compiled, list[array]]:
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
                asked = _native._extent_reads()
                results = self.fun(*args, **kwargs)
                asked = _native._extent_reads() - asked
                replaced = [] if self.outputs is None else [container[key] for container, key in _slots(self.outputs)]
            finally:
                for (container, key), one in zip(slots, before, strict=True):
                    container[key] = one
            ends = leaves(results)
            at = [k for k, leaf in enumerate(ends) if isinstance(leaf, array)]
            flat = [*(ends[k] for k in at), *replaced]
            graph, captured = _native._graph_make(trace.number, flat, True)
            tape = trace.tape(flat) if self.shapeless and not asked and not captured else None
        for k in at:
            ends[k] = None
        lone = isinstance(results, array)
        made = _Compiled(graph, len(at), None if lone else rebuilt(results, ends), lone, at, ends)
        if tape is not None and all(record[0] in _SHAPELESS for record in tape.records):
            self.recipes[_native._loose_signature(*nests)[0]] = _Recipe(tape, flat, made)
        return made, captured


class _Recipe(NamedTuple):
    """A graph that does not depend on extents: its ops, to be called again on arguments of other extents."""

    tape: Tape
    results: list[array]
    made: _Compiled

    def made_for(self, arguments: list[array]) -> _Compiled:
        with Trace("compile", symbolic=True) as trace:
            held: list[Any] = list(trace.symbols([(a.dtype, a.shape) for a in arguments]))
            for name, _, operands, slots, parameters in self.tape.records:
                values = [a if slot < 0 else held[slot] for a, slot in zip(operands, slots, strict=True)]
                held.append(_SHAPELESS[name](name, values, parameters))
            ends = [a if slot < 0 else held[slot] for a, slot in zip(self.results, self.tape.results, strict=True)]
            graph, _ = _native._graph_make(trace.number, ends, False)
        return self.made._replace(graph=graph)


def _again(name: str, values: list[array], parameters: dict[str, Any]) -> Any:
    return PRIMITIVES[name].call(*values, **parameters)


def _reduced(name: str, values: list[array], parameters: dict[str, Any]) -> Any:
    return PRIMITIVES[name].call(values[0], parameters["axes"], parameters["keepdims"])


def _joined(name: str, values: list[array], parameters: dict[str, Any]) -> Any:
    return PRIMITIVES[name].call(values, **parameters)


def _same(name: str, values: list[array], parameters: dict[str, Any]) -> Any:
    return values[0]


# Ops whose parameters name no extents, and how each is called again.
_SHAPELESS: dict[str, Callable[[str, list[array], dict[str, Any]], Any]] = {
    **{op.name: _again for op in PRIMITIVES.values() if op.kind == "elementwise"},
    **{op.name: _reduced for op in PRIMITIVES.values() if op.kind == "reduction"},
    "cast": _again,
    "matmul": _again,
    "stop_gradient": _again,
    "transpose": _again,
    "concatenate": _joined,
    "copy": _same,
    "identity": _same,
}


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
