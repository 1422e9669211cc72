"""What a plugin says about its framework and about one array of it. Records only: nothing here decides or converts.

A plugin fills in one `Framework`, and describes each array it is shown as a `Source`. `route.choose` decides from
these alone, so a framework that tells the truth here is shared, copied and refused correctly everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import prod
from types import MappingProxyType
from typing import Any, Literal

import numpy

from bridge.core.dtypes import TABLE
from bridge.core.errors import BridgeError, DTypeError, message
from bridge.core.memory import over

__all__ = [
    "DTYPES",
    "EXACT",
    "FLOAT8",
    "ITEMSIZE",
    "SUB_BYTE",
    "Door",
    "Facts",
    "Framework",
    "Offer",
    "Refusal",
    "Source",
    "doors_between",
    "dtype_name",
]

Access = Literal["write", "read"]
StridesRule = Literal["any", "non-negative", "permutation", "row-major"]
Shortcut = Callable[[Any], Any]

#: Bytes of one element, by name of the dtype. A dtype that is not here has no counterpart in any exchange.
ITEMSIZE: Mapping[str, int] = MappingProxyType({row.name: row.size for row in TABLE})
#: The dtypes that the engine computes with: what every framework has, unless its record says otherwise.
DTYPES = frozenset(row.name for row in TABLE if row.kind != "held")
#: Those that it only holds: the float8 types, and those of four bits, which the engine keeps one to a byte.
SUB_BYTE = frozenset(row.name for row in TABLE if row.padding)
FLOAT8 = frozenset(ITEMSIZE) - DTYPES - SUB_BYTE
#: A dtype that few have -> the smallest one that every framework has and that holds each of its values.
EXACT: Mapping[str, str] = MappingProxyType(
    {row.name: row.exact for row in TABLE if row.exact is not None}
    | dict.fromkeys(("float8_e3m4", "float8_e4m3", "float6_e2m3fn", "float6_e3m2fn"), "float16")
    | {f"{kind}{bits}": f"{kind}8" for kind in ("int", "uint") for bits in range(1, 8)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One protocol that a framework's arrays speak when somebody else reads them, and what it can carry."""

    protocol: str
    strides: StridesRule = "any"
    dtypes: frozenset[str] | None = None  # None: every dtype that the framework knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One way for a framework to take memory from a source. `name` is what a user writes as `via=`.

    Every built-in framework offers the protocols "dlpack" and "address"; "buffer" (PEP 3118) all but torch.
    """

    name: str
    protocol: str  # the source has to offer this
    sources: frozenset[str] | None = None  # None: from any framework; else only from these
    shares: bool = True  # False: the framework copies on this door, whatever it is given
    strides: StridesRule | None = None  # None: the framework's own rule
    dtypes: frozenset[str] | None = None  # None: every dtype that the framework knows
    host_only: bool = True  # False: memory of other devices passes through untouched
    # Whether the door works on this machine, found out at first use: of private ways, which may change or go. Where it
    # does not, the door is as if it were not there. None: it always works.
    ready: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Framework:
    """A framework as its plugin declares it. Importing nothing is part of the contract: types are dotted names.

    Doors stand in order of preference; the first one that can share is taken. A record is compared by identity.
    """

    name: str  # what a user writes as the target
    module: str  # what `import` imports
    install: str  # the line that installs it, shown when it is missing
    types: tuple[str, ...]  # dotted names of its array types; their subclasses count too
    takes: tuple[Door, ...]
    gives: tuple[Offer, ...]
    dtypes: frozenset[str] | Callable[[], frozenset[str]] = DTYPES  # a callable where it depends on a setting
    dtype_fix: Mapping[str, str] = field(default_factory=dict)  # dtype it lacks -> how to go on
    dtype_note: Mapping[str, str] = field(default_factory=dict)  # dtype -> what to mind after a conversion to it
    mutable: bool = True  # its arrays can be written in place
    readonly: bool = False  # it has arrays that can be read and not written
    alignment: int | None = None  # bytes; None: the alignment of one element
    strides: StridesRule = "any"
    extent: int | None = None  # the most elements that one axis can have; None: there is no such limit
    devices: bool = False  # its arrays can live elsewhere than in host memory
    copies: bool = False  # the plugin makes copies itself; else it is handed fresh memory to share
    leases: bool = False  # it never writes memory that it has handed to a consumer that cannot write
    # Source framework -> maker of a function that does the plain conversion in one step. The maker runs once, at first
    # use. Its function returns None or raises for anything unusual, which then takes the readable path.
    shortcuts: Mapping[str, Callable[[], Shortcut | None]] = field(default_factory=dict)

    def known_dtypes(self) -> frozenset[str]:
        """Names of the dtypes its arrays can have at this moment."""
        return self.dtypes() if callable(self.dtypes) else self.dtypes


@cache
def doors_between(source: Framework, target: Framework) -> tuple[tuple[Door, Offer], ...]:
    """The doors that lead from `source` to `target`, in order of preference, each with what the source offers there."""
    offers = {offer.protocol: offer for offer in source.gives}
    return tuple(
        (door, offers[door.protocol])
        for door in target.takes
        if door.protocol in offers and (door.sources is None or source.name in door.sources)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an array has no bytes that could be handed over or copied (sparse, traced, meta), and how to go on."""

    problem: str
    fix: str | None = None
    error: type[BridgeError] = BridgeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is true of one array. Strides are in elements, the address is that of the first element."""

    framework: str
    dtype: str
    shape: tuple[int, ...] = ()
    strides: tuple[int, ...] | None = ()  # None: the distances are not whole elements
    address: int = 0
    device: str = "cpu"
    access: Access = "write"  # what a consumer may be allowed
    why_read: str = ""  # with access "read": the reason, as part of a sentence
    frozen: str | None = None  # why not even a consumer that never writes may share; None: it may
    unlike: str | None = None  # why the bytes are not the values (a conjugate view, the other byte order)
    gradient: bool = False  # a gradient would be lost
    refusal: Refusal | None = None

    @property
    def itemsize(self) -> int:
        """Bytes of one element; 0 for a dtype that nobody here knows."""
        return ITEMSIZE.get(self.dtype, 0)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, each counted once."""
        return prod(self.shape) * self.itemsize


