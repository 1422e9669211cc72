"""`FrameworkSuite`: inherit it, name the framework, run pytest.

Every test is derived from the framework's record: what it says that it can do must happen, what it says that it cannot
do must be refused with a way out. Nothing is skipped. Where a test runs over several dtypes, the text of its failure
names them all.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy

import bridge
from bridge.core.contract import problem_of_record
from bridge.core.errors import CopyRequired, DTypeError
from bridge.core.framework import ITEMSIZE, Framework, doors_between
from bridge.core.memory import ALIGNMENT
from bridge.core.registry import registry
from bridge.testing import isolated, ways
from bridge.testing.exchange import Conversion, described, memory_of, record_of, values_of
from bridge.testing.faults import each, fail, must
from bridge.testing.samples import LAYOUTS, Sample, bits_of, number_unlike, ones_or_zeros, sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FrameworkSuite"]

COPY = (None, False, True)


class FrameworkSuite:
    """The contract of one framework. Set `framework`; override the rest only where the defaults do not fit."""

    #: What a user writes as the target.
    framework: str
    #: The plugin, module or object, if it is not installed: it is then registered while the tests of the class run.
    plugin: object = None
    #: The frameworks to exchange with; None: all that are installed.
    peers: tuple[str, ...] | None = None

    def make(self, values: NDArray[Any]) -> Any:
        """An array of the framework with these values; over their memory, if that is possible."""
        return bridge.to(self.framework, values)

    def values(self, array: Any) -> NDArray[Any]:
        """The values of an array of the framework, asked of the framework itself if NumPy knows how."""
        source = described(self.record, array)
        try:
            found = numpy.asarray(array)
        except Exception:
            found = numpy.empty(0, object)
        return found if found.dtype.name == source.facts.dtype else source.ndarray()

    def write(self, array: Any, number: int) -> None:
        """Set every element of a mutable array of the framework to 0 or 1, in place, by the framework's own means."""
        if not hasattr(type(array), "__setitem__"):
            memory_of(described(self.record, array), writable=True)[...] = number
            return
        try:
            array[...] = number
        except Exception as error:
            fail(
                f"{type(array).__name__}[...] = {number} raised {type(error).__name__}: {error}",
                "mutable=False in the record, or access='read' in the Facts of such an array; if arrays are written "
                "in another way, override `write` of the suite",
            )

    # ------------------------------------------------------------------------------------------------ what pytest calls

    @property
    def record(self) -> Framework:
        """The record of the framework."""
        return record_of(self.framework)

    @classmethod
    def setup_class(cls) -> None:
        registry.load()
        if cls.plugin is not None and cls.framework not in registry.frameworks:
            registry.register(cls.plugin, getattr(cls.plugin, "__name__", cls.framework))
            cls._registered = True
        suite = cls()
        with contextlib.suppress(Exception):  # the tests say what is wrong
            for name in _peers(cls):
                suite._from_peer(name, sample("uint8"))
            suite.make(sample(suite._dtypes()[0]).array)
        gc.freeze()  # all that has just been imported is not looked at again

    @classmethod
    def teardown_class(cls) -> None:
        gc.unfreeze()
        if cls._registered:
            registry.unregister(cls.plugin)
            cls._registered = False

    _registered = False

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Parameters of the tests, by name, from the record."""
        record = _declared(type(self))
        axes: dict[str, list[str]] = {
            "peer": list(_peers(type(self))),
            "layout": list(LAYOUTS),
            "door": [door.name for door in record.takes],
            "offer": [offer.protocol for offer in record.gives],
        }
        for name, values in axes.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, values)

    # ------------------------------------------------------------------------------------------------------- the record

    def test_the_record_can_be_true(self) -> None:
        """Every field is of its kind; dtypes have names that the exchange knows."""
        problem = problem_of_record(self.record)
        must(problem is None, f"the record of {self.framework}: {problem}", "see bridge/core/framework.py")
        unknown = self.record.known_dtypes() - set(ITEMSIZE)
        must(not unknown, f"dtypes: {sorted(unknown)} are unknown", f"take them out; known are {', '.join(ITEMSIZE)}")
        must(self.record.known_dtypes(), "dtypes is empty", "name the dtypes that arrays of the framework can have")

    def test_declaring_imports_nothing(self) -> None:
        """A program that imports bridge and loads the plugin has not imported the framework."""
        found = isolated.imports_of(registry.plugin_of(self.record), self.record.module)
        must(
            not found,
            f"loading the plugin imports {self.record.module}",
            f"import {self.record.module} inside the functions that need it",
        )

    def test_types_are_the_types_of_its_arrays(self) -> None:
        """The exact type of a new array stands in the record: else it is found by its bases, and takes no shortcut."""
        kind = type(self.make(sample(self._dtypes()[0]).array))
        name = f"{kind.__module__}.{kind.__qualname__}"
        must(
            name in self.record.types, f"its arrays are {name}, and types={self.record.types}", f"add {name!r} to types"
        )

    def test_hooks_leave_other_frameworks_alone(self) -> None:
        """Asked about the arrays of others, they return None."""
        others = [framework for framework in registry.frameworks.values() if framework is not self.record]
        array = sample("float32").array
        for hook, arguments in (
            ("bridge_import", {"value": array}),
            ("bridge_export", {"source": None, "route": None}),
        ):
            for implementation in ways.hooks_of(registry.plugin_of(self.record), hook):
                for other in others:
                    if registry.plugin_of(other) is registry.plugin_of(self.record):
                        continue
                    answer = ways.called(implementation, framework=other, **arguments)
                    must(
                        answer is None,
                        f"{hook} answers for the framework {other.name!r} with {answer!r}",
                        "begin it with: if framework is not <your record>: return None",
                    )

    # ------------------------------------------------------------------------------------------------------- describing

    def test_description_is_true(self, layout: str) -> None:
        """Address, shape, strides, dtype and access read as memory give the values that the framework sees."""

        def check(dtype: str) -> None:
            made = sample(dtype, layout)
            array = self.make(made.array)
            ways.check_description(self, array, bits_of(made.array))

        each("dtype", self._dtypes(), check)

    def test_describing_keeps_nothing(self) -> None:
        """No reference to the array is left once the description is gone."""
        array = self.make(sample(self._dtypes()[0]).array)
        described(self.record, array)
        gc.collect()
        before = sys.getrefcount(array)
        for _ in range(10):
            described(self.record, array)
        gc.collect()
        must(
            sys.getrefcount(array) - before < 10,
            "each description leaves a reference to the array behind",
            "keep no list of the arrays that bridge_import was shown",
        )

    def test_offers_are_kept(self, offer: str, layout: str) -> None:
        """The protocol that the record offers delivers the very memory that was described."""

        def check(dtype: str) -> None:
            made = sample(dtype, layout)
            ways.check_offer(self, self.make(made.array), offer, made.array)

        each("dtype", self._dtypes(), check)

    # ------------------------------------------------------------------------------------------------------- converting

    def test_comes_in(self, peer: str, layout: str) -> None:
        """From the peer, for every dtype and copy=: shared, copied or refused as planned, and exact to the bit."""

        def check(dtype: str) -> None:
            made = sample(dtype, layout)
            array = self._from_peer(peer, made)
            if array is None:
                return
            for copy in COPY:
                case = self._conversion(peer, self.framework, array, made, copy=copy)
                plan = case.check()
                if dtype not in self.record.known_dtypes():
                    must(plan.rule == "dtype", f"{case} is {plan.outcome}", "list the dtype in the record")

        each("dtype", ITEMSIZE, check)

    def test_goes_out(self, peer: str, layout: str) -> None:
        """To the peer, for every dtype and copy=: shared, copied or refused as planned, and exact to the bit."""

        def check(dtype: str) -> None:
            made = sample(dtype, layout)
            array = self.make(made.array)
            for copy in COPY:
                self._conversion(self.framework, peer, array, made, copy=copy).check()

        each("dtype", self._dtypes(), check)

    def test_dense_aligned_memory_is_shared(self, peer: str) -> None:
        """The easy case is no copy, in either direction, if any door that shares carries the dtype."""

        def check(dtype: str) -> None:
            made = sample(dtype)
            array = self._from_peer(peer, made)
            if array is not None:
                must_share(peer, array, self.framework, "a door that shares it")
            if dtype in record_of(peer).known_dtypes():
                must_share(self.framework, self.make(made.array), peer, "an offer that carries it")

        def must_share(source: str, array: Any, target: str, fix: str) -> None:
            facts = described(record_of(source), array).facts
            plan = bridge.explain(target, array, readonly=True)
            carried = ways.sharing_doors(record_of(source), record_of(target), facts.dtype)
            aligned = facts.address % (record_of(target).alignment or 1) == 0  # a framework may have no such memory
            able = aligned and facts.unlike is None and facts.frozen is None
            if able and (carried or plan.rule in ("no-door", "dtype-door")):
                must(plan.shared, f"{source} to {target} is {plan.outcome}: {plan.why}", fix)

        each("dtype", self._dtypes(), check)

    def test_every_door_opens(self, door: str, peer: str) -> None:
        """`via=` reaches each door of the record from each peer that speaks its protocol."""

        def check(dtype: str) -> None:
            made = sample(dtype)
            array = self._from_peer(peer, made)
            if array is None:
                return
            for copy in COPY:
                for readonly in (False, True):
                    case = self._conversion(peer, self.framework, array, made, copy=copy, via=door, readonly=readonly)
                    case.check()

        each("dtype", self._dtypes(), check)

    def test_every_door_leads_from_somewhere(self, door: str) -> None:
        """Its protocol is offered by some framework that it takes memory from."""
        (described_door,) = [each for each in self.record.takes if each.name == door]
        offered = {
            offer.protocol
            for framework in registry.frameworks.values()
            if framework is not self.record
            and (described_door.sources is None or framework.name in described_door.sources)
            for offer in framework.gives
        }
        must(
            described_door.protocol in offered,
            f"nobody offers the protocol {described_door.protocol!r} of the door {door!r}",
            "every built-in framework offers 'dlpack' and 'address'",
        )

    def test_same_framework_is_the_same_array(self) -> None:
        """No work for what is there already; copy=True and dtype= make new memory."""

        def check(dtype: str) -> None:
            made = sample(dtype)
            array = self.make(made.array)
            for copy in (None, False):
                must(
                    bridge.to(self.framework, array, copy=copy) is array,
                    f"bridge.to({self.framework!r}, its own array) returned another one",
                    'on route.door == "same" and route.outcome == "share", return source.value',
                )
            Conversion(
                adapter=self,
                source=self.framework,
                target=self.framework,
                array=array,
                wanted=made.array.copy(),
                copy=True,
            ).check()

        each("dtype", self._dtypes(), check)

    def test_conversions_of_dtype(self, peer: str) -> None:
        """dtype= converts on the way in, on the way out, and from the framework to itself."""
        known = [dtype for dtype in ("float32", "int32", "float64", "int64", "uint8") if dtype in self._dtypes()]
        if len(known) < 2:
            return
        first, second = known[:2]
        numbers = sample(first).array
        numbers[...] = numpy.arange(24).reshape(4, 6)
        wanted = numbers.astype(second)
        array = self.make(numbers)
        for source, target, value in ((peer, self.framework, numbers), (self.framework, self.framework, array)):
            start = bridge.to(peer, value, readonly=True) if source == peer else value
            result = bridge.to(target, start, dtype=second)
            must(
                bits_of(self.values(result)) == bits_of(wanted),
                f"{source} to {target} with dtype={second!r} from {first}: other values",
                'on route.door == "same" and route.outcome == "copy", convert to route.dtype',
            )
        result = bridge.to(peer, array, dtype=second)
        must(
            bits_of(values_of(peer, result, self)) == bits_of(wanted),
            f"to {peer} as {second}: other values",
            "ndarray()",
        )

    # ---------------------------------------------------------------------------------------------------- who may write

    def test_read_only_memory_stays_read_only(self) -> None:
        """To arrays that can only be written it is copied, refused under copy=False, shared on the user's promise."""

        def check(dtype: str) -> None:
            made = sample(dtype, writable=False)
            cannot_say = self.record.mutable and not self.record.readonly
            for copy in COPY:
                for readonly in (False, True):
                    case = self._conversion("numpy", self.framework, made.array, made, copy=copy, readonly=readonly)
                    plan = case.check()
                    if cannot_say and not readonly:
                        must(not plan.shared, f"read-only memory is {plan.outcome}", "readonly=False in the record")
            if not any(door.shares for door in self.record.takes):
                return
            result = bridge.to(self.framework, made.array, readonly=True)
            facts = described(self.record, result).facts
            must(
                facts.access == "read" or cannot_say,
                "an array over read-only memory is described as writable",
                "on route.access == 'read', make the array read-only; or readonly=False in the record, if there is no "
                "such array",
            )

        each("dtype", self._dtypes(), check)

    def test_engine_writes_do_not_reach_readers(self) -> None:
        """An update of a bridge array that is shared with somebody who cannot write moves the array."""
        if self.framework == "bridge":
            return  # it is the same array
        made = sample(self._dtypes()[0])
        array = bridge.array(made.array, dtype=getattr(bridge, _attribute(made.array.dtype.name)))
        shared = bridge.to(self.framework, array, readonly=True)
        array[...] = number_unlike(made.array)
        if self.record.mutable and not self.record.readonly:
            return  # it was the user's promise that nobody writes
        must(
            bits_of(self.values(shared)) == bits_of(made.array),
            f"an update of the bridge array changed the {self.framework} array, which is read-only",
            "take the memory with the access of the route: source.capsule(access=route.access)",
        )

    def test_engine_and_writer_see_each_other(self) -> None:
        """A bridge array and a mutable array over its memory are coherent."""
        made = sample(self._dtypes()[0])
        array = bridge.array(made.array, dtype=getattr(bridge, _attribute(made.array.dtype.name)))
        bridge.eval(array)
        if not self.record.mutable or not bridge.explain(self.framework, array).shared:
            return
        shared = bridge.to(self.framework, array)
        number = number_unlike(made.array)
        array[...] = number
        wanted = ones_or_zeros(made.array, number)
        must(bits_of(self.values(shared)) == wanted, "an update of the bridge array does not show", "share its memory")
        self.write(shared, 1 - number)
        wanted = ones_or_zeros(made.array, 1 - number)
        must(
            bits_of(numpy.array(array)) == wanted,
            f"a write into the {self.framework} array does not show in the bridge array",
            "take the memory with the access of the route: source.capsule(access=route.access)",
        )

    # --------------------------------------------------------------------------------------------------------- lifetime

    def test_the_owner_lives_as_long_as_the_array(self, door: str) -> None:
        """Memory that came in is kept alive by the array, and let go with it."""
        for readonly in (False, True):
            made = sample(self._dtypes()[0])
            plan = bridge.explain(self.framework, made.array, via=door, readonly=readonly)
            if plan.refused:
                return
            wanted = bits_of(made.array)
            gone, block = made.gone, made.block
            result = bridge.to(self.framework, made.array, via=door, readonly=readonly)
            del made
            must(
                not plan.shared or not gone(),
                f"door {door!r}: the owner of the memory was dropped while a {self.framework} array is over it",
                "keep what source.capsule, source.buffer or source.owner returned for as long as the array lives",
            )
            must(bits_of(self.values(result)) == wanted, f"door {door!r}: the values changed afterwards", EXPORTED)
            del result
            must(
                _gone(gone),
                f"door {door!r}: the owner of the memory is still alive after the {self.framework} array is gone",
                "drop what source.capsule, source.buffer or source.owner returned together with the array",
            )
            del block

    def test_the_array_lives_as_long_as_what_others_have_of_it(self, peer: str) -> None:
        """Memory that went out, by any door, keeps its array or whatever owns the memory alive; and lets go of it."""
        for door, _ in doors_between(self.record, record_of(peer)):
            made = sample(self._dtypes()[0])
            wanted, gone, block = bits_of(made.array), made.gone, made.block
            array = self.make(made.array)
            plan = bridge.explain(peer, array, readonly=True, via=door.name)
            shared = plan.shared and described(self.record, array).facts.address == made.array.ctypes.data
            del made
            if plan.refused:
                continue
            result = bridge.to(peer, array, readonly=True, via=door.name)
            del array
            must(
                not shared or not gone(),
                f"door {door.name!r}: the owner of the memory was dropped while a {peer} array is over it",
                "what Source.capsule, .buffer and .owner return must keep the memory alive",
            )
            same = bits_of(values_of(peer, result, self)) == wanted
            must(same, f"door {door.name!r}: the values in {peer} changed afterwards", EXPORTED)
            del result
            must(
                _gone(gone),
                f"door {door.name!r}: the owner of the memory is still alive after the {peer} array is gone",
                "keep no array, and nothing that Source hands out, in a table",
            )
            del block

    def test_leases_end_with_the_array(self) -> None:
        """The engine's memory is lent to the array while it lives, and not longer."""
        array = bridge.array(sample(self._dtypes()[0]).array)
        bridge.eval(array)
        result = bridge.to(self.framework, array, readonly=True)
        if bridge.explain(self.framework, array, readonly=True).shared and self.framework != "bridge":
            holders = [lease["holder"] for lease in bridge.leases(array)]
            must(holders, f"no lease on the memory that a {self.framework} array is over", EXPORTED)
        del result
        gc.collect()
        must(bridge.leases(array) == [], f"leases remain: {bridge.leases(array)}", "drop the capsule with the array")

    def test_a_thousand_conversions_leave_nothing(self) -> None:
        """Neither in the engine nor in the process, whether shared or copied, in or out."""
        dtype = self._dtypes()[0]
        incoming = numpy.zeros(1 << 14, sample(dtype).array.dtype)
        outgoing = self.make(incoming)
        for copy in (None, True):
            for name, convert in (
                ("in", lambda copy=copy: bridge.to(self.framework, incoming, copy=copy, readonly=True)),
                ("out", lambda copy=copy: bridge.to("numpy", outgoing, copy=copy, readonly=True)),
                ("bridge", lambda copy=copy: bridge.from_(outgoing, copy=copy)),
            ):
                problem = ways.growth(convert, references=(incoming, outgoing))
                must(
                    problem is None, f"1,000 conversions ({name}, copy={copy}): {problem}", "keep nothing between calls"
                )

    # --------------------------------------------------------------------------------------------------------- refusals

    def test_unknown_dtypes_are_refused(self) -> None:
        """With DTypeError and a way out, under any copy=; the source is as it was."""

        def check(dtype: str) -> None:
            made = sample(dtype)
            wanted = bits_of(made.array)
            for copy in COPY:
                try:
                    bridge.to(self.framework, made.array, copy=copy)
                except DTypeError as error:
                    must("fix:" in str(error), f"no way out: {error}", "dtype_fix in the record")
                else:
                    fail(f"{dtype} is not in the record and came in", "list it in dtypes")
            must(
                bits_of(made.array) == wanted, f"the refused {dtype} array was changed", "do not touch what is refused"
            )

        each("dtype", [dtype for dtype in ITEMSIZE if dtype not in self._dtypes()], check)

    def test_a_refusal_harms_nobody(self, layout: str) -> None:
        """After copy=False was refused, no lease is left and the source can be converted with a copy."""
        made = sample(self._dtypes()[0], layout)
        array = bridge.from_(made.array)
        try:
            bridge.to(self.framework, array, copy=False)
        except CopyRequired as error:
            must("copy=None" in str(error), f"no way out: {error}", "leave the texts of errors to bridge")
            must(bridge.leases(array) == [], f"leases remain: {bridge.leases(array)}", "ask for memory only to use it")
        result = bridge.to(self.framework, array)
        must(
            bits_of(self.values(result)) == bits_of(made.array), "other values after a refusal", "do not touch sources"
        )

    # ------------------------------------------------------------------------------------------------ nests and threads

    def test_nests_come_and_go(self) -> None:
        """Dictionaries, lists and tuples of arrays keep their form."""
        numbers = [sample(dtype).array for dtype in self._dtypes()[:3]]
        nest = {"list": list(numbers), "tuple": (numbers[0], {"deep": numbers[-1]}), "none": None}
        there = bridge.to(self.framework, nest)
        leaf = there["tuple"][1]["deep"]
        must(
            registry.framework_of(type(leaf)) is self.record,
            f"a leaf of a nest is a {type(leaf).__name__}",
            "see types",
        )
        back = bridge.to("numpy", there, readonly=True)
        must(
            bits_of(back["list"][0]) == bits_of(numbers[0])
            and bits_of(back["tuple"][1]["deep"]) == bits_of(numbers[-1]),
            "the leaves of a nest have other values",
            "an array type of a framework must be no dict, list, tuple or dataclass",
        )

    def test_threads_do_not_disturb_each_other(self) -> None:
        """Eight at once, in and out, each with arrays of its own and one that all share."""
        common = sample(self._dtypes()[0], seed=99).array
        faults: list[str] = []
        start = threading.Barrier(8)

        def work(seed: int) -> None:
            start.wait()
            try:
                for turn in range(40):
                    numbers = common if turn % 4 == 0 else sample(self._dtypes()[0], seed=100 * seed + turn).array
                    back = bridge.to("numpy", bridge.to(self.framework, numbers), readonly=True)
                    if bits_of(back) != bits_of(numbers):
                        faults.append("a thread got the values of another one")
            except Exception as error:
                faults.append(f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        must(not faults, f"{len(faults)} faults in 8 threads, the first: {faults[:1]}", "keep no state between calls")

    # ---------------------------------------------------------------------------------------------------------- helpers

    def _dtypes(self) -> list[str]:
        """What the record knows, the plain ones first."""
        known = self.record.known_dtypes()
        plain = [dtype for dtype in ("float32", "int32", "float64", "int64") if dtype in known]
        return plain + [dtype for dtype in ITEMSIZE if dtype in known and dtype not in plain]

    def _conversion(self, source: str, target: str, array: Any, made: Sample, **keywords: Any) -> Conversion:
        wanted = numpy.array(made.array)
        return Conversion(adapter=self, source=source, target=target, array=array, wanted=wanted, **keywords)

    def _from_peer(self, peer: str, made: Sample) -> Any:
        """The sample as an array of the peer; None: it has no such dtype."""
        if made.array.dtype.name not in record_of(peer).known_dtypes():
            return None
        # The engine treats its own memory and memory that others can write differently: both occur.
        own = peer == "bridge" and made.array.flags.c_contiguous and made.array.ctypes.data % ALIGNMENT == 0
        return bridge.to(peer, made.array, copy=True if own else None)


EXPORTED = "the memory must stay as it is for as long as somebody has an array over it"


def _gone(gone: Callable[[], bool]) -> bool:
    """Whether it is gone, at the latest after cycles have been collected."""
    if not gone():
        gc.collect()
    return gone()


def _attribute(dtype: str) -> str:
    return "bool_" if dtype == "bool" else dtype


def _declared(suite: type[FrameworkSuite]) -> Framework:
    """The record, also before the plugin is registered."""
    name = getattr(suite, "framework", None)
    if not isinstance(name, str):
        raise TypeError(f"{suite.__name__}: say which framework it is about: framework = 'name'")
    registry.load()
    if name in registry.frameworks:
        return registry.frameworks[name]
    for hook in ways.hooks_in(suite.plugin, "bridge_frameworks"):
        for framework in hook():
            if framework.name == name:
                return framework  # type: ignore[no-any-return]
    broken = "".join(
        f"\n  plugin {row.name!r} ({row.origin}): {row.problem}" for row in registry.health() if not row.ok
    )
    raise LookupError(
        f"{suite.__name__}: no plugin declares the framework {name!r}; install the one that does, or name it: "
        f"plugin = <module>{broken}"
    )


def _peers(suite: type[FrameworkSuite]) -> tuple[str, ...]:
    if suite.peers is not None:
        return suite.peers
    return tuple(
        name
        for name, framework in registry.frameworks.items()
        if name != suite.framework and registry.is_installed(framework)
    )
