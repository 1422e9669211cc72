"""Who may write, who sees it, and who was told: read-only stays read-only, and nothing immutable changes."""

from __future__ import annotations

import sys
from itertools import permutations, product

import numpy as np
import pytest
from cases.case import Case
from dlpack import capsules
from dlpack.capsules import IS_COPIED, READ_ONLY, Forged
from interop.memory_of import ADAPTERS, aligned_bytes
from memory.views import SIZE, address, fresh

import bridge
from bridge.core import _native

CASES = (
    Case(
        "A01",
        "A write to a tensor changes the read-only NumPy array that it was made of.",
        "Read-only memory is copied for torch, refused under `copy=False`, shared on the promise `readonly=True`.",
        ("pytorch/pytorch#5442", "pytorch/pytorch#44027", "data-apis/array-api#191"),
    ),
    Case(
        "A02",
        "torch warns of undefined behaviour whoever hands it read-only memory, reader or writer, once for all calls.",
        "Each call chooses, a copy or a promise, and neither warns.",
        ("pytorch/pytorch#47160", "pytorch/pytorch#175395", "pytorch/pytorch#178261"),
    ),
    Case(
        "A03",
        "A write to a tensor changes the immutable jax array that it was made of.",
        "As A01: an immutable source is copied for torch, refused, or shared on a promise.",
        ("jax-ml/jax#19123", "jax-ml/jax#40789"),
    ),
    Case(
        "A04",
        "A write to a tensor changes the immutable TensorFlow tensor that it was made of.",
        "As A01: an immutable source is copied for torch, refused, or shared on a promise.",
        ("tensorflow/tensorflow#33254",),
    ),
    Case(
        "A05",
        "A jax array changes with the NumPy array it was made of, or not, depending on size and alignment.",
        "Shared at any size where it can be, and said so: `source stays writable`; `copy=True` severs.",
        ("jax-ml/jax#37830",),
    ),
    Case(
        "A06",
        "jax refuses read-only NumPy arrays, which broadcasts and data frames are full of.",
        "Read-only memory goes to immutable targets as any other, and shares where its layout does.",
        ("jax-ml/jax#40789", "scverse/anndata#2561", "numpy/numpy#20742"),
    ),
    Case(
        "A07",
        "What comes out of `numpy.from_dlpack` is read-only whoever made it, and cannot be made writable.",
        "The result is writable exactly if the memory may be written, by DLPack as by any other way.",
        ("numpy/numpy#28599", "numpy/numpy#20337", "wjakob/nanobind#1122"),
    ),
    Case(
        "A08",
        "Whether a view sees an update of its array depends on which other views there are.",
        "All writable views of an array see its updates that keep shape and dtype, whatever else is alive.",
        ("ml-explore/mlx#3531", "ml-explore/mlx#714"),
    ),
    Case(
        "A09",
        "Writing to a view of a slice changes the array that it was cut from, although slices are values.",
        "A view is writable only while no other array shares the storage; of an open array, slices are copies.",
        ("ml-explore/mlx#2208", "ml-explore/mlx#466"),
    ),
    Case(
        "A10",
        "One write to a view of a broadcast changes every element.",
        "Memory that stands for several elements goes out read-only, or as a copy.",
        ("data-apis/array-api#24", "data-apis/array-api#420"),
    ),
    Case(
        "A11",
        "Nobody can tell from a call whether memory is shared: every constructor has a default of its own.",
        "One verb, three answers of `copy`, the same for all pairs; `explain` says beforehand what happens.",
        ("data-apis/array-api#921", "tensorflow/tensorflow#33254", "ray-project/ray#48961"),
    ),
    Case(
        "A13",
        "A consumer cannot know that the copy it was given is its own to write.",
        "bridge sets IS_COPIED on every copy it exports, and takes memory that comes with it as its own.",
        ("dmlc/dlpack#134", "dmlc/dlpack#136", "developmentseed/zarrista#108"),
    ),
)

