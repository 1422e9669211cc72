"""Show what a file holds (npy, npz, safetensors, gguf): arrays, dtypes, shapes, sizes, metadata. Loads no data.

Exit status 1: the file cannot be opened, or is damaged; the text says what is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict

from bridge.core.errors import FormatError, human_bytes
from bridge.core.io.api import FORMATS
from bridge.core.io.files import printable
from bridge.core.io.listing import Listing, Row, listing, text_of

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the file")
    parser.add_argument("--format", choices=FORMATS, help="instead of what its name and its content say")
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the arrays of a file. 1: it cannot be read."""
    try:
        found = listing(arguments.file, arguments.format)
    except (FormatError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.json:
        metadata = {key: text_of(value) for key, value in found.metadata.items()}
        print(json.dumps(asdict(found) | {"metadata": metadata}, indent=2))
    else:
        print("\n".join(_lines(arguments.file, found)))
    return 0


def _lines(file: str, found: Listing) -> Iterator[str]:
    total = sum(row.nbytes for row in found.rows)
    count = f"{len(found.rows)} array{'' if len(found.rows) == 1 else 's'}"
    yield f"{printable(file)}: {found.format}, {human_bytes(found.size)}, {count} of {human_bytes(total)}"
    cells = [_cells(row) for row in found.rows]
    widths = [max(len(one[i]) for one in cells) for i in range(4)] if cells else []
    for one in cells:
        left = "  ".join(text.ljust(width) for text, width in zip(one[:3], widths, strict=False))
        yield f"  {left}  {one[3].rjust(widths[3])}  {one[4]}".rstrip()
    if found.metadata:
        yield "metadata"
        for key, value in found.metadata.items():
            yield f"  {printable(key)}: {text_of(value)}"


def _cells(row: Row) -> tuple[str, str, str, str, str]:
    shape = f"[{', '.join(map(str, row.shape))}]"
    return printable(row.name), row.dtype, shape, human_bytes(row.nbytes), row.note
