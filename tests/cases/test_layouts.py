"""Layouts: strides that a framework does not have, offsets, memory without a shape."""

from __future__ import annotations

import ctypes
from itertools import product
from typing import Any

import numpy as np
import pytest
from cases.case import Case
from dlpack import capsules
from dlpack.capsules import Forged
from exchange.arrays import FOREIGN, address, counting, make, values
from isolated import run_code

import bridge
from bridge.core import _native

CASES = (
    Case(
        "Y01",
        "A reversed NumPy array kills the interpreter when torch imports it.",
        "Strides are looked at before torch is called: copied once, or refused under copy=False, by every door.",
        ("pytorch/pytorch#188023", "scikit-learn/scikit-learn#34307"),
    ),
    Case(
        "Y03",
        "Transposed and reversed arrays cannot be imported into TensorFlow, which has no strides.",
        "copy=None copies them into row-major order; copy=False says which strides came.",
        ("tensorflow/tensorflow#42660", "tensorflow/tensorflow#51598"),
    ),
    Case(
        "Y04",
        "Sliced, reversed and broadcast arrays are not implemented in JAX's import.",
        "copy=None copies them; copy=False names the strides; compact blocks with permuted axes are shared.",
        ("jax-ml/jax#8082",),
    ),
    Case(
        "Y05",
        "Transposed tensors arrived in JAX with their elements in the wrong places.",
        "A transposed array is shared with its layout, and every element is where it was.",
        ("jax-ml/jax#7657", "jax-ml/jax#17784"),
    ),
    Case(
        "Y09",
        "A consumer that ignores byte_offset reads the wrong part of the allocation.",
        "The offset of what comes in is honoured for every target; what goes out points at its first element.",
        ("pytorch/pytorch#170432", "NVIDIA/cuda-python#2592", "NVIDIA/warp#1573", "iree-org/iree#21153"),
    ),
    Case(
        "Y10",
        "Kernels that want an offset of zero fail on views since torch reports the offset.",
        "The byte_offset of every capsule that leaves is 0, also of views.",
        ("pytorch/pytorch#193213", "pytorch/pytorch#182924"),
    ),
    Case(
        "Y11",
        "The bytes of a sliced array were those of its neighbours.",
        "bytes(a) gives the elements in logical order, whatever the strides.",
        ("ml-explore/mlx#4449",),
    ),
    Case(
        "Y13",
        "torch reads a memoryview as a sequence, which fails beyond one axis and for half precision and complex.",
        "A memoryview of any shape and format becomes a tensor of that shape and dtype, shared.",
        ("ml-explore/mlx#413", "ml-explore/mlx#403"),
    ),
    Case(
        "Y14",
        "frombuffer forgets the shape, and refuses strides and empty arrays.",
        "from_ and to read shape, strides and format from the buffer; empty ones are arrays too.",
        ("pytorch/pytorch#59077", "vllm-project/vllm-metal#27"),
    ),
    Case(
        "Y16",
        "Consumers that index the strides of a capsule crash where a producer left them out.",
        "Strides are always filled in on the way out, and may be missing on the way in, for every target.",
        ("dmlc/dlpack#178", "numpy/numpy#29872", "apache/arrow#50827"),
    ),
)


# ---------------------------------------------------------------------------------------------------- strides (Y01-Y05)

TO_TORCH = """
import numpy as np, bridge
from bridge.core.registry import registry
from bridge.core.framework import doors_between
registry.load()
frameworks = registry.frameworks
base = np.arange(24, dtype=np.float32).reshape(4, 6)
for x in (base[::-1], base[:, ::-1], base[::-1, ::-2], base.T[::-1], base[::-1][:1], base[:0][::-1]):
    for source in (x, bridge.from_(x)):
        name = "numpy" if source is x else "bridge"
        doors = [None, *(door.name for door, _ in doors_between(frameworks[name], frameworks["torch"]))]
        for via in doors:
            tensor = bridge.to("torch", source, via=via)
            assert tensor.tolist() == x.tolist(), (name, via, x.strides)
            assert (tensor * 2).tolist() == (x * 2).tolist()
            try:
                shared = bridge.to("torch", source, via=via, copy=False)
            except BufferError as error:
                assert "fix:" in str(error), error
            else:
                assert shared.tolist() == x.tolist(), (name, via, x.strides)
print("survived", len(doors))
"""


def test_Y01_a_reversed_array_never_kills_torch():
    """Every axis, from NumPy and from the engine, by every door: values exact, or an error of Python."""
    done = run_code(TO_TORCH)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("survived")


