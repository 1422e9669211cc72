"""The packages under examples/plugins: installed by pip, found through their entry points, held to the contract.

They are installed into a folder of their own, which only the processes started here see.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"
PACKAGES = ("bridge-mlx", "bridge-arrow")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages, as `pip install` leaves them. What they depend on is here already."""
    place = tmp_path_factory.mktemp("installed")
    folders = [str(EXAMPLES / package) for package in PACKAGES]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return place


def run(place: Path, *words: str, folder: Path = EXAMPLES) -> subprocess.CompletedProcess[str]:
    """Python in a process that sees the installed packages, and nothing of the examples' own folders."""
    paths = os.pathsep.join([str(place), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def test_they_are_distributions_with_an_entry_point(installed: Path):
    """pip has built a wheel with the metadata that bridge looks for."""
    for package, name in zip(PACKAGES, ("mlx", "arrow"), strict=True):
        module = package.replace("-", "_")
        (entry,) = installed.glob(f"{module}-*.dist-info/entry_points.txt")
        assert f"[bridge.plugins]\n{name}={module}" in entry.read_text().replace(" = ", "=")
        assert (installed / f"{module}.py").read_text() == (EXAMPLES / package / f"{module}.py").read_text()


MAIN_JOB = """
import sys
import bridge, torch

assert not {"mlx", "pyarrow", "bridge_mlx", "bridge_arrow"} & sys.modules.keys()
tensor = torch.arange(6.0).reshape(2, 3)
array = bridge.to("mlx", tensor)
print(type(array).__module__, type(array).__name__, array.tolist() == tensor.tolist())
assert "pyarrow" not in sys.modules
x = bridge.arange(6, dtype=bridge.float32).reshape(2, 3)
table = bridge.to("arrow", x, copy=False)
print(type(table).__module__, type(table).__name__, table.to_numpy().tolist() == x.tolist())
print(bridge.to("torch", bridge.to("arrow", array, readonly=True), copy=False, readonly=True).tolist() == x.tolist())
"""


def test_the_main_job(installed: Path):
    """bridge.to("mlx", torch_tensor) and bridge.to("arrow", x) work, and neither framework is imported before."""
    done = run(installed, "-W", "error", "-c", MAIN_JOB)
    assert done.stdout.splitlines() == ["mlx.core array True", "pyarrow.lib Tensor True", "True"], done.stderr


def test_the_doctor_lists_them(installed: Path, tmp_path: Path):
    """With distribution, version and module; the frameworks beside the built-in ones; the doors between."""
    # The others are hidden from it: they are not what this is about, and take seconds to import.
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules.update(jax=None, tensorflow=None, torch=None)")
    done = run(installed, "-m", "bridge", "doctor", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {title: {row["name"]: row for row in rows} for title, rows in json.loads(done.stdout).items()}
    for package, name, way, how in (
        ("bridge-mlx", "mlx", "bridge -> mlx", "copied by array"),
        ("bridge-arrow", "arrow", "bridge -> arrow", "shared by address"),
    ):
        plugin = found["plugins"][name]
        assert (plugin["mark"], plugin["detail"]) == ("ok", f"{package} 0.1.0 ({package.replace('-', '_')})")
        assert found["frameworks"][name]["mark"] == "ok"
        assert (found["doors"][way]["mark"], found["doors"][way]["state"]) == ("ok", how)


@pytest.mark.parametrize("package", PACKAGES)
def test_their_pages_run(installed: Path, package: str):
    """The code in the README works as it is written there, line after line."""
    page = (EXAMPLES / package / "README.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    done = run(installed, "-W", "error", "-c", "\n".join(blocks))
    assert blocks
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_their_own_tests_pass(installed: Path, package: str):
    """The suite that they inherit from bridge.testing, and the tests of what is special about each."""
    done = run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder=EXAMPLES / package)
    last = done.stdout.strip().rpartition("\n")[2]
    assert done.returncode == 0, done.stdout[-4000:]
    assert " passed" in last
    assert not any(word in last for word in ("failed", "skipped", "error"))
