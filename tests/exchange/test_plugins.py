"""The built-in plugins between any two frameworks: shared by address, copied for a reason, refused with a way out."""

from __future__ import annotations

import gc
import weakref
from itertools import permutations
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from exchange.arrays import FOREIGN, IMMUTABLE, address, aligned, counting, make, values

import bridge
from bridge.core.errors import BridgeError, CopyRequired, DTypeError, TracedError

PAIRS = list(permutations(FOREIGN, 2))
EVERYONE = (*FOREIGN, "bridge")


# --------------------------------------------------------------------------------------------------- foreign to foreign


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool", "complex64"])
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_dense_arrays_are_shared_directly(source: str, target: str, dtype: str):
    """Same address, dtype, shape and values; immutable to torch only on the promise not to write."""
    array = make(source, dtype)
    readonly = source in IMMUTABLE and target == "torch"
    result = bridge.to(target, array, copy=False, readonly=readonly)
    assert address(result) == address(array)
    assert dtype in str(result.dtype)
    assert tuple(result.shape) == (3, 4)
    assert values(result) == values(array)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_copies_belong_to_the_caller(source: str, target: str):
    """copy=True gives another address, writable where the framework has that notion."""
    array = make(source)
    result = bridge.to(target, array, copy=True)
    assert address(result) != address(array)
    assert values(result) == values(array)
    if target in ("numpy", "torch"):
        result[0, 0] = 9
        assert float(np.asarray(values(array))[0, 0]) == 0


@pytest.mark.parametrize("source", ["numpy", "torch"])
@pytest.mark.parametrize("target", FOREIGN)
def test_writes_are_seen_through_a_shared_array(source: str, target: str):
    """Both sides look at the same bytes; for an immutable target the receipt says that the source stays writable."""
    if source == target:
        return
    array = make(source)
    with bridge.record() as log:
        result = bridge.to(target, array)
    array[0, 0] = 7
    assert values(result)[0][0] == 7
    assert log[0].why == ("source stays writable" if target in IMMUTABLE else "both sides can write")


@pytest.mark.parametrize("source", IMMUTABLE)
def test_immutable_arrays_are_not_handed_to_a_writer(source: str):
    """torch copies under None, refuses under False, shares on a promise; NumPy gets a read-only view."""
    array = make(source)
    assert address(bridge.to("torch", array)) != address(array)
    with pytest.raises(CopyRequired, match=f"{source} (arrays|tensors) are immutable") as caught:
        bridge.to("torch", array, copy=False)
    assert "readonly=True" in str(caught.value)
    assert address(bridge.to("torch", array, readonly=True)) == address(array)
    view = bridge.to("numpy", array, copy=False)
    assert address(view) == address(array)
    assert not view.flags.writeable


def test_read_only_ndarrays_reach_everyone():
    """Immutable targets share them, although NumPy refuses the capsule that they ask for."""
    array = counting((3, 4))
    array.flags.writeable = False
    for target in IMMUTABLE:
        assert address(bridge.to(target, array, copy=False)) == address(array)
    assert address(bridge.to("torch", array)) != address(array)
    assert address(bridge.to("torch", array, readonly=True)) == address(array)
    assert not bridge.to("numpy", array).flags.writeable
    assert address(bridge.from_(array, copy=False)) == address(array)


@pytest.mark.parametrize("target", IMMUTABLE)
def test_alignment_is_checked_before_the_framework_is_called(target: str):
    """TensorFlow would abort at the first op, jax would copy without a word."""
    array = aligned((16,), shift=16)
    with bridge.record() as log:
        result = bridge.to(target, array)
    assert (log[0].outcome, log[0].rule) == ("copied", "alignment")
    assert address(result) % 64 == 0
    with pytest.raises(CopyRequired, match="16 bytes past a 64-byte boundary"):
        bridge.to(target, array, copy=False)


@pytest.mark.parametrize("target", FOREIGN)
def test_layouts_arrive_with_their_values(target: str):
    """Reversed, strided, transposed, broadcast, with gaps of part of an element, of length 0 and 1, without axes."""
    base = counting((4, 6))
    record = np.zeros(5, np.dtype([("a", "f4"), ("b", "i1")]))["a"]
    record[...] = np.arange(5)
    layouts = [base[::-1], base[:, ::2], base.T, np.broadcast_to(base[0], (3, 6)), record]
    layouts += [base[:0], base[:1][::-1], counting(())]
    for array in layouts:
        assert values(bridge.to(target, array)) == array.tolist()
        assert values(bridge.to(target, bridge.from_(array, readonly=True))) == array.tolist()


