"""Packages: frameworks in one process, versions that differ, capsules without an object, and older protocols."""

from __future__ import annotations

import inspect
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from cases.case import Case
from dlpack import capsules
from exchange.arrays import FOREIGN, address, counting, make, values
from isolated import run_code

import bridge

CASES = (
    Case(
        "K01",
        "torch, jax and TensorFlow in one process crash in some orders of import.",
        "bridge imports no framework before it is named; each order of imports is tried in a process of its own.",
        ("pytorch/pytorch#97635", "jax-ml/jax#15624", "lightgbm-org/LightGBM#6595"),
    ),
    Case(
        "K02",
        "Names that ml_dtypes dropped or had not yet broke the import of other packages.",
        "Its dtypes are looked up one by one: what a version lacks is unknown, the rest works.",
        ("jax-ml/ml_dtypes#101", "jax-ml/jax#17693", "jax-ml/jax#26624"),
    ),
    Case(
        "K03",
        "torch says 'Numpy is not available' where its build does not fit the installed NumPy.",
        "Between torch, jax, TensorFlow and the engine nothing goes through torch's bridge to NumPy, "
        "and to and from NumPy there is another door.",
        ("pytorch/pytorch#132179", "securefederatedai/openfederatedlearning#999"),
    ),
    Case(
        "K04",
        "NumPy and JAX take objects only, TensorFlow capsules only.",
        "A raw capsule of either kind is a source for every target, used up once; every array of the engine gives one.",
        ("Astera-org/simplexity#70", "wjakob/nanobind#729", "cupy/cupy#8703"),
    ),
    Case(
        "K05",
        "A versioned capsule is refused by TensorFlow and crashes a DSL, which know the old structure only.",
        "A versioned capsule is given only to who asks for one; what comes versioned reaches TensorFlow all the same.",
        ("NVIDIA/cutlass#3359",),
    ),
    Case(
        "K07",
        "The exchange table changed its name and its type within two months.",
        "The final name alone is looked for; a missing, odd or foreign attribute means the public door.",
        ("PaddlePaddle/Paddle#76828", "pytorch/pytorch#169724", "dmlc/dlpack#179"),
    ),
    Case(
        "K08",
        "NumPy 2 warns of every __array__ without a copy argument, and then fails.",
        "bridge.array has __array__(dtype=None, copy=None); sources with an older one are asked in their way.",
        ("numpy/numpy#25941", "numpy/numpy#26142"),
    ),
)

EVERYONE = (*FOREIGN, "bridge")

IN_ORDER = """
import sys
import bridge
assert not {{"torch", "jax", "tensorflow"}} & set(sys.modules)
{imports}
import numpy as np
x = np.arange(12, dtype=np.float32).reshape(3, 4)
for first in ("torch", "jax", "tensorflow", "bridge"):
    a = bridge.to(first, x)
    for second in ("tensorflow", "jax", "torch", "numpy", "bridge"):
        b = bridge.to("numpy", bridge.to(second, a, readonly=True))
        assert b.tolist() == x.tolist(), (first, second)
import torch, jax.numpy as jnp, tensorflow as tf
assert float(torch.ones(64, 64).matmul(torch.ones(64, 64))[0, 0]) == 64
assert float(jnp.ones((64, 64)).dot(jnp.ones((64, 64)))[0, 0]) == 64
assert float(tf.matmul(tf.ones((64, 64)), tf.ones((64, 64)))[0, 0]) == 64
print("survived")
"""


@pytest.mark.parametrize(
    "order",
    [("torch", "jax", "tensorflow"), ("tensorflow", "torch", "jax"), ("jax", "tensorflow", "torch"), ()],
    ids=["torch first", "tensorflow first", "jax first", "bridge imports them"],
)
def test_K01_every_framework_may_come_first(order: tuple[str, ...]):
    """Imports in this order, then every pair through every framework, then a product in each of them."""
    done = run_code(IN_ORDER.format(imports="\n".join(f"import {name}" for name in order)))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("survived")


WITHOUT_NAMES = """
import ml_dtypes
for name in [name for name in dir(ml_dtypes) if name.startswith(("float", "int", "uint"))]:
    delattr(ml_dtypes, name)
import numpy as np, bridge
x = np.arange(4, dtype=np.float32)
assert bridge.to("numpy", bridge.from_(x)).tolist() == x.tolist()
half = bridge.from_(x, dtype="bfloat16")
assert np.asarray(half).dtype == ml_dtypes.bfloat16
assert bridge.to("numpy", x.astype(np.int64)).dtype == np.int64
try:
    bridge.to("numpy", x, dtype="float8_e5m2")
except bridge.DTypeError as error:
    assert "float8_e5m2" in str(error), error
else:
    raise AssertionError("float8_e5m2 is not there")
print("survived")
"""


