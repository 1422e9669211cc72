"""MLX for bridge: what leaves MLX is shared, what enters it is copied.

The facts, as tried on mlx 0.32 for the CPU:

- *What keeps the memory alive.* A DLPack capsule holds the storage itself: as long as it lives, an update of the array
  (`a[0] = 5`, `a += 1`, `a @= m`) moves the array to other memory, and the capsule keeps the old values. A buffer
  (`memoryview(a)`) holds the Python object alone: after such an update it shows memory that MLX uses for something
  else. So every way out begins with a capsule, and the buffer protocol is not offered.
- *Who may write.* Slices, reshapes and broadcasts share storage and behave as values. A write from outside would show
  in all of them, so MLX's memory is handed out to read.
- *Ways in.* Every constructor copies on the CPU, `mlx.core.asarray(x, copy=False)` raises.
- *Lazy arrays* are evaluated by the export, on the thread that made them; on others MLX refuses.
- *Alignment.* Memory begins 8 or 24 bytes past a boundary of 64, so JAX and TensorFlow always need a copy.
"""

from __future__ import annotations

from typing import Any

import numpy

from bridge.hookspecs import Door, Facts, Framework, Offer, Refusal, Route, Source, TracedError, hookimpl

INTEGERS = {"uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"}
DTYPES = frozenset(INTEGERS | {"bool", "float16", "bfloat16", "float32", "float64", "complex64"})

MLX = Framework(
    name="mlx",
    module="mlx",
    install="pip install bridge-mlx",
    types=("mlx.core.array",),
    dtypes=DTYPES,
    dtype_fix={"complex128": 'dtype="complex64", which rounds'},
    mutable=False,  # an array moves before it changes what others hold
    readonly=True,
    strides="any",
    extent=2**31 - 1,  # along one axis
    takes=(Door(name="array", protocol="address", shares=False),),
    gives=(Offer(protocol="address"), Offer(protocol="dlpack")),
)


@hookimpl
def bridge_frameworks() -> list[Framework]:
    return [MLX]


# ---------------------------------------------------------------------------------------------------------- describing


class MlxSource(Source):
    """An MLX array and the memory that it had when it was described."""

    __slots__ = ("memory",)

    def __init__(self, value: Any, facts: Facts, memory: Any = None) -> None:
        super().__init__(value, facts)
        self.memory = memory  # a NumPy array that holds MLX's capsule

    def owner(self, *, access: str) -> Any:
        return self.memory


@hookimpl
def bridge_import(framework: Framework, value: Any) -> MlxSource | None:
    if framework is not MLX:
        return None
    dtype = str(value.dtype).removeprefix("mlx.core.")
    try:
        memory = _memory(value, dtype)
    except Exception as error:
        facts = Facts(framework="mlx", dtype=dtype, shape=tuple(value.shape), refusal=_refusal(error))
        return MlxSource(value, facts)
    facts = Facts(
        framework="mlx",
        dtype=dtype,
        shape=memory.shape,
        strides=tuple(stride // memory.itemsize for stride in memory.strides),
        address=memory.ctypes.data,
        access="read",
        why_read="mlx arrays are values, and slices share their memory",
    )
    return MlxSource(value, facts, memory)


def _memory(value: Any, dtype: str) -> numpy.ndarray[Any, Any]:
    """The array's memory, held by a capsule; evaluates it. NumPy knows no bfloat16: it sees the bits."""
    if dtype == "bfloat16":
        import mlx.core as mx

        value = value.view(mx.uint16)  # shares storage, whatever the strides
    return numpy.from_dlpack(value, device="cpu", copy=False)


def _refusal(error: Exception) -> Refusal:
    if "transformations" in str(error):
        problem = "the array is traced by mlx.core.compile or mlx.core.vmap, it has no values yet"
        return Refusal(problem=problem, fix="convert outside the function", error=TracedError)
    if "current thread" in str(error):
        problem = "the array is lazy, and mlx evaluates it on the thread that made it"
        return Refusal(problem=problem, fix="mlx.core.eval(x) on that thread")
    return Refusal(problem=f"mlx does not hand out its memory: {error}", fix="numpy.array(x)")


# ---------------------------------------------------------------------------------------------------------- converting


@hookimpl
def bridge_export(framework: Framework, source: Source, route: Route) -> Any:
    if framework is not MLX:
        return None
    import mlx.core as mx

    if route.outcome == "share":  # only MLX arrays are shared with MLX: they are handed back
        return source.value
    array = _copied(source.ndarray(), source.facts.dtype)
    # Where the dtype changes, bridge has converted already, unless the source is an MLX array. float64 needs the CPU.
    return array if route.dtype == source.facts.dtype else array.astype(_dtype(route.dtype), stream=mx.cpu)


def _copied(array: numpy.ndarray[Any, Any], dtype: str) -> Any:
    """A new MLX array of the values. MLX narrows float64 unless it is told not to, and takes no negative strides."""
    import mlx.core as mx

    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    return mx.array(array, dtype=_dtype(dtype))


def _dtype(name: str) -> Any:
    import mlx.core as mx

    return getattr(mx, "bool_" if name == "bool" else name)
