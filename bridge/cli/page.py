"""The heat map as a page that stands alone: nothing is loaded, the cells are inside.

`page.html` holds the text, the style and the script; this module puts the cells in.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from bridge.cli.runner import Matrix
from bridge.cli.samples import LAYOUTS

__all__ = ["page"]


def page(matrix: Matrix) -> str:
    """The text of the page."""
    text = json.dumps(_packed(matrix), separators=(",", ":")).replace("<", "\\u003c")
    template = files("bridge.cli").joinpath("page.html").read_text(encoding="utf-8")
    return template.replace("/*cells*/ null", text)


def _packed(matrix: Matrix) -> dict[str, Any]:
    """Every finding once, and for each pair and each way of calling the number of the finding for each sample.

    `samples[source]` lists (dtype, layout); `pairs["source target"][call]` has a number for each of them, 0 for none.
    """
    findings: dict[tuple[Any, ...], int] = {}
    samples: dict[str, dict[tuple[str, str], int]] = {name: {} for name in matrix.versions}
    numbers: dict[str, dict[str, dict[int, int]]] = {}
    for cell, found in matrix.found.items():
        dtype = f"{cell.dtype} (x64)" if cell.x64 else cell.dtype
        sample = samples[cell.source].setdefault((dtype, cell.layout), len(samples[cell.source]))
        finding = findings.setdefault(tuple(found), len(findings) + 1)
        mode = "readonly" if cell.readonly else str(cell.copy)
        calls = numbers.setdefault(f"{cell.source} {cell.target}", {})
        calls.setdefault(f"{mode} {cell.via or ''}", {})[sample] = finding
    return {
        "versions": matrix.versions,
        "counts": dict(matrix.counts()),
        "missing": matrix.missing,
        "layouts": {name: layout.about for name, layout in LAYOUTS.items()},
        "findings": list(findings),
        "samples": {name: list(found) for name, found in samples.items()},
        "pairs": {
            pair: {
                call: [row.get(index, 0) for index in range(len(samples[pair.split()[0]]))]
                for call, row in calls.items()
            }
            for pair, calls in numbers.items()
        },
    }
