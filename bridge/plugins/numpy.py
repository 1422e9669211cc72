"""NumPy: any strides, any alignment, read-only arrays; bfloat16 by ml_dtypes.

What NumPy cannot do (seen on 2.4): its buffers and capsules carry no ml_dtypes dtype, and no legacy capsule carries
its read-only memory. Both go by the address instead. From 2.5 on its capsules carry what is registered with it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy

from bridge.core.dtypes import TABLE
from bridge.core.errors import DTypeError
from bridge.core.framework import EXACT, ITEMSIZE, Access, Door, Facts, Framework, Offer, Refusal, Shortcut, Source
from bridge.core.memory import NATIVE, aligned_copy, has_numpy_dtype, numpy_dtype, over
from bridge.core.route import Route
from bridge.hookspecs import hookimpl
from bridge.plugins._shared import Exporter, by_buffer, by_memoryview

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FRAMEWORK", "NumpySource", "describe", "fresh"]


class NumpySource(Source):
    """A plain ndarray: `value` itself, or the base class's view of it, or what was made of a scalar."""

    __slots__ = ("given",)

    value: NDArray[Any]

    def __init__(self, value: NDArray[Any], facts: Facts, given: NDArray[Any] | None = None) -> None:
        super().__init__(value, facts)
        self.given = value if given is None else given  # what goes back to NumPy as it came

    def capsule(self, *, access: Access, versioned: bool = False) -> Any:
        # NumPy has no code for what ml_dtypes brings, and refuses a legacy capsule of what it must not write.
        if self.facts.dtype not in CARRIED or not (versioned or self.value.flags.writeable):
            return super().capsule(access=access, versioned=versioned)
        return self.value.__dlpack__(max_version=(1, 0)) if versioned else self.value.__dlpack__()

    def buffer(self, *, access: Access) -> Any:
        return self.value if access == "write" else _writable(self.value, self.facts)

    def ndarray(self) -> NDArray[Any]:
        return self.value


def _writable(array: NDArray[Any], facts: Facts) -> NDArray[Any]:
    """The same memory without the read-only flag, for a consumer that does not write."""
    if array.flags.writeable:
        return array
    assert facts.strides is not None
    return over(array, facts.address, facts.dtype, facts.shape, facts.strides, writable=True)


# ---------------------------------------------------------------------------------------------------------- describing


#: What NumPy's arrays can have, with the ml_dtypes that is installed.
KNOWN = frozenset(name for name in ITEMSIZE if has_numpy_dtype(name))


def carried(dtypes: ModuleType) -> frozenset[str]:
    """What NumPy's capsules carry: its own dtypes and, where `numpy.dtypes` can be told of them, those of ml_dtypes.

    Not those of four bits, which NumPy would take for packed ones.
    """
    register = getattr(dtypes, "register_dlpack_dtype", None)
    names = set(NATIVE)
    for row in TABLE:
        if register is None or row.name in NATIVE or row.padding or row.name not in KNOWN:
            continue
        try:
            register((row.dlpack_code, row.bits), numpy_dtype(row.name))
        except ValueError:  # somebody else's dtype has the code
            continue
        names.add(row.name)
    return frozenset(names)


#: Registered when this plugin is loaded. ml_dtypes may have done so before, with the same dtypes.
CARRIED = carried(numpy.dtypes)
_NAMES = {numpy_dtype(name): name for name in KNOWN}


@hookimpl
def bridge_import(framework: Framework, value: Any) -> Source | None:
    return describe(value) if framework.name == "numpy" else None


