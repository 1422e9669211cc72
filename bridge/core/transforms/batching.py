"""`vmap`: a function of one example is traced once, and its graph replayed on whole batches.

The function is called on symbols that stand for one example. Replaying, every op is made again by its batching rule, on
operands that carry the batch as their axis 0 or not at all. Elementwise ops and reductions need no rule of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar

from bridge.core import _native
from bridge.core._native import array
from bridge.core.errors import AxisError, message
from bridge.core.ops.declare import Declaration
from bridge.core.ops.shape import broadcast_to, moveaxis, reshape
from bridge.core.transforms.backward import NoRule
from bridge.core.transforms.nest import NotAnArray, arrays_of, leaves, place, rebuilt, spread
from bridge.core.transforms.reverse import ArgumentError
from bridge.core.transforms.tape import Tape, Trace, declared, describe

P = ParamSpec("P")
R = TypeVar("R")
Step: TypeAlias = Callable[[int, tuple[bool, ...], tuple[Any, ...], array, tuple[array, ...], dict[str, Any]], Any]


def vmap(fun: Callable[P, R], in_axes: object = 0, out_axes: object = 0) -> Callable[P, R]:
    """A function that maps `fun` over an axis of its arguments, computed in one go.

    Args:
        fun: takes and gives arrays, or nests (list, tuple, dict) of them.
        in_axes: which axis of the arguments counts the examples: an int for all, or a nest that is a prefix of the
            arguments, with None for those that are the same for every example.
        out_axes: where that axis stands in the results, likewise; None for results that are the same for all.

    Raises, when called:
        ValueError: no argument is mapped, the extents differ, or a prefix does not fit.
        IndexError: an axis that an array does not have.
        TracedError: the function looks at values, which are not there while it is traced.
    """
    if not callable(fun):
        raise TypeError(message("bridge.vmap", "a function is wanted.", got=type(fun).__name__))

    call: Callable[..., Any] = fun

    @functools.wraps(fun)
    def vectorised(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs:
            raise TypeError(
                message(
                    "bridge.vmap",
                    "keyword arguments cannot be mapped.",
                    got=", ".join(kwargs),
                    fix="pass them by position, or bind them: functools.partial(fun, name=value)",
                )
            )
        axes = _axes_of(in_axes, args)
        flat = leaves(args)
        size = _size(flat, axes, args)
        mapped = [k for k, axis in enumerate(axes) if axis is not None]
        batches = [_to_front(flat[k], axes[k]) for k in mapped]
        with Trace("vmap", symbolic=True) as trace:
            symbols = trace.symbols([(one.dtype, one.shape[1:]) for one in batches])
            for k, symbol in zip(mapped, symbols, strict=True):
                flat[k] = symbol
            results = call(*rebuilt(args, flat))
            found = arrays_of(results, "bridge.vmap", "the result")
            ends = spread(out_axes, results, "bridge.vmap", "out_axes")
            made = replay(trace.tape(found), batches, found, size)
        return rebuilt(results, [_placed(*one, axis, size) for one, axis in zip(made, ends, strict=True)])  # type: ignore[no-any-return]

    return vectorised


def replay(tape: Tape, batches: Sequence[array], results: Sequence[array], size: int) -> list[tuple[array, bool]]:
    """The results for whole batches, each with its batch axis in front; False: it has none, it is as it was."""
    held: list[Any] = [*batches, *[None] * len(tape.records)]
    calls: dict[int, list[tuple[array, bool]]] = {}
    for k, (name, y, operands, slots, parameters) in enumerate(tape.records):
        batched = tuple([slot >= 0 and held[slot] is not None for slot in slots])
        values = tuple([held[slot] if has else a for slot, a, has in zip(slots, operands, batched, strict=True)])
        if name == "call":
            call = parameters["call"]
            if id(call) not in calls:
                calls[id(call)] = call.batched(size, batched, values)
            one, has = calls[id(call)][parameters["part"]]
            held[tape.n_inputs + k] = one if has else broadcast_to(one, (size, *one.shape))
        else:
            held[tape.n_inputs + k] = (_STEPS.get(name) or _step(name))(size, batched, values, y, operands, parameters)
    return [(held[slot], True) if slot >= 0 else (one, False) for slot, one in zip(tape.results, results, strict=True)]


_STEPS: dict[str, Step] = {
    "identity": lambda size, batched, values, y, operands, parameters: (
        _native._identity(*values) if batched[0] else _native._identity(broadcast_to(values[0], (size, *y.shape)))
    ),
    "copy": lambda size, batched, values, y, operands, parameters: values[0],
    "host_part": lambda size, batched, values, y, operands, parameters: values[0][parameters["part"]],
}


def _step(name: str) -> Step:
    op = declared(name)
    if op.batching is not None:
        step = _ruled(op)
    elif op.kind == "elementwise":
        step = _elementwise(op)
    elif op.kind == "reduction":
        step = _reduction(op)
    elif op.kind == "index_reduction":
        step = _index_reduction(op)
    else:
        raise NoRule(
            message(
                "bridge.vmap",
                f"the primitive '{name}' has no batching rule.",
                fix="a loop over the examples, or bridge.custom_function with a vmap of your own",
            )
        )
    _STEPS[name] = step
    return step


def _ruled(op: Declaration) -> Step:
    rule = op.batching
    assert rule is not None
    return lambda size, batched, values, y, operands, parameters: rule(size, batched, *values, **parameters)


def _elementwise(op: Declaration) -> Step:
    call = op.call

    def step(
        size: int,
        batched: tuple[bool, ...],
        values: tuple[array, ...],
        y: array,
        operands: tuple[array, ...],
        parameters: dict[str, Any],
    ) -> Any:
        ndim = y.ndim
        aligned = [
            reshape(value, (size, *(1,) * (ndim - value.ndim + 1), *value.shape[1:]))
            if has and value.ndim <= ndim
            else value
            for value, has in zip(values, batched, strict=True)
        ]
        made = call(*aligned)
        return made if made.ndim > ndim else broadcast_to(made, (size, *made.shape))

    return step


def _reduction(op: Declaration) -> Step:
    call = op.call
    return lambda size, batched, values, y, operands, parameters: call(
        values[0], [axis + 1 for axis in parameters["axes"]], parameters["keepdims"]
    )


def _index_reduction(op: Declaration) -> Step:
    call = op.call

    def step(
        size: int,
        batched: tuple[bool, ...],
        values: tuple[array, ...],
        y: array,
        operands: tuple[array, ...],
        parameters: dict[str, Any],
    ) -> Any:
        (x,), axes = values, parameters["axes"]
        if len(axes) == 1:
            return call(x, axes[0] + 1, parameters["keepdims"])
        return reshape(call(reshape(x, (size, -1)), 1), (size, *y.shape))

    return step


def _axes_of(in_axes: object, args: tuple[Any, ...]) -> list[int | None]:
    """One axis, or None, for every leaf of the arguments."""
    tag, what = "bridge.vmap", "in_axes"
    if len(args) == 1:  # as in MLX, the prefix is that of the lone argument; a tuple of one is understood, too
        try:
            axes = spread(in_axes, args[0], tag, what)
        except ValueError:
            axes = spread(in_axes, args, tag, what)
    else:
        axes = spread(in_axes, args, tag, what)
    for axis in axes:
        if axis is not None and (not isinstance(axis, int) or isinstance(axis, bool)):
            raise ArgumentError(message(tag, "an axis must be an int or None.", got=type(axis).__name__))
    return axes


def _size(flat: list[Any], axes: list[int | None], args: tuple[Any, ...]) -> int:
    """The number of examples."""
    size: int | None = None
    for k, (leaf, axis) in enumerate(zip(flat, axes, strict=True)):
        if axis is None:
            continue
        where = f"arguments{place(args, k)}"
        if not isinstance(leaf, array):
            raise NotAnArray(
                message(
                    "bridge.vmap",
                    "only arrays can be mapped.",
                    got=f"{type(leaf).__name__} at {where}",
                    fix="in_axes=None for it",
                )
            )
        if not -leaf.ndim <= axis < leaf.ndim:
            raise AxisError(
                message(
                    "bridge.vmap",
                    f"in_axes names axis {axis}, which the array does not have.",
                    got=f"{describe(leaf)} at {where}",
                )
            )
        extent = leaf.shape[axis]
        if size is not None and extent != size:
            raise ArgumentError(
                message(
                    "bridge.vmap",
                    "the mapped axes have different extents.",
                    got=f"{extent} at {where}, {size} before",
                    fix="in_axes=None for what is the same for every example",
                )
            )
        size = extent
    if size is None:
        raise ArgumentError(message("bridge.vmap", "no argument is mapped.", fix="an axis in in_axes that is not None"))
    return size


def _to_front(a: array, axis: int | None) -> array:
    return moveaxis(a, axis, 0) if axis else a


def _placed(one: array, has: bool, axis: Any, size: int) -> array:
    """A result with its batch axis where out_axes wants it."""
    if axis is None:
        if has:
            raise ArgumentError(
                message(
                    "bridge.vmap",
                    "out_axes says None for a result that differs between examples.",
                    got=describe(one),
                    fix="an axis in its place",
                )
            )
        return one
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise ArgumentError(message("bridge.vmap", "an axis must be an int or None.", got=type(axis).__name__))
    whole = one if has else broadcast_to(one, (size, *one.shape))
    if not -whole.ndim <= axis < whole.ndim:
        raise AxisError(
            message("bridge.vmap", f"out_axes names axis {axis}, which the result does not have.", got=describe(whole))
        )
    return moveaxis(whole, 0, axis) if axis else whole
