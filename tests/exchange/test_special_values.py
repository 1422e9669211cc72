"""Values that are no plain dense array: the exact result, or a refusal whose fix is run here as it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from exchange.arrays import FOREIGN, address, values
from isolated import run_code

import bridge
from bridge.core.errors import BridgeError, CopyRequired, DTypeError

EVERYONE = (*FOREIGN, "bridge")


def others(framework: str) -> list[str]:
    """Everybody but the framework itself, which hands its own values back."""
    return [name for name in EVERYONE if name != framework]


def check_fix(framework: str, x: Any, words: str, fix: str, names: dict[str, Any]) -> None:
    """Every other framework refuses `x` in these words; the fix stands in the text and gives what all of them take."""
    for target in others(framework):
        with pytest.raises(BridgeError, match=words) as caught:
            bridge.to(target, x)
        assert f"fix:  {fix}" in str(caught.value), str(caught.value)
        assert bridge.explain(target, x).fix in str(caught.value)
    mended = eval(fix, {**names, "x": x})
    for target in EVERYONE:
        if target != "jax" or not re.search("64|128", str(mended.dtype)):
            assert tuple(bridge.to(target, mended).shape) == tuple(mended.shape)
    assert bridge.to(framework, x) is x


# --------------------------------------------------------------------------------------------------------------- torch


def nested(layout: str) -> Any:
    import torch

    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=getattr(torch, layout))


def masked() -> Any:
    import torch

    return torch.masked.masked_tensor(torch.ones(3), torch.tensor([True, False, True]))


def torch_values() -> dict[str, tuple[Callable[[], Any], str, str]]:
    """Name -> how it is built, words of the refusal, the fix as code."""
    import torch

    return {
        "COO": (lambda: torch.eye(3).to_sparse(), "sparse_coo tensor is not dense", "x.to_dense()"),
        "CSR": (lambda: torch.eye(3).to_sparse_csr(), "sparse_csr tensor is not dense", "x.to_dense()"),
        "BSR": (lambda: torch.eye(4).to_sparse_bsr((2, 2)), "sparse_bsr tensor is not dense", "x.to_dense()"),
        "oneDNN": (lambda: torch.ones(3, 3).to_mkldnn(), "mkldnn tensor is not dense", "x.to_dense()"),
        "meta": (lambda: torch.zeros(3, device="meta"), "meta tensor", 'torch.empty_like(x, device="cpu")'),
        "nested": (lambda: nested("strided"), "no single shape", "torch.nested.to_padded_tensor(x, 0)"),
        "jagged": (lambda: nested("jagged"), "no single shape", "torch.nested.to_padded_tensor(x, 0)"),
        "quantised": (
            lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
            "quint8",
            "x.dequantize()",
        ),
        "complex32": (lambda: torch.ones(3, dtype=torch.complex32), "complex32", "x.to(torch.complex64)"),
        "bits": (lambda: torch.ones(3, dtype=torch.uint8).view(torch.bits8), "bits8", "x.view(torch.uint8)"),
        "masked": (masked, "MaskedTensor", "x.to_tensor(0)"),
        "zeros without memory": (lambda: torch._efficientzerotensor(3), "no memory", "x.clone()"),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch calls half of these experimental when it makes them
@pytest.mark.parametrize("name", torch_values())
def test_a_tensor_without_bytes_is_refused_with_a_fix_that_works(name: str):
    build, words, fix = torch_values()[name]
    import torch

    check_fix("torch", build(), words, fix, {"torch": torch})


def test_a_parameter_is_refused_until_it_is_detached():
    """With its address afterwards; one that requires no grad is a tensor like any other."""
    import torch

    parameter = torch.nn.Parameter(torch.arange(16.0))
    for target in others("torch"):
        with pytest.raises(BridgeError, match=r"requires grad(.|\n)*detach=True"):
            bridge.to(target, parameter)
        assert address(bridge.to(target, parameter, detach=True)) == parameter.data_ptr()
    frozen = torch.nn.Parameter(torch.arange(16.0), requires_grad=False)
    for target in others("torch"):
        assert values(bridge.to(target, frozen)) == frozen.tolist()
    with torch.no_grad():  # which makes numpy() accept it; the shortcuts have been learned by now
        for target in others("torch"):
            with pytest.raises(BridgeError, match="requires grad"):
                bridge.to(target, parameter)


def test_a_lazy_parameter_has_no_shape_yet():
    """Nor has a lazy buffer; they come back as they are where nothing is asked of them."""
    import torch

    for lazy in (torch.nn.UninitializedParameter(), torch.nn.UninitializedBuffer()):
        assert bridge.to("torch", lazy) is lazy
        with pytest.raises(BridgeError, match=r"lazy module(.|\n)*fix:  call its module once"):
            bridge.to("numpy", lazy)


def test_memory_that_was_given_back_is_not_read():
    """A storage of no bytes under a tensor of three elements: refused everywhere, by shortcut and readable path."""
    import torch

    for target in others("torch"):
        bridge.to(target, torch.zeros(3))
        tensor = torch.zeros(3)
        tensor.untyped_storage().resize_(0)
        with pytest.raises(BridgeError, match="no memory"):
            bridge.to(target, tensor)


@pytest.mark.parametrize("target", ["numpy", "jax", "tensorflow", "bridge"])
def test_views_that_promise_a_sign_are_resolved_on_every_way(target: str):
    """Conjugate and negative views: shared never, copied, converted, and in a nest."""
    import torch

    x = torch.tensor([1 + 2j, 3 - 4j]).conj()
    for options in ({}, {"copy": True}, {"dtype": "complex64"}):
        assert values(bridge.to(target, x, **options)) == [1 - 2j, 3 + 4j]
        assert values(bridge.to(target, [x.imag], **({} if "dtype" in options else options))[0]) == [-2, 4]
    assert bridge.explain(target, x).rule == bridge.explain(target, x.imag).rule == "unlike"


def test_offsets_and_empty_views_of_tensors():
    """A window is shared at its own address; an empty one has its shape."""
    import torch

    base = torch.arange(32.0)
    assert address(bridge.to("numpy", base[16:])) == base.data_ptr() + 64
    assert address(bridge.to("jax", base[16:], copy=False)) == base.data_ptr() + 64
    for target in others("torch"):
        assert tuple(bridge.to(target, base[7:7]).shape) == (0,)
        assert tuple(bridge.to(target, base[:0].reshape(0, 4)).shape) == (0, 4)


def test_a_subclass_with_memory_is_a_tensor():
    """Shared with everyone, and handed back as the subclass it is."""
    import torch

    class Marked(torch.Tensor):
        pass

    tensor = torch.arange(16.0).as_subclass(Marked)
    assert bridge.to("torch", tensor) is tensor
    for target in others("torch"):
        assert address(bridge.to(target, tensor)) == tensor.data_ptr()


SHELLS = ("uint1", "uint4", "uint7", "int1", "int4", "int7")


@pytest.mark.parametrize("name", SHELLS)
def test_names_without_values_are_no_bytes(name: str):
    """torch.uint4 and its like are exported as uint8 by torch's own table: refused by every path, before and after."""
    import torch

    kind = torch.int8 if name.startswith("int") else torch.uint8
    for target in others("torch"):
        bridge.to(target, torch.ones(3, dtype=kind))
        with pytest.raises(DTypeError, match=name):
            bridge.to(target, torch.ones(3, dtype=kind).view(getattr(torch, name)))


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # what torch's duals import
def test_forward_gradients_are_not_lost_either():
    """A dual tensor carries a tangent though it does not require grad."""
    import torch
    import torch.autograd.forward_ad as forward

    for target in others("torch"):
        bridge.to(target, torch.ones(3))  # the shortcut has to see it too
    with forward.dual_level():
        dual = forward.make_dual(torch.ones(3), torch.ones(3))
        for target in others("torch"):
            with pytest.raises(BridgeError, match=r"gradient(.|\n)*detach=True"):
                bridge.to(target, dual)
            assert values(bridge.to(target, dual, detach=True)) == [1, 1, 1]
        assert values(bridge.to("numpy", torch.ones(3))) == [1, 1, 1]


