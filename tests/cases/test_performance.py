"""Cost, by structure: which calls are made for an array and for a nest. Times are measured in benchmarks/."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases.case import Case
from exchange.arrays import address, counting, make, values

import bridge
from bridge.core.registry import Registry, registry

CASES = (
    Case(
        "F01",
        "A small array costs a microsecond or more, because the protocol runs in Python.",
        "Plain conversions of the engine's arrays call no Python method of the protocol: torch's C table, "
        "jaxlib's and TensorFlow's own import, NumPy's buffer slot.",
        ("dmlc/dlpack#175", "data-apis/array-api#973"),
    ),
    Case(
        "F03",
        "Converting a tree of small arrays one by one costs more than the computation that follows.",
        "A whole nest is converted in one call, with one look-up for each type of array in it.",
        ("jax-ml/jax#16905",),
    ),
    Case(
        "F04",
        "torch.asarray of a JAX or MLX array goes by the buffer: a warning, and the wrong device for a GPU's memory.",
        "DLPack and the array's own table come first, no warning is raised, and the receipt names the door.",
        ("pytorch/pytorch#197532", "pytorch/pytorch#188784"),
    ),
)

HOT = [("bridge", "torch"), ("torch", "bridge"), ("bridge", "numpy"), ("numpy", "bridge"), ("numpy", "torch")]


def python_calls(action: Callable[[], object]) -> Counter[str]:
    """The Python functions that run during `action`, by name."""
    seen: Counter[str] = Counter()

    def watch(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            seen[frame.f_code.co_name] += 1

    sys.setprofile(watch)
    try:
        action()
    finally:
        sys.setprofile(None)
    return seen


@pytest.mark.parametrize(("source", "target"), HOT)
def test_F01_a_hot_pair_runs_no_python_method_of_the_protocol(source: str, target: str):
    """A hundred arrays, and not one `__dlpack__`, `__dlpack_device__`, `from_dlpack` or `__array__`."""
    arrays = [make(source) for _ in range(100)]
    bridge.to(target, make(source))  # the pair is learned from the first array
    results: list[Any] = []
    seen = python_calls(lambda: results.extend(bridge.to(target, array) for array in arrays))
    assert not {"__dlpack__", "__dlpack_device__", "from_dlpack", "__array__"} & set(seen)
    assert [address(result) for result in results] == [address(array) for array in arrays]


@pytest.mark.parametrize(("source", "target"), [pair for pair in HOT if "bridge" in pair])
def test_F01_between_the_engine_and_torch_or_numpy_runs_no_python_at_all(source: str, target: str):
    """The call goes from the public name to the C table or the buffer slot without a Python frame."""
    array = make(source)
    bridge.to(target, array)
    seen = python_calls(lambda: bridge.to(target, array))
    assert set(seen) <= {"<lambda>"}
    if target == "bridge":
        assert set(python_calls(lambda: bridge.from_(array))) <= {"<lambda>"}


@pytest.mark.parametrize("target", ["jax", "tensorflow"])
def test_F01_into_the_immutable_frameworks_runs_one_function(target: str):
    """bridge's own shortcut; nothing of jax's or TensorFlow's Python layer but what names its context."""
    array = make("bridge")
    bridge.to(target, array)
    seen = python_calls(lambda: bridge.to(target, array))
    assert not {"from_dlpack", "__dlpack__"} & set(seen)
    assert sum(seen.values()) <= 6, seen


def test_F03_a_type_is_looked_up_once_in_a_nest(monkeypatch: pytest.MonkeyPatch):
    """A thousand leaves of three types: the registry is asked about each type once, not about each leaf."""
    asked: Counter[type] = Counter()
    original = Registry.framework_of

    def counted(self: Registry, kind: type) -> Any:
        asked[kind] += 1
        return original(self, kind)

    leaves = [make(name) for name in ("numpy", "torch", "bridge") for _ in range(300)]
    bridge.to("torch", leaves[:1]), bridge.to("torch", leaves[-1])
    monkeypatch.setattr(Registry, "framework_of", counted)
    new = bridge.to("torch", {"layers": [leaves, (leaves[0],)]})
    assert len(new["layers"][0]) == 900
    assert max(asked.values()) <= 4, asked  # the first leaf of a type goes the readable path


def test_F03_the_leaves_of_a_nest_take_the_shortcut():
    """After the first array of a type, no route is chosen and no plan is made for its fellows."""
    leaves = [bridge.ones((4,)) + i for i in range(500)]
    bridge.to("torch", leaves[0])
    results: list[Any] = []
    seen = python_calls(lambda: results.append(bridge.to("torch", {"a": leaves[:250], "b": tuple(leaves[250:])})))
    assert seen["choose"] == seen["describe"] == 0
    assert results[0]["b"][-1].data_ptr() == address(leaves[-1])


@pytest.mark.parametrize("source", ["jax", "mlx", "tensorflow", "numpy"])
def test_F04_no_conversion_to_torch_warns(source: str):
    """Whatever the memory allows: a copy or a share, and never torch's warning about read-only buffers."""
    if source == "mlx":
        import mlx.core as mx

        array: Any = mx.arange(12, dtype=mx.float32).reshape(3, 4)
    else:
        array = make(source)
    if source == "numpy":
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert values(bridge.to("torch", array)) == np.arange(12.0).reshape(3, 4).tolist()
        assert values(bridge.to("torch", array, readonly=True)) == np.arange(12.0).reshape(3, 4).tolist()


@pytest.mark.parametrize(
    ("source", "doors"), [("jax", {"dlpack"}), ("tensorflow", {"dlpack"}), ("bridge", {"exchange"})]
)
def test_F04_the_door_into_torch_is_dlpack(source: str, doors: set[str]):
    """Not the buffer protocol; the plan says so."""
    assert bridge.explain("torch", make(source), readonly=source != "bridge").route in doors


def test_F04_there_is_no_shortcut_while_somebody_watches():
    """A recorder sees every conversion, so that its receipts are complete; nothing is slower without one."""
    array = counting((3,))
    bridge.to("torch", array)
    with bridge.record() as log:
        bridge.to("torch", array)
        assert registry.row("torch") == {}
    assert len(log) == 1
    assert registry.row("torch") != {}
