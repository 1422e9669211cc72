"""Dtypes: nothing is narrowed, renamed or reinterpreted on the way, and what has no counterpart is refused in words."""

from __future__ import annotations

import sys
from itertools import permutations
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cases.case import Case
from exchange.arrays import FOREIGN, address, aligned, counting, make, values
from isolated import run_code

import bridge
from bridge.core.memory import NATIVE

CASES = (
    Case(
        "D01",
        "A bfloat16 array cannot go to NumPy: the buffer protocol has no code for it.",
        "It arrives as ml_dtypes.bfloat16 over the same bytes, by to() and by NumPy's own verbs.",
        ("ml-explore/mlx#3974", "exo-explore/exo#799", "ml-explore/mlx#1296"),
    ),
    Case(
        "D03",
        "NumPy arrays of ml_dtypes cannot be exported at all: no buffer, no DLPack.",
        "They go out by their address, shared with every framework that has the dtype.",
        ("jax-ml/ml_dtypes#80", "iree-org/iree#19471"),
    ),
    Case(
        "D04",
        "numpy.from_dlpack fails for bfloat16 of any framework.",
        "to('numpy', x) shares it as ml_dtypes.bfloat16, from every framework.",
        ("numpy/numpy#19808", "numpy/numpy#31256"),
    ),
    Case(
        "D05",
        "torch and NumPy do not exchange bfloat16; people upcast, or reinterpret integers.",
        "Bit by bit the same and without a copy, in both directions and between every pair.",
        ("pytorch/pytorch#101781", "pytorch/pytorch#109873", "pytorch/pytorch#110285", "jax-ml/ml_dtypes#81",
         "erfanzar/EasyDeL#269"),
    ),
    Case(
        "D06",
        "bfloat16 saved as .npy comes back as raw bytes, float8 not at all.",
        "Files keep the name of the dtype.",
        ("jax-ml/ml_dtypes#41", "jax-ml/ml_dtypes#148", "jax-ml/ml_dtypes#216"),
    ),
    Case(
        "D07",
        "NumPy adds bfloat16 up in bfloat16: the sum of 70,000 ones is 256, without a warning.",
        "Plan and receipt of such an array say how to add it up; the engine itself adds up in float32.",
        ("jax-ml/ml_dtypes#63", "google/CommonLoopUtils#380"),
    ),
    Case(
        "D08",
        "Long sums of half precision stopped growing on the CPU.",
        "Sums and means of float16 and bfloat16 accumulate in float32 and are rounded once.",
        ("ml-explore/mlx#3909",),
    ),
    Case(
        "D12",
        "64-bit values become 32-bit ones on the way to JAX, without a word and also under copy=False.",
        "DTypeError that names the switch; dtype= converts on purpose and the receipt says so.",
        ("jax-ml/jax#11895", "jax-ml/jax#1333"),
    ),
    Case(
        "D13",
        "float64 becomes float32 on the way into MLX.",
        "from_ and asarray keep float64; only the constructor bridge.array follows MLX's documented default.",
        ("https://ml-explore.github.io/mlx/build/html/usage/numpy.html", "ml-explore/mlx#2856"),
    ),
    Case(
        "D14",
        "complex128 becomes complex64 on the way into MLX and JAX.",
        "from_ keeps complex128; for JAX without 64-bit types it is a DTypeError.",
        ("https://ml-explore.github.io/mlx/build/html/usage/numpy.html", "jax-ml/jax#11895"),
    ),
    Case(
        "D15",
        "A Python float that meets a float64 array was rounded through float32.",
        "Numbers take part with all their digits, in expressions and as leaves with dtype='float64'.",
        ("ml-explore/mlx#4159", "ml-explore/mlx#4160"),
    ),
    Case(
        "D17",
        "Booleans were rejected by DLPack consumers, or turned into uint8.",
        "bool stays bool between all pairs, in both kinds of capsule.",
        ("pytorch/pytorch#94463", "pytorch/pytorch#67081", "jax-ml/jax#19352", "NVIDIA/warp#1619",
         "NVIDIA-Merlin/core#276"),
    ),
    Case(
        "D18",
        "torch had no uint16, uint32 and uint64, so people went through signed types.",
        "The same dtype on both sides, shared.",
        ("pytorch/pytorch#33831", "Project-MONAI/MONAI#4639"),
    ),
    Case(
        "D19",
        "float8 goes between some frameworks and fails with an internal message between others.",
        "Shared or copied bit by bit where both sides have it; else a DTypeError with the nearest exact route.",
        ("dmlc/dlpack#156", "apache/tvm-ffi#180", "jax-ml/ml_dtypes#207"),
    ),
    Case(
        "D20",
        "Types of four bits are packed in one framework and padded in another, and described in two ways.",
        "Their values arrive, repacked where the two sides differ, which is a copy and said to be one; else refused.",
        ("pytorch/pytorch#148791", "apache/tvm-ffi#426"),
    ),
    Case(
        "D21",
        "A dtype without counterpart ends in a C++ cast error.",
        "DTypeError that names the dtype, the target and a way out that works.",
        ("ml-explore/mlx#1380",),
    ),
    Case(
        "D22",
        "bfloat16 and float8 of a safetensors file need a detour, because NumPy stands in the middle.",
        "Files are read into arrays by their bytes, dtype and shape.",
        ("safetensors/safetensors#436", "safetensors/safetensors#598", "safetensors/safetensors#683"),
    ),
    Case(
        "D23",
        "The name 'bfloat16' means something to NumPy only once somebody has imported ml_dtypes.",
        "Dtypes are found by object, and names mean the same whatever has been imported.",
        ("safetensors/safetensors#598",),
    ),
    Case(
        "D24",
        "A bfloat16 tensor of TensorFlow ends in an AttributeError on its way into MLX.",
        "It is shared like any other.",
        ("ml-explore/mlx#3146", "found while writing this suite"),
    ),
    Case(
        "D25",
        "torch's bfloat16 fails in the constructors of other frameworks, because __array__ is tried first.",
        "No conversion asks a tensor for __array__.",
        ("apple/axlearn#271", "pytorch/pytorch#110285"),
    ),
    Case(
        "D26",
        "More elements than 32 bits count wrap around to absurd shapes and sizes.",
        "Shapes, strides and sizes are counted with 64 bits; what would not fit an address is refused in words.",
        ("ml-explore/mlx#2681", "ml-explore/mlx#566", "ml-explore/mlx#3327"),
    ),
    Case(
        "D27",
        "A float64 .npy file was loaded as complex64.",
        "Files are read in the dtype that they name.",
        ("ml-explore/mlx#2958",),
    ),
    Case(
        "D28",
        "A bfloat16 tensor of the GPU crashes a consumer that does not know the dtype.",
        "It passes through to who knows the dtype; for others an exception of Python comes before the capsule.",
        ("cupy/cupy#8801", "cupy/cupy#9630"),
        needs="CUDA",
    ),
)  # fmt: skip

