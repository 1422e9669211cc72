"""Alignment: what the bytes' address must be a multiple of, and who checks it."""

from __future__ import annotations

import platform
from itertools import product
from typing import Any

import numpy as np
import pytest
from cases.case import Case
from exchange.arrays import address, aligned, make, values
from isolated import run_code

import bridge

CASES = (
    Case(
        "N01",
        "TensorFlow takes memory that is not 64-byte aligned, and its first op kills the process.",
        "The address is looked at before TensorFlow is called: copied once into aligned memory, or refused.",
        ("tensorflow/tensorflow#36862", "VoVAllen/tf-dlpack#4", "dmlc/dgl#995"),
    ),
    Case(
        "N02",
        "MLX's arrays lie 8 bytes past a boundary of 16, so TensorFlow dies of every one of them.",
        "What is not aligned is copied, whoever made it; the engine's own arrays are always 64-byte aligned.",
        ("dmlc/dlpack#99", "found while writing this suite"),
    ),
    Case(
        "N03",
        "JAX copies what is not 64-byte aligned, with a line in a log at most.",
        "The receipt says that it was copied and by how many bytes it was off; the engine's own arrays are shared.",
        ("jax-ml/jax#29810", "NVIDIA/warp#550", "learnsyslab/lsy_drone_racing#49"),
    ),
    Case(
        "N04",
        "The DLPack header speaks of 256 bytes, nobody keeps to it, and nobody says what they need instead.",
        "Each framework's record declares its alignment, each array's address is compared with it, "
        "and every allocation of the engine is 64-byte aligned.",
        ("dmlc/dlpack#99", "data-apis/array-api#293", "dmlc/dlpack#190"),
    ),
    Case(
        "N05",
        "A tensor at an odd address is a bus error in a kernel on arm64.",
        "Off x86 a tensor gets memory aligned to its elements: copied, or refused under copy=False.",
        ("pytorch/pytorch#191238",),
        needs="arm64",
    ),
    Case(
        "N06",
        "MLX copies every NumPy array that comes in on a machine without Metal.",
        "What comes in is shared on every machine, whatever its alignment, as long as its elements are aligned.",
        ("ml-explore/mlx#3872", "ml-explore/mlx#2855"),
    ),
)

AT_WORK = """
import numpy as np, bridge, tensorflow as tf, torch
block = np.arange(64, dtype=np.float32)
start = -block.ctypes.data % 64 // 4
for shift in (1, 2, 4, 8, 15, 16):
    x = block[start + shift:][:9]
    for source in (x, torch.from_numpy(x), bridge.from_(x), memoryview(x)):
        for options in ({}, {"copy": True}, {"via": "dlpack"}):
            tensor = bridge.to("tensorflow", source, **options)
            assert tf.concat([tensor[tf.newaxis]] * 2, 0).numpy().tolist() == [x.tolist()] * 2
        try:
            bridge.to("tensorflow", source, copy=False)
        except BufferError as error:
            assert shift == 16 or "past a 64-byte boundary" in str(error), error
        else:
            assert shift == 16, shift
print("survived")
"""


def test_N01_tensorflow_works_with_what_it_was_given():
    """Memory at every distance from a boundary, of four kinds of source, then an op: no abort, exact values."""
    done = run_code(AT_WORK)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("survived")


def test_N01_the_error_says_how_far_off_it_is():
    """In bytes, with what is wanted."""
    with pytest.raises(bridge.CopyRequired, match=r"(?s)4 bytes past a 64-byte boundary.*64-byte alignment"):
        bridge.to("tensorflow", aligned((9,), shift=4), copy=False)


OF_MLX = """
import mlx.core as mx, bridge, tensorflow as tf
for dtype in (mx.float32, mx.bfloat16, mx.int8):
    for count in (1, 3, 64, 100_000):
        x = mx.ones((count,), dtype)
        tensor = bridge.to("tensorflow", x)
        assert float(tf.reduce_sum(tf.cast(tensor[:64] * 2, tf.float32))) == 2 * min(count, 64)
print("survived")
"""


def test_N02_arrays_of_mlx_reach_tensorflow():
    """Through DLPack alone, without a plugin; an op on the result does not abort."""
    done = run_code(OF_MLX)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("survived")


