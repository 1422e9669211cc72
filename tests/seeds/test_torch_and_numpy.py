"""The guide to torch and NumPy, line by line: share, try to share, copy, with one verb for all three.

`torch.from_numpy` is `bridge.to("torch", x, copy=False)`, `torch.as_tensor` is `copy=None`, `torch.tensor` is
`copy=True`; `tensor.numpy()` is `bridge.to("numpy", t)`. The same holds through the engine, by `from_` and `to`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import bridge


def direct(target, x, **options):
    """Framework to framework."""
    return bridge.to(target, x, **options)


def through_the_engine(target, x, **options):
    """The same with a stop at bridge: in by sharing, out by the verb under test."""
    return bridge.to(target, bridge.from_(x), **options)


@pytest.fixture(params=[direct, through_the_engine])
def to(request):
    return request.param


# Share.


def test_share(to):
    """Changes travel both ways."""
    x = np.array([1.0, 2.0, 3.0], np.float32)
    t = to("torch", x, copy=False)
    x[0] = 99.0
    t[1] = -7.0
    assert t.tolist() == x.tolist() == [99.0, -7.0, 3.0]


def test_share_is_proven_by_the_address(to):
    """The tensor's storage begins where the array's memory does."""
    x = np.array([1, 2, 3], np.float32)
    t = to("torch", x, copy=False)
    assert t.untyped_storage().data_ptr() == x.__array_interface__["data"][0]


def test_share_needs_a_writable_array(to):
    """torch has no read-only tensors: a refusal that says so, instead of a warning about undefined behaviour."""
    x = np.array([1.0, 2.0, 3.0])
    x.setflags(write=False)
    with pytest.raises(bridge.CopyRequired, match=r"(?i)read-only") as refusal:
        to("torch", x, copy=False)
    assert isinstance(refusal.value, BufferError)
    assert "fix:" in str(refusal.value)


def test_a_read_only_array_is_copied_where_that_is_allowed(to):
    """The default; writing to the tensor leaves the array alone."""
    x = np.array([1.0, 2.0, 3.0])
    x.setflags(write=False)
    t = to("torch", x)
    t[0] = 9
    assert x[0] == 1.0


def test_a_read_only_array_is_shared_on_a_promise(to):
    """readonly=True: the caller will not write."""
    x = np.array([1.0, 2.0, 3.0])
    x.setflags(write=False)
    assert to("torch", x, copy=False, readonly=True).data_ptr() == x.ctypes.data


@pytest.mark.parametrize("value", [np.array(["a", "b"]), np.array([object()]), np.array([(1, 2.0)], "i4,f4")])
def test_only_numbers_have_a_dtype_in_torch(to, value):
    """Text, objects and records are refused, whatever copy says."""
    for copy in (None, False, True):
        with pytest.raises(bridge.DTypeError, match=r"holds no numbers|not numbers|mixes dtypes"):
            to("torch", value, copy=copy)


# Try to share.


def test_try_to_share(to):
    """The default shares what it can."""
    x = np.array([1.1, 2.2, 3.3], np.float64)
    t = to("torch", x)
    x[1] = 222.0
    assert t[1].item() == 222.0
    assert t.dtype is torch.float64


def test_another_dtype_is_a_copy(to):
    """dtype= converts, so nothing is shared; copy=False refuses."""
    x = np.array([1.1, 2.2, 3.3], np.float64)
    t = to("torch", x, dtype="float32")
    x[2] = 333.0
    assert t.dtype is torch.float32
    assert t[2].item() == pytest.approx(3.3)
    with pytest.raises(bridge.CopyRequired, match=r"(?i)float32"):
        to("torch", x, dtype="float32", copy=False)


def test_the_same_dtype_asked_for_is_no_conversion(to):
    """dtype= that is there already costs nothing."""
    x = np.array([1.1, 2.2], np.float64)
    assert to("torch", x, dtype="float64", copy=False).data_ptr() == x.ctypes.data


def test_negative_strides_are_a_copy(to):
    """torch has none: copied by default, refused with the axis under copy=False, never an abort."""
    x = np.arange(6, dtype=np.float32)[::-1]
    t = to("torch", x)
    assert t.tolist() == x.tolist() == [5, 4, 3, 2, 1, 0]
    with pytest.raises(bridge.CopyRequired, match=r"axis 0 runs backwards"):
        to("torch", x, copy=False)


def test_another_device_is_refused_or_reached(to):
    """device="cpu" is where it is; a device that does not exist is an error."""
    x = np.array([1.0, 2.0])
    assert to("torch", x, device="cpu", copy=False).data_ptr() == x.ctypes.data
    if not torch.cuda.is_available():
        with pytest.raises((bridge.BridgeError, RuntimeError, AssertionError), match=r"(?i)cuda|device"):
            to("torch", x, device="cuda")


# Copy.


def test_copy(to):
    """Memory of its own: the array may change."""
    x = np.array([10, 20, 30], np.int64)
    t = to("torch", x, copy=True)
    x[0] = 123
    assert t.tolist() == [10, 20, 30]


def test_copy_into_another_dtype(to):
    """Both at once."""
    t = to("torch", np.array([10, 20, 30], np.int64), copy=True, dtype=torch.float32)
    assert (t.dtype, t.tolist()) == (torch.float32, [10.0, 20.0, 30.0])


# The table of dtypes.

DTYPES = {
    np.float16: torch.float16,
    np.float32: torch.float32,
    np.float64: torch.float64,
    np.int8: torch.int8,
    np.int16: torch.int16,
    np.int32: torch.int32,
    np.int64: torch.int64,
    np.uint8: torch.uint8,
    np.uint16: torch.uint16,
    np.uint32: torch.uint32,
    np.uint64: torch.uint64,
    np.bool_: torch.bool,
    np.complex64: torch.complex64,
    np.complex128: torch.complex128,
}


@pytest.mark.parametrize("numpy_dtype", DTYPES)
def test_every_dtype_has_its_counterpart(to, numpy_dtype):
    """There and back without a copy or a change."""
    x = np.array([0, 1, 2], numpy_dtype)
    t = to("torch", x, copy=False)
    assert t.dtype is DTYPES[numpy_dtype]
    y = to("numpy", t, copy=False)
    assert y.dtype == x.dtype
    assert y.ctypes.data == t.data_ptr() == x.ctypes.data


def test_bfloat16_has_one_too(to):
    """What torch and NumPy do not do for one another."""
    import ml_dtypes

    x = np.array([0, 1, 2], ml_dtypes.bfloat16)
    t = to("torch", x, copy=False)
    assert (t.dtype, t.data_ptr()) == (torch.bfloat16, x.ctypes.data)
    y = to("numpy", t, copy=False)
    assert (y.dtype, y.ctypes.data) == (x.dtype, x.ctypes.data)


# Arrays that are not contiguous.


def test_a_strided_view_is_shared(to):
    """Every second element, in place."""
    base = np.arange(10, dtype=np.float32)
    view = base[::2]
    t = to("torch", view, copy=False)
    assert t.stride() == (2,)
    view[0] = 999.0
    assert base[0] == t[0].item() == 999.0


def test_fortran_order_is_shared(to):
    """The tensor is not contiguous, and its contiguous() is a copy."""
    x = np.asfortranarray(np.arange(6).reshape(2, 3))
    t = to("torch", x, copy=False)
    assert x.flags.f_contiguous
    assert not t.is_contiguous()
    assert t.data_ptr() == x.ctypes.data
    assert t.tolist() == x.tolist()
    assert t.contiguous().data_ptr() != x.ctypes.data


# torch to NumPy.


def test_a_tensor_is_shared_with_numpy(to):
    """On the CPU, without grad."""
    t = torch.tensor([1.0, 2.0, 3.0])
    x = to("numpy", t, copy=False)
    t[0] = 99.0
    assert x.tolist() == [99.0, 2.0, 3.0]


def test_a_tensor_that_requires_grad_is_refused(to):
    """The fix is in the text, and it works."""
    t = torch.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(bridge.BridgeError, match=r"(?s)requires grad.*detach=True"):
        to("numpy", t)
    x = bridge.to("numpy", t, detach=True)
    assert x.ctypes.data == t.data_ptr()
    assert bridge.from_(t, detach=True).tolist() == [1.0, 2.0]


def test_a_parameter_is_such_a_tensor():
    """G05: also under no_grad."""
    p = torch.nn.Parameter(torch.ones(2))
    with torch.no_grad(), pytest.raises(bridge.BridgeError, match=r"detach=True"):
        bridge.to("numpy", p)
    assert bridge.to("numpy", p, detach=True).tolist() == [1.0, 1.0]


# Patterns of the guide.


def test_load_with_numpy_train_with_torch(tmp_path, to):
    """Copies with the dtypes that training wants."""
    np.save(tmp_path / "data.npy", np.random.default_rng(0).normal(size=(8, 3)))
    np.save(tmp_path / "labels.npy", np.arange(8) % 2)
    data = to("torch", np.load(tmp_path / "data.npy"), dtype="float32", copy=True)
    labels = to("torch", np.load(tmp_path / "labels.npy"), dtype="int64", copy=True)
    assert (data.dtype, labels.dtype) == (torch.float32, torch.long)
    assert torch.nn.functional.cross_entropy(torch.nn.Linear(3, 2)(data), labels).isfinite()


def test_numpy_in_torch_inside_numpy_out(to):
    """A zero-copy way in, an op, a zero-copy way out."""
    t = to("torch", np.array([1, 2, 3, 4, 5], np.float32), copy=False)
    squared = t**2
    result = to("numpy", squared, copy=False)
    assert result.tolist() == [1, 4, 9, 16, 25]
    assert result.ctypes.data == squared.data_ptr()


def test_surprises_are_announced():
    """Unexpected mutation: explain says that memory is shared before anything happens."""
    x = np.array([1.0, 2.0, 3.0])
    assert bridge.explain("torch", x).outcome == "shared"
    assert bridge.explain("torch", x[::-1]).outcome == "copied"
    assert "backwards" in str(bridge.explain("torch", x[::-1]))


def test_dtypes_do_not_change_by_themselves(to):
    """Python floats are float64 in NumPy, so the tensor is float64; float32 by asking."""
    x = np.array([1.0, 2.0])
    assert to("torch", x).dtype is torch.float64
    assert to("torch", x, dtype=np.float32).dtype is torch.float32