COUNT = list(range(SIZE))


def numpy_read_only():
    x = aligned_bytes(4 * SIZE).view(np.float32)
    x[:] = COUNT
    x.flags.writeable = False
    return x


def numpy_writable():
    x = aligned_bytes(4 * SIZE).view(np.float32)
    x[:] = COUNT
    return x


def torch_tensor():
    import torch

    return torch.arange(SIZE, dtype=torch.float32)


def jax_array():
    import jax.numpy as jnp

    return jnp.arange(SIZE, dtype=jnp.float32)


def tensorflow_tensor():
    import tensorflow as tf

    return tf.range(SIZE, dtype=tf.float32)


def where(x) -> int:
    """The address of the first element."""
    if type(x) is bridge.array:
        return address(x)
    return ADAPTERS[type(x).__module__.split(".")[0].removesuffix("lib")].address(x)


def check_read_only_into_torch(x, *, via=None):
    """The three answers, by value, by address and by mutation; warnings are errors here."""
    copied = bridge.to("torch", x, via=via)
    assert copied.data_ptr() != where(x)
    copied[0] = 99
    assert np.asarray(x).tolist() == COUNT
    with pytest.raises(bridge.CopyRequired, match=r"(?s)read-only.*fix: +copy=None.*readonly=True"):
        bridge.to("torch", x, copy=False, via=via)
    for copy in (None, False):
        shared = bridge.to("torch", x, copy=copy, readonly=True, via=via)
        assert shared.data_ptr() == where(x)
        assert shared.tolist() == COUNT


@pytest.mark.parametrize("via", [None, "dlpack", "numpy", "buffer", "memoryview"])
def test_A01_read_only_numpy_into_torch(via):
    """Copied, refused, or shared on a promise, by every door."""
    check_read_only_into_torch(numpy_read_only(), via=via)


READ_ONLY_NUMPY = {
    "a view of writable memory": lambda: numpy_writable().view(),
    "of bytes": lambda: np.frombuffer(np.arange(SIZE, dtype=np.float32).tobytes(), np.float32),
    "a memory map": None,
    "of a jax array": lambda: np.asarray(jax_array()),
    "of a data frame's kind: a column": lambda: np.asfortranarray(np.outer(COUNT, [1, 2]).astype(np.float32))[:, 0],
}


@pytest.mark.parametrize("kind", READ_ONLY_NUMPY)
def test_A01_whatever_made_the_array_read_only(kind, tmp_path):
    """Views, bytes, files and other frameworks' memory: the flag counts, not its reason."""
    if kind == "a memory map":
        np.array(COUNT, np.float32).tofile(tmp_path / "x")
        x = np.memmap(tmp_path / "x", np.float32, "r")
    else:
        x = READ_ONLY_NUMPY[kind]()
    x.flags.writeable = False
    check_read_only_into_torch(x)


def test_A01_read_only_through_bridge_into_torch():
    """A detour through the engine makes nothing writable: what came in read-only goes out read-only."""
    x = numpy_read_only()
    a = bridge.from_(x, copy=False)
    check_read_only_into_torch(a)
    for view in (np.asarray(a), np.asarray(memoryview(a)), bridge.to("numpy", a)):
        assert view.ctypes.data == x.ctypes.data
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.flags.writeable = True
    assert not np.from_dlpack(a).flags.writeable  # which NumPy lets its users overrule


def test_A01_a_read_only_view_of_an_array_that_comes_back_grants_no_writes():
    """Made read-only on its way round: the array made of it gives read-only views, as long as the other one lives."""
    a = fresh()
    view = np.asarray(a)
    view.flags.writeable = False
    b = bridge.from_(view, copy=False)
    assert address(b) == address(a)
    for copy in (None, True):
        bridge.to("torch", b, copy=copy)[0] = 99
    with pytest.raises(bridge.CopyRequired, match="read-only"):
        bridge.to("torch", b, copy=False)
    with pytest.raises(bridge.CopyRequired, match="a writable view is alive"):
        bridge.to("numpy", b, copy=False)  # nor can it be read-only: the storage is open
    assert a.tolist() == b.tolist() == COUNT
    del view
    a += 1  # nobody looks from outside any more: two values
    assert b.tolist() == COUNT