EVERYONE = (*FOREIGN, "bridge")
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


# ------------------------------------------------------------------------------------------ bfloat16 (D01-D08, D23-D25)


def bfloat16_of_the_engine() -> Any:
    return bridge.arange(16, dtype=bridge.float32).astype(bridge.bfloat16)


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: bridge.to("numpy", a),
        lambda a: bridge.to("numpy", a, copy=False),
        np.asarray,
        lambda a: np.array(a, copy=False),
    ],
    ids=["to", "to without a copy", "asarray", "array"],
)
def test_D01_bfloat16_goes_to_numpy_over_the_same_bytes(convert: Any):
    """A writable view of ml_dtypes.bfloat16, which keeps the bytes when the array is gone."""
    a = bfloat16_of_the_engine()
    x = convert(a)
    assert (x.dtype, x.ctypes.data, x.tolist()) == (BFLOAT16, address(a), list(range(16)))
    x[0] = 9
    assert a[0].item() == 9
    del a
    assert x.tolist()[:2] == [9, 1]


@pytest.mark.parametrize("layout", ["dense", "reversed", "strided", "transposed", "scalar", "empty"])
def test_D01_in_every_layout(layout: str):
    """Without a copy, where NumPy would have asked the buffer protocol."""
    base = bfloat16_of_the_engine().reshape(4, 4)
    a = {
        "dense": base, "reversed": base[::-1], "strided": base[:, ::2], "transposed": base.T,
        "scalar": base[0, 0].reshape(()), "empty": base[:0],
    }[layout]  # fmt: skip
    x = bridge.to("numpy", a, copy=False)
    assert x.dtype == BFLOAT16
    assert x.tolist() == a.tolist()