def test_a_torch_tensor_that_repeats_itself_is_read_only_elsewhere():
    """An expanded tensor: one write would change many elements."""
    import torch

    tensor = torch.arange(3.0).expand(2, 3)
    view = bridge.to("numpy", tensor)
    assert view.ctypes.data == tensor.data_ptr()
    assert not view.flags.writeable
    assert not bridge.to("numpy", tensor).flags.writeable  # by the shortcut that was learned


def test_negative_and_conjugate_views_are_resolved():
    """Their bytes are not their values; copy=False says so."""
    import torch

    tensor = torch.tensor([1 + 2j, 3 - 4j]).conj()
    for target in ("numpy", "jax", "tensorflow", "bridge"):
        assert values(bridge.to(target, tensor)) == [1 - 2j, 3 + 4j]
        assert values(bridge.to(target, tensor.imag)) == [-2, 4]
    with pytest.raises(CopyRequired, match="conjugate view"):
        bridge.to("numpy", tensor, copy=False)
    with pytest.raises(CopyRequired, match="negative view"):
        bridge.from_(tensor.imag, copy=False)


# ------------------------------------------------------------------------------------------------------------- bfloat16


@pytest.mark.parametrize(("source", "target"), list(permutations(EVERYONE, 2)))
def test_bfloat16_is_bit_exact_everywhere(source: str, target: str):
    """Every one of the 65,536 patterns, NaN payloads and signed zeros included."""
    patterns = aligned((256, 256), "bfloat16")
    patterns.view(np.uint16)[...] = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    array = bridge.to(source, patterns, copy=True)
    result = bridge.to("numpy", bridge.to(target, array), readonly=True)
    assert result.dtype == ml_dtypes.bfloat16
    assert np.array_equal(result.view(np.uint16), patterns.view(np.uint16))


# ------------------------------------------------------------------------------------------------------------- dtype=


@pytest.mark.parametrize("target", EVERYONE)
@pytest.mark.parametrize("source", EVERYONE)
def test_a_conversion_that_was_asked_for(source: str, target: str):
    """Exact where the values fit; the receipt shows both dtypes; copy=False refuses."""
    array = make(source, "int32")
    with bridge.record() as log:
        result = bridge.to(target, array, dtype="float16")
    assert log[0].converted == "float16"
    assert log[0].rule == "convert"
    assert "float16" in str(result.dtype)
    assert values(result) == values(array)
    with pytest.raises(CopyRequired, match="float16"):
        bridge.to(target, array, dtype="float16", copy=False)


@pytest.mark.parametrize("target", IMMUTABLE)
@pytest.mark.parametrize("via", ["buffer", "memoryview"])
def test_doors_that_copy_convert_and_reorder_too(target: str, via: str):
    """What the framework copies by itself still arrives in the dtype that was asked for, in this machine's order."""
    with bridge.record() as log:
        result = bridge.to(target, counting((3,)), via=via, dtype="float16")
        assert "float16" in str(result.dtype)
        assert values(bridge.to(target, np.arange(3, dtype=">i4"), via=via)) == [0, 1, 2]
        assert values(bridge.to(target, counting((3,)), via=via)) == [0, 1, 2]
    assert [receipt.rule for receipt in log] == ["convert", "unlike", "door"]


@pytest.mark.parametrize("target", IMMUTABLE)
@pytest.mark.parametrize("via", ["buffer", "memoryview"])
def test_doors_that_copy_take_memory_that_others_can_write(target: str, via: str):
    """An engine array over memory of a live ndarray cannot be frozen, and need not be: the framework copies at once."""
    array = counting((3,))
    assert values(bridge.to(target, bridge.from_(array), via=via)) == [0, 1, 2]


def test_dtype_objects_of_any_framework_are_understood():
    import jax.numpy as jnp
    import tensorflow as tf
    import torch

    x = np.arange(3, dtype=np.int32)
    for dtype in ("float16", np.float16, np.dtype("f2"), torch.float16, jnp.float16, tf.float16, bridge.float16):
        assert bridge.to("torch", x, dtype=dtype).dtype == torch.float16
    assert bridge.to("numpy", x, dtype=ml_dtypes.bfloat16).dtype == ml_dtypes.bfloat16


def test_nothing_is_narrowed_for_jax():
    """64-bit dtypes while they are switched off: an error with the switch in the fix, or a conversion by name."""
    import jax

    for dtype in ("int64", "uint64", "float64", "complex128"):
        for array in (make("numpy", dtype), make("torch", dtype), make("bridge", dtype)):
            with pytest.raises(DTypeError, match=f"jax has no {dtype}") as caught:
                bridge.to("jax", array)
            assert "jax_enable_x64" in str(caught.value)
    assert str(bridge.to("jax", make("numpy", "float64"), dtype="float32").dtype) == "float32"
    with jax.enable_x64(True):
        array = make("bridge", "float64")
        result = bridge.to("jax", array)
        assert str(result.dtype) == "float64"
        assert address(result) == address(array)


