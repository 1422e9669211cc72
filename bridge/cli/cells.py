"""The cells of the matrix: which array is handed to whom, and how. What cannot exist is no cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import product
from typing import NamedTuple

from bridge.cli.samples import ADAPTERS, DTYPES, LAYOUTS, make
from bridge.core.framework import doors_between
from bridge.core.registry import registry

__all__ = ["CALLS", "COPY", "TELLING", "WIDE", "Cell", "Sample", "cells", "doors", "installed", "samples"]

COPY = (None, False, True)
#: What every sample is tried with: answers to copy= and readonly=.
CALLS: tuple[tuple[bool | None, bool], ...] = (*((copy, False) for copy in COPY), (False, True))
#: What jax has only with jax_enable_x64.
WIDE = ("int64", "uint64", "float64", "complex128")
#: One dtype for every way that dtypes travel; all doors are tried with these.
TELLING = ("bool", "int64", "bfloat16", "float32", "complex64", "float8_e4m3fn", "int4", "float4_e2m1fn")


class Sample(NamedTuple):
    """An array that one of the frameworks can hold."""

    framework: str
    dtype: str
    layout: str


class Cell(NamedTuple):
    """One hand-over. Plain values, so that it can travel to another process as JSON."""

    source: str
    target: str
    dtype: str
    layout: str
    copy: bool | None = None
    via: str | None = None
    readonly: bool = False
    x64: bool = False  # jax_enable_x64


def installed() -> list[str]:
    """The built-in frameworks that are installed here."""
    return [name for name, adapter in ADAPTERS.items() if find_spec(adapter.module) is not None]


def samples(frameworks: Sequence[str], dtypes: Sequence[str] = DTYPES) -> Iterator[Sample]:
    """The arrays that there are: what a framework cannot hold is no cell."""
    for framework, dtype, layout in product(frameworks, dtypes, LAYOUTS):
        if make(framework, dtype, layout) is not None:
            yield Sample(framework, dtype, layout)


def cells(
    found: Iterable[Sample],
    targets: Sequence[str],
    *,
    named_doors: bool = True,
    x64: bool = False,
    calls: Iterable[tuple[bool | None, bool]] = CALLS,
) -> Iterator[Cell]:
    """Every sample to every target, without `via` in all dtypes and through every door in the telling ones."""
    for sample, target in product(found, targets):
        start = partial(Cell, sample.framework, target, sample.dtype, sample.layout, x64=x64)
        for copy, readonly in calls:
            yield start(copy=copy, readonly=readonly)
        if named_doors and sample.dtype in TELLING:
            for via, copy in product(doors(sample.framework, target), COPY):
                yield start(copy=copy, via=via)


def doors(source: str, target: str) -> list[str]:
    """What `via=` can name from one to the other."""
    registry.load()
    between = doors_between(registry.frameworks[source], registry.frameworks[target])
    return [door.name for door, _ in between]
