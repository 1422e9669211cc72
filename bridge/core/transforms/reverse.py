"""Derivatives backwards: `grad`, `value_and_grad` and `vjp`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from bridge.core._native import array
from bridge.core.dtypes import INEXACT
from bridge.core.errors import BridgeError, DTypeError, message
from bridge.core.ops.create import ones_like, zeros_like
from bridge.core.transforms.backward import pull_back
from bridge.core.transforms.nest import arrays_of, leaves, place, rebuilt
from bridge.core.transforms.tape import Trace, describe

P = ParamSpec("P")
R = TypeVar("R")


class ArgumentError(BridgeError, ValueError):
    """A transform was asked for something that the function's arguments or results do not have."""


def value_and_grad(
    fun: Callable[P, R], argnums: int | Sequence[int] | None = None, argnames: str | Sequence[str] = []
) -> Callable[P, tuple[R, Any]]:
    """A function that computes the value of `fun` and its gradient.

    Args:
        fun: gives a scalar, the loss; or a tuple whose first item is one, and whose others may be anything.
        argnums: which positional arguments to differentiate by; 0 if neither these nor `argnames` are given.
        argnames: which keyword arguments to differentiate by.

    Returns:
        Function of the same arguments that gives ``(value, gradient)``. The gradient has the structure of the argument,
        or is a tuple of them for several. With `argnames` it is ``(gradient of positional arguments or None, dict)``.

    Raises, when called:
        ValueError: an index or name that the call does not have, a loss that is not a scalar.
        TypeError: a leaf of the arguments is not an array of floating-point or complex numbers.
    """
    return _differentiated("value_and_grad", fun, argnums, argnames)


def grad(
    fun: Callable[P, R], argnums: int | Sequence[int] | None = None, argnames: str | Sequence[str] = []
) -> Callable[P, Any]:
    """A function that computes the gradient of `fun`, which gives a scalar. Arguments are those of `value_and_grad`."""
    both = _differentiated("grad", fun, argnums, argnames)

    @functools.wraps(fun)
    def gradient(*args: P.args, **kwargs: P.kwargs) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def check_changes(tag: str, change: str, changes: Sequence[array], of: str, arrays: Sequence[array]) -> None:
    """Raise ArgumentError unless there is one tangent or cotangent for every array, of its shape."""
    if len(arrays) != len(changes):
        raise ArgumentError(
            message(
                tag,
                f"there must be one {change} for every {of}.",
                got=f"{len(changes)} {change}s for {len(arrays)} {of}s",
            )
        )
    for k, (one, g) in enumerate(zip(arrays, changes, strict=True)):
        if one.shape != g.shape:
            raise ArgumentError(
                message(tag, f"{change} {k} has another shape than the {of}.", got=describe(g), want=describe(one))
            )


def vjp(
    fun: Callable[..., Any], primals: Sequence[array], cotangents: Sequence[array]
) -> tuple[list[array], list[array]]:
    """Results of `fun` at `primals`, and the products of `cotangents` with its Jacobian.

    Args:
        fun: takes arrays and gives one, or a list or tuple of them.
        cotangents: one for every result, of its shape.

    Returns:
        ``(results, products)``: two lists; one product for every primal, of its shape and dtype.
    """
    inputs = arrays_of(list(primals), "bridge.vjp", "primals")
    changes = arrays_of(list(cotangents), "bridge.vjp", "cotangents")
    with Trace("vjp") as trace:
        fresh = trace.inputs(inputs)
        results = results_of("vjp", fun(*fresh))
        check_changes("bridge.vjp", "cotangent", changes, "result", results)
        made = pull_back(
            trace.tape(results), [in_dtype(g, one) for g, one in zip(changes, results, strict=True)], "vjp"
        )
    return results, [zeros_like(a) if g is None else g for a, g in zip(inputs, made, strict=True)]


def results_of(name: str, results: Any) -> list[array]:
    """What a function gave, as a list of arrays."""
    if isinstance(results, array):
        return [results]
    if not isinstance(results, (list, tuple)) or not all(isinstance(one, array) for one in results):
        raise ArgumentError(
            message(
                f"bridge.{name}",
                "the function must give an array, or a list or tuple of arrays.",
                got=", ".join(type(one).__name__ for one in results)
                if isinstance(results, (list, tuple))
                else type(results).__name__,
            )
        )
    return list(results)


def in_dtype(change: array, result: array) -> array | None:
    """The change of a result; None for results without changes, such as integers."""
    if result.dtype not in INEXACT:
        return None
    return change if change.dtype is result.dtype else change.astype(result.dtype)


