"""Threads for tests: run at once, and an other thread that gets its turn only where the GIL is let go."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import bridge

SLOW = 1 << 21  # float32 elements: sums of sines of so many take tens of milliseconds


def run_all(*functions: Callable[[], Any]) -> None:
    """Runs the functions at once and raises what the first of them raised."""
    failures = []

    def guard(function: Callable[[], Any]) -> None:
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


@contextmanager
def turns_only_where_offered() -> Iterator[None]:
    """Threads do not take turns by themselves: who has the GIL keeps it until it waits or lets it go."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(10_000)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@contextmanager
def often() -> Iterator[None]:
    """Threads take turns after every few instructions of the interpreter."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Meanwhile:
    """Runs `action` on a thread of its own as soon as the caller, inside the block, lets the GIL go.

    `ran` says whether it was over when the block ended: if not, the machine was too slow to try what was meant.
    """

    def __init__(self, action: Callable[[], Any]) -> None:
        self.ran = False
        self._go = threading.Lock()
        self._action = action
        self._failures: list[BaseException] = []
        self._turns = turns_only_where_offered()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            with self._go:
                self._action()
            self.ran = True
        except BaseException as error:
            self._failures.append(error)

    def __enter__(self) -> Meanwhile:
        self._turns.__enter__()
        self._go.acquire()
        self._thread.start()
        self._go.release()  # it wakes, and asks for the GIL
        return self

    def __exit__(self, *failure: object) -> None:
        ran = self.ran
        self._thread.join()
        self._turns.__exit__(*failure)
        self.ran = ran
        if self._failures:
            raise self._failures[0]


def slow(a: Any) -> Any:
    """A pending array that takes long, of the same shape: 0 where `a` is 0."""
    for _ in range(4):
        a = bridge.sin(bridge.sin(bridge.sin(a)))
    return a
