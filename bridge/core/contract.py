"""What a plugin may not say: records and descriptions that cannot be true, in words that its author can act on.

Pure checks, as `route` is a pure decision. The registry asks them of every third-party plugin, so that a lie becomes
one error that names the plugin; `bridge.testing` asks them of all.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from bridge.core.framework import ITEMSIZE, Door, Facts, Framework, Offer, Refusal, Source
from bridge.core.route import SAME, Route

__all__ = ["problem_of_export", "problem_of_facts", "problem_of_record", "problem_of_source"]

#: What belongs to everybody: a framework that claims one of these would take over nests, numbers or all objects.
_COMMON_TYPES = frozenset(
    f"builtins.{name}" for name in ("object", "dict", "list", "tuple", "bool", "int", "float", "complex", "str")
)
_STRIDES_RULES = ("any", "non-negative", "permutation", "row-major")
_ADDRESSES = 2**64


def problem_of_record(framework: object) -> str | None:
    """Why a record cannot be used; None: it can."""
    if not isinstance(framework, Framework):
        return f"bridge_frameworks() returned {type(framework).__name__}, not a Framework"
    if not (isinstance(framework.name, str) and framework.name.isidentifier()):
        return f"name={framework.name!r} is no name that a user could write"
    if not (isinstance(framework.module, str) and framework.module):
        return f"module={framework.module!r} is nothing that could be imported"
    for field, item in (("types", str), ("takes", Door), ("gives", Offer)):
        found = getattr(framework, field)
        if not isinstance(found, tuple) or not all(isinstance(each, item) for each in found):
            return f"{field}={found!r} is no tuple of {item.__name__}"
    for name in framework.types:
        if "." not in name or name in _COMMON_TYPES:
            return f"types: {name!r} is no dotted name of an array type"
    if not callable(framework.dtypes) and not isinstance(framework.dtypes, frozenset):
        return "dtypes is neither a frozenset of names nor a function that returns one"
    doors, offers = [door.strides for door in framework.takes], [offer.strides for offer in framework.gives]
    for rule in (framework.strides, *doors, *offers):
        if rule is not None and rule not in _STRIDES_RULES:
            return f"strides={rule!r} is no rule: {', '.join(_STRIDES_RULES)}"
    alignment = framework.alignment
    if alignment is not None and (not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1)):
        return f"alignment={alignment!r} is no power of two"
    return None


def problem_of_facts(framework: Framework, facts: object) -> str | None:
    """Why a description of an array of `framework` cannot be true; None: it can."""
    if not isinstance(facts, Facts):
        return f"its facts are {type(facts).__name__}, not Facts"
    if facts.framework != framework.name:
        return f"its facts name the framework {facts.framework!r}"
    if facts.refusal is not None:
        return None if isinstance(facts.refusal, Refusal) else f"refusal={facts.refusal!r} is no Refusal"
    if facts.dtype not in ITEMSIZE:
        return f"dtype={facts.dtype!r} is no dtype of this exchange; describe the array with a Refusal instead"
    return _problem_of_layout(facts) or _problem_of_place(framework, facts)


def _problem_of_layout(facts: Facts) -> str | None:
    shape, strides = facts.shape, facts.strides
    if not isinstance(shape, tuple):
        return f"shape={shape!r} is no tuple"
    if any(not isinstance(extent, int) or extent < 0 for extent in shape):
        return f"shape={shape!r} does not consist of non-negative integers"
    if strides is None:
        return None
    if not isinstance(strides, tuple) or any(not isinstance(stride, int) for stride in strides):
        return f"strides={strides!r} is no tuple of integers (in elements)"
    if len(strides) != len(shape):
        return f"strides={strides!r} do not fit shape={shape!r}: one for every axis"
    return None


def _problem_of_place(framework: Framework, facts: Facts) -> str | None:
    address = facts.address
    if not isinstance(address, int) or not 0 <= address < _ADDRESSES:
        return f"address={address!r} is no address"
    if facts.access not in ("write", "read"):
        return f"access={facts.access!r} is neither 'write' nor 'read'"
    if facts.access == "write" and not framework.mutable:
        return "access='write', and the record says mutable=False"
    if facts.device != "cpu" or prod(facts.shape) == 0 or facts.unlike is not None:
        return None  # nobody will read there
    if address == 0:
        return f"address=0, and there are {prod(facts.shape)} elements"
    if facts.strides is None:
        return None
    reach = [(extent - 1) * stride * facts.itemsize for extent, stride in zip(facts.shape, facts.strides, strict=True)]
    first = address + sum(step for step in reach if step < 0)
    last = address + sum(step for step in reach if step > 0) + facts.itemsize
    if first < 0 or last > _ADDRESSES:
        return f"strides={facts.strides!r} lead out of memory from address {address:#x} (strides are in elements)"
    return None


def problem_of_export(framework: Framework, route: Route, source: Facts, made: Facts) -> str | None:
    """Why what `framework` made, described by `made`, is not what `route` asks of memory like `source`; None: it is."""
    if made.refusal is not None or made.unlike is not None:
        return None
    if made.dtype != route.dtype:
        return f"what it made is described as {made.dtype}, and {route.dtype} was asked for"
    if made.shape != source.shape:
        return f"what it made is described with shape={made.shape}, and the source has {source.shape}"
    if prod(made.shape) == 0 or made.device != source.device:
        return None
    if route.outcome == "share":
        if made.address != source.address:
            return "it copied where it was to share" + _addresses(made, source)
        if not _same_steps(made, source):
            found, wanted = made.strides, source.strides
            return f"what it made is described with strides={found}, and the source has {wanted} (in elements)"
        if made.access == "write" and route.access == "read" and framework.readonly:
            return "what it made is described as writable, and it is over memory that is only to be read"
    elif made.address == source.address and _makes_copies(framework, route):
        return "it shared where it was to copy" + _addresses(made, source)
    return None


def _makes_copies(framework: Framework, route: Route) -> bool:
    """Whether the plugin makes the copy itself: else it is handed fresh memory, to share."""
    copying = {door.name for door in framework.takes if not door.shares}
    return framework.copies or route.door == SAME or route.door in copying


def problem_of_source(framework: Framework, source: Source) -> str | None:
    """Which of the ways that the record offers does not lead to the bytes of an array; None: all do."""
    offered = {offer.protocol for offer in framework.gives}
    for protocol, way, fits in _WAYS:
        if protocol not in offered:
            continue
        try:
            found = getattr(source, way)(access=source.facts.access)
        except Exception as error:
            return f"Source.{way} raised {type(error).__name__}: {error}"
        if not fits(found):
            return f"Source.{way} returned {type(found).__name__}"
    return None


def _is_capsule(found: object) -> bool:
    return type(found).__name__ == "PyCapsule"


def _is_buffer(found: object) -> bool:
    try:
        memoryview(found).release()  # type: ignore[arg-type]  # this is the question
    except TypeError:
        return False
    return True


_WAYS: tuple[tuple[str, str, Callable[[object], bool]], ...] = (
    ("dlpack", "capsule", _is_capsule),
    ("buffer", "buffer", _is_buffer),
    ("address", "owner", lambda found: found is not None),
)


def _same_steps(a: Facts, b: Facts) -> bool:
    if a.strides is None or b.strides is None:
        return a.strides == b.strides
    return all(x == y for x, y, extent in zip(a.strides, b.strides, a.shape, strict=True) if extent != 1)


def _addresses(made: Facts, source: Facts) -> str:
    return f": the source lies at {source.address:#x}, what it made at {made.address:#x}"
