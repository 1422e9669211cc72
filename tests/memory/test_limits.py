"""How much memory the engine uses, how much it may use, and what it keeps."""

from __future__ import annotations

import gc
from contextlib import contextmanager

import numpy as np
import pytest

import bridge
from bridge.core import _native

MIB = 1 << 20


@contextmanager
def memory_limit(nbytes: int):
    old = bridge.set_memory_limit(nbytes)
    try:
        yield
    finally:
        bridge.set_memory_limit(old)


@pytest.fixture(autouse=True)
def _settled():
    gc.collect()
    bridge.clear_cache()
    bridge.reset_peak_memory()
    yield
    bridge.clear_cache()


def test_active_memory_is_what_arrays_hold():
    """It grows with an array by its bytes (rounded up) and falls when the array goes."""
    before = bridge.get_active_memory()
    a = bridge.full((MIB,), 1.0)
    bridge.eval(a)
    grown = bridge.get_active_memory() - before
    assert 4 * MIB <= grown <= 6 * MIB
    del a
    assert bridge.get_active_memory() == before


def test_a_pending_array_uses_no_memory():
    """Memory is taken when an array is evaluated, not when it is described."""
    before = bridge.get_active_memory()
    a = bridge.full((64 * MIB,), 1.0) + 1
    assert bridge.get_active_memory() == before
    assert a.shape == (64 * MIB,)


def test_peak_memory_remembers_the_highest():
    """It stays when arrays go, until it is reset."""
    a = bridge.full((4 * MIB,), 1.0)
    bridge.eval(a)
    high = bridge.get_active_memory()
    del a
    assert bridge.get_peak_memory() >= high
    bridge.reset_peak_memory()
    assert bridge.get_peak_memory() < high


def test_the_cache_holds_what_was_given_back():
    """A freed storage is kept for the next one; clear_cache gives it to the system."""
    a = bridge.full((4 * MIB,), 1.0)
    bridge.eval(a)
    del a
    assert bridge.get_cache_memory() >= 16 * MIB
    bridge.clear_cache()
    assert bridge.get_cache_memory() == 0


def test_the_cache_is_used_again():
    """The second array of a size takes the storage of the first."""
    a = bridge.full((4 * MIB,), 1.0)
    bridge.eval(a)
    where = _native.facts(a)[3]
    del a
    b = bridge.full((4 * MIB,), 2.0)
    bridge.eval(b)
    assert _native.facts(b)[3] == where


def test_the_cache_has_a_limit():
    """set_cache_limit(0) keeps nothing, and gives back the old limit."""
    old = bridge.set_cache_limit(0)
    try:
        a = bridge.full((4 * MIB,), 1.0)
        bridge.eval(a)
        del a
        assert bridge.get_cache_memory() == 0
        assert bridge.set_cache_limit(old) == 0
    finally:
        bridge.set_cache_limit(old)


def test_the_memory_limit_raises_memory_error():
    """Not the killer of the system: an exception, and the engine works on."""
    with memory_limit(bridge.get_active_memory() + 8 * MIB):
        a = bridge.full((16 * MIB,), 1.0)
        with pytest.raises(MemoryError, match=r"(?i)limit"):
            bridge.eval(a)
        small = bridge.full((MIB,), 2.0)
        assert small[0].item() == 2.0
    bridge.eval(a)  # the graph survived the failure
    assert a[5].item() == 1.0


def test_the_memory_limit_can_be_read_and_set_back():
    """set gives the old one."""
    now = bridge.get_memory_limit()
    assert bridge.set_memory_limit(123 * MIB) == now
    assert bridge.get_memory_limit() == 123 * MIB
    assert bridge.set_memory_limit(now) == 123 * MIB


def test_cached_memory_gives_way_before_the_limit_refuses():
    """What is only kept in the cache does not count against an array that is needed."""
    a = bridge.full((4 * MIB,), 1.0)
    bridge.eval(a)
    del a
    with memory_limit(bridge.get_active_memory() + 24 * MIB):
        b = bridge.full((5 * MIB,), 1.0)
        bridge.eval(b)
        assert b.nbytes == 20 * MIB


def test_a_failing_conversion_raises_memory_error():
    """The limit holds for copies that a conversion makes."""
    x = np.ones(16 * MIB, np.float32)
    with memory_limit(bridge.get_active_memory() + 8 * MIB), pytest.raises(MemoryError, match=r"(?i)limit"):
        bridge.array(x)


def test_an_absurd_shape_is_an_error():
    """More elements than an address can count: an exception with the shape, no wrapped size (D26)."""
    for shape in ((2**62,), (2**32, 2**32), (2**40, 2**40)):
        with pytest.raises((MemoryError, ValueError, OverflowError), match=r"(?i)large|limit|overflow|size|bytes|many"):
            bridge.eval(bridge.full(shape, 1.0))


def test_shapes_beyond_32_bits_are_described_exactly():
    """A broadcast costs nothing and can be as large as an index (D26)."""
    a = bridge.broadcast_to(bridge.array(1.0), (2**33,))
    assert (a.size, a.nbytes, a.shape) == (2**33, 2**35, (2**33,))
    assert a[2**32 + 5].item() == 1.0


def test_storages_are_aligned():
    """64 bytes always; from one page up, page-aligned."""
    for count in (1, 3, 17, 1000, 1023):
        assert _native.facts(bridge.array(np.ones(count, np.int8)))[3] % 64 == 0
    for count in (4096, 5000, 3 * MIB):
        assert _native.facts(bridge.array(np.ones(count, np.int8)))[3] % 4096 == 0


def test_a_chain_needs_its_inputs_and_one_output():
    """Fused: no memory for what lies between (9 ops on 1M float32)."""
    x = bridge.array(np.linspace(0.1, 1, MIB, dtype=np.float32))
    bridge.eval(x)
    bridge.reset_peak_memory()
    before = bridge.get_active_memory()
    y = (((x * 2 + 1) / 3 - 0.5) * x + 4) * 0.25 + x * x
    bridge.eval(y)
    assert bridge.get_peak_memory() - before <= x.nbytes + 64 * 1024
