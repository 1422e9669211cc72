"""A broken plugin is one clear warning or error that names it; everything else works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from plugins.crates import Crate, CrateSource, Same

import bridge
from bridge.core.errors import PluginError, PluginWarning
from bridge.core.registry import registry
from bridge.hookspecs import Facts, Framework, Route, Source, hookimpl

# --------------------------------------------------------------------------------------------------- found and not used

GOOD = """
    import bridge
    from bridge.hookspecs import Door, Framework, Offer
    RECORD = dict(name="good", module="json", install="pip install good", types=("good.Good",),
                  takes=(Door(name="dlpack", protocol="dlpack"),), gives=(Offer(protocol="dlpack"),))
    @bridge.hookimpl
    def bridge_frameworks():
        return [Framework(**RECORD)]
"""


def like_good(**changes: Any) -> str:
    return f"{textwrap.dedent(GOOD)}\nRECORD |= {changes!r}\n"


def hook(body: str, name: str = "bridge_frameworks", arguments: str = "") -> str:
    return f"import bridge\n@bridge.hookimpl\ndef {name}({arguments}):\n    {body}\n"


#: Plugin -> the text of its module, and words of the warning.
BROKEN = {
    "raises": ("raise RuntimeError('out of order')", "RuntimeError: out of order"),
    "says_nothing": ("raise RuntimeError", "RuntimeError"),
    "lacks_a_package": ("import no_such_package", "No module named 'no_such_package'"),
    "exits": ("import sys; sys.exit('usage: exits FILE')", "SystemExit: usage: exits FILE"),
    "raises_oddly": ("class Odd(BaseException): ...\nraise Odd('very')", "Odd: very"),
    "does_not_parse": ("def f(:", "SyntaxError"),
    "has_no_hooks": ("x = 1", "no function marked @bridge.hookimpl"),
    "has_another_hook": (hook("...", "bridge_imprt", "value"), "bridge_imprt"),
    "takes_other_arguments": (hook("...", "bridge_export", "framework, flavour"), "flavour"),
    "fails_to_declare": (hook("1 / 0"), "ZeroDivisionError"),
    "declares_nothing": (hook("return None"), "bridge_frameworks() returned NoneType, not a list of Framework"),
    "declares_a_name": (hook("return ['torch2']"), "returned str, not a Framework"),
    "takes_a_name": (like_good(name="torch"), "the framework 'torch' belongs to the plugin 'torch' already"),
    "takes_a_type": (like_good(name="mine", types=("torch.Tensor",)), "torch.Tensor belong to the framework 'torch'"),
    "takes_all_types": (like_good(name="mine", types=("builtins.object",)), "'builtins.object' is no dotted name"),
    "lists_letters": (like_good(name="mine", types="mine.Array"), "types='mine.Array' is no tuple of str"),
    "has_odd_strides": (like_good(name="mine", types=("m.A",), strides="zigzag"), "strides='zigzag' is no rule"),
    "has_odd_alignment": (like_good(name="mine", types=("m.A",), alignment=48), "alignment=48 is no power of two"),
}


def distribution(folder: Path, name: str, code: str | None, points: str = "{name} = {name}") -> None:
    """A distribution with a module of its name and entry points in the plugin group."""
    if code is not None:
        (folder / f"{name}.py").write_text(textwrap.dedent(code))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[bridge.plugins]\n{points.format(name=name)}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of distributions: a good one, and all the broken ones."""
    distribution(tmp_path, "good", GOOD)
    for name, (code, _) in BROKEN.items():
        distribution(tmp_path, name, code)
    distribution(tmp_path, "points_nowhere", None)
    distribution(tmp_path, "lacks_the_attribute", None, "{name} = good:plugin")
    distribution(tmp_path, "is_no_reference", None, "{name} = good plugin")
    distribution(tmp_path, "registered_twice", GOOD.replace('"good', '"once'), "once = {name}\ntwice = {name}")
    return tmp_path


