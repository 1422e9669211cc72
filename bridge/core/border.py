"""Functions that cross the border with their derivatives: `wrap` brings a framework's function into bridge, `unwrap`
takes a function of bridge into a framework.

A wrapped function stands in bridge's graph as one node with rules, as a `custom_function` does. It is called at once
where its arguments have values, and its framework keeps what its own derivative needs; where they have none yet (in
`vmap` and `compile`), it is a host op that runs when the result is evaluated. The rules are the framework's: each is a
function of the framework's arrays again and crosses in the same way, so it can be differentiated and mapped again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bridge.core import _native
from bridge.core._native import DTYPES, array
from bridge.core.calculus import Calculus, Flat, Spec
from bridge.core.dtypes import INEXACT
from bridge.core.errors import BorderError, BridgeError, TracedError, UnknownTarget, message
from bridge.core.framework import Framework
from bridge.core.interop import from_, to
from bridge.core.ops.create import zeros
from bridge.core.ops.host import Call as HostCall
from bridge.core.registry import registry
from bridge.core.transforms.batching import vmap
from bridge.core.transforms.custom import Arrays, Call, Changes, called
from bridge.core.transforms.nest import arrays_of, leaves, place, rebuilt
from bridge.core.transforms.policy import unwatched
from bridge.core.transforms.reverse import vjp

__all__ = ["unwrap", "wrap"]


def wrap(target: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function written for the framework `target`, as a function of bridge arrays.

    Args:
        target: "torch", "jax", "tensorflow", or any framework whose plugin has `bridge_calculus`.
        fn: takes and gives arrays of that framework, or nests (list, tuple, dict) of them. It counts as pure: it does
            not write into its arguments, and arrays that it captures are constants to every transform.

    Returns:
        Function of the same arguments. Bridge arrays in them, keyword arguments included, cross as `bridge.to` takes
        them, results as `bridge.from_` does; everything else is handed over as it is. `grad`, `value_and_grad`, `vjp`
        and `jvp` use the framework's own derivative, to any order that it has, and `vmap` its own map. Under `vmap` and
        `compile` the function is called when its result is evaluated.

    Raises:
        UnknownTarget: no such framework, or it is not installed.
        BorderError: its plugin does not say how functions cross; when called: a result is no array of the framework.
    """
    tag = f"bridge.wrap({target!r})"
    framework, calculus = _calculus(target, fn, tag)
    name, types = framework.name, calculus.types

    def found_in(results: Any) -> list[Any]:
        found = leaves(results)
        for k, one in enumerate(found):
            if not isinstance(one, types):
                got = f"{type(one).__name__} at the result{place(results, k)}"
                raise BorderError(message(tag, f"the function must give arrays of {name}, or a nest of them.", got=got))
        return found

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if not kwargs and not _native._is_tracing() and set(map(type, args)) == {array}:
            result = fn(*[to(name, x) for x in args])
            if isinstance(result, types):
                return from_(calculus.free(result))
            return _filled([from_(calculus.free(y)) for y in found_in(result)], [result])
        nest = (args, kwargs)
        values = leaves(nest)
        places = [k for k, leaf in enumerate(values) if isinstance(leaf, array)]
        arguments = [values[k] for k in places]
        shape: list[Any] = []

        def flat(xs: Sequence[Any]) -> list[Any]:
            filled = [None if isinstance(one, array) else one for one in values]
            for k, x in zip(places, xs, strict=True):
                filled[k] = x
            own_args, own_kwargs = rebuilt(nest, filled)
            results = fn(*own_args, **own_kwargs)
            found = found_in(results)
            shape[:] = [rebuilt(results, [None] * len(found))]
            return found

        foreign = Foreign(name, calculus, flat, tag)
        return _filled(foreign(arguments), shape)

    return wrapped


