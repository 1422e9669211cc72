"""Hand-overs outside the matrix: strange dtypes, odd memory, bfloat16 all the way, pairs of frameworks, errors."""

from __future__ import annotations

from itertools import permutations

import ml_dtypes
import numpy as np
import pytest
from interop.facts import FRAMEWORKS
from interop.memory_of import ADAPTERS, expected_value, numpy_array

import bridge
from bridge.core import _native

COPY = (None, False, True)

# Dtypes without a counterpart.


def torch_of(name):
    import torch

    return torch.zeros(4).to(getattr(torch, name))


def jax_of(name):
    import jax.numpy as jnp

    return jnp.zeros(4, getattr(jnp, name))


def tensorflow_of(value):
    import tensorflow as tf

    return tf.constant(value)


STRANGERS = {
    "numpy object": lambda: np.array([object()]),
    "numpy text": lambda: np.array(["a", "bc"]),
    "numpy bytes": lambda: np.array([b"a"]),
    "numpy record": lambda: np.array([(1, 2.0)], "i4,f4"),
    "numpy datetime64": lambda: np.array(["2020-01-01"], "M8[D]"),
    "numpy timedelta64": lambda: np.array([1], "m8[s]"),
    "numpy longdouble": lambda: np.zeros(3, np.longdouble),
    "numpy clongdouble": lambda: np.zeros(3, np.clongdouble),
    "numpy float8_e3m4": lambda: np.zeros(3, ml_dtypes.float8_e3m4),
    "numpy int2": lambda: np.zeros(3, ml_dtypes.int2),
    "torch complex32": lambda: torch_of("complex32"),
    "jax float8_e3m4": lambda: jax_of("float8_e3m4"),
    "jax int2": lambda: jax_of("int2"),
    "tensorflow string": lambda: tensorflow_of(["a"]),
}


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental:UserWarning")  # torch, when it makes one
@pytest.mark.parametrize("copy", COPY)
@pytest.mark.parametrize("name", STRANGERS)
def test_D21_a_dtype_without_a_counterpart_is_refused(name, copy):
    """DTypeError that says what came and what to do; never a cast, never a C++ exception, never an abort."""
    with pytest.raises(bridge.DTypeError, match=r"(?s)\[bridge\..*(fix|got|want):"):
        bridge.from_(STRANGERS[name](), copy=copy)


# Memory that NumPy can describe and others cannot.


def test_the_other_byte_order_is_converted_where_a_copy_is_allowed():
    """The values are the same, the bytes are not."""
    x = np.arange(4, dtype=np.dtype(np.float32).newbyteorder("S"))
    a = bridge.from_(x)
    assert (a.dtype, a.tolist()) == (bridge.float32, [0, 1, 2, 3])
    with pytest.raises(bridge.CopyRequired, match=r"(?i)order"):
        bridge.from_(x, copy=False)


def test_a_field_of_a_record_array_is_copied():
    """Its elements do not lie a whole number of elements apart."""
    x = np.zeros(4, dtype=[("a", "i1"), ("b", "<f4")])
    x["b"] = [1, 2, 3, 4]
    assert bridge.from_(x["b"]).tolist() == [1, 2, 3, 4]
    with pytest.raises(bridge.CopyRequired, match=r"(?i)whole|strid|align"):
        bridge.from_(x["b"], copy=False)


def test_a_numpy_scalar_is_an_array_of_no_axes():
    """Exact dtype; there is no memory to share."""
    a = bridge.from_(np.float64(1.1))
    assert (a.shape, a.dtype, a.item()) == ((), bridge.float64, 1.1)


def test_a_masked_array_is_refused():
    """Elements without a value cannot be handed over."""
    with pytest.raises(bridge.BridgeError, match=r"(?i)mask"):
        bridge.from_(np.ma.masked_array([1, 2], [True, False]))


def test_overlapping_windows_are_shared_inwards():
    """Memory that shows an element twice is read in place."""
    x = np.lib.stride_tricks.sliding_window_view(np.arange(6, dtype=np.float32), 3)
    a = bridge.from_(x, copy=False)
    assert a.tolist() == x.tolist()
    assert _native.facts(a)[3] == x.ctypes.data


def test_overlapping_windows_are_no_writable_view_outwards():
    """A write to one element would show in another (A10)."""
    owner = np.arange(6, dtype=np.float32)
    x = np.lib.stride_tricks.as_strided(owner, (4, 3), (4, 4))
    tensor = bridge.to("torch", bridge.from_(x, copy=False))
    tensor[0, 1] = 50
    assert owner.tolist() == [0, 1, 2, 3, 4, 5]


