"""Backwards through a tape: from changes of the results to changes of the inputs, by the rules of the declarations.

`pull_back` is the walk. What it asks each op for is a function `(g, y, operands, slots, parameters)` that gives a
change for every operand, or None. It is built once per primitive, from its declaration (declare.py says what rules
mean).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from bridge.core import _native
from bridge.core._native import array
from bridge.core.dtypes import COMPLEX, INEXACT
from bridge.core.errors import BridgeError, message
from bridge.core.ops.arithmetic import conjugate
from bridge.core.ops.create import zeros_like
from bridge.core.ops.declare import Declaration
from bridge.core.ops.shape import broadcast_to, reshape, unbroadcast
from bridge.core.transforms.tape import Parts, Tape, declared

Changes: TypeAlias = "Sequence[array | None]"
Step: TypeAlias = Callable[[Any, array, tuple[array, ...], tuple[int, ...], dict[str, Any]], Sequence[Any]]


class NoRule(BridgeError, NotImplementedError):
    """A primitive has no rule for this transform. The text names it."""


def pull_back(tape: Tape, changes: Changes, tag: str) -> list[array | None]:
    """The change of every input for changes of the results; None where nothing depends on it.

    Consumes the tape: a record is let go of as soon as it has been passed, and with it the values that only it held.
    """
    held: list[Any] = [None] * (tape.n_inputs + len(tape.records))
    for slot, g in zip(tape.results, changes, strict=True):
        if slot >= 0 and g is not None:
            held[slot] = g if held[slot] is None else held[slot] + g
    firsts = tape.firsts()
    calls: dict[int, Parts] = {}
    records = tape.records
    while records:
        slot = tape.n_inputs + len(records) - 1
        name, y, operands, slots, parameters = records.pop()
        g = held[slot]
        held[slot] = None
        if name == "call":
            call = parameters["call"]
            parts = calls.setdefault(id(call), Parts())
            if g is not None:
                parts[parameters["part"]] = g
            if firsts[id(call)] < len(records) or not parts:
                continue
            made: Sequence[Any] = call.pull_back(calls.pop(id(call)), _native._siblings(y), operands)
        elif g is None:
            continue
        else:
            made = backward_step(name, tag)(g, y, operands, slots, parameters)
        for at, one in zip(slots, made, strict=False):
            if at >= 0 and one is not None:
                before = held[at]
                held[at] = one if before is None else before + one
    return held[: tape.n_inputs]


_STEPS: dict[str, Step] = {
    "identity": lambda g, y, operands, slots, parameters: (g,),
    "copy": lambda g, y, operands, slots, parameters: (g,),
    "host_part": lambda g, y, operands, slots, parameters: (Parts({parameters["part"]: g}),),
}


def backward_step(name: str, tag: str) -> Step:
    """What a primitive does with the change of its result."""
    return _STEPS.get(name) or _step(name, tag)


def _step(name: str, tag: str) -> Step:
    """The function for a primitive, kept for the next time."""
    op = declared(name)
    if op.derivative == "flat":
        step: Step = _nothing
    elif op.pullback is not None:
        step = _by_pullback(op)
    elif op.transpose is not None:
        step = _by_transpose(op)
    elif op.derivative is None:
        raise NoRule(
            message(
                f"bridge.{tag}",
                f"the primitive '{name}' has no derivative.",
                fix="bridge.stop_gradient(a) on its operand, or bridge.custom_function with a rule of your own",
            )
        )
    elif op.kind == "elementwise":
        step = _elementwise(op)
    else:
        step = _reduction(op)
    _STEPS[name] = step
    return step


def _nothing(
    g: Any, y: array, operands: tuple[array, ...], slots: tuple[int, ...], parameters: dict[str, Any]
) -> Sequence[Any]:
    return ()


def _elementwise(op: Declaration) -> Step:
    rules, adjoint = op.derivative, op.adjoint
    assert isinstance(rules, tuple)

    def step(
        g: array, y: array, operands: tuple[array, ...], slots: tuple[int, ...], parameters: dict[str, Any]
    ) -> Sequence[Any]:
        made: list[array | None] = []
        for rule, a, slot in zip(rules, operands, slots, strict=True):
            if slot < 0 or rule is None or a.dtype not in INEXACT:
                made.append(None)
            elif adjoint is not None:
                made.append(fitted(adjoint(g, y, *operands), a, y.shape))
            elif a.dtype in COMPLEX:
                made.append(fitted(conjugate(rule(conjugate(g), y, *operands)), a, y.shape))
            else:
                made.append(fitted(rule(g, y, *operands), a, y.shape))
        return made

    return step


def fitted(change: array, a: array, shape: tuple[int, ...]) -> array:
    """The change of `a`, from what the rule made over elements of `shape`, which `a` was broadcast to."""
    wanted = a.shape
    if change.shape != wanted:
        if change.shape != shape:
            change = broadcast_to(change, shape)
        change = unbroadcast(change, wanted)
    return change if change.dtype is a.dtype else change.astype(a.dtype)


def _reduction(op: Declaration) -> Step:
    assert isinstance(op.derivative, tuple)
    rule = op.derivative[0]
    assert rule is not None

    def step(
        g: array, y: array, operands: tuple[array, ...], slots: tuple[int, ...], parameters: dict[str, Any]
    ) -> Sequence[Any]:
        (x,) = operands
        if x.dtype not in INEXACT:
            return ()
        axes = parameters["axes"]
        if not parameters["keepdims"]:
            kept = tuple([1 if k in axes else extent for k, extent in enumerate(x.shape)])
            g, y = reshape(g, kept), reshape(y, kept)
        if x.dtype in COMPLEX:
            made = conjugate(rule(conjugate(g), y, x, axes))
        else:
            made = rule(g, y, x, axes)
        return (fitted(broadcast_to(made, x.shape) if made.shape != x.shape else made, x, x.shape),)

    return step


def _by_transpose(op: Declaration) -> Step:
    assert op.transpose is not None
    rules = op.transpose

    def step(
        g: Any, y: array, operands: tuple[array, ...], slots: tuple[int, ...], parameters: dict[str, Any]
    ) -> Sequence[Any]:
        if not isinstance(g, Parts) and g.dtype in COMPLEX:
            g = conjugate(g)
        if len(rules) == 1:
            assert rules[0] is not None
            made = rules[0](g, *operands, **parameters)
            made = list(made) if isinstance(made, (list, tuple)) else [made]
        else:
            made = [
                None if rule is None or slot < 0 or a.dtype not in INEXACT else rule(g, *operands, **parameters)
                for rule, slot, a in zip(rules, slots, operands, strict=True)
            ]
        made = [conjugate(one) if one is not None and one.dtype in COMPLEX else one for one in made]
        return [_exact(one, a) for one, a in zip(made, operands, strict=True)]

    return step


def _by_pullback(op: Declaration) -> Step:
    rule = op.pullback
    assert rule is not None

    def step(
        g: Any, y: array, operands: tuple[array, ...], slots: tuple[int, ...], parameters: dict[str, Any]
    ) -> Sequence[Any]:
        if isinstance(g, Parts):
            results = _native._host_parts(y)
            assert results is not None
            made = rule(
                tuple([g[k] if k in g else zeros_like(one) for k, one in enumerate(results)]),
                results,
                *operands,
                **parameters,
            )
        else:
            made = rule(g, y, *operands, **parameters)
        made = made if isinstance(made, (list, tuple)) else (made,)
        return [_exact(one, a) for one, a in zip(made, operands, strict=True)]

    return step


def _exact(change: array | None, a: array) -> array | None:
    """In the dtype of the operand; None where it has no changes."""
    if change is None or a.dtype not in INEXACT:
        return None
    return change if change.dtype is a.dtype else change.astype(a.dtype)
