"""float8 and the types of four bits between all pairs of frameworks: every bit pattern, against facts written by hand.

The facts were found by trying the frameworks themselves (numpy 2.4 with ml_dtypes 0.6, torch 2.13, jax 0.10, tensorflow
2.21). Bits are compared as the bytes that ml_dtypes keeps: one element to a byte.
"""

from __future__ import annotations

import gc
import re
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from core.values import HELD as DTYPES
from interop.memory_of import aligned_bytes

import bridge
from bridge.core import _native
from bridge.plugins.numpy import carried

FRAMEWORKS = ("bridge", "numpy", "torch", "jax", "tensorflow")
FOUR_BITS = {"int4", "uint4", "float4_e2m1fn"}
UNKNOWN = {
    # torch has the names int4 and uint4 and computes nothing with them, not even a copy.
    "torch": {"float8_e4m3b11fnuz", *FOUR_BITS},
    "tensorflow": {"float8_e8m0fnu"},
}
COPIES_IN = {"tensorflow"}  # tf.constant; no capsule, buffer or bitcast carries these dtypes
PACKS = {"jax"}  # two elements of four bits to a byte: in and out is a copy
IMMUTABLE = {"jax", "tensorflow"}  # and torch has no read-only tensors

PAIRS = [(source, target, dtype) for source in FRAMEWORKS for target in FRAMEWORKS for dtype in DTYPES]


def knows(framework: str, dtype: str) -> bool:
    return dtype not in UNKNOWN.get(framework, ())


def shares(source: str, target: str, dtype: str) -> bool:
    """Whether aligned dense memory is shared, by the facts above."""
    if source == target:
        return True
    packed = dtype in FOUR_BITS and (source in PACKS or target in PACKS)
    read_only = source in IMMUTABLE and target == "torch"
    return not packed and not read_only and target not in COPIES_IN


HAND_OVERS = [pair for pair in PAIRS if knows(pair[0], pair[2])]
KNOWN = [pair for pair in HAND_OVERS if knows(pair[1], pair[2])]
MISSING = [pair for pair in HAND_OVERS if not knows(pair[1], pair[2])]


def patterns(dtype: str) -> np.ndarray:
    """Every bit pattern of a dtype, in memory of its own that is aligned for everybody."""
    raw = aligned_bytes(2 ** DTYPES[dtype][0])
    raw[:] = np.arange(raw.size)
    return raw.view(getattr(ml_dtypes, dtype))


def array_of(framework: str, values: np.ndarray):
    """An array of the framework, made by its own means."""
    if framework == "numpy":
        return values
    if framework == "bridge":
        return bridge.array(values)
    if framework == "torch":
        import torch

        return torch.from_numpy(values.view(np.uint8)).view(getattr(torch, values.dtype.name))
    if framework == "jax":
        import jax

        return jax.numpy.array(values)
    import tensorflow as tf

    return tf.constant(values)


def ndarray_of(array: object) -> np.ndarray:
    """The values, by the framework's own way to NumPy."""
    if type(array).__module__ == "torch":
        import torch

        return array.view(torch.uint8).numpy().view(getattr(ml_dtypes, str(array.dtype).removeprefix("torch.")))
    return np.asarray(array.numpy() if hasattr(array, "numpy") else array)  # of no axes TensorFlow gives a scalar


def address_of(array: object) -> int:
    if type(array).__module__ == "torch":
        return array.data_ptr()
    if type(array).__module__.startswith("jaxlib"):
        return array.unsafe_buffer_pointer()
    return np.asarray(array).ctypes.data


def bits_of(array: object) -> list[int]:
    values = ndarray_of(array)
    return values.view(np.uint8).ravel().tolist()


# ------------------------------------------------------------------------------------------------------------ facts


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_facts_are_those_of_the_frameworks(dtype: str):
    """What the table says that a framework has, it has; NumPy's and TensorFlow's capsules carry none of them."""
    import jax
    import tensorflow as tf
    import torch

    assert hasattr(jax.numpy, dtype)
    assert hasattr(tf.dtypes.experimental, dtype) == knows("tensorflow", dtype)
    assert hasattr(torch, dtype) == (knows("torch", dtype) or dtype in ("int4", "uint4"))
    if not hasattr(np.dtypes, "register_dlpack_dtype"):
        with pytest.raises(BufferError, match="DLPack only supports"):
            patterns(dtype).__dlpack__()
    if knows("tensorflow", dtype):
        with pytest.raises(tf.errors.InvalidArgumentError, match="is not supported by dlpack"):
            tf.experimental.dlpack.to_dlpack(array_of("tensorflow", patterns(dtype)))


