"""Derivatives across the border to jax: jax.vjp, jax.jvp and jax.vmap; custom_vjp and pure_callback the other way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bridge.core.calculus as base
from bridge.core.calculus import Flat, Inside, Spec


class Calculus(base.Calculus):
    def __init__(self) -> None:
        import jax

        self.types = (jax.Array,)

    def recorded(self, f: Flat, xs: Sequence[Any], where: Sequence[int]) -> tuple[list[Any], Callable[..., list[Any]]]:
        import jax

        of, points = _partial(f, xs, where)
        results, back = jax.vjp(of, *points)

        def pull(ends: Sequence[int], cotangents: Sequence[Any]) -> list[Any]:
            changes = [_zero(y) for y in results]
            for k, g in zip(ends, cotangents, strict=True):
                changes[k] = _conjugate(g)
            return [_conjugate(g) for g in back(tuple(changes))]

        return list(results), pull

    def vjp(self, f: Flat, where: Sequence[int], ends: Sequence[int], count: int) -> Flat:
        def pulled(xs: Sequence[Any]) -> list[Any]:
            return self.recorded(f, xs[:count], where)[1](ends, xs[count:])

        return pulled

    def jvp(self, f: Flat, where: Sequence[int], ends: Sequence[int], count: int) -> Flat:
        def pushed(xs: Sequence[Any]) -> list[Any]:
            import jax

            of, points = _partial(f, xs[:count], where)
            changes = jax.jvp(of, points, tuple(xs[count:]))[1]
            return [changes[k] for k in ends]

        return pushed

    def vmap(self, f: Flat, has: Sequence[bool], size: int) -> Flat:
        def mapped(xs: Sequence[Any]) -> list[Any]:
            import jax

            axes = [0 if one else None for one in has]
            return list(jax.vmap(lambda *one: tuple(f(one)), axes, axis_size=size)(*xs))

        return mapped

    def specs(self, f: Flat, specs: Sequence[Spec]) -> list[Spec]:
        import jax

        results = jax.eval_shape(lambda *xs: tuple(f(xs)), *_structs(specs))
        return [_spec(one) for one in results]

    def layer(self, inside: Inside) -> Flat:
        def results_of(xs: Sequence[Any]) -> tuple[Any, ...]:
            import jax

            if not any(isinstance(x, jax.core.Tracer) for x in xs):
                return tuple(inside(xs))
            made = _structs(inside.specs([_spec(x) for x in xs]))

            def on_host(*values: Any) -> tuple[Any, ...]:
                import numpy

                return tuple(inside.on_host([numpy.asarray(one) for one in values]))

            return tuple(jax.pure_callback(on_host, tuple(made), *xs, vmap_method="sequential"))

        def run(xs: Sequence[Any]) -> list[Any]:
            import jax

            layer = jax.custom_vjp(lambda *xs: results_of(xs))

            def forwards(*xs: Any) -> Any:
                return layer(*xs), xs  # the layer, because a derivative of the derivative goes through here, too

            def backwards(xs: Any, changes: Any) -> Any:
                ends = [k for k, y in enumerate(changes) if _inexact(y)]
                where = [k for k, x in enumerate(xs) if _inexact(x)]
                pulled = self.layer(inside.vjp(where, ends, len(xs)))
                gradients: list[Any] = [None] * len(xs)
                for k, g in zip(where, pulled([*xs, *[_conjugate(changes[k]) for k in ends]]), strict=True):
                    gradients[k] = _conjugate(g)
                return tuple(gradients)

            layer.defvjp(forwards, backwards)
            return list(layer(*xs))

        return run


def _partial(
    f: Flat, xs: Sequence[Any], where: Sequence[int]
) -> tuple[Callable[..., tuple[Any, ...]], tuple[Any, ...]]:
    """`f` as a function of the arguments at `where` alone, and these."""

    def of(*points: Any) -> tuple[Any, ...]:
        values = list(xs)
        for k, x in zip(where, points, strict=True):
            values[k] = x
        return tuple(f(values))

    return of, tuple([xs[k] for k in where])


def _inexact(x: Any) -> bool:
    import jax

    return bool(jax.numpy.issubdtype(x.dtype, jax.numpy.inexact))


def _conjugate(g: Any) -> Any:
    """jax's gradient by complex numbers is the conjugate of the direction in which a loss grows."""
    return g.conj() if g.dtype.kind == "c" else g


def _zero(y: Any) -> Any:
    import jax
    import numpy

    return jax.numpy.zeros_like(y) if _inexact(y) else numpy.zeros(y.shape, jax.dtypes.float0)


def _structs(specs: Sequence[Spec]) -> list[Any]:
    import jax

    return [jax.ShapeDtypeStruct(shape, name) for name, shape in specs]


def _spec(one: Any) -> Spec:
    return str(one.dtype), tuple(one.shape)
