"""The engine itself, under the same contract as every framework: 64-byte aligned memory, any strides, leases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy

from bridge.core import _native
from bridge.core.errors import CopyRequired, message
from bridge.core.framework import DTYPES, ITEMSIZE, Access, Door, Facts, Framework, Offer, Shortcut, Source
from bridge.core.memory import NATIVE, aligned_copy, over
from bridge.core.route import Route, fits
from bridge.hookspecs import hookimpl
from bridge.plugins.jax import capsule_maker, has_capsule_maker
from bridge.plugins.tensorflow import dlpack_works, is_watched
from bridge.plugins.torch import exchange_api, has_exchange

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FRAMEWORK", "EngineSource", "describe"]


class EngineSource(Source):
    """An evaluated array. Each way out takes a lease on its storage, held by what the way returned."""

    def capsule(self, *, access: Access, versioned: bool = False) -> Any:
        if self.facts.access == "read":  # shared with siblings, or a broadcast: the capsule says so
            access = "read"
        granted = "frozen" if access == "read" and not versioned else access
        return self._of_now(_native.export_dlpack(self.value, versioned=versioned, access=granted, holder=self.holder))

    def buffer(self, *, access: Access) -> Any:
        # The buffer slot would open the storage for writing; a reader must freeze it instead. Where it is open and
        # cannot be frozen, the reader is a door that copies at once.
        return self.value if access == "write" or self.facts.frozen is not None else self._view()

    def owner(self, *, access: Access) -> Any:
        return self._of_now(_native.export_address(self.value, access=access, holder=self.holder)[0])

    def ndarray(self) -> NDArray[Any]:
        return self._view() if self.facts.frozen is None else numpy.asarray(self.value)

    def fresh(self) -> Source:
        return describe(_native.copy(self.value))

    def _of_now(self, lease: Any) -> Any:
        """The lease, if it is on the bytes that the facts describe: another thread may have updated the array since."""
        facts, array = self.facts, self.value
        if (_native.storage_address(array), array.shape, array.dtype.name) == (facts.address, facts.shape, facts.dtype):
            return lease
        raise CopyRequired(message("bridge.array", "another thread updated the array during the conversion"))

    def _view(self) -> NDArray[Any]:
        facts = self.facts
        assert facts.strides is not None
        return over(self.owner(access="read"), facts.address, facts.dtype, facts.shape, facts.strides, writable=True)


def describe(array: Any) -> EngineSource:
    """An engine array as a source; evaluates it."""
    dtype, shape, strides, address, _, access, reason = _native.facts(array)
    return EngineSource(
        array,
        Facts(
            framework="bridge",
            dtype=dtype.name,
            shape=shape,
            strides=strides,
            address=address,
            access=access,
            why_read=reason or "",
            frozen=_native.frozen_reason(array),
        ),
    )


@hookimpl
def bridge_import(framework: Framework, value: Any) -> Source | None:
    return describe(value) if framework.name == "bridge" else None


# ----------------------------------------------------------------------------------------------------------- converting


@hookimpl
def bridge_export(framework: Framework, source: Source, route: Route) -> Any:
    if framework.name != "bridge":
        return None
    if route.outcome == "share":
        return _DOORS[route.door or ""](source, _claim(source, route))
    array = source.value if isinstance(source, EngineSource) else _importable(source)
    return _native.copy(array) if route.dtype == source.facts.dtype else array.astype(_native.DTYPES[route.dtype])


def _claim(source: Source, route: Route) -> dict[str, bool]:
    """What the engine is told of the bytes: read-only, and if so, whether somebody else can write them nevertheless.

    Overlapping elements make nobody's promise: an owner that can write still can.
    """
    readonly = source.facts.access == "read"
    if route.readonly or not readonly:
        return {"readonly": route.readonly}
    return {"readonly": True, "written": _native.written_elsewhere(source.value)}


def _importable(source: Source) -> Any:
    """An array over the source's memory, or over a copy where the engine could not read it; to be copied from."""
    array, facts = source.ndarray(), source.facts
    whole = fits("any", facts.shape, facts.strides) and facts.unlike is None
    if not whole or facts.address % ITEMSIZE[facts.dtype]:
        array = aligned_copy(array)
    return _over(array, facts.dtype, readonly=True)


