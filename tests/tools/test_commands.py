"""The command line as a whole; each command has a file of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
    for command in COMMANDS:
        assert f"    {command}  " in done.stdout


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