def test_a_compiled_function_converts_real_tensors():
    """torch.compile breaks its graph around the call: the values are those of the run."""
    import warnings

    import torch

    def compute(x: Any) -> Any:
        return x + float(bridge.to("numpy", x * 2)[0])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it cannot trace a builtin
        assert torch.compile(compute, backend="eager")(torch.ones(2)).tolist() == [3, 3]


# ---------------------------------------------------------------------------------------------------------- TensorFlow


def tensorflow_values() -> dict[str, tuple[Callable[[], Any], str, str]]:
    import tensorflow as tf

    def quantised() -> Any:
        return tf.bitcast(tf.constant([1, 2], tf.int8), tf.qint8)

    return {
        "ragged": (lambda: tf.ragged.constant([[1], [2, 3]]), "Ragged", "x.to_tensor()"),
        "sparse": (lambda: tf.sparse.from_dense(tf.eye(2)), "Sparse", "tf.sparse.to_dense(x)"),
        "slices": (
            lambda: tf.IndexedSlices(tf.zeros((1, 2)), tf.constant([0]), tf.constant([3, 2])),
            "IndexedSlices",
            "tf.convert_to_tensor(x)",
        ),
        "slices of nothing": (
            lambda: tf.IndexedSlices(tf.zeros((1, 2)), tf.constant([0])),
            "IndexedSlices",
            "x.values",
        ),
        "strings": (lambda: tf.constant(["1", "2"]), "string", "tf.strings.to_number(x)"),
        "qint8": (quantised, "qint8", "tf.bitcast(x, tf.int8)"),
    }


