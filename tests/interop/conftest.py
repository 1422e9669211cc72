"""Counts the hand-overs by outcome, prints the counts when the run ends and writes them where asked."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from interop.cases import can_abort, generate
from interop.expected import Case
from isolated import run_each


@cache
def isolated_reports(framework: str, x64: bool) -> dict[Case, dict]:
    """Reports of the cases that can kill the interpreter: one process per framework."""
    cases = [c for c in generate() if can_abort(c) and c.framework == framework and c.x64 == x64]
    inputs = [case._asdict() for case in cases]
    reports = run_each("interop.hand_over:run_described", inputs, environment={"JAX_ENABLE_X64": str(int(x64))})
    return {case: understand(report) for case, report in zip(cases, reports, strict=True)}


def understand(report: dict) -> dict:
    for outcome in ("crashed", "raised"):
        if outcome in report:
            return {"outcome": outcome, "text": report[outcome]}
    return report


@pytest.fixture
def hand_over():
    """Function from a case to its report; what can kill the interpreter runs in another process."""
    from interop.hand_over import run

    def make(case: Case) -> dict:
        return isolated_reports(case.framework, case.x64)[case] if can_abort(case) else run(case)

    return make


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """Adds up what tests have recorded under "hand-over" (one outcome) and "hand-overs" (outcome -> number)."""
    counts: Counter[str] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, value in report.user_properties:
                if name in ("hand-over", "hand-overs"):
                    counts.update({value: 1} if name == "hand-over" else value)
    if not counts:
        return
    ordered = {name: counts.get(name, 0) for name in ("shared", "copied", "refused", "crashed")}
    ordered |= {name: n for name, n in counts.items() if name not in ordered}
    total = sum(counts.values())
    text = ", ".join(f"{n:,} {name}" for name, n in ordered.items())
    terminalreporter.write_line(f"hand-overs: {total:,} ({text})")
    destination = config.getoption("--interop-json", default=None)
    if destination:
        Path(destination).write_text(json.dumps({"total": total, **ordered}, indent=2) + "\n")
