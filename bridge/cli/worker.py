"""The process that hands arrays over, apart from the one that counts: a framework may kill it.

It reads one line of JSON, a `Plan`, and answers with lines of JSON: first the cells and the versions of the frameworks,
then one `Found` per cell in that order. If it dies, the number of answers says in which cell.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from bridge.cli.cells import CALLS, WIDE, Cell, Sample, cells, samples
from bridge.cli.samples import ADAPTERS, make
from bridge.cli.trial import try_cell

__all__ = ["Plan", "main", "plan_cells"]


class Plan(NamedTuple):
    """What the worker shall do."""

    frameworks: list[str]
    dtypes: list[str]
    named_doors: bool  # also with via=, through every door
    x64: bool  # go on with what jax has only with jax_enable_x64
    start: int  # cells that are done already
    calls: Sequence[tuple[bool | None, bool]] = CALLS  # copy= and readonly=


def main() -> None:
    """Answer the plan on standard input."""
    plan = Plan(*json.loads(sys.stdin.readline()))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints is no answer
    warnings.simplefilter("ignore")
    work = list(plan_cells(plan))
    print(json.dumps({"cells": work, "versions": versions(plan.frameworks)}), file=out, flush=True)
    source, built = None, None
    for cell in work[plan.start :]:
        with wide_jax(on=cell.x64):
            sample = Sample(cell.source, cell.dtype, cell.layout)
            if sample != built or cell.source == "bridge":  # an array of bridge's own remembers who held it
                source, built = make(*sample), sample
            print(json.dumps(try_cell(cell, source)), file=out, flush=True)


def plan_cells(plan: Plan) -> Iterator[Cell]:
    """The cells of the plan; the same ones in the same order in every process."""
    yield from cells(
        samples(plan.frameworks, plan.dtypes), plan.frameworks, named_doors=plan.named_doors, calls=plan.calls
    )
    if not plan.x64 or "jax" not in plan.frameworks:
        return
    with wide_jax(on=True):
        for sample in samples(plan.frameworks, [dtype for dtype in plan.dtypes if dtype in WIDE]):
            targets = plan.frameworks if sample.framework == "jax" else ["jax"]
            yield from cells([sample], targets, named_doors=False, x64=True, calls=plan.calls)


@contextmanager
def wide_jax(*, on: bool) -> Iterator[None]:
    """With jax's 64-bit dtypes switched on."""
    if not on:
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def versions(frameworks: list[str]) -> dict[str, str]:
    """Framework -> version."""
    found = {}
    for name in frameworks:
        module: Any = __import__(ADAPTERS[name].module)
        try:
            found[name] = getattr(module, "__version__", "") or version(name)
        except PackageNotFoundError:
            found[name] = "?"
    return found


if __name__ == "__main__":
    main()
