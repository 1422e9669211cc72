"""Arrays of no declared framework: exporters of DLPack or of the buffer protocol, raw capsules, Python's numbers.

They are sources only. A capsule is described without being used up, so `explain` leaves it as it was; a conversion
takes it, and it cannot be converted again.
"""

from __future__ import annotations

import re
from cmath import isfinite
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy

from bridge.core import _native
from bridge.core.dtypes import TABLE
from bridge.core.errors import BridgeError, DTypeError, ExchangeError, message
from bridge.core.framework import Access, Facts, Framework, Offer, Refusal, Source
from bridge.core.memory import numpy_dtype, over
from bridge.plugins import numpy as arrays
from bridge.plugins._shared import CPU, Exporter

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CapsuleSource", "ExporterSource", "describe", "fix_for"]


def describe(value: Any, *, dtype: str | None, tag: str) -> tuple[Framework, Source] | None:
    """The record and the description of a value that no framework knows; None: it is no array.

    Args:
        dtype: what a number shall be; None takes the default dtype of its kind, or the next one that holds it.
    """
    kind = type(value)
    if isinstance(value, int | float | complex):
        return NUMBERS, _number(value, dtype, tag)
    if kind is _CAPSULE:
        return _record(kind, _CAPSULES), _described(CapsuleSource, value, value, "a capsule")
    if hasattr(kind, "__dlpack__"):
        return _record(kind, _CAPSULES), _exporter(value)
    try:
        view = memoryview(value)
    except TypeError:
        return None
    except (BufferError, ValueError) as error:  # released, closed
        return _record(kind, _BUFFERS), _without_memory(value, f"it gives no buffer: {error}")
    return _record(kind, _BUFFERS), _buffer(value, view)


def fix_for(value: Any) -> str:
    """How to go on with what is no array."""
    return next(fix for applies, fix in _FIXES if applies(value))


_LEAVE_IT_OUT = "leave it out: arrays, numbers and nests of them are converted"
_FIXES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda x: x is None or isinstance(x, str | type), _LEAVE_IT_OUT),
    (lambda x: hasattr(x, "__cuda_array_interface__"), "torch.as_tensor(x)"),
    (lambda x: hasattr(x, "__array__") or hasattr(x, "__array_interface__"), "numpy.asarray(x)"),
    (lambda x: hasattr(x, "__float__"), "float(x)"),
    (lambda x: hasattr(x, "state_dict"), "x.state_dict()"),
    (lambda x: isinstance(x, Mapping), "dict(x)"),
    (lambda x: hasattr(x, "__dict__") and type(x).__name__ == "SimpleNamespace", "vars(x)"),
    (
        lambda x: isinstance(x, Iterable) or hasattr(x, "__getitem__"),
        "bridge.array(list(x)) for one array of numbers, list(x) for an array of each item",
    ),
    (lambda x: True, _LEAVE_IT_OUT),
)

# -------------------------------------------------------------------------------------------------------------- records

_CAPSULES = (Offer(protocol="dlpack"), Offer(protocol="address"))
_BUFFERS = arrays.FRAMEWORK.gives

#: Python's numbers: NumPy makes 0-d arrays of them.
NUMBERS = replace(arrays.FRAMEWORK, name="python", types=(), takes=())


_RECORDS: dict[type, Framework] = {}


def _record(kind: type, gives: tuple[Offer, ...]) -> Framework:
    """The record of a framework that nobody declared, named after the type: always the same one."""
    if kind not in _RECORDS:
        _RECORDS[kind] = Framework(name=_name(kind), module="", install="", types=(), takes=(), gives=gives)
    return _RECORDS[kind]


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _without_memory(value: Any, problem: str, fix: str | None = None, error: type[BridgeError] = BridgeError) -> Source:
    refusal = Refusal(problem=problem, fix=fix, error=error)
    return Source(value, Facts(framework=_name(type(value)), dtype="", refusal=refusal))


# --------------------------------------------------------------------------------------------------------------- DLPack


