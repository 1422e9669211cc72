"""The list of hand-overs that `test_matrix.py` makes. Imports nothing from bridge."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from interop.expected import STATES, Case
from interop.facts import (
    DTYPES,
    FRAMEWORKS,
    LAYOUTS,
    SOURCES,
    WIDE,
    alignment,
    is_compact_permutation,
    is_row_major,
    runs_backwards,
)

COPY = (None, False, True)
SOME_DTYPES = ("float32", "bfloat16", "int64", "bool", "complex64")
SOME_LAYOUTS = ("dense", "offset", "strided", "reversed", "transposed", "broadcast", "scalar", "empty", "unit_axes")


def generate() -> Iterator[Case]:
    for framework in FRAMEWORKS:
        yield from outward(framework)
        yield from inward(framework)
        yield from doors(framework)
        yield from states(framework)
    yield from wide_jax()


def outward(framework: str) -> Iterator[Case]:
    """Every dtype and layout that an array of bridge's own can have."""
    for dtype, layout, copy in product(DTYPES, LAYOUTS, COPY):
        if layout != "unaligned":  # the engine's own memory never is
            yield Case(framework, "out", dtype, layout, copy)


def inward(framework: str) -> Iterator[Case]:
    """Every dtype and layout that an array of the framework can have."""
    dtypes = [d for d in DTYPES if d in FRAMEWORKS[framework].dtypes]
    for dtype, layout, copy in product(dtypes, SOURCES[framework], COPY):
        yield Case(framework, "in", dtype, layout, copy)
    if framework == "numpy":
        for dtype, layout, copy in product(SOME_DTYPES, SOURCES[framework], COPY):
            yield Case(framework, "in", dtype, layout, copy, state="read_only")


def doors(framework: str) -> Iterator[Case]:
    """Every path that `via=` can force."""
    for via, dtype, layout, copy in product(FRAMEWORKS[framework].outward, SOME_DTYPES, SOME_LAYOUTS, COPY):
        yield Case(framework, "out", dtype, layout, copy, via)
    for via, dtype, layout, copy in product(FRAMEWORKS[framework].inward, SOME_DTYPES, SOME_LAYOUTS, COPY):
        if dtype in FRAMEWORKS[framework].dtypes and layout in SOURCES[framework]:
            yield Case(framework, "in", dtype, layout, copy, via)


def states(framework: str) -> Iterator[Case]:
    """Every state that the storage can be in, with and without the caller's promise not to write."""
    for dtype, state, copy, readonly in product(("float32", "bfloat16", "int32"), STATES, COPY, (False, True)):
        yield Case(framework, "out", dtype, "dense", copy, state=state, readonly=readonly)
    for dtype, state, copy in product(("bool", "uint8", "int8"), ("imported", "imported_read_only"), COPY):
        yield Case(framework, "out", dtype, "unaligned", copy, state=state)
    for layout, copy in product(SOME_LAYOUTS, COPY):
        yield Case(framework, "out", "float32", layout, copy, state="imported")
        yield Case(framework, "out", "float32", layout, copy, state="imported_read_only")
        if layout != "dense":
            yield Case(framework, "out", "float32", layout, copy, readonly=True)


def wide_jax() -> Iterator[Case]:
    """What jax holds only with jax_enable_x64, in a process of its own."""
    for dtype, layout, copy in product(sorted(WIDE), LAYOUTS, COPY):
        if layout != "unaligned":
            yield Case("jax", "out", dtype, layout, copy, x64=True)
        if layout in SOURCES["jax"]:
            yield Case("jax", "in", dtype, layout, copy, x64=True)


def can_abort(case: Case) -> bool:
    """The framework kills the interpreter, or raises from deep inside, when it is handed such memory unchecked."""
    if case.x64:
        return True
    if case.direction == "in" or case.framework == "numpy":
        return False
    layout = LAYOUTS[case.layout]
    if case.framework == "torch":
        return runs_backwards(layout)
    if case.framework == "jax":
        return not is_compact_permutation(layout)
    return not is_row_major(layout) or alignment(layout, case.dtype) < 64
