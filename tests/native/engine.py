"""run_kernel from Python: kernels are written as small expressions over NumPy arrays.

`bfloat16` is ml_dtypes.bfloat16. Arrays are passed with whatever strides they have.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import ml_dtypes
import numpy as np
from native.build import build

DTYPES = [np.dtype(t) for t in ("?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2")]
DTYPES += [np.dtype(ml_dtypes.bfloat16)] + [np.dtype(t) for t in ("f4", "f8", "c8", "c16")]
NAMES = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]
NAMES += ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
DTYPE = dict(zip(NAMES, DTYPES, strict=True))
CODE = {dtype: code for code, dtype in enumerate(DTYPES)}
REDUCE = {name: i for i, name in enumerate(["none", "sum", "prod", "max", "min", "all", "any", "argmax", "argmin"])}

BOOLEAN = ["bool"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
SIGNED = ["int8", "int16", "int32", "int64"]
INTEGER = UNSIGNED + SIGNED
FLOATING = ["float16", "bfloat16", "float32", "float64"]
COMPLEX = ["complex64", "complex128"]
TO_BOOL = {
    "isnan",
    "isinf",
    "isfinite",
    "signbit",
    "logical_not",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
}
TO_BOOL |= {"greater_equal", "logical_and", "logical_or"}


@cache
def library() -> ctypes.CDLL:
    lib = ctypes.CDLL(str(build()))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result in {"isa": text, "stage_name": text, "run": text, "print": text, "new": pointer}.items():
        getattr(lib, f"test_{name}").restype = result
    for name in ("time", "estimate"):
        getattr(lib, f"test_{name}").restype = ctypes.c_double
    for name in ("run", "print", "free", "time", "estimate"):
        getattr(lib, f"test_{name}").argtypes = [pointer] + [ctypes.c_int] * (2 if name == "time" else 0)
    lib.test_new.argtypes = [ctypes.c_int, pointer]
    lib.test_input.argtypes = [pointer, ctypes.c_int, pointer, pointer]
    lib.test_scalar.argtypes = [pointer, ctypes.c_int, pointer]
    lib.test_instr.argtypes = [pointer] + [ctypes.c_int] * 6
    lib.test_output.argtypes = [pointer, ctypes.c_int, ctypes.c_int, pointer, pointer]
    lib.test_reduce.argtypes = [
        pointer,
        ctypes.c_int,
        ctypes.c_int,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_int,
        pointer,
    ]
    return lib


@cache
def stages() -> dict[str, tuple[int, int]]:
    """Name of each stage: its number and arity."""
    lib, table = library(), {}
    for i in range(1000):
        name = lib.test_stage_name(i)
        if name is None:
            return table
        table[name.decode()] = (i, lib.test_stage_arity(i))
    raise AssertionError("no end of stages")


def result_dtype(stage: str, dtype: np.dtype) -> np.dtype:
    if stage in TO_BOOL:
        return DTYPE["bool"]
    if stage in ("abs", "real", "imag") and dtype.kind == "c":
        return DTYPE["float32" if dtype.itemsize == 8 else "float64"]
    return dtype


def _strides(array: np.ndarray) -> ctypes.Array | None:
    """Element strides; None (dense) where that says the same."""
    if array.flags.c_contiguous:
        return None
    assert all(s % array.itemsize == 0 for s in array.strides)
    return (ctypes.c_int64 * array.ndim)(*[s // array.itemsize for s in array.strides])


@dataclass
class Kernel:
    """One KernelSpec under construction; value ids are returned as they are made."""

    shape: tuple[int, ...]
    inputs: list[np.dtype] = field(default_factory=list)
    tape: list[tuple[int, np.dtype, np.dtype, tuple[int, ...]]] = field(default_factory=list)
    keep: list[object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lib = library()
        self.handle = ctypes.c_void_p(
            self.lib.test_new(len(self.shape), (ctypes.c_int64 * len(self.shape))(*self.shape))
        )
        self.started = False

    def __del__(self) -> None:
        self.lib.test_free(self.handle)

    def input(self, array: np.ndarray, *, scalar: bool = False) -> int:
        """Value id of an array broadcast to the shape (a scalar with scalar=True)."""
        assert not self.tape, "inputs come first"
        self.keep.append(array)
        code = CODE[array.dtype]
        if scalar:
            self.lib.test_scalar(self.handle, code, array.ctypes.data)
        else:
            view = np.broadcast_to(array, self.shape)
            strides = _strides(view)
            self.keep.append(strides)
            self.lib.test_input(self.handle, code, array.ctypes.data, strides)
        self.inputs.append(array.dtype)
        return len(self.inputs) - 1

    def dtype(self, value: int) -> np.dtype:
        return self.inputs[value] if value < len(self.inputs) else self.tape[value - len(self.inputs)][2]

    def op(self, stage: str, *operands: int, to: np.dtype | None = None) -> int:
        """Value id of a stage applied to values; `to` is for cast."""
        number, arity = stages()[stage]
        assert arity == len(operands), stage
        source = self.dtype(operands[-1])
        out = to if to is not None else result_dtype(stage, source)
        self.tape.append((number, source, out, operands))
        a, b, c = (*operands, -1, -1)[:3]
        self.lib.test_instr(self.handle, number, CODE[source], CODE[out], a, b, c)
        return len(self.inputs) + len(self.tape) - 1

    def output(self, value: int, out: np.ndarray | None = None) -> np.ndarray:
        """Array that receives the value; by default a dense one, full of rubbish until the kernel runs."""
        if out is None:
            out = np.frombuffer(b"\xa5" * (int(np.prod(self.shape)) * self.dtype(value).itemsize), "u1").copy()
            out = out.view(self.dtype(value)).reshape(self.shape)
        strides = _strides(out)
        self.keep += [out, strides]
        self.lib.test_output(self.handle, value, CODE[out.dtype], out.ctypes.data, strides)
        return out

    def reduce(self, name: str, value: int, axes: Sequence[int], out_dtype: np.dtype) -> np.ndarray:
        kept = tuple(n for i, n in enumerate(self.shape) if i not in axes)
        out = np.full(kept, 85).astype(out_dtype)
        self.keep.append(out)
        mask = sum(1 << a for a in axes)
        self.lib.test_reduce(
            self.handle, REDUCE[name], value, mask, CODE[self.dtype(value)], CODE[out.dtype], out.ctypes.data
        )
        return out

    def run(self) -> None:
        problem = self.lib.test_run(self.handle)
        if problem is not None:
            raise RuntimeError(problem.decode())

    def text(self) -> str:
        return self.lib.test_print(self.handle).decode()

    def nanoseconds(self, rounds: int = 7, repeat: int = 100) -> float:
        return self.lib.test_time(self.handle, rounds, repeat)


def apply(
    stage: str, *operands: np.ndarray, to: np.dtype | None = None, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """One stage over arrays that broadcast together."""
    kernel = Kernel(np.broadcast_shapes(*[o.shape for o in operands]) if shape is None else shape)
    values = [kernel.input(o) for o in operands]
    out = kernel.output(kernel.op(stage, *values, to=to))
    kernel.run()
    return out


def reduce(name: str, array: np.ndarray, axes: Sequence[int], out_dtype: np.dtype) -> np.ndarray:
    kernel = Kernel(array.shape)
    out = kernel.reduce(name, kernel.input(array), axes, out_dtype)
    kernel.run()
    return out