@pytest.mark.parametrize("target", [name for name in EVERYONE if name != "numpy"])
def test_D03_numpy_arrays_of_ml_dtypes_go_out(target: str):
    """Where their own exporters fail: shared, also read-only to who does not write."""
    x = counting((3, 4), "bfloat16")
    with pytest.raises((TypeError, ValueError, BufferError, RuntimeError), match=r"(?i)buffer|format|dtype|dlpack"):
        x.__dlpack__()
    assert address(bridge.to(target, x, copy=False)) == address(x)
    x.flags.writeable = False
    assert address(bridge.to(target, x, copy=False, readonly=True)) == address(x)
    assert values(bridge.to(target, x)) == x.tolist()


@pytest.mark.parametrize("source", ["torch", "jax", "tensorflow", "bridge"])
def test_D04_bfloat16_of_every_framework_comes_to_numpy(source: str):
    """Shared, as ml_dtypes.bfloat16; the plan names a door that can carry it."""
    x = make(source, "bfloat16")
    result = bridge.to("numpy", x, copy=False)
    assert (result.dtype, address(result)) == (BFLOAT16, address(x))
    assert result.tolist() == np.arange(12.0).reshape(3, 4).tolist()


def ones(dtype: Any) -> Any:
    return bridge.ones((70_000,), dtype=dtype)


def test_D07_plan_and_receipt_say_how_to_add_up():
    """Also by the printed text; the advice works; nothing is said of other dtypes and targets."""
    a = ones(bridge.bfloat16)
    plan = bridge.explain("numpy", a)
    with bridge.record() as log:
        x = bridge.to("numpy", a)
    assert "dtype=numpy.float32" in plan.note
    assert log[0].note == plan.note
    assert f"note: {plan.note}" in str(plan)
    assert x.sum() == 256
    assert x.sum(dtype=np.float32) == 70_000
    assert bridge.explain("numpy", ones(bridge.float32)).note is None
    assert bridge.explain("torch", a).note is None


@pytest.mark.parametrize("dtype", [bridge.bfloat16, bridge.float16])
def test_D08_sums_of_half_precision_do_not_stop_growing(dtype: Any):
    """The sum of 60,000 and the mean of 70,000 ones, rounded once."""
    wanted = np.array(60_000.0, np.float32).astype(BFLOAT16 if dtype is bridge.bfloat16 else np.float16)
    assert bridge.sum(ones(dtype)[:60_000]).item() == float(wanted)
    assert bridge.mean(ones(dtype)).item() == 1.0
    assert bridge.sum(bridge.ones((300, 300), dtype=dtype), axis=0).tolist() == [300.0] * 300


NAMES = """
import numpy as np
try:
    np.dtype("bfloat16")
except TypeError:
    pass
else:
    raise AssertionError("somebody registers the name now; the test shows nothing")
import sys, bridge
assert str(bridge.bfloat16) in ("bfloat16", "bridge.bfloat16")
a = bridge.to("bridge", np.arange(3, dtype=np.float32), dtype="bfloat16")
assert a.dtype is bridge.bfloat16
x = bridge.to("numpy", a)
import ml_dtypes
assert x.dtype == np.dtype(ml_dtypes.bfloat16)
assert bridge.from_(x).dtype is bridge.bfloat16
"""


def test_D23_names_do_not_depend_on_imports():
    """In a process where NumPy does not know the name yet."""
    done = run_code(NAMES)
    assert done.returncode == 0, done.stderr[-2000:]


def test_D23_dtype_objects_of_every_package_mean_the_same():
    """bfloat16 by name and as five objects."""
    import jax.numpy as jnp
    import tensorflow as tf
    import torch

    x = counting((3,))
    for dtype in ("bfloat16", bridge.bfloat16, ml_dtypes.bfloat16, BFLOAT16, torch.bfloat16, jnp.bfloat16, tf.bfloat16):
        assert bridge.to("torch", x, dtype=dtype).dtype == torch.bfloat16


