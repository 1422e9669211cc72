"""Plugins for frameworks that exist only here: honest ones of several kinds, and one for every lie.

All of them keep ndarrays in crates. `HONEST` and `LIARS` hold the classes; an instance is a plugin.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from bridge.core.memory import NATIVE
from bridge.hookspecs import Door, Facts, Framework, Offer, Route, Source, aligned_copy, hookimpl, over
from bridge.plugins.numpy import describe

DLPACK = Door(name="dlpack", protocol="dlpack")


class Crate:
    """An array of some framework: nothing that NumPy could look into by itself."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __setitem__(self, key: Any, value: Any) -> None:
        self.array[key] = value


class CrateSource(Source):
    """A crate, described. Everything follows from the address and from the owner."""

    def buffer(self, *, access: str) -> Any:
        return self.value.array


class Honest:
    """Any strides, writable or read-only, every dtype."""

    fields: ClassVar[dict[str, Any]] = {}
    source: type[Source] = CrateSource

    def __init__(self) -> None:
        self.name = type(self).__name__.lower()
        self.kind = type(f"{type(self).__name__}Array", (Crate,), {"__module__": __name__})
        self.record = Framework(**self.described_fields())

    def described_fields(self) -> dict[str, Any]:
        own = {
            "name": self.name,
            "module": "json",
            "install": "pip install crates",
            "types": (f"{__name__}.{self.kind.__qualname__}",),
            "takes": (DLPACK, Door(name="address", protocol="address")),
            "gives": (Offer(protocol="dlpack"), Offer(protocol="address"), Offer(protocol="buffer", dtypes=NATIVE)),
            "readonly": True,
            "alignment": 1,
        }
        return own | self.fields

    @hookimpl
    def bridge_frameworks(self) -> list[Framework]:
        return [self.record]

    @hookimpl
    def bridge_import(self, framework: Framework, value: Any) -> Source | None:
        return self.describe(value) if framework is self.record else None

    @hookimpl
    def bridge_export(self, framework: Framework, source: Source, route: Route) -> Any:
        return self.kind(self.export(source, route)) if framework is self.record else None

    def describe(self, crate: Crate) -> Source:
        return self.source(crate, Facts(**self.facts(crate)))

    def facts(self, crate: Crate) -> dict[str, Any]:
        seen = describe(crate.array).facts
        read = seen.access == "read" or not self.record.mutable
        return {
            "framework": self.name,
            "dtype": seen.dtype,
            "shape": seen.shape,
            "strides": seen.strides,
            "address": seen.address,
            "access": "read" if read else "write",
            "why_read": "the crate is sealed" if read else "",
        }

    def export(self, source: Source, route: Route) -> np.ndarray:
        if route.door == "same":
            return self.same(source, route)
        facts = source.facts
        owner = source.owner(access=route.access)
        writable = route.access == "write" or not self.record.readonly
        return over(owner, facts.address, facts.dtype, facts.shape, facts.strides, writable=writable)

    def same(self, source: Source, route: Route) -> np.ndarray:
        return converted(source.value.array, route)


def converted(array: np.ndarray, route: Route) -> np.ndarray:
    return aligned_copy(array if route.dtype == array.dtype.name else array.astype(route.dtype))


class Same(Honest):
    """Hands its own arrays back as they are."""

    @hookimpl
    def bridge_export(self, framework: Framework, source: Source, route: Route) -> Any:
        if framework is self.record and route.door == "same" and route.outcome == "share":
            return source.value
        return super().bridge_export(framework, source, route)


class Plain(Same):
    """The base of all that follow."""


class Immutable(Same):
    """Never changes; dense and aligned like TensorFlow."""

    fields: ClassVar = {"mutable": False, "alignment": 64, "strides": "row-major"}


class Writer(Same):
    """Has no read-only arrays, no negative strides and few dtypes, like torch."""

    fields: ClassVar = {
        "readonly": False,
        "strides": "non-negative",
        "dtypes": frozenset({"float32", "int64", "bool", "bfloat16"}),
    }


class Copier(Same):
    """Takes memory only to copy it."""

    fields: ClassVar = {"takes": (Door(name="constructor", protocol="dlpack", shares=False),)}

    def export(self, source: Source, route: Route) -> np.ndarray:
        if route.door == "same":
            return self.same(source, route)
        return aligned_copy(source.ndarray())


