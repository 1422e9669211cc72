"""Timing and tables for the scripts of this folder.

Every statement is timed in every round, one after the other, so that a busy moment of the machine meets all of them;
the median over the rounds is what counts, and the ratio of two medians of one run is what is compared with a target.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import timeit
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BLOCK = 2e-3  # seconds that one timing of one statement should take
IDLE = 1e-3  # seconds of rest between two, so that spinning threads of the one do not slow the next


@dataclass(frozen=True, kw_only=True)
class Row:
    """One claim: what was measured against what. Times in seconds; ratio and target without a unit."""

    name: str
    ours: float
    peer_name: str
    peer: float | None
    target: float
    unit: str = "s"

    @property
    def ratio(self) -> float | None:
        return self.ours / self.peer if self.peer else None

    @property
    def holds(self) -> bool | None:
        return self.ratio <= self.target if self.ratio is not None else None


def medians(statements: Mapping[str, str], names: Mapping[str, Any], *, rounds: int) -> dict[str, float]:
    """Seconds per execution of each statement: the median over the rounds, all statements in each round."""
    timers = {label: timeit.Timer(text, globals=dict(names)) for label, text in statements.items()}
    counts = {label: _repetitions(timer) for label, timer in timers.items()}
    times: dict[str, list[float]] = {label: [] for label in timers}
    for _ in range(rounds):
        for label, timer in timers.items():
            time.sleep(IDLE)
            times[label].append(timer.timeit(counts[label]) / counts[label])
    return {label: statistics.median(values) for label, values in times.items()}


def _repetitions(timer: timeit.Timer) -> int:
    """How often a statement runs in one block; it is warm afterwards."""
    timer.timeit(3)
    count = 1
    while (taken := timer.timeit(count)) < BLOCK / 2 and count < 1 << 20:
        count *= 2
    return max(1, round(count * BLOCK / max(taken, 1e-9)))


def human_time(seconds: float) -> str:
    for unit, scale in (("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3)):
        if seconds < 1000 * scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds:.3g} s"


def human(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return human_time(value) if unit == "s" else f"{value:,.0f} {unit}"


def table(rows: Sequence[Row]) -> str:
    """The claims as aligned text: both figures, the ratio, the target, and whether it holds."""
    cells = [("claim", "bridge", "peer", "", "ratio", "target", "")]
    for row in rows:
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
        verdict = {True: "ok", False: "OVER", None: "no peer"}[row.holds]
        ours, peer = human(row.ours, row.unit), human(row.peer, row.unit)
        cells.append((row.name, ours, peer, row.peer_name, ratio, f"<= {row.target:g}", verdict))
    widths = [max(len(cell[i]) for cell in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True)).rstrip() for cell in cells
    )


def parser(description: str, *, rounds: int) -> argparse.ArgumentParser:
    """The options that all scripts share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--rounds", type=int, default=rounds, help=f"rounds over all statements (default {rounds})")
    options.add_argument("--json", metavar="FILE", help="write the figures to FILE as well")
    options.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    return options


def finish(rows: Sequence[Row], options: argparse.Namespace, **more: Any) -> None:
    """Prints the table, writes the file, and ends the process with the status that --check asks for."""
    print(table(rows))
    if options.json:
        figures = [{**asdict(row), "ratio": row.ratio, "holds": row.holds} for row in rows]
        Path(options.json).write_text(json.dumps({"rows": figures, **more}, indent=2) + "\n")
    if options.check and not all(row.holds for row in rows):
        sys.exit(1)
