"""Views, joins, splits and repetition against NumPy, and what a view shares."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from core.values import EVERY, LAYOUTS, draw, laid_out, to_bridge, to_numpy
from hypothesis import given
from hypothesis import strategies as st

import bridge
from bridge.core import _native

X = np.arange(24).reshape(2, 3, 4)
A = bridge.arange(24).reshape(2, 3, 4)

SAME = {
    "reshape": (lambda: bridge.reshape(A, (4, -1)), lambda: X.reshape(4, -1)),
    "reshape 0-d": (lambda: bridge.reshape(A[:1, :1, :1], ()), lambda: X[:1, :1, :1].reshape(())),
    "method reshape": (lambda: A.reshape(6, 4), lambda: X.reshape(6, 4)),
    "method reshape sequence": (lambda: A.reshape([6, -1]), lambda: X.reshape(6, 4)),
    "flatten": (lambda: bridge.flatten(A), lambda: X.ravel()),
    "flatten axes": (lambda: A.flatten(0, 1), lambda: X.reshape(6, 4)),
    "flatten from": (lambda: A.flatten(start_axis=-2), lambda: X.reshape(2, 12)),
    "flatten 0-d": (lambda: bridge.flatten(bridge.array(7)), lambda: np.array([7])),
    "unflatten": (lambda: bridge.unflatten(A, -1, (2, -1)), lambda: X.reshape(2, 3, 2, 2)),
    "transpose": (lambda: bridge.transpose(A), lambda: X.T),
    "transpose axes": (lambda: bridge.transpose(A, (1, -1, 0)), lambda: X.transpose(1, 2, 0)),
    "method transpose": (lambda: A.transpose(2, 0, 1), lambda: X.transpose(2, 0, 1)),
    "T": (lambda: A.T, lambda: X.T),
    "mT": (lambda: A.mT, lambda: X.swapaxes(-1, -2)),
    "swapaxes": (lambda: bridge.swapaxes(A, 0, -1), lambda: X.swapaxes(0, 2)),
    "moveaxis": (lambda: bridge.moveaxis(A, 0, -1), lambda: np.moveaxis(X, 0, -1)),
    "moveaxis back": (lambda: A.moveaxis(2, 0), lambda: np.moveaxis(X, 2, 0)),
    "expand_dims": (lambda: bridge.expand_dims(A, 1), lambda: np.expand_dims(X, 1)),
    "expand_dims several": (lambda: bridge.expand_dims(A, (0, -1)), lambda: np.expand_dims(X, (0, -1))),
    "squeeze": (lambda: bridge.squeeze(A[:1, :, :1]), lambda: X[:1, :, :1].squeeze()),
    "squeeze axis": (lambda: A[:1, :, :1].squeeze(-1), lambda: X[:1, :, :1].squeeze(-1)),
    "broadcast_to": (
        lambda: bridge.broadcast_to(A[:, :1], (5, 2, 3, 4)),
        lambda: np.broadcast_to(X[:, :1], (5, 2, 3, 4)),
    ),
    "broadcast_to scalar": (lambda: bridge.broadcast_to(7, (2, 2)), lambda: np.broadcast_to(7, (2, 2))),
    "concatenate": (lambda: bridge.concatenate([A, A[:, :1]], 1), lambda: np.concatenate([X, X[:, :1]], 1)),
    "concatenate last": (lambda: bridge.concatenate([A, A], axis=-1), lambda: np.concatenate([X, X], -1)),
    "concatenate flat": (lambda: bridge.concatenate([A, A[0]], axis=None), lambda: np.concatenate([X, X[0]], None)),
    "concatenate empty": (lambda: bridge.concatenate([A[:0], A]), lambda: np.concatenate([X[:0], X])),
    "stack": (lambda: bridge.stack([A, A + 1]), lambda: np.stack([X, X + 1])),
    "stack last": (lambda: bridge.stack([A, A + 1], -1), lambda: np.stack([X, X + 1], -1)),
    "flip": (lambda: bridge.flip(A), lambda: np.flip(X)),
    "flip axis": (lambda: bridge.flip(A, -1), lambda: np.flip(X, -1)),
    "roll": (lambda: bridge.roll(A, 5), lambda: np.roll(X, 5)),
    "roll axes": (lambda: bridge.roll(A, (1, -2), (0, 2)), lambda: np.roll(X, (1, -2), (0, 2))),
    "repeat": (lambda: bridge.repeat(A, 3), lambda: np.repeat(X, 3)),
    "repeat axis": (lambda: bridge.repeat(A, 2, axis=-2), lambda: np.repeat(X, 2, axis=-2)),
    "repeat none": (lambda: bridge.repeat(A, 0, axis=1), lambda: np.repeat(X, 0, axis=1)),
    "tile": (lambda: bridge.tile(A, (2, 1, 3)), lambda: np.tile(X, (2, 1, 3))),
    "tile adds axes": (lambda: bridge.tile(A[0], (2, 2, 2)), lambda: np.tile(X[0], (2, 2, 2))),
    "tile few": (lambda: bridge.tile(A, 2), lambda: np.tile(X, 2)),
    "atleast_2d": (lambda: bridge.atleast_2d(A[0, 0]), lambda: np.atleast_2d(X[0, 0])),
    "atleast_3d": (lambda: bridge.atleast_3d(A[0, 0]), lambda: np.atleast_3d(X[0, 0])),
    "atleast_3d 2-d": (lambda: bridge.atleast_3d(A[0]), lambda: np.atleast_3d(X[0])),
}


@pytest.mark.parametrize("case", SAME)
def test_same_as_numpy(case: str):
    """The same shape and elements as NumPy's function of that name."""
    got, want = (make() for make in SAME[case])
    np.testing.assert_array_equal(to_numpy(got), want)


