"""Declaring primitives: one statement says everything that Python knows of an op.

    tanh: Unary = elementwise(
        "tanh",
        "Hyperbolic tangent.",
        accepts=FLOATING | COMPLEX,
        derivative=lambda g, y, x: g * (1 - y * y),
        metal="precise::tanh({0})",
        ulp=2,
        sample=(-8, 8),
    )

The statement gives back the native callable that users call: no Python frame runs per op. Its stage or kernel is one
function in C++ of the same name; declaring a name that C++ does not know raises at import. Everything else (tables in
docs/, the stub, the test matrix, transforms) is derived by iterating PRIMITIVES.

What the rules mean:

derivative
    `(g, y, *operands) -> array`: the change of the result for a change `g` of one operand; `y` is the result. It is
    linear in `g` and written with arrays, so it can be differentiated again. One rule per operand (a lone rule for a
    lone operand); None for an operand that has no derivative, such as a condition. An elementwise rule is its own
    transpose: for the backward pass the walk conjugates `g`, calls the same rule and conjugates the result.
    A reduction's rule is `(g, y, x, axes)`: it sees `y`, and backwards `g`, with the reduced axes kept as size 1.
    Forwards the walk sums its result over `axes`; backwards the walk broadcasts its result to the shape of `x`.
adjoint
    `(g, y, *operands) -> array`: the backward pass of an elementwise op whose `derivative` is only real-linear (abs,
    conjugate, real, imag of complex numbers), where conjugating around it is not enough. The convention is MLX's: the
    gradient points where a real loss grows.
transpose
    `(g, *operands, **parameters) -> array`: views and structured ops are linear in each array operand. Forwards they
    are applied to the change itself, backwards this rule is. One rule per operand; for an op of any number of
    operands (concatenate) one rule that gives a list. The walk conjugates around it as around a derivative.
pullback
    `(g, y, *operands, **parameters) -> tuple of arrays`: the backward pass of an op that is not linear (inv, svd), for
    all operands at once. Of an op with several results `g` and `y` are tuples. The gradient points where a real loss
    grows, as in `adjoint`. It is linear in `g`, so forwards the walk applies the transpose of this rule.
batching
    `(size, batched, *operands, **parameters) -> array`: `batched[i]` says whether operand i carries a batch axis,
    which is then its axis 0, of extent `size`; the result carries it at axis 0. Elementwise ops and reductions need
    no rule: the kind supplies it.
"""

from __future__ import annotations

import copyreg
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, cast

from bridge.core._native import Dtype, Primitive, declare
from bridge.core.dtypes import ALL, mask

Kind: TypeAlias = Literal["elementwise", "reduction", "index_reduction", "view", "structured", "host"]
# How the dtype of the result follows from the promoted dtype of the operands: C++ knows these rules and no others.
Result: TypeAlias = Literal["same", "float", "bool", "logical", "abs", "select", "sum", "index"]
Rule: TypeAlias = Callable[..., Any]
Rules: TypeAlias = Rule | Sequence[Rule | None]
Interval: TypeAlias = tuple[float, float]

P = ParamSpec("P")
R = TypeVar("R")

FLAT: Literal["flat"] = "flat"  # derivative of what is constant between its jumps (floor, comparisons): zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """All that is known of one primitive: the native callable `call`, and its description."""

    name: str
    kind: Kind
    signature: str  # parameters as a user writes them
    doc: str
    call: Primitive
    accepts: frozenset[Dtype]  # dtypes of the operands, after promotion
    result: Result = "same"
    derivative: tuple[Rule | None, ...] | Literal["flat"] | None = None
    adjoint: Rule | None = None
    transpose: tuple[Rule | None, ...] | None = None
    pullback: Rule | None = None
    batching: Rule | None = None
    header: Callable[..., Any] | None = None  # the decorated function: parameters with their types
    of: str | None = None  # the primitive whose nodes this one makes; its rules apply
    metal: str | None = None  # MSL expression over {0} {1} {2}; {T} is the operands' type there, {R} the result's
    # Largest error of a float32 result over `sample`, in units of the last place; None: exact.
    # Of `sum`: relative to the sum of magnitudes; of `prod`: for each factor.
    ulp: float | None = None
    sample: tuple[Interval, ...] = ()  # per operand, where tests draw real values


PRIMITIVES: dict[str, Declaration] = {}


def elementwise(
    name: str,
    doc: str,
    *,
    operands: str = "a",
    accepts: frozenset[Dtype] = ALL,
    result: Result = "same",
    derivative: Rules | Literal["flat"] | None = None,
    adjoint: Rule | None = None,
    metal: str | None = None,
    ulp: float | None = None,
    sample: Interval | Sequence[Interval] = (-4, 4),
) -> Primitive:
    """Declare an op that works element by element over operands that broadcast. Its C++ side is a row of stages.def.

    Args:
        operands: their names, as "a, b".
        sample: one interval for all operands, or one each.
    """
    arity = operands.count(",") + 1
    return register(
        Declaration(
            name=name,
            kind="elementwise",
            signature=f"({operands}, stream=None)",
            doc=doc,
            call=declare(name, "elementwise", arity=arity, accepts=mask(accepts), result=result),
            accepts=accepts,
            result=result,
            derivative=_flat_or_rules(derivative),
            adjoint=adjoint,
            metal=metal,
            ulp=ulp,
            sample=_intervals(sample, arity),
        )
    )