@pytest.mark.parametrize("name", tensorflow_values())
def test_a_tensorflow_value_without_bytes_is_refused_with_a_fix_that_works(name: str):
    build, words, fix = tensorflow_values()[name]
    import tensorflow as tf

    check_fix("tensorflow", build(), words, fix, {"tf": tf})


def test_handles_are_no_numbers():
    """Resources and variants: refused by name, and no advice that fails."""
    import tensorflow as tf

    handles = [
        (tf.Variable(1.0).handle, "pass the variable itself"),
        (tf.raw_ops.TensorListReserve(element_shape=[2], num_elements=2, element_dtype=tf.float32), "unpack it"),
    ]
    for handle, fix in handles:
        for target in others("tensorflow"):
            with pytest.raises(DTypeError, match=rf"{handle.dtype.name}(.|\n)*fix:  {fix}"):
                bridge.to(target, handle)


def updates() -> dict[str, Callable[[Any], Any]]:
    """Ways to change a variable in place."""
    import tensorflow as tf

    def sparse(variable: Any) -> None:
        accumulator = tf.Variable(tf.ones((16, 2)))
        tf.raw_ops.ResourceSparseApplyAdagrad(
            var=variable.handle,
            accum=accumulator.handle,
            lr=0.1,
            grad=tf.ones((1, 2)),
            indices=tf.constant([0]),
        )

    step = tf.function(lambda variable: variable.assign_sub(tf.ones((16, 2))))
    return {
        "assign": lambda v: v.assign(tf.zeros((16, 2))),
        "assign_add": lambda v: v.assign_add(tf.ones((16, 2))),
        "scatter": lambda v: v.scatter_nd_update([[0]], [[9.0, 9.0]]),
        "a slice": lambda v: v[0:2].assign(tf.zeros((2, 2))),
        "an optimiser": lambda v: tf.raw_ops.ResourceApplyGradientDescent(
            var=v.handle, alpha=0.5, delta=tf.ones((16, 2))
        ),
        "a sparse optimiser": sparse,
        "inside tf.function": step,
    }


