"""The ways to the bytes of one array, compared with what the plugin said of it; and what conversions leave behind."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import pluggy

import bridge
from bridge import hookspecs
from bridge.core.dtypes import TABLE
from bridge.core.errors import BridgeError
from bridge.core.framework import Access, Facts, Framework, Source, doors_between
from bridge.core.registry import registry
from bridge.core.route import fits, is_overlapping
from bridge.testing.capsules import seen_through
from bridge.testing.exchange import DESCRIBE, EXPORT, described, memory_of
from bridge.testing.faults import Fault, fail, must
from bridge.testing.samples import bits_of, number_unlike, ones_or_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bridge.testing.suite import FrameworkSuite

__all__ = ["called", "check_description", "check_offer", "growth", "hooks_in", "hooks_of", "sharing_doors"]

_ROWS = {row.name: row for row in TABLE}
Bits = tuple[str, tuple[int, ...], bytes]


# ---------------------------------------------------------------------------------------------------------- describing


def check_description(suite: FrameworkSuite, array: Any, wanted: Bits) -> None:
    """The description of `array` is true: read in every way there is, it gives the values `wanted`."""
    source = described(suite.record, array)
    facts = source.facts
    must(facts.refusal is None, f"an ordinary array has the refusal {facts.refusal}", "refuse only what has no bytes")
    must(
        (facts.dtype, facts.shape) == wanted[:2],
        f"described as {facts.dtype}{facts.shape}, and it is {wanted[:2]}",
        DESCRIBE,
    )
    must(facts.device == "cpu", f"described on {facts.device!r}, and it came from the host", 'device="cpu"')
    must(
        facts.access == ("write" if suite.record.mutable else "read") or is_overlapping(facts.shape, facts.strides),
        f"an ordinary array is described with access={facts.access!r} {facts.why_read!r}, and the record says "
        f"mutable={suite.record.mutable}",
        "let both say what is true of an array over writable memory",
    )
    of_its_own = facts.strides is not None and facts.unlike is None and 0 not in facts.shape
    must(
        not of_its_own or bits_of(memory_of(source)) == wanted,
        f"the memory at address={facts.address:#x} with strides={facts.strides} (in elements) holds other values",
        DESCRIBE,
    )
    must(bits_of(source.ndarray()) == wanted, "Source.ndarray() gives other values", "return the values, bit for bit")
    must(bits_of(suite.values(array)) == wanted, "the framework sees other values than it was given", EXPORT)
    if not of_its_own:
        return
    again = described(suite.record, array).facts
    must(
        again.address == facts.address,
        f"the address changes from {facts.address:#x} to {again.address:#x} when the array is described again: it is "
        "copied",
        "in bridge_import, describe the array's own memory; an array that has none gets Facts(..., unlike='why')",
    )
    for how, look in _looks(array, facts):
        _compare_look(how, look, facts)
    _write_through(suite, array, source, wanted)


def _write_through(suite: FrameworkSuite, array: Any, source: Source, wanted: Bits) -> None:
    """What the framework writes shows at the address that was described."""
    facts = source.facts
    if facts.access != "write" or is_overlapping(facts.shape, facts.strides) or suite.record.leases:
        return  # who leases memory moves away from it before a write
    before = numpy.array(memory_of(source))
    number = number_unlike(before)
    suite.write(array, number)
    must(
        bits_of(memory_of(source)) == ones_or_zeros(before, number),
        "what is written into the array does not show at the address that was described",
        "in bridge_import, describe the array's own memory, not a copy of it; mutable=False, if it cannot be written",
    )
    must(
        bits_of(suite.values(array)) == ones_or_zeros(before, number),
        "the array does not show a write",
        "mutable=False",
    )
    memory_of(source, writable=True)[...] = before


def _looks(array: Any, facts: Facts) -> Iterator[tuple[str, NDArray[Any]]]:
    """The array as NumPy sees it by the protocols that the array itself speaks."""
    for how, look in (
        ("the buffer protocol", lambda: numpy.asarray(memoryview(array))),
        ("__dlpack__", lambda: numpy.from_dlpack(array, copy=False)),
    ):
        try:
            seen = look()
        except Exception:  # it need not speak it, nor NumPy understand it
            continue
        if seen.dtype.name == facts.dtype and seen.shape == facts.shape:
            yield how, seen


def _compare_look(how: str, look: NDArray[Any], facts: Facts) -> None:
    address = look.ctypes.data
    must(
        address == facts.address,
        f"its memory lies at {address:#x} by {how}, and was described at {facts.address:#x}",
        "in bridge_import, describe the array's own memory",
    )
    strides = tuple(stride // look.itemsize for stride in look.strides)
    pairs = zip(strides, facts.strides or (), facts.shape, strict=True)
    must(
        all(seen == said for seen, said, extent in pairs if extent != 1),
        f"its strides are {strides} by {how}, and were described as {facts.strides} (in elements)",
        DESCRIBE,
    )
    must(
        how != "the buffer protocol" or look.flags.writeable or facts.access == "read",
        "its buffer is read-only, and it was described with access='write'",
        "access='read' with the reason in why_read; mutable=False in the record, if all arrays are like that",
    )


# ------------------------------------------------------------------------------------------------------------- offering


def check_offer(suite: FrameworkSuite, array: Any, protocol: str, wanted: NDArray[Any]) -> None:
    """Every way that `protocol` stands for leads to the memory that was described, and keeps it alive."""
    facts = described(suite.record, array).facts
    (offer,) = [offer for offer in suite.record.gives if offer.protocol == protocol]
    dtypes = suite.record.known_dtypes() if offer.dtypes is None else offer.dtypes
    if facts.dtype not in dtypes or not fits(offer.strides, facts.shape, facts.strides) or facts.unlike is not None:
        return
    accesses: list[Access] = ["write"] if facts.access == "write" else []
    if facts.frozen is None:
        accesses.append("read")
    for how, read in _READERS.get(protocol, ()):
        if read is _by_legacy_capsule and _ROWS[facts.dtype].padding:
            continue  # it has no flag to say that elements of four bits lie one to a byte
        for access in accesses:
            look = partial(read, described(suite.record, array), access)
            _check_delivery(f"Source.{how}, access={access!r}", look, facts, wanted)


def _check_delivery(where: str, read: Callable[[], NDArray[Any]], facts: Facts, wanted: NDArray[Any]) -> None:
    try:
        look = read()
    except Fault as fault:
        raise Fault(f"{where}: {fault}") from None
    except Exception as error:
        fail(
            f"{where} raised {type(error).__name__}: {error}",
            "let it deliver what the record offers, or narrow the offer (dtypes, strides)",
        )
    must(bits_of(look) == bits_of(wanted), f"{where} delivers other values or another dtype", DESCRIBE)
    if wanted.size == 0:
        return
    must(
        look.ctypes.data == facts.address,
        f"{where} delivers memory at {look.ctypes.data:#x}, and {facts.address:#x} was described: it copies",
        "hand out the array's own memory; a protocol that needs a copy must not be offered",
    )


def _by_legacy_capsule(source: Source, access: Access) -> NDArray[Any]:
    return seen_through(source.capsule(access=access, versioned=False), source.facts)


def _by_versioned_capsule(source: Source, access: Access) -> NDArray[Any]:
    return seen_through(source.capsule(access=access, versioned=True), source.facts)


def _by_buffer(source: Source, access: Access) -> NDArray[Any]:
    return numpy.asarray(memoryview(source.buffer(access=access)))


def _by_owner(source: Source, access: Access) -> NDArray[Any]:
    owner = source.owner(access=access)
    must(owner is not None, "Source.owner returned None", "return what keeps the memory alive")
    return memory_of(source)


_READERS: dict[str, tuple[tuple[str, Callable[[Source, Access], NDArray[Any]]], ...]] = {
    "dlpack": (("capsule()", _by_legacy_capsule), ("capsule(versioned=True)", _by_versioned_capsule)),
    "buffer": (("buffer()", _by_buffer),),
    "address": (("owner()", _by_owner),),
}


def sharing_doors(source: Framework, target: Framework, dtype: str) -> list[str]:
    """The doors that carry the dtype from `source` to `target` without a copy."""
    return [
        door.name
        for door, offer in doors_between(source, target)
        if door.shares and all(dtypes is None or dtype in dtypes for dtypes in (door.dtypes, offer.dtypes))
    ]


# ---------------------------------------------------------------------------------------------------------------- hooks


def hooks_of(plugin: object, hook: str) -> list[Any]:
    """The implementations that a registered plugin has of a hook, wrappers left out."""
    found = getattr(registry.manager.hook, hook).get_hookimpls()
    return [each for each in found if each.plugin is plugin and not (each.wrapper or each.hookwrapper)]


def hooks_in(plugin: object, hook: str) -> list[Callable[..., Any]]:
    """The implementations of a hook in a plugin that is not registered."""
    if plugin is None:
        return []
    manager = pluggy.PluginManager("bridge")
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    return [each.function for each in getattr(manager.hook, hook).get_hookimpls()]


def called(implementation: Any, **arguments: Any) -> Any:
    """What the implementation answers; the error, if it raises one."""
    try:
        return implementation.function(**{name: arguments[name] for name in implementation.argnames})
    except Exception as error:
        return error


# --------------------------------------------------------------------------------------------------------------- growth


def growth(convert: Callable[[], Any], *, references: tuple[Any, ...], times: int = 1000) -> str | None:
    """What `times` conversions leave behind, as part of a sentence; None: nothing. A refusal is a conversion too."""

    def once() -> None:
        with contextlib.suppress(BridgeError):
            convert()

    for _ in range(50):
        once()
    gc.collect()
    active, resident, counts = bridge.get_active_memory(), _resident(), [sys.getrefcount(each) for each in references]
    for _ in range(times):
        once()
    gc.collect()
    if bridge.get_active_memory() > active:
        return f"the engine holds {bridge.get_active_memory() - active} bytes more"
    if any(sys.getrefcount(each) > count + times // 10 for each, count in zip(references, counts, strict=True)):
        return "references to the source remain"
    grown = _resident() - resident
    return f"the process has grown by {grown} bytes" if grown > _NOISE else None


_NOISE = 16 << 20  # bytes that allocators may keep; the arrays that are converted make four times as much


def _resident() -> int:
    """Bytes of this process in memory; where they cannot be read, the most there have been."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
