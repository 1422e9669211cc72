"""Traces and tapes: a function is called on arrays of a trace's own, and the graph between them and what it gives is
the tape.

Every transform starts a trace, so that its inputs are nobody else's: a transform inside another one cannot take the
other's changes for its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

from bridge.core import _native
from bridge.core._native import Dtype, array
from bridge.core.ops.declare import PRIMITIVES, Declaration


def declared(name: str) -> Declaration:
    """The declaration of the primitive whose name is on a tape."""
    return PRIMITIVES[name]


def describe(a: array) -> str:
    """float32[4, 3]."""
    return f"{a.dtype.name}[{', '.join(map(str, a.shape))}]"


class Record(NamedTuple):
    """One op on a tape. Slots count the inputs of the trace first, then the ops of the tape; -1 depends on no input."""

    name: str  # of the primitive
    y: array
    operands: tuple[array, ...]
    slots: tuple[int, ...]
    parameters: dict[str, Any]


class Tape(NamedTuple):
    """The ops between a trace's inputs and some results, in topological order."""

    n_inputs: int
    records: list[tuple[str, array, tuple[array, ...], tuple[int, ...], dict[str, Any]]]  # as Record
    results: list[int]  # slots

    def firsts(self) -> dict[int, int]:
        """For every call of a custom function, by identity: the first of its records."""
        found: dict[int, int] = {}
        for k, record in enumerate(self.records):
            if record[0] == "call":
                found.setdefault(id(record[4]["call"]), k)
        return found


class Trace:
    """A running transform. While it is entered, evaluated arrays that depend on it remember where they came from."""

    __slots__ = ("n_inputs", "name", "number", "symbolic")

    def __init__(self, name: str, *, symbolic: bool = False) -> None:
        self.name = name
        self.symbolic = symbolic
        self.n_inputs = 0

    def __enter__(self) -> Trace:
        self.number: int = _native._trace_begin(self.name, self.symbolic)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _native._trace_end(self.number)

    def inputs(self, arrays: Sequence[array]) -> list[array]:
        """New arrays of the same values."""
        self.n_inputs += len(arrays)
        return _native._trace_inputs(self.number, arrays)

    def symbols(self, specs: Sequence[tuple[Dtype, Sequence[int]]]) -> list[array]:
        """Arrays that stand for values which are not there: looking at one raises TracedError."""
        self.n_inputs += len(specs)
        return _native._trace_symbols(self.number, specs)

    def tape(self, results: Sequence[array]) -> Tape:
        """What was done to the inputs, which the trace knows: an update in place gives their handles other nodes."""
        records, slots = _native._tape(self.number, results)
        return Tape(self.n_inputs, records, slots)


class Parts(dict[int, array]):
    """Changes of some of an op's results."""

    def __add__(self, other: Parts) -> Parts:
        total = Parts(self)
        for k, one in other.items():
            total[k] = total[k] + one if k in total else one
        return total