def test_imaginary_parts_are_not_dropped():
    with pytest.raises(DTypeError, match="imaginary"):
        bridge.to("numpy", make("torch", "complex64"), dtype="float32")


# ------------------------------------------------------------------------------------------------------------- refusals


def test_a_gradient_is_not_lost_by_accident():
    """Parameters and results: refused with the fix; detach=True shares the values."""
    import torch

    parameter = torch.nn.Parameter(torch.arange(4.0))
    for tensor in (parameter, parameter * 2):
        for target in ("numpy", "jax", "tensorflow", "bridge"):
            with pytest.raises(BridgeError, match="requires grad") as caught:
                bridge.to(target, tensor)
            assert "detach=True" in str(caught.value)
            assert address(bridge.to(target, tensor, detach=True)) == tensor.data_ptr()
    assert bridge.to("torch", parameter) is parameter


def torch_oddities() -> list[tuple[Any, str]]:
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.zeros(3)
    return [
        (torch.eye(3).to_sparse(), "sparse"),
        (torch.zeros(3, device="meta"), "meta"),
        (torch.zeros(3, dtype=torch.complex32), "complex32"),
        (torch.zeros(3, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "two values each"),
        (fake, "traced by torch.compile"),
    ]


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_tensors_without_bytes_of_their_values():
    for tensor, words in torch_oddities():
        for target in ("numpy", "bridge"):
            with pytest.raises(BridgeError, match=words) as caught:
                bridge.to(target, tensor)
            assert "fix:" in str(caught.value)


def test_a_tensor_under_torch_func_has_no_values():
    import torch

    with pytest.raises(TracedError, match=r"traced by torch\.func\.vmap"):
        torch.func.vmap(lambda x: bridge.to("numpy", x))(torch.zeros(2, 3))


def test_jax_arrays_without_values():
    """Traced, deleted, keys of the random generator."""
    import jax
    import jax.numpy as jnp

    for transformed in (jax.jit, jax.vmap, jax.grad):
        with pytest.raises(TracedError, match=rf"traced by jax\.{transformed.__name__}"):
            transformed(lambda x: bridge.from_(x))(jnp.zeros(3) if transformed is not jax.grad else 1.0)
    with pytest.raises(DTypeError, match=r"key") as caught:
        bridge.from_(jax.random.key(0))
    assert "key_data" in str(caught.value)
    array = jnp.zeros(3)
    array.delete()
    with pytest.raises(BridgeError, match="deleted"):
        bridge.to("numpy", array)


def test_jax_arrays_are_waited_for():
    """The address is known before the values are there."""
    import jax
    import jax.numpy as jnp

    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 20, lambda _, y: y @ x * 1e-3, x))
    start = jnp.ones((600, 600))
    wanted = float(slow(start).block_until_ready()[0, 0])
    for target in ("numpy", "torch", "bridge"):
        result = bridge.to(target, slow(start), readonly=True)
        assert float(result[0, 0]) == wanted


def test_tensorflow_oddities():
    """Strings would abort the process; ragged, sparse and traced tensors have no dense bytes."""
    import tensorflow as tf

    for target in ("numpy", "torch", "bridge"):
        with pytest.raises(DTypeError, match="string"):
            bridge.to(target, tf.constant(["a"]))
        with pytest.raises(BridgeError, match="Ragged"):
            bridge.to(target, tf.ragged.constant([[1], [2, 3]]))
        with pytest.raises(BridgeError, match="Sparse"):
            bridge.to(target, tf.sparse.from_dense(tf.eye(2)))
        with pytest.raises(BridgeError, match="IndexedSlices"):
            bridge.to(target, tf.IndexedSlices(tf.zeros((1, 2)), tf.constant([0])))


def test_a_tensorflow_variable_gives_its_value_now():
    """What the variable does later does not reach the array."""
    import tensorflow as tf

    variable = tf.Variable(tf.range(4.0))
    for target in ("numpy", "torch", "jax", "bridge"):
        array = bridge.to(target, variable)
        before = values(array)
        variable.assign_add(tf.ones(4))
        assert values(array) == before