@pytest.mark.parametrize("name", EVERY)
def test_every_dtype(name: str):
    """Views and joins carry every dtype, bit by bit, from every layout."""
    for layout in LAYOUTS:
        x, a = laid_out(layout, name, -4, 4)
        np.testing.assert_array_equal(to_numpy(a), x)
        np.testing.assert_array_equal(to_numpy(bridge.reshape(a, (2, 12))), x.reshape(2, 12))
        np.testing.assert_array_equal(to_numpy(bridge.concatenate([a, a[:1]])), np.concatenate([x, x[:1]]))
        np.testing.assert_array_equal(to_numpy(bridge.stack([a, a], 1)), np.stack([x, x], 1))


def test_split():
    """Equal parts, or parts between places, which may lie outside; the parts are views."""
    for arguments in [(3, 1), ([1], 1), ([1, 2], -1), ([2, 1], 2), ([-1, 9], 2), ([], 0), (1, 0)]:
        got = bridge.split(A, *arguments)
        want = np.split(X, *arguments)
        assert len(got) == len(want)
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(to_numpy(one), other)
    first, second = bridge.array([1, 2, 3, 4]).split(2)
    assert (first.tolist(), second.tolist()) == ([1, 2], [3, 4])
    assert [part.tolist() for part in bridge.unstack(A[0, :2, :2], axis=1)] == [[0, 4], [1, 5]]


def test_dtypes_are_promoted_in_joins():
    """concatenate and stack promote as operators do."""
    mixed = [bridge.ones((2,), bridge.int8), bridge.ones((2,), bridge.uint8)]
    assert bridge.concatenate(mixed).dtype is bridge.int16
    assert bridge.stack(mixed).dtype is bridge.int16


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: bridge.reshape(A, (5, 5)), ValueError, "24"),
        (lambda: bridge.reshape(A, (5, -1)), ValueError, "24"),
        (lambda: bridge.reshape(A, (-1, -1)), ValueError, "-1"),
        (lambda: bridge.reshape(bridge.zeros((0,)), (0, -1)), ValueError, "-1|infer"),
        (lambda: bridge.transpose(A, (0, 0, 1)), ValueError, "twice|permutation|repeat"),
        (lambda: bridge.transpose(A, (0, 1)), ValueError, "3|axes"),
        (lambda: bridge.swapaxes(A, 0, 3), IndexError, "axis 3 is out of bounds"),
        (lambda: bridge.expand_dims(A, 5), IndexError, "axis 5 is out of bounds"),
        (lambda: bridge.squeeze(A, 0), ValueError, "size|extent"),
        (lambda: bridge.broadcast_to(A, (2, 3, 5)), ValueError, "broadcast"),
        (lambda: bridge.concatenate([]), ValueError, "at least one array"),
        (lambda: bridge.concatenate([A, A[0]]), ValueError, "differ"),
        (lambda: bridge.concatenate([A, A[:, :2]]), ValueError, "differ"),
        (lambda: bridge.stack([A, A[:1]]), ValueError, "shape|differ"),
        (lambda: bridge.split(A, 5, 2), ValueError, "5 equal parts"),
        (lambda: bridge.broadcast_shapes((2, 3), (4,)), ValueError, "cannot be broadcast"),
        (lambda: bridge.ones((3,)) + bridge.ones((4,)), ValueError, "cannot be broadcast"),
    ],
)
def test_refusals(make, error: type[Exception], text: str):
    """What does not fit raises, and the text says what."""
    with pytest.raises(error, match=text):
        make()


def address(a: bridge.array) -> int:
    return _native.facts(a)[3]


