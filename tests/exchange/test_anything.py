"""What belongs to no framework: exporters of the buffer protocol, objects that are no arrays, numbers of Python."""

from __future__ import annotations

import array
import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from exchange.arrays import FOREIGN, values

import bridge
from bridge.core.errors import BridgeError, DTypeError

EVERYONE = (*FOREIGN, "bridge")


# ------------------------------------------------------------------------------------------------------------- buffers


def buffers() -> dict[str, tuple[Any, Any]]:
    """Name -> an exporter of the buffer protocol, its values."""
    numbers = array.array("f", [1, 2, 3])
    block = memoryview(bytearray(range(24)))
    pages = mmap.mmap(-1, mmap.PAGESIZE)
    pages[:3] = b"abc"
    return {
        "array.array": (numbers, [1, 2, 3]),
        "empty array.array": (array.array("f"), []),
        "bytes": (b"abc", [97, 98, 99]),
        "empty bytes": (b"", []),
        "bytearray": (bytearray(b"abc"), [97, 98, 99]),
        "two axes": (block[:8].cast("h", (2, 2)), np.arange(8, dtype=np.uint8).view(np.int16).reshape(2, 2).tolist()),
        "every second": (block[::2], list(range(0, 24, 2))),
        "backwards": (block[::-1], list(range(23, -1, -1))),
        "odd address": (block[1:9].cast("i"), np.arange(1, 9, dtype=np.uint8).view(np.int32).tolist()),
        "no axes": (memoryview(np.array(3, np.int16)), 3),
        "big-endian": (memoryview(np.arange(3, dtype=">i4")), [0, 1, 2]),
        "ctypes": ((ctypes.c_float * 3)(1, 2, 3), [1, 2, 3]),
        "ctypes, two axes": ((ctypes.c_int16 * 2 * 2)((1, 2), (3, 4)), [[1, 2], [3, 4]]),
        "ctypes, big-endian": ((ctypes.c_int32.__ctype_be__ * 3)(1, 2, 3), [1, 2, 3]),
        "ctypes number": (ctypes.c_float(2.5), 2.5),
        "mmap": (memoryview(pages)[:3], [97, 98, 99]),
    }


@pytest.mark.parametrize("target", EVERYONE)
@pytest.mark.parametrize("name", buffers())
def test_any_exporter_of_a_buffer(name: str, target: str):
    """Shape, dtype and values, whatever the format and strides; a copy has memory of its own."""
    x, wanted = buffers()[name]
    assert values(bridge.to(target, x)) == wanted
    assert values(bridge.to(target, x, copy=True)) == wanted


def test_a_shared_buffer_is_written_by_both():
    """An mmap, a bytearray and a ctypes array under a tensor; the exporter cannot be resized meanwhile."""
    for x in (mmap.mmap(-1, mmap.PAGESIZE), bytearray(64), (ctypes.c_uint8 * 64)()):
        tensor = bridge.to("torch", x, copy=False)
        tensor[0] = 7
        assert memoryview(x).cast("B")[0] == 7
    grown = bytearray(64)
    held = bridge.from_(grown)
    with pytest.raises(BufferError, match=r"(?i)resize|export"):
        grown.extend(b"more")
    assert held.shape == (64,)


FORMATS_WITHOUT_DTYPE = {
    "pointers": lambda: (ctypes.POINTER(ctypes.c_int) * 3)(),
    "addresses": lambda: memoryview((ctypes.c_void_p * 2)()),
}


@pytest.mark.parametrize("name", FORMATS_WITHOUT_DTYPE)
def test_a_format_without_a_dtype_is_refused_with_a_fix_that_works(name: str):
    x = FORMATS_WITHOUT_DTYPE[name]()
    with pytest.raises(DTypeError, match=r'names no dtype(.|\n)*numpy\.frombuffer\(x, "uint8"\)'):
        bridge.to("torch", x)
    assert bridge.to("torch", np.frombuffer(x, "uint8")).numel() == memoryview(x).nbytes


def test_characters_and_records_in_buffers():
    """The fix speaks of numpy.asarray(x), because the exporter itself has no such method."""
    with pytest.raises(DTypeError, match=r'structured(.|\n)*numpy\.asarray\(x\)\["a"\]'):
        bridge.from_(memoryview(np.zeros(3, [("a", "f4")])))
    with pytest.raises(DTypeError, match=r"string(.|\n)*numpy\.asarray\(x\)"):
        bridge.from_(memoryview(b"abc").cast("c"))


def test_a_released_memoryview():
    """The reason is said."""
    view = memoryview(bytearray(3))
    view.release()
    with pytest.raises(BridgeError, match="released"):
        bridge.from_(view)


