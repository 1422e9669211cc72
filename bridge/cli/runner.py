"""Runs all cells in a process of their own, and goes on after a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from bridge.cli.cells import CALLS, Cell
from bridge.cli.child import command
from bridge.cli.samples import DTYPES
from bridge.cli.trial import OUTCOMES, Found
from bridge.cli.worker import Plan

__all__ = ["Matrix", "run_cells"]

#: After so many crashes the run ends: every one costs the import of all frameworks.
MOST_CRASHES = 25


@dataclass(slots=True)
class Matrix:
    """What was found in which cell, and with what."""

    versions: dict[str, str] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    found: dict[Cell, Found] = field(default_factory=dict)

    def counts(self, *, source: str | None = None, target: str | None = None) -> Counter[str]:
        """Outcome -> number of cells, of one pair or of all."""
        counts = Counter(dict.fromkeys(OUTCOMES, 0))
        for cell, found in self.found.items():
            if source in (None, cell.source) and target in (None, cell.target):
                counts[found.outcome] += 1
        return counts

    @property
    def is_good(self) -> bool:
        """Nothing wrong, nothing crashed, nothing left out."""
        counts = self.counts()
        return not (counts["wrong"] or counts["crashed"] or self.missing)

    @property
    def missing(self) -> int:
        """Cells that were not tried: after MOST_CRASHES the run ends."""
        return len(self.cells) - len(self.found)


def run_cells(
    frameworks: Sequence[str],
    dtypes: Sequence[str] = DTYPES,
    *,
    named_doors: bool = True,
    x64: bool = True,
    calls: Sequence[tuple[bool | None, bool]] = CALLS,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Matrix:
    """Hand arrays over between all ordered pairs of `frameworks`.

    Args:
        named_doors: also with `via=`, through every door.
        x64: also with jax's 64-bit dtypes on.
        calls: the answers to copy= and readonly= that are tried.
        progress: called with the cells that are done and the cells in all.

    Raises:
        RuntimeError: the process ended before its first cell.
    """
    plan, matrix = Plan(list(frameworks), list(dtypes), named_doors, x64, 0, calls), Matrix()
    for _ in range(MOST_CRASHES):
        death = _work(plan._replace(start=len(matrix.found)), matrix, progress)
        if death is None:
            break
        cell = matrix.cells[min(len(matrix.found), len(matrix.cells) - 1)]
        matrix.found[cell] = Found("crashed", why=death)
    return matrix


def _work(plan: Plan, matrix: Matrix, progress: Callable[[int, int], None]) -> str | None:
    """One worker: add what it finds. None when it has done all cells, else how it died."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "JAX_ENABLE_X64": "0"}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command("bridge.cli.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        ) as worker,
    ):
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            with suppress(BrokenPipeError):
                worker.stdin.write(json.dumps(plan) + "\n")
                worker.stdin.close()
            head = worker.stdout.readline()
            if head:
                answer = json.loads(head)
                matrix.cells, matrix.versions = [Cell(*cell) for cell in answer["cells"]], answer["versions"]
            for cell, line in zip(matrix.cells[plan.start :], worker.stdout, strict=False):
                matrix.found[cell] = Found(*json.loads(line))
                progress(len(matrix.found), len(matrix.cells))
            worker.stdout.read()
        except BaseException:
            worker.kill()
            raise
        status = worker.wait()
        errors.seek(0)
        said = errors.read()
    if not head:
        raise RuntimeError(f"the process that runs the matrix could not start: {_death(status)}\n{said[-2000:]}")
    return _death(status) if status != 0 or len(matrix.found) < len(matrix.cells) else None


def _death(status: int) -> str:
    """How a process ended."""
    return f"the process was killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