@pytest.mark.parametrize("name", updates())
def test_a_variable_shares_the_value_that_it_has(name: str):
    """TensorFlow writes a new value elsewhere while the old one is held: no update reaches what shares it."""
    import tensorflow as tf

    variable = tf.Variable(tf.ones((16, 2)))
    shared = {target: bridge.to(target, variable, readonly=True, copy=False) for target in others("tensorflow")}
    updates()[name](variable)
    assert float(variable[0, 0]) != 1
    for target, result in shared.items():
        assert values(result) == [[1, 1]] * 16, target
    assert values(bridge.to("numpy", variable)) == variable.numpy().tolist()


def test_a_variable_is_of_tensorflow_already():
    """Handed back itself; copy=True is a tensor of its own."""
    import tensorflow as tf

    variable = tf.Variable(tf.ones(16))
    assert bridge.to("tensorflow", variable) is variable
    copied = bridge.to("tensorflow", variable, copy=True)
    variable.assign(tf.zeros(16))
    assert values(copied) == [1] * 16


def test_tensorflows_numpy_arrays_are_tensors():
    """tf.experimental.numpy makes the same class."""
    import tensorflow.experimental.numpy as tnp

    for target in others("tensorflow"):
        assert values(bridge.to(target, tnp.arange(3, dtype=np.float32))) == [0, 1, 2]


def test_symbolic_tensors_have_no_values():
    """Of a tf.function and of a graph; a variable inside of one, too. Into TensorFlow they pass."""
    import tensorflow as tf

    variable, seen = tf.Variable(1.0), []

    @tf.function
    def traced(x: Any) -> Any:
        for value in (x, variable):
            assert bridge.to("tensorflow", value) is value
            for target in others("tensorflow"):
                with pytest.raises(BridgeError, match=r"traced by tf\.function"):
                    bridge.to(target, value)
                seen.append(target)
        return x

    traced(tf.ones(3))
    assert len(seen) >= 8


# ----------------------------------------------------------------------------------------------------------------- jax

SHARDED = """
import jax, jax.numpy as jnp, numpy as np, bridge
from jax.sharding import Mesh, NamedSharding, PartitionSpec
assert len(jax.devices()) == 2
mesh = Mesh(np.array(jax.devices()), ("d",))
spread = jax.device_put(jnp.arange(8.0), NamedSharding(mesh, PartitionSpec("d")))
everywhere = jax.device_put(jnp.arange(16.0), NamedSharding(mesh, PartitionSpec()))
second = jax.device_put(jnp.arange(16.0), jax.devices()[1])
for target in ("numpy", "torch", "tensorflow", "bridge"):
    try:
        bridge.to(target, spread)
    except bridge.BridgeError as error:
        assert "spread over 2 devices" in str(error) and "jax.device_put(x, jax.devices()[0])" in str(error), error
    else:
        raise AssertionError(target)
    x = spread
    gathered = eval("jax.device_put(x, jax.devices()[0])")
    assert bridge.to("numpy", bridge.to(target, gathered)).tolist() == list(range(8))
    for whole in (everywhere, second):
        shared = bridge.to("numpy", bridge.to(target, whole, readonly=True, copy=False), readonly=True)
        assert shared.ctypes.data == whole.addressable_data(0).unsafe_buffer_pointer()
        assert bridge.to("numpy", bridge.to(target, whole, copy=True)).tolist() == list(range(16))
assert bridge.to("jax", spread) is spread
assert bridge.to("jax", everywhere) is everywhere
print("survived")
"""