def test_K02_an_ml_dtypes_without_the_newest_names():
    """Nothing but bfloat16 is left in it: import and conversions work, the others are a DTypeError."""
    done = run_code(WITHOUT_NAMES)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("survived")


def test_K02_the_version_is_not_pinned():
    """The requirement has a lower bound only."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        wanted = [line for line in requires("bridge-arrays") or [] if line.startswith("ml_dtypes")]
    except PackageNotFoundError:  # built in place
        wanted = ["ml_dtypes>=0.5"]
    assert wanted
    assert not any(sign in line for line in wanted for sign in ("==", "<", "~="))


NO_NUMPY_IN_TORCH = """
import numpy as np, torch
def broken(*arguments, **keywords):
    raise RuntimeError("Numpy is not available")
torch.from_numpy = torch.Tensor.numpy = torch.Tensor.__array__ = broken
import bridge
for dtype in (torch.float32, torch.bfloat16, torch.bool, torch.int16):
    x = torch.ones(16, dtype=dtype)
    for target in ("jax", "tensorflow", "bridge", "numpy"):
        for options in ({}, {"copy": True}, {"dtype": "float32"}):
            there = bridge.to(target, x, **options)
            back = bridge.to("torch", there)
            wanted = x.to(torch.float32) if "dtype" in options else x
            assert back.dtype == wanted.dtype and torch.equal(back, wanted), (dtype, target, options)
    assert torch.equal(bridge.to("torch", bridge.to("bridge", x.reshape(4, 4).T)), x.reshape(4, 4).T)
assert bridge.to("torch", np.arange(4, dtype=">i4")).tolist() == [0, 1, 2, 3]
assert bridge.to("numpy", torch.tensor([1j]).conj()).tolist() == [-1j]
print("survived")
"""


def test_K03_torch_without_its_numpy():
    """Its own calls to NumPy all fail, as with a build for another NumPy; every conversion works."""
    done = run_code(NO_NUMPY_IN_TORCH)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("survived")


@pytest.mark.parametrize(("source", "target"), list(permutations(("torch", "jax", "tensorflow", "bridge"), 2)))
def test_K03_the_route_avoids_numpy(source: str, target: str):
    """The plan names a door of DLPack, for a share and for a copy."""
    x = make(source)
    for options in ({"readonly": True}, {"readonly": True, "copy": True}):
        assert bridge.explain(target, x, **options).route in ("exchange", "direct", "capsule", "dlpack")


def capsule_of(x: Any, *, versioned: bool) -> Any:
    return x.__dlpack__(max_version=(1, 0)) if versioned else x.__dlpack__()


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize("target", EVERYONE)
def test_K04_a_raw_capsule_reaches_every_framework(target: str, versioned: bool):
    """Of both kinds, shared; its memory lives as long as the result."""
    x = counting((3, 4))
    capsule = capsule_of(x, versioned=versioned)
    result = bridge.to(target, capsule)
    wanted, where = x.tolist(), address(x)
    del x, capsule
    assert address(result) == where
    assert values(result) == wanted


@pytest.mark.parametrize("target", EVERYONE)
def test_K04_a_capsule_is_used_once(target: str):
    """explain leaves it as it is; a conversion takes it, and a second one is refused in words."""
    capsule = capsule_of(counting((3,)), versioned=True)
    assert bridge.explain(target, capsule).shared
    assert capsules.name(capsule) == b"dltensor_versioned"
    assert values(bridge.to(target, capsule)) == [0, 1, 2]
    assert capsules.name(capsule) == b"used_dltensor_versioned"
    with pytest.raises(bridge.ExchangeError, match="can be used once"):
        bridge.to(target, capsule)


def test_K04_a_copy_uses_the_capsule_up_as_well():
    """Its deleter has run when the call returns."""
    forged = capsules.Forged(shape=(2, 3))
    copied = bridge.to("numpy", forged.capsule(), copy=True)
    assert copied.shape == (2, 3)
    assert forged.deleted == 1


def test_K04_a_refused_capsule_stays_unused():
    """What could not be converted can go elsewhere."""
    x = counting((4, 6))[:, ::2]
    capsule = capsule_of(x, versioned=True)
    with pytest.raises(bridge.CopyRequired, match="row-major"):
        bridge.to("tensorflow", capsule, copy=False)
    assert bridge.to("numpy", capsule).tolist() == x.tolist()


def test_K04_what_is_no_dlpack_capsule():
    """A capsule of something else, by its name."""
    import datetime

    with pytest.raises(bridge.ExchangeError, match="does not hold a DLPack tensor"):
        bridge.from_(datetime.datetime_CAPI)


def test_K04_the_other_direction():
    """Every array gives a capsule that a framework takes: TensorFlow wants nothing else."""
    import tensorflow as tf

    a = bridge.arange(16, dtype=bridge.float32)
    assert tf.experimental.dlpack.from_dlpack(a.__dlpack__()).numpy().tolist() == a.tolist()


def test_K05_a_versioned_capsule_is_given_to_who_asks():
    """No max_version: the old structure; 1.0 or later: the new one; a later major: still one that 1.x explains."""
    a = bridge.ones((3,))
    given = {
        wanted: capsules.name(a.__dlpack__(max_version=wanted)) for wanted in (None, (0, 8), (1, 0), (1, 9), (2, 0))
    }
    assert given.pop(None) == given.pop((0, 8)) == b"dltensor"
    assert set(given.values()) == {b"dltensor_versioned"}


@pytest.mark.parametrize("source", ["numpy", "torch", "bridge", "exporter", "capsule"])
def test_K05_what_comes_versioned_reaches_tensorflow(source: str):
    """Which reads legacy capsules only; shared where the address allows it, read-only sources too."""
    x = counting((4, 4))
    x.flags.writeable = source not in ("numpy", "exporter")

    class Exporter:
        def __dlpack__(self, *, max_version: Any, **_: Any) -> Any:
            return x.__dlpack__(max_version=max_version)

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    array = {
        "numpy": lambda: x,
        "torch": lambda: bridge.to("torch", x),
        "bridge": lambda: bridge.from_(x, readonly=True),
        "exporter": Exporter,
        "capsule": lambda: capsule_of(x, versioned=True),
    }[source]()
    assert address(bridge.to("tensorflow", array, copy=False)) == address(x)


ODD_TABLES = """
import torch
torch.Tensor.__c_dlpack_exchange_api__ = 12345678  # the old name, an address: it must never be called
{change}
import numpy as np, bridge
x = torch.arange(16, dtype=torch.float32)
for via in (None, "dlpack"):
    a = bridge.to("bridge", x, via=via)
    assert a.tolist() == x.tolist()
    y = bridge.to("torch", a, via=via)
    assert y.data_ptr() == x.data_ptr() and torch.equal(x, y)
