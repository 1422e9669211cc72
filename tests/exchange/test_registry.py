"""Targets, types and plugins: found late, refused kindly, taken away without a trace."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import bridge
from bridge.core.errors import BridgeError, PluginError, PluginWarning, UnknownTarget
from bridge.core.framework import Door, Facts, Framework, Offer, Refusal, Source
from bridge.core.registry import Registry, registry
from bridge.plugins import numpy as numpy_plugin


class Crate:
    """The arrays of a framework that exists only in this file: a labelled ndarray."""

    def __init__(self, array: Any) -> None:
        self.array = array


class CrateSource(Source):
    def capsule(self, *, access: str, versioned: bool = False) -> Any:
        return numpy_plugin.describe(self.value.array).capsule(access=access, versioned=versioned)

    def ndarray(self) -> Any:
        return self.value.array


def crates(**changes: Any) -> Any:
    """A plugin with one framework, `crate`; `changes` replace its hooks or fields of its record."""
    fields = {
        "name": "crate",
        "module": "json",
        "install": "pip install crate",
        "types": (f"{Crate.__module__}.Crate",),
        "takes": (Door(name="dlpack", protocol="dlpack"),),
        "gives": (Offer(protocol="dlpack"),),
        "alignment": 1,
    }
    record = Framework(**(fields | {name: value for name, value in changes.items() if name in fields}))

    @bridge.hookimpl
    def bridge_frameworks() -> list[Framework]:
        return [record]

    @bridge.hookimpl
    def bridge_import(framework: Framework, value: Any) -> Source | None:
        if framework is not record:
            return None
        facts = numpy_plugin.describe(value.array).facts
        own = {name: getattr(facts, name) for name in Facts.__slots__} | {"framework": "crate"}
        return CrateSource(value, Facts(**own))

    @bridge.hookimpl
    def bridge_export(framework: Framework, source: Source, route: Any) -> Any:
        if framework is not record:
            return None
        if route.door == "same":
            return source.value if route.outcome == "share" else Crate(source.value.array.copy())
        capsule = source.capsule(access=route.access, versioned=True)
        array = np.from_dlpack(SimpleNamespace(__dlpack__=lambda **_: capsule, __dlpack_device__=lambda: (1, 0)))
        return Crate(array.copy() if route.door == "constructor" else array)

    hooks = {"bridge_frameworks": bridge_frameworks, "bridge_import": bridge_import, "bridge_export": bridge_export}
    return SimpleNamespace(**(hooks | {name: value for name, value in changes.items() if name not in fields}))


@pytest.fixture
def register():
    """Registers plugins for one test."""
    added = []

    def add(plugin: Any, name: str = "crates") -> None:
        registry.register(plugin, name)
        added.append(plugin)

    yield add
    for plugin in added:
        registry.unregister(plugin)


# -------------------------------------------------------------------------------------------------------------- targets


def test_a_target_can_be_named_by_module_and_by_type():
    """`bridge.to(torch, x)` and `bridge.to(torch.Tensor, x)` mean "torch"."""
    import torch

    x = np.zeros(3)
    assert type(bridge.to(torch, x)) is type(bridge.to(torch.Tensor, x)) is type(bridge.to("torch", x))
    assert type(bridge.to(bridge, x)) is type(bridge.to(bridge.array, x)) is bridge.array


def test_an_unknown_target_names_the_known_ones_and_how_to_install():
    """With a guess when one is close."""
    with pytest.raises(UnknownTarget, match="no framework 'pytorch' is known") as caught:
        bridge.to("pytorch", np.zeros(3))
    text = str(caught.value)
    assert "one of bridge, jax, numpy, tensorflow, torch" in text
    assert "did you mean 'torch'?" in text
    assert 'pip install "bridge-arrays[torch]"' in text


@pytest.mark.parametrize("target", [7, None, object, json])
def test_what_is_no_target(target: Any):
    with pytest.raises(UnknownTarget, match="is known"):
        bridge.to(target, np.zeros(3))


def test_a_known_target_that_is_not_installed(register):
    """The install line of its record."""
    register(crates(module="no_such_module_anywhere"))
    with pytest.raises(UnknownTarget, match="crate is not installed") as caught:
        bridge.to("crate", np.zeros(3))
    assert "pip install crate" in str(caught.value)


# -------------------------------------------------------------------------------------------------------------- plugins


def test_a_plugin_reaches_every_framework_and_back(register):
    """Its arrays share memory with the built-in ones, both ways, with no pairwise code."""
    register(crates())
    for target in ("numpy", "torch", "bridge"):
        crate = Crate(np.arange(4, dtype=np.float32))
        other = bridge.to(target, crate, copy=False)
        crate.array[0] = 7
        assert float(other[0]) == 7
        back = bridge.to("crate", other, copy=False)
        assert back.array.ctypes.data == crate.array.ctypes.data


def test_a_target_without_a_common_protocol_gets_a_copy(register):
    """torch speaks no buffer protocol: NumPy makes the copy, and its buffer opens the door. copy=False refuses."""
    import torch

    plugin = crates(takes=(Door(name="buffer", protocol="buffer"),))

    @bridge.hookimpl
    def bridge_export(framework: Framework, source: Source, route: Any) -> Any:
        return Crate(np.asarray(source.buffer(access=route.access))) if framework.name == "crate" else None

    plugin.bridge_export = bridge_export
    register(plugin)
    tensor = torch.arange(3.0)
    with bridge.record() as log:
        crate = bridge.to("crate", tensor)
    assert crate.array.tolist() == [0, 1, 2]
    assert (log[0].rule, log[0].why) == ("no-door", "torch and crate share no protocol")
    with pytest.raises(bridge.CopyRequired, match="share no protocol"):
        bridge.to("crate", tensor, copy=False)


def test_a_target_that_always_copies_takes_a_converted_copy(register):
    """No door of it shares: memory that bridge converted or reordered is handed to the door that copies."""
    register(crates(takes=(Door(name="constructor", protocol="dlpack", shares=False),)))
    assert bridge.to("crate", np.arange(3, dtype=np.int32), dtype="float64").array.dtype == np.float64
    assert bridge.to("crate", np.arange(3, dtype=">i4")).array.tolist() == [0, 1, 2]


def test_a_target_that_refuses_fresh_memory_is_named(register):
    """Its record asks for what no copy can have: that is the plugin's mistake, not the user's."""
    register(crates(alignment=2**40))
    with pytest.raises(PluginError, match="crate refuses fresh memory from numpy"):
        bridge.to("crate", np.zeros(3))


def test_threads_that_come_first_wait_for_the_plugins(tmp_path: Path):
    """No thread sees half of the frameworks."""
    entry_point(tmp_path, "good", GOOD)
    found = run(
        tmp_path,
        """
        import json, threading
        import bridge, numpy
        failed = []
        def convert():
            try:
                bridge.from_(numpy.zeros(3))
            except Exception as error:
                failed.append(str(error))
        threads = [threading.Thread(target=convert) for _ in range(16)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(json.dumps(failed))
        """,
    )
    assert found == []


def test_hooks_may_take_fewer_arguments(register):
    plugin = crates()
    original = plugin.bridge_import

    @bridge.hookimpl
    def bridge_import(value: Any, framework: Framework) -> Any:
        return original(framework, value)

    plugin.bridge_import = bridge_import
    register(plugin)
    assert bridge.from_(Crate(np.arange(3.0))).tolist() == [0, 1, 2]


def test_a_subclass_belongs_to_the_framework_of_its_base(register):
    class Box(Crate):
        pass

    register(crates())
    assert bridge.from_(Box(np.arange(3.0))).tolist() == [0, 1, 2]


def test_unregistering_leaves_nothing(register):
    plugin = crates()
    registry.register(plugin, "crates")
    registry.unregister(plugin)
    with pytest.raises(UnknownTarget, match="crate"):
        bridge.to("crate", np.zeros(3))
    with pytest.raises(BridgeError, match="no array"):
        bridge.from_(Crate(np.zeros(3)))


def test_two_plugins_cannot_own_one_framework(register):
    """The second is refused, by name, and nothing of it stays."""
    register(crates())
    with pytest.raises(PluginError, match="belongs to the plugin 'crates' already"):
        registry.register(crates(), "more_crates")
    assert bridge.to("crate", np.zeros(3)).array.shape == (3,)


@bridge.hookimpl
def _wrong(framework: Any, colour: Any) -> None: ...


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bridge_import": _wrong}, "colour"),
        ({"bridge_imprt": bridge.hookimpl(lambda value: None)}, "bridge_imprt"),
        ({"bridge_frameworks": bridge.hookimpl(lambda: ["torch2"])}, "returned str"),
        ({"bridge_frameworks": bridge.hookimpl(lambda: 1 / 0)}, "division"),
    ],
)
def test_a_plugin_that_does_not_fit(changes: dict, words: str):
    """PluginError says what is wrong, and the plugin is gone again."""
    with pytest.raises(PluginError, match=words):
        registry.register(crates(**changes), "crates")
    assert registry.manager.get_plugin("crates") is None
    assert "crate" not in registry.frameworks


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bridge_import": bridge.hookimpl(lambda framework, value: 3)}, "bridge_import returned int"),
        ({"bridge_export": bridge.hookimpl(lambda framework, source, route: 3)}, "bridge_export returned int"),
    ],
)
def test_a_plugin_that_answers_nonsense_is_named(register, changes: dict, words: str):
    register(crates(**changes))
    with pytest.raises(PluginError, match=words) as caught:
        bridge.to("crate", bridge.to("numpy", Crate(np.zeros(3)) if "bridge_import" in changes else np.zeros(3)))
    assert "plugin 'crates'" in str(caught.value)


def test_a_plugin_that_fails_to_describe_is_an_error_with_its_name(register):
    @bridge.hookimpl
    def bridge_import(framework: Framework, value: Any) -> Source:
        raise OSError("disk gone")

    register(crates(bridge_import=bridge_import))
    with pytest.raises(BridgeError, match="crate cannot describe the array: OSError: disk gone"):
        bridge.from_(Crate(None))


def test_a_refusal_of_a_plugin_is_the_users_error(register):
    """The plugin states why there are no bytes; route makes the error."""

    @bridge.hookimpl
    def bridge_import(framework: Framework, value: Any) -> Source:
        return Source(value, Facts(framework="crate", dtype="float32", refusal=Refusal(problem="locked", fix="unlock")))

    register(crates(bridge_import=bridge_import))
    with pytest.raises(BridgeError, match="locked") as caught:
        bridge.to("numpy", Crate(None))
    assert "fix:  unlock" in str(caught.value)


# ------------------------------------------------------------------------------------------------------ standing around


def test_an_observer_sees_every_conversion(register):
    """Also the plain ones that otherwise take a shortcut, and only while it is registered."""
    seen: list[Any] = []
    plugin = SimpleNamespace(bridge_converted=bridge.hookimpl(lambda receipt: seen.append(receipt)))
    x = np.zeros(3, np.float32)
    bridge.from_(x)
    register(plugin, "observer")
    bridge.from_(x)
    assert [(r.source, r.target, r.outcome) for r in seen] == [("numpy", "bridge", "shared")]
    registry.unregister(plugin)
    bridge.from_(x)
    assert len(seen) == 1
    registry.register(plugin, "observer")


def test_an_observer_that_fails_is_a_warning(register):
    register(SimpleNamespace(bridge_converted=bridge.hookimpl(lambda receipt: 1 / 0)), "observer")
    with pytest.warns(PluginWarning, match="division"):
        assert bridge.from_(np.zeros(3)).shape == (3,)


def test_a_wrapper_stands_around_every_export(register):
    """Also around those of built-in frameworks."""
    calls: list[str] = []

    @bridge.hookimpl(wrapper=True)
    def bridge_export(framework: Framework) -> Any:
        calls.append(framework.name)
        return (yield)

    x = np.zeros(3, np.float32)
    bridge.to("torch", x)
    register(SimpleNamespace(bridge_export=bridge_export), "wrapper")
    bridge.to("torch", x)
    bridge.from_(x)
    assert calls == ["torch", "bridge"]


# --------------------------------------------------------------------------------------------------------- entry points


def entry_point(folder: Path, name: str, code: str) -> None:
    """A distribution `name` with a module of that name and an entry point in the plugin group."""
    (folder / f"{name}.py").write_text(textwrap.dedent(code))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[bridge.plugins]\n{name} = {name}\n")


def run(folder: Path, code: str) -> Any:
    """What the last line of `code` prints as JSON, run by another interpreter that finds the distributions."""
    bootstrap = f"import sys; sys.path.append({str(folder)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", bootstrap + textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


GOOD = """
    import bridge
    from bridge.core.framework import Door, Framework, Offer
    @bridge.hookimpl
    def bridge_frameworks():
        return [Framework(name="good", module="json", install="pip install good", types=("good.Good",),
                          takes=(Door(name="dlpack", protocol="dlpack"),), gives=(Offer(protocol="dlpack"),))]
"""
BROKEN = {
    "raises_at_import": "raise RuntimeError('out of order')",
    "takes_a_name": GOOD.replace('name="good"', 'name="torch"'),
    "wrong_signature": "import bridge\n@bridge.hookimpl\ndef bridge_export(framework, flavour): ...",
}


def test_installed_plugins_are_found_at_the_first_conversion(tmp_path: Path):
    """Not by `import bridge`, which imports neither plugins nor frameworks."""
    entry_point(tmp_path, "good", GOOD)
    found = run(
        tmp_path,
        """
        import json, sys
        import bridge
        early = [name for name in ("good", "torch", "jax", "tensorflow", "bridge.plugins.torch") if name in sys.modules]
        try:
            bridge.to("nothing", 1)
        except bridge.UnknownTarget as error:
            text = str(error)
        late = [name for name in ("torch", "jax", "tensorflow") if name in sys.modules]
        print(json.dumps([early, late, "good" in sys.modules, "one of bridge, good, jax" in text]))
        """,
    )
    assert found == [[], [], True, True]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_one_warning_that_names_it(tmp_path: Path, name: str):
    """The good plugin beside it, and the built-in ones, work."""
    entry_point(tmp_path, "good", GOOD)
    entry_point(tmp_path, name, BROKEN[name])
    found = run(
        tmp_path,
        """
        import json, warnings
        import bridge, numpy
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bridge.from_(numpy.zeros(3))
            bridge.from_(numpy.zeros(3))
        from bridge.core.registry import registry
        print(json.dumps([[str(w.message) for w in caught], sorted(registry.frameworks)]))
        """,
    )
    (text,), frameworks = found
    assert f"plugin {name!r}" in text
    assert frameworks == ["bridge", "good", "jax", "numpy", "tensorflow", "torch"]


def test_loading_twice_changes_nothing():
    """A second registry in the process finds the same frameworks."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other = Registry()
        other.load()
        other.load()
    assert sorted(other.frameworks) == sorted(registry.frameworks)