@pytest.mark.parametrize("target", [name for name in EVERYONE if name != "tensorflow"])
def test_D24_bfloat16_of_tensorflow_is_shared(target: str):
    """With every framework, a variable's value too."""
    import tensorflow as tf

    x = make("tensorflow", "bfloat16")
    assert address(bridge.to(target, x, copy=False, readonly=True)) == address(x)
    assert values(bridge.to(target, tf.Variable(x))) == values(x)


@pytest.mark.parametrize("target", [name for name in EVERYONE if name != "torch"])
def test_D25_no_tensor_is_asked_for_array(target: str, monkeypatch: pytest.MonkeyPatch):
    """bfloat16 of torch, by sharing, copying and converting."""
    import torch

    def asked(*_: Any, **__: Any) -> Any:
        raise AssertionError("__array__ was called")

    monkeypatch.setattr(torch.Tensor, "__array__", asked)
    x = make("torch", "bfloat16")
    assert address(bridge.to(target, x, copy=False)) == x.data_ptr()
    assert values(bridge.to(target, x, copy=True)) == x.tolist()
    assert values(bridge.to(target, x, dtype="float32")) == x.tolist()


# ------------------------------------------------------------------------------------------ 64 bits (D12-D15, D17, D18)

WIDE = {"int64": 2**40 + 1, "uint64": 2**63 + 5, "float64": 0.1, "complex128": 0.1 + 0.2j}


@pytest.mark.parametrize("copy", [None, False, True])
@pytest.mark.parametrize("dtype", WIDE)
def test_D12_jax_is_given_no_64_bits_that_it_would_cut(dtype: str, copy: bool | None):
    """From NumPy, torch, TensorFlow and the engine: DTypeError with the switch, whatever copy says."""
    x = np.full((4,), WIDE[dtype], dtype)
    for source in ("numpy", "torch", "tensorflow", "bridge"):
        with pytest.raises(bridge.DTypeError, match=rf"jax has no {dtype}(.|\n)*jax_enable_x64"):
            bridge.to("jax", bridge.to(source, x), copy=copy)


@pytest.mark.parametrize("via", ["direct", "dlpack", "buffer", "memoryview"])
def test_D12_no_door_narrows(via: str):
    """Each of them on request."""
    with pytest.raises(bridge.DTypeError, match="jax has no int64"):
        bridge.to("jax", np.array([2**40 + 1]), via=via)


@pytest.mark.parametrize("dtype", WIDE)
def test_D12_the_switch_is_looked_at_before_each_conversion(dtype: str):
    """Inside enable_x64 the value arrives whole and shared, from every source; outside it is refused again."""
    import jax

    x = counting((4,), dtype)
    x[...] = WIDE[dtype]
    sources = [
        x,
        bridge.to("torch", x),
        bridge.to("tensorflow", x),
        bridge.from_(x, readonly=True),
        bridge.array(x, dtype=dtype),
    ]
    for array in sources:
        with jax.enable_x64(True):
            result = bridge.to("jax", array, copy=False)
            assert (str(result.dtype), address(result)) == (dtype, address(array))
            assert result[0].item() == WIDE[dtype]
        with pytest.raises(bridge.DTypeError, match="jax_enable_x64"):
            bridge.to("jax", array)


def test_D12_narrowing_on_purpose_is_on_the_receipt():
    """dtype="int32" converts, and the receipt shows both dtypes."""
    with bridge.record() as log:
        assert str(bridge.to("jax", np.array([7]), dtype="int32").dtype) == "int32"
    assert (log[0].dtype, log[0].converted, log[0].rule) == ("int64", "int32", "convert")


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("source", ["numpy", "torch", "tensorflow"])
def test_D13_D14_wide_floats_come_in_whole(source: str, dtype: str):
    """from_ and asarray: the same dtype over the same bytes."""
    x = make(source, dtype)
    for verb in (bridge.from_, bridge.asarray):
        result = verb(x)
        assert (result.dtype, address(result)) == (getattr(bridge, dtype), address(x))