class ExporterSource(Source):
    """An object with `__dlpack__`. Its capsule stays unused and owns the memory; what is handed out goes around it."""

    __slots__ = ("held",)

    def __init__(self, value: Any, facts: Facts, held: Any) -> None:
        super().__init__(value, facts)
        self.held = held

    def owner(self, *, access: Access) -> Any:
        return self.held

    def ndarray(self) -> NDArray[Any]:
        if self.facts.device == "cpu":
            return super().ndarray()
        held = self.on_host()
        facts = _facts(held, self.facts.framework, CPU)
        assert facts.strides is not None
        return over(held, facts.address, facts.dtype, facts.shape, facts.strides, writable=False)

    def on_host(self) -> Any:
        """A capsule over host memory, as the producer copies it there."""
        try:
            return self.value.__dlpack__(dl_device=CPU, copy=True, max_version=(1, 0))
        except Exception as error:
            problem = f"{self.facts.framework} cannot copy its memory to the host: {type(error).__name__}: {error}"
            raise ExchangeError(
                message("bridge.to", problem, fix="copy it to the host with its own methods")
            ) from error


class CapsuleSource(ExporterSource):
    """A DLPack capsule. Whoever asks for its memory takes it."""

    __slots__ = ()

    def owner(self, *, access: Access) -> Any:
        if self.held is self.value:
            self.held = _native.take_capsule(self.value)
        return self.held

    def exporter(self) -> Any:
        return Exporter(self.value, _native.describe_capsule(self.value)[4])

    def on_host(self) -> Any:
        problem = f"a capsule cannot be asked to copy its memory from {self.facts.device} to the host"
        raise ExchangeError(message("bridge.to", problem, fix='bridge.to("torch", x).cpu()'))


def _exporter(value: Any) -> Source:
    try:
        capsule = _capsule_of(value)
    except BridgeError:
        raise
    except Exception as error:
        problem = f"it does not hand out its memory: {type(error).__name__}: {error}"
        return _without_memory(value, problem, "copy it to the host first", ExchangeError)
    return _described(ExporterSource, value, capsule, f"what {_name(type(value))} exports")


def _described(kind: type[ExporterSource], value: Any, capsule: Any, subject: str) -> Source:
    try:
        return kind(value, _facts(capsule, _name(type(value)), _device(value)), capsule)
    except ExchangeError as error:
        problem = str(error).splitlines()[0].partition("] ")[2].rstrip(".")
        return _without_memory(value, f"{subject} cannot be taken: {problem}", error=ExchangeError)


def _capsule_of(value: Any) -> Any:
    keywords: dict[str, Any] = {"max_version": (1, 0)}
    if _device(value)[0] in _STREAMED:
        keywords["stream"] = -1  # nothing is read here: whoever reads says on which stream
    try:
        return value.__dlpack__(**keywords)
    except TypeError:  # written before DLPack 1.0
        return value.__dlpack__()


def _device(value: Any) -> tuple[int, int]:
    """Where an exporter says that its memory lies; a capsule says it itself."""
    ask = getattr(value, "__dlpack_device__", None)
    kind, index = ask() if ask is not None else CPU
    return int(kind), int(index)


_CAPSULE = type(numpy.zeros(1).__dlpack__())
_READ_ONLY, _PADDED = 1, 4  # flags of a versioned capsule
_DTYPES = {(row.dlpack_code, row.bits): row.name for row in TABLE}
_HOST = (1, 3, 11)  # CPU, and memory of the host that is pinned for CUDA or ROCm
_STREAMED = (2, 10, 13)  # CUDA, ROCm, CUDA managed
_DEVICES = {
    2: "cuda",
    4: "opencl",
    7: "vulkan",
    8: "metal",
    9: "vpi",
    10: "rocm",
    12: "extension",
    13: "cuda_managed",
    14: "oneapi",
    15: "webgpu",
    16: "hexagon",
    17: "maia",
    18: "trainium",
}