def reduction(
    name: str,
    doc: str,
    *,
    accepts: frozenset[Dtype] = ALL,
    result: Result = "same",
    derivative: Rule | Literal["flat"] | None = None,
    ulp: float | None = None,
    sample: Interval = (-4, 4),
    index: bool = False,
) -> Primitive:
    """Declare a reduction over axes; `index`: it answers with a position and takes one axis at most."""
    kind: Kind = "index_reduction" if index else "reduction"
    return register(
        Declaration(
            name=name,
            kind=kind,
            signature=f"(a, /, axis=None, keepdims=False, *, {'dtype=None, ' if result == 'sum' else ''}stream=None)",
            doc=doc,
            call=declare(name, kind, accepts=mask(accepts), result=result),
            accepts=accepts,
            result=result,
            derivative=_flat_or_rules(derivative),
            ulp=ulp,
            sample=(sample,),
        )
    )


def view(
    *, transpose: Rules | None = None, batching: Rule | None = None, of: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare an op that only rearranges: it shares the bytes of its operand wherever strides can express the result.

    Decorates a header: name, parameters, types and docstring of the native callable that takes its place. `of` names
    the primitive in whose nodes this one is expressed, and then no rules are needed.
    """
    return _header("view", ALL, "same", transpose, batching, of)


def structured(
    *,
    accepts: frozenset[Dtype] = ALL,
    result: Result = "same",
    derivative: Literal["flat"] | None = None,
    transpose: Rules | None = None,
    pullback: Rule | None = None,
    batching: Rule | None = None,
    of: str | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare an op with a kernel of its own. Decorates a header, as `view` does.

    Args:
        derivative: FLAT where the result does not change with small changes of the operands (positions, for example).
    """
    return _header("structured", accepts, result, transpose, batching, of, pullback, derivative)


def _header(
    kind: Kind,
    accepts: frozenset[Dtype],
    result: Result,
    transpose: Rules | None,
    batching: Rule | None,
    of: str | None,
    pullback: Rule | None = None,
    derivative: Literal["flat"] | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    def decorate(header: Callable[P, R]) -> Callable[P, R]:
        declaration = Declaration(
            name=header.__name__,
            kind=kind,
            signature=signature_text(header),
            doc=inspect.cleandoc(header.__doc__ or ""),
            call=declare(header.__name__, kind, accepts=mask(accepts), result=result),
            accepts=accepts,
            result=result,
            derivative=derivative,
            transpose=as_rules(transpose),
            pullback=pullback,
            batching=batching,
            header=header,
            of=of,
        )
        return cast("Callable[P, R]", register(declaration))

    return decorate


def signature_text(header: Callable[..., Any]) -> str:
    """Parameters and defaults, without types."""
    return str(_bare(header))


def _bare(header: Callable[..., Any]) -> inspect.Signature:
    parameters = inspect.signature(header).parameters.values()
    return inspect.Signature([one.replace(annotation=inspect.Parameter.empty) for one in parameters])


def signature_of(name: str) -> inspect.Signature:
    """What `inspect.signature` gives for a primitive, without types. The extension calls it."""
    declaration = PRIMITIVES[name]
    if declaration.header is not None:
        return _bare(declaration.header)
    return inspect.signature(eval(f"lambda {declaration.signature[1:-1]}: ..."))  # written above, by this file


def named(name: str) -> Primitive:
    """The native callable of a primitive. Primitives pickle as a call of this."""
    if name not in PRIMITIVES:  # of a family that is imported at first use
        from bridge.core import ops

        ops.load()
    return PRIMITIVES[name].call


copyreg.pickle(Primitive, lambda call: (named, (call.__name__,)))


def register(declaration: Declaration) -> Primitive:
    if declaration.name in PRIMITIVES:
        raise ValueError(f"the primitive {declaration.name} is declared twice")
    PRIMITIVES[declaration.name] = declaration
    call = declaration.call
    call.__doc__ = f"{declaration.name}{declaration.signature} -> array\n\n{declaration.doc}"
    return call


def as_rules(rules: Rules | None) -> tuple[Rule | None, ...] | None:
    if rules is None:
        return None
    return (rules,) if callable(rules) else tuple(rules)


def _flat_or_rules(rules: Rules | Literal["flat"] | None) -> tuple[Rule | None, ...] | Literal["flat"] | None:
    return "flat" if rules == "flat" else as_rules(rules)


def _intervals(sample: Interval | Sequence[Interval], arity: int) -> tuple[Interval, ...]:
    if isinstance(sample[0], tuple):
        return tuple(cast("Sequence[Interval]", sample))
    return (cast("Interval", sample),) * arity