HONEST: tuple[type[Honest], ...] = (Plain, Immutable, Writer, Copier)

# ---------------------------------------------------------------------------------------------------------------- lies

#: The lie -> the test that must find it (the beginning of its name) and words that its text must hold.
LIARS: dict[type[Honest], tuple[str, str]] = {}


def found_by(test: str, words: str) -> Callable[[type[Honest]], type[Honest]]:
    def note(liar: type[Honest]) -> type[Honest]:
        LIARS[liar] = (test, words)
        return liar

    return note


@found_by("test_comes_in", r"it copied where it was to share.*bridge_export wraps the memory of `source`")
class CopiesOnShare(Same):
    def export(self, source: Source, route: Route) -> np.ndarray:
        return super().export(source, route).copy()


@found_by("test_comes_in[numpy-unaligned]", r"it copied where it was to share.*the record says \(alignment")
class NeedsMoreAlignment(Same):
    def export(self, source: Source, route: Route) -> np.ndarray:
        array = super().export(source, route)
        return array if array.ctypes.data % 16 == 0 else aligned_copy(array)


@found_by("test_comes_in", r"bridge_export returned ndarray, no array of othertype")
class OtherType(Same):
    @hookimpl
    def bridge_export(self, framework: Framework, source: Source, route: Route) -> Any:
        return self.export(source, route) if framework is self.record else None


@found_by("test_every_door_opens", r"KeyError: 'express'")
class NoSuchDoor(Same):
    fields: ClassVar = {"takes": (DLPACK, Door(name="express", protocol="dlpack"))}

    def export(self, source: Source, route: Route) -> np.ndarray:
        return {"same": super().export, "dlpack": super().export}[route.door](source, route)


@found_by("test_every_door_leads_from_somewhere", r"nobody offers the protocol 'telepathy'")
class NoSuchProtocol(Same):
    fields: ClassVar = {"takes": (DLPACK, Door(name="mind", protocol="telepathy"))}


@found_by("test_the_array_lives_as_long_as_what_others_have_of_it", r"the owner of the memory was dropped while")
class GivesNoOwner(Same):
    class source(CrateSource):
        def owner(self, *, access: str) -> Any:
            return object()


@found_by("test_the_owner_lives_as_long_as_the_array", r"still alive after the keepseverything array is gone")
class KeepsEverything(Same):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def export(self, source: Source, route: Route) -> np.ndarray:
        self.kept.append(source)
        return super().export(source, route)


@found_by("test_the_owner_lives_as_long_as_the_array", r"the owner of the memory was dropped while")
class ForgetsTheOwner(KeepsEverything):
    def export(self, source: Source, route: Route) -> np.ndarray:
        if route.door == "same":
            return self.same(source, route)
        facts = source.facts
        if not isinstance(source.value, np.ndarray) or isinstance(source.value.base, np.ndarray):
            self.kept.append(source)  # so that only the samples of the suite, which outlive it, are forgotten
        writable = route.access == "write"
        return over(None, facts.address, facts.dtype, facts.shape, facts.strides, writable=writable)


@found_by("test_a_thousand_conversions_leave_nothing", r"references to the source remain|has grown")
class Remembers(KeepsEverything):
    def describe(self, crate: Crate) -> Source:
        self.kept.append(crate)
        return super().describe(crate)


@found_by(
    "test_description_is_true[transposed]",
    r"described with strides=\(\d+, \d+\), and the source has \(1, 6\) \(in elements\)",
)
class StridesInBytes(Same):
    def facts(self, crate: Crate) -> dict[str, Any]:
        return super().facts(crate) | {"strides": crate.array.strides}


@found_by("test_description_is_true[dense]", r"described as int32, and float32 was asked for")
class WrongDtype(Same):
    def facts(self, crate: Crate) -> dict[str, Any]:
        facts = super().facts(crate)
        return facts | {"dtype": {"float32": "int32"}.get(facts["dtype"], facts["dtype"])}


@found_by("test_description_is_true", r"mutable=False in the record")
class NotMutable(Same):
    def __init__(self) -> None:
        super().__init__()
        self.kind.__setitem__ = refuse


