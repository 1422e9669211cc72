"""Conversions from many threads at once: all pairs, on the shortcut and on the readable path, whatever is registered,
unregistered and recorded meanwhile."""

from __future__ import annotations

import itertools
import random
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from memory.threads import SLOW, often, run_all, slow
from memory.views import SIZE, fresh

import bridge
from bridge.core.errors import PluginError, UnknownTarget
from bridge.core.framework import Door, Facts, Framework, Offer, Source
from bridge.core.registry import registry
from bridge.plugins import numpy as numpy_plugin

COUNT = list(range(SIZE))
NAMES = ("bridge", "numpy", "torch", "jax", "tensorflow")
PAIRS = list(itertools.product(NAMES, NAMES))
# The first is the shortcut, the rest take the readable path.
WAYS: tuple[dict[str, Any], ...] = ({}, {"copy": True}, {"readonly": True}, {"dtype": "float32"})


def values(array: Any) -> list[float]:
    return np.asarray(array).tolist()


@pytest.fixture(scope="module")
def sources() -> dict[str, Any]:
    return {name: bridge.to(name, fresh(), copy=True) for name in NAMES}


def convert_all(sources: dict[str, Any], rounds: int, seed: int) -> None:
    chooser = random.Random(seed)
    for _ in range(rounds):
        for source, target in chooser.sample(PAIRS, len(PAIRS)):
            way = chooser.choice(WAYS)
            result = bridge.to(target, sources[source], **way)
            assert values(result) == COUNT, (source, target, way)


def test_all_pairs_from_many_threads(sources):
    """The same sources, the same targets, every way: each result has the values."""
    with often():
        run_all(*[lambda seed=seed: convert_all(sources, 4, seed) for seed in range(6)])
    assert bridge.leases(sources["bridge"]) == []


class Crate:
    """The arrays of a framework that comes and goes."""

    def __init__(self, array: Any) -> None:
        self.array = array


class CrateSource(Source):
    def ndarray(self) -> Any:
        return self.value.array

    def capsule(self, *, access: Any, versioned: bool = False) -> Any:
        return numpy_plugin.describe(self.value.array).capsule(access=access, versioned=versioned)


class CratePlugin:
    """A plugin with one framework of this name, whose arrays are a class of its own."""

    def __init__(self, name: str) -> None:
        self.kind = type(name, (Crate,), {"__module__": __name__})
        self.record = Framework(
            name=name,
            module="numpy",
            install="",
            types=(f"{__name__}.{name}",),
            takes=(Door(name="dlpack", protocol="dlpack"),),
            gives=(Offer(protocol="dlpack"),),
            alignment=1,
        )

    @bridge.hookimpl
    def bridge_frameworks(self) -> list[Framework]:
        return [self.record]

    @bridge.hookimpl
    def bridge_import(self, framework: Framework, value: Any) -> Source | None:
        if framework is not self.record:
            return None
        facts = numpy_plugin.describe(value.array).facts
        return CrateSource(
            value,
            Facts(
                framework=framework.name,
                dtype=facts.dtype,
                shape=facts.shape,
                strides=facts.strides,
                address=facts.address,
                access=facts.access,
            ),
        )

    @bridge.hookimpl
    def bridge_export(self, framework: Framework, source: Source, route: Any) -> Any:
        if framework is not self.record:
            return None
        if route.door == "same":
            return source.value
        capsule = source.capsule(access=route.access, versioned=True)
        exporter = SimpleNamespace(__dlpack__=lambda **_: capsule, __dlpack_device__=lambda: (1, 0))
        return self.kind(np.from_dlpack(exporter))


def come_and_go(name: str, times: int) -> None:
    """Registers a plugin, uses it, and takes it away."""
    for _ in range(times):
        plugin = CratePlugin(name)
        registry.register(plugin)
        crate = bridge.to(name, fresh())
        assert values(bridge.to("bridge", crate)) == COUNT
        registry.unregister(plugin)
        with pytest.raises(UnknownTarget, match=name):
            bridge.to(name, fresh())


def record_own(first: int, times: int) -> None:
    """Each recorder sees its own conversions, known by a shape that nobody else has."""
    for number in range(first, first + times):
        mine = bridge.zeros((2, number))
        with bridge.record() as log:
            bridge.to("numpy", mine)
            bridge.to("torch", mine)
        seen = [receipt.target for receipt in log if receipt.shape == (2, number)]
        assert seen == ["numpy", "torch"]


