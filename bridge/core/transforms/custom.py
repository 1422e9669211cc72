"""`custom_function`: functions that bring their own rules. `checkpoint` is one whose rule is to compute again.

A call of such a function puts its results in the graph as nodes that know two ways back: to what the function computed
them from, which evaluation takes, and to its arguments, which transforms take.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

from bridge.core import _native
from bridge.core._native import array
from bridge.core.errors import message
from bridge.core.ops.create import zeros_like
from bridge.core.ops.reduce import sum as total
from bridge.core.ops.shape import moveaxis
from bridge.core.transforms.batching import vmap
from bridge.core.transforms.forward import jvp
from bridge.core.transforms.nest import arrays_of, leaves, rebuilt, spread
from bridge.core.transforms.reverse import ArgumentError, vjp
from bridge.core.transforms.tape import Parts, Trace

P = ParamSpec("P")
R = TypeVar("R")
Arrays = Sequence[array]
Changes = Sequence["array | None"]


class Call:
    """The rules of one call: what the walks of transforms find at its results.

    Args:
        flat: the function from a list of arrays to a list of arrays.
        pull: `(changes of all results, results, arguments) -> changes of the arguments`.
        push: `(changes of the arguments, arguments) -> changes of the results`; None has no change.
        batch: `(size, batched, arguments) -> [(result, has a batch axis in front)]`.
    """

    __slots__ = ("batch", "flat", "n_results", "pull", "push")

    def __init__(
        self,
        flat: Callable[[Arrays], list[array]],
        pull: Callable[[Arrays, Arrays, Arrays], Changes] | None = None,
        push: Callable[[Changes, Arrays], Changes] | None = None,
        batch: Callable[[int, Sequence[bool], Arrays], list[tuple[array, bool]]] | None = None,
    ) -> None:
        self.flat = flat
        self.n_results = 0  # known once it has been called
        self.pull = pull
        self.push = push
        self.batch = batch

    def pull_back(self, parts: Parts, results: Arrays, arguments: Arrays) -> Changes:
        changes = [parts[k] if k in parts else zeros_like(one) for k, one in enumerate(results)]
        if self.pull is not None:
            return self.pull(changes, results, arguments)
        return vjp(lambda *args: self.flat(args), arguments, changes)[1]

    def push_forward(self, tangents: Changes, arguments: Arrays, tag: str) -> Changes:
        if self.push is not None:
            return self.push(tangents, arguments)
        changes = [zeros_like(a) if t is None else t for t, a in zip(tangents, arguments, strict=True)]
        return jvp(lambda *args: self.flat(args), arguments, changes)[1]

    def batched(self, size: int, has: Sequence[bool], arguments: Arrays) -> list[tuple[array, bool]]:
        if self.batch is not None:
            return self.batch(size, has, arguments)
        # The same function of whole batches, with the same rules made for batches.
        axes = tuple([0 if one else None for one in has])
        whole = Call(
            lambda args: list(vmap(lambda *one: self.flat(one), axes)(*args)),
            self.pull and self._batched_pull(axes),
            self.push and self._batched_push(axes),
        )
        return [(one, True) for one in called(whole, arguments)]

    def _batched_pull(self, axes: tuple[int | None, ...]) -> Callable[[Arrays, Arrays, Arrays], Changes]:
        def one(changes: Any, results: Any, arguments: Any) -> list[array]:
            made = self.pull(changes, results, arguments) if self.pull is not None else ()
            return [zeros_like(a) if g is None else g for g, a in zip(made, arguments, strict=True)]

        def pull(changes: Arrays, results: Arrays, arguments: Arrays) -> Changes:
            made: Any = vmap(one, (0, 0, list(axes)))(list(changes), list(results), list(arguments))
            return [g if axis == 0 else total(g, 0) for g, axis in zip(made, axes, strict=True)]

        return pull

    def _batched_push(self, axes: tuple[int | None, ...]) -> Callable[[Changes, Arrays], Changes]:
        def one(changes: Any, arguments: Any) -> Any:
            return list(self.push(changes, arguments)) if self.push is not None else []

        def push(changes: Changes, arguments: Arrays) -> Changes:
            whole = [zeros_like(a) if t is None else t for t, a in zip(changes, arguments, strict=True)]
            made: Any = vmap(one, (list(axes), list(axes)))(whole, list(arguments))
            return list(made)

        return push


def called(call: Call, arguments: Arrays) -> list[array]:
    """The results of the function as nodes that carry its rules."""
    with Trace("custom_function") as trace:
        results = call.flat(trace.inputs(arguments))
    call.n_results = len(results)
    return _native._call(call, arguments, results)


class custom_function(Generic[P, R]):
    """A function with rules of its own for transforms. A decorator; rules are added by `.vjp`, `.jvp` and `.vmap`.

        @bridge.custom_function
        def f(x, y):
            return bridge.sin(x) * y

        @f.vjp
        def f_vjp(primals, cotangent, output):
            x, y = primals
            return cotangent * bridge.cos(x) * y, cotangent * bridge.sin(x)

    Whatever has no rule is derived from the function as usual. Arguments and results are nests of arrays; a lone
    argument stands for itself in `primals`, several are a tuple. The function counts as pure: arrays that it captures,
    and keyword arguments, are constants.
    """

    def __init__(self, f: Callable[P, R]) -> None:
        if not callable(f):
            raise TypeError(message("bridge.custom_function", "a function is wanted.", got=type(f).__name__))
        self.fun = f
        self.rules: dict[str, Callable[..., Any]] = {}
        functools.update_wrapper(self, f)

    def vjp(self, f: Callable[..., Any]) -> custom_function[P, R]:
        """Add `f(primals, cotangents, outputs)`: the changes of the primals, in their nest."""
        self.rules["vjp"] = f
        return self

    def jvp(self, f: Callable[..., Any]) -> custom_function[P, R]:
        """Add `f(primals, tangents)`: the changes of the results, in their nest. A tangent may be None: no change."""
        self.rules["jvp"] = f
        return self

    def vmap(self, f: Callable[..., Any]) -> custom_function[P, R]:
        """Add `f(inputs, axes)`: the results for whole batches, and a nest of their batch axes (None: not batched)."""
        self.rules["vmap"] = f
        return self

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if not _native._is_tracing():
            return self.fun(*args, **kwargs)
        shape = _Shape(self, args, kwargs)
        results = called(*shape.call())
        return shape.results_nest(results)  # type: ignore[no-any-return]


class _Shape:
    """One call of a custom function: between nests, which its rules see, and flat lists, which transforms see."""

    def __init__(self, owner: custom_function[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.owner = owner
        self.kwargs = kwargs
        self.primals: Any = args[0] if len(args) == 1 else args
        self.lone = len(args) == 1
        self.leaves = leaves(self.primals)
        self.places = [k for k, leaf in enumerate(self.leaves) if isinstance(leaf, array)]
        self.arguments = [self.leaves[k] for k in self.places]
        self.results: Any = None
        self.n_results = 0

    def call(self) -> tuple[Call, list[array]]:
        """The rules, and the arrays among the arguments; from here on only the shapes of the nests are kept."""
        rules = self.owner.rules
        made = Call(
            self.flat,
            self.pull if "vjp" in rules else None,
            self.push if "jvp" in rules else None,
            self.batch if "vmap" in rules else None,
        )
        self.primals = rebuilt(self.primals, [None if isinstance(one, array) else one for one in self.leaves])
        self.leaves = leaves(self.primals)
        arguments, self.arguments = self.arguments, []
        return made, arguments

    def nest(self, arguments: Sequence[Any]) -> Any:
        """The arguments as the function takes them, its arrays replaced."""
        values = list(self.leaves)
        for place, one in zip(self.places, arguments, strict=True):
            values[place] = one
        return rebuilt(self.primals, values)

    def results_nest(self, results: Sequence[Any]) -> Any:
        return rebuilt(self.results, results)

    def flat(self, arguments: Arrays) -> list[array]:
        primals = self.nest(arguments)
        results = self.owner.fun(*((primals,) if self.lone else primals), **self.kwargs)
        found = arrays_of(results, "bridge.custom_function", "the result")
        self.results = rebuilt(results, [None] * len(found))
        self.n_results = len(found)
        return found

    def pull(self, changes: Arrays, results: Arrays, arguments: Arrays) -> Changes:
        made = self.owner.rules["vjp"](self.nest(arguments), self.results_nest(changes), self.results_nest(results))
        found = leaves(made)
        if len(found) != len(self.leaves):
            raise ArgumentError(
                message(
                    "bridge.custom_function",
                    "the vjp must give one change for every primal, in the same nest.",
                    got=f"{len(found)} for {len(self.leaves)} primals",
                )
            )
        return [found[place] for place in self.places]

    def push(self, changes: Changes, arguments: Arrays) -> Changes:
        values: list[Any] = [None] * len(self.leaves)
        for place, one in zip(self.places, changes, strict=True):
            values[place] = one
        found = leaves(self.owner.rules["jvp"](self.nest(arguments), rebuilt(self.primals, values)))
        if len(found) != self.n_results:
            raise ArgumentError(
                message(
                    "bridge.custom_function",
                    "the jvp must give one change for every result, in the same nest.",
                    got=f"{len(found)} for {self.n_results} results",
                )
            )
        return found

    def batch(self, size: int, batched: Sequence[bool], arguments: Arrays) -> list[tuple[array, bool]]:
        axes: list[Any] = [None] * len(self.leaves)
        for place, has in zip(self.places, batched, strict=True):
            axes[place] = 0 if has else None
        answer = self.owner.rules["vmap"](self.nest(arguments), rebuilt(self.primals, axes))
        if not isinstance(answer, (list, tuple)) or len(answer) != 2:
            raise ArgumentError(
                message("bridge.custom_function", "the vmap must give (results, axes).", got=type(answer).__name__)
            )
        results, ends = answer
        found = arrays_of(results, "bridge.custom_function", "the result of vmap")
        where = spread(ends, results, "bridge.custom_function", "the axes that vmap gives")
        return [
            (one if axis is None else moveaxis(one, axis, 0), axis is not None)
            for one, axis in zip(found, where, strict=True)
        ]
