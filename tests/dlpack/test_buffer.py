"""Every request of the buffer protocol is answered exactly: the layout that was asked for, or BufferError."""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest

import bridge
from bridge.core import _native

SIMPLE, WRITABLE, FORMAT, ND = 0, 0x1, 0x4, 0x8
STRIDES = 0x10 | ND
C_CONTIGUOUS, F_CONTIGUOUS, ANY_CONTIGUOUS, INDIRECT = 0x20 | STRIDES, 0x40 | STRIDES, 0x80 | STRIDES, 0x100 | STRIDES
REQUESTS = {
    "SIMPLE": SIMPLE,
    "ND": ND,
    "STRIDES": STRIDES,
    "C_CONTIGUOUS": C_CONTIGUOUS,
    "F_CONTIGUOUS": F_CONTIGUOUS,
    "ANY_CONTIGUOUS": ANY_CONTIGUOUS,
    "INDIRECT": INDIRECT,
}


class PyBuffer(ctypes.Structure):
    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.POINTER(ctypes.c_ssize_t)),
        ("suboffsets", ctypes.POINTER(ctypes.c_ssize_t)),
        ("internal", ctypes.c_void_p),
    )


_api = ctypes.PyDLL(None)  # of our own: argument types that others set on ctypes.pythonapi are theirs
get_buffer = _api.PyObject_GetBuffer
get_buffer.argtypes = [ctypes.py_object, ctypes.POINTER(PyBuffer), ctypes.c_int]
release = _api.PyBuffer_Release
release.argtypes = [ctypes.POINTER(PyBuffer)]


@contextmanager
def buffer(array, flags: int):
    answer = PyBuffer()
    get_buffer(array, ctypes.byref(answer), flags)
    try:
        yield answer
    finally:
        release(ctypes.byref(answer))


def dense(shape=(4, 6)):
    a = bridge.array(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)
    bridge.eval(a)
    return a


# name -> (array, C-contiguous, Fortran-contiguous, shape, strides in bytes)
LAYOUTS = {
    "C": (lambda: dense(), True, False, (4, 6), (24, 4)),
    "Fortran": (lambda: dense((6, 4)).T, False, True, (4, 6), (4, 16)),
    "permuted": (lambda: dense((2, 3, 4)).transpose(1, 2, 0), False, False, (3, 4, 2), (16, 4, 48)),
    "strided": (lambda: dense()[:, ::2], False, False, (4, 3), (24, 8)),
    "reversed": (lambda: dense()[::-1], False, False, (4, 6), (-24, 4)),
    "one axis": (lambda: dense((6,)), True, True, (6,), (4,)),
    "scalar": (lambda: dense((1,)).reshape(()), True, True, (), ()),
    "empty": (lambda: dense((0, 6)), True, True, (0, 6), None),
    "unit axes": (lambda: dense((1, 6, 1)), True, True, (1, 6, 1), None),
    "broadcast": (lambda: bridge.broadcast_to(dense((6,)), (4, 6)), False, False, (4, 6), (0, 4)),
}


def satisfies(request: int, c: bool, f: bool) -> bool:
    if request & 0x20 and request & STRIDES == STRIDES:
        return c
    if request & 0x40:
        return f
    if request & 0x80:
        return c or f
    return c or request & STRIDES == STRIDES  # without strides the consumer must assume row-major