@pytest.mark.parametrize("source", [numpy_read_only, jax_array, tensorflow_tensor])
def test_A02_neither_choice_warns(source, recwarn):
    """A copy and a promise, each made by its call; a thousand calls later they are as silent."""
    x = source()
    for via in (None, "dlpack"):
        bridge.to("torch", x, via=via)[0] = 1
        assert bridge.to("torch", x, readonly=True, via=via)[1] == 1
    assert np.asarray(x).tolist() == COUNT
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize("via", [None, "dlpack", "buffer", "memoryview"])
def test_A03_jax_into_torch(via):
    """The immutable array stays what it was."""
    check_read_only_into_torch(jax_array(), via=via)


def test_A03_jax_through_bridge_into_torch():
    """As directly: the engine knows that the memory is jax's."""
    x = jax_array()
    check_read_only_into_torch(bridge.from_(x, copy=False))
    assert np.asarray(x).tolist() == COUNT


@pytest.mark.parametrize("via", [None, "dlpack", "buffer", "memoryview"])
def test_A04_tensorflow_into_torch(via):
    """The immutable tensor stays what it was."""
    check_read_only_into_torch(tensorflow_tensor(), via=via)


def test_A04_tensorflow_through_bridge_into_torch():
    """As directly: the engine knows that the memory is TensorFlow's."""
    x = tensorflow_tensor()
    check_read_only_into_torch(bridge.from_(x, copy=False))
    assert x.numpy().tolist() == COUNT


WRITERS = {"numpy": numpy_writable, "torch": torch_tensor}


@pytest.mark.parametrize("target", ["jax", "tensorflow"])
@pytest.mark.parametrize("source", WRITERS)
def test_A05_a_writable_source_is_shared_and_the_receipt_says_so(source, target):
    """A write shows on the other side, a copy is severed; both are told, before and after."""
    x = WRITERS[source]()
    plan = bridge.explain(target, x)
    assert (plan.outcome, plan.rule, plan.why) == ("shared", "source-writable", "source stays writable")
    with bridge.record() as log:
        shared, copied = bridge.to(target, x), bridge.to(target, x, copy=True)
    assert [(receipt.outcome, receipt.why) for receipt in log] == [
        ("shared", "source stays writable"),
        ("copied", "copy=True asked for memory of its own"),
    ]
    assert where(shared) == where(x) != where(copied)
    x[3] = 77
    assert np.asarray(shared)[3] == 77
    assert np.asarray(copied)[3] == 3


@pytest.mark.parametrize("size", [1, 2, 3, 16, 17, 1000, 1 << 16, 1 << 20])
def test_A05_size_decides_nothing(size):
    """One element or a million: shared, every time."""
    x = aligned_bytes(4 * size).view(np.float32)
    for _ in range(3):
        assert bridge.to("jax", x, copy=False).unsafe_buffer_pointer() == x.ctypes.data


@pytest.mark.parametrize("target", ["jax", "tensorflow", "numpy", "bridge"])
def test_A06_read_only_numpy_into_immutable_targets(target):
    """Shared like any other memory, by the default and under copy=False."""
    x = numpy_read_only()
    for copy in (None, False):
        y = bridge.to(target, x, copy=copy)
        assert where(y) == where(x)
        assert np.asarray(y).tolist() == COUNT


@pytest.mark.parametrize("target", ["jax", "tensorflow"])
def test_A06_a_broadcast_into_immutable_targets(target):
    """Its layout needs a copy, which copy=False refuses with that reason, not with the flag."""
    x = np.broadcast_to(np.arange(SIZE, dtype=np.float32), (3, SIZE))
    assert np.asarray(bridge.to(target, x)).tolist() == [COUNT] * 3
    with pytest.raises(bridge.CopyRequired, match="strides"):
        bridge.to(target, x, copy=False)