def test_the_placeholders_of_torch_export_as_if_they_were_bytes():
    """torch gives its int4 to DLPack as int8: bridge must look at the tensor itself."""
    import torch

    tensor = torch.zeros(4, dtype=torch.uint8).view(torch.int4)
    assert torch.from_dlpack(tensor).dtype is torch.int8


# -------------------------------------------------------------------------------------------------------- hand-overs


@pytest.mark.parametrize("copy", [None, False, True])
@pytest.mark.parametrize(("source", "target", "dtype"), KNOWN)
def test_every_bit_pattern(source: str, target: str, dtype: str, copy: bool | None):
    """Shared by address where the facts allow it, else copied or refused; the bits are the same."""
    values = patterns(dtype)
    x = array_of(source, values)
    if copy is False and not shares(source, target, dtype):
        with pytest.raises(bridge.CopyRequired, match="the bytes cannot be shared"):
            bridge.to(target, x, copy=copy)
        return
    y = bridge.to(target, x, copy=copy)
    assert ndarray_of(y).dtype == values.dtype
    assert bits_of(y) == list(range(values.size))
    assert bits_of(x) == list(range(values.size))
    if target not in PACKS or dtype not in FOUR_BITS:
        assert (address_of(y) == address_of(x)) == (copy is not True and shares(source, target, dtype))


@pytest.mark.parametrize(("source", "target", "dtype"), [p for p in KNOWN if shares(*p)])
def test_the_plan_says_so(source: str, target: str, dtype: str):
    """explain() foretells what to() does."""
    plan = bridge.explain(target, array_of(source, patterns(dtype)))
    assert (plan.outcome, plan.converted) == ("shared", None)


@pytest.mark.parametrize(("source", "target"), [("torch", "jax"), ("jax", "torch"), ("tensorflow", "torch")])
def test_readonly_is_the_promise_that_shares(source: str, target: str):
    """readonly=True shares immutable float8 with torch, as for every dtype."""
    x = array_of(source, patterns("float8_e5m2"))
    y = bridge.to(target, x, readonly=True)
    assert address_of(y) == address_of(x)
    assert bits_of(y) == list(range(256))


@pytest.mark.parametrize("target", [f for f in FRAMEWORKS if f not in IMMUTABLE])
@pytest.mark.parametrize("source", ["bridge", "numpy", "torch"])
def test_a_shared_write_is_seen(source: str, target: str):
    """Writing the source shows on the other side: it is one memory."""
    x = array_of(source, patterns("float8_e4m3fn"))
    y = bridge.to(target, x)
    x[0] = 2.0
    assert float(ndarray_of(y)[0]) == 2.0


@pytest.mark.parametrize(("source", "target"), [(s, t) for s in FRAMEWORKS for t in FRAMEWORKS if s != t])
def test_the_memory_outlives_its_source(source: str, target: str):
    """The source may go first."""
    y = bridge.to(target, array_of(source, patterns("float8_e5m2")))
    gc.collect(0)
    assert bits_of(y) == list(range(256))


@pytest.mark.parametrize("dtype", ["float8_e5m2", "int4"])
@pytest.mark.parametrize("target", ["bridge", "numpy", "jax", "tensorflow"])
@pytest.mark.parametrize("layout", ["transposed", "strided", "reversed", "offset", "broadcast", "scalar", "empty"])
def test_layouts(layout: str, target: str, dtype: str):
    """Views keep their values, from NumPy and from the engine, whatever the target has to copy."""
    base = patterns(dtype)
    views = {
        "transposed": base.reshape(4, -1).T,
        "strided": base[::3],
        "reversed": base[::-1],
        "offset": base[3:],
        "broadcast": np.broadcast_to(base[:4], (3, 4)),
        "scalar": base[5:6].reshape(()),
        "empty": base[:0].reshape(0, 3),
    }
    view = views[layout]
    for x in (view, bridge.array(view), bridge.asarray(view)):
        y = bridge.to(target, x)
        assert tuple(y.shape) == view.shape
        assert bits_of(y) == np.ascontiguousarray(view).view(np.uint8).ravel().tolist()
        back = bridge.from_(y)
        assert back.dtype.name == dtype
        assert bits_of(back) == bits_of(y)


