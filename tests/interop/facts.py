"""What each framework can hold, written by hand, and what must therefore happen to an array that is handed over.

This file is the oracle of the interop suite. It imports nothing from bridge and no framework: every line was found by
trying the framework itself (numpy 2.4, torch 2.13, jax 0.10, tensorflow 2.21) or follows from a promise that the
documentation makes. A wrong line here is a wrong promise there.

Strides and offsets are in elements, alignments in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

# One row per dtype: name -> (bytes, bytes of the scalar it is made of).
DTYPES = {
    "bool": (1, 1),
    "uint8": (1, 1),
    "uint16": (2, 2),
    "uint32": (4, 4),
    "uint64": (8, 8),
    "int8": (1, 1),
    "int16": (2, 2),
    "int32": (4, 4),
    "int64": (8, 8),
    "float16": (2, 2),
    "bfloat16": (2, 2),
    "float32": (4, 4),
    "float64": (8, 8),
    "complex64": (8, 4),
    "complex128": (16, 8),
}
WIDE = frozenset({"uint64", "int64", "float64", "complex128"})  # what jax has only with jax_enable_x64
BUFFER_DTYPES = frozenset(DTYPES) - {"bfloat16"}  # PEP 3118 has no code for bfloat16


@dataclass(frozen=True)
class Layout:
    """Where the elements of one array lie: `count` elements of memory, of which shape/strides/offset pick some."""

    count: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    byte_shift: int = 0  # bytes between a 64-byte boundary and element 0 of the memory


LAYOUTS = {
    "dense": Layout(24, (4, 6), (6, 1)),
    "offset": Layout(25, (24,), (1,), offset=1),
    "strided": Layout(48, (4, 6), (12, 2)),
    "window": Layout(48, (4, 6), (8, 1), offset=9),
    "reversed": Layout(24, (4, 6), (-6, 1), offset=18),
    "backwards": Layout(24, (4, 6), (-6, -1), offset=23),
    "transposed": Layout(24, (6, 4), (1, 6)),
    "permuted": Layout(24, (3, 4, 2), (4, 1, 12)),
    "fortran": Layout(24, (4, 6), (1, 4)),
    "broadcast": Layout(6, (4, 6), (0, 1)),
    "scalar": Layout(1, (), ()),
    "empty": Layout(0, (0, 6), (6, 1)),
    "unit_axes": Layout(24, (1, 4, 1, 6), (5, 6, 7, 1)),
    "unaligned": Layout(24, (4, 6), (6, 1), byte_shift=1),
}


def size(layout: Layout) -> int:
    return prod(layout.shape)


def steps(layout: Layout) -> list[tuple[int, int]]:
    """(stride, extent) of the axes that move at all: an axis of extent 1 has a stride that nobody uses."""
    return [(s, n) for s, n in zip(layout.strides, layout.shape, strict=True) if n != 1]


def is_row_major(layout: Layout) -> bool:
    expected = 1
    for stride, extent in reversed(steps(layout)):
        if stride != expected:
            return False
        expected *= extent
    return True


def is_compact_permutation(layout: Layout) -> bool:
    """The axes in some order are row-major: no gap, no repetition, nothing backwards."""
    expected = 1
    for stride, extent in sorted(steps(layout)):
        if stride != expected:
            return False
        expected *= extent
    return True


def runs_backwards(layout: Layout) -> bool:
    return any(stride < 0 for stride, _ in steps(layout))


def repeats(layout: Layout) -> bool:
    return any(stride == 0 for stride, _ in steps(layout))


def alignment(layout: Layout, dtype: str) -> int:
    """Largest power of two, at most 64, that divides the address of the first element."""
    address = 64 + layout.byte_shift + layout.offset * DTYPES[dtype][0]
    return min(64, address & -address)


# What a framework's arrays can be. `strides` is the least that they need, each kind contained in the one before it.
STRIDES = ("any", "non-negative", "compact", "row-major")


@dataclass(frozen=True)
class Door:
    """One way through. Only what the door takes away from its framework is stated."""

    dtypes: frozenset[str] = frozenset(DTYPES)
    strides: str = "any"
    always_copies: bool = False


@dataclass(frozen=True)
class Framework:
    """What the arrays of a framework can be.

    alignment: bytes that the first element must be aligned to; 1 means any address, 0 means that of the scalar.
    mutable:   its arrays can be written through.
    read_only: an array of it can say that it must not be written (so it can take a read-only view).
    outward:   doors from bridge to it, by the name `via=` takes. The first is the default one.
    inward:    doors from it to bridge.
    """

    alignment: int
    strides: str
    mutable: bool
    read_only: bool
    dtypes: frozenset[str] = frozenset(DTYPES)
    outward: dict[str, Door] = field(default_factory=dict)
    inward: dict[str, Door] = field(default_factory=dict)


NO_BFLOAT16 = Door(dtypes=BUFFER_DTYPES)
FLAT = Door(dtypes=BUFFER_DTYPES, strides="row-major")  # the consumer reads bytes and forgets the shape
COPIES = Door(dtypes=BUFFER_DTYPES, always_copies=True)  # a constructor that copies whatever it is given
ANY = Door()

FRAMEWORKS = {
    "numpy": Framework(
        alignment=1,
        strides="any",
        mutable=True,
        read_only=True,
        outward={"buffer": NO_BFLOAT16, "address": ANY, "dlpack": NO_BFLOAT16, "memoryview": NO_BFLOAT16},
        inward={"buffer": NO_BFLOAT16, "address": ANY, "dlpack": ANY, "memoryview": NO_BFLOAT16},
    ),
    "torch": Framework(
        alignment=1,
        strides="non-negative",  # a negative one aborts the interpreter inside torch
        mutable=True,
        read_only=False,
        outward={"exchange": ANY, "dlpack": ANY, "buffer": FLAT, "memoryview": FLAT},
        inward={"exchange": ANY, "address": ANY, "dlpack": ANY},
    ),
    "jax": Framework(
        alignment=64,  # below that jax copies without a word
        strides="compact",  # gaps, repeated and reversed axes have no XLA layout; permutations have
        mutable=False,
        read_only=True,
        dtypes=frozenset(DTYPES) - WIDE,  # unless jax_enable_x64
        outward={"direct": ANY, "dlpack": ANY, "buffer": COPIES, "memoryview": COPIES},
        inward={"direct": ANY, "buffer": FLAT, "address": ANY, "dlpack": ANY, "memoryview": FLAT},
    ),
    "tensorflow": Framework(
        alignment=64,  # below that the first op aborts the process
        strides="row-major",
        mutable=False,
        read_only=True,
        outward={"capsule": ANY, "dlpack": ANY, "buffer": COPIES, "memoryview": COPIES},
        inward={"capsule": ANY, "buffer": NO_BFLOAT16, "address": ANY, "dlpack": ANY, "memoryview": NO_BFLOAT16},
    ),
}
BRIDGE = Framework(alignment=0, strides="any", mutable=True, read_only=True)

# Layouts that a framework's own arrays can have, as sources.
SOURCES = {
    "numpy": tuple(LAYOUTS),
    "torch": tuple(name for name in LAYOUTS if not runs_backwards(LAYOUTS[name])),
    "jax": ("dense", "transposed", "permuted", "fortran", "scalar", "empty", "unit_axes"),
    "tensorflow": ("dense", "scalar", "empty", "unit_axes"),
    "bridge": tuple(LAYOUTS),
}
