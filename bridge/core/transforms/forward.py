"""Derivatives forwards: `jvp`, the walk along a tape from changes of the inputs to changes of the results.

An elementwise op and a reduction push changes through their derivative. A view is linear and is applied to the change
itself. All others say how changes go backwards, which is linear in the change: the
transpose of that, by the backward walk over the rule's own graph, is the way forwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from bridge.core import _native
from bridge.core._native import array
from bridge.core.dtypes import INEXACT
from bridge.core.ops.create import zeros_like
from bridge.core.ops.declare import Declaration
from bridge.core.ops.reduce import sum as total
from bridge.core.ops.shape import broadcast_to, reshape
from bridge.core.transforms.backward import backward_step, pull_back
from bridge.core.transforms.nest import arrays_of
from bridge.core.transforms.reverse import check_changes, in_dtype, results_of
from bridge.core.transforms.tape import Parts, Tape, Trace, declared

Tangents: TypeAlias = "tuple[Any, ...]"  # one an operand: an array, Parts, or None
Step: TypeAlias = Callable[[Tangents, array, tuple[array, ...], dict[str, Any]], Any]


def jvp(
    fun: Callable[..., Any], primals: Sequence[array], tangents: Sequence[array]
) -> tuple[list[array], list[array]]:
    """Results of `fun` at `primals`, and the product of its Jacobian with `tangents`.

    Args:
        fun: takes arrays and gives one, or a list or tuple of them.
        tangents: one for every primal, of its shape.

    Returns:
        ``(results, products)``: two lists; one product for every result, of its shape and dtype.
    """
    inputs = arrays_of(list(primals), "bridge.jvp", "primals")
    changes = arrays_of(list(tangents), "bridge.jvp", "tangents")
    check_changes("bridge.jvp", "tangent", changes, "primal", inputs)
    with Trace("jvp") as trace:
        fresh = trace.inputs(inputs)
        results = results_of("jvp", fun(*fresh))
        made = push_forward(
            trace.tape(results), [in_dtype(t, one) for t, one in zip(changes, inputs, strict=True)], "jvp"
        )
    return results, [zeros_like(one) if t is None else t for one, t in zip(results, made, strict=True)]


def push_forward(tape: Tape, changes: Sequence[array | None], tag: str) -> list[array | None]:
    """The change of every result for changes of the inputs; None where it does not change."""
    held: list[Any] = [*changes, *[None] * len(tape.records)]
    calls: dict[int, list[array | None]] = {}
    for k, (name, y, operands, slots, parameters) in enumerate(tape.records):
        tangents = tuple([held[slot] if slot >= 0 else None for slot in slots])
        if name == "call":
            call = parameters["call"]
            if id(call) not in calls:
                some = any(t is not None for t in tangents)
                calls[id(call)] = call.push_forward(tangents, operands, tag) if some else [None] * call.n_results
            held[tape.n_inputs + k] = calls[id(call)][parameters["part"]]
        elif any(t is not None for t in tangents):
            held[tape.n_inputs + k] = (_STEPS.get(name) or _step(name, tag))(tangents, y, operands, parameters)
    return [held[slot] if slot >= 0 else None for slot in tape.results]


_STEPS: dict[str, Step] = {
    "identity": lambda tangents, y, operands, parameters: tangents[0],
    "copy": lambda tangents, y, operands, parameters: tangents[0],
    "host_part": lambda tangents, y, operands, parameters: tangents[0].get(parameters["part"]),
    "matmul": lambda tangents, y, operands, parameters: _of_product(tangents, operands),
}


def _step(name: str, tag: str) -> Step:
    """The function for a primitive, kept for the next time."""
    op = declared(name)
    if op.derivative == "flat":
        step: Step = _nothing
    elif op.pullback is None and op.transpose is None and op.kind == "elementwise" and op.derivative is not None:
        step = _elementwise(op)
    elif op.pullback is None and op.transpose is None and op.derivative is not None:
        step = _reduction(op)
    elif op.kind == "view" or name == "cast":
        step = _linear(op)
    else:
        step = _transposed(name, tag)
    _STEPS[name] = step
    return step


def _nothing(tangents: Tangents, y: array, operands: tuple[array, ...], parameters: dict[str, Any]) -> Any:
    return None


def _of_product(tangents: Tangents, operands: tuple[array, ...]) -> Any:
    (left, right), (a, b) = tangents, operands
    if left is None:
        return a @ right
    return left @ b if right is None else left @ b + a @ right


def _elementwise(op: Declaration) -> Step:
    rules = op.derivative
    assert isinstance(rules, tuple)

    def step(tangents: Tangents, y: array, operands: tuple[array, ...], parameters: dict[str, Any]) -> Any:
        if y.dtype not in INEXACT:
            return None
        made: Any = None
        for rule, t in zip(rules, tangents, strict=True):
            if rule is not None and t is not None:
                part = rule(t, y, *operands)
                made = part if made is None else made + part
        return None if made is None else _shaped(made, y)

    return step


def _shaped(made: array, y: array) -> array:
    """The change in the shape and dtype of the result."""
    if made.shape != y.shape:
        made = broadcast_to(made, y.shape)
    return made if made.dtype is y.dtype else made.astype(y.dtype)


def _reduction(op: Declaration) -> Step:
    assert isinstance(op.derivative, tuple)
    rule = op.derivative[0]
    assert rule is not None

    def step(tangents: Tangents, y: array, operands: tuple[array, ...], parameters: dict[str, Any]) -> Any:
        (x,) = operands
        axes, keepdims = parameters["axes"], parameters["keepdims"]
        if y.dtype not in INEXACT:
            return None
        kept = y if keepdims else reshape(y, tuple([1 if k in axes else n for k, n in enumerate(x.shape)]))
        made = rule(tangents[0], kept, x, axes)
        if made.shape != x.shape:
            made = broadcast_to(made, x.shape)
        return _shaped(total(made, axes, keepdims), y)

    return step


def _linear(op: Declaration) -> Step:
    call = op.call

    def step(tangents: Tangents, y: array, operands: tuple[array, ...], parameters: dict[str, Any]) -> Any:
        return call(tangents[0], **parameters) if y.dtype in INEXACT else None

    return step


def _transposed(name: str, tag: str) -> Step:
    backwards = backward_step(name, tag)

    def step(tangents: Tangents, y: array, operands: tuple[array, ...], parameters: dict[str, Any]) -> Any:
        changed = [k for k, t in enumerate(tangents) if t is not None and operands[k].dtype in INEXACT]
        parts = _native._host_parts(y)
        results = [y] if parts is None else list(parts)
        with Trace(tag) as trace:
            fresh = trace.inputs([zeros_like(one) for one in results])
            g: Any = fresh[0] if parts is None else Parts(enumerate(fresh))
            slots = tuple([0 if k in changed else -1 for k in range(len(operands))])
            made = backwards(g, y, operands, slots, parameters)
            pairs = [(made[k], tangents[k]) for k in changed if k < len(made) and made[k] is not None]
            tape = trace.tape([one for one, _ in pairs])
            pushed = pull_back(tape, [t for _, t in pairs], tag)
        if parts is None:
            return pushed[0]
        return Parts({k: t for k, t in enumerate(pushed) if t is not None})

    return step
