"""Doors: the private ones are tried before they are trusted, the public ones are there by name, and memory of another
device passes through the hands of the exchange untouched."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from dlpack import capsules
from dlpack.capsules import CUDA, Forged
from exchange.arrays import FOREIGN, address, counting, make, values

import bridge
from bridge import hookimpl
from bridge.core.errors import BridgeError, CopyRequired, ExchangeError
from bridge.core.framework import Door, Facts, Framework, Offer, Source, doors_between
from bridge.core.registry import registry
from bridge.plugins import jax as jax_plugin
from bridge.plugins import tensorflow as tensorflow_plugin
from bridge.plugins import torch as torch_plugin

EVERYONE = (*FOREIGN, "bridge")

# ------------------------------------------------------------------------------------------------ private doors, broken

PROBES = (
    jax_plugin.buffer_maker,
    jax_plugin.capsule_maker,
    tensorflow_plugin.tensor_maker,
    tensorflow_plugin.dlpack_works,
    torch_plugin.exchange_api,
    torch_plugin.numpy_works,
)


def forget() -> None:
    """As before the first conversion: no probe has run, no shortcut has been learned."""
    for probe in PROBES:
        probe.cache_clear()
    registry._settle()


@pytest.fixture
def untried() -> Iterator[None]:
    for name in FOREIGN:
        make(name)  # the frameworks are imported and whole
    forget()
    yield
    forget()


def raising(*_: Any, **__: Any) -> Any:
    raise RuntimeError("changed in this version")


def something_else(*_: Any, **__: Any) -> Any:
    """What is neither a capsule nor an array."""
    return 42


def other_values(name: str) -> Callable[..., Any]:
    """A function that returns what the door returns, with values that are not those it was given."""
    import jax.numpy as jnp
    import tensorflow as tf
    import torch

    made = {
        "dlpack_managed_tensor_to_buffer": lambda: jnp.zeros(16, jnp.int32),
        "buffer_to_dlpack_managed_tensor": lambda: np.zeros(16, np.int32).__dlpack__(),
        "TFE_FromDlpackCapsule": lambda: tf.zeros(16, tf.int32),
        "to_dlpack": lambda: np.zeros(16, np.int32).__dlpack__(),
        "from_dlpack": lambda: tf.zeros(16, tf.int32),
        "from_numpy": lambda: torch.zeros(16, dtype=torch.int32),
    }[name]
    return lambda *_, **__: made()


class Broken:
    """A module as bridge finds it: one function is another, or gone. The framework itself has the whole one."""

    def __init__(self, whole: Any, function: str, replacement: Any) -> None:
        self._whole, self._function, self._replacement = whole, function, replacement

    def __getattr__(self, name: str) -> Any:
        if name != self._function:
            return getattr(self._whole, name)
        if self._replacement is None:
            raise AttributeError(name)
        return self._replacement


INTO = ("numpy", "torch", "bridge")
PRIVATE = {
    # function -> where bridge finds it, pairs that use it, the door's name
    "dlpack_managed_tensor_to_buffer": ("jaxlib", "_jax", [(name, "jax") for name in INTO], "direct"),
    "buffer_to_dlpack_managed_tensor": ("jaxlib", "_jax", [("jax", "bridge")], "direct"),
    "TFE_FromDlpackCapsule": ("tensorflow.python", "pywrap_tfe", [(name, "tensorflow") for name in INTO], "capsule"),
    "to_dlpack": ("tensorflow.experimental", "dlpack", [("tensorflow", "bridge")], "capsule"),
    "from_dlpack": ("tensorflow.experimental", "dlpack", [("tensorflow", "bridge")], "capsule"),
    "from_numpy": (None, "torch", [("numpy", "torch")], "numpy"),
}


def break_it(function: str, replacement: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package, module, *_ = PRIVATE[function]
    if package is None:
        import torch

        monkeypatch.setattr(torch, function, replacement or raising)
        return
    parent = import_module("tensorflow").experimental if "experimental" in package else import_module(package)
    monkeypatch.setattr(parent, module, Broken(getattr(parent, module), function, replacement))


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("way", ["absent", "raises", "something else", "other values"])
@pytest.mark.parametrize("function", PRIVATE)
def test_a_broken_door_is_passed_over(function: str, way: str, monkeypatch: pytest.MonkeyPatch):
    """Whatever has become of it: shared all the same, the plan names another door, and via= says that it is shut."""
    replacement = {"absent": None, "raises": raising, "something else": something_else}.get(way, other_values(function))
    break_it(function, replacement, monkeypatch)
    *_, pairs, door = PRIVATE[function]
    for source, target in pairs:
        array = make(source)
        plan = bridge.explain(target, array)
        assert (plan.outcome, plan.route == door) == ("shared", False), (source, target)
        for _ in range(2):  # the second time by the shortcut, if there is one
            result = bridge.to(target, array)
            assert address(result) == address(array)
            assert values(result) == values(array)
        with pytest.raises(BridgeError, match=rf"door '{door}' of {target} does not work"):
            bridge.to(target, array, via=door)


@pytest.mark.usefixtures("untried")
def test_arrays_leave_jax_and_tensorflow_without_their_quick_ways(monkeypatch: pytest.MonkeyPatch):
    """Every target, when jaxlib's export and TensorFlow's capsules are broken."""
    break_it("buffer_to_dlpack_managed_tensor", raising, monkeypatch)
    break_it("to_dlpack", raising, monkeypatch)
    for source in ("jax", "tensorflow"):
        array = make(source)
        for target in EVERYONE:
            result = bridge.to(target, array, readonly=True)
            assert address(result) == address(array)
            assert values(result) == values(array)


@pytest.mark.usefixtures("untried")
def test_tensorflow_with_no_way_in_copies_and_says_so(monkeypatch: pytest.MonkeyPatch):
    """Neither capsule door works: the buffer is copied, and copy=False is refused."""
    break_it("TFE_FromDlpackCapsule", raising, monkeypatch)
    break_it("from_dlpack", raising, monkeypatch)
    array = make("numpy")
    plan = bridge.explain("tensorflow", array)
    assert (plan.outcome, plan.route) == ("copied", "buffer")
    assert values(bridge.to("tensorflow", array)) == values(array)
    with pytest.raises(CopyRequired, match="always copies on 'buffer'"):
        bridge.to("tensorflow", array, copy=False)


@pytest.mark.usefixtures("untried")
def test_every_probe_passes_here():
    """Each private way works with the versions of this environment, so the tests of them test something."""
    for probe in PROBES:
        assert probe(), probe.__name__


# ------------------------------------------------------------------------------------------------- doors by their names


@pytest.mark.parametrize(("source", "target"), list(permutations(EVERYONE, 2)))
def test_every_door_is_there_by_its_name(source: str, target: str):
    """Forced by via=, each gives the same values; the receipt names it."""
    bridge.to(target, make(source))
    doors = [door.name for door, _ in doors_between(registry.frameworks[source], registry.frameworks[target])]
    assert "dlpack" in doors
    for via in doors:
        array = make(source)
        plan = bridge.explain(target, array, via=via)
        if plan.refused:  # a door for dtypes that no other carries
            assert plan.rule == "dtype-door"
            continue
        with bridge.record() as log:
            result = bridge.to(target, array, via=via)
        assert values(result) == values(array)
        assert (log[0].route, log[0].outcome) == (via, plan.outcome)


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize(("source", "target"), list(permutations(EVERYONE, 2)))
def test_the_door_called_dlpack_is_the_public_one(source: str, target: str, monkeypatch: pytest.MonkeyPatch):
    """With every private function broken after its probe, via="dlpack" shares."""
    bridge.to(target, make(source))
    array = make(source)
    monkeypatch.setattr(jax_plugin, "buffer_maker", lambda: raising)
    monkeypatch.setattr(jax_plugin, "capsule_maker", lambda: raising)
    monkeypatch.setattr(tensorflow_plugin, "tensor_maker", lambda: (raising, raising))
    monkeypatch.setattr(torch_plugin, "exchange_api", lambda: None)
    result = bridge.to(target, array, via="dlpack", readonly=True)
    assert address(result) == address(array)
    assert values(result) == values(array)


# -------------------------------------------------------------------------------------------------------- other devices


class Card:
    """An array of a framework whose memory lies on a card."""

    def __init__(self, forged: Forged) -> None:
        self.forged = forged
        self.asked: list[dict[str, Any]] = []

    def __dlpack__(self, **options: Any) -> Any:
        self.asked.append(options)
        if options.get("dl_device") == (1, 0):
            return counting((2, 3)).__dlpack__(max_version=(1, 0))
        return self.forged.capsule()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.forged.device


class Box:
    """An array of a framework that takes any capsule of any device and keeps it."""

    def __init__(self, capsule: Any, facts: Facts) -> None:
        self.capsule = capsule
        self.facts = replace(facts, framework="boxes")


CARDS = Framework(
    name="cards",
    module="numpy",
    install="",
    types=(f"{Card.__module__}.Card",),
    takes=(),
    gives=(Offer(protocol="dlpack"),),
    devices=True,
)
BOXES = Framework(
    name="boxes",
    module="numpy",
    install="",
    types=(f"{Box.__module__}.Box",),
    takes=(Door(name="dlpack", protocol="dlpack", host_only=False),),
    gives=(),
    devices=True,
)


class Plugin:
    @hookimpl
    def bridge_frameworks(self) -> list[Framework]:
        return [CARDS, BOXES]

    @hookimpl
    def bridge_import(self, framework: Framework, value: Any) -> Source | None:
        if framework is BOXES:
            return Source(value, value.facts)
        if framework is not CARDS:
            return None
        facts = Facts(framework="cards", dtype="float32", shape=(2, 3), strides=(3, 1), address=64, device="cuda:0")
        return Source(value, facts)

    @hookimpl
    def bridge_export(self, framework: Framework, source: Source, route: Any) -> Any:
        return Box(source.exporter().__dlpack__(), source.facts) if framework is BOXES else None


class Stranger(Card):
    """The same memory from a framework that nobody declared."""


@pytest.fixture
def plugin() -> Iterator[None]:
    added = Plugin()
    registry.register(added, "cards and boxes")
    yield
    registry.unregister(added)


def on_card(**options: Any) -> Forged:
    return Forged(shape=(2, 3), device=(CUDA, 0), **options)


@pytest.mark.usefixtures("plugin")
def test_a_capsule_of_a_card_passes_through_untouched():
    """From framework to framework: the very capsule, unused; the plan says that it is shared."""
    forged = on_card()
    card = Card(forged)
    plan = bridge.explain("boxes", card)
    assert (plan.outcome, plan.route) == ("shared", "dlpack")
    box = bridge.to("boxes", card, copy=False)
    assert box.capsule is forged.capsule()
    assert capsules.name(box.capsule) == b"dltensor_versioned"
    assert forged.deleted == 0
    assert card.asked == [{}]  # the consumer asked, and nobody else


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("versioned", [True, False])
def test_a_raw_capsule_of_a_card_passes_through_untouched(versioned: bool):
    """Both kinds."""
    forged = on_card(versioned=versioned)
    assert bridge.to("boxes", forged.capsule()).capsule is forged.capsule()
    assert forged.deleted == 0


def test_a_card_is_described_without_a_stream():
    """An exporter that nobody declared is asked for its capsule with stream=-1: nothing is read, so nothing waits."""
    card = Stranger(on_card())
    plan = bridge.explain("torch", card)
    assert (plan.outcome, plan.dtype, plan.shape) == ("shared", "float32", (2, 3))
    assert card.asked == [{"max_version": (1, 0), "stream": -1}]


@pytest.mark.parametrize("target", ["numpy", "bridge"])
def test_the_host_refuses_what_lies_on_a_card(target: str):
    """With the device in the text, and device="cpu" as the fix; the capsule that was looked at stays unused."""
    forged = on_card()
    with pytest.raises(BridgeError, match=r"lives on cuda:0(.|\n)*device=\"cpu\" to copy it to the host"):
        bridge.to(target, Stranger(forged))
    assert capsules.name(forged.capsule()) == b"dltensor_versioned"
    assert forged.deleted == 0


@pytest.mark.parametrize("target", [*FOREIGN, "bridge"])
def test_device_cpu_asks_the_producer_for_the_copy(target: str):
    """`__dlpack__(dl_device=(1, 0), copy=True)`, in every framework; under copy=False it is refused."""
    card = Stranger(on_card())
    result = bridge.to(target, card, device="cpu")
    assert values(result) == [[0, 1, 2], [3, 4, 5]]
    assert {"dl_device": (1, 0), "copy": True, "max_version": (1, 0)} in card.asked
    with pytest.raises(CopyRequired, match="leave cuda:0"):
        bridge.to(target, card, device="cpu", copy=False)


class Mute(Stranger):
    """A producer of before 2023, which cannot be asked to copy."""

    def __dlpack__(self, stream: Any = None) -> Any:
        return self.forged.capsule()


def test_a_producer_that_cannot_copy_is_named():
    """And so is a capsule, which has no producer that could be asked."""
    with pytest.raises(ExchangeError, match=r"Mute cannot copy its memory to the host(.|\n)*fix:"):
        bridge.to("numpy", Mute(on_card()), device="cpu")
    with pytest.raises(ExchangeError, match=r"capsule cannot be asked(.|\n)*fix:"):
        bridge.to("numpy", on_card().capsule(), device="cpu")


@pytest.mark.parametrize(("kind", "name"), [(3, "pinned for CUDA"), (11, "pinned for ROCm")])
@pytest.mark.parametrize("target", [*FOREIGN, "bridge"])
def test_pinned_memory_is_the_hosts(target: str, kind: int, name: str):
    """Shared like any other, also with frameworks that do not know the number."""
    forged = Forged(shape=(4, 4), device=(kind, 0))
    ctypes.memset(forged.address, 0, 64)
    result = bridge.to(target, forged, copy=False)
    assert address(result) == forged.address
    assert values(result) == [[0] * 4] * 4


def test_any_other_device_has_a_name():
    """Metal, Vulkan, and one that nobody knows yet."""
    for kind, name in ((8, "metal:1"), (7, "vulkan:1"), (99, "device type 99:1")):
        with pytest.raises(BridgeError, match=f"lives on {name}"):
            bridge.from_(Forged(device=(kind, 1)))


def test_between_two_frameworks_on_a_real_card():
    """torch and jax on one GPU: the same address; to the host on request."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    x = torch.arange(6.0, device="cuda")
    assert bridge.to("numpy", x, device="cpu").tolist() == x.tolist()
    with pytest.raises(BridgeError, match="lives on cuda:0"):
        bridge.to("numpy", x)
    import jax

    if any(device.platform == "gpu" for device in jax.devices()):
        assert bridge.to("jax", x, copy=False).unsafe_buffer_pointer() == x.data_ptr()


