"""Options of the whole suite. pytest reads options only from the top of the tests."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """The bridge under test is the one that was installed, here and in the subprocesses that tests start.

    The working directory holds a folder of that name too, without the extension unless it was built in place:
    `python -m pytest` and `python -c` would put it first.
    """
    if not any((ROOT / "bridge" / "core" / f"_native{suffix}").exists() for suffix in EXTENSION_SUFFIXES):
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
    found = importlib.util.find_spec("bridge")
    assert found is not None, "bridge is not installed"
    assert found.origin is not None
    paths = [str(Path(found.origin).parents[1]), os.environ.get("PYTHONPATH", "")]
    os.environ |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--interop-json", metavar="FILE", help="write the number of hand-overs by outcome to FILE")