def test_recorders_and_plugins_come_and_go_meanwhile(sources):
    """Conversions do not notice, receipts are complete, and a plugin that was taken away is gone."""
    with often():
        run_all(
            lambda: convert_all(sources, 4, 0),
            lambda: convert_all(sources, 4, 1),
            lambda: record_own(100, 60),
            lambda: record_own(200, 60),
            lambda: come_and_go("crate_a", 15),
            lambda: come_and_go("crate_b", 15),
        )
    assert not registry.watched
    assert not set(registry.frameworks) & {"crate_a", "crate_b"}


def test_a_plugin_is_taken_away_while_it_is_used():
    """Other threads get the array, or an error that says what happened; never another one."""
    plugin = CratePlugin("crate_c")
    stop = threading.Event()
    surprises: list[str] = []

    def use() -> None:
        crate = plugin.kind(np.arange(SIZE, dtype=np.float32))
        while not stop.is_set():
            try:
                assert values(bridge.to("crate_c", fresh()).array) == COUNT
                assert values(bridge.to("torch", crate)) == COUNT
            except (UnknownTarget, PluginError):
                pass  # between two registrations
            except bridge.BridgeError as error:
                if "is no array" not in str(error):  # its type is not known at the moment
                    surprises.append(str(error))

    def toggle() -> None:
        try:
            for _ in range(40):
                registry.register(plugin)
                registry.unregister(plugin)
        finally:
            stop.set()

    with often():
        run_all(use, use, toggle)
    assert surprises == []
    with pytest.raises(UnknownTarget, match="crate_c"):
        bridge.to("crate_c", fresh())


@pytest.mark.parametrize("target", NAMES)
def test_a_pending_array_is_exported_by_many_at_once(target):
    """It is computed once, and everybody holds the same bytes."""
    for _ in range(3):
        a = slow(bridge.ones((SLOW // 8,)))
        results: list[Any] = []
        run_all(*[lambda a=a, results=results: results.append(bridge.to(target, a)) for _ in range(5)])
        want = results[0][0].item() if hasattr(results[0][0], "item") else float(results[0][0])
        assert 0 < want < 1
        assert all(float(np.asarray(result)[-1]) == pytest.approx(want, abs=0) for result in results)


@pytest.mark.parametrize("target", NAMES)
def test_a_pending_array_of_another_thread_is_exported(target):
    """Built there, computed and exported here."""
    built: list[Any] = []
    run_all(lambda: built.append(fresh() * 2 + 1))
    assert values(bridge.to(target, built[0])) == [2 * x + 1 for x in COUNT]


def test_errors_stay_in_their_threads(sources):
    """Refusals on some threads, results on others: each thread gets its own."""
    backwards = fresh()[::-1]

    def refuse() -> None:
        for _ in range(100):
            with pytest.raises(bridge.CopyRequired, match="backwards"):
                bridge.to("torch", backwards, copy=False)
            with pytest.raises(UnknownTarget, match="nowhere"):
                bridge.to("nowhere", backwards)

    with often():
        run_all(refuse, refuse, lambda: convert_all(sources, 3, 7))
    assert bridge.leases(backwards) == []


def test_an_array_that_another_thread_updates(sources):
    """In place it gets other memory, another dtype and more axes: each result is one state of it, from end to end."""
    dtypes = ("int8", "int16", "int32", "float32", "complex64")

    def update(array: Any, done: threading.Event) -> None:
        for dtype in dtypes[1:]:
            array *= bridge.ones((2, SIZE) if dtype == "float32" else (1,), dtype=getattr(bridge, dtype))
            bridge.release(array)
        done.set()

    def read(array: Any, done: threading.Event) -> None:
        while not done.is_set():
            for way in WAYS[:3]:
                result = np.asarray(bridge.to("numpy", array, **way))
                assert result.dtype.name in dtypes
                assert result.shape == ((2, SIZE) if result.dtype.name in dtypes[3:] else (SIZE,))
                assert (result == 1).all()

    with often():
        for _ in range(30):
            array, done = bridge.ones((SIZE,), dtype=bridge.int8), threading.Event()
            run_all(
                lambda array=array, done=done: update(array, done), *[lambda a=array, d=done: read(a, d) for _ in "ab"]
            )
