"""Build the extension under a sanitizer and run tests against it.

Usage: python tools/sanitize.py address|thread [--build DIR] [--jobs N] [-- PYTEST-ARGUMENTS]

address: AddressSanitizer and UndefinedBehaviorSanitizer. thread: ThreadSanitizer. Without arguments for pytest the
tests of the table below run. Needs Linux, GCC, CMake, and in this interpreter nanobind, pytest and what the tests
import. The build has a folder of its own, and the tests import the package from there, never from the tree.

Every report is a failure, also one from a subprocess whose output a test swallowed: it ends the process with an error,
or is written to a file, printed at the end and counted. What third-party libraries do is left to them
(tests/sanitize/thread.supp).
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SUPPRESSIONS = ROOT / "tests" / "sanitize"


class Sanitizer(NamedTuple):
    flags: str  # of -fsanitize=
    preload: tuple[str, ...]  # runtimes that must come before everything that the interpreter loads
    options: dict[str, str]  # environment variable -> options; reports go to the folder {reports}
    prefix: tuple[str, ...]  # of the command
    tests: tuple[str, ...]


SANITIZERS = {
    "address": Sanitizer(
        # Conversions of floats that are out of range are undefined too, and no part of "undefined".
        flags="address,undefined,float-cast-overflow",
        # libstdc++ as well: the interpreter is C, and the runtime looks for __cxa_throw when it starts.
        preload=("libasan.so", "libstdc++.so"),
        options={
            # Leaks: the interpreter and the frameworks keep much for ever; tests/memory/test_million.py looks for ours.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:log_path={reports}/address",
            "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",  # beside the other runtime it writes to stderr only
            "PYTHONMALLOC": "malloc",  # objects of the interpreter are watched as well
        },
        prefix=(),
        # Without the tests of resident memory, since the runtime keeps what is freed, and of forks amid threads: the
        # lock of the runtime's allocator is not free in every child.
        tests=(
            *("tests/dlpack", "tests/memory", "tests/exchange", "tests/interop", "tests/cases"),
            *("--ignore=tests/memory/test_flat.py", "--ignore=tests/memory/test_million.py"),
            *("-k", "not L09"),
            *("--ignore=tests/memory/test_fork.py", "--ignore=tests/memory/test_fork_threads.py"),
        ),
    ),
    "thread": Sanitizer(
        flags="thread",
        preload=("libtsan.so", "libstdc++.so"),
        options={
            # Misuse of mutexes is not reported: the pools of the frameworks, made where the runtime could not see it,
            # would be all that there is.
            "TSAN_OPTIONS": "die_after_fork=0:history_size=4:report_mutex_bugs=0:log_path={reports}/thread"
            ":suppressions={suppressions}/thread.supp",
        },
        # With addresses randomised widely, the runtime refuses to start on some Linux kernels.
        prefix=("setarch", "-R"),
        # Without children of a fork: the runtime believes that the parent's threads are still there.
        tests=(
            *("tests/memory/test_threads.py", "tests/memory/test_conversions_at_once.py"),
            *("tests/core/test_streams.py", "tests/core/test_streams_host.py"),
            "--deselect=tests/core/test_streams.py::test_a_child_starts_threads_of_its_own",
        ),
    ),
}


def build(sanitizer: Sanitizer, folder: Path, jobs: int) -> Path:
    """Configure, compile what is missing, and lay the package out as if installed; gives the folder it is in."""
    settings = {
        "BRIDGE_SANITIZE": sanitizer.flags,
        "CMAKE_BUILD_TYPE": "RelWithDebInfo",
        "Python_EXECUTABLE": sys.executable,
        "SKBUILD_PROJECT_NAME": "bridge",
    }
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    defines = [f"-D{name}={value}" for name, value in settings.items()]
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder), *generator, *defines, "--log-level=WARNING"]
    subprocess.run(configure, check=True)
    subprocess.run(["cmake", "--build", str(folder), "--parallel", str(jobs)], check=True)
    site = folder / "site"
    shutil.rmtree(site, ignore_errors=True)
    ignored = shutil.ignore_patterns("_native*.so", "native", "__pycache__")
    shutil.copytree(ROOT / "bridge", site / "bridge", ignore=ignored)
    (extension,) = folder.glob("_native*.so")
    shutil.copy2(extension, site / "bridge" / "core")
    return site


def runtime(name: str) -> str:
    """Path of a library that comes with the compiler."""
    compiler = os.environ.get("CXX", "c++")
    path = subprocess.run([compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True)
    return str(Path(path.stdout.strip()).resolve())


def environment(sanitizer: Sanitizer, site: Path, reports: Path) -> dict[str, str]:
    places = {"reports": reports, "suppressions": SUPPRESSIONS}
    return {
        **os.environ,
        **{name: text.format(**places) for name, text in sanitizer.options.items()},
        "LD_PRELOAD": ":".join(map(runtime, sanitizer.preload)),
        "PYTHONPATH": str(site),
        "PYTHONSAFEPATH": "1",  # the tree must not shadow the package
        "OMP_NUM_THREADS": "1",  # barriers of OpenMP cannot be seen
    }


def run(sanitizer: Sanitizer, site: Path, reports: Path, tests: list[str]) -> int:
    """Run pytest; its exit status."""
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir()
    python = [*sanitizer.prefix, sys.executable]
    variables = environment(sanitizer, site, reports)
    where = "import bridge.core._native as n; print(n.__file__)"
    loaded = subprocess.run([*python, "-c", where], env=variables, capture_output=True, text=True)
    if not loaded.stdout.startswith(str(site)):
        sys.exit(f"the extension cannot be loaded under the sanitizer:\n{loaded.stdout}{loaded.stderr}")
    # What the runtimes write before they end the process goes past Python: it must not be captured.
    command = [*python, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "--capture=sys", *tests]
    return subprocess.run(command, env=variables, cwd=ROOT).returncode


def main() -> int:
    own, tests = sys.argv[1:], []
    if "--" in own:
        own, tests = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sanitizer", choices=SANITIZERS)
    parser.add_argument("--build", type=Path, metavar="DIR", help="default: build/sanitize-NAME")
    parser.add_argument("--jobs", type=int, metavar="N", default=os.cpu_count() or 1)
    arguments = parser.parse_args(own)
    sanitizer = SANITIZERS[arguments.sanitizer]
    folder: Path = (arguments.build or ROOT / "build" / f"sanitize-{arguments.sanitizer}").resolve()
    site, reports = build(sanitizer, folder, arguments.jobs), folder / "reports"
    status = run(sanitizer, site, reports, tests or list(sanitizer.tests))
    found = sorted(reports.iterdir())
    for report in found:
        print(f"\n=== {report.name}\n{report.read_text(errors='replace')}")
    print(f"{arguments.sanitizer}: pytest ended with status {status}; {len(found)} processes reported something")
    return 1 if status or found else 0


if __name__ == "__main__":
    sys.exit(main())
