"""What is special about Arrow: columns of tensors, slices, chunks, packed bits, nulls, types without numbers."""

import re

import bridge_arrow
import numpy as np
import pyarrow as pa
import pytest
import torch

import bridge


def tensors(values: list, kind: pa.DataType, shape: list[int]) -> pa.FixedShapeTensorArray:
    size = int(np.prod(shape))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(kind, shape), pa.array(values, pa.list_(kind, size)))


# --------------------------------------------------------------------------------------------------------- the main job


def test_bridge_to_arrow():
    """A Tensor over the same memory; both sides see a write."""
    x = bridge.arange(6, dtype=bridge.float32).reshape(2, 3)
    tensor = bridge.to("arrow", x)
    assert (type(tensor), str(tensor.type), tensor.shape, tensor.is_mutable) == (pa.Tensor, "float", (2, 3), True)
    x[0, 0] = 7
    assert tensor.to_numpy()[0, 0] == 7


def test_torch_to_arrow_and_back():
    """Without a copy in either direction."""
    values = torch.arange(6, dtype=torch.float64).reshape(2, 3).T
    tensor = bridge.to("arrow", values, copy=False)
    assert tensor.to_numpy().ctypes.data == values.data_ptr()
    assert bridge.to("torch", tensor, copy=False).data_ptr() == values.data_ptr()


def test_a_promise_not_to_write():
    """readonly=True gives a Tensor that is not mutable, and freezes the bridge array's memory."""
    x = bridge.arange(3, dtype=bridge.float32)
    tensor = bridge.to("arrow", x, readonly=True)
    x[0] = 7
    assert (tensor.is_mutable, tensor.to_numpy().tolist()) == (False, [0, 1, 2])


def test_from_a_tensor_to_an_array():
    """The two lines of the README copy nothing."""
    tensor = bridge.to("arrow", torch.arange(12.0).reshape(3, 4))
    address = tensor.to_numpy().ctypes.data
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(tensor.to_numpy())
    flat = pa.array(bridge.to("arrow", torch.arange(12.0)).to_numpy())
    assert (len(column), len(flat)) == (3, 12)
    assert column.storage.values.buffers()[1].address == address


# -------------------------------------------------------------------------------------------------------------- arrays


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint16(), pa.int32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64()]
)
def test_arrays_are_shared(kind: pa.DataType):
    """Also a slice that begins somewhere inside; read-only, because Arrow's arrays never change."""
    array = pa.array(range(10), kind)[3:7]
    view = bridge.to("numpy", array, copy=False)
    assert view.ctypes.data == array.buffers()[1].address + 3 * kind.bit_width // 8
    assert (view.tolist(), view.flags.writeable) == ([3, 4, 5, 6], False)


def test_the_memory_outlives_the_array():
    """A view keeps Arrow's buffer."""
    view = bridge.to("numpy", pa.array(range(1000), pa.int64()), copy=False)
    assert view.sum() == 499_500


def test_bits_are_copied():
    """Eight booleans in a byte are no memory that anybody else could read."""
    array = pa.array([True, False, True, True])[1:]
    assert bridge.to("torch", array).tolist() == [False, True, True]
    with pytest.raises(bridge.CopyRequired, match="eight booleans in a byte"):
        bridge.to("torch", array, copy=False)


def test_columns_of_tensors():
    """One axis more than a row has; shared, whatever the order of the axes, and from a slice."""
    values = np.arange(24.0).reshape(4, 3, 2)
    for rows in (values, values.transpose(0, 2, 1)):
        array = pa.FixedShapeTensorArray.from_numpy_ndarray(rows)[1:]
        view = bridge.to("numpy", array, copy=False)
        assert view.ctypes.data == rows[1:].ctypes.data
        assert view.tolist() == rows[1:].tolist()
        assert not view.flags.writeable