def test_D13_the_constructor_follows_mlx():
    """bridge.array of float64 is float32 unless a dtype is given; to() never narrows."""
    x = np.array([0.1])
    assert bridge.array(x).dtype is bridge.float32
    assert bridge.array(x, dtype=bridge.float64).item() == 0.1
    assert bridge.to("bridge", x).item() == 0.1


def test_D14_complex128_keeps_its_digits():
    """In, out, and between frameworks; JAX without 64-bit types refuses."""
    x = np.array([0.1 + 0.2j])
    assert bridge.array(x).dtype is bridge.complex64
    for target in ("torch", "tensorflow", "bridge"):
        assert bridge.to("numpy", bridge.to(target, x)).tolist() == [0.1 + 0.2j]
    with pytest.raises(bridge.DTypeError, match="jax has no complex128"):
        bridge.to("jax", x)


def test_D15_numbers_keep_their_digits_next_to_float64():
    """In products, sums, comparisons and as fill values; as a leaf when dtype says so."""
    a = bridge.ones((2,), dtype=bridge.float64)
    assert (a * 0.1).tolist() == [0.1, 0.1]
    assert (0.1 + a - 1.0).tolist() == [1.1 - 1.0, 1.1 - 1.0]
    assert bridge.full((1,), 0.1, dtype=bridge.float64).item() == 0.1
    assert (a * 0.1 == 0.1).tolist() == [True, True]
    assert bridge.array(0.1, dtype=bridge.float64).item() == 0.1
    for target in ("numpy", "torch", "tensorflow", "bridge"):
        assert values(bridge.to(target, 0.1, dtype="float64")) == 0.1


@pytest.mark.parametrize(("source", "target"), list(permutations(EVERYONE, 2)))
def test_D17_bool_stays_bool(source: str, target: str):
    """Between every pair, shared where the memory allows it, by copies too."""
    x = make(source, "bool")
    for options in ({"readonly": True, "copy": False}, {"copy": True}):
        result = bridge.to(target, x, **options)
        assert "bool" in str(result.dtype)
        assert values(result) == values(x)


@pytest.mark.parametrize("versioned", [True, False])
def test_D17_in_a_capsule_bool_has_its_own_code(versioned: bool):
    """Code 6 with 8 bits, out and in."""
    from dlpack import capsules

    a = bridge.array([True, False, True])
    capsule = a.__dlpack__(max_version=(1, 0)) if versioned else a.__dlpack__()
    tensor = capsules.read(capsule).tensor
    assert (tensor.code, tensor.bits, tensor.lanes) == (capsules.BOOL, 8, 1)
    assert bridge.from_(capsule).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
@pytest.mark.parametrize(
    ("source", "target"), [("numpy", "torch"), ("torch", "numpy"), ("bridge", "torch"), ("torch", "bridge")]
)
def test_D18_unsigned_stays_unsigned(source: str, target: str, dtype: str):
    """The largest value there is, shared."""
    x = np.full((4,), np.iinfo(dtype).max, dtype)
    array = bridge.to(source, x)
    result = bridge.to(target, array, copy=False)
    assert dtype in str(result.dtype)
    assert address(result) == address(array)
    assert values(result) == x.tolist()


def test_D18_the_same_bits_by_another_name_in_c():
    """numpy.ulonglong is uint64 by another name, which torch.from_numpy does not know."""
    x = np.arange(3, dtype=np.ulonglong)
    for target in ("torch", "tensorflow", "bridge"):
        result = bridge.to(target, x)
        assert "uint64" in str(result.dtype)
        assert values(result) == [0, 1, 2]


# -------------------------------------------------------------------------------------------------- many elements (D26)

MANY = 2**31 + 5


def many() -> np.ndarray:
    """More elements than 32 bits count, in one byte."""
    return np.broadcast_to(np.uint8(7), (MANY,))


