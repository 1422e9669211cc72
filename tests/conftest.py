"""Options of the whole suite. pytest reads options only from the top of the tests."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections import defaultdict
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The outcome of every known case (docs/cases.md) that the run has tested."""
    seen: dict[str, set[str]] = defaultdict(set)
    counts: dict[str, int] = defaultdict(int)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            if match := re.search(r"::test_([A-Z]\d\d)_", report.nodeid):
                reason = report.longrepr[2].removeprefix("Skipped: ") if outcome == "skipped" else outcome
                seen[match[1]].add(reason)
                counts[match[1]] += 1
    if not seen:
        return
    terminalreporter.section("known cases")
    for name in sorted(seen):
        bad, needs = seen[name] & {"failed", "error"}, seen[name] - {"passed"}
        outcome = "FAILED" if bad else "held" if "passed" in seen[name] else ""
        notes = ", ".join(sorted(needs - bad))
        text = ", ".join(filter(None, (outcome, f"in part {notes}" if notes and outcome else notes)))
        terminalreporter.line(f"{name}  {text}  ({counts[name]} test{'s' * (counts[name] > 1)})")
