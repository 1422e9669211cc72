"""The Metal source of a few kernels, kept as files to be read: golden/NAME.kernel printed is golden/NAME.metal.

`python tests/metal/test_golden.py` writes the .metal files anew after a wanted change; look at the difference.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.core._native import DTYPES
from bridge.core.dtypes import float32
from bridge.core.errors import BridgeError, DTypeError
from bridge.core.ops.declare import PRIMITIVES
from bridge.metal import msl
from bridge.metal.spec import Access, Instr, KernelSpec, Output, parse

GOLDEN = Path(__file__).resolve().parent / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.kernel"))
EXPRESSIONS = {name: one.metal for name, one in PRIMITIVES.items() if one.metal is not None}


def printed(name: str) -> str:
    spec = parse((GOLDEN / f"{name}.kernel").read_text())
    return msl.print_library({name: spec}, EXPRESSIONS)


@pytest.mark.parametrize("name", NAMES)
def test_source_is_the_golden_one(name: str):
    """Printing gives the file, byte by byte."""
    assert printed(name) == (GOLDEN / f"{name}.metal").read_text()


def test_source_does_not_depend_on_extents():
    """Shape, strides and scalars travel in the argument block: the text, and so the compiled kernel, is the same."""
    text = "kernel [{0},3] in: a float32 strides({1},1), b float32 {2}\n"
    text += "  %0 = add(a, b) float32\n  out0 = %0 float32 dense"
    small, large = parse(text.format(2, 3, "1.0")), parse(text.format(400, -7, "2.5"))
    assert msl.print_library({"k": small}, EXPRESSIONS) == msl.print_library({"k": large}, EXPRESSIONS)
    assert msl.pack_arguments(small) != msl.pack_arguments(large)


@pytest.mark.parametrize(("name", "instead"), [("float64", "float32"), ("complex128", "complex64")])
def test_dtypes_that_metal_lacks(name: str, instead: str):
    """64-bit floating point is refused, and the message says what to use."""
    dtype = DTYPES[name]
    spec = KernelSpec((4,), (Access(dtype),), (), (Output(0, dtype),))
    with pytest.raises(DTypeError, match=rf"Metal has no {name}.*\n(.*\n)*.*astype\(bridge\.{instead}\)"):
        msl.print_library({"k": spec}, EXPRESSIONS)


def test_limits():
    """31 buffers, 2**32 threads, 4 KiB of arguments: beyond them is refused, not printed."""
    spec = KernelSpec((4,), (Access(float32),) * 30, (), (Output(0, float32),))
    with pytest.raises(BridgeError, match="31 buffers"):
        msl.print_kernel("k", spec, EXPRESSIONS)
    with pytest.raises(BridgeError, match="32 bits"):
        msl.pack_arguments(KernelSpec((2**16, 2**16), (Access(float32),), (), (Output(0, float32),)))
    wide = (Access(float32, strides=(1,) * 32),) * 20
    with pytest.raises(BridgeError, match="argument block is too long"):
        msl.pack_arguments(KernelSpec((1,) * 32, wide, (), (Output(0, float32),)))


def test_unknown_stage_is_refused():
    """A stage without a text is named."""
    spec = KernelSpec((4,), (Access(float32),), (Instr("tanh", float32, float32, (0,)),), (Output(1, float32),))
    with pytest.raises(BridgeError, match="tanh has no Metal text"):
        msl.print_kernel("k", spec, {})


def test_reductions_are_not_read():
    """The text of a kernel that ends in a reduction is refused: it is no elementwise kernel."""
    with pytest.raises(BridgeError, match=re.escape("sum(a, axes=(0)) float32")):
        parse("kernel [4] in: a float32 dense\n  sum(a, axes=(0)) float32")


@pytest.mark.parametrize(
    ("tape", "outputs", "text"),
    [
        ((Instr("exp", float32, float32, (1,)),), (), "not computed before"),
        ((), (Output(0, DTYPES["int32"]),), "which it is not"),
        ((), (Output(0, float32, (1,)),), "2 axes"),
    ],
)
def test_specs_are_checked(tape, outputs, text: str):
    """A value before its computation, a store in another dtype, strides of another space: each raises."""
    with pytest.raises(ValueError, match=text):
        KernelSpec((2, 3), (Access(float32),), tape, outputs)


if __name__ == "__main__":
    for stem in NAMES:
        (GOLDEN / f"{stem}.metal").write_text(printed(stem))