def test_D26_shapes_and_sizes_are_counted_in_64_bits():
    """In and through the engine: size, bytes, slices and reshapes of two billion elements."""
    a = bridge.from_(many(), copy=False)
    assert (a.shape, a.size, a.nbytes) == ((MANY,), MANY, MANY)
    assert a[-1].item() == 7
    assert a[2**31 :].shape == (5,)
    assert bridge.from_(many().reshape(1, MANY)).shape == (1, MANY)
    assert bridge.from_(np.broadcast_to(np.float64(1), (2**20, 2**20))).nbytes == 2**43


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_D26_and_handed_on(target: str):
    """From NumPy and from the engine to who takes any strides: shape and last element, nothing wrapped or copied."""
    for source in (many(), bridge.from_(many())):
        result = bridge.to(target, source, copy=False, readonly=True)
        assert tuple(result.shape) == (MANY,)
        assert int(result[MANY - 1]) == 7


@pytest.mark.parametrize("target", ["jax", "tensorflow"])
def test_D26_a_plan_counts_the_bytes_that_would_move(target: str):
    """Two gigabytes and five bytes, and copy=False says so before anything is allocated."""
    plan = bridge.explain(target, many())
    assert (plan.outcome, plan.bytes_copied, plan.shape) == ("copied", MANY, (MANY,))
    with pytest.raises(bridge.CopyRequired, match=r"copy=None to allow one copy \(2 GiB\)"):
        bridge.to(target, many(), copy=False)


def test_D26_what_no_address_can_count_is_refused():
    """2**62 elements of 8 bytes: an error in words, not a wrapped size."""
    from dlpack.capsules import Forged

    with pytest.raises(bridge.BridgeError, match="more bytes than an address can count"):
        bridge.from_(Forged(shape=(2**62,), strides=(0,), code=2, bits=64))
    assert sys.maxsize == 2**63 - 1


# -------------------------------------------------------------------------------------- float8 and four bits (D19, D20)

LACKS = {"torch": {"float8_e4m3b11fnuz"}, "tensorflow": {"float8_e8m0fnu"}}
FLOAT8 = ("e4m3fn", "e5m2", "e4m3b11fnuz", "e4m3fnuz", "e5m2fnuz", "e8m0fnu")


def every_pattern(dtype: str) -> np.ndarray:
    """All 256 of them, in memory that everybody can share."""
    memory = aligned((256,), np.uint8)
    memory[...] = np.arange(256)
    return memory.view(getattr(ml_dtypes, dtype))


def bits(array: Any) -> list[int]:
    return bridge.to("numpy", array, readonly=True).view(np.uint8).tolist()


@pytest.mark.parametrize("name", FLOAT8)
@pytest.mark.parametrize(("source", "target"), list(permutations(EVERYONE, 2)))
def test_D19_float8_goes_wherever_both_sides_have_it(source: str, target: str, name: str):
    """Every bit pattern; shared but for TensorFlow, which has no way to share it; else DTypeError with an exact way."""
    dtype = f"float8_{name}"
    if dtype in LACKS.get(source, ()):
        with pytest.raises(bridge.DTypeError, match=f"{source} has no {dtype}"):
            bridge.to(source, every_pattern(dtype))
        return
    array = bridge.to(source, every_pattern(dtype), copy=True)
    if dtype in LACKS.get(target, ()):
        exact = "bfloat16" if name == "e8m0fnu" else "float16"
        with pytest.raises(bridge.DTypeError, match=rf"{target} has no {dtype}(.|\n)*dtype='{exact}'"):
            bridge.to(target, array)
        assert exact in str(bridge.to(target, array, dtype=exact).dtype)
        return
    with bridge.record() as log:
        result = bridge.to(target, array, readonly=True)
    assert dtype in str(result.dtype)
    assert bits(result) == list(range(256))
    assert log[0].shared == (target != "tensorflow")


FOUR_BITS = {"int4": range(-8, 8), "uint4": range(16), "float4_e2m1fn": (0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.5, -1, -3, -6)}


@pytest.mark.parametrize("dtype", FOUR_BITS)
@pytest.mark.parametrize(("source", "target"), list(permutations([n for n in EVERYONE if n != "torch"], 2)))
def test_D20_types_of_four_bits_arrive_with_their_values(source: str, target: str, dtype: str):
    """Repacked for and from jax, which puts two in a byte: that is a copy, the receipt says so, copy=False refuses."""
    wanted = list(FOUR_BITS[dtype])
    array = bridge.to(source, np.array(wanted).astype(getattr(ml_dtypes, dtype)))
    with bridge.record() as log:
        result = bridge.to(target, array)
    assert dtype in str(result.dtype)
    assert np.asarray(bridge.to("numpy", result)).astype(np.float32).tolist() == wanted
    if "jax" in (source, target):
        assert log[0].copied
        with pytest.raises(bridge.CopyRequired, match="cannot be shared"):
            bridge.to(target, array, copy=False)


