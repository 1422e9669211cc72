"""JAX: immutable, 64-byte aligned compact blocks with their axes in any order; 64-bit dtypes only if switched on.

What is behind the facts (seen on 0.10): below 64-byte alignment jax copies without a word; it reads legacy capsules
only; with 64-bit types off it narrows after the import. All three are decided before jax is called. What has four bits
it packs, two elements to a byte, and unpacks on the way to NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy

from bridge.core.calculus import Calculus
from bridge.core.errors import DTypeError, TracedError
from bridge.core.framework import (
    DTYPES,
    EXACT,
    FLOAT8,
    ITEMSIZE,
    SUB_BYTE,
    Access,
    Door,
    Facts,
    Framework,
    Offer,
    Refusal,
    Shortcut,
    Source,
)
from bridge.core.memory import ALIGNMENT, NATIVE
from bridge.core.route import Route
from bridge.hookspecs import hookimpl
from bridge.plugins._shared import PROBE, Exporter, by_buffer, by_memoryview, known_shape, probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FRAMEWORK", "JaxSource", "describe"]

#: What jax has only with jax_enable_x64.
WIDE = frozenset({"int64", "uint64", "float64", "complex128"})


@cache
def all_dtypes() -> frozenset[str]:
    """What this version of jax can have."""
    import jax

    return DTYPES | {name for name in FLOAT8 | SUB_BYTE if hasattr(jax.numpy, name)}


def known_dtypes() -> frozenset[str]:
    import jax

    return all_dtypes() if jax.config.jax_enable_x64 else all_dtypes() - WIDE


class JaxSource(Source):
    """A computed jax array whose values lie on one device; of a replicated one, the copy of this process's first."""

    __slots__ = ("local",)

    def __init__(self, value: Any, facts: Facts, local: Any = None) -> None:
        super().__init__(value, facts)
        self.local = local

    def owner(self, *, access: Access) -> Any:
        # Donating and deleting end the hold of the array, not that of what it has exported.
        return self.quick_capsule(access=access)

    def capsule(self, *, access: Access, versioned: bool = False) -> Any:
        return self.local.__dlpack__()

    def quick_capsule(self, *, access: Access) -> Any:
        make = capsule_maker()
        return self.capsule(access=access) if make is None else make(self.local, None)

    def buffer(self, *, access: Access) -> Any:
        return self.local

    def exporter(self) -> Any:
        return self.local

    def ndarray(self) -> NDArray[Any]:
        return numpy.asarray(self.local)

    def fresh(self) -> Source | None:
        if self.facts.device == "cpu":
            return None
        import jax

        return describe(jax.numpy.copy(self.local))


# ---------------------------------------------------------------------------------------------------------- describing


@hookimpl
def bridge_calculus(framework: Framework) -> Calculus | None:
    if framework.name != "jax":
        return None
    from bridge.plugins import _calculus_jax

    return _calculus_jax.Calculus()


@hookimpl
def bridge_import(framework: Framework, value: Any) -> Source | None:
    return describe(value) if framework.name == "jax" else None


def describe(array: Any) -> JaxSource:
    """A jax array as a source; waits for its values."""
    dtype = str(array.dtype)
    refusal = _refusal(array, dtype)
    if refusal is not None:
        return JaxSource(array, Facts(framework="jax", dtype=dtype, shape=known_shape(array), refusal=refusal))
    local = array.addressable_data(0)  # holds the memory on its own, also when the array is deleted or donated
    local.block_until_ready()  # the address is known before the values are there
    (device,) = local.sharding.device_set
    shape = local.shape
    facts = Facts(
        framework="jax",
        dtype=dtype,
        shape=shape,
        strides=_strides(shape, _major_to_minor(local)),
        address=local.unsafe_buffer_pointer(),
        device=_device_name(device),
        access="read",
        why_read="jax arrays are immutable",
        unlike=f"jax packs two elements of {dtype} into a byte" if dtype in SUB_BYTE else None,
    )
    return JaxSource(array, facts, local)


def _device_name(device: Any) -> str:
    """As torch calls it: jax says "gpu" of every maker's."""
    if device.platform == "cpu":
        return "cpu"
    maker = "rocm" if "rocm" in str(getattr(device.client, "platform_version", "")).lower() else "cuda"
    return f"{maker if device.platform == 'gpu' else device.platform}:{device.id}"