def test_A06_a_read_only_view_is_only_as_quiet_as_its_base():
    """A read-only view of memory that somebody else can write: shared, and what is computed is of its time (S09)."""
    x = np.arange(4, dtype=np.float32)
    for view in (np.broadcast_to(x, (2, 4)), memoryview(x).toreadonly(), x[::2]):
        if isinstance(view, np.ndarray):
            view.flags.writeable = False
        for via in (None, "buffer", "dlpack", "memoryview", "address"):
            if via == "dlpack" and isinstance(view, memoryview):
                continue
            x[0] = 0
            a = bridge.from_(view, copy=False, via=via)
            early = a * 10
            x[0] = 100
            assert early.tolist() == (np.asarray(view) * 0 + np.array([0, 10, 20, 30])[:: 4 // a.shape[-1]]).tolist()
            assert a.flatten()[0].item() == 100
            assert not np.asarray(a).flags.writeable


def test_A06_a_read_only_array_that_is_the_only_way_to_its_memory_is_lazy():
    """Nobody can write: nothing needs to be computed early."""
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    x.flags.writeable = False
    for a in (bridge.from_(x), bridge.from_(np.broadcast_to(np.arange(4.0), (2, 4))), bridge.from_(b"abcd")):
        assert not _native.is_evaluated(a + a)


TO_NUMPY = {
    "bridge": (fresh, True),
    "bridge, shared storage": (lambda: fresh_with_slice(), False),
    "numpy": (numpy_writable, True),
    "numpy read-only": (numpy_read_only, False),
    "torch": (torch_tensor, True),
    "jax": (jax_array, False),
    "tensorflow": (tensorflow_tensor, False),
}
_slices = []


def fresh_with_slice():
    a = fresh()
    _slices.append(a[1:])
    bridge.eval(_slices)
    return a


@pytest.mark.parametrize("via", [None, "dlpack"])
@pytest.mark.parametrize("source", TO_NUMPY)
def test_A07_the_result_is_writable_exactly_if_the_memory_may_be_written(source, via):
    """And a write through it is seen by the source."""
    make, writable = TO_NUMPY[source]
    x = make()
    y = bridge.to("numpy", x, copy=False, via=via)
    assert y.ctypes.data == where(x)
    assert y.flags.writeable == writable
    if writable:
        y[2] = 55
        assert np.asarray(x)[2] == 55
    copied = bridge.to("numpy", x, copy=True, via=via)
    copied[0] = 1  # a copy is the caller's, whatever it was made of
    assert np.asarray(x)[0] == 0


def test_A07_numpys_own_verb_on_a_bridge_array():
    """np.from_dlpack honours what bridge says with the flag."""
    a = fresh()
    assert np.from_dlpack(a).flags.writeable
    part = a[1:]
    bridge.eval(part)
    assert not np.from_dlpack(a).flags.writeable
    assert np.from_dlpack(a, copy=True).flags.writeable


FRAMEWORKS = {
    "bridge": fresh,
    "numpy": numpy_writable,
    "torch": torch_tensor,
    "jax": jax_array,
    "tensorflow": tensorflow_tensor,
}
IMMUTABLE = ("jax", "tensorflow")


@pytest.mark.parametrize(("source", "target"), list(permutations(FRAMEWORKS, 2)))
def test_A11_one_verb_three_answers(source, target):
    """None shares where it can, False shares or raises, True never shares; explain says which before it happens."""
    shares = source not in IMMUTABLE or target != "torch"
    for copy in (None, False, True):
        x = FRAMEWORKS[source]()
        plan = bridge.explain(target, x, copy=copy)
        if copy is False and not shares:
            assert plan.outcome == "refused"
            with pytest.raises(bridge.CopyRequired, match=r"read-only|immutable"):
                bridge.to(target, x, copy=False)
            continue
        with bridge.record() as log:
            y = bridge.to(target, x, copy=copy)
        assert plan.outcome == log[0].outcome == ("shared" if shares and not copy else "copied")
        assert (where(x) == where(y)) == (plan.outcome == "shared")
        assert np.asarray(y).tolist() == COUNT


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_A11_within_a_framework_the_answers_are_the_same(framework):
    """To itself: the same object, or memory of its own."""
    x = FRAMEWORKS[framework]()
    assert bridge.to(framework, x) is x
    assert bridge.to(framework, x, copy=False) is x
    copied = bridge.to(framework, x, copy=True)
    assert where(copied) != where(x)
    assert np.asarray(copied).tolist() == COUNT


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_A11_a_copy_is_nobody_elses(framework):
    """After copy=True the source may go, or be written: the copy keeps its values."""
    for source, target in product((framework,), FRAMEWORKS):
        x = FRAMEWORKS[source]()
        y = bridge.to(target, x, copy=True)
        if source not in IMMUTABLE:
            x[...] = -1
        del x
        assert np.asarray(y).tolist() == COUNT


# A13


@pytest.mark.parametrize(
    "request_copy",
    [
        lambda a: a.__dlpack__(max_version=(1, 0), copy=True),
        lambda a: a.__dlpack__(max_version=(1, 0)),
    ],
    ids=["asked for", "needed"],
)
def test_A13_a_copy_is_exported_as_a_copy(request_copy):
    """IS_COPIED on memory that is not the array's; not on memory that is."""
    a = fresh()
    view = np.asarray(a)
    part = bridge.from_(view)[::2]  # a window of open memory ...
    frozen_out = bridge.broadcast_to(part, (2, SIZE // 2))  # ... that repeats itself: neither writable nor frozen
    capsule = request_copy(frozen_out)
    managed = capsules.read(capsule)
    assert managed.flags == IS_COPIED
    assert managed.tensor.data != address(frozen_out)
    capsule = fresh().__dlpack__(max_version=(1, 0))
    assert not capsules.read(capsule).flags & IS_COPIED


def test_A13_a_copy_that_comes_in_is_the_engines_own():
    """The producer made it for this consumer: lazy, handed on writable, updated where it stands, let go at the end."""
    forged = Forged((SIZE,), flags=IS_COPIED)
    a = bridge.from_dlpack(forged)
    assert not _native.is_evaluated(a + 1)
    view = bridge.to("numpy", a, copy=False)
    assert view.flags.writeable
    view[0] = 5
    a += 1
    assert (a[0].item(), view[0], address(a)) == (6.0, 6.0, forged.address)
    assert forged.deleted == 0
    del a, view
    assert forged.deleted == 1


def test_A13_both_flags_mean_read_only():
    """A copy that the producer wants to keep as it is."""
    a = bridge.from_dlpack(Forged((SIZE,), flags=IS_COPIED | READ_ONLY))
    assert not np.asarray(a).flags.writeable


def test_A13_a_copy_of_another_framework_is_nobodys_but_bridges():
    """numpy sets the flag, torch does not: a copy that bridge asked for can be written either way."""
    for x in (numpy_read_only(), torch_tensor()):
        a = bridge.from_dlpack(x, copy=True)
        view = np.asarray(a)
        view[0] = 50
        a += 1
        assert (a[0].item(), view[0], np.asarray(x)[0]) == (51.0, 51.0, 0.0)


def test_the_reference_counts_come_out_even():
    """All of the above in a loop leaves every source as it was."""
    for make in FRAMEWORKS.values():
        x = make()
        before = sys.getrefcount(x)
        for target, copy in product(FRAMEWORKS, (None, True)):
            bridge.to(target, x, copy=copy, readonly=True)
        assert sys.getrefcount(x) == before