def test_sharded_arrays_of_jax():
    """Spread over devices: refused, and the fix gathers. A whole copy on each device, or on the second: shared."""
    done = run_code(SHARDED, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("survived")


def test_keys_of_jax():
    """Typed keys are refused with a fix that works; a raw key is an array."""
    import jax

    check_fix("jax", jax.random.key(0), "key", "jax.random.key_data(x)", {"jax": jax})
    assert values(bridge.to("numpy", jax.random.PRNGKey(7))) == [0, 7]


def test_deleted_and_donated_arrays_are_gone():
    """Refused by every path; they come back to jax as they are."""
    import jax
    import jax.numpy as jnp

    deleted, donated = jnp.ones(3), jnp.ones(3)
    deleted.delete()
    jax.jit(lambda x: x + 1, donate_argnums=0)(donated)
    for gone in (deleted, donated):
        for target in others("jax"):
            with pytest.raises(BridgeError, match="deleted or donated"):
                bridge.to(target, gone)


def test_scalars_of_jax():
    """Weakly typed, made by a type, of no axes: exact dtype and value everywhere."""
    import jax.numpy as jnp

    for scalar, wanted in (
        (jnp.asarray(2.5), 2.5),
        (jnp.float32(2.5), 2.5),
        (jnp.bfloat16(2.5), 2.5),
        (jnp.int8(3), 3),
    ):
        for target in EVERYONE:
            result = bridge.to(target, scalar)
            assert values(result) == wanted
            assert str(scalar.dtype) in str(result.dtype)


def test_a_reference_of_jax_is_read_first():
    """A mutable cell is no array; what it holds is."""
    import jax
    import jax.numpy as jnp

    if not hasattr(jax, "new_ref"):
        return
    x = jax.new_ref(jnp.ones(3))
    with pytest.raises(BridgeError, match=r"fix:  x\[\.\.\.\]"):
        bridge.to("numpy", x)
    assert values(bridge.to("numpy", x[...])) == [1, 1, 1]


def test_an_array_made_while_64_bits_were_on():
    """Goes out whole afterwards, and stays in jax as it is; a copy inside jax would be narrowed and is refused."""
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        wide = jnp.asarray(np.array([2**40 + 1]))
    assert values(bridge.to("numpy", wide)) == [2**40 + 1]
    assert bridge.to("jax", wide) is wide
    with pytest.raises(DTypeError, match="jax_enable_x64"):
        bridge.to("jax", wide, copy=True)


@pytest.mark.parametrize("first", ["numpy", "bridge"])
def test_into_jax_while_it_traces(first: str):
    """A constant of a traced function: concrete, shared, and right; the first use of the door may be there."""
    done = run_code(f"""
import jax, jax.numpy as jnp, numpy as np, bridge
x = bridge.to({first!r}, np.arange(16, dtype=np.float32))
@jax.jit
def f(y):
    return y + bridge.to("jax", x)
assert f(jnp.ones(16)).tolist() == [1.0 + i for i in range(16)]
from bridge.plugins import jax as plugin
assert plugin.buffer_maker() is not None and plugin.capsule_maker() is not None
""")
    assert done.returncode == 0, done.stderr[-2000:]


# --------------------------------------------------------------------------------------------------------------- NumPy


def numpy_values() -> dict[str, tuple[Any, str, str]]:
    return {
        "structured": (np.zeros(3, [("a", "f4"), ("b", "i4")]), "structured", 'x["a"]'),
        "record": (np.rec.array([(1, 2.0)], dtype=[("n", "i4"), ("m", "f4")]), "structured", 'x["n"]'),
        "objects": (np.array([1, 2], object), "Python objects", 'x.astype("float64")'),
        "text": (np.array(["1", "2"]), "string", 'x.astype("float64")'),
        "bytes": (np.array([b"1", b"2"]), "string", 'x.astype("float64")'),
        "StringDType": (np.array(["1"], dtype=np.dtypes.StringDType()), "string", 'x.astype("float64")'),
        "datetime": (np.array(["2024-01-01"], "M8[D]"), "datetime64", 'x.view("int64")'),
        "timedelta": (np.array([1], "m8[s]"), "timedelta64", 'x.view("int64")'),
        "longdouble": (np.zeros(3, np.longdouble), "longdouble", "x.astype(numpy.float64)"),
        "swapped longdouble": (
            np.zeros(3, np.dtype(np.longdouble).newbyteorder("S")),
            "longdouble",
            "x.astype(numpy.float64)",
        ),
        "clongdouble": (np.zeros(3, np.clongdouble), "clongdouble", "x.astype(numpy.complex128)"),
        "float0": (np.zeros(3, [("float0", "V")]), "no bytes", "numpy.zeros(x.shape)"),
        "masked": (np.ma.array([1.0, 2.0], mask=[0, 1]), "masked", "x.filled(0)"),
        "masked, nothing hidden": (np.ma.array([1.0, 2.0]), "masked", "x.data"),
    }


@pytest.mark.parametrize("name", numpy_values())
def test_a_numpy_dtype_without_counterpart_is_refused_with_a_fix_that_works(name: str):
    x, words, fix = numpy_values()[name]
    if fix == "x.data":
        with pytest.raises(BridgeError, match=r"x\.data if nothing is masked"):
            bridge.to("torch", x)
        assert values(bridge.to("torch", x.data)) == [1, 2]
        return
    check_fix("numpy", x, words, fix, {"numpy": np})


@pytest.mark.parametrize("target", EVERYONE)
@pytest.mark.parametrize("dtype", ["int8", "uint16", "float16", "float32", "bool", "complex64"])
def test_numpy_scalars_and_arrays_of_no_axes(target: str, dtype: str):
    """A scalar is copied, an array without axes is shared where it is aligned; read-only and swapped ones arrive."""
    scalar = np.dtype(dtype).type(1)
    frozen = np.array(scalar)
    frozen.flags.writeable = False
    swapped = np.array(scalar).astype(np.dtype(dtype).newbyteorder("S"))
    for x in (scalar, np.array(scalar), frozen, swapped):
        result = bridge.to(target, x)
        assert values(result) == scalar.item()
        assert tuple(result.shape) == ()
    if target != "numpy":
        with pytest.raises(CopyRequired, match="scalar has no memory"):
            bridge.to(target, scalar, copy=False)


def test_scalars_of_ml_dtypes():
    """bfloat16 scalars, like NumPy's own."""
    for target in others("numpy"):
        result = bridge.to(target, ml_dtypes.bfloat16(2.5))
        assert "bfloat16" in str(result.dtype)
        assert values(result) == 2.5


def test_the_other_byte_order_for_every_dtype_and_target():
    """Exact values; refused under copy=False."""
    for dtype in ("i2", "u4", "f2", "f4", "c8"):
        x = np.arange(4).astype(f">{dtype}")
        for target in others("numpy"):
            assert values(bridge.to(target, x)) == [0, 1, 2, 3]
            with pytest.raises(CopyRequired, match="other order"):
                bridge.to(target, x, copy=False)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_subclasses_of_ndarray(tmp_path: Any):
    """memmap, matrix, recarray fields and one's own: shared; back to NumPy they are what they were."""

    class Own(np.ndarray):
        pass

    mapped = np.memmap(tmp_path / "data", np.float32, "w+", shape=(16,))
    record = np.rec.array(np.zeros(16, [("n", "f4"), ("m", "f4")]))
    for x in (mapped, np.zeros((4, 4), np.float32).view(np.matrix), np.zeros(16, np.float32).view(Own), record.n):
        assert bridge.to("numpy", x) is x
        assert address(bridge.to("torch", x)) == x.ctypes.data
        assert address(bridge.from_(x, copy=False)) == x.ctypes.data
        assert values(bridge.to("jax", x)) == x.tolist()


def test_a_memmap_opened_for_reading_is_read_only(tmp_path: Any):
    """torch copies it, NumPy and the engine keep it read-only."""
    np.arange(16, dtype=np.float32).tofile(tmp_path / "data")
    x = np.memmap(tmp_path / "data", np.float32, "r")
    with pytest.raises(CopyRequired, match="read-only"):
        bridge.to("torch", x, copy=False)
    tensor = bridge.to("torch", x)
    tensor[0] = 9
    assert x[0] == 0
    assert address(bridge.to("tensorflow", x, copy=False)) == x.ctypes.data
