"""The verb of the product: `to` hands any array to any framework, `from_` and `asarray` take any array in.

Read it downwards. A plain call, without keywords, looks its shortcut up in a dictionary and is done. Everything else
takes the readable path: resolve the target, describe the source, choose the route (`route.choose`), perform it, and
tell who listens. Nests of arrays are mapped leaf by leaf.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from bridge.core import _native
from bridge.core.errors import BridgeError, CopyRequired, ExchangeError, PluginError, UnknownTarget, message
from bridge.core.framework import DTYPES, Facts, Framework, Source, doors_between, dtype_name
from bridge.core.nest import is_nest, mapped
from bridge.core.record import Log, Plan, Receipt
from bridge.core.registry import registry
from bridge.core.route import SAME, Request, Route, choose, fits

__all__ = ["asarray", "explain", "from_", "record", "to"]

Verb = TypeVar("Verb", bound=Callable[..., Any])

_into_bridge = registry.row("bridge")
_logs: dict[int, Log] = {}  # by identity: recorders on several threads come and go at once


def _with_shortcuts(table: dict[Any, Any], *, keyed: bool) -> Callable[[Verb], Verb]:
    """Put the native look-up for plain calls before a verb (native/front.cpp); all other calls come to the verb itself.

    Args:
        table: type -> shortcut, or if `keyed`, first argument -> such a table.
    """

    def put(verb: Verb) -> Verb:
        signature = inspect.signature(verb)
        bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
        parameters = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
        text = f"{verb.__name__}{parameters}\n--\n\n{inspect.cleandoc(verb.__doc__ or '')}"
        return cast(Verb, _native.front(verb, table, keyed, verb.__name__, text, verb.__module__))

    return put


@_with_shortcuts(registry.rows, keyed=True)
def to(
    target: Any,
    x: Any,
    *,
    copy: bool | None = None,
    dtype: Any = None,
    device: Any = None,
    readonly: bool = False,
    detach: bool = False,
    via: str | None = None,
) -> Any:
    """`x` as an array of `target`; no byte is copied if that can be avoided.

    Args:
        target: name of a framework ("numpy", "torch", "jax", "tensorflow", "bridge", any plugin's), its module, or its
            array type.
        x: array of any framework, exporter of DLPack or of the buffer protocol, Python number, or a nest of them (dict,
            list, tuple, namedtuple, dataclass), which comes back as the same nest of new arrays.
        copy: None shares if possible; False shares or raises; True returns memory that nobody else has.
        dtype: None keeps the dtype exactly; another one converts (and therefore copies). Name or dtype object.
        device: None stays where the array is; "cpu" copies to the host; others are places as the target names them.
        readonly: a promise not to write into the result (and, of what comes in, that nobody writes into it). Read-only
            memory is then shared with targets that cannot express it; where the target can, the result is read-only.
        detach: True hands over the values of an array that requires grad; its gradient ends there.
        via: None takes the cheapest exact door; a name ("dlpack", "buffer", "memoryview", ...) forces one.

    Returns:
        Array of the same shape and dtype. Shared memory is kept alive from both sides, whichever goes first.

    Raises:
        CopyRequired: copy=False and the bytes cannot be shared; the message says why.
        DTypeError: the target has no such dtype, so that it would have been narrowed.
        UnknownTarget: no such framework, or it is not installed.
        BridgeError: there are no bytes to hand over (traced, sparse, requires grad, another device).
    """
    return _Call(target, copy, dtype, device, readonly, detach, via).map(x)


@_with_shortcuts(_into_bridge, keyed=False)
def from_(
    x: Any,
    *,
    copy: bool | None = None,
    dtype: Any = None,
    device: Any = None,
    readonly: bool = False,
    detach: bool = False,
    via: str | None = None,
) -> Any:
    """Array over the memory of any framework's array: `to("bridge", x)`, which explains the arguments.

    Memory that its owner can write stays the owner's to write: both sides see it, and the engine never writes it.
    `readonly=True` promises that nobody writes, and gives full laziness.
    """
    return _Call("bridge", copy, dtype, device, readonly, detach, via, tag="bridge.from_").map(x)


def asarray(a: Any, dtype: Any = None, *, copy: bool | None = None, device: Any = None, readonly: bool = False) -> Any:
    """One array from anything: `from_` for what is an array already, `bridge.array` for numbers and sequences of them.

    Unlike `from_` it reads a list as one array, as the array API standard does; a list has no memory to share, so
    copy=False refuses it. A bridge array that is asked for no change is given back itself, as in the standard.
    """
    if isinstance(a, _native.array) and not (copy or readonly or registry.watched):
        same = dtype is None or dtype_name(dtype, tag="bridge.asarray") == a.dtype.name
        if same and _device_name(device) in (None, "cpu"):
            return a
    if dtype is None and copy is None and device is None and not readonly and type(a) in _into_bridge:
        return from_(a)
    call = _Call("bridge", copy, dtype, device, readonly, False, None, tag="bridge.asarray")
    if not isinstance(a, list | tuple):
        return call.leaf(a)
    if copy is False:
        problem = f"the bytes cannot be shared: a {type(a).__name__} of numbers has no memory of its own"
        raise CopyRequired(message(call.tag, problem, got="copy=False", fix="copy=None"))
    return _native.array(a, None if call.request.dtype is None else _native.DTYPES[call.request.dtype])


def explain(
    target: Any,
    x: Any,
    *,
    copy: bool | None = None,
    dtype: Any = None,
    device: Any = None,
    readonly: bool = False,
    detach: bool = False,
    via: str | None = None,
) -> Any:
    """The plan of `to` with the same arguments, and nothing done: a `Plan`, or for a nest a `Log` of plans.

    Evaluates `x` if it is lazy, because only then its memory is known. Refusals are plans too; only an unknown target
    raises.
    """
    call = _Call(target, copy, dtype, device, readonly, detach, via, tag=f"bridge.explain({_spelled(target)})")
    plans = Log()
    call.visit, call.shortcuts = lambda leaf: plans.append(call.plan(leaf)), {}
    call.map(x)
    return plans[0] if len(plans) == 1 and not is_nest(type(x), _is_array) else plans


def dlpack_failure(x: Any, error: Exception) -> Exception:
    """What `bridge.from_dlpack` raises of an object whose DLPack methods raised `error`.

    The same as `from_` where its framework knows why it has no memory to hand out (it is traced, deleted, sparse).
    """
    tag, framework = "bridge.from_dlpack", registry.framework_of(type(x))
    refusal = None if framework is None else registry.describe(framework, x).facts.refusal
    if refusal is not None:
        return refusal.error(message(tag, refusal.problem, fix=refusal.fix))
    if isinstance(error, BufferError | BridgeError):
        return error
    if not hasattr(type(x), "__dlpack__"):
        want, fix = "__dlpack__ and __dlpack_device__", "bridge.asarray(x)"
        return TypeError(
            message(tag, "the object does not export DLPack", got=type(x).__qualname__, want=want, fix=fix)
        )
    problem = f"the object does not hand out its memory: {type(error).__name__}: {error}"
    return ExchangeError(message(tag, problem, got=type(x).__qualname__, fix="copy it to the host first"))


@contextmanager
def record() -> Iterator[Log]:
    """Collect a receipt of every conversion made inside, on any thread.

    Yields:
        Log: iterable; prints as a table; `.bytes_copied`; `.html()` is the text of a page.
    """
    log = Log()
    _logs[id(log)] = log
    registry.watch(+1)
    try:
        yield log
    finally:
        registry.watch(-1)
        del _logs[id(log)]


class _Call:
    """One call of a verb on the readable path: its target, its request, and what is done with each leaf."""

    def __init__(
        self,
        target: Any,
        copy: bool | None,
        dtype: Any,
        device: Any,
        readonly: bool,
        detach: bool,
        via: str | None,
        *,
        tag: str | None = None,
    ) -> None:
        self.tag = tag or f"bridge.to({_spelled(target)})"
        self.target = registry.target(target, tag=self.tag)
        if copy not in (None, False, True):
            raise TypeError(message(self.tag, "copy is a question with three answers", want="None, False or True"))
        self.request = Request(
            copy=copy,
            dtype=None if dtype is None else dtype_name(dtype, tag=self.tag),
            device=_device_name(device),
            readonly=bool(readonly),
            detach=bool(detach),
            via=via,
        )
        self.plain = self.request == _PLAIN
        self.shortcuts = registry.row(self.target.name) if self.plain else {}
        self.visit: Callable[[Any], Any] = self.leaf

    def map(self, x: Any) -> Any:
        """`visit` applied to every array of a nest; an error says where in the nest it happened."""
        if not is_nest(type(x), _is_array):
            return self.visit(x)
        return mapped(x, self.visit, shortcuts=self.shortcuts, is_array=_is_array, tag=self.tag)

    # --------------------------------------------------------------------------------------------------------- leaves

    def leaf(self, x: Any) -> Any:
        """One array, converted."""
        for tries in reversed(range(_TRIES)):
            framework, source = self._source(x)
            route = self._choose(framework, source)
            if route.outcome == "refuse":
                raise route.error(self._text(route, source.facts))
            try:
                result = self._perform(framework, source, route)
                break
            except CopyRequired:  # another thread has taken or dropped a view since the route was chosen
                if framework.name != "bridge" or not tries:
                    raise
        if self.plain:
            registry.learn(self.target, framework, type(x))
        self._tell(Receipt, framework, source.facts, route)
        return result

    def plan(self, x: Any) -> Plan:
        """One array, only looked at."""
        framework, source = self._source(x)
        plan: Plan = plan_of(Plan, self.target, framework, source.facts, self._choose(framework, source))
        return plan

    def _source(self, x: Any) -> tuple[Framework, Source]:
        """The record of the framework that `x` is from, and `x` described."""
        kind = type(x)
        framework = registry.framework_of(kind)
        if framework is not None:
            return framework, self._described(framework, x)
        from bridge.plugins import _anything

        found = _anything.describe(x, dtype=self.request.dtype, tag=self.tag)
        if found is not None:
            return found
        raise BridgeError(
            message(
                self.tag,
                f"a {kind.__module__}.{kind.__qualname__} is no array",
                want="an array of a known framework, an exporter of DLPack or of the buffer protocol, or a number",
                fix=_anything.fix_for(x),
            )
        )

    def _described(self, framework: Framework, x: Any) -> Source:
        try:
            return registry.describe(framework, x)
        except (BridgeError, MemoryError):
            raise
        except Exception as error:
            problem = f"{framework.name} cannot describe the array: {type(error).__name__}: {error}"
            raise BridgeError(message(self.tag, problem)) from error

    def _choose(self, framework: Framework, source: Source) -> Route:
        try:
            return choose(self.target, framework, source.facts, self.request)
        except ImportError as error:
            raise self._not_installed(error) from error

    def _perform(self, framework: Framework, source: Source, route: Route) -> Any:
        """Do what the route says. Copies are made into fresh memory, which is then shared like any other."""
        if route.outcome == "copy" and not self._copies_itself(framework, source.facts, route):
            fresh = self._fresh(framework, source, route)
            return self._perform(*self._settled(fresh, route))
        try:
            return registry.export(self.target, source, route)
        except (BridgeError, MemoryError):
            raise
        except ImportError as error:
            raise self._not_installed(error) from error
        except Exception as error:
            problem = f"{self.target.name} refused the memory: {type(error).__name__}: {error}"
            raise BridgeError(self._text(dataclasses.replace(route, reason=problem), source.facts)) from error

    def _copies_itself(self, framework: Framework, facts: Facts, route: Route) -> bool:
        """Whether the target's plugin makes the copy: always, from its own arrays, or on a door that only copies."""
        if route.dtype != facts.dtype and not {route.dtype, facts.dtype} <= DTYPES:
            return self.target.copies  # frameworks round to float8 each in its own way: the engine, as ml_dtypes
        if self.target.copies or route.door == SAME:
            return True
        if route.dtype != facts.dtype or facts.unlike is not None:
            return False
        return any(
            door.name == route.door and not door.shares and fits(offer.strides, facts.shape, facts.strides)
            for door, offer in doors_between(framework, self.target)
        )

    def _fresh(self, framework: Framework, source: Source, route: Route) -> Source:
        """Memory that nobody else has, with the values in the dtype that was asked for."""
        if route.dtype != source.facts.dtype:
            engine = registry.frameworks["bridge"]
            converting = choose(engine, framework, source.facts, Request(dtype=route.dtype, detach=True))
            return registry.describe(engine, registry.export(engine, source, converting))
        leaves = source.facts.device not in ("cpu", route.device)  # for the host, by way of which NumPy copies it
        made = None if leaves else source.fresh()
        if made is not None:
            return made
        from bridge.plugins import numpy

        return numpy.fresh(source.ndarray())

    def _settled(self, fresh: Source, route: Route) -> tuple[Framework, Source, Route]:
        """The way from fresh memory into the target: shared, by the same door if it is open from there.

        A target that shares on no door copies once more.
        """
        framework = registry.frameworks[fresh.facts.framework]
        plain = Request(readonly=self.request.readonly)
        for request in (plain._replace(via=self.request.via), plain):
            again = choose(self.target, framework, fresh.facts, request)
            if again.outcome == "share":
                return framework, fresh, dataclasses.replace(again, device=route.device)
        if again.rule == "door":
            return framework, fresh, again
        raise PluginError(
            message(
                self.tag,
                f"{self.target.name} refuses fresh memory from {framework.name}: {again.reason}",
                fix="report it to the authors of the plugin",
            )
        )

    # -------------------------------------------------------------------------------------------------------- telling

    def _tell(self, kind: type[Receipt], framework: Framework, facts: Facts, route: Route) -> None:
        if not registry.watched:
            return
        receipt = plan_of(kind, self.target, framework, facts, route)
        for log in tuple(_logs.values()):
            log.append(receipt)
        registry.converted(receipt)

    def _text(self, route: Route, facts: Facts) -> str:
        keywords = [f"{name}={value!r}" for name, value in self.request._asdict().items() if value not in (None, False)]
        if self.request.copy is False:
            keywords.insert(0, "copy=False")
        known = facts.refusal is None or facts.shape
        shape = f"[{', '.join(map(str, facts.shape))}]" if known else ""
        array = f"{facts.dtype}{shape}" if facts.dtype else facts.framework
        strides = f" strides {facts.strides}" if facts.strides else ""
        got = ", ".join([f"{array}{strides}", *keywords])
        return message(self.tag, route.reason, got=got, want=route.want, fix=route.fix)

    def _not_installed(self, error: ImportError) -> UnknownTarget:
        problem = f"{self.target.name} cannot be imported: {error}"
        return UnknownTarget(message(self.tag, problem, fix=self.target.install))


def plan_of(kind: type[Plan], target: Framework, framework: Framework, facts: Facts, route: Route) -> Any:
    """The plan, or the receipt, of a route that was chosen for an array of `framework` with these facts."""
    return kind(
        source=framework.name,
        target=target.name,
        dtype=facts.dtype,
        shape=facts.shape,
        nbytes=facts.nbytes,
        outcome=_OUTCOMES[route.outcome],
        route=route.door,
        rule=route.rule,
        why=route.reason,
        converted=route.dtype if route.dtype not in ("", facts.dtype) else None,
        fix=route.fix,
        note=target.dtype_note.get(route.dtype),
    )


_PLAIN = Request()
_TRIES = 20  # each fails only if another thread changes the state of the array between two steps of this one
_OUTCOMES: Mapping[str, Any] = {"share": "shared", "copy": "copied", "refuse": "refused"}


def _is_array(kind: type) -> bool:
    """Whether some framework, or DLPack, knows values of this type as arrays. What else they are does not matter."""
    return registry.framework_of(kind) is not None or hasattr(kind, "__dlpack__")


def _device_name(device: Any) -> str | None:
    """ "cpu" for every way to say so (a string, torch.device("cpu"), jax's and TensorFlow's names, bridge.cpu)."""
    if device is None:
        return None
    name = str(device).lower()
    return (
        "cpu"
        if name in ("cpu", "cpu:0", "devicetype.cpu") or name.endswith("device:cpu:0") or name.startswith("device(cpu")
        else name
    )


def _spelled(target: Any) -> str:
    if isinstance(target, str):
        return repr(target)
    return getattr(target, "__name__", None) or repr(target)