def test_numpy_oddities():
    """What has no counterpart says what to do; what has one arrives."""
    day = np.array(["2024-01-01"], "M8[D]")
    text, both = np.array(["a"]), np.zeros(2, [("a", "f4"), ("b", "i4")])
    for array, words in (
        (np.array([None]), "Python objects"),
        (both, "structured"),
        (text, "string"),
        (day, "datetime64"),
        (np.zeros(2, np.longdouble), "longdouble"),
        (np.zeros(2, ml_dtypes.int2), 'int2 has no counterpart(?s:.*)x.astype."int8".'),
    ):
        for target in ("torch", "jax", "bridge"):
            with pytest.raises(DTypeError, match=words):
                bridge.to(target, array)
        assert bridge.to("numpy", array) is array
    with pytest.raises(BridgeError, match="masked"):
        bridge.to("torch", np.ma.array([1, 2], mask=[0, 1]))
    big = np.arange(3, dtype=">i4")
    for target in ("torch", "jax", "tensorflow", "bridge"):
        assert values(bridge.to(target, big)) == [0, 1, 2]
    with pytest.raises(CopyRequired, match="other order"):
        bridge.to("torch", big, copy=False)


def test_subclasses_of_ndarray_are_shared(tmp_path):
    """np.memmap and np.matrix are memory like any other."""
    mapped = np.memmap(tmp_path / "data", np.float32, "w+", shape=(4,))
    mapped[:] = [1, 2, 3, 4]
    tensor = bridge.to("torch", mapped, copy=False)
    tensor[0] = 9
    assert mapped[0] == 9
    assert bridge.from_(mapped).tolist() == [9, 2, 3, 4]


def test_devices():
    """ "cpu" in every spelling is where the arrays are; another place is refused where nothing else is known."""
    import torch

    x = counting((3,))
    for device in ("cpu", "cpu:0", torch.device("cpu"), "/device:CPU:0"):
        assert address(bridge.to("torch", x, device=device, copy=False)) == address(x)
    with pytest.raises(BridgeError, match="numpy only knows host memory"):
        bridge.to("numpy", x, device="cuda:0")
    placed = bridge.to("torch", x, device="meta")  # the only other place that torch has everywhere
    assert placed.device.type == "meta"


# ------------------------------------------------------------------------------------------- protocols without a plugin


def test_exporters_of_the_buffer_protocol():
    """array.array, bytearray, memoryview: shared; bytes: read-only."""
    import array

    numbers = array.array("f", [1, 2, 3])
    imported = bridge.from_(numbers, copy=False)
    numbers[0] = 7
    assert imported.tolist() == [7, 2, 3]
    assert bridge.to("numpy", memoryview(numbers)).tolist() == [7, 2, 3]
    assert not bridge.to("numpy", b"abc").flags.writeable
    with pytest.raises(CopyRequired, match="read-only"):
        bridge.to("torch", b"abc", copy=False)


class Exporter:
    """Speaks DLPack and nothing else."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, *, max_version: Any = None) -> Any:
        return self.array.__dlpack__(max_version=max_version)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@pytest.mark.parametrize("target", EVERYONE)
def test_exporters_of_dlpack(target: str):
    """Any object with `__dlpack__` goes directly, by the same rules."""
    array = counting((3, 4))
    result = bridge.to(target, Exporter(array), copy=False)
    assert address(result) == address(array)
    with bridge.record() as log:
        assert values(bridge.to(target, Exporter(array[::-1]))) == array[::-1].tolist()
    assert log[0].source.endswith("test_plugins.Exporter")
    assert log[0].copied == (target not in ("numpy", "bridge"))


def test_memory_of_another_device_is_refused():
    class Elsewhere(Exporter):
        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 0)

    with pytest.raises(BridgeError, match="lives on cuda:0"):
        bridge.to("numpy", Elsewhere(counting((3,))))


# ------------------------------------------------------------------------------------------------------------- lifetime


@pytest.mark.parametrize("target", ["torch", "jax", "tensorflow", "bridge"])
def test_the_source_lives_as_long_as_what_shares_it(target: str):
    """Dropping the name of the source keeps its memory; dropping the result lets it go."""

    class Tracked(np.ndarray):
        pass

    for dtype in ("float32", "bfloat16"):
        owner = counting((3, 4), dtype).view(Tracked)
        gone = weakref.ref(owner)
        for readonly in (False, True):
            view = owner.view(np.ndarray)
            view.flags.writeable = not readonly
            result = bridge.to(target, view, readonly=readonly, copy=False)
            wanted = view.tolist()
            del view
            gc.collect()
            assert values(result) == wanted
            del result
        base = owner.base
        del owner
        gc.collect()
        assert gone() is None
        assert base is not None
