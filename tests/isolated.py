"""Programs, and calls that can kill the interpreter, in another one.

`run_each("package.module:function", inputs)` calls the function once per input (any JSON value) and gives back what
each call returned (any JSON value). A call that raises gives {"raised": traceback}; one that kills the process gives
{"crashed": why}, and the rest run in a fresh process. Reports are flushed one by one, so it is known which call it was.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def run_code(code: str, *, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a program text in a fresh interpreter that finds what this one finds."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=_variables(environment), timeout=timeout
    )


def _variables(more: Mapping[str, str]) -> dict[str, str]:
    paths = [str(Path(__file__).parent), *filter(None, sys.path)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TF_CPP_MIN_LOG_LEVEL": "3", **more}


def run_each(
    target: str, inputs: Sequence[Any], *, environment: Mapping[str, str] | None = None, timeout: float = 600
) -> list[Any]:
    reports: list[Any] = []
    while len(reports) < len(inputs):
        done = subprocess.run(
            [sys.executable, "-m", "isolated", target],
            input="".join(json.dumps(value) + "\n" for value in inputs[len(reports) :]),
            capture_output=True,
            text=True,
            env=_variables(environment or {}),
            timeout=timeout,
        )
        lines = done.stdout.splitlines()
        reports += [json.loads(line) for line in lines]
        if len(reports) < len(inputs):
            reports.append({"crashed": f"exit status {done.returncode}\n{done.stderr[-2000:]}"})
        elif done.returncode != 0:
            reports[-1] = {"crashed": f"exit status {done.returncode} at the end\n{done.stderr[-2000:]}"}
    return reports


def main() -> None:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints is not a report
    module, _, function = sys.argv[1].partition(":")
    call = getattr(importlib.import_module(module), function)
    for line in sys.stdin:
        try:
            report = call(json.loads(line))
        except Exception:
            report = {"raised": traceback.format_exc()}
        print(json.dumps(report), file=out, flush=True)


if __name__ == "__main__":
    main()