def refuse(self: Any, key: Any, value: Any) -> None:
    raise TypeError("crates are sealed")


@found_by("test_description_is_true", r"it copied where it was to share.*bridge_import describes the array as it is")
class DescribesACopy(Same):
    class source(CrateSource):
        def owner(self, *, access: str) -> Any:
            return self.value.looked_at

    def facts(self, crate: Crate) -> dict[str, Any]:
        if not hasattr(crate, "looked_at"):
            crate.looked_at = aligned_copy(crate.array)
        seen = describe(crate.looked_at).facts
        return super().facts(crate) | {"address": seen.address, "strides": seen.strides}


@found_by("test_description_is_true", r"Source.ndarray\(\) gives other values")
class OtherValues(Same):
    class source(CrateSource):
        def ndarray(self) -> np.ndarray:
            return np.zeros_like(self.value.array)


@found_by("test_same_framework_is_the_same_array", r"it shared where it was to copy")
class SharesOnCopy(Same):
    def same(self, source: Source, route: Route) -> np.ndarray:
        array = source.value.array
        return array if route.dtype == array.dtype.name else converted(array, route)


@found_by("test_same_framework_is_the_same_array", r"returned another one")
class NeverTheSame(Honest):
    def same(self, source: Source, route: Route) -> np.ndarray:
        return source.value.array if route.outcome == "share" else converted(source.value.array, route)


@found_by("test_conversions_of_dtype", r"described as float32, and int32 was asked for")
class IgnoresDtype(Same):
    def same(self, source: Source, route: Route) -> np.ndarray:
        return aligned_copy(source.value.array)


@found_by("test_read_only_memory_stays_read_only", r"described as writable, and it is over memory that is only")
class WritesReadOnly(Same):
    def export(self, source: Source, route: Route) -> np.ndarray:
        array = super().export(source, route)
        return over(array, array.ctypes.data, source.facts.dtype, array.shape, source.facts.strides, writable=True)


@found_by("test_hooks_leave_other_frameworks_alone", r"bridge_import answers for the framework 'bridge'")
class AnswersForAll(Same):
    @hookimpl
    def bridge_import(self, framework: Framework, value: Any) -> Source | None:
        return Source(value, Facts(framework=self.name, dtype="float32"))


@found_by("test_types_are_the_types_of_its_arrays", r"add '.*MisnamedArray' to types")
class Misnamed(Same):
    fields: ClassVar = {"types": (f"{__name__}.Crate",)}


@found_by("test_offers_are_kept", r"Source.capsule returned a ndarray")
class NoCapsule(Same):
    class source(CrateSource):
        def capsule(self, *, access: str, versioned: bool = False) -> Any:
            return self.value.array


@found_by("test_offers_are_kept[dense-buffer]", r"it copies")
class BufferCopies(Same):
    class source(CrateSource):
        def buffer(self, *, access: str) -> Any:
            return self.value.array.copy()


@found_by("test_goes_out", r"no door carries bfloat16|has no door|dtype-door")
class NothingCarriesIt(Same):
    fields: ClassVar = {"gives": (Offer(protocol="buffer", dtypes=NATIVE),)}


@found_by("test_threads_do_not_disturb_each_other", r"keep no state between calls")
class SharedState(Same):
    def export(self, source: Source, route: Route) -> np.ndarray:
        self.current = source
        threading.Event().wait(0.001)  # long enough for another thread to come by
        return super().export(self.current, route)


@found_by("test_comes_in", r"copied: the source lies at")
class ShortcutCopies(Same):
    def described_fields(self) -> dict[str, Any]:
        kind = self.kind
        return super().described_fields() | {"shortcuts": {"numpy": lambda: lambda array: kind(array.copy())}}


@found_by("test_the_record_can_be_true", r"dtypes: \['float33'\] are unknown")
class NoSuchDtype(Same):
    fields: ClassVar = {"dtypes": frozenset({"float32", "float33"})}


@found_by("test_description_is_true", r"ValueError: too odd")
class RaisesForOddArrays(Same):
    def describe(self, crate: Crate) -> Source:
        if crate.array.ndim == 0:
            raise ValueError("too odd")
        return super().describe(crate)
