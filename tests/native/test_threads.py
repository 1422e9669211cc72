"""The pool: every element once, whoever calls, forks or exits; and results that do not depend on it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from native.build import NATIVE, compiler
from native.engine import Kernel, library

HERE = Path(__file__).resolve().parent
N = 400_000


def big_kernel(n: int = N) -> tuple[Kernel, np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=n).astype("f4")
    kernel = Kernel((n,))
    out = kernel.output(kernel.op("exp", kernel.op("tanh", kernel.op("sin", kernel.input(x)))))
    return kernel, x, out


def test_the_number_of_threads_changes_no_bit() -> None:
    """One to seven threads, lengths around the chunk size."""
    for n in (4096, 4097, 100_001, N):
        results = []
        for threads in (1, 2, 3, 7):
            library().test_set_threads(threads)
            kernel, _, out = big_kernel(n)
            kernel.run()
            results.append(out)
        library().test_set_threads(2)
        for other in results[1:]:
            np.testing.assert_array_equal(results[0], other)


def test_thread_count() -> None:
    """At least one; what was set is what is."""
    before = library().test_threads()
    for wanted, got in ((3, 3), (0, 1), (-4, 1), (before, before)):
        library().test_set_threads(wanted)
        assert library().test_threads() == got


def test_python_threads_share_the_pool() -> None:
    """Four threads at once (ctypes releases the GIL): the pool works for all of them, and all are right."""
    library().test_set_threads(4)
    kernels = [big_kernel() for _ in range(4)]
    kernels[0][0].run()
    want = kernels[0][2].copy()

    def work(kernel: Kernel) -> None:
        for _ in range(10):
            kernel.run()

    threads = [threading.Thread(target=work, args=(k[0],)) for k in kernels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    library().test_set_threads(2)
    for _, _, out in kernels:
        np.testing.assert_array_equal(out, want)


SCRIPT = """
import os, sys
sys.path.insert(0, {tests!r})
from native.test_threads import big_kernel
from native.engine import library
library().test_set_threads(3)
kernel, x, out = big_kernel()
kernel.run()
want = out.copy()
{body}
"""


def in_subprocess(body: str) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(tests=str(HERE.parent), body=body)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)


def test_a_forked_child_computes() -> None:
    """After the parent has used the pool, and again in a grandchild; nothing hangs."""
    body = """
for generation in range(3):
    pid = os.fork()
    if pid:
        _, status = os.waitpid(pid, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    out[:] = 0
    for _ in range(5):
        kernel.run()
    assert (out == want).all()
print("right", flush=True)
os._exit(0)
"""
    result = in_subprocess(body)
    assert (result.returncode, result.stdout) == (0, "right\n"), result.stderr


def test_the_process_ends_while_a_kernel_runs() -> None:
    """Detached workers and a daemon thread in the middle of a job do not keep the interpreter."""
    body = """
import threading, time
def work():
    while True:
        kernel.run()
threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
print("bye", flush=True)
"""
    result = in_subprocess(body)
    assert (result.returncode, result.stdout) == (0, "bye\n"), result.stderr


def test_workers_take_no_signals() -> None:
    """Python handles them in its main thread, as ever."""
    body = """
import signal, threading
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.current_thread() is threading.main_thread()))
for _ in range(20):
    os.kill(os.getpid(), signal.SIGUSR1)
    kernel.run()
assert seen and all(seen)
print("right")
"""
    result = in_subprocess(body)
    assert (result.returncode, result.stdout) == (0, "right\n"), result.stderr


def test_the_pool_has_no_races(tmp_path: Path) -> None:
    """threads.cpp alone under ThreadSanitizer, with competing callers."""
    binary = tmp_path / "race"
    command = [compiler(), "-std=c++20", "-O1", "-g", "-fsanitize=thread", f"-I{NATIVE}", "-o", str(binary)]
    subprocess.run([*command, str(HERE / "threads_race.cpp"), str(NATIVE / "threads.cpp"), "-lpthread"], check=True)
    # With addresses randomised widely, the sanitizer refuses to start on some Linux kernels.
    plain_addresses = ["setarch", "-R"] if shutil.which("setarch") else []
    result = subprocess.run([*plain_addresses, str(binary)], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout) == (0, "right\n"), result.stderr[-4000:]
