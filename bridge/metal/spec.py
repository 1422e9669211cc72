"""An elementwise kernel as Python sees it: the same description that C++ calls KernelSpec, without addresses.

A kernel is a tape of operations over an iteration space. It reads arrays and scalars through accesses and stores some
of the values. `parse` reads the text in which the extension prints kernels (``BRIDGE_DEBUG=kernels``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from bridge.core._native import DTYPES, Dtype
from bridge.core.errors import BridgeError, message

__all__ = ["Access", "Instr", "KernelSpec", "Output", "Scalar", "parse"]

Scalar: TypeAlias = bool | int | float | complex


@dataclass(frozen=True, slots=True)
class Access:
    """One array or scalar that a kernel reads. Strides count elements, one per axis; neither given: dense row-major."""

    dtype: Dtype
    strides: tuple[int, ...] | None = None
    scalar: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Instr:
    """One value: a stage over earlier values. Operands are value ids: first the inputs, then the tape.

    All operands have the dtype `operand`, except the condition of `select`, which is bool.
    """

    stage: str
    operand: Dtype
    result: Dtype
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """A value that is stored. Strides count elements; None: dense row-major."""

    value: int
    dtype: Dtype
    strides: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """An elementwise kernel over the space `shape`.

    Raises:
        ValueError: a value that does not exist yet, strides of another number of axes, a store of another dtype.
    """

    shape: tuple[int, ...]
    inputs: tuple[Access, ...]
    tape: tuple[Instr, ...]
    outputs: tuple[Output, ...]

    def __post_init__(self) -> None:
        known = len(self.inputs)
        for instr in self.tape:
            if not all(0 <= value < known for value in instr.values):
                raise ValueError(f"{instr.stage} reads a value that is not computed before it: {instr.values}")
            known += 1
        for output in self.outputs:
            if not 0 <= output.value < known or self.dtype_of(output.value) is not output.dtype:
                raise ValueError(f"a store of value {output.value} as {output.dtype.name}, which it is not")
        for strides in [*(access.strides for access in self.inputs), *(output.strides for output in self.outputs)]:
            if strides is not None and len(strides) != len(self.shape):
                raise ValueError(f"strides {strides} for the {len(self.shape)} axes of {self.shape}")

    @property
    def size(self) -> int:
        """Elements of the space."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    def dtype_of(self, value: int) -> Dtype:
        """Dtype of an input or of an instruction's result."""
        inputs = len(self.inputs)
        return self.inputs[value].dtype if value < inputs else self.tape[value - inputs].result


_HEAD = re.compile(r"kernel \[([\d,]*)\] in:(.*)")
_INPUT = re.compile(r" (\w+) (\w+) (dense|strides\([-\d,]*\)|[^,\s]+)(?:,|$)")
_INSTR = re.compile(r" *%\d+ = (\w+)\((.*)\) (\w+)")
_OUTPUT = re.compile(r" *out\d+ = (%?\w+) (\w+) (dense|strides\([-\d,]*\))")


def parse(text: str) -> KernelSpec:
    """The kernel that the extension printed as `text`.

    Raises:
        BridgeError: a line that is no part of an elementwise kernel, such as a reduction.
    """
    head, *lines = text.strip().splitlines()
    match = _HEAD.fullmatch(head)
    if match is None:
        raise _unreadable(head)
    shape = _integers(match[1])
    ids: dict[str, int] = {}
    inputs: list[Access] = []
    tape: list[Instr] = []
    outputs: list[Output] = []
    for name, dtype, layout in _INPUT.findall(match[2]):
        ids[name] = len(ids)
        inputs.append(_access(DTYPES[dtype], layout))
    dtypes = [access.dtype for access in inputs]
    for line in lines:
        if match := _INSTR.fullmatch(line):
            values = tuple(ids[name] for name in match[2].split(", "))
            tape.append(Instr(match[1], dtypes[values[-1]], DTYPES[match[3]], values))
            ids[f"%{len(tape) - 1}"] = len(dtypes)
            dtypes.append(DTYPES[match[3]])
        elif match := _OUTPUT.fullmatch(line):
            outputs.append(Output(ids[match[1]], DTYPES[match[2]], _strides(match[3])))
        else:
            raise _unreadable(line)
    return KernelSpec(shape, tuple(inputs), tuple(tape), tuple(outputs))


def _access(dtype: Dtype, layout: str) -> Access:
    if layout == "dense" or layout.startswith("strides"):
        return Access(dtype, strides=_strides(layout))
    if dtype.name == "bool":
        return Access(dtype, scalar=layout == "true")
    if "int" in dtype.name:
        return Access(dtype, scalar=int(layout))
    return Access(dtype, scalar=complex(layout) if "complex" in dtype.name else float(layout))


def _strides(layout: str) -> tuple[int, ...] | None:
    return None if layout == "dense" else _integers(layout.removeprefix("strides(").removesuffix(")"))


def _integers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(",") if word)


def _unreadable(line: str) -> BridgeError:
    return BridgeError(message("bridge.metal", "this is no line of an elementwise kernel.", got=line.strip()))