def _facts(capsule: Any, framework: str, claimed: tuple[int, int]) -> Facts:
    (code, bits, lanes), shape, strides, address, found, flags, _ = _native.describe_capsule(capsule)
    device, index = found if claimed[0] in _HOST else claimed  # who says that it is elsewhere is believed
    dtype = _DTYPES.get((code, bits)) if lanes == 1 else None
    facts = Facts(
        framework=framework,
        dtype=dtype or "",
        shape=shape,
        strides=strides,
        address=address,
        device="cpu" if device in _HOST else f"{_DEVICES.get(device, f'device type {device}')}:{index}",
        access="read" if flags & _READ_ONLY else "write",
        why_read="its memory is read-only" if flags & _READ_ONLY else "",
    )
    if dtype is None:
        problem = f"DLPack's dtype of code {code} with {bits} bits and {lanes} lanes has no counterpart elsewhere"
        return replace(facts, refusal=Refusal(problem=problem, fix="convert it where it comes from", error=DTypeError))
    if bits < 8 and not flags & _PADDED:
        problem = f"its elements of {dtype} are packed, {8 // bits} to a byte"
        return replace(facts, refusal=Refusal(problem=problem, fix="convert it where it comes from", error=DTypeError))
    return facts


# -------------------------------------------------------------------------------------------------------------- buffers


def _buffer(value: Any, view: memoryview) -> Source:
    """An exporter of the buffer protocol, as NumPy reads it: any format, any strides, any byte order."""
    try:
        source = arrays.describe(numpy.asarray(view))
    except (TypeError, ValueError, RuntimeError, BufferError):
        problem = f"the format {view.format!r} of its buffer names no dtype"
        return _without_memory(value, problem, 'numpy.frombuffer(x, "uint8") for the bytes', DTypeError)
    facts = replace(source.facts, framework=_name(type(value)))
    if facts.access == "read":
        facts = replace(facts, why_read="its memory is read-only")
    if facts.refusal is not None and facts.refusal.fix is not None:
        fix = re.sub(r"\bx\b", "numpy.asarray(x)", facts.refusal.fix)
        facts = replace(facts, refusal=replace(facts.refusal, fix=fix))
    source.facts = facts
    return source


# -------------------------------------------------------------------------------------------------------------- numbers

#: The default dtype of each kind of number, and those that come after it for numbers that it does not hold.
_DEFAULTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (bool, ("bool",)),
    (int, ("int32", "int64", "uint64")),
    (float, ("float32", "float64")),
    (complex, ("complex64", "complex128")),
)


def _number(number: complex, wanted: str | None, tag: str) -> Source:
    """A source over a new 0-d array of the number. It has no memory that could be shared."""
    names = (wanted,) if wanted else next(names for kind, names in _DEFAULTS if isinstance(number, kind))
    for name in names:
        array = _held(number, numpy_dtype(name), asked=wanted is not None)
        if array is not None:
            source = arrays.describe(array)
            facts = Facts(framework="python", dtype=name, address=source.facts.address, unlike=_NO_MEMORY)
            source.facts = facts
            return source
    raise DTypeError(
        message(tag, f"no {wanted or 'integer dtype'} holds {_spelled(number)}", fix=_wider(number, wanted))
    )


_NO_MEMORY = "a Python number has no memory to share"


def _held(number: complex, dtype: numpy.dtype[Any], *, asked: bool) -> NDArray[Any] | None:
    """The number in this dtype; None if it is out of its range. A dtype that was asked for may round.

    Rounding to the default is what a number of Python means to an array; losing its magnitude is not.
    """
    if isinstance(number, complex) and dtype.kind != "c":
        return None
    try:
        with numpy.errstate(all="raise", under="ignore" if asked else "raise"):
            array = numpy.array(number).astype(dtype)
    except (FloatingPointError, OverflowError):
        return None
    if dtype.name.startswith(("int", "uint")):
        return array if isfinite(number) and int(array) == int(number.real) else None
    return array if isfinite(complex(array.item())) or not isfinite(number) else None


def _spelled(number: complex) -> str:
    if isinstance(number, int) and number.bit_length() > 128:
        return f"an integer of {number.bit_length()} bits"
    return str(number)


def _wider(number: complex, wanted: str | None) -> str:
    if isinstance(number, int) and number.bit_length() > 1000:
        return "fewer digits: no dtype reaches that far"
    if isinstance(number, complex) and not (wanted or "complex").startswith("complex"):
        return "x.real, or a complex dtype"
    if isinstance(number, int):
        return 'dtype="float64", which rounds' if wanted is None else "a wider dtype, or dtype=None"
    return "a wider dtype, or dtype=None"