def test_views_share():
    """Views of an evaluated array share its bytes; reshape copies only where strides cannot say it."""
    a = bridge.arange(24).reshape(4, 6)
    bridge.eval(a)
    assert address(a.T) == address(a)
    assert address(a[1:, 2:]) == address(a) + (6 + 2) * 4
    assert address(a.reshape(2, 12)) == address(a)
    assert address(bridge.broadcast_to(a, (3, 4, 6))) == address(a)
    assert address(a[:, ::2].reshape(2, 2, 3)) == address(a)
    assert address(a.T.reshape(24)) != address(a)


shapes = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)


@given(shapes, st.data())
def test_broadcasting(shape: tuple[int, ...], data: st.DataObject):
    """Any two shapes that NumPy broadcasts, bridge broadcasts to the same shape and values; others raise."""
    other = data.draw(st.lists(st.sampled_from([1, *shape] if shape else [1, 2]), max_size=4).map(tuple))
    x, y = draw("float32", shape, seed=1), draw("float32", other, seed=2)
    try:
        want = x + y
    except ValueError:
        with pytest.raises(ValueError, match="cannot be broadcast"):
            to_bridge(x) + to_bridge(y)
        return
    np.testing.assert_array_equal(to_numpy(to_bridge(x) + to_bridge(y)), want)
    assert bridge.broadcast_shapes(shape, other) == want.shape
    for one in bridge.broadcast_arrays(to_bridge(x), to_bridge(y)):
        assert one.shape == want.shape


@given(st.permutations(range(4)), st.lists(st.booleans(), min_size=4, max_size=4), st.booleans())
def test_view_of_view(order: list[int], turned: list[bool], lazy: bool):
    """Transposes, reversals and reshapes stack in any order, before or after evaluation."""
    x = np.arange(2 * 3 * 4 * 2).reshape(2, 3, 4, 2)
    a = bridge.arange(48).reshape(2, 3, 4, 2)
    if not lazy:
        bridge.eval(a)
    key = tuple(slice(None, None, -1 if one else None) for one in turned)
    want = (x.transpose(order)[key] * 2).reshape(-1)[1::3].reshape(4, 4)[:, ::2]
    got = (a.transpose(order)[key] * 2).reshape(-1)[1::3].reshape(4, 4)[:, ::2]
    np.testing.assert_array_equal(to_numpy(got), want)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: bridge.split(a, 1, 2),
        lambda a: bridge.unstack(a, axis=-3),
        lambda a: bridge.flip(a, (0, 2)),
        lambda a: bridge.roll(a, 1, (0, 5)),
        lambda a: bridge.repeat(a, 2, 2),
        lambda a: bridge.unflatten(a, 2, (1, 2)),
        lambda a: bridge.diagonal(a, 0, 0, 2),
    ],
    ids=["split", "unstack", "flip", "roll", "repeat", "unflatten", "diagonal"],
)
def test_axes_out_of_bounds(call: Callable, request: pytest.FixtureRequest):
    """The error names the op and is both a ValueError and an IndexError."""
    name = request.node.callspec.id
    with pytest.raises(IndexError, match=rf"\[bridge.{name}\] axis -?\d is out of bounds for an array of 2") as caught:
        call(bridge.ones((2, 3)))
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: bridge.repeat(bridge.ones(2), -1), "number of repeats must not be negative"),
        (lambda: bridge.tile(bridge.ones(2), (2, -1)), "numbers of repeats must not be negative"),
        (lambda: bridge.roll(bridge.ones((2, 3)), (1, 2, 3), (0, 1)), "3 shifts do not go with 2 axes"),
        (lambda: bridge.broadcast_to(bridge.ones(1), (-1,)), "an extent is negative"),
        (lambda: bridge.eye(-1), "must not be negative"),
        (lambda: bridge.tri(2, -1), "must not be negative"),
        (lambda: bridge.tril(bridge.ones(3)), "two axes or more"),
        (lambda: bridge.triu(bridge.ones(())), "two axes or more"),
    ],
)
def test_counts_that_make_no_array(call: Callable, text: str):
    """Negative counts, and matrices that are none."""
    with pytest.raises(ValueError, match=text):
        call()


def test_rolls_that_add_up():
    """Several shifts of one axis, or one shift of several; of the flattened array their sum."""
    x = np.arange(12).reshape(3, 4)
    a = bridge.array(x)
    for shift, axis in [((1, 2), 0), (1, (0, 1)), ((1, -2), (1, 1)), ((3, 4), None), (5, None), ((2,), (0, 1))]:
        np.testing.assert_array_equal(to_numpy(bridge.roll(a, shift, axis)), np.roll(x, shift, axis))
