"""Arrays of every framework over memory of a known layout, and what can be asked of them without bridge.

Values travel as the bytes of the row-major array, so that NaN payloads, signed zeros and bfloat16 compare exactly.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
from interop.facts import LAYOUTS, Layout, size

NUMPY_DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}


def numpy_dtype(name: str) -> np.dtype:
    return NUMPY_DTYPES.get(name) or np.dtype(name)


class Value(NamedTuple):
    """What an array holds, independent of who holds it."""

    dtype: str
    shape: tuple[int, ...]
    bits: bytes


# Bits that a move must not change although arithmetic would: a signalling NaN, negative zero, the least subnormal.
DELICATE = {
    "float16": (np.uint16, (0x7C01, 0x8000, 0x0001)),
    "bfloat16": (np.uint16, (0x7F81, 0x8000, 0x0001)),
    "float32": (np.uint32, (0x7F800001, 0x80000000, 0x00000001)),
    "float64": (np.uint64, (0x7FF0000000000001, 0x8000000000000000, 0x0000000000000001)),
}
DELICATE |= {"complex64": DELICATE["float32"], "complex128": DELICATE["float64"]}


def elements(dtype: str, count: int, *, seed: int = 7) -> np.ndarray:
    """`count` elements of random bits, the delicate ones among them."""
    resolved = numpy_dtype(dtype)
    generator = np.random.default_rng(seed)
    raw = generator.integers(0, 256, size=count * resolved.itemsize, dtype=np.uint8)
    if dtype == "bool":
        raw %= 2
        raw[:2] = [0, 1][: raw.size]
    if dtype in DELICATE:
        unsigned, bits = DELICATE[dtype]
        parts = raw.view(unsigned)
        parts[: len(bits)] = bits[: parts.size]
    return raw.view(resolved)


def aligned_bytes(nbytes: int, *, shift: int = 0) -> np.ndarray:
    """Writable bytes whose address is `shift` past a multiple of 64."""
    block = np.zeros(nbytes + 128, np.uint8)
    start = -block.ctypes.data % 64 + shift
    return block[start : start + nbytes]


def view(memory: np.ndarray, dtype: str, layout: Layout) -> np.ndarray:
    resolved = numpy_dtype(dtype)
    return np.ndarray(
        layout.shape,
        resolved,
        buffer=memory.data,
        offset=layout.offset * resolved.itemsize,
        strides=[s * resolved.itemsize for s in layout.strides],
    )


def numpy_array(dtype: str, layout_name: str) -> np.ndarray:
    layout = LAYOUTS[layout_name]
    source = elements(dtype, layout.count)
    memory = aligned_bytes(source.nbytes, shift=layout.byte_shift)
    memory[...] = source.view(np.uint8)
    return view(memory, dtype, layout)


def expected_value(dtype: str, layout_name: str) -> Value:
    return value_of_numpy(dtype, numpy_array(dtype, layout_name))


def filled_value(value: Value, number: int) -> Value:
    """The same array with every element replaced by `number`."""
    one = np.array(number).astype(numpy_dtype(value.dtype))
    return value._replace(bits=one.tobytes() * int(np.prod(value.shape)))


def other_number(value: Value) -> int:
    """0 or 1: the one that the array is not full of."""
    return int(filled_value(value, 1).bits != value.bits)


def value_of_numpy(dtype: str, array: np.ndarray) -> Value:
    return Value(dtype, array.shape, array.tobytes())


class Numpy:
    """Adapters share these five verbs: build, address, value, fill, writable."""

    def build(self, dtype: str, layout: str) -> Any:
        return numpy_array(dtype, layout)

    def address(self, array: Any) -> int:
        return array.__array_interface__["data"][0]

    def value(self, array: Any) -> Value:
        return value_of_numpy(array.dtype.name, array)

    def fill(self, array: Any, number: int) -> None:
        array[...] = number

    def writable(self, array: Any) -> bool:
        return bool(array.flags.writeable)


class Torch:
    def build(self, dtype: str, layout: str) -> Any:
        import torch

        described = LAYOUTS[layout]
        resolved = getattr(torch, dtype)
        source = elements(dtype, described.count)
        if described.byte_shift:
            memory = bytearray(source.nbytes + 128)
            start = -torch.frombuffer(memory, dtype=torch.uint8).data_ptr() % 64 + described.byte_shift
            memory[start : start + source.nbytes] = source.tobytes()
            tensor = torch.frombuffer(memory, dtype=resolved, count=described.count, offset=start)
        else:
            tensor = torch.empty(described.count, dtype=resolved)
            if described.count:
                tensor.view(torch.uint8).copy_(torch.from_numpy(source.view(np.uint8)))
        return tensor.as_strided(described.shape, described.strides, described.offset)

    def address(self, array: Any) -> int:
        return array.data_ptr()

    def value(self, array: Any) -> Value:
        import torch

        flat = array.contiguous().reshape(-1)
        bits = flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
        return Value(str(array.dtype).removeprefix("torch."), tuple(array.shape), bits)

    def fill(self, array: Any, number: int) -> None:
        array.fill_(number)

    def writable(self, array: Any) -> bool:
        return True


class Jax:
    def build(self, dtype: str, layout: str) -> Any:
        import jax.numpy as jnp

        if layout in ("dense", "scalar", "empty", "unit_axes"):
            return jnp.array(numpy_array(dtype, layout))
        return jnp.from_dlpack(Torch().build(dtype, layout), copy=False)  # keeps the permuted layout

    def address(self, array: Any) -> int:
        return array.unsafe_buffer_pointer()

    def value(self, array: Any) -> Value:
        return value_of_numpy(str(array.dtype), np.asarray(array))

    def writable(self, array: Any) -> bool:
        return False


class Tensorflow:
    def build(self, dtype: str, layout: str) -> Any:
        import tensorflow as tf

        return tf.constant(numpy_array(dtype, layout))

    def address(self, array: Any) -> int:
        import tensorflow as tf

        return capsule_address(tf.experimental.dlpack.to_dlpack(array))

    def value(self, array: Any) -> Value:
        import tensorflow as tf

        # The first op that computes is where memory with too little alignment kills the process.
        tf.concat([array[tf.newaxis], array[tf.newaxis]], axis=0)
        return value_of_numpy(array.dtype.name, array.numpy())

    def writable(self, array: Any) -> bool:
        return False


ADAPTERS = {"numpy": Numpy(), "torch": Torch(), "jax": Jax(), "tensorflow": Tensorflow()}


def capsule_address(capsule: Any) -> int:
    """data + byte_offset of a legacy DLPack capsule that nobody has used yet."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    tensor = get(capsule, b"dltensor")
    data = ctypes.c_void_p.from_address(tensor).value or 0
    return data + ctypes.c_uint64.from_address(tensor + 40).value


def has_elements(layout: str) -> bool:
    return size(LAYOUTS[layout]) > 0
