"""Errors: one class for one refusal, keywords that mean the same for every framework, answers before the call."""

from __future__ import annotations

import warnings
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from cases.case import Case
from exchange.arrays import FOREIGN, address, aligned, counting, make, values

import bridge

CASES = (
    Case(
        "E01",
        "A refused copy is a BufferError here, a ValueError there and a RuntimeError elsewhere.",
        "CopyRequired for every pair and every reason; it is a BufferError, as the standard has it.",
        ("data-apis/array-api#831", "pytorch/pytorch#194267"),
    ),
    Case(
        "E02",
        "TensorFlow takes copy=True and dl_device= in its signature, and fails.",
        "copy=True and device='cpu' work for every pair: where a framework does not copy, bridge does.",
        ("data-apis/array-api#741", "tensorflow/tensorflow#61769"),
    ),
    Case(
        "E03",
        "CuPy's from_dlpack(copy=True) fails for memory of the GPU.",
        "copy=True of an array on a GPU is another array on that GPU; device='cpu' brings it to the host.",
        ("cupy/cupy#9842",),
        needs="CUDA",
    ),
    Case(
        "E04",
        "torch.from_dlpack(capsule, device=...) ends in an AssertionError.",
        "A wrong argument is a ValueError, TypeError or BridgeError that names it; device='cpu' of a capsule works.",
        ("scikit-learn/scikit-learn#34143",),
    ),
    Case(
        "E05",
        "np.array(x, copy=False) fails for arrays whose __array__ has no copy argument.",
        "The engine's __array__ has NumPy 2's meaning: False shares or raises ValueError, None shares, True copies.",
        ("numpy/numpy#25916", "numpy/numpy#25941"),
    ),
    Case(
        "E08",
        "Libraries climb ladders of try and except because nobody can be asked beforehand.",
        "explain answers for every pair before the call, with what the call then does; one except clause is enough.",
        ("scikit-learn/scikit-learn#31829", "data-apis/array-api-strict#69"),
    ),
)

EVERYONE = (*FOREIGN, "bridge")


def reversed_array(source: str) -> Any:
    """Something that neither torch, jax nor tensorflow can share."""
    if source in ("numpy", "bridge"):
        return make(source)[::-1]
    if source == "torch":
        return make("torch").T[:, ::2]
    return make(source)


def needs_copy() -> list[tuple[str, str, Any]]:
    """(source, target, how to make an array that must be copied) for every pair where there is one."""
    rows = []
    for source, target in permutations(EVERYONE, 2):
        if source in ("jax", "tensorflow") and target != "torch":
            rows.append((source, target, None))  # shared: only a dtype forces a copy
        elif target in ("numpy", "bridge"):
            rows.append((source, target, None))
        else:
            rows.append((source, target, reversed_array))
    return rows


@pytest.mark.parametrize(("source", "target", "build"), needs_copy())
def test_E01_a_refused_copy_is_one_class(source: str, target: str, build: Any):
    """For layout, dtype and read-only memory alike: CopyRequired, which is a BufferError, with a fix that works."""
    requests = [(make(source), {"dtype": "float16"})]
    if build is not None:
        x = build(source)
        if bridge.explain(target, x).copied:
            requests.append((x, {}))
    for x, options in requests:
        with pytest.raises(bridge.CopyRequired, match=r"(?s)cannot be shared.*fix:  copy=None") as caught:
            bridge.to(target, x, copy=False, **options)
        assert isinstance(caught.value, BufferError)
        assert values(bridge.to(target, x, copy=None, **options)) == values(x)


@pytest.mark.parametrize("reason", ["layout", "alignment", "read-only", "dtype", "byte order", "number"])
def test_E01_whatever_the_reason(reason: str):
    """The same class for everything that only a copy can solve."""
    frozen = counting((3,))
    frozen.flags.writeable = False
    target, x, options = {
        "layout": ("tensorflow", counting((3, 4)).T, {}),
        "alignment": ("jax", aligned((3,), shift=4), {}),
        "read-only": ("torch", frozen, {}),
        "dtype": ("numpy", counting((3,)), {"dtype": "int8"}),
        "byte order": ("torch", np.arange(3, dtype=">i4"), {}),
        "number": ("bridge", 1.5, {}),
    }[reason]
    with pytest.raises(BufferError, match="cannot be shared"):
        bridge.to(target, x, copy=False, **options)


def test_E01_the_protocol_verb_raises_it_too():
    """bridge.from_dlpack of elements that are not aligned."""
    with pytest.raises(bridge.CopyRequired, match="cannot be shared"):
        bridge.from_dlpack(aligned((3,), shift=1), copy=False)


@pytest.mark.parametrize(("source", "target"), list(product(EVERYONE, EVERYONE)))
def test_E02_copy_and_device_mean_the_same_for_every_pair(source: str, target: str):
    """copy=True is other memory with the same values; device="cpu" is where the array is, and changes nothing."""
    x = make(source)
    copied = bridge.to(target, x, copy=True)
    assert address(copied) != address(x)
    assert values(copied) == values(x)
    assert values(bridge.to(target, x, device="cpu")) == values(x)
    assert address(bridge.to(target, x, copy=True, device="cpu")) != address(x)


