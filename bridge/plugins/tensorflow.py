"""TensorFlow: immutable, dense row-major memory, 64-byte aligned.

What is behind the facts (seen on 2.21): memory below that alignment is accepted, and the first op then aborts the
process; a capsule of strings aborts at once; versioned capsules are refused; `tf.constant` always copies. float8 and
what has four bits goes through no capsule, buffer or bitcast: NumPy sees their memory, and `tf.constant` copies it in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy

from bridge.core.calculus import Calculus
from bridge.core.errors import DTypeError, TracedError
from bridge.core.framework import (
    DTYPES,
    FLOAT8,
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
from bridge.core.memory import ALIGNMENT, NATIVE, numpy_dtype
from bridge.core.route import Route
from bridge.hookspecs import hookimpl
from bridge.plugins._shared import PROBE, Exporter, by_buffer, by_memoryview, known_shape, probe

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FRAMEWORK", "TensorflowSource"]


@cache
def known_dtypes() -> frozenset[str]:
    """float8 and the types of four bits as far as this version of TensorFlow has them."""
    import tensorflow as tf

    rare = getattr(tf.dtypes, "experimental", None)
    return DTYPES | {name for name in FLOAT8 | SUB_BYTE if hasattr(rare, name)}


class TensorflowSource(Source):
    """An eager tensor; of a variable, its value now, which TensorFlow does not change in place while it is shared."""

    __slots__ = ("tensor",)

    def __init__(self, value: Any, facts: Facts, tensor: Any = None) -> None:
        super().__init__(value, facts)
        self.tensor = tensor

    def owner(self, *, access: Access) -> Any:
        return self.tensor

    def capsule(self, *, access: Access, versioned: bool = False) -> Any:
        if self.facts.dtype not in DTYPES or not dlpack_works():
            return super().capsule(access=access, versioned=versioned)
        import tensorflow as tf

        return tf.experimental.dlpack.to_dlpack(self.tensor)

    def buffer(self, *, access: Access) -> Any:
        return self.tensor

    def exporter(self) -> Any:
        return self.tensor

    def ndarray(self) -> NDArray[Any]:
        return _view(self.tensor, self.facts.dtype)


def _view(tensor: Any, dtype: str) -> NDArray[Any]:
    """The read-only memory of an eager tensor. Those of another device are copied to the host."""
    import tensorflow as tf

    if dtype in NATIVE:
        return numpy.asarray(memoryview(tensor))
    if dtype not in DTYPES:
        # NumPy is given the tensor's own memory, of one element only its value: so it is shown as an axis of one.
        view = numpy.asarray(tensor if tensor.ndim else tf.reshape(tensor, (1,))).reshape(tuple(tensor.shape))
        view.flags.writeable = False
        return view
    # TensorFlow's buffers carry no ml_dtypes dtype; a bitcast to one of the same size shares the bytes.
    return numpy.asarray(memoryview(tf.bitcast(tensor, tf.uint16))).view(numpy_dtype(dtype))


# ---------------------------------------------------------------------------------------------------------- describing


@hookimpl
def bridge_calculus(framework: Framework) -> Calculus | None:
    if framework.name != "tensorflow":
        return None
    from bridge.plugins import _calculus_tensorflow

    return _calculus_tensorflow.Calculus()


@hookimpl
def bridge_import(framework: Framework, value: Any) -> Source | None:
    if framework.name != "tensorflow":
        return None
    import tensorflow as tf

    dtype = getattr(getattr(value, "dtype", None), "name", "")
    refusal = _refusal(value, dtype)
    if refusal is not None:
        facts = Facts(framework="tensorflow", dtype=dtype, shape=known_shape(value), refusal=refusal)
        return TensorflowSource(value, facts)
    tensor = value.value() if isinstance(value, tf.Variable) else value
    shape = tuple(tensor.shape)
    device = tensor.device.rpartition("device:")[2].lower().replace("gpu", "cuda")  # as torch calls it
    facts = Facts(
        framework="tensorflow",
        dtype=dtype,
        shape=shape,
        strides=tuple(prod(shape[axis + 1 :]) for axis in range(len(shape))),
        address=_view(tensor, dtype).ctypes.data if device == "cpu:0" else 0,
        device="cpu" if device == "cpu:0" else device,
        access="read",
        why_read="tensorflow tensors are immutable",
        gradient=is_watched(tensor),
    )
    return TensorflowSource(value, facts, tensor)


def is_watched(tensor: Any) -> bool:
    """Whether an active GradientTape or ForwardAccumulator follows the tensor: outside, its gradient would be None."""
    tapes = _tapes()
    return tapes is not None and tapes[0]() and tapes[1](tensor)


@cache
def _tapes() -> tuple[Callable[[], bool], Callable[[Any], bool]] | None:
    """Whether anything records at all, and whether it follows a tensor; None where this cannot be asked.

    There is no public way to ask. So this one is tried once, on tensors of which it is known, on a thread of its own:
    there nothing else records, and nobody has stopped recording.
    """
    found: list[tuple[Callable[[], bool], Callable[[Any], bool]]] = []
    probe = Thread(target=_probe_tapes, args=(found.append,))
    probe.start()
    probe.join()
    return found[0] if found else None


def _probe_tapes(accept: Callable[[tuple[Callable[[], bool], Callable[[Any], bool]]], None]) -> None:
    import tensorflow as tf

    try:
        from tensorflow.python.eager import forwardprop_util, record

        any_recording: Callable[[], bool] = record.could_possibly_record

        def follows(tensor: Any) -> bool:
            return bool(record.should_record_backprop([tensor]) or forwardprop_util.pack_tangents([tensor]).tangents)

        watched, other = tf.constant(1.0), tf.constant(1.0)
        with tf.GradientTape() as tape:
            tape.watch(watched)
            backward = (any_recording(), follows(watched), follows(other))
        with tf.autodiff.ForwardAccumulator(watched, tf.constant(1.0)):
            forward = (any_recording(), follows(watched), follows(other))
    except Exception:
        return
    if backward == forward == (True, True, False):
        accept((any_recording, follows))


#: A dtype that nobody else has -> how to go on.
_DTYPE_FIXES = {
    "string": "tf.strings.to_number(x), if it spells numbers",
    "resource": "pass the variable itself",
    "variant": "unpack it with the op that goes with the one that made it",
    **{f"q{name}": f"tf.bitcast(x, tf.{name})" for name in ("int8", "uint8", "int16", "uint16", "int32")},
}


def _refusal(value: Any, dtype: str) -> Refusal | None:
    """Why there are no bytes to hand over; None: there are."""
    import tensorflow as tf

    if isinstance(value, tf.RaggedTensor):
        return Refusal(problem="a RaggedTensor has rows of different lengths", fix="x.to_tensor(), which pads")
    if isinstance(value, tf.SparseTensor):
        return Refusal(problem="a SparseTensor is not dense memory", fix="tf.sparse.to_dense(x)")
    if isinstance(value, tf.IndexedSlices):
        fix = "x.values and x.indices, one at a time" if value.dense_shape is None else "tf.convert_to_tensor(x)"
        return Refusal(problem="IndexedSlices are not dense memory", fix=fix)
    traced = not tf.executing_eagerly() if isinstance(value, tf.Variable) else not hasattr(value, "numpy")
    if traced:
        problem = "the tensor is traced by tf.function, it has no values yet"
        fix = "convert outside the function, or inside tf.py_function"
        return Refusal(problem=problem, fix=fix, error=TracedError)
    if dtype not in known_dtypes():
        fix = _DTYPE_FIXES.get(dtype, 'tf.cast(x, "float32"), which may round')
        return Refusal(problem=f"tensorflow's {dtype} has no counterpart elsewhere", fix=fix, error=DTypeError)
    return None


# ---------------------------------------------------------------------------------------------------------- converting


@hookimpl
def bridge_export(framework: Framework, source: Source, route: Route) -> Any:
    if framework.name != "tensorflow":
        return None
    tensor = _DOORS[route.door or ""](source, route)
    if route.device == source.facts.device:
        return tensor
    import tensorflow as tf

    with tf.device(route.device.replace("cuda", "GPU")):
        return tf.identity(tensor)


def _same(source: Source, route: Route) -> Any:
    if route.outcome == "share":
        return source.value
    import tensorflow as tf

    if route.dtype != source.facts.dtype:
        return tf.cast(tf.convert_to_tensor(source.value), route.dtype)
    return tf.constant(source.ndarray())


@cache
def tensor_maker() -> tuple[Callable[[Any, Any], Any], Callable[[], Any]] | None:
    """TensorFlow's import of a capsule below its Python layer, a third faster, and what gives the context it asks for.

    None where it does not work as known: it is private, so it is tried once, on memory whose values are known. The
    context is asked for at every call, since its handle may be that of another one by then.
    """
    try:
        from tensorflow.python import pywrap_tfe
        from tensorflow.python.eager import context

        current = context.context
        current().ensure_initialized()
        make = pywrap_tfe.TFE_FromDlpackCapsule
        memory = probe()
        tensor = make(memory.__dlpack__(), current()._handle)
        if not _is_over(tensor, memory):
            return None
    except Exception:
        return None
    return make, current


@cache
def dlpack_works() -> bool:
    """Whether TensorFlow's public functions for capsules, which it calls experimental, do what is known of them."""
    import tensorflow as tf

    try:
        memory = probe()
        tensor = tf.experimental.dlpack.from_dlpack(memory.__dlpack__())
        back = numpy.from_dlpack(Exporter(tf.experimental.dlpack.to_dlpack(tensor)))
    except Exception:
        return False
    return _is_over(tensor, memory) and back.ctypes.data == memory.ctypes.data and tuple(back.tolist()) == PROBE