def _major_to_minor(array: Any) -> tuple[int, ...]:
    """The order of the axes in memory, the outermost first."""
    if hasattr(array, "format"):
        return array.format.layout.major_to_minor  # type: ignore[no-any-return]
    return array.layout.device_local_layout.major_to_minor  # type: ignore[no-any-return]  # its name until jax 0.7


def _strides(shape: tuple[int, ...], major_to_minor: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in elements of a compact block whose axes lie in this order, the outermost first."""
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(major_to_minor):
        strides[axis] = step
        step *= max(1, shape[axis])
    return tuple(strides)


#: Who makes tracers of which class. What runs inside jax.jit is traced by it, whatever traced it before.
_TRANSFORMATIONS = {
    "DynamicJaxprTracer": "jax.jit (or make_jaxpr, scan, cond)",
    "LinearizeTracer": "jax.grad (or vjp, linearize)",
    "JVPTracer": "jax.jvp (or jacfwd)",
    "BatchTracer": "jax.vmap",
}


def _refusal(array: Any, dtype: str) -> Refusal | None:
    """Why there are no bytes to hand over; None: there are."""
    import jax

    if isinstance(array, jax.core.Tracer):
        traced_by = _TRANSFORMATIONS.get(type(array).__name__, "a transformation of jax")
        return Refusal(
            problem=f"the array is traced by {traced_by}, it has no values yet",
            fix="convert outside the function, or inside jax.pure_callback",
            error=TracedError,
        )
    if type(array).__name__ == "Ref":
        return Refusal(problem="a jax Ref is a cell that holds an array", fix="x[...] for the array")
    if dtype not in ITEMSIZE:
        is_key = jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended)
        fix = "jax.random.key_data(x)" if is_key else f'x.astype("{EXACT.get(dtype, "float32")}"), which is exact'
        return Refusal(problem=f"jax's {dtype} has no counterpart elsewhere", fix=fix, error=DTypeError)
    if array.is_deleted():
        return Refusal(problem="the array was deleted or donated, its memory is gone", fix="convert it before that")
    if array.sharding.is_fully_replicated:
        return None
    if not array.is_fully_addressable:
        fix = "jax.experimental.multihost_utils.process_allgather(x)"
        return Refusal(problem="parts of the array are with other processes", fix=fix)
    if len(array.sharding.device_set) != 1:
        problem = f"the array is spread over {len(array.sharding.device_set)} devices"
        return Refusal(problem=problem, fix="jax.device_put(x, jax.devices()[0]) to gather it")
    return None


# ---------------------------------------------------------------------------------------------------------- converting


@cache
def buffer_maker() -> Callable[[Any], Any] | None:
    """jaxlib's own import of a capsule, 7 times as fast as the public one; None where it does not work as known.

    It is private: its arguments have changed before. So it is tried once, on memory whose values are known.
    """
    import jax

    try:
        from jaxlib import _jax

        make = _jax.dlpack_managed_tensor_to_buffer
        device = jax.local_devices(backend="cpu")[0]
        memory = probe()
        array = make(memory.__dlpack__(), device, None, None, 1)
        if array.unsafe_buffer_pointer() != memory.ctypes.data or tuple(numpy.asarray(array).tolist()) != PROBE:
            return None
    except Exception:
        return None
    return lambda capsule: make(capsule, device, None, None, 1)


@cache
def capsule_maker() -> Callable[[Any, None], Any] | None:
    """jaxlib's own export, 5 times as fast as `__dlpack__`; None where it does not work as known."""
    import jax

    try:
        from jaxlib import _jax

        make: Callable[[Any, None], Any] = _jax.buffer_to_dlpack_managed_tensor
        with jax.ensure_compile_time_eval():  # the first use may be inside a traced function
            array = jax.numpy.array(PROBE, dtype="int32", device=jax.local_devices(backend="cpu")[0])
        if tuple(numpy.from_dlpack(Exporter(make(array, None))).tolist()) != PROBE:
            return None
    except Exception:
        return None
    # Of the shard, as jax itself does it: to delete an array whose own buffer is exported aborts the process.
    return lambda array, stream: make(array.addressable_data(0), stream)


def has_buffer_maker() -> bool:
    return buffer_maker() is not None


def has_capsule_maker() -> bool:
    return capsule_maker() is not None


@hookimpl
def bridge_export(framework: Framework, source: Source, route: Route) -> Any:
    if framework.name != "jax":
        return None
    array = _DOORS[route.door or ""](source, route)
    if route.device == source.facts.device:
        return array
    return _place(array, route.device)


def _place(array: Any, device: str) -> Any:
    import jax

    platform, _, index = device.partition(":")
    return jax.device_put(array, jax.devices(platform)[int(index or 0)])


def _same(source: Source, route: Route) -> Any:
    if route.outcome == "share":
        return source.value
    import jax

    return jax.numpy.array(source.value, dtype=route.dtype, copy=True)


def _direct(source: Source, route: Route) -> Any:
    make = buffer_maker()
    assert make is not None
    return make(source.quick_capsule(access="read"))


def _dlpack(source: Source, route: Route) -> Any:
    import jax

    if source.facts.device != "cpu":
        return jax.dlpack.from_dlpack(source.exporter())
    return jax.dlpack.from_dlpack(Exporter(source.capsule(access="read")))


def _buffer(source: Source, route: Route) -> Any:
    import jax

    return jax.numpy.array(by_buffer(source, "read"), copy=True)


def _memoryview(source: Source, route: Route) -> Any:
    import jax

    return jax.numpy.array(by_memoryview(source, "read"), copy=True)


def _array(source: Source, route: Route) -> Any:
    import jax

    return jax.numpy.array(source.ndarray(), copy=True)


_DOORS: dict[str, Callable[[Source, Route], Any]] = {
    "same": _same,
    "direct": _direct,
    "dlpack": _dlpack,
    "array": _array,
    "buffer": _buffer,
    "memoryview": _memoryview,
}


# ------------------------------------------------------------------------------------------------------------ shortcuts


def _from_bridge() -> Shortcut | None:
    make = buffer_maker()
    if make is None:
        return None
    import jax

    from bridge.core import _native

    offer, config, compact = _native.offer, jax.config, 2
    narrow = sum(1 << _native.DTYPES[name].code for name in all_dtypes() - WIDE - SUB_BYTE)
    wide = sum(1 << _native.DTYPES[name].code for name in all_dtypes() - SUB_BYTE)

    def convert(array: Any) -> Any:
        dtypes = wide if config.jax_enable_x64 else narrow
        capsule = offer(array, dtypes, ALIGNMENT, compact, "frozen", False, "jax")
        return None if capsule is None else make(capsule)

    return convert


FRAMEWORK = Framework(
    name="jax",
    module="jax",
    install='pip install "bridge-arrays[jax]"',
    types=(
        "jaxlib._jax.ArrayImpl",
        "jaxlib.xla_extension.ArrayImpl",
        "jax.Array",  # an abstract class, of which the next two are virtual subclasses; its name has changed
        "jax.jaxlib._jax.Array",
        "jax._src.core.Tracer",
        "jax._src.core.Ref",
        "jax._src.random.prng.PRNGKeyArray",
        "jax._src.prng.PRNGKeyArray",
    ),
    takes=(
        Door(name="direct", protocol="dlpack", dtypes=DTYPES | FLOAT8, ready=has_buffer_maker),
        Door(name="dlpack", protocol="dlpack", dtypes=DTYPES | FLOAT8, host_only=False),
        Door(name="array", protocol="address", shares=False, dtypes=SUB_BYTE),
        Door(name="buffer", protocol="buffer", shares=False, dtypes=NATIVE),
        Door(name="memoryview", protocol="buffer", shares=False, dtypes=NATIVE),
    ),
    gives=(
        Offer(protocol="buffer", strides="row-major", dtypes=NATIVE),
        Offer(protocol="address"),
        Offer(protocol="dlpack", dtypes=DTYPES | FLOAT8),
    ),
    dtypes=known_dtypes,
    dtype_fix=dict.fromkeys(
        WIDE, 'jax.config.update("jax_enable_x64", True), or dtype=... to convert, which may lose precision'
    ),
    mutable=False,
    readonly=True,
    alignment=ALIGNMENT,
    strides="permutation",
    devices=True,
    shortcuts={"bridge": _from_bridge},
)


@hookimpl
def bridge_frameworks() -> list[Framework]:
    return [FRAMEWORK]
