"""Arrays of each framework for the tests of this folder, and their addresses asked without bridge."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

FOREIGN = ("numpy", "torch", "jax", "tensorflow")
IMMUTABLE = ("jax", "tensorflow")


def aligned(shape: tuple[int, ...], dtype: Any = np.float32, *, shift: int = 0) -> np.ndarray:
    """Zeros whose address is `shift` bytes past a multiple of 64."""
    dtype = np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)
    nbytes = int(np.prod(shape)) * dtype.itemsize
    block = np.zeros(nbytes + 128, np.uint8)
    start = -block.ctypes.data % 64 + shift
    return block[start : start + nbytes].view(dtype).reshape(shape)


def counting(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """0, 1, 2, ... in aligned memory."""
    array = aligned(shape, dtype)
    array[...] = np.arange(array.size).reshape(shape)
    return array


def make(framework: str, dtype: str = "float32", shape: tuple[int, ...] = (3, 4)) -> Any:
    """0, 1, 2, ... as an array of the framework, in memory of its own."""
    array = counting(shape, dtype)
    if framework == "numpy":
        return array
    if framework == "torch":
        import torch

        return torch.arange(array.size).reshape(shape).to(getattr(torch, dtype))
    if framework == "jax":
        import jax.numpy as jnp

        return jnp.array(array)
    if framework == "tensorflow":
        import tensorflow as tf

        return tf.constant(array)
    import bridge

    return bridge.array(array, dtype=dtype)


def address(array: Any) -> int:
    """Of the first element, by each framework's own means."""
    kind = type(array).__module__.partition(".")[0]
    if kind == "numpy":
        return array.ctypes.data
    if kind == "torch":
        return array.data_ptr()
    if kind == "jaxlib":
        return array.unsafe_buffer_pointer()
    if kind == "tensorflow":
        import tensorflow as tf

        known = tf.bitcast(array, tf.uint16) if array.dtype == tf.bfloat16 else array
        try:
            return np.asarray(memoryview(known)).ctypes.data
        except ValueError:  # float8: NumPy is given the tensor's memory all the same
            return np.asarray(known).ctypes.data
    from bridge.core import _native

    return _native.storage_address(array)


def values(array: Any) -> list[Any]:
    """The elements as Python numbers, in nested lists."""
    kind = type(array).__module__.partition(".")[0]
    if kind == "tensorflow":
        array = array.numpy()
    return array.tolist()