plan = bridge.explain("torch", a)
assert plan.shared and plan.route == "{route}", plan
print("survived")
"""

TABLES = {
    "as it is": ("", "exchange"),
    "absent": ("del torch.Tensor.__dlpack_c_exchange_api__", "dlpack"),
    "an integer": ("torch.Tensor.__dlpack_c_exchange_api__ = 12345678", "dlpack"),
    "a capsule of something else": (
        "import datetime; torch.Tensor.__dlpack_c_exchange_api__ = datetime.datetime_CAPI",
        "dlpack",
    ),
    "None": ("torch.Tensor.__dlpack_c_exchange_api__ = None", "dlpack"),
    "another framework's": (
        "import bridge; torch.Tensor.__dlpack_c_exchange_api__ = bridge.array.__dlpack_c_exchange_api__",
        "dlpack",
    ),
}


@pytest.mark.parametrize("table", TABLES)
def test_K07_the_exchange_table_may_be_missing_or_odd(table: str):
    """The public door shares as well, and the plan names the door that is taken."""
    change, route = TABLES[table]
    done = run_code(ODD_TABLES.format(change=change, route=route))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("survived")


def test_K08_the_signature_is_that_of_numpy_2():
    """`__array__(dtype=None, copy=None)`, by position and by name, without a warning."""
    a = bridge.arange(3, dtype=bridge.float32)
    parameters = inspect.signature(bridge.array.__array__).parameters
    assert [name for name in parameters if name != "self"] == ["dtype", "copy"]
    assert a.__array__().tolist() == [0, 1, 2]
    assert a.__array__(np.float64).dtype == np.float64
    assert a.__array__(dtype=None, copy=True).ctypes.data != address(a)
    assert a.__array__(copy=False).ctypes.data == address(a)


class OldStyle:
    """`__array__` as it was before NumPy 2."""

    def __array__(self, dtype: Any = None) -> np.ndarray:
        return np.arange(3.0) if dtype is None else np.arange(3.0).astype(dtype)


def test_K08_an_object_with_array_alone_is_told_the_way():
    """Whether it would share is not known, so the user says it: the fix of the error works, without a warning."""
    x = OldStyle()
    with pytest.raises(bridge.BridgeError, match=r"is no array.*\n(.*\n)*.*fix:  numpy\.asarray\(x\)"):
        bridge.to("torch", x)
    assert bridge.to("torch", np.asarray(x)).tolist() == [0, 1, 2]
