"""One conversion, judged: what was planned, what was said, and what happened to the bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy

import bridge
from bridge.core.contract import problem_of_facts
from bridge.core.errors import BridgeError, CopyRequired, DTypeError
from bridge.core.framework import Facts, Framework, Source
from bridge.core.memory import over
from bridge.core.record import Plan
from bridge.core.registry import registry
from bridge.core.route import fits, is_overlapping
from bridge.testing.faults import AGREE, fail, must
from bridge.testing.samples import bits_of, number_unlike, ones_or_zeros

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Adapter", "Conversion", "described", "memory_of", "record_of", "values_of", "write_into"]

DESCRIBE = "in bridge_import, describe the array as it is"
EXPORT = "in bridge_export, wrap the memory of `source` (its capsule, buffer or owner) and nothing else"


#: By the rule that refused; all others forbid a copy that would do.
_ERRORS: dict[str, type[BridgeError]] = {"dtype": DTypeError, "dtype-door": DTypeError, "via": BridgeError}


class Adapter(Protocol):
    """How the suite reads and writes arrays of the framework under test."""

    framework: str

    def values(self, array: Any) -> NDArray[Any]: ...

    def write(self, array: Any, number: int) -> None: ...


def record_of(name: str) -> Framework:
    registry.load()
    return registry.frameworks[name]


def described(framework: Framework, array: Any) -> Source:
    """The array as its plugin describes it, if that can be true."""
    source = registry.describe(framework, array)
    problem = problem_of_facts(framework, source.facts)
    if problem is not None:
        fail(f"bridge_import described an array, and {problem}", DESCRIBE)
    return source


def memory_of(source: Source, *, writable: bool = False) -> NDArray[Any]:
    """The memory that a description points to, read without any help of the plugin."""
    facts = source.facts
    assert facts.strides is not None
    return over(source, facts.address, facts.dtype, facts.shape, facts.strides, writable=writable)


def values_of(name: str, array: Any, adapter: Adapter) -> NDArray[Any]:
    """The values of an array of any framework; those of the framework under test as the suite reads them."""
    if name == adapter.framework:
        return adapter.values(array)
    return numpy.array(registry.describe(record_of(name), array).ndarray())


def write_into(name: str, array: Any, number: int, adapter: Adapter) -> None:
    """Set every element, in place."""
    if name == adapter.framework:
        adapter.write(array, number)
    else:
        memory_of(registry.describe(record_of(name), array), writable=True)[...] = number


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """`bridge.to(target, array, ...)`, with all that is known of `array` beforehand."""

    adapter: Adapter
    source: str
    target: str
    array: Any
    wanted: NDArray[Any]  # the values
    copy: bool | None = None
    via: str | None = None
    readonly: bool = False

    @property
    def keywords(self) -> dict[str, Any]:
        """Those that are not at their defaults: a shortcut is only taken by a call that has none."""
        given = {"copy": self.copy, "via": self.via, "readonly": self.readonly or None}
        return {name: value for name, value in given.items() if value is not None}

    def __str__(self) -> str:
        said = "".join(f", {name}={value!r}" for name, value in self.keywords.items())
        return f"bridge.to({self.target!r}, {self.source} array{said})"

    def check(self) -> Plan:
        """Do it, and compare plan, receipt, array and bytes. Then again without a recorder, by the shortcut if any."""
        plan = self._planned()
        before = described(record_of(self.source), self.array).facts
        for recorded in (True, False, False):
            result, outcome = self._performed(recorded=recorded, plan=plan)
            must(
                outcome == plan.outcome,
                f"{self} {outcome}, and bridge.explain said {plan.outcome} ({plan.why})",
                "make bridge_import say the same each time" if recorded else "let the shortcut return None for it",
            )
            if result is not None:
                self._judge(result, before, plan)
        self._unharmed()
        return plan

    def _planned(self) -> Plan:
        plan: Plan = bridge.explain(self.target, self.array, **self.keywords)
        allowed = {None: ("shared", "copied", "refused"), False: ("shared", "refused"), True: ("copied", "refused")}
        assert plan.outcome in allowed[self.copy]
        if plan.refused:
            self._justified(plan)
        return plan

    def _justified(self, plan: Plan) -> None:
        """A refusal is the user's only if the target has no such dtype, or if the user forbade the copy."""
        source, target = record_of(self.source), record_of(self.target)
        if plan.rule == "dtype":
            return
        if self.via is not None and plan.rule in ("dtype-door", "via"):
            return
        must(
            plan.rule != "dtype-door",
            f"no door carries {plan.dtype} from {source.name} to {target.name}, and both records list it",
            f"give {self.adapter.framework} a door or an offer that carries it (protocol 'address' carries all), "
            "or take it out of its dtypes",
        )
        must(self.copy is False, f"{self} is refused ({plan.why}), and a copy would do", "ask for less in the record")

    def _performed(self, *, recorded: bool, plan: Plan) -> tuple[Any, str]:
        try:
            if not recorded:
                return bridge.to(self.target, self.array, **self.keywords), plan.outcome
            with bridge.record() as log:
                result = bridge.to(self.target, self.array, **self.keywords)
            must((log[0].rule, log[0].route) == (plan.rule, plan.route), f"{self}: the receipt says {log[0]}", DESCRIBE)
            return result, log[0].outcome
        except BridgeError as error:
            self._explained(error, plan)
            return None, "refused"
        except Exception as error:
            raise AssertionError(f"{self} raised {type(error).__name__}: {error}") from error

    def _explained(self, error: BridgeError, plan: Plan) -> None:
        """A refusal tells the user what to do, and is a CopyRequired where a copy would do."""
        raised = f"{self} raised {type(error).__name__}: {error}"
        must(plan.refused, f"{raised}\n  plan: {plan.outcome}", AGREE)
        must("fix:" in str(error), f"{self} is refused without a way out: {error}", "give the Refusal a fix")
        kind = _ERRORS.get(plan.rule, CopyRequired)
        must(isinstance(error, kind), f"{raised}\n  want: {kind.__name__}", DESCRIBE)

    def _judge(self, result: Any, before: Facts, plan: Plan) -> None:
        target = record_of(self.target)
        found = registry.framework_of(type(result))
        must(found is target, f"{self} returned a {type(result).__name__}", f"return an array of {self.target}")
        after = described(target, result).facts
        must(after.dtype == before.dtype, f"{self} returned {after.dtype} for {before.dtype}", EXPORT)
        must(after.shape == before.shape, f"{self} returned shape {after.shape} for {before.shape}", EXPORT)
        must(
            bits_of(values_of(self.target, result, self.adapter)) == bits_of(self.wanted),
            f"{self} changed the values ({plan.outcome} by {plan.route!r}, strides {before.strides})",
            "read the strides in elements and the first element at `facts.address`; keep the bits of every element",
        )
        if self.wanted.size == 0 or before.device != "cpu":
            return
        self._shared(result, before, after) if plan.shared else self._severed(result, before, after)

    def _shared(self, result: Any, before: Facts, after: Facts) -> None:
        must(
            after.address == before.address,
            f"{self} copied: the source lies at {before.address:#x}, the result at {after.address:#x}; it was to share",
            f"{EXPORT}; if the framework cannot take such memory, say so in the record (alignment, strides, dtypes, "
            "Door.shares)",
        )
        if self.source == "bridge" or self.target == "bridge" or self.readonly:
            return  # who sees which update is a matter of the engine's leases
        self._seen(self.source, self.array, before, self.target, result)
        self._seen(self.target, result, after, self.source, self.array)

    def _seen(self, writer: str, array: Any, facts: Facts, reader: str, other: Any) -> None:
        """What one side writes, the other sees; then the old values come back."""
        if facts.access != "write" or is_overlapping(facts.shape, facts.strides):
            return
        if not record_of(reader).mutable and not fits("row-major", facts.shape, facts.strides):
            return  # whoever counts on fixed values may keep a copy in the order that it likes
        number = number_unlike(self.wanted)
        write_into(writer, array, number, self.adapter)
        seen = bits_of(values_of(reader, other, self.adapter))
        memory_of(registry.describe(record_of(writer), array), writable=True)[...] = self.wanted
        must(
            seen == ones_or_zeros(self.wanted, number),
            f"{self} was to share, and what {writer} writes does not show in {reader}",
            f"{EXPORT}; or let bridge_import describe the memory itself, not a copy of it",
        )

    def _severed(self, result: Any, before: Facts, after: Facts) -> None:
        must(
            after.address != before.address,
            f"{self} shared, and it was to copy: both lie at {before.address:#x}",
            "on a copy, bridge_export is given fresh memory to share unless the record says `copies` or the door does "
            "not share: then it has to make the copy",
        )
        if not record_of(self.target).mutable or self.readonly:
            return
        must(after.access == "write", f"{self} cannot be written, and it is a copy: {after.why_read}", DESCRIBE)
        write_into(self.target, result, number_unlike(self.wanted), self.adapter)

    def _unharmed(self) -> None:
        must(
            bits_of(values_of(self.source, self.array, self.adapter)) == bits_of(self.wanted),
            f"{self} changed its source",
            "hand out the memory, and do not touch it; a copy must have memory of its own",
        )
