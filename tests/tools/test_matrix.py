"""`python -m bridge matrix`: what it prints, writes and answers, also when something goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bridge.cli import matrix as command
from bridge.cli import runner
from bridge.cli.cells import Cell
from bridge.cli.runner import Matrix, run_cells
from bridge.cli.trial import Found


def test_the_command_reports_and_writes_every_cell(tmp_path: Path):
    """Exit status 0; the text, the file of cells and the page tell of the same run."""
    cells, page = tmp_path / "cells.json", tmp_path / "page.html"
    arguments = ("--quick", "--frameworks", "bridge", "numpy", "--json", str(cells), "--html", str(page))
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "matrix", *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "0 wrong, 0 crashed" in done.stdout
    written = json.loads(cells.read_text(encoding="utf-8"))
    counts = Counter(cell["outcome"] for cell in written["cells"])
    assert counts == {name: n for name, n in written["counts"].items() if n}
    assert set(counts) == {"shared", "copied", "refused"}
    assert f"{len(written['cells']):,} hand-overs between bridge" in done.stdout
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_an_unknown_framework_is_a_mistake_of_the_caller():
    """The text names those that are installed."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "matrix", "--frameworks", "nonsense"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "numpy" in done.stderr


# A worker that reads the plan as the real one does, and dies in its second cell, at every start that reaches it.
DEADLY = """
import json, os, sys
plan = json.loads(sys.stdin.readline())
cells = [["numpy", "numpy", "float32", layout, None, None, False, False] for layout in ("dense", "empty", "scalar")]
print(json.dumps({"cells": cells, "versions": {"numpy": "0"}}), flush=True)
for number in range(plan[4], 3):
    if number == 1:
        os.kill(os.getpid(), 9)
    print(json.dumps(["shared", "same", "same", "", None, None, True]), flush=True)
"""


def test_a_cell_that_kills_the_process_is_a_crash_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Told apart from the cells before and after it, with the signal."""
    worker = tmp_path / "worker.py"
    worker.write_text(DEADLY, encoding="utf-8")
    popen = subprocess.Popen
    monkeypatch.setattr(
        runner.subprocess, "Popen", lambda command, **options: popen([sys.executable, str(worker)], **options)
    )
    found = run_cells(["numpy"])
    assert [(cell.layout, result.outcome) for cell, result in found.found.items()] == [
        ("dense", "shared"),
        ("empty", "crashed"),
        ("scalar", "shared"),
    ]
    assert "SIGKILL" in found.found[found.cells[1]].why
    assert not found.is_good


def test_a_wrong_cell_is_named_and_the_exit_status_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The report ends with the cell and what was wrong with it."""
    cell = Cell("numpy", "torch", "float32", "dense", copy=False)
    made = Matrix({"numpy": "0", "torch": "0"}, [cell], {cell: Found("wrong", why="other bits")})
    monkeypatch.setattr(command, "run_cells", lambda *_, **__: made)
    arguments = command.argparse.Namespace(frameworks=["numpy", "torch"], quick=True, html=None, json=None)
    assert command.run(arguments) == 1
    assert "numpy -> torch: float32, dense, " in capsys.readouterr().out
