"""After a fork there are two of everything: each side goes on with its own, and waits for no thread it has not got."""

from __future__ import annotations

import pytest
from isolated import run_code

PRELUDE = """
import gc, os, signal, sys, threading
import numpy as np
import bridge

def in_child(work):
    '''Exit status of a forked child that runs work(); it is killed when it has not ended after a while.'''
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""

# What stands before the fork, what the child does, what the parent finds afterwards.
STORIES = {
    "both sides drop a view": """
a = bridge.array(np.arange(16, dtype=np.float32))
view = np.asarray(a)
def child():
    global view
    assert len(bridge.leases(a)) == 1
    del view
    gc.collect()
    assert bridge.leases(a) == []
assert in_child(child) == 0
assert len(bridge.leases(a)) == 1
del view
gc.collect()
assert bridge.leases(a) == []
""",
    "both sides drop an array first": """
a = bridge.array(np.arange(16, dtype=np.float32))
view = np.asarray(a)
def child():
    global a
    del a
    gc.collect()
    assert view.tolist() == list(range(16))
assert in_child(child) == 0
del a
assert view.tolist() == list(range(16))
""",
    "both sides write": """
a = bridge.array(np.zeros(16, np.float32))
view = np.asarray(a)
def child():
    view[0] = 1
    a.__iadd__(10)
    assert (a[0].item(), view[0], view[1]) == (11.0, 11.0, 10.0)
assert in_child(child) == 0
assert view.tolist() == [0.0] * 16
view[0] = 2
a += 20
assert (a[0].item(), view[0], view[1]) == (22.0, 22.0, 20.0)
""",
    "imported memory of an owner": """
class Owner(bytearray):
    def __del__(self):
        ended.append(os.getpid())
ended = []
a = bridge.from_(np.frombuffer(Owner(64), np.float32))
def child():
    global a
    del a
    gc.collect()
    assert ended == [os.getpid()]
assert in_child(child) == 0
assert ended == []
del a
gc.collect()
assert ended == [os.getpid()]
""",
    "a frozen array": """
a = bridge.array(np.arange(16, dtype=np.float32))
view = bridge.to("numpy", a, readonly=True)
def child():
    a.__iadd__(1)
    assert view[0] == 0 and a[0].item() == 1
assert in_child(child) == 0
a += 2
assert view[0] == 0 and a[0].item() == 2
""",
    "an unevaluated graph": """
a = bridge.array(np.arange(1 << 20, dtype=np.float32))
b = bridge.exp(a * 1e-6) + a
def child():
    assert b[1000].item() > 1000
assert in_child(child) == 0
assert b[1000].item() > 1000
""",
    "a child of a child": """
a = bridge.array(np.arange(1 << 20, dtype=np.float32))
view = np.asarray(a)
def child():
    assert in_child(lambda: (view.__setitem__(0, 5.0), a.__iadd__(1), a.tolist())) == 0
    assert a[0].item() == 0
assert in_child(child) == 0
assert a[0].item() == 0
""",
    "another thread makes the first conversion": """
entered = threading.Event()
def convert():
    entered.set()
    bridge.from_(np.arange(4))
thread = threading.Thread(target=convert)
thread.start()
entered.wait()
assert in_child(lambda: bridge.from_(np.arange(4)).tolist()) == 0
thread.join()
""",
    "another thread takes and drops views": """
a = bridge.array(np.arange(16, dtype=np.float32))
stop = threading.Event()
def traffic():
    while not stop.is_set():
        bridge.from_(memoryview(a)), a.__dlpack__(), bridge.array([1.0]) + 1
threads = [threading.Thread(target=traffic) for _ in range(3)]
[thread.start() for thread in threads]
def child():
    b = bridge.array(np.arange(1 << 16, dtype=np.float32))
    views = [np.asarray(b) for _ in range(100)]
    assert bridge.from_(views[0])[3].item() == 3.0 and (b * 2)[5].item() == 10.0
try:
    for _ in range(40):
        assert in_child(child) == 0
finally:
    stop.set()
    [thread.join() for thread in threads]
""",
    "another thread drops views without the GIL": """
from memory.outside import on_bare_thread, taken
stop = threading.Event()
def traffic():
    while not stop.is_set():
        held = [taken(bridge.array(np.zeros(1 << 14, np.float32)).__dlpack__()) for _ in range(50)]
        for deleter, argument in held:
            on_bare_thread(deleter, argument)
thread = threading.Thread(target=traffic)
thread.start()
def child():
    b = bridge.array(np.arange(1 << 16, dtype=np.float32))
    view = np.asarray(b)
    assert (b + 1)[3].item() == 4.0
    del b, view
try:
    for _ in range(40):
        assert in_child(child) == 0
finally:
    stop.set()
    thread.join()
""",
    "another thread evaluates what the child needs": """
a = bridge.array(np.full(1 << 22, 0.5, np.float32))
entered = threading.Event()
for _ in range(6):
    b = a
    for _ in range(12):
        b = bridge.exp(bridge.sin(b))
    wanted = b[:3]
    thread = threading.Thread(target=lambda: (entered.set(), bridge.eval(b)))
    entered.clear()
    thread.start()
    entered.wait()
    def child():
        values = wanted.tolist()
        assert values[0] == values[2] and 0 < values[0] < 3
        view = np.asarray(a)
        a.__iadd__(1)  # waits for those who read it: here nobody does
        assert view[0] == 1.5
    assert in_child(child) == 0
    thread.join()
    assert a[0].item() == 0.5
""",
    "another thread waits for an evaluation": """
a = bridge.array(np.full(1 << 22, 0.5, np.float32))
b = a
for _ in range(12):
    b = bridge.exp(bridge.sin(b))
threads = [threading.Thread(target=lambda: bridge.eval(b)) for _ in range(4)]
[thread.start() for thread in threads]
def child():
    assert 0 < b[0].item() < 3
    c = bridge.exp(a)
    waiting = [threading.Thread(target=lambda: bridge.eval(c)) for _ in range(4)]
    [thread.start() for thread in waiting]
    [thread.join() for thread in waiting]
assert in_child(child) == 0
[thread.join() for thread in threads]
""",
}


@pytest.mark.parametrize("story", STORIES)
def test_a_fork(story):
    """Leases, graphs, owners and locks are each side's own, whatever other threads were doing."""
    done = run_code(f"{PRELUDE}\n{STORIES[story]}\nprint('reached the end')")
    assert (done.returncode, done.stdout) == (0, "reached the end\n"), done.stderr