# ----------------------------------------------------------------------------------------------------- damaged capsules

DAMAGED = {
    "an unknown major version": {"version": (2, 0)},
    "no shape": {"null_shape": True},
    "a negative extent": {"shape": (2, -3), "strides": (3, 1)},
    "too many axes": {"shape": (1,) * 100},
    "a negative number of axes": {"ndim": -1},
    "no data": {"null_data": True},
    "a size that overflows": {"shape": (2**32, 2**32), "strides": (2**32, 1)},
    "an offset past the address space": {"byte_offset": 2**64 - 8},
    "another name": {"label": b"something_else"},
    "a name of a used one": {"label": b"used_dltensor"},
}


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_capsule_is_an_error_for_every_target(damage: str, raw: bool):
    """Found before any framework sees it, refused by explain too, and the capsule stays its owner's."""
    for target in EVERYONE:
        forged = Forged(**{"shape": (2, 3), **DAMAGED[damage]})
        array = forged.capsule() if raw else forged
        assert bridge.explain(target, array).refused
        with pytest.raises(ExchangeError, match=r"(?s)^\[bridge\.to\(.*cannot be taken: "):
            bridge.to(target, array)
        assert forged.deleted == 0


UNKNOWN = {
    "code 7": {"code": 7, "bits": 8},
    "24 bits": {"bits": 24},
    "two lanes": {"lanes": 2},
    "packed": {"code": 0, "bits": 4},
}


@pytest.mark.parametrize("dtype", UNKNOWN)
def test_a_dtype_of_dlpack_that_nobody_here_has(dtype: str):
    """DTypeError with the numbers that came, for every target."""
    for target in EVERYONE:
        with pytest.raises(bridge.DTypeError, match=r"code|packed"):
            bridge.to(target, Forged(**UNKNOWN[dtype]))