def unwrap(target: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function of bridge arrays, as a function of arrays of `target` that the framework can differentiate.

    In torch it is a torch.autograd.Function, in jax a custom_vjp that runs under jax.jit through a callback, in
    TensorFlow a custom_gradient that runs in tf.function through one. Gradients are bridge's, to any order. The way
    back computes the function a second time. Arrays that `fn` captures are constants.

    Args:
        target: as for `wrap`.
        fn: takes and gives bridge arrays or nests (list, tuple, dict) of them.

    Raises:
        UnknownTarget: no such framework, or it is not installed.
        BorderError: its plugin does not say how functions cross.
    """
    tag = f"bridge.unwrap({target!r})"
    framework, calculus = _calculus(target, fn, tag)
    types = calculus.types

    @functools.wraps(fn)
    def unwrapped(*args: Any, **kwargs: Any) -> Any:
        nest = (args, kwargs)
        values = leaves(nest)
        places = [k for k, leaf in enumerate(values) if isinstance(leaf, types)]
        arguments = [values[k] for k in places]
        for k in places:
            values[k] = None
        shape: list[Any] = []

        def flat(xs: Arrays) -> list[array]:
            filled = list(values)
            for k, x in zip(places, xs, strict=True):
                filled[k] = x
            own_args, own_kwargs = rebuilt(nest, filled)
            results = fn(*own_args, **own_kwargs)
            found = arrays_of(results, tag, "the result")
            shape[:] = [rebuilt(results, [None] * len(found))]
            return found

        return _filled(calculus.layer(Domestic(framework.name, flat))(arguments), shape)

    return unwrapped


class Foreign:
    """A flat function of a framework's arrays, called with bridge arrays."""

    __slots__ = ("calculus", "f", "name", "tag", "what")

    def __init__(self, name: str, calculus: Calculus, f: Flat, tag: str, what: str = "") -> None:
        self.name = name
        self.calculus = calculus
        self.f = f
        self.tag = tag
        self.what = what  # "vmap of the vjp of the ": empty for the function itself

    def __call__(self, arguments: Arrays) -> list[array]:
        if _native._is_tracing() and any(map(_native._is_traced, arguments)):
            return self.traced(arguments)
        results = self.f([to(self.name, x) for x in arguments])
        return [from_(self.calculus.free(y)) for y in results]

    def traced(self, arguments: Arrays, kept: Flat | None = None) -> list[array]:
        """The results as a node with rules; `kept` gives their values from what an earlier call has kept."""
        count = len(arguments)
        where = [k for k, x in enumerate(arguments) if x.dtype in INEXACT]
        ends: list[int] = []
        back: list[Callable[..., list[Any]]] = []

        def flat(xs: Arrays) -> list[array]:
            made = self._now(xs, where, kept, back)
            ends[:] = [k for k, y in enumerate(made) if y.dtype in INEXACT]
            return made

        def pull(changes: Arrays, results: Arrays, xs: Arrays) -> Changes:
            gradients: list[array | None] = [None] * count
            if where and ends:
                derived = self._derived("vjp", self.calculus.vjp(self.f, where, ends, count))
                again = (lambda values: back[0](ends, values[count:])) if back else None
                made = derived.traced([*xs, *[changes[k] for k in ends]], again)
                for k, g in zip(where, made, strict=True):
                    gradients[k] = g
            return gradients

        def push(tangents: Changes, xs: Arrays) -> Changes:
            moving = [k for k in where if tangents[k] is not None]
            changes: list[array | None] = [None] * call.n_results
            if moving and ends:
                derived = self._derived("jvp", self.calculus.jvp(self.f, moving, ends, count))
                inputs = [*xs, *[t for t in (tangents[k] for k in moving) if t is not None]]
                for k, t in zip(ends, derived.traced(inputs), strict=True):
                    changes[k] = t
            return changes

        def batch(size: int, has: Sequence[bool], xs: Arrays) -> list[tuple[array, bool]]:
            whole = self._derived("vmap", self.calculus.vmap(self.f, has, size))
            return [(y, True) for y in whole.traced(xs)]

        call = Call(flat, pull, push, batch)
        return called(call, arguments)

    def _derived(self, what: str, f: Flat) -> Foreign:
        return Foreign(self.name, self.calculus, f, self.tag, f"{what} of the {self.what}")

    @contextmanager
    def _explained(self, *, early: bool = False) -> Iterator[None]:
        """What a function raises is its own affair; that its framework cannot derive it, or trace it, gets a name."""
        try:
            yield
        except BridgeError:
            raise
        except Exception as error:
            if not (self.what or early):
                raise
            verb = "tell before there are values what comes of" if early else "give"
            cause = next(iter(str(error).splitlines()), "")
            problem = f"{self.name} cannot {verb} the {self.what}function: {type(error).__name__}: {cause}"
            raise BorderError(message(self.tag, problem)) from error

    def _now(
        self, xs: Arrays, where: Sequence[int], kept: Flat | None, back: list[Callable[..., list[Any]]]
    ) -> list[array]:
        try:
            with unwatched():
                values = [to(self.name, x, readonly=True) for x in xs]
        except TracedError:
            return self._later(xs)
        with self._explained():
            if kept is not None:
                results = kept(values)
            else:
                results, pull = self.calculus.recorded(self.f, values, where)
                back[:] = [pull]
        return [from_(self.calculus.free(y), readonly=True) for y in results]

    def _later(self, xs: Arrays) -> list[array]:
        """A host op: dtypes and shapes now, values when they are needed."""
        with self._explained(early=True):
            specs = self.calculus.specs(self.f, [(x.dtype.name, x.shape) for x in xs])
        promised: Any = [(DTYPES[name], shape) for name, shape in specs]
        call = HostCall(self.tag, self._on_host, {}, promised)
        return list(_native.host(call, tuple(xs), promised, None))

    def _on_host(self, *operands: Any) -> list[Any]:
        values = [to(self.name, x, readonly=True) for x in operands]
        with self._explained():
            results = self.f(values)
        return [to("numpy", self.calculus.free(y)) for y in results]


class Domestic:
    """A flat function of bridge arrays, called with a framework's arrays: the `Inside` of its layers."""

    __slots__ = ("f", "name")

    def __init__(self, name: str, f: Callable[[Arrays], list[array]]) -> None:
        self.name = name
        self.f = f

    def __call__(self, xs: Sequence[Any]) -> list[Any]:
        return self._into(self.name, xs)

    def on_host(self, xs: Sequence[Any]) -> list[Any]:
        return self._into("numpy", xs)

    def _into(self, target: str, xs: Sequence[Any]) -> list[Any]:
        results = self.f([from_(x, readonly=True, detach=True) for x in xs])
        _native.eval(results)
        with unwatched():
            return [to(target, y) for y in results]

    def specs(self, specs: Sequence[Spec]) -> list[Spec]:
        results = self.f([zeros(shape, DTYPES[name]) for name, shape in specs])
        return [(y.dtype.name, y.shape) for y in results]

    def vjp(self, where: Sequence[int], ends: Sequence[int], count: int) -> Domestic:
        def pulled(xs: Arrays) -> list[array]:
            def of(*points: array) -> list[array]:
                values = list(xs[:count])
                for k, x in zip(where, points, strict=True):
                    values[k] = x
                results = self.f(values)
                return [results[k] for k in ends]

            return vjp(of, [xs[k] for k in where], list(xs[count:]))[1]

        return Domestic(self.name, pulled)

    def batched(self, has: Sequence[bool]) -> Domestic:
        axes = tuple([0 if one else None for one in has])
        return Domestic(self.name, lambda xs: list(vmap(lambda *one: self.f(one), axes)(*xs)))


def _calculus(target: Any, fn: Any, tag: str) -> tuple[Framework, Calculus]:
    if not callable(fn):
        raise TypeError(message(tag, "a function is wanted.", got=type(fn).__name__))
    framework = registry.target(target, tag=tag)
    try:
        calculus = registry.manager.hook.bridge_calculus(framework=framework)
    except ImportError as error:
        problem = f"{framework.name} cannot be imported: {error}"
        raise UnknownTarget(message(tag, problem, fix=framework.install)) from error
    if calculus is None:
        raise BorderError(
            message(
                tag,
                f"the plugin of {framework.name} does not say how functions cross.",
                want="a framework that differentiates: torch, jax, tensorflow",
            )
        )
    return framework, calculus


def _filled(results: Sequence[Any], shape: list[Any]) -> Any:
    return rebuilt(shape[0], results)