def has_tensor_maker() -> bool:
    return tensor_maker() is not None


def _is_over(tensor: Any, memory: NDArray[Any]) -> bool:
    """Whether the tensor shares the memory of a probe."""
    return _view(tensor, "int32").ctypes.data == memory.ctypes.data and tuple(tensor.numpy().tolist()) == PROBE


def _capsule(source: Source, route: Route) -> Any:
    direct = tensor_maker()
    assert direct is not None
    make, context = direct
    return make(source.quick_capsule(access="read"), context()._handle)


def _dlpack(source: Source, route: Route) -> Any:
    import tensorflow as tf

    host = source.facts.device == "cpu"
    capsule = source.capsule(access="read") if host else source.exporter().__dlpack__()
    return tf.experimental.dlpack.from_dlpack(capsule)


def _buffer(source: Source, route: Route) -> Any:
    import tensorflow as tf

    return tf.constant(by_buffer(source, "read"))


def _memoryview(source: Source, route: Route) -> Any:
    import tensorflow as tf

    # By way of NumPy: TensorFlow walks a memoryview itself like a sequence, which fails beyond one axis.
    return tf.constant(by_memoryview(source, "read"))


def _array(source: Source, route: Route) -> Any:
    import tensorflow as tf

    return tf.constant(source.ndarray())


