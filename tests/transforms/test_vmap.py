"""Functions of one example on whole batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import bridge as mx


def a(*shape: int, seed: int = 0) -> mx.array:
    return mx.array(np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32))


def same(got: Any, want: Any) -> None:
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=1e-6, atol=1e-6)


def test_documented_example():
    """Pairwise sums: the naive loop and vmap over the right axes."""
    xs, ys = a(20, 5), a(5, 20, seed=1)
    naive = mx.stack([xs[i] + ys[:, i] for i in range(xs.shape[0])])
    same(mx.vmap(lambda x, y: x + y, in_axes=(0, 1))(xs, ys), naive)


def test_axes():
    """in_axes and out_axes count from both ends; None is the same for every example."""
    x, w = a(4, 3, 2), a(3, 2, seed=1)
    same(mx.vmap(lambda x: x * 2, in_axes=1, out_axes=-1)(x), np.asarray(x).transpose(0, 2, 1) * 2)
    same(mx.vmap(lambda x, w: (x * w).sum(), in_axes=(0, None))(x, w), (np.asarray(x) * np.asarray(w)).sum((1, 2)))
    same(mx.vmap(lambda x, w: x, in_axes=(-1, None))(x, w), np.asarray(x).transpose(2, 0, 1))


def test_nests():
    """Nests of arguments and results; prefixes of them as axes."""
    d = {"a": a(3, 2), "b": [a(2, seed=1)]}
    got = mx.vmap(
        lambda d: {"sum": d["a"] + d["b"][0], "pair": (d["b"][0], d["a"])},
        in_axes={"a": 0, "b": None},
        out_axes={"sum": 1, "pair": (None, 0)},
    )(d)
    same(got["sum"], (np.asarray(d["a"]) + np.asarray(d["b"][0])).T)
    same(got["pair"][0], d["b"][0])
    same(got["pair"][1], d["a"])
    same(mx.vmap(lambda x, y: x["k"] + y, in_axes=({"k": 0}, [0][0]))({"k": a(3)}, a(3, seed=1)), a(3) + a(3, seed=1))


def test_results_that_do_not_depend():
    """What is the same for all examples is repeated, or given once where out_axes says None."""
    x = a(3)
    assert mx.vmap(lambda x: (x, mx.ones((2,))))(x)[1].tolist() == [[1, 1]] * 3
    assert mx.vmap(lambda x: (x, mx.ones((2,))), out_axes=(0, None))(x)[1].tolist() == [1, 1]


def test_indices_reductions_and_updates():
    """argmax, reductions over some axes, in-place updates and loops over Python numbers inside the function."""

    def f(x: mx.array) -> Any:
        y = x * 1
        y[0] = x[1]
        for k in range(3):
            y[:, k] += k
        return mx.argmax(y), mx.argmax(y, axis=1), y.max(0, keepdims=True), mx.logsumexp(y, 1)

    x = a(4, 2, 3)
    got = mx.vmap(f)(x)
    for i in range(4):
        for one, want in zip(got, f(x[i]), strict=True):
            assert one.dtype == want.dtype
            same(one[i], want)


def test_nested():
    """vmap of vmap, each over another axis of another argument."""
    x, y = a(2), a(3, seed=1)
    got = mx.vmap(mx.vmap(lambda x, y: x * y, in_axes=(0, None)), in_axes=(None, 0))(x, y)
    same(got, np.outer(np.asarray(y), np.asarray(x)))


def test_captured_arrays_with_live_views():
    """An array that another library can write to is read as it is at the call."""
    w = mx.ones((3,))
    view = np.asarray(w)
    same(mx.vmap(lambda x: (x * w).sum())(mx.ones((2, 3))), [3, 3])
    view[:] = 2
    same(mx.vmap(lambda x: (x * w).sum())(mx.ones((2, 3))), [6, 6])


def test_values_are_refused():
    """Looking at a value raises one exception that names the transform, however it is looked at."""
    for look in (lambda x: x.item(), lambda x: x.tolist(), bool, float, str, lambda x: np.asarray(x), mx.eval):
        with pytest.raises(mx.TracedError, match=r"traced by bridge\.vmap(.|\n)*no values"):
            mx.vmap(lambda x, look=look: (look(x), x)[1])(mx.ones((2,)))


def test_leaks_are_named():
    """An array that escaped from the function has no values, and says so."""
    held: list[mx.array] = []
    mx.vmap(lambda x: (held.append(x * 2), x)[1])(mx.ones((2,)))
    with pytest.raises(mx.TracedError, match="leaked"):
        held[0].item()


WRONG = [
    (
        lambda: mx.vmap(lambda x, y: x, in_axes=(None, None))(mx.ones((2,)), mx.ones((2,))),
        ValueError,
        "no argument is mapped",
    ),
    (lambda: mx.vmap(lambda x, y: x)(mx.ones((2,)), mx.ones((3,))), ValueError, "different extents"),
    (lambda: mx.vmap(lambda x: x, in_axes=1)(mx.ones((2,))), IndexError, "axis 1, which the array"),
    (lambda: mx.vmap(lambda x: x, out_axes=2)(mx.ones((2, 3))), IndexError, "axis 2, which the result"),
    (lambda: mx.vmap(lambda x: x, out_axes=None)(mx.ones((2, 3))), ValueError, "differs between examples"),
    (lambda: mx.vmap(lambda x, y: x, in_axes=(0,))(mx.ones((2,)), mx.ones((2,))), ValueError, "not a prefix"),
    (lambda: mx.vmap(lambda x: x, in_axes="a")(mx.ones((2,))), ValueError, "int or None"),
    (lambda: mx.vmap(lambda x, y: x)(mx.ones((2,)), 2.0), TypeError, "only arrays can be mapped"),
    (lambda: mx.vmap(lambda x: 3)(mx.ones((2,))), TypeError, "must be an array"),
    (lambda: mx.vmap(lambda x, y=1: x)(mx.ones((2,)), y=2), TypeError, "keyword arguments"),
    (lambda: mx.vmap(3), TypeError, "a function is wanted"),
]


@pytest.mark.parametrize(("call", "kind", "text"), WRONG)
def test_wrong_arguments(call: Any, kind: type[Exception], text: str):
    """Each wrong use raises an error that says what came."""
    with pytest.raises(kind, match=text):
        call()