def test_one_chunk_is_an_array():
    """Empty chunks do not count; several are refused with the way out."""
    one = pa.chunked_array([[], [1, 2]], pa.int64())
    assert bridge.to("numpy", one, copy=False).ctypes.data == one.chunk(1).buffers()[1].address
    assert bridge.to("numpy", pa.chunked_array([], pa.int32())).shape == (0,)
    several = pa.chunked_array([[1], [2, 3]])
    with pytest.raises(bridge.BridgeError, match=r"lie in 2 chunks(.|\n)*x.combine_chunks\(\)"):
        bridge.to("numpy", several)
    assert bridge.to("numpy", several.combine_chunks()).tolist() == [1, 2, 3]


# --------------------------------------------------------------------------------------------------------------- nulls


@pytest.mark.parametrize(
    ("array", "filled"),
    [
        (pa.array([1, None, 3]), [1, 9, 3]),
        (pa.array([0.5, None]), [0.5, 9]),
        (pa.chunked_array([[None, 2]]), [9, 2]),
        (tensors([[1, 2], None, [None, 4]], pa.int32(), [2]), [[1, 2], [9, 9], [9, 4]]),
        (tensors([[1, 2], None, [None, 4]], pa.int32(), [2])[1:], [[9, 9], [9, 4]]),
    ],
)
def test_nulls_are_refused_or_filled(array: pa.Array, filled: list):
    """Nobody else has nulls: the error says how many there are, and `filled` says what they should be."""
    with pytest.raises(bridge.BridgeError, match=r"null(.|\n)*bridge_arrow.filled\(x, 0\)"):
        bridge.to("numpy", array)
    assert bridge.to("numpy", bridge_arrow.filled(array, 9)).tolist() == filled


def test_a_slice_without_nulls_is_shared():
    """What counts is what the array shows."""
    array = pa.array([None, 1, 2])[1:]
    assert bridge.to("numpy", array, copy=False).tolist() == [1, 2]
    assert bridge_arrow.filled(array, 0) is array


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("value", "problem", "fix"),
    [
        (pa.array(["a"]), "an array of string holds no numbers", None),
        (pa.array([[1], [2, 3]]), "different lengths", "x.flatten"),
        (pa.array([[1, 2]], pa.list_(pa.int8(), 2)), "does not say that it holds tensors", "fixed_shape_tensor"),
        (pa.array(["a"]).dictionary_encode(), "codes, not values", "x.dictionary_decode"),
        (pa.array([{"a": 1}]), "mixes types", "x.field"),
        (pa.array([1], pa.timestamp("s")), "dates and times", 'x.view("int64")'),
        (pa.array([1], pa.date32()), "dates", 'x.view("int32")'),
        (pa.array([1], pa.decimal128(5)), "decimals", 'x.cast("float64")'),
        (pa.RunEndEncodedArray.from_arrays([2], [1]), "run-end", "run_end_decode"),
        (pa.scalar(3), "an arrow scalar has no memory", "x.as_py"),
        (pa.table({"a": [1]}), "a Table has many columns", 'x["name"]'),
        (tensors([[True, False]], pa.bool_(), [2]), "no tensor of numbers", "x.storage"),
    ],
)
def test_what_holds_no_numbers(value: object, problem: str, fix: str | None):
    """Each kind is refused by name, with the way to what can be handed over."""
    plan = bridge.explain("numpy", value)
    assert (plan.outcome, problem in plan.why, plan.fix is None or fix in plan.fix) == ("refused", True, True), plan
    with pytest.raises(bridge.BridgeError, match=re.escape(problem)):
        bridge.to("numpy", value)


@pytest.mark.parametrize(
    ("dtype", "fix"), [("bool", "uint8"), ("bfloat16", "float32"), ("complex64", "imaginary part")]
)
def test_what_a_tensor_cannot_hold(dtype: str, fix: str):
    """Arrow has no such tensors: the error names what it has."""
    with pytest.raises(bridge.DTypeError, match=fix):
        bridge.to("arrow", bridge.zeros((2,)).astype(dtype))


def test_reversed_memory_is_copied():
    """Arrow has no negative strides; the values come in the right order."""
    values = np.arange(4)[::-1]
    assert bridge.explain("arrow", values).copied
    assert bridge.to("arrow", values).to_numpy().tolist() == [3, 2, 1, 0]
    assert bridge.to("arrow", np.arange(3, dtype=">i4")).to_numpy().tolist() == [0, 1, 2]
