"""The shortcut of a plain call does what the readable path does: same outcome, memory, rights and errors."""

from __future__ import annotations

from itertools import product
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from exchange.arrays import address, aligned, counting, make, values

import bridge
from bridge.core.registry import registry

EVERYONE = ("numpy", "torch", "jax", "tensorflow", "bridge")
LEARNED = [
    (source, target)
    for source, target in product(EVERYONE, EVERYONE)
    if source != target and (source, target) not in {("jax", "torch"), ("tensorflow", "torch")}
]


def learn(source: str, target: str) -> None:
    bridge.to(target, make(source))


def plainly(target: str, array: Any) -> Any:
    """By the shortcut, if there is one."""
    assert not registry.watched
    return bridge.to(target, array)


def readably(target: str, array: Any) -> Any:
    with bridge.record():
        return bridge.to(target, array)


def rights(array: Any) -> Any:
    return array.flags.writeable if isinstance(array, np.ndarray) else None


def outcome(convert: Any, target: str, build: Any) -> Any:
    """What can be seen of one conversion: shared or not, values, rights; or the class and text of the error."""
    array = build()
    try:
        result = convert(target, array)
    except bridge.BridgeError as error:
        return type(error), str(error).splitlines()[0]
    try:
        shared = address(result) == address(array)
    except (AttributeError, RuntimeError, TypeError):  # a scalar; a sparse tensor; a variable
        shared = None
    seen = bridge.core._native.facts(result)[5] if target == "bridge" else rights(result)
    return shared, values(result), str(result.dtype), tuple(result.shape), seen


def numpy_arrays() -> dict[str, Any]:
    def frozen() -> np.ndarray:
        array = counting((4,))
        array.flags.writeable = False
        return array

    return {
        "dense": lambda: counting((3, 4)),
        "bfloat16": lambda: counting((3, 4), "bfloat16"),
        "reversed": lambda: counting((4,))[::-1],
        "reversed axis of one": lambda: counting((1, 4))[::-1],
        "strided": lambda: counting((8,))[::2],
        "transposed": lambda: counting((3, 4)).T,
        "repeated": lambda: np.lib.stride_tricks.as_strided(counting((4,)), (3, 4), (0, 4)),
        "read-only": frozen,
        "broadcast": lambda: np.broadcast_to(counting((4,)), (3, 4)),
        "empty": lambda: counting((0, 4)),
        "no axes": lambda: counting(()),
        "unaligned": lambda: aligned((4,), shift=16),
        "odd address": lambda: aligned((4,), shift=1),
        "big-endian": lambda: np.arange(4, dtype=">f4"),
        "object": lambda: np.array([None]),
        "structured field": lambda: np.zeros(4, [("a", "f4"), ("b", "i1")])["a"],
        "float64": lambda: counting((4,), np.float64),
        "int4": lambda: np.zeros(4, ml_dtypes.int4),
        "scalar": lambda: np.float32(3),
        "masked": lambda: np.ma.array([1.0, 2.0], mask=[0, 1]),
    }


def torch_tensors() -> dict[str, Any]:
    import torch

    return {
        "dense": lambda: torch.arange(12.0).reshape(3, 4),
        "bfloat16": lambda: torch.ones(4, dtype=torch.bfloat16),
        "strided": lambda: torch.arange(8.0)[::2],
        "transposed": lambda: torch.arange(12.0).reshape(3, 4).T,
        "expanded": lambda: torch.arange(4.0).expand(3, 4),
        "parameter": lambda: torch.nn.Parameter(torch.ones(4)),
        "requires grad": lambda: torch.ones(4, requires_grad=True),
        "conjugate": lambda: torch.tensor([1j, 2]).conj(),
        "negative": lambda: torch.tensor([1j, 2]).conj().imag,
        "sparse": lambda: torch.eye(3).to_sparse(),
        "meta": lambda: torch.zeros(3, device="meta"),
        "empty": lambda: torch.zeros(0, 4),
        "float8": lambda: torch.zeros(4, dtype=torch.float8_e5m2),
        "odd address": lambda: torch.frombuffer(bytearray(17), dtype=torch.float32, offset=1),
    }