def _differentiated(
    name: str, fun: Callable[..., Any], argnums: int | Sequence[int] | None, argnames: str | Sequence[str]
) -> Callable[..., Any]:
    if not callable(fun):
        raise TypeError(message(f"bridge.{name}", "a function is wanted.", got=type(fun).__name__))
    chosen = _Arguments(name, argnums, argnames)

    @functools.wraps(fun)
    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        trees = chosen.trees(args, kwargs)
        flat = leaves(trees)
        chosen.check(trees, flat)
        with Trace(name) as trace:
            fresh = trace.inputs(flat)
            args, kwargs = chosen.replaced(args, kwargs, rebuilt(trees, fresh))
            value = fun(*args, **kwargs)
            loss = _loss(name, value)
            made = pull_back(trace.tape([loss]), [ones_like(loss)], name)
        gradients = [zeros_like(a) if g is None else g for a, g in zip(flat, made, strict=True)]
        return value, chosen.answer(rebuilt(trees, gradients))

    return value_and_gradient


class _Arguments:
    """Which arguments to differentiate by, and how gradients are given."""

    def __init__(self, name: str, argnums: int | Sequence[int] | None, argnames: str | Sequence[str]) -> None:
        self.tag = f"bridge.{name}"
        self.names = [argnames] if isinstance(argnames, str) else list(dict.fromkeys(argnames))
        if argnums is None:
            argnums = [] if self.names else [0]
        self.numbers = [argnums] if isinstance(argnums, int) else sorted(argnums)
        if not self.numbers and not self.names:
            self._refuse("there is no argument to differentiate by.", "argnums=0")
        for k in self.numbers:
            if not isinstance(k, int):
                raise TypeError(message(self.tag, "argnums must be integers.", got=type(k).__name__))
            if k < 0:
                self._refuse(f"argument {k} cannot be counted from the end.", "count from the first, which is 0")
        if len(set(self.numbers)) < len(self.numbers):
            self._refuse(f"an argument is named twice in argnums={self.numbers}.", "name each once")

    def trees(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        """The arguments that are differentiated by."""
        for k in self.numbers:
            if k >= len(args):
                self._refuse(
                    f"there is no positional argument {k}: the function was called with {len(args)}.",
                    "another argnums, or argnames=... for a keyword argument",
                )
        for name in self.names:
            if name not in kwargs:
                given = ", ".join(kwargs) or "none"
                self._refuse(
                    f"there is no keyword argument '{name}': the function was called with {given}.",
                    f"pass {name}=... by keyword, or use argnums",
                )
        return [*(args[k] for k in self.numbers), *(kwargs[name] for name in self.names)]

    def check(self, trees: list[Any], flat: list[Any]) -> None:
        for k, leaf in enumerate(flat):
            if isinstance(leaf, array) and leaf.dtype in INEXACT:
                continue
            arrays_of(trees, self.tag, "what is differentiated by")
            raise IntegerInput(
                message(
                    self.tag,
                    "integers have no derivative.",
                    got=f"{describe(leaf)} at {self._what(place(trees, k))}",
                    want="floating-point or complex numbers",
                    fix="a.astype(bridge.float32), or another argnums",
                )
            )

    def _what(self, path: str) -> str:
        number, rest = path[1:].split("]", 1)
        k = int(number)
        return (f"argument {self.numbers[k]}" if k < len(self.numbers) else self.names[k - len(self.numbers)]) + rest

    def replaced(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], trees: list[Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        positional = list(args)
        for k, tree in zip(self.numbers, trees, strict=False):
            positional[k] = tree
        named = dict(zip(self.names, trees[len(self.numbers) :], strict=True))
        return tuple(positional), {**kwargs, **named}

    def answer(self, gradients: list[Any]) -> Any:
        count = len(self.numbers)
        positional = None if count == 0 else gradients[0] if count == 1 else tuple(gradients[:count])
        if not self.names:
            return positional
        return positional, dict(zip(self.names, gradients[count:], strict=True))

    def _refuse(self, problem: str, fix: str) -> None:
        raise ArgumentError(message(self.tag, problem, fix=fix))


class IntegerInput(DTypeError, ValueError):
    """Integers have no derivative. A ValueError, too, as other wrong arguments of transforms are."""


def _loss(name: str, value: Any) -> array:
    """The scalar to differentiate."""
    tag = f"bridge.{name}"
    loss = value
    if name == "value_and_grad" and isinstance(value, tuple) and value:
        loss = value[0]
    if not isinstance(loss, array):
        what = type(value).__name__
        extra = "; a tuple needs bridge.value_and_grad" if name == "grad" and isinstance(value, tuple) else ""
        raise ArgumentError(
            message(
                tag,
                "the function must give a scalar array"
                + (", or a tuple that begins with one." if name == "value_and_grad" else "."),
                got=what,
                fix="return the array itself, not loss.item()" + extra,
            )
        )
    if loss.ndim != 0:
        raise ArgumentError(
            message(tag, "the loss must be a scalar.", got=describe(loss), fix="loss.sum() or loss.mean()")
        )
    if loss.dtype not in INEXACT:
        raise IntegerInput(
            message(tag, "an integer loss has no derivative.", got=describe(loss), fix="loss.astype(bridge.float32)")
        )
    return loss