@pytest.mark.parametrize("source", [np.asarray, bridge.from_], ids=["numpy", "bridge"])
def test_Y01_without_a_copy_the_error_names_the_axis(source: Any):
    """CopyRequired, a BufferError, and its fix works."""
    x = source(np.zeros((3, 4), np.float32)[:, ::-1])
    with pytest.raises(bridge.CopyRequired, match=r"axis 1 runs backwards.*\n(.*\n)*.*copy=None"):
        bridge.to("torch", x, copy=False)
    assert bridge.to("torch", x, copy=None).shape == (3, 4)


def oddly_laid(framework: str) -> list[Any]:
    """Arrays of the framework that are not row-major."""
    if framework == "jax":
        import jax

        return [jax.dlpack.from_dlpack(make("torch", shape=(3, 4)).T)]
    array = make(framework, shape=(4, 6))
    return [array.T, array[:, ::2]] + ([array[::-1]] if framework in ("numpy", "bridge") else [])


@pytest.mark.parametrize("source", ["numpy", "torch", "jax", "bridge"])
def test_Y03_what_is_not_row_major_is_copied_for_tensorflow(source: str):
    """Transposed, strided and reversed arrays of every framework; the values exact, the reason in the receipt."""
    for array in oddly_laid(source):
        wanted = values(array)
        with bridge.record() as log:
            assert values(bridge.to("tensorflow", array)) == wanted
        assert (log[0].outcome, log[0].rule) == ("copied", "strides")
        with pytest.raises(bridge.CopyRequired, match="not row-major"):
            bridge.to("tensorflow", array, copy=False)


def test_Y03_a_row_that_is_also_a_column_is_shared():
    """Strides of axes of one element mean nothing, so the transpose of a row is row-major."""
    array = counting((1, 16)).T
    assert address(bridge.to("tensorflow", array, copy=False)) == address(array)


def broken(array: Any) -> dict[str, Any]:
    return {"sliced": array[:, ::2], "column": array[:, 1:2], "window": array[1:3, 1:3]}


@pytest.mark.parametrize("source", ["numpy", "torch", "bridge"])
def test_Y04_gaps_and_repetitions_are_copied_for_jax(source: str):
    """Exact values under None, the strides in the error under False."""
    array = make(source, shape=(4, 6))
    layouts = broken(array)
    if source != "torch":
        layouts["reversed"] = array[::-1]
    layouts["broadcast"] = {"numpy": np.broadcast_to, "bridge": bridge.broadcast_to}.get(
        source, lambda a, s: a.expand(s)
    )(array[0], (5, 6))
    for name, x in layouts.items():
        wanted = values(x)
        assert values(bridge.to("jax", x)) == wanted, name
        with pytest.raises(bridge.CopyRequired, match=r"strides|aligned|past a 64-byte"):
            bridge.to("jax", x, copy=False)


