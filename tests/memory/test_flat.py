"""Ten thousand conversions in each direction leave nothing behind: no lease, no storage, no resident memory."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bridge

TIMES = 10_000
SIZE = 4096  # float32: 16 KiB a conversion, 160 MB in all if every one leaked
LIMIT = 8 << 20  # what allocators and lazy initialisation may still add after the warm-up


def resident() -> int:
    """Bytes of this process in memory."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 1024 * int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())]))


def numpy_source():
    return np.arange(SIZE, dtype=np.float32)


def torch_source():
    import torch

    return torch.arange(SIZE, dtype=torch.float32)


def jax_source():
    import jax.numpy as jnp

    return jnp.arange(SIZE, dtype=jnp.float32)


def tensorflow_source():
    import tensorflow as tf

    return tf.range(SIZE, dtype=tf.float32)


SOURCES = {"numpy": numpy_source, "torch": torch_source, "jax": jax_source, "tensorflow": tensorflow_source}


def check_flat(convert, times: int = TIMES) -> None:
    """`convert` is called often; memory of the engine and of the process is the same before and after."""
    for _ in range(300):
        convert()
    gc.collect()
    active, start = bridge.get_active_memory(), resident()
    for _ in range(times):
        convert()
    gc.collect()
    assert bridge.get_active_memory() == active
    assert resident() - start < LIMIT


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("target", SOURCES)
def test_L09_ten_thousand_conversions_out(target, copy):
    """bridge -> framework, shared and copied: no lease on the array, no memory more than before."""
    a = bridge.array(numpy_source())
    check_flat(lambda: bridge.to(target, a, copy=copy))
    assert bridge.leases(a) == []


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_ten_thousand_conversions_in(source, copy):
    """framework -> bridge, shared and copied: the source has as many references as before."""
    x = SOURCES[source]()
    count = sys.getrefcount(x)
    check_flat(lambda: bridge.from_(x, copy=copy))
    assert sys.getrefcount(x) == count


@pytest.mark.parametrize("target", SOURCES)
def test_a_new_array_each_time(target):
    """The storage is new each time as well, and given back when its view goes."""
    check_flat(lambda: bridge.to(target, bridge.full((SIZE,), 1.0)), times=2000)


def test_refusals_leave_nothing_behind():
    """An error path takes no lease and keeps no array."""
    a = bridge.array(numpy_source())[::-1]
    bridge.eval(a)

    def refuse():
        with pytest.raises(bridge.CopyRequired, match="backwards"):
            bridge.to("torch", a, copy=False)

    check_flat(refuse, times=2000)
    assert bridge.leases(a) == []


def test_protocols_leave_nothing_behind():
    """The buffer and the DLPack protocol, by their own verbs."""
    a = bridge.array(numpy_source())

    def both():
        np.asarray(a), memoryview(a), np.from_dlpack(a), a.__dlpack__(), a.__dlpack__(max_version=(1, 0))

    check_flat(both)
    assert bridge.leases(a) == []


def test_updates_of_a_viewed_array_leave_nothing_behind():
    """Updates in place, and arrays that move away from their views."""
    a = bridge.array(numpy_source())

    def update():
        nonlocal a
        view = np.asarray(a)
        a += 1
        bridge.release(a)
        a[0] = 1.0
        del view

    check_flat(update, times=2000)
