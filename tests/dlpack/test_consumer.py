"""`bridge.from_dlpack` believes no capsule: what is wrong with it is an error, never a crash."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from dlpack.capsules import Forged
from dlpack.hostile import ACCEPTED, REFUSED, WRONG
from isolated import run_each

import bridge


@cache
def reports(function: str, names: tuple) -> dict:
    return dict(zip(names, run_each(f"dlpack.hostile:{function}", names), strict=True))


def report_of(function: str, name: str, names) -> dict:
    found = reports(function, tuple(names))[name]
    assert "crashed" not in found, found["crashed"]
    assert "raised" not in found, found["raised"]
    return found


DTYPE_LIES = {
    "two lanes",
    "no lane",
    "unknown dtype code",
    "opaque handle",
    "float8 of a kind that nobody has",
    "packed pairs of 4 bits",
    "padded pairs of 4 bits",
    *(name for name in REFUSED if " bit" in name),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_lie_is_refused(name):
    """BridgeError (DTypeError where it is the dtype), a text that says what is wrong; the owner is not robbed."""
    found = report_of("refuse", name, REFUSED)
    assert "errors" in found, found
    assert "BridgeError" in found["errors"], found["text"]
    if name in DTYPE_LIES:
        assert "DTypeError" in found["errors"], found["text"]
    assert found["text"].startswith("[bridge.from_dlpack"), found["text"]
    assert found["deleted"] <= 1


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_truth_is_shared(name):
    """An honest capsule, however odd, is read in place, and its deleter runs once, when the array goes."""
    found = report_of("accept", name, ACCEPTED)
    options, values = ACCEPTED[name]
    assert found["values"] == values
    has_elements = 0 not in options.get("shape", (2, 3))
    assert found["shared"] or not has_elements
    assert found["before"] == 0 or not has_elements
    assert found["after"] == (1 if options.get("has_deleter", True) else 0)
    assert found["label"].startswith("used_dltensor")
    assert "max_version" in found["requests"][0]


@pytest.mark.parametrize("versioned", [False, True])
def test_a_used_capsule_is_refused(versioned):
    """The first array keeps the memory; the second import is an error; the deleter runs once."""
    found = report_of("twice", versioned, [False, True])
    assert "BridgeError" in found["errors"], found
    assert "used" in found["text"] or "consumed" in found["text"], found["text"]
    assert found["values"] == [[0, 1, 2], [3, 4, 5]]
    assert found["deleted"] == 1


@pytest.mark.parametrize("name", WRONG)
def test_a_producer_that_does_not_produce(name):
    """Whatever `__dlpack__` gives back or raises arrives as an exception."""
    found = report_of("wrong", name, WRONG)
    assert "errors" in found, found
    if name == "an error of its own":
        assert "no capsule today" in found["text"]
    elif name != "device raises":
        assert {"TypeError", "BridgeError"} & set(found["errors"]), found


@pytest.mark.parametrize("versioned", [False, True])
def test_producers_from_before_max_version_are_asked_again(versioned):
    """The keyword is tried first, then left out; the capsule's name decides what it is."""
    assert report_of("old", versioned, [False, True])["shape"] == [2, 3]


def test_copy_false_shares_and_copy_true_copies():
    """The standard's three meanings of copy."""
    x = np.arange(6, dtype=np.float32)
    address = x.ctypes.data
    facts = bridge.core._native.facts
    assert facts(bridge.from_dlpack(x))[3] == address
    assert facts(bridge.from_dlpack(x, copy=False))[3] == address
    assert facts(bridge.from_dlpack(x, copy=True))[3] != address


def test_copy_false_is_an_error_when_a_copy_cannot_be_avoided():
    """Element 0 at an odd address: BufferError, as the standard asks."""
    forged = Forged((4,), byte_offset=1)
    with pytest.raises(bridge.CopyRequired, match=r"(?i)align"):
        bridge.from_dlpack(forged, copy=False)
    assert isinstance(bridge.from_dlpack(Forged((4,), byte_offset=1)), bridge.array)


@pytest.mark.parametrize("device", [None, (1, 0)])
def test_the_device_may_be_named(device):
    """The CPU is the only device there is."""
    assert bridge.from_dlpack(np.arange(3), device=device).tolist() == [0, 1, 2]


def test_another_device_is_refused():
    """Asking for a GPU is an error with a reason."""
    with pytest.raises((bridge.BridgeError, ValueError), match=r"(?i)device|gpu"):
        bridge.from_dlpack(np.arange(3), device=(2, 0))


def test_read_only_memory_stays_untouched():
    """READ_ONLY: the array is a value over memory that the engine never writes."""
    forged = Forged((2, 3), flags=1)
    a = bridge.from_dlpack(forged)
    a[0, 0] = 5.0
    assert a[0, 0].item() == 5.0
    assert bytes(forged.memory[:64]) == bytes(64)


@pytest.mark.parametrize("flags", [0, 1])
def test_a_view_handed_on_is_as_writable_as_its_source(flags):
    """Read-only in, read-only out."""
    forged = Forged((2, 3), flags=flags)
    assert np.asarray(bridge.from_dlpack(forged)).flags.writeable == (flags == 0)