_DOORS: dict[str, Callable[[Source, Route], Any]] = {
    "same": _same,
    "capsule": _capsule,
    "dlpack": _dlpack,
    "array": _array,
    "buffer": _buffer,
    "memoryview": _memoryview,
}


# ------------------------------------------------------------------------------------------------------------ shortcuts


def _from_bridge() -> Shortcut | None:
    from bridge.core import _native

    direct = tensor_maker()
    if direct is None:
        return None
    (make, context), offer, row_major = direct, _native.offer, 3
    dtypes = sum(1 << _native.DTYPES[name].code for name in DTYPES)

    def convert(array: Any) -> Any:
        capsule = offer(array, dtypes, ALIGNMENT, row_major, "frozen", False, "tensorflow")
        return None if capsule is None else make(capsule, context()._handle)

    return convert


FRAMEWORK = Framework(
    name="tensorflow",
    module="tensorflow",
    install='pip install "bridge-arrays[tensorflow]"',
    types=(
        "tensorflow.python.framework.ops.EagerTensor",
        "tensorflow.python.framework.tensor.Tensor",
        "tensorflow.python.framework.ops.Tensor",
        "tensorflow.python.ops.variables.Variable",
        "tensorflow.python.ops.ragged.ragged_tensor.RaggedTensor",
        "tensorflow.python.framework.sparse_tensor.SparseTensor",
        "tensorflow.python.framework.indexed_slices.IndexedSlices",
    ),
    takes=(
        Door(name="capsule", protocol="dlpack", dtypes=DTYPES, ready=has_tensor_maker),
        Door(name="dlpack", protocol="dlpack", dtypes=DTYPES, host_only=False, ready=dlpack_works),
        Door(name="array", protocol="address", shares=False, dtypes=FLOAT8 | SUB_BYTE),
        Door(name="buffer", protocol="buffer", shares=False, dtypes=NATIVE),
        Door(name="memoryview", protocol="buffer", shares=False, dtypes=NATIVE),
    ),
    gives=(
        Offer(protocol="buffer", dtypes=NATIVE),
        Offer(protocol="address"),
        Offer(protocol="dlpack", dtypes=DTYPES | FLOAT8),
    ),
    dtypes=known_dtypes,
    mutable=False,
    readonly=True,
    alignment=ALIGNMENT,
    strides="row-major",
    devices=True,
    shortcuts={"bridge": _from_bridge},
)


@hookimpl
def bridge_frameworks() -> list[Framework]:
    return [FRAMEWORK]