class Source:
    """One array, described: its facts, and the ways to its bytes. A plugin subclasses this for its framework.

    `capsule`, `buffer` and `owner` copy nothing, and what they return keeps the memory alive. Their `access` is "read"
    where the consumer, or the user for it, promises not to write: read-only memory is then handed out even where the
    protocol has no way to say that it is read-only.

    As they stand here, all ways follow from `facts.address` and from `owner`: enough for a framework whose arrays are
    dense or strided memory of the host and live as long as the Python object.
    """

    __slots__ = ("facts", "holder", "value")

    def __init__(self, value: Any, facts: Facts) -> None:
        self.value = value
        self.facts = facts
        self.holder = ""  # the target, once it is known: the name that a lease goes by

    def owner(self, *, access: Access) -> Any:
        """An object that keeps the memory at `facts.address` alive."""
        return self.value

    def capsule(self, *, access: Access, versioned: bool = False) -> Any:
        """A DLPack capsule over the memory: "dltensor", or "dltensor_versioned" if the consumer reads that."""
        from bridge.core import _native

        facts, owner = self.facts, self.owner(access=access)
        assert facts.strides is not None
        return _native.foreign_capsule(
            owner, facts.address, facts.dtype, facts.shape, facts.strides,
            versioned=versioned, readonly=facts.access == "read",
        )  # fmt: skip

    def quick_capsule(self, *, access: Access) -> Any:
        """A legacy capsule by the quickest way there is, which may be a private one. Doors named "dlpack" never ask."""
        return self.capsule(access=access)

    def buffer(self, *, access: Access) -> Any:
        """An object that exports the memory by the buffer protocol (PEP 3118)."""
        return self.value

    def exporter(self) -> Any:
        """An object with `__dlpack__`, for a consumer on the device where the memory lies: it asks by itself, and says
        on which stream it will read. Nothing between the two touches the memory."""
        return self.value

    def ndarray(self) -> numpy.ndarray[Any, Any]:
        """The values as a NumPy array, to read at once. Copied only if they cannot be viewed (see `Facts.unlike`)."""
        facts = self.facts
        assert facts.strides is not None
        owner = self.owner(access="read")
        return over(owner, facts.address, facts.dtype, facts.shape, facts.strides, writable=False)

    def fresh(self) -> Source | None:
        """A source over a dense copy that nobody else has; None: NumPy may make it from `ndarray()`."""
        return None


def dtype_name(dtype: Any, *, tag: str) -> str:
    """The name of a dtype given as a name or as a dtype object of any framework.

    Raises:
        DTypeError: it is none; Python's `float` and `int` have no width and count as none.
    """
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    if not isinstance(name, str):
        name = str(dtype).removeprefix("torch.") if type(dtype).__module__ == "torch" else _numpy_name(dtype)
    if name in ITEMSIZE:
        return name
    raise DTypeError(
        message(
            tag,
            f"dtype={dtype!r} names no dtype of this exchange",
            want=", ".join(ITEMSIZE),
            fix='a name such as dtype="float32", or a dtype object of any framework',
        )
    )


def _numpy_name(dtype: Any) -> str:
    """The name NumPy has for a scalar type (numpy.float32, jax.numpy.float32, ml_dtypes.bfloat16); "" for others."""
    if dtype in (bool, int, float, complex):
        return "bool" if dtype is bool else ""
    try:
        return str(numpy.dtype(dtype).name)
    except TypeError:
        return ""
