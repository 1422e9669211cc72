"""Lazy evaluation, basic indexing and in-place updates, as MLX users write them."""

from __future__ import annotations

import numpy as np
import pytest

import bridge as mx
from bridge.core import _native

# Lazy evaluation.


def test_nothing_is_computed_before_it_is_asked_for():
    """An op records; eval computes."""
    a = mx.array([1.0, 2.0, 3.0])
    b = a + 1
    assert not _native.is_evaluated(b)
    mx.eval(b)
    assert _native.is_evaluated(b)


def test_only_what_is_used_is_computed():
    """The expensive part of a function whose result nobody looks at is never run."""

    def both(x):
        cheap = x + 1
        return cheap, mx.exp(mx.matmul(cheap.reshape(-1, 1), cheap.reshape(1, -1)))

    cheap, expensive = both(mx.arange(3, dtype=mx.float32))
    assert cheap.tolist() == [1.0, 2.0, 3.0]
    assert not _native.is_evaluated(expensive)


def test_a_loop_that_evaluates_at_each_step():
    """Legal, if not wise: the values are those of the plain loop."""
    a, b = mx.array([1.0]), mx.array([1.0])
    x, y = np.float32(1), np.float32(1)
    for _ in range(20):
        a = a + b
        mx.eval(a)
        b = b * 2
        mx.eval(b)
        x, y = x + y, y * 2
    assert (a.item(), b.item()) == (x, y)


def test_a_loop_that_evaluates_at_its_end():
    """A hundred rounds in one graph."""
    a, b = mx.array([0.0]), mx.array([1.0])
    for _ in range(100):
        a = a + b
        b = b * 1
    assert a.item() == 100.0


@pytest.mark.parametrize("look", [print, np.array, memoryview, lambda a: a.tolist(), lambda a: a[0].item()])
def test_looking_evaluates(look):
    """Printing, converting, a memoryview, item: no explicit eval is needed."""
    a = mx.array([1, 2, 3]) + mx.array([4, 5, 6])
    look(a)
    assert a.tolist() == [5, 7, 9]


def test_eval_many_times_is_eval_once():
    """Calling it again, or on several arrays, changes nothing."""
    a = mx.arange(3) + 1
    b = a * 2
    mx.eval(a, b)
    mx.eval(b)
    mx.eval(b, [a])
    assert b.tolist() == [2, 4, 6]


def test_control_flow_on_a_scalar_array():
    """`if value > 3` evaluates the comparison."""
    value = mx.array(5)
    assert ("greater" if value > 3 else "smaller") == "greater"


def test_control_flow_on_a_reduction():
    """The sum decides which branch continues."""

    def process(x):
        processed = x * 2
        return processed * 3 if mx.sum(processed) > 10 else processed + 5

    assert process(mx.array([1, 2, 3, 4])).tolist() == [6, 12, 18, 24]
    assert process(mx.array([1, 0, 0, 0])).tolist() == [7, 5, 5, 5]


def test_one_op_for_both_devices():
    """stream=mx.cpu is accepted; mx.gpu says why there is none, where there is none."""
    a, b = mx.array([1.0, 2.0]), mx.array([3.0, 4.0])
    c = mx.add(a, b, stream=mx.cpu)
    assert mx.add(a, c, stream=mx.cpu).tolist() == [5.0, 8.0]
    if not mx.metal.is_available():
        with pytest.raises((ValueError, mx.BridgeError), match=r"(?i)metal|gpu"):
            mx.add(a, b, stream=mx.gpu)


# Indexing.


def test_integers_and_slices():
    """As in NumPy, negative ones too."""
    arr = mx.arange(10)
    assert repr(arr[3]) == "array(3, dtype=int32)"
    assert repr(arr[-2]) == "array(8, dtype=int32)"
    assert repr(arr[2:8:2]) == "array([2, 4, 6], dtype=int32)"
    assert arr[::-1].tolist() == list(range(9, -1, -1))
    assert arr[7:2:-2].tolist() == [7, 5, 3]


def test_more_axes_and_the_ellipsis():
    """`:` for an axis, `...` for all that are not named."""
    arr = mx.arange(8).reshape(2, 2, 2)
    assert arr[:, :, 0].tolist() == arr[..., 0].tolist() == [[0, 2], [4, 6]]
    assert arr[1, ..., 1].tolist() == [5, 7]
    assert repr(arr[:, :, 0]) == "array([[0, 2],\n       [4, 6]], dtype=int32)"


def test_none_makes_an_axis():
    """In front, behind, in between."""
    arr = mx.arange(8)
    assert tuple(arr.shape) == (8,)
    assert tuple(arr[None].shape) == (1, 8)
    assert tuple(arr[:, None].shape) == (8, 1)


@pytest.mark.parametrize("index", [10, -11, 1000])
def test_out_of_bounds_is_an_error(index):
    """Where MLX's behaviour is undefined, bridge raises."""
    with pytest.raises(IndexError, match=r"(?i)out of (bounds|range)"):
        mx.arange(10)[index]


# In-place updates.


def test_an_update_at_an_index():
    """a[2] = 0."""
    a = mx.array([1, 2, 3])
    a[2] = 0
    assert repr(a) == "array([1, 2, 0], dtype=int32)"


def test_an_update_shows_under_every_name_of_the_array():
    """b = a is the same array."""
    a = mx.array([1, 2, 3])
    b = a
    b[2] = 0
    assert a.tolist() == b.tolist() == [1, 2, 0]


def test_an_update_of_a_slice_is_no_update_of_its_source():
    """A slice is an array of its own."""
    a = mx.array([1, 2, 3])
    b = a[:2]
    b[0] = 9
    assert (a.tolist(), b.tolist()) == ([1, 2, 3], [9, 2])


def test_updates_of_slices_and_rows():
    """Whatever basic indexing reads it writes, with broadcasting."""
    a = mx.zeros((3, 4))
    a[1] = 5
    a[:, 2] = mx.array([1.0, 2.0, 3.0])
    a[::2, ::-2] += 10
    expected = np.zeros((3, 4), np.float32)
    expected[1] = 5
    expected[:, 2] = [1, 2, 3]
    expected[::2, ::-2] += 10
    assert a.tolist() == expected.tolist()


def test_updates_keep_the_dtype():
    """What is written is cast to what is there."""
    a = mx.array([1, 2, 3])
    a[0] = 7.9
    assert (a.dtype, a[0].item()) == (mx.int32, 7)