@pytest.mark.parametrize(
    ("layout", "request_name", "formatted"), [*product(LAYOUTS, REQUESTS, (False, True))], ids=lambda v: str(v)
)
def test_the_answer_is_what_was_asked_for(layout, request_name, formatted):
    """Shape, strides and format are there exactly if they were requested, and then exact."""
    make, c, f, shape, strides = LAYOUTS[layout]
    flags = REQUESTS[request_name] | (FORMAT if formatted else 0)
    array = make()
    plain_bytes_with_format = flags == FORMAT  # SIMPLE already means unsigned bytes; the two exclude one another
    if plain_bytes_with_format or not satisfies(flags, c, f):
        with pytest.raises(BufferError, match=r"(?i)contiguous|strid|format"), buffer(array, flags):
            pass
        assert bridge.leases(array) == []
        return
    with buffer(array, flags) as answer:
        size = int(np.prod(shape))
        assert (answer.len, answer.itemsize) == (4 * size, 4)
        assert (answer.format or b"") == (b"f" if formatted else b"")
        assert bool(answer.shape) == bool(flags & ND and (shape or answer.shape))
        assert bool(answer.strides) == bool(flags & STRIDES == STRIDES and (shape or answer.strides))
        assert not answer.suboffsets
        if flags & ND:
            assert answer.ndim == len(shape)
            assert tuple(answer.shape[: len(shape)]) == shape
        if flags & STRIDES == STRIDES and strides is not None:
            assert tuple(answer.strides[: len(shape)]) == strides
        if size:
            assert answer.buf == _native.facts(array)[3]
        assert answer.obj is not array  # the lease, not the array, keeps the bytes
        assert len(bridge.leases(array)) == 1
    assert bridge.leases(array) == []


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "broadcast"])
def test_writable_is_granted_where_nobody_else_looks(layout):
    """Asked or not asked: the only array over its storage hands out a writable buffer."""
    array = LAYOUTS[layout][0]()
    for flags in (STRIDES, STRIDES | WRITABLE):
        with buffer(array, flags) as answer:
            assert not answer.readonly


def test_writable_is_refused_where_a_write_would_show_elsewhere():
    """Another array over the same storage, or stride 0: read-only if that will do, else BufferError."""
    a = dense()
    b = a.reshape(24)
    bridge.eval(b)
    for array in (a, b, LAYOUTS["broadcast"][0]()):
        with buffer(array, STRIDES) as answer:
            assert answer.readonly
        with pytest.raises(BufferError, match=r"(?i)read-only|share|stride 0|broadcast"):
            get_buffer(array, ctypes.byref(PyBuffer()), STRIDES | WRITABLE)


FORMATS = {
    "bool_": b"?",
    "uint8": b"B",
    "uint16": b"H",
    "uint32": b"I",
    "uint64": b"Q",
    "int8": b"b",
    "int16": b"h",
    "int32": b"i",
    "int64": b"q",
    "float16": b"e",
    "float32": b"f",
    "float64": b"d",
    "complex64": b"Zf",
    "complex128": b"Zd",
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_format_is_the_one_of_the_struct_module(name):
    """What NumPy reads out of it is the same dtype."""
    a = dense().astype(getattr(bridge, name))
    with buffer(a, STRIDES | FORMAT) as answer:
        assert answer.format == FORMATS[name]
    assert np.asarray(memoryview(a)).dtype == np.dtype(name.rstrip("_"))


@pytest.mark.parametrize("request_name", REQUESTS)
def test_bfloat16_has_no_format_and_the_error_says_what_to_do(request_name):
    """The protocol has no code for bfloat16: BufferError with the ways that work."""
    a = dense().astype(bridge.bfloat16)
    with (
        pytest.raises(BufferError, match=r"(?s)bfloat16.*fix:.*(asarray|bridge\.to|astype)"),
        buffer(a, REQUESTS[request_name]),
    ):
        pass
    with pytest.raises(BufferError, match=r"bfloat16"):
        memoryview(a)


def test_memoryview_has_every_axis():
    """memoryview(a) is n-D, with the values at their places."""
    m = memoryview(dense((2, 3, 4)))
    assert (m.ndim, m.shape, m.format, m.itemsize, m.nbytes) == (3, (2, 3, 4), "f", 4, 96)
    assert m.tolist() == np.arange(24.0).reshape(2, 3, 4).tolist()
    assert m[1, 2, 3] == 23


def test_bytes_are_in_logical_order():
    """`bytes(a)` of a view is the view's own elements, row by row (Y11)."""
    a = dense()
    for array in (a[:, ::2], a.T, a[::-1], bridge.broadcast_to(a[:1], (3, 6))):
        assert bytes(array) == np.array(array).tobytes()


def test_a_memoryview_of_an_unevaluated_array_evaluates_it():
    """There is no such thing as a view of a promise."""
    assert memoryview(bridge.array([1.0, 2.0]) + 1).tolist() == [2.0, 3.0]


def test_readinto_writes_through_a_buffer():
    """A consumer that asks for WRITABLE and SIMPLE writes into the array."""
    import io

    a = dense((4,))
    io.BytesIO(np.arange(4, 8, dtype=np.float32).tobytes()).readinto(memoryview(a).cast("B"))
    assert a.tolist() == [4.0, 5.0, 6.0, 7.0]