def describe(value: Any) -> NumpySource:
    """An ndarray of any subclass or a scalar, as a source."""
    if (masked := sys.modules.get("numpy.ma")) is not None and isinstance(value, masked.MaskedArray):
        refusal = Refusal(problem="a masked array may have elements without a value", fix=_UNMASK)
        return NumpySource(value, Facts(framework="numpy", dtype=value.dtype.name, shape=value.shape, refusal=refusal))
    unlike, given = None, value if isinstance(value, numpy.ndarray) else None
    if isinstance(value, numpy.generic):
        value, unlike = numpy.asarray(value), "a NumPy scalar has no memory to share"
    elif type(value) is not numpy.ndarray:
        value = value.view(numpy.ndarray)
    dtype = _NAMES.get(value.dtype)
    if dtype is None and not value.dtype.isnative:
        dtype = _NAMES.get(value.dtype.newbyteorder("="))
        unlike = "its bytes are in the other order than this machine's"
    if dtype is None:
        refusal = _refusal(value.dtype)
        facts = Facts(framework="numpy", dtype=value.dtype.name, shape=value.shape, refusal=refusal)
        return NumpySource(value, facts, given)
    if value.dtype.isnative and value.dtype.char != numpy_dtype(dtype).char:
        value = value.view(numpy_dtype(dtype))  # the same bits by another name in C (ulonglong), which torch refuses
    size = value.itemsize
    axes = zip(value.strides, value.shape, strict=True)
    if any(extent == 1 and (stride < 0 or stride % size) for stride, extent in axes):
        value = _without_idle_strides(value)
    whole = all(stride % size == 0 for stride in value.strides)
    return NumpySource(
        value,
        Facts(
            framework="numpy",
            dtype=dtype,
            shape=value.shape,
            strides=tuple(stride // size for stride in value.strides) if whole else None,
            address=value.ctypes.data,
            access="write" if value.flags.writeable else "read",
            why_read="" if value.flags.writeable else "the ndarray is not writeable",
            unlike=unlike,
        ),
        given,
    )


def _without_idle_strides(array: NDArray[Any]) -> NDArray[Any]:
    """The same view, the strides of its axes of one element 0: torch refuses odd ones although nobody uses them."""
    idle = tuple(axis for axis, extent in enumerate(array.shape) if extent == 1)
    return numpy.expand_dims(array.squeeze(idle), idle)


_UNMASK = "x.filled(0) to give them one, or x.data if nothing is masked"
_STRINGS = ("a string array holds no numbers", 'x.astype("float64"), if it spells numbers')
_DTYPE_REFUSALS = {
    "O": ("an object array holds Python objects, not numbers", 'x.astype("float64"), if they are numbers'),
    "M": ("datetime64 has no counterpart elsewhere", 'x.view("int64") for the counts'),
    "m": ("timedelta64 has no counterpart elsewhere", 'x.view("int64") for the counts'),
    "U": _STRINGS,
    "S": _STRINGS,
    "T": _STRINGS,
    "f": ("longdouble has no counterpart elsewhere", "x.astype(numpy.float64), which may round"),
    "c": ("clongdouble has no counterpart elsewhere", "x.astype(numpy.complex128), which may round"),
}


def _refusal(dtype: numpy.dtype[Any]) -> Refusal:
    """Why a dtype goes nowhere, and what the user can make of it."""
    if dtype.itemsize == 0:  # jax's float0, the gradient of what has none; records without fields
        problem, fix = f"elements of {dtype} have no bytes", "numpy.zeros(x.shape), if zeros are meant"
    elif dtype.names is not None:
        problem, fix = "a structured array mixes dtypes", f'x["{dtype.names[0]}"], one field at a time'
    elif dtype.name in EXACT:  # before the kinds: what ml_dtypes brings is of many
        problem, fix = f"{dtype.name} has no counterpart elsewhere", f'x.astype("{EXACT[dtype.name]}"), which is exact'
    elif dtype.type is numpy.void:
        problem, fix = f"{dtype.name} is bytes without a dtype", "x.view(...) with the dtype that they have"
    else:
        unknown = (f"{dtype.name} has no counterpart elsewhere", 'x.astype("float32"), which may round')
        problem, fix = _DTYPE_REFUSALS.get(dtype.kind, unknown)
    return Refusal(problem=problem, fix=fix, error=DTypeError)


def fresh(array: NDArray[Any]) -> NumpySource:
    """A source over a dense, aligned copy of `array` that nobody else has."""
    return describe(aligned_copy(array))


# ----------------------------------------------------------------------------------------------------------- converting


@hookimpl
def bridge_export(framework: Framework, source: Source, route: Route) -> Any:
    if framework.name != "numpy":
        return None
    array = _DOORS[route.door or ""](source, route)
    if route.access == "write" or not array.flags.writeable:
        return array
    if array is source.value or array is getattr(source, "given", None):  # the caller's own
        array = array.view()
    array.flags.writeable = False  # not on a view of it: that could be made writable again, its base being so
    return array


def _same(source: Source, route: Route) -> NDArray[Any]:
    assert isinstance(source, NumpySource)
    if route.outcome == "share":
        return source.given
    array = source.value
    return aligned_copy(array if route.dtype == source.facts.dtype else array.astype(numpy_dtype(route.dtype)))


def _buffer(source: Source, route: Route) -> NDArray[Any]:
    return by_buffer(source, route.access)


def _memoryview(source: Source, route: Route) -> NDArray[Any]:
    return by_memoryview(source, route.access)


def _array(source: Source, route: Route) -> NDArray[Any]:
    return source.ndarray()


def _dlpack(source: Source, route: Route) -> NDArray[Any]:
    return numpy.from_dlpack(Exporter(source.capsule(access=route.access, versioned=True)))


def _address(source: Source, route: Route) -> NDArray[Any]:
    facts, owner = source.facts, source.owner(access=route.access)
    assert facts.strides is not None
    return over(owner, facts.address, facts.dtype, facts.shape, facts.strides, writable=route.access == "write")


_DOORS: dict[str, Callable[[Source, Route], NDArray[Any]]] = {
    "same": _same,
    "buffer": _buffer,
    "array": _array,
    "address": _address,
    "dlpack": _dlpack,
    "memoryview": _memoryview,
}


# ------------------------------------------------------------------------------------------------------------ shortcuts


def _from_bridge() -> Shortcut:
    return numpy.asarray  # the buffer slot answers for every state; bfloat16 comes by `__array__`


def _from_torch() -> Shortcut | None:
    import torch
    from torch.autograd import forward_ad

    if not hasattr(forward_ad, "_current_level"):
        return None
    is_traced = torch._C._functorch.is_functorch_wrapped_tensor

    def convert(tensor: Any) -> Any:
        # Under functionalize, and of a storage that was emptied, numpy() gives an array over memory that is nobody's;
        # under no_grad it takes what requires grad.
        if tensor.requires_grad or is_traced(tensor) or not tensor.data_ptr() or forward_ad._current_level >= 0:
            return None
        array = tensor.numpy()  # raises for all that is not plain: gradients, conjugates, bfloat16, other devices
        return array if array.flags.c_contiguous else None  # an expanded tensor must not arrive writable

    return convert


def _from_jax() -> Shortcut:
    return lambda array: numpy.asarray(memoryview(array))  # raises for bfloat16, permuted or deleted arrays


FRAMEWORK = Framework(
    name="numpy",
    module="numpy",
    install="pip install numpy",
    types=("numpy.ndarray", "numpy.generic"),
    takes=(
        Door(name="buffer", protocol="buffer"),
        Door(name="array", protocol="array"),
        Door(name="address", protocol="address"),
        Door(name="dlpack", protocol="dlpack", dtypes=CARRIED),
        Door(name="memoryview", protocol="buffer"),
    ),
    gives=(
        Offer(protocol="ndarray", dtypes=NATIVE),
        Offer(protocol="buffer", dtypes=NATIVE),
        Offer(protocol="address"),
        Offer(protocol="dlpack"),
    ),
    dtypes=KNOWN,
    dtype_note={
        "bfloat16": "NumPy adds bfloat16 up in bfloat16: x.sum(dtype=numpy.float32), or reduce before converting"
    },
    mutable=True,
    readonly=True,
    alignment=1,
    strides="any",
    shortcuts={"bridge": _from_bridge, "torch": _from_torch, "jax": _from_jax},
)


@hookimpl
def bridge_frameworks() -> list[Framework]:
    return [FRAMEWORK]