def bridge_arrays() -> dict[str, Any]:
    def shared() -> Any:
        base = bridge.arange(4, dtype=bridge.float32)
        bridge.eval(base)
        array = base[:]
        KEPT.append(base)
        return array

    def opened() -> Any:
        array = bridge.arange(4, dtype=bridge.float32)
        KEPT.append(np.asarray(array))
        return array

    def frozen() -> Any:
        array = bridge.arange(4, dtype=bridge.float32)
        KEPT.append(bridge.to("numpy", array, readonly=True))
        return array

    return {
        "dense": lambda: bridge.arange(12, dtype=bridge.float32).reshape(3, 4),
        "lazy": lambda: bridge.ones((4,)) + 1,
        "bfloat16": lambda: bridge.ones((4,), dtype=bridge.bfloat16),
        "reversed": lambda: bridge.arange(4, dtype=bridge.float32)[::-1],
        "strided": lambda: bridge.arange(8, dtype=bridge.float32)[::2],
        "transposed": lambda: bridge.arange(12, dtype=bridge.float32).reshape(3, 4).T,
        "broadcast": lambda: bridge.broadcast_to(bridge.arange(4, dtype=bridge.float32), (3, 4)),
        "offset": lambda: bridge.arange(8, dtype=bridge.float32)[1:],
        "float64": lambda: bridge.ones((4,), dtype=bridge.float64),
        "empty": lambda: bridge.zeros((0, 4)),
        "shared storage": shared,
        "open": opened,
        "frozen": frozen,
        "imported": lambda: bridge.from_(counting((4,))),
        "imported read-only": lambda: bridge.from_(counting((4,)), readonly=True),
    }


KEPT: list[Any] = []  # what must outlive the making of an array; emptied by each test


def others() -> dict[str, dict[str, Any]]:
    import jax
    import jax.numpy as jnp
    import tensorflow as tf
    import torch

    return {
        "jax": {
            "dense": lambda: jnp.arange(12.0).reshape(3, 4),
            "bfloat16": lambda: jnp.ones(4, jnp.bfloat16),
            "permuted": lambda: jax.dlpack.from_dlpack(torch.arange(12.0).reshape(3, 4).T),
            "key": lambda: jax.random.key(0),
        },
        "tensorflow": {
            "dense": lambda: tf.reshape(tf.range(12.0), (3, 4)),
            "bfloat16": lambda: tf.ones(4, tf.bfloat16),
            "string": lambda: tf.constant(["a"]),
            "variable": lambda: tf.Variable(tf.ones(4)),
        },
    }


def arrays(source: str) -> dict[str, Any]:
    if source == "numpy":
        return numpy_arrays()
    if source == "torch":
        return torch_tensors()
    return bridge_arrays() if source == "bridge" else others()[source]


@pytest.mark.parametrize(("source", "target"), LEARNED)
def test_shortcut_and_readable_path_agree(source: str, target: str):
    """For every strange array of the source, after the pair has been learned from a plain one."""
    learn(source, target)
    for name, build in arrays(source).items():
        wanted = outcome(readably, target, build)
        assert outcome(plainly, target, build) == wanted, f"{source} -> {target}: {name}"
        KEPT.clear()


def test_the_pairs_that_are_hot_have_shortcuts():
    """Those with the engine on one side, and NumPy with torch."""
    for source, target in product(EVERYONE, EVERYONE):
        if source == target or "bridge" not in (source, target):
            continue
        if (source, target) != ("bridge", "bridge"):
            learn(source, target)
            kinds = {registry.framework_of(kind).name for kind in registry.row(target)}
            assert source in kinds, f"{source} -> {target}"


def test_subclasses_take_the_readable_path():
    """What a subclass means is not known: np.matrix, masked arrays and fake tensors are looked at each time."""
    bridge.from_(np.zeros(3))
    bridge.from_(np.ma.array([1.0, 2.0])[:0].data)
    assert np.matrix not in registry.row("bridge")
    bridge.from_(np.zeros((2, 2)).view(np.matrix))
    assert np.matrix not in registry.row("bridge")


def test_fast_doors_pass_their_probe_here():
    """And where a probe fails, the public door gives the same."""
    from bridge.plugins import jax, torch

    assert torch.exchange_api() is not None
    assert jax.buffer_maker() is not None
    assert jax.capsule_maker() is not None


@pytest.mark.parametrize("door", ["torch.exchange_api", "jax.buffer_maker", "jax.capsule_maker"])
def test_without_a_fast_door(door: str, monkeypatch: pytest.MonkeyPatch):
    """As before torch 2.10, or after a change in jaxlib: still shared, by the public calls."""
    from bridge.plugins import bridge as engine
    from bridge.plugins import jax, torch

    module, name = door.split(".")
    monkeypatch.setattr({"torch": torch, "jax": jax}[module], name, lambda: None)
    if hasattr(engine, name):
        monkeypatch.setattr(engine, name, lambda: None)
    for source, target in ((module, "bridge"), ("bridge", module), (module, "numpy"), ("numpy", module)):
        array = make(source)
        result = readably(target, array)
        assert address(result) == address(array)
        assert values(result) == values(array)
