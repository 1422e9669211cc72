"""Derivatives across the border to TensorFlow: GradientTape, ForwardAccumulator, vectorized_map; custom_gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bridge.core.calculus as base
from bridge.core.calculus import Flat, Inside, Spec


class Calculus(base.Calculus):
    def __init__(self) -> None:
        import tensorflow

        self.types = (tensorflow.Tensor, tensorflow.Variable)

    def recorded(self, f: Flat, xs: Sequence[Any], where: Sequence[int]) -> tuple[list[Any], Callable[..., list[Any]]]:
        import tensorflow

        tape = tensorflow.GradientTape(persistent=True, watch_accessed_variables=False)
        with tape:
            inputs = _watched(tape, xs, where)
            results = f(inputs)

        def pull(ends: Sequence[int], cotangents: Sequence[Any]) -> list[Any]:
            return _pulled(tape, results, ends, inputs, where, cotangents)

        return results, pull

    def vjp(self, f: Flat, where: Sequence[int], ends: Sequence[int], count: int) -> Flat:
        def pulled(xs: Sequence[Any]) -> list[Any]:
            import tensorflow

            tape = tensorflow.GradientTape(watch_accessed_variables=False)
            with tape:
                inputs = _watched(tape, xs[:count], where)
                results = f(inputs)
            return _pulled(tape, results, ends, inputs, where, xs[count:])

        return pulled

    def jvp(self, f: Flat, where: Sequence[int], ends: Sequence[int], count: int) -> Flat:
        def pushed(xs: Sequence[Any]) -> list[Any]:
            import tensorflow

            zero = tensorflow.UnconnectedGradients.ZERO
            with tensorflow.autodiff.ForwardAccumulator([xs[k] for k in where], list(xs[count:])) as ahead:
                results = f(xs[:count])
            return [ahead.jvp(results[k], unconnected_gradients=zero) for k in ends]

        return pushed

    def vmap(self, f: Flat, has: Sequence[bool], size: int) -> Flat:
        def mapped(xs: Sequence[Any]) -> list[Any]:
            import tensorflow

            def one(rows: Sequence[Any]) -> list[Any]:
                row = iter(rows)
                return f([next(row) if batched else x for x, batched in zip(xs, has, strict=True)])

            batches = [x for x, batched in zip(xs, has, strict=True) if batched]
            return list(tensorflow.vectorized_map(one, batches, fallback_to_while_loop=False))

        return mapped

    def specs(self, f: Flat, specs: Sequence[Spec]) -> list[Spec]:
        import tensorflow

        wanted = [tensorflow.TensorSpec(shape, name) for name, shape in specs]
        traced = tensorflow.function(lambda *xs: f(list(xs)), autograph=False).get_concrete_function(*wanted)
        return [(one.dtype.name, tuple(one.shape)) for one in traced.outputs]

    def layer(self, inside: Inside) -> Flat:
        def run(xs: Sequence[Any]) -> list[Any]:
            import tensorflow

            @tensorflow.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
            def layer(*xs: Any) -> Any:
                results = inside(xs) if tensorflow.executing_eagerly() else _called_back(inside, xs)
                ends = [k for k, y in enumerate(results) if _inexact(y)]
                where = [k for k, x in enumerate(xs) if _inexact(x)]

                def backwards(*changes: Any) -> list[Any]:
                    pulled = self.layer(inside.vjp(where, ends, len(xs)))
                    gradients: list[Any] = [None] * len(xs)
                    for k, g in zip(where, pulled([*xs, *[changes[k] for k in ends]]), strict=True):
                        gradients[k] = g
                    return gradients

                return list(results), backwards

            return list(layer(*[tensorflow.convert_to_tensor(x) for x in xs]))

        return run


def _called_back(inside: Inside, xs: Sequence[Any]) -> list[Any]:
    """Inside tf.function: a callback of which the graph knows the results' dtypes and shapes."""
    import tensorflow

    specs = inside.specs([(x.dtype.name, tuple(x.shape)) for x in xs])
    dtypes = [name for name, _ in specs]
    results = tensorflow.numpy_function(lambda *values: inside.on_host(values), list(xs), dtypes)
    for one, (_, shape) in zip(results, specs, strict=True):
        one.set_shape(shape)
    return list(results)


def _inexact(x: Any) -> bool:
    return bool(x.dtype.is_floating or x.dtype.is_complex)


def _watched(tape: Any, xs: Sequence[Any], where: Sequence[int]) -> list[Any]:
    import tensorflow

    inputs = list(xs)
    for k in where:
        inputs[k] = tensorflow.identity(xs[k])
        tape.watch(inputs[k])
    return inputs


def _pulled(
    tape: Any,
    results: Sequence[Any],
    ends: Sequence[int],
    inputs: Sequence[Any],
    where: Sequence[int],
    cotangents: Sequence[Any],
) -> list[Any]:
    import tensorflow

    made = tape.gradient(
        [results[k] for k in ends],
        [inputs[k] for k in where],
        list(cotangents),
        unconnected_gradients=tensorflow.UnconnectedGradients.ZERO,
    )
    return [tensorflow.convert_to_tensor(g) for g in made]  # gradients of gathers are IndexedSlices
