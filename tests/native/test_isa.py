"""The SIMD levels: all that this machine has give right values, and none contains code of another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from native.build import build, levels, objects_of
from native.engine import library

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BEST = library().test_isa().decode()
# Levels below the best, in the order of levels().
LOWER = list(levels())[: list(levels()).index(BEST)] if BEST in levels() else []


def isa_under(value: str) -> str:
    """What the library says when BRIDGE_ISA has this value."""
    script = "from native.engine import library; print(library().test_isa().decode())"
    environment = {**os.environ, "BRIDGE_ISA": value, "PYTHONPATH": str(HERE.parent)}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    return run.stdout.strip()


@pytest.mark.parametrize("level", LOWER)
def test_lower_levels_pass_the_same_tests(level: str) -> None:
    """Stages, layouts, tapes, reductions and accuracy again, in a process that is told to use the level."""
    names = ["stages", "layouts", "tapes", "reduce", "accuracy"]
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "--no-header", "-x", "-p", "no:cacheprovider"]
    command += [str(HERE / f"test_{name}.py") for name in names]
    environment = {**os.environ, "BRIDGE_ISA": level}
    environment.pop("PYTEST_ADDOPTS", None)
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.mark.parametrize("level", [*LOWER, BEST])
def test_bridge_isa_chooses(level: str) -> None:
    """BRIDGE_ISA overrides cpuid; empty means unset."""
    assert isa_under(level) == level
    assert isa_under("") == (BEST if "BRIDGE_ISA" not in os.environ else isa_under(""))


def test_an_unknown_level_is_refused() -> None:
    """The message names the variable, what it holds and what it may hold."""
    assert isa_under("v9").startswith("[BRIDGE_ISA] unknown level.\n  got:  BRIDGE_ISA=v9\n  want: ")


def test_no_code_crosses_between_levels() -> None:
    """tools/check_isa.py on the objects of this library."""
    tool = ROOT / "tools" / "check_isa.py"
    result = subprocess.run([sys.executable, str(tool), str(objects_of(build()))], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_check_finds_what_it_looks_for(tmp_path: Path) -> None:
    """A weak symbol, a visible name, a foreign register: each is reported."""
    source = tmp_path / "bad.cpp"
    source.write_text("inline int shared(int x) { return x + 1; }\nint visible(int x) { return shared(x) * 2; }\n")
    (tmp_path / "isa_v2").mkdir()
    command = ["c++", "-O0", "-c", str(source), "-o", str(tmp_path / "isa_v2" / "bad.o")]
    subprocess.run(command, check=True)
    tool = ROOT / "tools" / "check_isa.py"
    result = subprocess.run([sys.executable, str(tool), str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 1
    for text in ("weak symbol shared(int)", "visible symbol outside of an ISA namespace: visible(int)", "no stage"):
        assert text in result.stdout