@pytest.mark.parametrize("target", ["jax", "tensorflow"])
def test_N02_arrays_of_the_engine_are_shared_at_every_size(target: str):
    """From one element to two million: the same address on the other side."""
    for count in (1, 2, 3, 15, 16, 17, 1000, 4096, 65_537, 2_000_003):
        array = bridge.ones((count,)) + 1
        assert address(bridge.to(target, array, copy=False)) == address(array), count


@pytest.mark.parametrize("source", ["numpy", "torch", "bridge", "memoryview"])
def test_N03_a_copy_for_jax_is_no_secret(source: str):
    """Memory 16 bytes past a boundary: the receipt and the plan say copied and why; copy=False refuses."""
    x = aligned((16,), shift=16)
    array: Any = memoryview(x) if source == "memoryview" else bridge.to(source, x, copy=False)
    plan = bridge.explain("jax", array)
    with bridge.record() as log:
        result = bridge.to("jax", array)
    assert address(result) != address(x)
    assert {(told.outcome, told.rule, told.bytes_copied) for told in (plan, log[0])} == {("copied", "alignment", 64)}
    assert "16 bytes past a 64-byte boundary" in plan.why
    with pytest.raises(bridge.CopyRequired, match="16 bytes past"):
        bridge.to("jax", array, copy=False)


def test_N04_every_framework_declares_what_it_needs():
    """In bytes; None stands for the alignment of one element."""
    from bridge.core.registry import registry

    registry.load()
    declared = {name: registry.frameworks[name].alignment for name in ("numpy", "jax", "tensorflow", "bridge")}
    assert declared == {"numpy": 1, "jax": 64, "tensorflow": 64, "bridge": None}


@pytest.mark.parametrize("dtype", ["bool", "int8", "bfloat16", "float32", "complex128"])
def test_N04_every_allocation_of_the_engine_is_aligned(dtype: str):
    """Results of ops, copies and conversions, while others of odd sizes come and go."""
    kept = []
    for count in (1, 3, 7, 63, 65, 1023):
        base = bridge.ones((count,), dtype=getattr(bridge, dtype if dtype != "bool" else "bool_"))
        kept += [base, bridge.from_(bridge.to("numpy", base), copy=True), bridge.array(base)]
    assert {address(array) % 64 for array in kept} == {0}


@pytest.mark.parametrize("target", ["numpy", "torch", "jax", "tensorflow"])
def test_N04_a_copy_is_aligned_whatever_its_source(target: str):
    """So that it can go on to the strictest framework without another copy."""
    for dtype, shift in product(("float32", "bfloat16"), (0, 2, 4, 16)):
        result = bridge.to(target, aligned((9,), dtype, shift=shift), copy=True)
        assert address(result) % 64 == 0


@pytest.mark.skipif(platform.machine() not in ("arm64", "aarch64"), reason="needs arm64")
def test_N05_a_tensor_off_x86_is_aligned_to_its_elements():
    """Odd addresses are copied for torch, or refused; a matmul of one row then runs."""
    x = aligned((64,), shift=1)
    tensor = bridge.to("torch", x)
    assert tensor.data_ptr() % 4 == 0
    assert (tensor.reshape(1, 64) @ tensor.reshape(64, 1)).item() == 0
    with pytest.raises(bridge.CopyRequired, match="1 byte past a 4-byte boundary"):
        bridge.to("torch", x, copy=False)


@pytest.mark.parametrize("source", ["numpy", "torch", "jax", "tensorflow"])
def test_N06_what_comes_in_is_shared(source: str):
    """copy=False is granted, at the same address, without Metal."""
    array = make(source)
    result = bridge.from_(array, copy=False)
    assert address(result) == address(array)
    assert values(result) == values(array)


@pytest.mark.parametrize("shift", [4, 8, 20])
def test_N06_the_engine_shares_any_aligned_element(shift: int):
    """Vector loads do not need 64 bytes: an op on such memory is exact."""
    x = aligned((33,), shift=shift)
    x[...] = np.arange(33)
    result = bridge.from_(x, copy=False)
    assert address(result) == x.ctypes.data
    assert (result * 2).tolist() == (x * 2).tolist()


def test_N06_elements_across_their_boundary_are_copied():
    """The engine reads whole elements; an odd address is copied in, or refused under copy=False."""
    x = aligned((9,), shift=1)
    assert bridge.from_(x).tolist() == [0] * 9
    with pytest.raises(bridge.CopyRequired, match="1 byte past a 4-byte boundary"):
        bridge.from_(x, copy=False)