@pytest.mark.parametrize("dtype", FOUR_BITS)
def test_D20_torch_has_their_names_and_no_values(dtype: str):
    """Refused with the dtype that has every value, which works; bytes are what torch calls them."""
    x = np.array(list(FOUR_BITS[dtype])).astype(getattr(ml_dtypes, dtype))
    exact = {"int4": "int8", "uint4": "uint8"}.get(dtype, "float16")
    with pytest.raises(bridge.DTypeError, match=rf"torch has no {dtype}(.|\n)*dtype='{exact}'"):
        bridge.to("torch", x)
    assert bridge.to("torch", x, dtype=exact).tolist() == list(FOUR_BITS[dtype])


# --------------------------------------------------------------------------------------------------------- others (D28)


def test_D28_bfloat16_of_the_gpu_passes_through():
    """To jax untouched where jax has the device; to the host by device="cpu"; never a crash."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    x = torch.arange(8, device="cuda").to(torch.bfloat16)
    assert bridge.to("numpy", x, device="cpu").tolist() == x.tolist()
    for target in ("numpy", "bridge"):
        with pytest.raises(bridge.BridgeError, match=r"cuda:0"):
            bridge.to(target, x)
    again = bridge.to("torch", x, copy=True)
    assert again.data_ptr() != x.data_ptr()
    assert again.device == x.device


# ------------------------------------------------------------------------------------------------ files (D06, D22, D27)

#: Every dtype that NumPy does not have by itself.
OTHERS = [name for name in bridge.core.dtypes.DTYPES if name not in NATIVE]


@pytest.mark.parametrize("name", OTHERS)
def test_D06_npy_keeps_the_dtype(name: str, tmp_path: Path):
    """Saved and loaded by bridge, and loaded by NumPy: the dtype that it was, bit by bit."""
    x = np.array([0, 1, 1, 0]).astype(getattr(ml_dtypes, name))
    bridge.save(tmp_path / "x", bridge.from_(x))
    for back in (bridge.load(tmp_path / "x.npy"), np.load(tmp_path / "x.npy")):
        assert np.asarray(back).dtype == x.dtype
        assert np.asarray(back).tobytes() == x.tobytes()


def test_D06_what_others_saved_as_raw_bytes_is_read_with_its_name(tmp_path: Path):
    """numpy.save writes 'V2'; dtype= says what it was."""
    x = np.arange(4).astype(BFLOAT16)
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(bridge.FormatError, match="the file does not say of what dtype"):
        bridge.load(tmp_path / "x.npy")
    assert np.asarray(bridge.load(tmp_path / "x.npy", dtype="bfloat16")).tobytes() == x.tobytes()


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_D22_safetensors_go_from_framework_to_framework(dtype: str, tmp_path: Path):
    """A file of torch becomes an array of its own dtype, over the bytes of the file, and goes on to jax."""
    import torch
    from safetensors.torch import save_file

    tensor = torch.tensor([0.5, 1, -2, 4]).to(getattr(torch, dtype))
    save_file({"a": tensor}, tmp_path / "x.safetensors")
    a = bridge.load(tmp_path / "x.safetensors")["a"]
    assert a.dtype.name == dtype
    assert np.asarray(bridge.to("jax", a)).tobytes() == tensor.view(torch.uint8).numpy().tobytes()
    bridge.save_safetensors(tmp_path / "y", {"a": a})
    assert np.asarray(bridge.load(tmp_path / "y.safetensors")["a"]).tobytes() == np.asarray(a).tobytes()


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_D27_npy_is_read_in_the_dtype_that_it_names(name: str, tmp_path: Path):
    """Every dtype that NumPy writes comes back as itself: float64 is no complex64 of the same size."""
    np.save(tmp_path / "x.npy", np.ones(3, name))
    assert bridge.load(tmp_path / "x.npy").dtype.name == name
