"""Hand arrays over between all pairs of frameworks that are installed here, and show what happened.

Every ordered pair, dtype, layout, answer to `copy=` and door is tried; see `bridge/cli/cells.py`. A hand-over counts as
shared, copied or refused by what was measured. It is wrong if values, dtype or shape changed, if a keyword was not
obeyed, or if a receipt or a plan says something else than the memory shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bridge.cli.cells import TELLING, installed
from bridge.cli.page import page
from bridge.cli.runner import Matrix, run_cells
from bridge.cli.samples import DTYPES

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the heat map: one page that loads nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every cell")
    parser.add_argument("--quick", action="store_true", help="fewer dtypes, and only the default doors")
    parser.add_argument(
        "--frameworks", nargs="+", choices=installed(), default=installed(), metavar="NAME", help="only between these"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the matrix. Exit status 0 if nothing was wrong and nothing crashed, else 1."""
    matrix = run_cells(
        arguments.frameworks,
        [dtype for dtype in DTYPES if not arguments.quick or dtype in TELLING],
        named_doors=not arguments.quick,
        x64=not arguments.quick,
        progress=_progress if sys.stderr.isatty() else lambda done, total: None,
    )
    print("\n".join(_report(matrix)))
    if arguments.json:
        arguments.json.write_text(json.dumps(_plain(matrix)) + "\n", encoding="utf-8")
    if arguments.html:
        arguments.html.write_text(page(matrix), encoding="utf-8")
        print(f"heat map: {arguments.html}")
    return 0 if matrix.is_good else 1


def _progress(done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        print(f"\r{done:,} of {total:,}", end="\n" if done == total else "", file=sys.stderr, flush=True)


# -------------------------------------------------------------------------------------------------------------- report

_LISTED = 20  # wrong cells that the report names


def _report(matrix: Matrix) -> Iterator[str]:
    """The text: a table of pairs, and what is wrong."""
    names = list(matrix.versions)
    counts = matrix.counts()
    versions = ", ".join(f"{name} {version}" for name, version in matrix.versions.items())
    yield f"{len(matrix.found):,} hand-overs between {versions}"
    yield ""
    rows = [["from \\ to", *names]]
    for source in names:
        of_pairs = [matrix.counts(source=source, target=target) for target in names]
        rows.append([source, *("/".join(str(of[each]) for each in _SEEN) for of in of_pairs)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    yield f"({'/'.join(_SEEN)})"
    yield ""
    yield ", ".join(f"{count:,} {outcome}" for outcome, count in counts.items())
    if matrix.missing:
        yield f"{matrix.missing:,} not tried: there were too many crashes"
    bad = [(cell, found) for cell, found in matrix.found.items() if found.outcome not in _SEEN]
    for cell, found in bad[:_LISTED]:
        keywords = ", ".join(
            f"{name}={value!r}" for name, value in zip(cell._fields[4:], cell[4:], strict=True) if value
        )
        yield f"  {cell.source} -> {cell.target}: {cell.dtype}, {cell.layout}, {keywords}: {found.outcome}: {found.why}"
    if len(bad) > _LISTED:
        yield f"  and {len(bad) - _LISTED} more"


_SEEN = ("shared", "copied", "refused")


def _plain(matrix: Matrix) -> dict[str, Any]:
    """Everything, for other programs. What is None or False is left out of a cell."""
    cells = [
        {name: value for name, value in {**cell._asdict(), **found._asdict()}.items() if value not in (None, False, "")}
        | {"copy": cell.copy}
        for cell, found in matrix.found.items()
    ]
    return {"versions": matrix.versions, "counts": dict(matrix.counts()), "missing": matrix.missing, "cells": cells}
