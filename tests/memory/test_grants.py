"""What each state grants to each request: one table. Every cell is tried, by address, by flag and by mutation."""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
import pytest
from dlpack import capsules
from dlpack.capsules import READ_ONLY, DLManagedTensorVersioned, DLTensor, Forged
from dlpack.test_buffer import STRIDES, WRITABLE, PyBuffer, get_buffer, release
from dlpack.test_producer import FUNCTION, exchange_table
from memory.views import SIZE, fresh

import bridge
from bridge.core import _native

COUNT = list(range(SIZE))


class Held(NamedTuple):
    array: Any
    others: tuple  # what makes the state, and has to live as long


def plain() -> Held:
    return Held(fresh(), ())


def open_by_its_own_view() -> Held:
    a = fresh()
    return Held(a, (np.asarray(a),))


def window_on_open() -> Held:
    """What came home while a writable view of another array is alive: part of the one writer."""
    a = fresh()
    view = np.asarray(a)
    return Held(bridge.from_(view), (a, view))


def read_only_window_on_open() -> Held:
    a = fresh()
    view = np.asarray(a)
    shown = view.view()
    shown.flags.writeable = False
    return Held(bridge.from_(shown), (a, view, shown))


def frozen() -> Held:
    a = fresh()
    return Held(a, (bridge.to("numpy", a, readonly=True),))


def legacy() -> Held:
    a = fresh()
    return Held(a, (a.__dlpack__(),))


def shared() -> Held:
    a = fresh()
    part = a[4:8]
    bridge.eval(part)
    return Held(a, (part,))


def overlapping() -> Held:
    return Held(bridge.broadcast_to(fresh(1), (SIZE,)), ())


def imported_from_a_writer() -> Held:
    x = np.array(COUNT, np.float32)
    return Held(bridge.from_(x), (x,))


def imported_read_only() -> Held:
    x = np.array(COUNT, np.float32)
    x.flags.writeable = False
    return Held(bridge.from_(x), (x,))


def imported_read_only_from_a_writer() -> Held:
    x = np.array(COUNT, np.float32)
    shown = x.view()
    shown.flags.writeable = False
    return Held(bridge.from_(shown), (x, shown))


def imported_on_a_promise() -> Held:
    x = np.array(COUNT, np.float32)
    return Held(bridge.from_(x, readonly=True), (x,))


def given() -> Held:
    forged = Forged((SIZE,), flags=capsules.IS_COPIED)
    return Held(bridge.from_dlpack(forged), (forged,))


class Got(NamedTuple):
    address: int
    writable: bool
    hold: Any


def by_buffer(a: Any, flags: int = STRIDES) -> Got:
    answer = PyBuffer()
    get_buffer(a, ctypes.byref(answer), flags)
    got = Got(answer.buf, not answer.readonly, answer.obj)
    release(ctypes.byref(answer))
    return got


def by_ndarray(a: Any) -> Got:
    view = np.asarray(a)
    return Got(view.ctypes.data, view.flags.writeable, view)


def by_capsule(a: Any, **options: Any) -> Got:
    capsule = a.__dlpack__(**options)
    managed = capsules.read(capsule)
    return Got(managed.tensor.data, not getattr(managed, "flags", 0) & READ_ONLY, capsule)


def by_table(a: Any) -> Got:
    out = ctypes.c_void_p()
    FUNCTION(exchange_table().managed_from_object)(a, ctypes.addressof(out))
    managed = DLManagedTensorVersioned.from_address(out.value)
    got = Got(managed.tensor.data, not managed.flags & READ_ONLY, None)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(managed.deleter)(out.value)
    return got


def by_loan(a: Any) -> Got:
    tensor = DLTensor()
    FUNCTION(exchange_table().tensor_from_object)(a, ctypes.addressof(tensor))
    return Got(tensor.data, True, None)


def by_torch(a: Any, **options: Any) -> Got:
    tensor = bridge.to("torch", a, **options)
    return Got(tensor.data_ptr(), True, tensor)


def by_jax(a: Any, **options: Any) -> Got:
    array = bridge.to("jax", a, **options)
    return Got(array.unsafe_buffer_pointer(), False, array)


REQUESTS = {
    "buffer": by_buffer,
    "buffer WRITABLE": lambda a: by_buffer(a, STRIDES | WRITABLE),
    "ndarray": by_ndarray,
    "capsule": lambda a: by_capsule(a, max_version=(1, 0)),
    "capsule never": lambda a: by_capsule(a, max_version=(1, 0), copy=False),
    "legacy": by_capsule,
    "legacy never": lambda a: by_capsule(a, copy=False),
    "table": by_table,
    "loan": by_loan,
    "torch": by_torch,
    "torch never": lambda a: by_torch(a, copy=False),
    "torch readonly": lambda a: by_torch(a, copy=False, readonly=True),
    "jax never": lambda a: by_jax(a, copy=False),
}

# W shared and writable, R shared and read-only, C a copy, X an error (BufferError). In the order of REQUESTS.
GRANTS = {
    plain: "WWWWWWWWWWWRR",
    open_by_its_own_view: "WWWWWCXWWWWXX",
    window_on_open: "WWWWWCXWWWWXX",
    read_only_window_on_open: "XXCCXCXCXCXXX",
    frozen: "RXRRRCXRXCXRR",
    legacy: "XXCCXWWCXCXXX",
    shared: "RXRRRCXRXCXRR",
    overlapping: "RXRRRCXRXCXRX",
    imported_from_a_writer: "WWWWWWWWWWWXX",
    imported_read_only: "RXRRRCXRXCXRR",
    imported_read_only_from_a_writer: "RXRRRCXRXCXRR",
    imported_on_a_promise: "RXRRRCXRXCXRR",
    given: "WWWWWWWWWWWRR",
}


def outcome(held: Held, request: str) -> str:
    where = _native.facts(held.array)[3]
    try:
        got = REQUESTS[request](held.array)
    except BufferError:
        return "X"
    if got.address != where:
        return "C"
    frozen_by_it = request.startswith("jax") or request.endswith("readonly")
    return "R" if frozen_by_it or not got.writable else "W"


@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("state", GRANTS, ids=lambda state: state.__name__)
def test_what_is_granted(state, request_name):
    """As the table says; what is refused leaves no lease behind, what is granted leaves none when it is gone."""
    held = state()
    before = len(bridge.leases(held.array))
    values = held.array.tolist()
    expected = GRANTS[state][list(REQUESTS).index(request_name)]
    if expected in "WR" and request_name.startswith("jax") and _native.facts(held.array)[3] % 64:
        expected = "X"  # NumPy's memory lies where it lies
    assert outcome(held, request_name) == expected
    assert len(bridge.leases(held.array)) == before
    assert held.array.tolist() == values


@pytest.mark.parametrize("state", GRANTS, ids=lambda state: state.__name__)
def test_no_write_of_the_engine_reaches_who_counts_on_the_bytes(state):
    """An update of the array, in every state: read-only views made before keep what they showed, writable ones follow.

    Memory of others is never written at all.
    """
    held = state()
    view = np.asarray(held.array)
    if view.ctypes.data != _native.facts(held.array)[3]:
        return  # a copy: nobody's business
    before = view.tolist()
    held.array[0] = 77
    follows = state in (plain, open_by_its_own_view, given)
    assert (view.tolist() != before) == follows
    assert held.array[0].item() == 77
