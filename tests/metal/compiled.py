"""Printed Metal source on the CPU: compiled by the C++ compiler over standin/metal_stdlib, run thread after thread."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np

from bridge.core.ops.declare import PRIMITIVES
from bridge.metal import msl
from bridge.metal.spec import KernelSpec

STANDIN = Path(__file__).resolve().parent / "standin"
# -O0: no optimisation may hide what the text says, and the text is compiled once and run for microseconds.
FLAGS = ["-std=c++20", "-O0", "-fPIC", "-shared", "-ffp-contract=off", "-x", "c++"]
FLAGS += ["-Wno-attributes", "-Wno-unknown-pragmas", "-Wno-unknown-attributes"]

EXPRESSIONS: dict[str, str] = {name: one.metal for name, one in PRIMITIVES.items() if one.metal is not None}


def compiler() -> str:
    return os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or "c++"


def numpy_dtype(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


class Library:
    """Kernels compiled together; `run` calls one of them."""

    def __init__(self, directory: Path, kernels: Mapping[str, KernelSpec]) -> None:
        self._kernels = dict(kernels)
        text = msl.print_library(kernels, EXPRESSIONS)
        text += "".join(_launcher(name, spec) for name, spec in kernels.items())
        source, library = directory / "kernels.metal", directory / "kernels.so"
        source.write_text(text)
        command = [compiler(), *FLAGS, f"-I{STANDIN}", str(source), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        self._library = ctypes.CDLL(str(library))

    def run(self, name: str, *inputs: np.ndarray, outputs: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """Outputs of the kernel. Inputs and outputs point at element 0 of the space; there are more threads than
        elements, as in a grid of whole threadgroups."""
        spec = self._kernels[name]
        results = outputs or [np.zeros(spec.shape, numpy_dtype(one.dtype.name)) for one in spec.outputs]
        block = ctypes.create_string_buffer(msl.pack_arguments(spec))
        pointers = [ctypes.addressof(block), *(x.ctypes.data for x in (*inputs, *results))]
        buffers = (ctypes.c_void_p * len(pointers))(*pointers)
        getattr(self._library, f"run_{name}")(buffers, ctypes.c_uint32(spec.size + 3))
        return list(results)


def _launcher(name: str, spec: KernelSpec) -> str:
    count = sum(access.scalar is None for access in spec.inputs) + len(spec.outputs)
    arguments = "".join(f", Buffer{{buffers[{k}]}}" for k in range(1, count + 1))
    return f"""
extern "C" void run_{name}(void** buffers, uint threads) {{
  for (uint i = 0; i < threads; i++) {name}(*static_cast<{name}_arguments*>(buffers[0]){arguments}, i);
}}
"""
