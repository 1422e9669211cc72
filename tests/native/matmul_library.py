"""Builds the matrix product alone, as a shared library with the C interface of matmul_harness.cpp, and calls it."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from native.build import BASE_FLAGS, HERE, NATIVE, compiler, levels

DTYPES = "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128"
CODES = {name: code for code, name in enumerate(DTYPES.split())}  # the order of dtypes.h
# Level: (enum Isa, enum Bfloat16).
LEVELS = {"v2": (0, 0), "v3": (1, 0), "v4": (2, 0), "neon": (3, 0), "generic": (4, 0)}
LEVELS |= {"v4+bf16": (2, 1), "v4+amx": (2, 2)}


def names_of_levels() -> list[str]:
    """The levels that the compiler builds for this kind of machine; the processor may lack some."""
    return [name for name in LEVELS if name.split("+")[0] in levels()]


def build(*, optimise: str = "-O3", extra: tuple[str, ...] = ()) -> Path:
    """Path of the library, kept in the temporary directory under a name made of its sources."""
    flags = [*BASE_FLAGS, "-pthread", *extra]
    plain = [NATIVE / name for name in ("matmul.cpp", "matmul_choice.cpp", "memory.cpp", "threads.cpp")]
    plain.append(HERE / "matmul_harness.cpp")
    jobs: list[tuple[Path, str, list[str]]] = []
    for level, level_flags in levels().items():
        jobs.append((NATIVE / "matmul_isa.cpp", level, [optimise, *level_flags, f"-DBRIDGE_ISA_NS=isa_{level}"]))
        if level == "v4":
            jobs.append((NATIVE / "matmul_bf16.cpp", "v4_bf16", [optimise, *level_flags, "-mavx512bf16"]))
    digest = hashlib.sha256(repr((compiler(), flags, jobs)).encode())
    headers = [NATIVE / name for name in ("dtypes.h", "isa.h", "memory.h", "threads.h")]
    for path in sorted({*NATIVE.glob("matmul*"), *headers, *plain, Path(__file__)}):
        digest.update(path.read_bytes())
    target = Path(tempfile.gettempdir()) / f"bridge_matmul_test_{digest.hexdigest()[:20]}.so"
    if target.exists():
        return target
    jobs += [(source, "plain", ["-O2", "-fvisibility=default"]) for source in plain]
    with tempfile.TemporaryDirectory() as scratch:
        objects = []
        for source, level, more in jobs:
            objects.append(f"{scratch}/{source.stem}_{level}.o")
            _run([compiler(), *flags, *more, f"-I{NATIVE}", "-c", str(source), "-o", objects[-1]])
        made = Path(scratch) / target.name
        _run([compiler(), "-shared", "-pthread", *extra, *objects, "-o", str(made)])
        made.replace(target)
    return target


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")


@cache
def library() -> Any:
    lib = ctypes.CDLL(str(build()))
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    lib.matmul_run.argtypes = [ctypes.c_int, size, size, size, pointer, size, size, pointer, size, size, pointer]
    lib.active_bytes.restype = ctypes.c_longlong
    lib.limit_bytes.argtypes = [ctypes.c_longlong]
    return lib


def matmul(dtype: str, a: np.ndarray, b: np.ndarray, *, out: np.ndarray | None = None) -> np.ndarray:
    """a @ b by the engine's kernels: arrays of any strides and alignment, bfloat16 as ml_dtypes has it."""
    (m, k), n = a.shape, b.shape[1]
    c = np.empty((m, n), a.dtype) if out is None else out
    steps = [stride // a.itemsize for stride in (*a.strides, *b.strides)]
    status = library().matmul_run(
        CODES[dtype], m, n, k, a.ctypes.data, steps[0], steps[1], b.ctypes.data, steps[2], steps[3], c.ctypes.data
    )
    if status:
        raise MemoryError("no room for the panels")
    return c
