"""The command line as a whole; each command has a file of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bridge.cli.child import command

COMMANDS = ("doctor", "explain", "matrix")


def bridge_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge", *arguments], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("matrix", "--nonsense")])
def test_what_cannot_be_understood_ends_with_the_usage(arguments: tuple[str, ...]):
    """Exit status 2, nothing on standard output."""
    done = bridge_command(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: python -m bridge" in done.stderr


def test_the_help_lists_the_commands():
    """Each with a sentence."""
    done = bridge_command("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"    {name}  " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str):
    """With its own options."""
    done = bridge_command(command, "--help")
    assert done.returncode == 0
    assert f"python -m bridge {command}" in done.stdout


def test_importing_the_package_does_not_import_its_commands():
    """They cost nothing where they are not used."""
    program = "import sys, bridge; print([name for name in sys.modules if name.startswith('bridge.cli')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_child_finds_the_same_package_wherever_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Sources in the working directory, from which nothing can run before they are built, do not shadow it."""
    (tmp_path / "bridge").mkdir()
    (tmp_path / "bridge" / "__init__.py").write_text("raise ImportError('the wrong one')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        command("bridge.cli.probe", "numpy"), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the wrong one" not in done.stderr
