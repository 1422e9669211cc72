"""The conversions that people know from MLX's documentation, as they are written there, with the values they print."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import bridge as mx


def test_numpy_copies_by_default():
    """np.array(a) is a copy, and mx.array of that another one."""
    a = mx.arange(3)
    b = np.array(a)
    c = mx.array(b)
    b[0] = 7
    assert a.tolist() == c.tolist() == [0, 1, 2]
    assert (a.dtype, c.dtype) == (mx.int32, mx.int32)


def test_a_numpy_view_shares():
    """np.array(a, copy=False) does not own its memory, and writing to it writes the array."""
    a = mx.arange(3)
    view = np.array(a, copy=False)
    assert view.flags.owndata is False
    view[0] = 1
    assert a[0].item() == 1


def test_bfloat16_needs_no_detour_through_float32():
    """Where MLX asks for a cast first, the array arrives as ml_dtypes.bfloat16, bit by bit and without a copy."""
    a = mx.array([1.0, 2.5, -3.0]).astype(mx.bfloat16)
    copied, shared = np.array(a), np.asarray(a)
    assert copied.dtype == shared.dtype == ml_dtypes.bfloat16
    assert shared.tolist() == [1.0, 2.5, -3.0]
    shared[0] = 4.0
    assert (a[0].item(), copied[0]) == (4.0, 1.0)


def test_bfloat16_by_the_cast_that_the_page_gives():
    """The documented detour works as well."""
    a = mx.array([1.0, 2.5]).astype(mx.bfloat16)
    assert np.array(a.astype(mx.float32)).tolist() == [1.0, 2.5]


def test_float64_becomes_float32_in_the_constructor_only():
    """mx.array follows MLX; asarray is the lossless way in."""
    x = np.array([1.0, 2.0])
    assert mx.array(x).dtype == mx.float32
    assert mx.array(x, dtype=mx.float64).dtype == mx.float64
    assert mx.asarray(x).dtype == mx.float64
    assert mx.array(x.astype(np.complex128)).dtype == mx.complex64


def test_torch_through_a_memoryview():
    """torch.tensor copies what a memoryview shows; the array back comes from the tensor's NumPy view."""
    import torch

    a = mx.arange(3)
    b = torch.tensor(memoryview(a))
    c = mx.array(b.numpy())
    b[0] = 9
    assert a.tolist() == c.tolist() == [0, 1, 2]


def test_torch_in_one_step():
    """Neither detour is needed: to and from_ share."""
    import torch

    a = mx.arange(6).reshape(2, 3)
    b = mx.to("torch", a)
    assert isinstance(b, torch.Tensor)
    c = mx.from_(b)
    b[0, 0] = 9
    assert a[0, 0].item() == c[0, 0].item() == 9


def test_jax_reads_the_buffer():
    """jnp.array(a) and back."""
    import jax.numpy as jnp

    a = mx.arange(3)
    b = jnp.array(a)
    c = mx.array(b)
    assert b.tolist() == c.tolist() == [0, 1, 2]
    assert c.dtype == mx.int32


def test_tensorflow_through_a_memoryview():
    """tf.constant(memoryview(a)) and back."""
    import tensorflow as tf

    a = mx.arange(3)
    b = tf.constant(memoryview(a))
    c = mx.array(b)
    assert b.numpy().tolist() == c.tolist() == [0, 1, 2]


def test_all_frameworks_one_after_another():
    """A view is written first, so everything that comes later sees the 1; int32 stays int32."""
    import jax.numpy as jnp
    import tensorflow as tf
    import torch

    a = mx.arange(3)
    assert repr(a) == "array([0, 1, 2], dtype=int32)"
    from_numpy = mx.array(np.array(a))
    view = np.array(a, copy=False)
    view[0] = 1
    from_torch = mx.array(torch.tensor(memoryview(a)).numpy())
    from_jax = mx.array(jnp.array(a))
    from_tensorflow = mx.array(tf.constant(memoryview(a)).numpy())
    assert repr(from_numpy) == "array([0, 1, 2], dtype=int32)"
    assert (view[0].item(), a[0].item()) == (1, 1)
    assert from_torch.tolist() == [1, 1, 2]
    assert repr(from_jax) == repr(from_tensorflow) == "array([1, 1, 2], dtype=int32)"


@pytest.mark.parametrize("target", ["numpy", "torch", "jax", "tensorflow"])
def test_the_same_with_one_verb(target):
    """to(target, a) and from_(x): the same two words for every framework."""
    a = mx.arange(3)
    x = mx.to(target, a)
    b = mx.from_(x)
    assert b.tolist() == [0, 1, 2]
    assert b.dtype == mx.int32
    copied = mx.from_(mx.to(target, a, copy=True), copy=True)
    assert copied.tolist() == [0, 1, 2]


def test_a_mixed_expression_is_a_bridge_array():
    """NumPy on the left does not swallow the array."""
    x, a = np.ones(3, np.float32), mx.arange(3)
    for result in (x + a, a + x, x * a, x < a, np.float32(2) * a):
        assert isinstance(result, mx.array)
    assert (x + a).tolist() == [1.0, 2.0, 3.0]
