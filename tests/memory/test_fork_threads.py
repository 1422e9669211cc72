"""fork() in a process with threads: the child has one thread, and can do everything that the parent could."""

from __future__ import annotations

import pytest
from isolated import run_code

# `child(check)` forks, runs check() in the child, and gives what the child's exit status says; a child that hangs is
# ended by its alarm.
PREAMBLE = """
import os, signal, sys, threading
import numpy as np
import bridge
from memory.threads import SLOW, slow, turns_only_where_offered

def child(check):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        try:
            check()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"the child ended with {code}"

def large_sum():
    assert bridge.sum(bridge.full((1 << 22,), 1.0)).item() == 1 << 22
"""

PROGRAMS = {
    "after the pool has worked": """
a = bridge.arange(1 << 22, dtype=bridge.float32)
bridge.eval(bridge.exp(a * 1e-7) + a)
view = np.asarray(a)

def check():
    assert (a * 2)[1000].item() == 2000.0
    large_sum()

child(check)
assert (a + 1)[5].item() == 6.0
""",
    # The other thread lets the GIL go only inside the kernel: it is there when this one goes on.
    "while another thread computes the array that the child wants": """
b = slow(bridge.ones((SLOW,)))
started = threading.Event()
with turns_only_where_offered():
    def work():
        started.set()
        bridge.eval(b)
    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    child(lambda: [bridge.eval(b), large_sum()])
thread.join()
assert 0 < b[0].item() < 1
""",
    "while another thread reads what the child updates in place": """
a = bridge.full((SLOW,), 1.0)
view = np.asarray(a)
started = threading.Event()

def work():
    started.set()
    for _ in range(12):
        slow(a)  # read at once: the view may write

def check():
    a[...] = 2.0
    assert view[0] == view[-1] == 2.0

with turns_only_where_offered():
    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    child(check)
thread.join()
assert view[0] == 1.0
""",
    "while another thread updates what the child reads": """
a = bridge.zeros((SLOW,))
bridge.eval(a)
new = slow(bridge.ones((SLOW // 2,)))
a[: SLOW // 2] = new  # pending: the old bytes can be given to the new array
started = threading.Event()

def work():
    started.set()
    bridge.eval(a)

def check():
    assert 0 < a[0].item() < 1
    assert a[-1].item() == 0

with turns_only_where_offered():
    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    child(check)
thread.join()
check()
""",
    "while another thread waits for a third": """
b = slow(bridge.ones((SLOW,)))
c = b + 1
ready = threading.Barrier(3)
def work(array):
    ready.wait()
    bridge.eval(array)
threads = [threading.Thread(target=work, args=(array,)) for array in (b, c)]
for thread in threads: thread.start()
ready.wait()

def check():
    large_sum()
    bridge.eval(c)
    bridge.eval(b + c)

for _ in range(5): child(check)
for thread in threads: thread.join()
""",
    "while threads without the GIL take and return memory": """
from dlpack import capsules
stop = threading.Event()

def traffic():
    while not stop.is_set():
        capsules.use(bridge.full((100,), 1.0).__dlpack__(max_version=(1, 0)))

threads = [threading.Thread(target=traffic) for _ in range(2)]
for thread in threads: thread.start()
a = bridge.arange(100, dtype=bridge.float32)

def check():
    assert np.asarray(a + 1)[5] == 6.0
    np.asarray(a)
    assert bridge.leases(a) == []

for _ in range(60): child(check)
stop.set()
for thread in threads: thread.join()
""",
    "from a thread that is not the main one": """
a = slow(bridge.ones((SLOW,)))
thread = threading.Thread(target=lambda: child(lambda: [bridge.eval(a), large_sum()]))
thread.start()
bridge.eval(a)
thread.join()
""",
    "by multiprocessing": """
import multiprocessing
a = bridge.arange(1 << 20, dtype=bridge.float32)
bridge.eval(bridge.sum(a))
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(double, range(8)) == [2.0 * (1 << 20)] * 8
""",
}

FUNCTIONS = """
def double(_):
    return bridge.sum(bridge.full((1 << 20,), 1.0) * 2).item()
"""


@pytest.mark.parametrize("when", PROGRAMS)
def test_the_child_goes_on(when):
    """Whatever other threads were doing: nothing that they held or waited for is missed."""
    done = run_code(f"{PREAMBLE}{FUNCTIONS}{PROGRAMS[when]}\nprint('right')")
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


# The main thread ends while daemon threads are inside the engine.
ENDS = {
    "one computes and others wait for it": """
b = slow(bridge.ones((SLOW,)))
for _ in range(3): b = slow(b)
c = b + 1
ready = threading.Barrier(4)
def work(array):
    ready.wait()
    bridge.eval(array)
for array in (b, c, c): threading.Thread(target=work, args=(array,), daemon=True).start()
ready.wait()
""",
    "they update what others read": """
a = bridge.full((SLOW,), 1.0)
view = np.asarray(a)
ready = threading.Barrier(4)
def read():
    ready.wait()
    while True: slow(a)
def write():
    ready.wait()
    while True: a[...] = 1.0
for work in (read, read, write): threading.Thread(target=work, daemon=True).start()
ready.wait()
""",
}


@pytest.mark.parametrize("how", ENDS)
def test_the_process_ends_while_daemon_threads_work(how):
    """Nobody is left to wake those who wait, and nobody waits for them."""
    done = run_code(f"{PREAMBLE}{ENDS[how]}\nprint('bye', flush=True)", timeout=60)
    assert (done.returncode, done.stdout) == (0, "bye\n"), done.stderr