# ------------------------------------------------------------------------------------------------------- no counterpart


@pytest.mark.parametrize(("source", "target", "dtype"), MISSING)
def test_the_way_out_is_named_and_works(source: str, target: str, dtype: str):
    """DTypeError whose fix is a dtype that has every value; with it the values arrive."""
    values = patterns(dtype)
    x = array_of(source, values)
    exact = DTYPES[dtype][2]
    with pytest.raises(bridge.DTypeError, match=f"{target} has no {dtype}") as error:
        bridge.to(target, x)
    assert f"fix:  dtype='{exact}', which has every value of {dtype}" in str(error.value)
    there = bridge.from_(bridge.to(target, x, dtype=exact))
    assert there.dtype.name == exact
    np.testing.assert_array_equal(there.tolist(), values.astype(np.float32).tolist())


@pytest.mark.parametrize("target", FRAMEWORKS)
@pytest.mark.parametrize("source", FRAMEWORKS)
def test_conversion_rounds_as_ml_dtypes(source: str, target: str):
    """dtype= gives the bits that ml_dtypes gives, whoever converts: torch alone would saturate, jax would clip."""
    values = np.concatenate([np.linspace(-500, 500, 41), [1e-4, 3e4, -0.0, np.nan, np.inf]]).astype(np.float32)
    for dtype in DTYPES:
        if not knows(target, dtype):
            continue
        with np.errstate(all="ignore"):
            expected = values.astype(getattr(ml_dtypes, dtype))
        y = bridge.to(target, bridge.to(source, values), dtype=dtype)
        assert ndarray_of(y).dtype == expected.dtype
        assert bits_of(y) == expected.view(np.uint8).tolist(), dtype


@pytest.mark.parametrize("target", FRAMEWORKS)
@pytest.mark.parametrize(("source", "dtype"), [(f, d) for f in FRAMEWORKS for d in DTYPES if knows(f, d)])
def test_conversion_to_the_exact_dtype(source: str, target: str, dtype: str):
    """dtype= to the exact dtype keeps every value."""
    values = patterns(dtype)
    y = bridge.to(target, array_of(source, values), dtype=DTYPES[dtype][2])
    np.testing.assert_array_equal(bridge.from_(y).tolist(), values.astype(np.float32).tolist())


def test_dtype_objects_of_every_framework_name_them():
    """dtype= takes a name or anybody's dtype object."""
    import jax
    import tensorflow as tf
    import torch

    x = np.ones(2, np.float32)
    for dtype in (
        "float8_e5m2",
        bridge.float8_e5m2,
        torch.float8_e5m2,
        jax.numpy.float8_e5m2,
        tf.dtypes.experimental.float8_e5m2,
        ml_dtypes.float8_e5m2,
        np.dtype(ml_dtypes.float8_e5m2),
    ):
        assert bridge.to("numpy", x, dtype=dtype).dtype == ml_dtypes.float8_e5m2


def strangers():
    import jax
    import torch

    raw = torch.zeros(4, dtype=torch.uint8)
    return {
        "torch int4": (lambda: raw.view(torch.int4), r"x\.view\(torch\.int8\)"),
        "torch uint4": (lambda: raw.view(torch.uint4), r"x\.view\(torch\.uint8\)"),
        "torch uint1": (lambda: raw.view(torch.uint1), r"x\.view\(torch\.uint8\)"),
        "torch float4_e2m1fn_x2": (lambda: raw.view(torch.float4_e2m1fn_x2), r"two values each"),
        "jax float8_e3m4": (lambda: jax.numpy.zeros(3, "float8_e3m4"), r'x\.astype\("float16"\), which is exact'),
        "jax int2": (lambda: jax.numpy.zeros(3, "int2"), r'x\.astype\("int8"\), which is exact'),
        "numpy float8_e4m3": (lambda: np.zeros(3, ml_dtypes.float8_e4m3), r'x\.astype\("float16"\), which is exact'),
        "numpy uint2": (lambda: np.zeros(3, ml_dtypes.uint2), r'x\.astype\("uint8"\), which is exact'),
    }


