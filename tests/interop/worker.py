"""Runs hand-overs that can kill the interpreter: cases as JSON lines in, reports as JSON lines out.

Each report is flushed before the next case begins, so the parent knows which case a process died of.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from interop.expected import Case


def main() -> None:
    from interop.hand_over import run

    for line in sys.stdin:
        case = Case(**json.loads(line))
        try:
            found = run(case)
        except Exception:
            found = {"outcome": "failed", "text": traceback.format_exc()}
        print(json.dumps(found), flush=True)


def run_isolated(cases: list[Case], *, x64: bool = False) -> dict[Case, dict[str, Any]]:
    """Reports by case. A case that kills the process is reported as crashed, and the rest run in a fresh one."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]),
        "JAX_ENABLE_X64": str(int(x64)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    reports: dict[Case, dict[str, Any]] = {}
    left = list(cases)
    while left:
        done = subprocess.run(
            [sys.executable, "-m", "interop.worker"],
            input="".join(json.dumps(case._asdict()) + "\n" for case in left),
            capture_output=True,
            text=True,
            env=environment,
            timeout=600,
        )
        lines = done.stdout.splitlines()
        for case, line in zip(left, lines, strict=False):
            reports[case] = json.loads(line)
        left = left[len(lines) :]
        if left:
            why = f"exit status {done.returncode}\n{done.stderr[-2000:]}"
            reports[left.pop(0)] = {"outcome": "crashed", "text": why}
    return reports


if __name__ == "__main__":
    main()
