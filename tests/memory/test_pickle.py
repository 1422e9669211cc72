"""Copies, pickles and processes: what comes back is exact, and travels without a copy where that is possible."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from interop.facts import DTYPES
from interop.memory_of import elements, value_of_numpy
from isolated import run_code

import bridge
from bridge.core import _native


def dtype(name: str):
    return getattr(bridge, "bool_" if name == "bool" else name)


def sample(name: str, shape=(4, 6)):
    a = bridge.array(elements(name, int(np.prod(shape))), dtype=dtype(name)).reshape(shape)
    bridge.eval(a)
    return a


def value(a):
    return value_of_numpy(a.dtype.name, np.array(a))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", DTYPES)
def test_a_pickle_comes_back_exact(name, protocol):
    """Every dtype, every protocol, to the bit."""
    a = sample(name)
    b = pickle.loads(pickle.dumps(a, protocol=protocol))
    assert type(b) is bridge.array
    assert b.dtype is a.dtype
    assert value(b) == value(a)


@pytest.mark.parametrize("name", DTYPES)
def test_protocol_5_hands_the_bytes_out_of_band(name):
    """The buffer is the array's own memory, and what is loaded lies in the buffer: no byte is copied."""
    a = sample(name, (64, 64))
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(a, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 1
    assert len(data) < 1000
    raw = np.frombuffer(buffers[0].raw(), np.uint8)
    assert raw.ctypes.data == _native.facts(a)[3]
    b = pickle.loads(data, buffers=buffers)
    assert _native.facts(b)[3] == _native.facts(a)[3]
    assert value(b) == value(a)


def test_a_loaded_array_is_a_value():
    """Updating what was loaded leaves the buffer and the original as they were."""
    a = sample("float32")
    before = value(a)
    buffers: list[pickle.PickleBuffer] = []
    b = pickle.loads(pickle.dumps(a, protocol=5, buffer_callback=buffers.append), buffers=buffers)
    b += 1
    bridge.eval(b)
    assert value(a) == before
    a *= 0
    assert a.tolist() != b.tolist()


@pytest.mark.parametrize(
    "view",
    [lambda a: a.T, lambda a: a[::-1], lambda a: a[:, ::2], lambda a: a[:0], lambda a: a[1, 2], lambda a: a + 1],
    ids=["transposed", "reversed", "strided", "empty", "scalar", "pending"],
)
def test_every_layout_can_be_pickled(view):
    """Shape and elements; the layout need not come back."""
    a = view(sample("float32"))
    for protocol in (2, 5):
        b = pickle.loads(pickle.dumps(a, protocol=protocol))
        assert value(b) == value(a)


@pytest.mark.parametrize("function", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
@pytest.mark.parametrize("name", ["float32", "bfloat16", "bool"])
def test_a_copy_is_independent(function, name):
    """An update of either leaves the other alone, and a view of one is no view of the other."""
    a = sample(name)
    before = value(a)
    b = function(a)
    assert b is not a
    assert b.dtype is a.dtype
    b[0] = 0
    assert value(a) == before
    view = np.asarray(a) if name != "bfloat16" else bridge.to("numpy", a)
    view[...] = 1
    assert b[0].astype(bridge.float32).tolist() == [0.0] * 6


def test_deepcopy_keeps_what_is_one_one():
    """The memo: two names of one array stay two names of one array."""
    a = sample("float32")
    b, c = copy.deepcopy([a, a])
    assert b is c


def test_a_dtype_survives_as_itself():
    """Dtypes are interned: what comes back is the same object."""
    for name in DTYPES:
        assert pickle.loads(pickle.dumps(dtype(name))) is dtype(name)
        assert copy.deepcopy(dtype(name)) is dtype(name)


def test_a_pickle_crosses_processes():
    """A fresh interpreter reads it."""
    data = pickle.dumps(sample("bfloat16"))
    done = run_code(f"import pickle, numpy; print(numpy.array(pickle.loads({data!r})).tobytes().hex())")
    assert done.returncode == 0, done.stderr
    assert bytes.fromhex(done.stdout) == value(sample("bfloat16")).bits
