"""Nests are mapped leaf by leaf, numbers become arrays; `asarray` reads a list as one array instead."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
from exchange.arrays import address, counting

import bridge
from bridge.core.errors import BridgeError, CopyRequired, DTypeError


class Batch(NamedTuple):
    images: Any
    labels: Any


@dataclass
class Layer:
    weight: Any
    bias: Any
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Frozen:
    weight: Any


def test_the_nest_comes_back_as_it_was():
    """Same types and keys, new arrays, each sharing the memory of its leaf."""
    import torch

    x = counting((3, 4))
    nest = {"a": [x, (x, x)], "b": Batch(x, None), "c": Layer(x, x), "d": Frozen(x), "e": OrderedDict(z=x)}
    new = bridge.to("torch", nest)
    assert list(new) == list(nest)
    assert type(new["b"]) is Batch
    assert new["b"].labels is None
    assert type(new["c"]) is Layer
    assert type(new["d"]) is Frozen
    assert type(new["e"]) is OrderedDict
    leaves = [new["a"][0], *new["a"][1], new["b"].images, new["c"].weight, new["c"].bias, new["d"].weight]
    assert all(type(leaf) is torch.Tensor and leaf.data_ptr() == address(x) for leaf in leaves)
    assert new["c"].scale.item() == 1
    assert nest["c"].weight is x


def test_dictionaries_keep_what_else_they_carry():
    import torch

    counts = defaultdict(list, a=np.zeros(3))
    assert bridge.to("torch", counts).default_factory is list
    state = torch.nn.Linear(2, 2).state_dict()
    new = bridge.to("jax", state)
    assert type(new) is type(state)
    assert list(new) == list(state)


@pytest.mark.parametrize("recorded", [False, True])
def test_a_long_nest(recorded: bool):
    """A thousand leaves: all converted, one receipt for each."""
    leaves = [counting((4,)) for _ in range(1000)]
    if not recorded:
        assert len(bridge.to("torch", leaves)) == 1000
        return
    with bridge.record() as log:
        bridge.to("torch", leaves)
    assert len(log) == 1000
    assert log.bytes_copied == 0


def test_mixed_frameworks_in_one_nest():
    import torch

    nest = [counting((2,)), torch.ones(2), bridge.ones((2,)), 3, 2.5, True, 1j]
    new = bridge.to("numpy", nest)
    assert [type(leaf) for leaf in new] == [np.ndarray] * 7
    assert [leaf.dtype.name for leaf in new[3:]] == ["int32", "float32", "bool", "complex64"]


@pytest.mark.parametrize(
    ("number", "dtype"),
    [(3, "int32"), (2**31, "int64"), (-(2**40), "int64"), (2**63, "uint64"), (0.1, "float32"), (True, "bool")],
)
def test_a_number_takes_the_default_dtype_that_holds_it(number: Any, dtype: str):
    array = bridge.to("numpy", number)
    assert array.dtype.name == dtype
    assert array.shape == ()
    assert array.flags.writeable
    assert array.item() == np.array(number, dtype).item()
    assert bridge.from_(number).dtype.name == dtype


def test_a_number_of_a_given_dtype():
    assert bridge.to("torch", 0.1, dtype="float64").item() == 0.1
    assert bridge.from_(7, dtype="float16").dtype is bridge.float16
    with pytest.raises(DTypeError, match="uint8 holds 256"):
        bridge.to("numpy", 256, dtype="uint8")
    with pytest.raises(DTypeError, match="no integer dtype holds"):
        bridge.to("numpy", 2**64)
    with pytest.raises(CopyRequired, match="Python number has no memory"):
        bridge.to("numpy", 1.5, copy=False)


def test_what_is_no_array():
    for value in ("text", object(), {1, 2}, None, len):
        with pytest.raises(BridgeError, match="is no array"):
            bridge.to("numpy", value)


def test_asarray_reads_a_list_as_one_array():
    """And everything else as `from_` does."""
    assert bridge.asarray([[1, 2], [3, 4]]).shape == (2, 2)
    assert bridge.asarray([1, 2], bridge.float16).dtype is bridge.float16
    assert bridge.asarray(2.5).item() == 2.5
    with pytest.raises(CopyRequired, match="a list of numbers has no memory"):
        bridge.asarray([1, 2], copy=False)
    x = counting((4,))
    assert address(bridge.asarray(x)) == address(x)
    assert bridge.asarray(np.zeros(3)).dtype is bridge.float64
    with pytest.raises(CopyRequired, match=r"\[bridge\.asarray\]"):
        bridge.asarray(np.zeros(3, ">f4"), copy=False)


def test_a_readonly_import_is_a_promise():
    """What reads it stays lazy, although the owner could write."""
    from bridge.core import _native

    x = counting((4,))
    assert _native.frozen_reason(bridge.asarray(x)) is not None
    assert _native.frozen_reason(bridge.asarray(x, readonly=True)) is None
    assert _native.frozen_reason(bridge.from_(x, readonly=True)) is None