@pytest.mark.parametrize("source", ["numpy", "torch", "bridge"])
def test_Y05_a_transposed_array_is_shared_with_its_layout(source: str):
    """Each element in its place, at its old address, in every order of three axes."""
    array = make(source, shape=(2, 3, 4))
    flat = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for order in ((0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        permuted = array.permute(order) if source == "torch" else array.transpose(order)
        result = bridge.to("jax", permuted, copy=False)
        assert np.array_equal(np.asarray(result), flat.transpose(order)), order
        assert address(result) == address(array)
        assert np.array_equal(np.asarray(result + 1), flat.transpose(order) + 1)


# --------------------------------------------------------------------------------------------------- offsets (Y09, Y10)


def filled(**options: Any) -> Forged:
    forged = Forged(**options)
    for i in range(64):
        ctypes.c_float.from_address(forged.address + 4 * i).value = i
    return forged


@pytest.mark.parametrize(("target", "versioned"), list(product((*FOREIGN, "bridge"), (True, False))))
def test_Y09_the_byte_offset_of_what_comes_in_is_honoured(target: str, versioned: bool):
    """For every target, in both kinds of capsule; the address is that of the first element."""
    forged = filled(shape=(2, 3), byte_offset=64, versioned=versioned)
    result = bridge.to(target, forged)
    assert values(result) == [[16, 17, 18], [19, 20, 21]]
    assert address(result) == forged.address + 64


def views() -> dict[str, Any]:
    """Views into the middle of something, by framework."""
    import torch

    return {
        "numpy": np.arange(10, dtype=np.float32)[3:7],
        "torch": torch.arange(10.0)[3:7],
        "bridge": bridge.arange(10, dtype=bridge.float32)[3:7],
    }


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("source", ["numpy", "torch", "bridge"])
def test_Y10_capsules_that_leave_have_no_offset(source: str, versioned: bool):
    """The data pointer is the first element of the view."""
    from bridge.core.registry import registry

    view = views()[source]
    described = registry.describe(registry.frameworks[source], view)
    capsule = described.capsule(access="read", versioned=versioned)
    tensor = capsules.read(capsule)
    tensor = tensor.tensor
    assert tensor.byte_offset == 0
    assert tensor.data == described.facts.address
    assert ctypes.c_float.from_address(tensor.data).value == 3


def test_Y09_what_the_array_exports_itself_has_no_offset():
    """`__dlpack__` of a slice, both kinds of capsule."""
    a = bridge.arange(10, dtype=bridge.float32)[3:]
    for options in ({}, {"max_version": (1, 0)}):
        capsule = a.__dlpack__(**options)
        assert capsules.read(capsule).tensor.byte_offset == 0
        assert ctypes.c_float.from_address(capsules.read(capsule).tensor.data).value == 3
        capsules.use(capsule)


# ---------------------------------------------------------------------------------------------- buffers (Y11, Y13, Y14)


def test_Y11_bytes_are_the_elements_in_logical_order():
    """Of slices, reversed, transposed and broadcast arrays: those of NumPy's copy."""
    x = np.arange(24, dtype=np.int16).reshape(4, 6)
    a = bridge.array(x, dtype=bridge.int16)
    for key in (slice(1, 3), (slice(None), slice(2, 5)), (slice(None, None, -1),), (slice(None), slice(None, None, 2))):
        assert bytes(a[key]) == x[key].tobytes(), key
    assert bytes(a.T) == x.T.tobytes()
    assert bytes(bridge.broadcast_to(a[0], (3, 6))) == np.broadcast_to(x[0], (3, 6)).tobytes()


FORMATS = {"f": "float32", "d": "float64", "e": "float16", "b": "int8", "H": "uint16", "q": "int64", "?": "bool"}


@pytest.mark.parametrize("code", FORMATS)
def test_Y13_a_memoryview_becomes_a_tensor_of_its_shape(code: str):
    """Three axes, every format, and the memory is the same."""
    import torch

    x = np.ones((2, 3, 4), FORMATS[code])
    tensor = bridge.to("torch", memoryview(x), copy=False)
    assert (tensor.shape, tensor.dtype) == ((2, 3, 4), getattr(torch, FORMATS[code]))
    tensor[1, 2, 3] = 0
    assert x[1, 2, 3] == 0


def test_Y13_also_of_the_engine_and_of_complex_numbers():
    """memoryview(bridge array) of two axes, complex64."""
    a = bridge.array([[1 + 2j, 3], [4, 5j]])
    tensor = bridge.to("torch", memoryview(a), copy=False)
    assert tensor.tolist() == [[1 + 2j, 3], [4, 5j]]


@pytest.mark.parametrize("target", [*FOREIGN, "bridge"])
def test_Y14_shape_and_strides_come_from_the_buffer(target: str):
    """Two axes, every second column, reversed, read-only, empty: as NumPy reads the same buffer."""
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    for x in (base, base[:, ::2], base[::-1], base.T, base[:0], base[:, :0]):
        for view in (memoryview(x), memoryview(x).toreadonly()):
            result = bridge.to(target, view)
            assert values(result) == x.tolist()
            assert tuple(result.shape) == x.shape


def test_Y14_forced_through_the_buffer_nothing_is_lost():
    """via="buffer" and "memoryview" into torch: what torch.frombuffer cannot carry is copied, not refused."""
    base = bridge.arange(24, dtype=bridge.float32).reshape(4, 6)
    for x in (base, base[:, ::2], base.T, base[:0]):
        for via in ("buffer", "memoryview"):
            tensor = bridge.to("torch", x, via=via)
            assert (tuple(tensor.shape), tensor.tolist()) == (x.shape, x.tolist())


# ------------------------------------------------------------------------------------------------------ Y16: no strides


@pytest.mark.parametrize("target", [*FOREIGN, "bridge"])
@pytest.mark.parametrize("versioned", [True, False])
def test_Y16_missing_strides_are_row_major(target: str, versioned: bool):
    """A NULL pointer, also of an array without axes."""
    assert values(bridge.to(target, filled(shape=(2, 3), strides=None, versioned=versioned))) == [[0, 1, 2], [3, 4, 5]]
    assert values(bridge.to(target, filled(shape=(), strides=None, null_shape=True, versioned=versioned))) == 0


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 1), (0, 4)])
def test_Y16_strides_are_filled_in(shape: tuple[int, ...]):
    """In every capsule that the engine makes of its own or of foreign memory."""
    a = bridge.zeros(shape)
    x = np.zeros(shape, np.float32)
    foreign = _native.foreign_capsule(x, x.ctypes.data, "float32", shape, row_major(shape))
    for capsule in (a.__dlpack__(), a.__dlpack__(max_version=(1, 0)), foreign):
        tensor = capsules.read(capsule).tensor
        assert capsules.strides(tensor) == row_major(shape)
        capsules.use(capsule)


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Row-major, in elements."""
    return tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
