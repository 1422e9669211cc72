"""Nests are mapped leaf by leaf, numbers become arrays; `asarray` reads a list as one array instead."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass, field
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


# Containers of their own kind.


@dataclass
class Base:
    weight: Any


@dataclass(slots=True)
class Derived(Base):
    bias: Any = None
    total: Any = field(init=False)


@dataclass
class Counted:
    weight: Any
    calls: Any = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.calls += 1


class Labelled(list):
    """A list with an attribute, made from separate arguments."""

    def __init__(self, *items: Any, label: str) -> None:
        super().__init__(items)
        self.label = label


class Pair(tuple):
    """A tuple whose constructor takes its items one by one."""

    def __new__(cls, *items: Any) -> Pair:
        return super().__new__(cls, items)


class Twice(namedtuple("Twice", "a b")):
    """A namedtuple whose constructor takes fewer arguments than it has fields."""

    def __new__(cls, a: Any) -> Twice:
        return super().__new__(cls, a, a)


class Attributes(dict):
    """A dictionary whose keys are attributes."""

    def __init__(self, **items: Any) -> None:
        super().__init__(**items)
        self.__dict__ = self


class Mirrored(OrderedDict):
    """A dictionary that keeps each value as an attribute, too."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        setattr(self, key, value)


def test_containers_with_constructors_of_their_own():
    """None of them is called: the new container has the class, the attributes and the new items of the old one."""
    x = counting((3,))
    labelled, pair, twice = bridge.to("bridge", [Labelled(x, 2, label="a"), Pair(x, x), Twice(x)])
    assert (type(labelled), labelled.label, labelled[1].item()) == (Labelled, "a", 2)
    assert (type(pair), len(pair)) == (Pair, 2)
    assert (type(twice), twice.a.tolist(), twice.b.tolist()) == (Twice, [0, 1, 2], [0, 1, 2])


def test_dictionaries_whose_keys_are_attributes():
    """Both ways to read a value give the new one; a Counter counts nothing."""
    x = counting((3,))
    mirrored = Mirrored()
    mirrored["a"] = x
    for new in (bridge.to("torch", Attributes(a=x)), bridge.to("torch", mirrored)):
        assert new.a is new["a"]
        assert new.a.data_ptr() == address(x)
    assert bridge.to("numpy", Counter(a=3))["a"].item() == 3


def test_dataclasses_by_inheritance_slots_and_fields_without_init():
    """Every field that has a value is converted, __post_init__ is not run again, what has none has none."""
    x = counting((3,))
    derived = Derived(x, x)
    new = bridge.to("torch", derived)
    assert (type(new), new.weight.data_ptr(), new.bias.data_ptr()) == (Derived, address(x), address(x))
    assert not hasattr(new, "total")
    derived.total = x
    assert bridge.to("torch", derived).total.data_ptr() == address(x)
    assert bridge.to("numpy", Counted(x)).calls.item() == 1
    assert derived.weight is x


def test_results_of_torch_that_are_tuples():
    """torch.return_types come back as themselves."""
    import torch

    found = torch.max(torch.arange(6.0).reshape(2, 3), dim=1)
    new = bridge.to("numpy", found)
    assert (type(new), new.values.tolist(), new.indices.tolist()) == (type(found), [2, 5], [2, 2])


def test_nests_without_leaves():
    """Empty containers and None are there afterwards."""
    nest = {"a": [], "b": (), "c": {}, "d": [None, [None]], "e": Batch([], {})}
    assert bridge.to("jax", nest) == nest
    assert bridge.to("jax", []) == []
    assert len(bridge.explain("jax", nest)) == 0


def test_a_leaf_that_is_no_array_says_where_it_stands():
    """Text among arrays: nothing is half converted, and the note names the place."""
    with pytest.raises(BridgeError, match=r"str is no array(.|\n)*leave it out") as caught:
        bridge.to("torch", {"x": [counting((2,)), {"name": "text"}]})
    assert caught.value.__notes__ == ["  at:   x['x'][1]['name']"]


@pytest.mark.parametrize("build", ["list", "dict", "tuple", "dataclass"])
def test_a_nest_that_contains_itself(build: str):
    """An error with the place, by to and by explain; not a recursion without end."""
    inner: list[Any] = [counting((2,))]
    nest = {"list": inner, "dict": {"k": inner}, "tuple": (inner,), "dataclass": Layer(inner, None)}[build]
    inner.append(nest)
    for verb in (bridge.to, bridge.explain):
        with pytest.raises(BridgeError, match="contains itself") as caught:
            verb("torch", nest)
        assert caught.value.__notes__[0].startswith("  at:   x")


def test_a_nest_deeper_than_any_stack():
    """A hundred thousand lists in one another."""
    x = counting((3,))
    nest: Any = x
    for _ in range(100_000):
        nest = [nest]
    new = bridge.to("torch", nest)
    for _ in range(100_000):
        (new,) = new
    assert new.data_ptr() == address(x)


@pytest.mark.parametrize("options", [{}, {"copy": True}, {"dtype": "float16"}])
def test_an_array_that_stands_twice_is_converted_once(options: dict[str, Any]):
    """Tied weights stay tied, also where they are copied; and so does a container."""
    x = counting((8,))[::2]  # which jax cannot share
    shared = [x]
    with bridge.record() as log:
        new = bridge.to("jax", {"a": x, "b": (x,), "c": shared, "d": shared}, **options)
    assert new["a"] is new["b"][0] is new["c"][0]
    assert new["c"] is new["d"]
    assert len(log) == 1


def test_equal_numbers_are_arrays_of_their_own():
    """Writing into one zero leaves the other: they were one object only for Python."""
    first, second = bridge.to("torch", [0, 0])
    first += 1
    assert second.item() == 0
    scalar = np.float32(1)
    first, second = bridge.to("torch", [scalar, scalar])
    first += 1
    assert second.item() == 1


def test_a_container_that_cannot_be_made_anew():
    """Its own error is in the text, and where it stands."""

    class Sealed(dict):
        def __setitem__(self, key: Any, value: Any) -> None:
            raise RuntimeError("sealed")

    with pytest.raises(BridgeError, match=r"Sealed cannot be made anew: RuntimeError: sealed(.|\n)*one by one"):
        bridge.to("torch", [Sealed(a=counting((2,)))])