# bfloat16 all the way.


@pytest.mark.parametrize("target", FRAMEWORKS)
def test_D05_bfloat16_goes_out_and_comes_back_exact(target):
    """Every bit pattern there is, out of the engine and in again; shared with whoever can share."""
    bits = np.arange(2**16, dtype=np.uint16)
    a = bridge.array(bits.view(ml_dtypes.bfloat16), dtype=bridge.bfloat16)
    x = bridge.to(target, a, copy=False)
    assert ADAPTERS[target].address(x) == _native.facts(a)[3]
    b = bridge.from_(x, copy=False)
    assert b.dtype is bridge.bfloat16
    assert np.array_equal(np.asarray(b).view(np.uint16), bits)
    assert _native.facts(b)[3] == _native.facts(a)[3]


@pytest.mark.parametrize("source", FRAMEWORKS)
def test_D05_bfloat16_of_every_framework_comes_in_exact(source):
    """By address, and to the bit."""
    x = ADAPTERS[source].build("bfloat16", "dense")
    a = bridge.from_(x, copy=False)
    assert a.dtype is bridge.bfloat16
    assert _native.facts(a)[3] == ADAPTERS[source].address(x)
    assert np.array(a).tobytes() == expected_value("bfloat16", "dense").bits


# Framework to framework, with no detour through the engine.


@pytest.mark.parametrize("copy", COPY)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32", "bool"])
@pytest.mark.parametrize(("source", "target"), list(permutations(FRAMEWORKS, 2)))
def test_every_pair_of_frameworks(source, target, dtype, copy):
    """Exact values; mutable memory is shared with anyone, immutable memory not with torch."""
    x = ADAPTERS[source].build(dtype, "dense")
    shares = FRAMEWORKS[source].mutable or FRAMEWORKS[target].read_only
    if copy is False and not shares:
        with pytest.raises(bridge.CopyRequired, match=r"(?i)read-only|immutable"):
            bridge.to(target, x, copy=False)
        return
    y = bridge.to(target, x, copy=copy)
    assert ADAPTERS[target].value(y) == expected_value(dtype, "dense")
    shared = ADAPTERS[source].address(x) == ADAPTERS[target].address(y)
    assert shared == (shares and not copy)


def test_A05_a_writable_source_is_shared_with_jax_and_said_to_stay_writable():
    """Deterministic at any size; the receipt says it, copy=True severs."""
    for count in (16, 1 << 20):
        memory = np.zeros(count + 16, np.float32)
        x = memory[(-memory.ctypes.data % 64) // 4 :][:count]
        assert "source stays writable" in str(bridge.explain("jax", x))
        with bridge.record() as log:
            y = bridge.to("jax", x)
        assert y.unsafe_buffer_pointer() == x.ctypes.data
        assert "source stays writable" in log[0].why
        z = bridge.to("jax", x, copy=True)
        x[0] = 1
        assert z[0] == 0


# Errors.


def test_an_unknown_target_names_the_known_ones():
    """The text lists what there is."""
    with pytest.raises(bridge.UnknownTarget, match=r"(?s)(?=.*numpy)(?=.*torch)(?=.*jax)(?=.*tensorflow)"):
        bridge.to("nonsense", np.arange(3))


def test_an_unknown_door_names_the_known_ones():
    """`via=` with a name that the target has not."""
    with pytest.raises(bridge.BridgeError, match=r"(?s)no door 'nonsense'.*dlpack"):
        bridge.to("torch", bridge.arange(3), via="nonsense")


@pytest.mark.parametrize("value", [object(), "text", len], ids=["object", "text", "function"])
def test_what_is_no_array_is_an_error(value):
    """The text names the type that came."""
    with pytest.raises(bridge.BridgeError, match=rf"(?s)\[bridge\..*{type(value).__name__}"):
        bridge.from_(value)


@pytest.mark.parametrize("layout", ["dense", "reversed", "offset"])
@pytest.mark.parametrize("target", FRAMEWORKS)
def test_explain_says_what_to_does_and_does_nothing(target, layout):
    """The plan's outcome is the receipt's; the array has no lease afterwards."""
    for copy in (None, True):
        x = bridge.array(numpy_array("float32", layout))
        plan = bridge.explain(target, x, copy=copy)
        assert bridge.leases(x) == []
        with bridge.record() as log:
            bridge.to(target, x, copy=copy)
        assert (plan.outcome, plan.rule, plan.nbytes) == (log[0].outcome, log[0].rule, log[0].nbytes)
        assert plan.why
