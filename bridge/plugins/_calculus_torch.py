"""Derivatives across the border to torch: torch.autograd, and torch.func where a function is mapped."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import bridge.core.calculus as base
from bridge.core.calculus import Flat, Inside, Spec

_mapping = threading.local()  # torch.autograd.grad cannot run inside torch.func.vmap; torch.func.vjp can


class Calculus(base.Calculus):
    def __init__(self) -> None:
        import torch

        self.types = (torch.Tensor,)

    def free(self, x: Any) -> Any:
        return x.detach() if x.requires_grad else x

    def recorded(self, f: Flat, xs: Sequence[Any], where: Sequence[int]) -> tuple[list[Any], Callable[..., list[Any]]]:
        import torch

        with torch.enable_grad():
            inputs = _inputs(xs, where)
            results = f(inputs)

        def pull(ends: Sequence[int], cotangents: Sequence[Any]) -> list[Any]:
            return _pulled(results, ends, inputs, where, cotangents, retain_graph=True)

        return results, pull

    def vjp(self, f: Flat, where: Sequence[int], ends: Sequence[int], count: int) -> Flat:
        def pulled(xs: Sequence[Any]) -> list[Any]:
            import torch

            if getattr(_mapping, "depth", 0):
                of, points = _partial(f, xs[:count], where, ends)
                return list(torch.func.vjp(of, *points)[1](tuple(xs[count:])))
            again = torch.is_grad_enabled() and any(x.requires_grad for x in xs)
            with torch.enable_grad():
                inputs = _inputs(xs[:count], where)
                results = f(inputs)
                return _pulled(results, ends, inputs, where, xs[count:], create_graph=again)

        return pulled

    def jvp(self, f: Flat, where: Sequence[int], ends: Sequence[int], count: int) -> Flat:
        def pushed(xs: Sequence[Any]) -> list[Any]:
            import torch

            _load_forward()
            of, points = _partial(f, xs[:count], where, ends)
            return list(torch.func.jvp(of, points, tuple(xs[count:]))[1])

        return pushed

    def vmap(self, f: Flat, has: Sequence[bool], size: int) -> Flat:
        def mapped(xs: Sequence[Any]) -> list[Any]:
            import torch

            _mapping.depth = getattr(_mapping, "depth", 0) + 1
            try:
                axes = tuple([0 if one else None for one in has])
                return list(torch.func.vmap(lambda *one: tuple(f(one)), axes)(*xs))
            finally:
                _mapping.depth -= 1

        return mapped

    def specs(self, f: Flat, specs: Sequence[Spec]) -> list[Spec]:
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode(allow_non_fake_inputs=True):
            results = f([torch.empty(shape, dtype=_dtype(name)) for name, shape in specs])
        return [_spec(one) for one in results]

    def layer(self, inside: Inside) -> Flat:
        function = _function()

        def run(xs: Sequence[Any]) -> list[Any]:
            return list(function.apply(inside, *xs))

        return run


def _inputs(xs: Sequence[Any], where: Sequence[int]) -> list[Any]:
    """The arguments, of which those at `where` are recorded from here on; one that is recorded stays connected."""
    inputs = list(xs)
    for k in where:
        inputs[k] = xs[k].view_as(xs[k]) if xs[k].requires_grad else xs[k].detach().requires_grad_()
    return inputs


def _pulled(
    results: Sequence[Any],
    ends: Sequence[int],
    inputs: Sequence[Any],
    where: Sequence[int],
    cotangents: Sequence[Any],
    **how: bool,
) -> list[Any]:
    import torch

    pairs = [(results[k], g) for k, g in zip(ends, cotangents, strict=True) if results[k].requires_grad]
    points = [inputs[k] for k in where]
    if not pairs:
        return [torch.zeros_like(x) for x in points]
    made = torch.autograd.grad([y for y, _ in pairs], points, [g for _, g in pairs], allow_unused=True, **how)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(made, points, strict=True)]


def _partial(
    f: Flat, xs: Sequence[Any], where: Sequence[int], ends: Sequence[int]
) -> tuple[Callable[..., tuple[Any, ...]], tuple[Any, ...]]:
    """`f` as a function of the arguments at `where` alone, and these."""

    def of(*points: Any) -> tuple[Any, ...]:
        values = list(xs)
        for k, x in zip(where, points, strict=True):
            values[k] = x
        results = f(values)
        return tuple([results[k] for k in ends])

    return of, tuple([xs[k] for k in where])


@cache
def _load_forward() -> None:
    """torch loads its rules for forward mode at the first use, and warns of how it does that."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.neg, (torch.zeros(()),), (torch.zeros(()),))


def _dtype(name: str) -> Any:
    import torch

    return getattr(torch, name)


def _spec(one: Any) -> Spec:
    return str(one.dtype).removeprefix("torch."), tuple(one.shape)


@cache
def _function() -> Any:
    """The torch.autograd.Function of all bridge functions. Its backward is one, too, so it can be differentiated."""
    import torch

    class Layer(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
        @staticmethod
        def forward(inside: Inside, *xs: Any) -> tuple[Any, ...]:
            return tuple(inside(xs))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
            ctx.inside = inputs[0]
            ctx.save_for_backward(*inputs[1:])
            ctx.ends = [k for k, y in enumerate(output) if y.is_floating_point() or y.is_complex()]
            ctx.mark_non_differentiable(*[y for k, y in enumerate(output) if k not in ctx.ends])

        @staticmethod
        def backward(ctx: Any, *changes: Any) -> tuple[Any, ...]:
            xs = ctx.saved_tensors
            where = [k for k in range(len(xs)) if ctx.needs_input_grad[k + 1]]
            pulled = ctx.inside.vjp(where, ctx.ends, len(xs))
            made = Layer.apply(pulled, *xs, *[changes[k] for k in ctx.ends])
            gradients: list[Any] = [None] * (len(xs) + 1)
            for k, g in zip(where, made, strict=True):
                gradients[k + 1] = g
            return tuple(gradients)

        @staticmethod
        def vmap(info: Any, axes: tuple[Any, ...], inside: Inside, *xs: Any) -> tuple[Any, Any]:
            has = [axis is not None for axis in axes[1:]]
            front = [x if axis is None else x.movedim(axis, 0) for x, axis in zip(xs, axes[1:], strict=True)]
            results = Layer.apply(inside.batched(has), *front)
            return results, tuple([0] * len(results))

    return Layer