NO_ARRAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "text": (lambda: "text", "leave it out"),
    "None": (lambda: None, "leave it out"),
    "object": (object, "leave it out"),
    "a class": (lambda: np.ndarray, "leave it out"),
    "range": (lambda: range(3), r"bridge\.array\(list\(x\)\)"),
    "set": (lambda: {1, 2}, r"bridge\.array\(list\(x\)\)"),
    "Fraction": (lambda: __import__("fractions").Fraction(1, 2), r"float\(x\)"),
    "mappingproxy": (lambda: __import__("types").MappingProxyType({"a": 1}), r"dict\(x\)"),
    "namespace": (lambda: __import__("types").SimpleNamespace(a=1), r"vars\(x\)"),
    "module": (lambda: __import__("torch").nn.Linear(2, 2), r"x\.state_dict\(\)"),
}


@pytest.mark.parametrize("name", NO_ARRAYS)
def test_what_is_no_array_says_how_to_go_on(name: str):
    build, fix = NO_ARRAYS[name]
    with pytest.raises(BridgeError, match=rf"is no array(.|\n)*fix:  .*{fix}"):
        bridge.to("numpy", build())


class Interface:
    """What exports nothing but `__array_interface__`."""

    def __init__(self) -> None:
        self.array = np.arange(3.0)
        self.__array_interface__ = self.array.__array_interface__


def test_an_array_interface_alone():
    """NumPy reads it; whether that shares is for the user to know."""
    x = Interface()
    with pytest.raises(BridgeError, match=r"fix:  numpy\.asarray\(x\)"):
        bridge.to("torch", x)
    assert values(bridge.to("torch", np.asarray(x))) == [0, 1, 2]


# ------------------------------------------------------------------------------------------------------------- numbers

NUMBERS = [
    (True, "bool"), (0, "int32"), (-(2**31), "int32"), (2**31, "int64"), (-(2**63), "int64"), (2**63, "uint64"),
    (2**64 - 1, "uint64"), (0.1, "float32"), (-0.0, "float32"), (float("inf"), "float32"), (3.4e38, "float32"),
    (1e39, "float64"), (1e300, "float64"), (1e-50, "float64"), (5e-324, "float64"), (1j, "complex64"),
    (1e300 + 1j, "complex128"),
]  # fmt: skip


@pytest.mark.parametrize(("number", "dtype"), NUMBERS)
@pytest.mark.parametrize("target", EVERYONE)
def test_a_number_goes_to_every_target(target: str, number: Any, dtype: str):
    """In the default dtype of its kind, or the next one that holds its magnitude; jax without 64 bits says so."""
    if target == "jax" and dtype in ("int64", "uint64", "float64", "complex128"):
        with pytest.raises(DTypeError, match="jax_enable_x64"):
            bridge.to(target, number)
        return
    result = bridge.to(target, number)
    assert dtype in str(result.dtype)
    assert values(result) == np.array(number).astype(dtype).item()


def test_numbers_of_a_derived_class():
    """An IntEnum, a float with a unit: the number they are."""
    import enum

    class Size(enum.IntEnum):
        SMALL = 3

    class Metres(float):
        pass

    assert bridge.to("numpy", Size.SMALL).tolist() == 3
    assert bridge.to("torch", {"length": Metres(2.5)})["length"].item() == 2.5


OUT_OF_RANGE = [
    (256, "uint8", "no uint8 holds 256"),
    (-1, "uint64", "no uint64 holds -1"),
    (1e39, "float32", r"no float32 holds 1e\+39"),
    (70_000, "float16", "no float16 holds 70000"),
    (float("nan"), "int32", "no int32 holds nan"),
    (1e300, "int64", r"no int64 holds 1e\+300"),
    (1j, "float32", "no float32 holds 1j"),
    (2**64, None, "no integer dtype holds 18446744073709551616"),
    (10**400, "float64", "no float64 holds an integer of 1329 bits"),
    (10**5000, None, "no integer dtype holds an integer of 16610 bits"),
]


@pytest.mark.parametrize(("number", "dtype", "words"), OUT_OF_RANGE, ids=[words[:40] for *_, words in OUT_OF_RANGE])
def test_a_number_that_a_dtype_does_not_hold(number: Any, dtype: str | None, words: str):
    """Neither wrapped nor infinite: DTypeError with a fix."""
    with pytest.raises(DTypeError, match=rf"{words}(.|\n)*fix:"):
        bridge.to("numpy", number, dtype=dtype)


def test_rounding_that_was_asked_for():
    """dtype= may round digits and drop fractions, as a cast does."""
    assert bridge.to("numpy", 0.1, dtype="float16").item() == np.float16(0.1)
    assert bridge.to("numpy", 2.7, dtype="int8").item() == 2
    assert bridge.to("numpy", 1e-50, dtype="float32").item() == 0
    assert bridge.to("numpy", 2**64, dtype="float64").item() == 2.0**64
    assert bridge.to("numpy", 3, dtype="bfloat16").dtype == np.dtype(ml_dtypes.bfloat16)