def test_E02_the_array_speaks_the_whole_protocol():
    """`__dlpack__` with every keyword of the standard, and the flag that says who owns the copy."""
    from dlpack import capsules

    a = bridge.ones((3,))
    capsule = a.__dlpack__(stream=None, max_version=(1, 0), dl_device=(1, 0), copy=True)
    managed = capsules.read(capsule)
    assert managed.flags == capsules.IS_COPIED
    assert managed.tensor.data != address(a)
    with pytest.raises(BufferError, match=r"(?i)device"):
        a.__dlpack__(dl_device=(2, 0))


def has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def test_E03_a_copy_on_the_gpu_stays_there():
    """Other memory, same device, same values; and the way to the host by device="cpu"."""
    if not has_cuda():
        pytest.skip("needs CUDA")
    import torch

    x = torch.arange(6.0, device="cuda")
    copied = bridge.to("torch", x, copy=True)
    assert copied.device == x.device
    assert copied.data_ptr() != x.data_ptr()
    assert bridge.to("numpy", x, device="cpu").tolist() == x.tolist()
    assert bridge.from_(x, device="cpu").tolist() == x.tolist()
    with pytest.raises(bridge.BridgeError, match=r"lives on cuda:0.*\n(.*\n)*.*device=\"cpu\""):
        bridge.from_(x)


def test_E04_a_wrong_argument_is_named():
    """Targets, copies, devices, doors and dtypes that are none: never an AssertionError."""
    x = counting((3,))
    wrong = [
        ({"device": "toaster"}, bridge.BridgeError, "numpy only knows host memory"),
        ({"copy": "maybe"}, TypeError, "None, False or True"),
        ({"via": "telepathy"}, bridge.BridgeError, "no door 'telepathy'"),
        ({"dtype": "float31"}, bridge.DTypeError, "names no dtype"),
    ]
    for options, error, words in wrong:
        with pytest.raises(error, match=words):
            bridge.to("numpy", x, **options)
    with pytest.raises(TypeError, match="unexpected keyword"):
        bridge.to("numpy", x, devices="cpu")
    with pytest.raises(ValueError, match="device is not known"):
        bridge.from_dlpack(x, device="toaster")


@pytest.mark.parametrize("target", EVERYONE)
@pytest.mark.parametrize("versioned", [True, False])
def test_E04_a_capsule_with_a_device(target: str, versioned: bool):
    """device="cpu" of a raw capsule whose memory is there."""
    x = counting((3, 4))
    capsule = x.__dlpack__(max_version=(1, 0)) if versioned else x.__dlpack__()
    assert values(bridge.to(target, capsule, device="cpu")) == x.tolist()


def test_E05_numpy_may_ask_in_each_way():
    """np.array and np.asarray with copy=None, False and True, and with a dtype."""
    a = bridge.arange(4, dtype=bridge.float32)
    for shared in (np.asarray(a), np.asarray(a, copy=False), np.array(a, copy=False), np.array(a, copy=None)):
        assert shared.ctypes.data == address(a)
    for copied in (np.array(a), np.array(a, copy=True), np.asarray(a, dtype=np.float64), np.asarray(a, copy=True)):
        assert copied.ctypes.data != address(a)
        assert copied.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"(?i)copy"):
        np.array(a, dtype=np.float64, copy=False)


@pytest.mark.parametrize("source", FOREIGN)
def test_E05_each_source_is_asked_in_its_own_way(source: str):
    """copy=False into NumPy is granted for every framework, also where its own `__array__` knows no copy."""
    x = make(source)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert address(bridge.to("numpy", x, copy=False)) == address(x)


@pytest.mark.parametrize(("source", "target"), list(permutations(EVERYONE, 2)))
def test_E08_the_answer_comes_before_the_call(source: str, target: str):
    """explain and to agree on outcome, rule and bytes for every way to ask, and a refusal is an answer too."""
    for options in ({}, {"copy": False}, {"copy": True}, {"dtype": "float16"}, {"dtype": "float16", "copy": False}):
        x = make(source, shape=(4, 4))
        plan, done = bridge.explain(target, x, **options), attempt(target, x, **options)
        if isinstance(done, bridge.BridgeError):
            assert plan.refused, options
            assert plan.why in str(done)
            assert plan.fix in str(done)
        else:
            assert (plan.outcome, plan.rule, plan.bytes_copied) == (done.outcome, done.rule, done.bytes_copied)


def attempt(target: str, x: Any, **options: Any) -> Any:
    """The receipt of a conversion, or its error."""
    try:
        with bridge.record() as log:
            bridge.to(target, x, **options)
    except bridge.BridgeError as error:
        return error
    return log[0]


def test_E08_one_clause_catches_every_refusal():
    """BridgeError: no framework's own exception comes through."""
    import jax
    import tensorflow as tf
    import torch

    refused = [
        torch.eye(3).to_sparse(),
        torch.nn.Parameter(torch.ones(2)),
        tf.ragged.constant([[1], [2, 3]]),
        jax.random.key(0),
        np.array(["text"]),
        np.ma.array([1, 2], mask=[0, 1]),
        object(),
        "text",
    ]
    for x in refused:
        with pytest.raises(bridge.BridgeError, match=r"(?s)^\[bridge\.to\('bridge'\)\] .*fix:"):
            bridge.to("bridge", x)
