"""What must happen in each cell of the matrix of pairs: written by hand, from facts about the frameworks alone.

As in facts.py, nothing of bridge's decisions is imported: a cell is judged by the tables below. They were found by
trying the frameworks (numpy 2.4, torch 2.13, jax 0.10, tensorflow 2.21), or follow from the promises of the
documentation: read-only memory never becomes writable, nothing is narrowed, layouts and alignments that a framework
cannot hold are copied or, under copy=False, refused.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from interop.expected import narrowest
from interop.facts import DTYPES as COMPUTED
from interop.facts import WIDE, is_compact_permutation, is_row_major, repeats, runs_backwards, size

FLOAT8 = frozenset(f"float8_{name}" for name in ("e4m3fn", "e5m2", "e4m3b11fnuz", "e4m3fnuz", "e5m2fnuz", "e8m0fnu"))
FOUR_BITS = frozenset({"int4", "uint4", "float4_e2m1fn"})
PLAIN = frozenset(COMPUTED)  # what DLPack 1.0 has codes for
NATIVE = PLAIN - {"bfloat16"}  # what NumPy has by itself, and the buffer protocol a code for
EVERY = PLAIN | FLOAT8 | FOUR_BITS


class Facts(NamedTuple):
    """What the arrays of a framework can be; see facts.py for `alignment` and `strides`."""

    alignment: int
    strides: str
    mutable: bool
    read_only: bool
    dtypes: frozenset[str]


FRAMEWORKS = {
    "bridge": Facts(0, "any", True, True, EVERY),
    "numpy": Facts(1, "any", True, True, EVERY),
    "torch": Facts(1, "non-negative", True, False, PLAIN | FLOAT8 - {"float8_e4m3b11fnuz"}),
    "jax": Facts(64, "compact", False, True, EVERY - WIDE),  # WIDE with jax_enable_x64
    "tensorflow": Facts(64, "row-major", False, True, EVERY - {"float8_e8m0fnu"}),
}

# The doors into each framework: door -> what it carries. `via=` names them; a pair has those that its source speaks.
INTO = {
    "bridge": {"exchange": EVERY, "direct": EVERY, "capsule": EVERY, "dlpack": EVERY},
    "numpy": {"array": NATIVE, "dlpack": NATIVE},  # NumPy's DLPack knows its own dtypes
    "torch": {"exchange": EVERY, "numpy": NATIVE, "dlpack": EVERY},
    "jax": {"direct": PLAIN | FLOAT8, "dlpack": PLAIN | FLOAT8, "array": FOUR_BITS},
    "tensorflow": {"capsule": PLAIN, "dlpack": PLAIN, "array": FLOAT8 | FOUR_BITS},
}
ALL_INTO = {"address": EVERY, "buffer": NATIVE, "memoryview": NATIVE}  # the same wherever they exist
# ... of which these make a copy whatever they are given: constructors, that share nothing.
COPYING = {(target, door) for target in ("jax", "tensorflow") for door in ("array", "buffer", "memoryview")}
# What the door adds to the demands of its target, or of its source: torch.frombuffer forgets shape and strides, jax's
# buffers are row-major.
FLAT_INTO = {("torch", "buffer"), ("torch", "memoryview")}
FLAT_FROM = {("jax", "buffer"), ("jax", "memoryview")}
CAPSULES = {"direct", "capsule", "dlpack"}
NO_CAPSULE_OF = {"jax": FOUR_BITS, "tensorflow": FOUR_BITS}  # sources whose capsules cannot say it

# Layouts of the samples that no numbers describe.
SPECIAL = {"field", "idle", "swapped"}


class Wanted(NamedTuple):
    outcome: str  # "shared" | "copied" | "refused"
    error: str | None = None


def wanted(cell, layout: Any) -> Wanted:
    """The outcome of a cell; `layout` is that of its sample."""
    known = FRAMEWORKS[cell.target].dtypes | (WIDE if cell.x64 else frozenset())
    if cell.dtype not in known:
        return Wanted("refused", "DTypeError")
    if cell.via is not None and not carries(cell):
        return Wanted("refused", "DTypeError")
    if cell.copy is True:
        return Wanted("copied")
    if cell.source == cell.target and cell.via is None:
        return Wanted("shared")
    if not has_obstacle(cell, layout):
        return Wanted("shared")
    return Wanted("copied") if cell.copy is None else Wanted("refused", "CopyRequired")


def carries(cell) -> bool:
    """Whether the door that the call names has a way to say this dtype, on both sides."""
    if cell.via in CAPSULES and cell.dtype in NO_CAPSULE_OF.get(cell.source, ()):
        return False
    return cell.dtype in {**ALL_INTO, **INTO[cell.target]}[cell.via]


def has_obstacle(cell, layout: Any) -> bool:
    """Whether these bytes cannot become an array of the target as they lie there."""
    target = FRAMEWORKS[cell.target]
    if cell.layout == "swapped":  # the bytes are not the values
        return True
    if cell.dtype in FOUR_BITS and "jax" in (cell.source, cell.target):  # two to a byte there, one to a byte elsewhere
        return True
    if (cell.target, cell.via) in COPYING or (cell.target == "tensorflow" and cell.dtype in FLOAT8 | FOUR_BITS):
        return True
    if is_read_only(cell, layout) and target.mutable and not target.read_only and not cell.readonly:
        return True
    if cell.layout == "field":  # no whole number of elements lies between two of them
        return True
    return cell.layout != "idle" and not fits(cell, layout)


def is_read_only(cell, layout: Any) -> bool:
    """Whether nobody may write through the result."""
    overlaps = cell.layout == "overlapping" or (layout.strides is not None and repeats(layout) and size(layout) > 0)
    return not FRAMEWORKS[cell.source].mutable or layout.readonly or overlaps


def fits(cell, layout: Any) -> bool:
    """Whether the target, the door and the offer of the source take this layout at this address."""
    if size(layout) == 0:
        return True
    target = FRAMEWORKS[cell.target]
    flat = (cell.target, cell.via) in FLAT_INTO or (cell.source, cell.via) in FLAT_FROM
    strides = narrowest(target.strides, "row-major" if flat else "any")
    if strides != "any" and runs_backwards(layout):
        return False
    if strides == "compact" and not is_compact_permutation(layout):
        return False
    if strides == "row-major" and not is_row_major(layout):
        return False
    item, scalar = COMPUTED.get(cell.dtype, (1, 1))
    return aligned(layout, item) >= (target.alignment or scalar)


def aligned(layout: Any, item: int) -> int:
    """Largest power of two, at most 64, that divides the address of the first element."""
    address = 64 + layout.shift + layout.offset * item
    return min(64, address & -address)
