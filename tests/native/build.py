"""Builds the executor of fused kernels alone, as a shared library with the C interface of harness.cpp.

`python tests/native/build.py` prints the path. The library is kept in the temporary directory under a name made of the
contents of its sources, so a second run builds nothing.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
NATIVE = HERE.parents[1] / "bridge" / "core" / "native"

BASE_FLAGS = ["-std=c++20", "-fPIC", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-ffp-contract=off"]
BASE_FLAGS += ["-fno-math-errno"]
X86_LEVELS = {
    "v2": ["-march=x86-64-v2"],
    "v3": ["-march=x86-64-v3"],
    "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}


def cmake_list(name: str) -> list[str]:
    """Words of a set() in pipeline.cmake, so that the sources and flags are listed once."""
    text = (NATIVE / "pipeline.cmake").read_text()
    match = re.search(rf"set\({name}\s([^)]*)\)", text)
    assert match is not None, name
    return match.group(1).split()


def is_clang() -> bool:
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=True).stdout
    return "clang" in version


def levels() -> dict[str, list[str]]:
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        return X86_LEVELS
    return {"neon": []} if machine in ("arm64", "aarch64") else {"generic": []}


def compiler() -> str:
    return os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or "c++"


def fingerprint(extra: list[str]) -> str:
    digest = hashlib.sha256(repr((compiler(), extra, BASE_FLAGS)).encode())
    patterns = ("*.h", "*.def", "*.inc", "*.cmake", "pipeline*.cpp", "reduce*.cpp", "random*.cpp")
    names = {p for pattern in patterns for p in NATIVE.glob(pattern)}
    sources = cmake_list("BRIDGE_PIPELINE_SOURCES") + cmake_list("BRIDGE_ISA_SOURCES")
    names |= {NATIVE / source for source in sources} | {HERE / "harness.cpp", HERE / "build.py"}
    for path in sorted(names):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def objects_of(library: Path) -> Path:
    """Folder of the per-level object files that the library was linked from."""
    return library.with_suffix(".objects")


def build(*, optimise: str = "-O2", extra: tuple[str, ...] = ()) -> Path:
    """Path of the library; compiles what is missing."""
    flags = [*BASE_FLAGS, optimise, *extra]
    target = Path(tempfile.gettempdir()) / f"bridge_native_test_{fingerprint(flags)}.so"
    if target.exists() and objects_of(target).exists():
        return target
    isa_flags = [f for f in cmake_list("BRIDGE_ISA_FLAGS") if not (f.startswith("-O") and optimise in ("-O0", "-O1"))]
    if is_clang():
        isa_flags.append("-Wno-pass-failed")  # as pipeline.cmake has it
    with tempfile.TemporaryDirectory(dir=tempfile.gettempdir()) as scratch:
        folder, plain = Path(scratch) / "objects", Path(scratch) / "plain"
        jobs: list[tuple[Path, Path, list[str]]] = []
        for level, level_flags in levels().items():
            for source in cmake_list("BRIDGE_ISA_SOURCES"):
                name = f"isa_{level}"
                jobs.append((NATIVE / source, folder / name, [*isa_flags, *level_flags, f"-DBRIDGE_ISA_NS={name}"]))
        jobs += [(NATIVE / source, plain, []) for source in cmake_list("BRIDGE_PIPELINE_SOURCES")]
        jobs.append((HERE / "harness.cpp", plain, ["-fvisibility=default"]))

        def compile_one(job: tuple[Path, Path, list[str]]) -> Path:
            source, where, more = job
            where.mkdir(parents=True, exist_ok=True)
            result = where / (source.stem + ".o")
            command = [compiler(), *flags, *more, f"-I{NATIVE}", "-c", str(source), "-o", str(result)]
            subprocess.run(command, check=True)
            return result

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            results = list(pool.map(compile_one, jobs))
        partial = Path(scratch) / "library.so"
        subprocess.run([compiler(), "-shared", *extra, "-o", str(partial), *map(str, results), "-lpthread"], check=True)
        if not objects_of(target).exists():
            folder.replace(objects_of(target))
        partial.replace(target)
    return target


if __name__ == "__main__":
    print(build())