STRANGERS = (
    "torch int4",
    "torch uint4",
    "torch uint1",
    "torch float4_e2m1fn_x2",
    "jax float8_e3m4",
    "jax int2",
    "numpy float8_e4m3",
    "numpy uint2",
)


@pytest.mark.parametrize("name", STRANGERS)
def test_what_nobody_else_knows_is_refused(name: str):
    """DTypeError with the way out, on every path, also where the framework itself would export bytes."""
    make, fix = strangers()[name]
    for target in FRAMEWORKS:
        if name.startswith(target):
            continue
        with pytest.raises(bridge.DTypeError, match=rf"(?s)has no counterpart elsewhere.*fix:.*{fix}"):
            bridge.to(target, make())


# ------------------------------------------------------------------------------------------------------------- DLPack


@pytest.mark.parametrize("dtype", DTYPES)
def test_capsules_say_what_lies_there(dtype: str):
    """A versioned capsule has DLPack's code and bits, and the padded flag where an element has fewer than eight."""
    a = bridge.array(patterns(dtype))
    width, code, _ = DTYPES[dtype]
    found, shape, _, address, _, flags, _ = _native.describe_capsule(a.__dlpack__(max_version=(1, 1)))
    assert (found, shape, address) == ((code, width, 1), a.shape, _native.storage_address(a))
    assert bool(flags & 4) == (width < 8)
    again = bridge.from_dlpack(a)
    assert again.dtype is a.dtype
    assert bits_of(again) == bits_of(a)


@pytest.mark.parametrize("dtype", sorted(FOUR_BITS))
def test_legacy_capsules_of_four_bits_are_refused(dtype: str):
    """Without flags a consumer would read packed elements: no capsule rather than a wrong one."""
    with pytest.raises(bridge.DTypeError, match="cannot say that elements of four bits lie one to a byte"):
        bridge.array(patterns(dtype)).__dlpack__()


def test_packed_capsules_are_refused():
    """jax exports its packed float4 by DLPack; elements that share a byte have no place in the engine."""
    x = array_of("jax", patterns("float4_e2m1fn"))
    with pytest.raises(bridge.DTypeError, match=r"(?s)packed two to a byte.*fix:.*float16"):
        bridge.from_dlpack(x.__dlpack__())
    assert bits_of(bridge.from_(x)) == list(range(16))


def test_numpy_is_told_of_the_dtypes_where_it_can_be():
    """With numpy.dtypes.register_dlpack_dtype, capsules carry bfloat16 and float8; packed dtypes are left out.

    A code that is taken by another dtype is left to it.
    """
    told = {}

    def register(key: tuple[int, int], dtype: np.dtype, /) -> None:
        if key == (12, 8):
            raise ValueError("a conflicting registration was already done")
        told[key] = dtype

    names = carried(SimpleNamespace(register_dlpack_dtype=register))
    assert told[4, 16] == ml_dtypes.bfloat16
    assert told[10, 8] == ml_dtypes.float8_e4m3fn
    assert {"bfloat16", "float8_e4m3fn", "float8_e8m0fnu", "float32"} <= names
    assert not names & {"float8_e5m2", *FOUR_BITS}
    assert set(told) == {(4, 16), *((code, 8) for width, code, _ in DTYPES.values() if width == 8 and code != 12)}
    assert "bfloat16" not in carried(SimpleNamespace())


def test_the_page_shows_these_facts():
    """docs/dtypes.md lists who knows which dtype as the table above does."""
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "dtypes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    seen = {}
    for names, *cells in rows:
        for name in re.findall(r"\w+", names):
            if name in DTYPES:
                seen[name] = dict(zip(("numpy", "torch", "jax", "tensorflow"), cells, strict=True))
    assert set(seen) == set(DTYPES)
    for dtype, cells in seen.items():
        for framework, cell in cells.items():
            assert cell.startswith("unknown") == (not knows(framework, dtype)), (dtype, framework)
            both = shares("bridge", framework, dtype) and shares(framework, "numpy", dtype)
            assert (cell == "shared") == (both and knows(framework, dtype)), (dtype, framework)