OTHERS = {
    "points_nowhere": "No module named 'points_nowhere'",
    "lacks_the_attribute": "has no attribute 'plugin'",
    "is_no_reference": "'good plugin' is not of the form package.module:attribute",
    "twice": "it is the same object as the plugin 'once'",
}
WORDS = {name: words for name, (_, words) in BROKEN.items()} | OTHERS
USABLE = ["bridge", "good", "jax", "numpy", "once", "tensorflow", "torch"]


def run(folder: Path, code: str, *flags: str) -> Any:
    """What the last line of `code` prints as JSON, by another interpreter that finds the distributions."""
    path = os.pathsep.join([*filter(None, sys.path), str(folder)])
    command = [sys.executable, *flags, "-c", textwrap.dedent(code)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_each_is_one_warning_that_names_it(folder: Path):
    """Also when sixteen threads convert first; the good plugins among them, and the built-in ones, are there."""
    texts, failed, frameworks, health = run(
        folder,
        """
        import json, threading, warnings
        import bridge, numpy
        from bridge.core.registry import registry
        failed = []
        def convert():
            try:
                assert bridge.from_(numpy.arange(3.0)).tolist() == [0, 1, 2]
            except Exception as error:
                failed.append(repr(error))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            threads = [threading.Thread(target=convert) for _ in range(16)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            bridge.from_(numpy.zeros(3))
        health = [[row.name, row.origin, row.distribution, row.frameworks, row.status] for row in registry.health()]
        print(json.dumps([[str(w.message) for w in caught], failed, sorted(registry.frameworks), health]))
        """,
    )
    assert failed == []
    assert frameworks == USABLE
    assert len(texts) == len(WORDS)
    status = {name: status for name, _, _, _, status in health}
    for name, words in WORDS.items():
        (text,) = [text for text in texts if f"plugin {name!r} (" in text]
        assert words in text
        assert "\n" not in text
        assert words in status[name]
    assert ["good", "good", "good 1.0", ["good"], "ok"] in health
    assert ["once", "registered_twice", "registered_twice 1.0", ["once"], "ok"] in health
    assert ["torch", "built-in", "", ["torch"], "ok"] in health
    assert [name for name, *_ in health[:5]] == ["bridge", "jax", "numpy", "tensorflow", "torch"]


def test_where_warnings_are_errors_nothing_is_half_loaded(folder: Path):
    """The first conversion raises, with all that is wrong; every later one works, on every thread."""
    caught, frameworks = run(
        folder,
        """
        import json, threading
        import bridge, numpy
        from bridge.core.registry import registry
        caught = []
        def convert():
            try:
                bridge.from_(numpy.zeros(3))
            except Warning as warning:
                caught.append([str(warning), *warning.__notes__])
        threads = [threading.Thread(target=convert) for _ in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        convert()
        print(json.dumps([caught, sorted(registry.frameworks)]))
        """,
        "-W",
        "error",
    )
    (texts,) = caught
    assert len(texts) == len(WORDS)
    assert frameworks == USABLE


def test_an_interrupted_load_starts_again(tmp_path: Path):
    """Ctrl-C while a plugin is imported is the user's; the next conversion finds everything."""
    distribution(tmp_path, "good", GOOD)
    code = "import os\nif os.environ.setdefault('HIT', 'first') == 'first':\n    os.environ['HIT'] = 'again'\n"
    code += "    raise KeyboardInterrupt\n" + textwrap.dedent(GOOD.replace('"good', '"slow'))
    distribution(tmp_path, "slow", code)
    found = run(
        tmp_path,
        """
        import json
        import bridge, numpy
        from bridge.core.registry import registry
        try:
            bridge.from_(numpy.zeros(3))
        except KeyboardInterrupt:
            early = sorted(registry.frameworks)
        bridge.from_(numpy.zeros(3))
        print(json.dumps([early, sorted(registry.frameworks)]))
        """,
    )
    assert found == [[], ["bridge", "good", "jax", "numpy", "slow", "tensorflow", "torch"]]


def test_a_plugin_may_convert_while_it_is_imported(tmp_path: Path):
    """By the built-in frameworks, which are there already."""
    code = "import bridge, numpy\nassert bridge.from_(numpy.arange(3.0)).tolist() == [0, 1, 2]\n"
    distribution(tmp_path, "eager", code + textwrap.dedent(GOOD.replace('"good', '"eager')))
    found = run(
        tmp_path,
        """
        import json
        import bridge, numpy
        from bridge.core.registry import registry
        bridge.from_(numpy.zeros(3))
        print(json.dumps([row.status for row in registry.health() if row.name == "eager"]))
        """,
    )
    assert found == ["ok"]


def test_a_damaged_distribution_hides_no_other(tmp_path: Path):
    """An entry_points.txt that cannot be read, of whatever package."""
    distribution(tmp_path, "good", GOOD)
    distribution(tmp_path, "damaged", None, "no equals sign here")
    texts, frameworks = run(
        tmp_path,
        """
        import json, warnings
        import bridge, numpy
        from bridge.core.registry import registry
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bridge.from_(numpy.zeros(3))
        print(json.dumps([[str(w.message) for w in caught], "good" in registry.frameworks]))
        """,
    )
    (text,) = texts
    assert "'damaged'" in text
    assert "its entry points cannot be read" in text
    assert frameworks


# ------------------------------------------------------------------------------------------------------- found out late


@pytest.fixture
def register() -> Iterator[Callable[[Any], Any]]:
    """Registers plugins for one test."""
    added = []

    def add(plugin: Any, name: str = "liar") -> Any:
        registry.register(plugin, name)
        added.append(plugin)
        return plugin

    yield add
    for plugin in added:
        registry.unregister(plugin)


class Liar(Same):
    """Says about its arrays what the test tells it to."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__()
        self.said = said

    def facts(self, crate: Crate) -> dict[str, Any]:
        return super().facts(crate) | self.said


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"shape": (-1, 3)}, r"shape=\(-1, 3\) does not consist of non-negative integers"),
        ({"shape": (3.0,)}, r"shape=\(3\.0,\) does not consist of"),
        ({"shape": [3]}, r"shape=\[3\] is no tuple"),
        ({"strides": (1, 1)}, r"strides=\(1, 1\) do not fit shape=\(3,\)"),
        ({"strides": 1}, r"strides=1 is no tuple of integers"),
        ({"strides": (2**62,)}, "lead out of memory"),
        ({"address": 0}, "address=0, and there are 3 elements"),
        ({"address": -8}, "address=-8 is no address"),
        ({"dtype": "float33"}, "dtype='float33' is no dtype of this exchange"),
        ({"dtype": np.dtype("f4")}, "is no dtype of this exchange"),
        ({"access": "rw"}, "access='rw' is neither 'write' nor 'read'"),
        ({"framework": "torch"}, "its facts name the framework 'torch'"),
        ({"refusal": "no"}, "refusal='no' is no Refusal"),
    ],
)
def test_facts_that_cannot_be_true(register, said: dict[str, Any], words: str):
    """Before anybody reads memory that is not there. The plugin is named; an honest one beside it works."""
    liar, honest = register(Liar(said)), register(Same(), "honest")
    for target in ("numpy", "bridge", "torch"):
        with pytest.raises(PluginError, match=words) as caught:
            bridge.to(target, liar.kind(np.zeros(3, np.float32)))
        assert "plugin 'liar'" in str(caught.value)
        assert list(bridge.to(target, honest.kind(np.arange(3, dtype=np.float32)))) == [0, 1, 2]


class WritesForAll(Same):
    """Immutable arrays that anybody may write."""

    fields: ClassVar = {"mutable": False}

    def facts(self, crate: Crate) -> dict[str, Any]:
        return super().facts(crate) | {"access": "write"}


def test_immutable_arrays_that_can_be_written(register):
    liar = register(WritesForAll())
    with pytest.raises(PluginError, match="access='write', and the record says mutable=False"):
        bridge.to("torch", liar.kind(np.zeros(3, np.float32)))


@pytest.mark.parametrize("answer", [None, 7, Facts(framework="same", dtype="float32")])
def test_descriptions_that_are_none(register, answer: Any):
    plugin = Same()
    plugin.describe = lambda crate: answer
    register(plugin)
    with pytest.raises(PluginError, match=f"bridge_import returned {type(answer).__name__}, not a Source"):
        bridge.from_(plugin.kind(np.zeros(3)))


def test_facts_of_another_type(register):
    plugin = Same()
    plugin.describe = lambda crate: Source(crate, {"dtype": "float32"})
    register(plugin)
    with pytest.raises(PluginError, match="its facts are dict, not Facts"):
        bridge.from_(plugin.kind(np.zeros(3)))


class Made(Same):
    """Makes of everything what the test tells it to."""

    def __init__(self, make: Callable[[Any, np.ndarray], Any]) -> None:
        super().__init__()
        self.make = make

    @hookimpl
    def bridge_export(self, framework: Framework, source: Source, route: Route) -> Any:
        return self.make(self, self.export(source, route)) if framework is self.record else None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda self, array: None, "bridge_export returned NoneType, no array of made"),
        (lambda self, array: array, "bridge_export returned ndarray, no array of made"),
        (lambda self, array: Crate(array), "bridge_export returned Crate, no array of made"),
        (lambda self, array: self.kind(array.copy()), "it copied where it was to share: the source lies at 0x"),
        (lambda self, array: self.kind(array.view(np.int64)), "described as int64, and float64 was asked for"),
        (lambda self, array: self.kind(array[:2]), r"described with shape=\(2,\), and the source has \(3,\)"),
        (lambda self, array: self.kind(None), "bridge_import cannot describe what bridge_export made: AttributeError"),
    ],
)
def test_results_that_are_not_what_was_asked_for(register, make: Callable[[Any, Any], Any], words: str):
    """A copy that passes for a shared array, above all. copy=False and copy=None are told alike."""
    register(Made(make))
    for copy in (None, False):
        with pytest.raises(PluginError, match=words) as caught:
            bridge.to("made", np.arange(3.0), copy=copy)
        assert "plugin 'liar'" in str(caught.value)


class NoCapsule(Same):
    class source(CrateSource):
        def capsule(self, *, access: str, versioned: bool = False) -> Any:
            return 7


def test_a_source_that_hands_out_no_memory_is_named(register):
    """Not the target that choked on it."""
    liar = register(NoCapsule())
    with pytest.raises(PluginError, match=r"plugin 'liar'.*Source\.capsule returned int"):
        bridge.to("torch", liar.kind(np.zeros(3, np.float32)), via="dlpack")


def test_a_plugin_that_answers_for_others_is_not_asked(register):
    """Neither by itself nor when somebody stands around the hook."""

    class AnswersForAll(Same):
        @hookimpl
        def bridge_import(self, framework: Framework, value: Any) -> Source:
            return Source(value, Facts(framework=self.name, dtype="float32"))

    class Around:
        @hookimpl(wrapper=True)
        def bridge_import(self, framework: Framework) -> Any:
            seen.append(framework.name)
            return (yield)

    seen: list[str] = []
    register(AnswersForAll())
    assert bridge.from_(np.arange(3.0)).tolist() == [0, 1, 2]
    register(Around(), "around")
    assert bridge.from_(np.arange(3.0)).tolist() == [0, 1, 2]
    assert "numpy" in seen


def test_an_observer_that_fails_is_named_and_the_others_see(register):
    class Fails:
        @hookimpl
        def bridge_converted(self, receipt: Any) -> None:
            raise ValueError("blind")

    class Sees:
        @hookimpl
        def bridge_converted(self, receipt: Any) -> None:
            seen.append(receipt.outcome)

    seen: list[str] = []
    for plugin, name in ((Sees(), "first"), (Fails(), "blind"), (Sees(), "last")):
        register(plugin, name)
    with pytest.warns(PluginWarning, match="plugin 'blind' failed to observe a conversion: ValueError: blind"):
        bridge.from_(np.zeros(3))
    assert seen == ["shared", "shared"]


def test_the_report_follows_what_is_registered(register):
    """A plugin that a program registered has a row while it is there."""
    plugin = register(Same())
    (row,) = [row for row in registry.health() if row.name == "liar"]
    assert (row.origin, row.distribution, row.frameworks, row.ok) == ("registered", "", ("same",), True)
    registry.unregister(plugin)
    assert "liar" not in [row.name for row in registry.health()]
    registry.register(plugin, "liar")
