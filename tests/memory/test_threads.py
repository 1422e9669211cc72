"""Program order is per thread; what a thread reads is never half of what another writes."""

from __future__ import annotations

import threading

import numpy as np
from isolated import run_code
from memory.views import fresh

import bridge

LARGE = 1 << 20


def run_all(*functions) -> None:
    """Runs the functions at once and raises what the first of them raised."""
    failures = []

    def guard(function):
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guard, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_an_engine_write_waits_for_those_who_read():
    """One thread updates a viewed array in place while another reads it: every result is of one moment."""
    a = bridge.full((LARGE,), 0.0)
    view = np.asarray(a)
    assert view.flags.writeable
    stop = threading.Event()

    def write():
        for number in range(1, 40):
            a[...] = float(number)
        stop.set()

    def read():
        while not stop.is_set():
            result = np.array(bridge.exp(a * 0.001) + a)
            assert result.min() == result.max()

    run_all(write, read, read)
    assert view[0] == view[-1] == a[5].item() == 39.0


def test_one_pending_array_evaluated_by_many():
    """Everybody gets the value, whoever computes it."""
    for _ in range(20):
        a = bridge.arange(LARGE // 4, dtype=bridge.float32)
        b = a * 2 + 1
        results = []
        run_all(*[lambda b=b, results=results: results.append(b[LARGE // 8].item()) for _ in range(4)])
        assert results == [2.0 * (LARGE // 8) + 1] * 4


def test_views_and_updates_at_once():
    """Taking views, dropping them, updating and computing from many threads: nothing tears, nothing leaks."""
    a = fresh(1000)
    b = fresh(1000)

    def views():
        for _ in range(300):
            assert np.asarray(a).shape == (1000,)

    def updates():
        for _ in range(300):
            b[0] = 1.0

    def computes():
        for _ in range(300):
            assert (a + b).shape == (1000,)
            bridge.eval(a * b)

    run_all(views, views, updates, computes, computes)
    assert bridge.leases(a) == bridge.leases(b) == []


def test_a_forked_process_can_evaluate():
    """The pool's threads do not exist in the child: it makes its own."""
    code = """
import os, numpy as np, bridge
a = bridge.arange(1 << 22, dtype=bridge.float32)
bridge.eval(bridge.exp(a * 1e-7) + a)
view = np.asarray(a)
pid = os.fork()
if pid == 0:
    ok = float((a * 2)[1000].item()) == 2000.0 and bridge.sum(bridge.full((1 << 22,), 1.0)).item() == 1 << 22
    os._exit(0 if ok else 1)
_, status = os.waitpid(pid, 0)
assert (a + 1)[5].item() == 6.0
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
    done = run_code(code, timeout=60)
    assert done.returncode == 0, done.stderr