def _over(array: NDArray[Any], dtype: str, *, readonly: bool) -> Any:
    if dtype in NATIVE:
        return _native.import_buffer(array, readonly=readonly)
    strides = tuple(stride // array.itemsize for stride in array.strides)
    address = array.ctypes.data
    return _native.import_address(array, address, _native.DTYPES[dtype], array.shape, strides, writable=not readonly)


def _same(source: Source, claim: dict[str, bool]) -> Any:
    return source.value


def _exchange(source: Source, claim: dict[str, bool]) -> Any:
    array = _native.torch_import(exchange_api(), source.value, readonly=claim["readonly"])
    return _dlpack(source, claim) if array is None else array


def _capsule(source: Source, claim: dict[str, bool]) -> Any:
    return _native.import_dlpack(source.quick_capsule(access="write"), **claim)


def _dlpack(source: Source, claim: dict[str, bool]) -> Any:
    return _native.import_dlpack(source.capsule(access="write", versioned=True), **claim)


def _buffer(source: Source, claim: dict[str, bool]) -> Any:
    return _native.import_buffer(source.buffer(access="write"), **claim)


def _memoryview(source: Source, claim: dict[str, bool]) -> Any:
    return _native.import_buffer(memoryview(source.buffer(access="write")), **claim)


def _address(source: Source, claim: dict[str, bool]) -> Any:
    facts = source.facts
    assert facts.strides is not None
    owner, dtype = source.owner(access=facts.access), _native.DTYPES[facts.dtype]
    written = claim.get("written", False)
    return _native.import_address(
        owner, facts.address, dtype, facts.shape, facts.strides, writable=not claim["readonly"], written=written
    )


_DOORS: dict[str, Callable[[Source, dict[str, bool]], Any]] = {
    "same": _same,
    "exchange": _exchange,
    "direct": _capsule,
    "capsule": _capsule,
    "buffer": _buffer,
    "address": _address,
    "dlpack": _dlpack,
    "memoryview": _memoryview,
}


# ------------------------------------------------------------------------------------------------------------ shortcuts


def _from_numpy() -> Shortcut:
    return cast(Shortcut, _native.import_buffer)


def _from_torch() -> Shortcut | None:
    api = exchange_api()
    return None if api is None else cast(Shortcut, _native.torch_importer(api))


def _from_jax() -> Shortcut | None:
    make = capsule_maker()
    if make is None:
        return None
    import_dlpack = _native.import_dlpack
    return lambda array: import_dlpack(make(array, None), readonly=True)


def _from_tensorflow() -> Shortcut | None:
    if not dlpack_works():
        return None
    import tensorflow as tf

    import_dlpack, export = _native.import_dlpack, tf.experimental.dlpack.to_dlpack
    # A capsule of strings would abort the process. Dtypes are compared by identity, which TensorFlow's own comparison
    # takes 300 ns for; a dtype that is equal and not identical only takes the readable path.
    known = frozenset(id(getattr(tf, name)) for name in DTYPES)

    def convert(tensor: Any) -> Any:
        if id(tensor.dtype) not in known or is_watched(tensor):
            return None
        return import_dlpack(export(tensor), readonly=True)

    return convert


FRAMEWORK = Framework(
    name="bridge",
    module="bridge",
    install="pip install bridge-arrays",
    types=("bridge.array",),
    takes=(
        Door(name="exchange", protocol="exchange", sources=frozenset({"torch"}), ready=has_exchange),
        Door(name="direct", protocol="dlpack", sources=frozenset({"jax"}), ready=has_capsule_maker),
        Door(name="capsule", protocol="dlpack", sources=frozenset({"tensorflow"}), ready=dlpack_works),
        Door(name="buffer", protocol="buffer"),
        Door(name="dlpack", protocol="dlpack"),
        Door(name="address", protocol="address"),
        Door(name="memoryview", protocol="buffer"),
    ),
    gives=(
        Offer(protocol="exchange"),
        Offer(protocol="buffer", dtypes=NATIVE),
        Offer(protocol="address"),
        Offer(protocol="dlpack"),
    ),
    dtypes=frozenset(ITEMSIZE),
    mutable=True,
    readonly=True,
    strides="any",
    copies=True,
    leases=True,
    shortcuts={"numpy": _from_numpy, "torch": _from_torch, "jax": _from_jax, "tensorflow": _from_tensorflow},
)


@hookimpl
def bridge_frameworks() -> list[Framework]:
    return [FRAMEWORK]
