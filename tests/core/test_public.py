"""The public names: what `import bridge` gives, and what it leaves alone."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import pytest

import bridge
from bridge.core.ops.declare import PRIMITIVES
from bridge.core.ops.methods import METHODS

ROOT = Path(__file__).parents[2]


def test_all_names_exist():
    """__all__ lists what is there, once, and nothing public is left out."""
    assert len(set(bridge.__all__)) == len(bridge.__all__)
    for name in bridge.__all__:
        assert hasattr(bridge, name), name
    public = {name for name, value in vars(bridge).items() if not name.startswith("_")}
    modules = {name for name in public if isinstance(getattr(bridge, name), types.ModuleType)}
    assert public - modules - {"Any", "TYPE_CHECKING"} <= set(bridge.__all__)


def test_import_brings_no_framework():
    """A process that imports bridge has imported no framework."""
    code = "import sys, bridge; print([m for m in ('torch', 'jax', 'tensorflow', 'mlx', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version():
    """bridge.__version__ is the version of the distribution."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert bridge.__version__ == tomllib.load(file)["project"]["version"]


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("moveaxis", "swapaxes", "split", "view")])
def test_methods_are_the_functions(name: str):
    """a.op() is op(a), with the same name and meaning."""
    a = bridge.array([[0.5, 0.25], [0.75, 1.0]])
    assert bridge.array_equal(getattr(a, name)(), METHODS[name](a), equal_nan=True).item()


@pytest.mark.parametrize("name", ["imag", "mT", "real"])
def test_properties(name: str):
    """real, imag and mT read like attributes."""
    a = bridge.array([[1 + 2j, 3j]])
    want = {"real": [[1, 0]], "imag": [[2, 3]], "mT": [[1 + 2j], [3j]]}
    assert getattr(a, name).tolist() == want[name]


@pytest.mark.parametrize("name", PRIMITIVES)
def test_documentation(name: str):
    """Each primitive documents its signature and meaning, and says what it is."""
    declaration = PRIMITIVES[name]
    assert declaration.call.__doc__.startswith(f"{name}{declaration.signature} -> array\n\n")
    assert declaration.doc.rstrip().endswith(".")
    assert declaration.call.__name__ == name
    assert declaration.call.kind == declaration.kind


@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitives_can_be_pickled(name: str):
    """A primitive pickles by name, so it can be sent to another process."""
    assert pickle.loads(pickle.dumps(PRIMITIVES[name].call)) is PRIMITIVES[name].call


def test_a_wrong_call_says_what_is_wrong():
    """Too few, too many and unknown arguments raise TypeError naming the op."""
    with pytest.raises(TypeError, match=r"exp.* missing required argument 'a'"):
        bridge.exp()
    with pytest.raises(TypeError, match=r"add.* takes at most 3 positional arguments"):
        bridge.add(1, 2, None, 3)
    with pytest.raises(TypeError, match=r"sum.* unexpected keyword argument 'axes'"):
        bridge.sum(bridge.ones(2), axes=0)


def test_streams():
    """stream= takes None and the CPU; a GPU that is not there is an error that says why."""
    assert bridge.exp(bridge.zeros((1,)), stream=bridge.cpu).item() == 1
    assert bridge.mean(bridge.ones((2,)), stream=None).item() == 1
    with pytest.raises(TypeError, match="stream must be"):
        bridge.exp(bridge.zeros((1,)), stream="gpu")
