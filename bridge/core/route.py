"""Share, copy or refuse: the decision, made from facts alone.

`choose` sees the target's record, the source's record and facts, and the keywords of the call. It imports no framework,
touches no memory and has no state, so every rule is tested as a row of a table (`tests/exchange/test_route.py`). Each
answer carries the id of the rule that decided and a sentence for people; `bridge.explain` shows the same answer that
`bridge.to` acts on.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple

from bridge.core.errors import BridgeError, CopyRequired, DTypeError, human_bytes
from bridge.core.framework import EXACT, Access, Door, Facts, Framework, Offer, StridesRule, doors_between

__all__ = ["SAME", "Request", "Route", "choose", "fits", "is_overlapping"]

#: The door of an array that is of the target's framework already.
SAME = "same"

Outcome = Literal["share", "copy", "refuse"]


class Request(NamedTuple):
    """The keywords of `bridge.to`, with dtype and device already turned into names."""

    copy: bool | None = None
    dtype: str | None = None
    device: str | None = None
    readonly: bool = False
    detach: bool = False
    via: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The answer. `rule` names what decided; `reason` says it as a sentence without its full stop."""

    outcome: Outcome
    rule: str
    reason: str
    door: str | None = None
    access: Access = "write"  # what the new array may do with the bytes
    dtype: str = ""  # of the new array
    device: str = "cpu"  # of the new array
    readonly: bool = False  # the user promised that nobody writes
    detach: bool = False
    error: type[BridgeError] = BridgeError  # with outcome "refuse"
    want: str | None = None
    fix: str | None = None


class Obstacle(NamedTuple):
    """Why one door cannot share."""

    rule: str
    reason: str
    want: str | None = None
    fix: str | None = None


def choose(
    target: Framework, source: Framework, facts: Facts, request: Request, *, dtypes: frozenset[str] | None = None
) -> Route:
    """The way for the array that `facts` describe into `target`.

    Args:
        source: the record of the framework that the array is from.
        dtypes: what the target knows at this moment; None asks its record.
    """
    if target.name == source.name and not any(request):  # nothing is asked: it is handed back whatever it holds
        return Route(
            outcome="share", rule="same", reason=_already(target), door=SAME, access=facts.access, dtype=facts.dtype
        )
    if facts.refusal is not None:
        return _refuse("no-memory", facts.refusal.problem, error=facts.refusal.error, fix=facts.refusal.fix)
    if facts.gradient and not request.detach and source.name != target.name:
        return _refuse(
            "gradient",
            "the array requires grad, and no gradient flows back through a conversion",
            fix="detach=True to hand over the values alone",
        )
    wanted = request.dtype or facts.dtype
    known = target.known_dtypes() if dtypes is None else dtypes
    if wanted not in known:
        return _refuse_dtype(target, wanted, known)
    if facts.dtype.startswith("complex") and not wanted.startswith("complex"):
        return _refuse(
            "complex",
            f"dtype={wanted!r} would drop the imaginary parts of {facts.dtype}",
            error=DTypeError,
            fix="x.real first, or a complex dtype",
        )
    if target.extent is not None and max(facts.shape, default=0) > target.extent:
        return _refuse_extent(target, facts)
    misplaced = _refuse_device(target, facts, request)
    if misplaced is not None:
        return misplaced
    doors = _doors(target, source, request.via)
    if not doors and (request.via is not None or not target.takes):
        return _refuse_via(target, source, request.via)
    if not doors:
        return _detour(target, source, facts, request, wanted)
    carriers = [pair for pair in doors if _carries(*pair, facts, wanted)]
    if not carriers:
        return _refuse(
            "dtype-door",
            f"{doors[0][0].name!r} cannot carry {wanted} from {source.name} to {target.name}",
            error=DTypeError,
            fix=_other_doors(target, source, facts, wanted),
        )

    access = _access(target, facts, request)
    obstacle = _demand(facts, request, wanted)
    if obstacle is None:
        for door, offer in carriers:
            found = _obstacle(door, offer, target, source, facts, request, access)
            if found is None:
                rule, reason = _shared(door, target, source, facts, request, access)
                return Route(
                    outcome="share",
                    rule=rule,
                    reason=reason,
                    door=door.name,
                    access=access,
                    dtype=wanted,
                    device=facts.device,
                    readonly=request.readonly,
                    detach=request.detach,
                )
            obstacle = obstacle or found  # of the preferred door
        assert obstacle is not None
    if request.copy is False:
        return _refuse_copy(facts, obstacle)
    return _copy(target, carriers[0][0], facts, request, wanted, obstacle)


def _copy(target: Framework, door: Door, facts: Facts, request: Request, wanted: str, obstacle: Obstacle) -> Route:
    return Route(
        outcome="copy",
        rule=obstacle.rule,
        reason=obstacle.reason,
        door=door.name,
        access="read" if request.readonly or not target.mutable else "write",
        dtype=wanted,
        device=request.device or ("cpu" if not target.devices else facts.device),
        readonly=request.readonly,
        detach=request.detach,
        want=obstacle.want,
    )


_SAME = ((Door(name=SAME, protocol=SAME, host_only=False), Offer(protocol=SAME)),)


def _doors(target: Framework, source: Framework, via: str | None) -> tuple[tuple[Door, Offer], ...]:
    if via is None and target.name == source.name:
        return _SAME
    doors = _ready(source, target)
    return doors if via is None else tuple(pair for pair in doors if pair[0].name == via)


def _ready(source: Framework, target: Framework) -> tuple[tuple[Door, Offer], ...]:
    """The doors that lead from one to the other and work on this machine."""
    return tuple(pair for pair in doors_between(source, target) if pair[0].ready is None or pair[0].ready())


def _carries(door: Door, offer: Offer, facts: Facts, wanted: str) -> bool:
    """Whether the protocol has a code for the dtype on both sides. A conversion starts from memory of `wanted`."""
    if door.dtypes is not None and wanted not in door.dtypes:
        return False
    return offer.dtypes is None or wanted in offer.dtypes or wanted != facts.dtype


def _access(target: Framework, facts: Facts, request: Request) -> Access:
    """What the new array may do, if the bytes can be shared at all."""
    promised = request.readonly and target.name != facts.framework
    if not target.mutable or facts.access == "read" or promised or is_overlapping(facts.shape, facts.strides):
        return "read"
    return "read" if request.readonly and target.readonly else "write"


def _demand(facts: Facts, request: Request, wanted: str) -> Obstacle | None:
    """What in the call itself asks for new memory."""
    if request.copy is True:
        return Obstacle("asked", "copy=True asked for memory of its own")
    if wanted != facts.dtype:
        return Obstacle("convert", f"dtype={wanted!r} asked for a conversion from {facts.dtype}")
    if request.device is not None and request.device != facts.device:
        return Obstacle("device", f"device={request.device!r} asked to leave {facts.device}")
    return None


def _obstacle(
    door: Door, offer: Offer, target: Framework, source: Framework, facts: Facts, request: Request, access: Access
) -> Obstacle | None:
    """The first reason why this door cannot share these bytes; None: it can."""
    if door.name == SAME:
        return None
    if facts.unlike is not None:
        return Obstacle("unlike", facts.unlike)
    if door.host_only and facts.device != "cpu":
        return Obstacle("device", f"{door.name!r} only reads host memory, and the array lives on {facts.device}")
    rule = door.strides or target.strides
    if not fits(rule, facts.shape, facts.strides):
        return Obstacle("strides", _strides_reason(rule, target.name, facts), want=_STRIDES_WANTED[rule])
    if not fits(offer.strides, facts.shape, facts.strides):
        problem = f"strides {facts.strides} do not go through {door.name!r} of {source.name}"
        return Obstacle("strides", problem, want=_STRIDES_WANTED[offer.strides], fix="via=None")
    offset = _misalignment(target, facts)
    if offset:
        boundary = target.alignment or _element_alignment(facts)
        past = "1 byte" if offset == 1 else f"{offset} bytes"
        return Obstacle(
            "alignment",
            f"the memory begins {past} past a {boundary}-byte boundary and {target.name} needs it aligned",
            want=f"{boundary}-byte alignment",
        )
    if not door.shares:
        return Obstacle("door", f"{target.name} always copies on {door.name!r}", fix="another door, or none: via=None")
    if access == "read" and target.mutable and not target.readonly and not request.readonly:
        why = facts.why_read if facts.access == "read" else "its elements overlap"
        return Obstacle(
            "read-only",
            f"the source is read-only ({why}) and {target.name} has no read-only arrays",
            fix="readonly=True to share, as a promise not to write",
        )
    if access == "read" and facts.frozen is not None:
        return Obstacle("frozen", facts.frozen, fix="drop the live view first; bridge.leases(x) names it")
    return None


def _already(target: Framework) -> str:
    return f"it is an array of {target.name} already"


def _shared(
    door: Door, target: Framework, source: Framework, facts: Facts, request: Request, access: Access
) -> tuple[str, str]:
    """Rule and sentence of a shared route: who may write afterwards."""
    if door.name == SAME:
        return "same", _already(target)
    if request.readonly and target.leases:
        return "promised", "readonly=True promises that nobody writes"
    if access == "write" and not target.leases:
        return "shared", "both sides can write"
    if access == "read" and facts.access == "write" and source.leases:
        return "frozen-share", f"{source.name} will not write while it is shared"
    if facts.access == "write" and not is_overlapping(facts.shape, facts.strides):
        return "source-writable", "source stays writable"
    why = facts.why_read or "its elements overlap"
    if request.readonly and target.mutable and not target.readonly:
        return "promised", f"readonly=True promises not to write ({why})"
    return "shared-read", f"read-only on this side ({why})" if target.mutable else why


def _detour(target: Framework, source: Framework, facts: Facts, request: Request, wanted: str) -> Route:
    """No protocol is spoken on both sides: a copy that NumPy makes finds a door of its own."""
    obstacle = Obstacle("no-door", f"{source.name} and {target.name} share no protocol")
    if request.copy is False:
        return _refuse_copy(facts, obstacle)
    return _copy(target, target.takes[0], facts, request, wanted, obstacle)


# ---------------------------------------------------------------------------------------------------------- refusals


def _refuse(
    rule: str,
    reason: str,
    *,
    error: type[BridgeError] = BridgeError,
    want: str | None = None,
    fix: str | None = None,
) -> Route:
    return Route(outcome="refuse", rule=rule, reason=reason, error=error, want=want, fix=fix)


def _refuse_copy(facts: Facts, obstacle: Obstacle) -> Route:
    fix = f"copy=None to allow one copy ({human_bytes(facts.nbytes)})"
    return _refuse(
        obstacle.rule,
        f"the bytes cannot be shared: {obstacle.reason}",
        error=CopyRequired,
        want=obstacle.want,
        fix=f"{fix}; or {obstacle.fix}" if obstacle.fix else fix,
    )


def _refuse_dtype(target: Framework, wanted: str, known: frozenset[str]) -> Route:
    return _refuse(
        "dtype",
        f"{target.name} has no {wanted}",
        error=DTypeError,
        want=", ".join(sorted(known)),
        fix=target.dtype_fix.get(wanted) or _nearest(wanted, known),
    )


def _nearest(wanted: str, known: frozenset[str]) -> str:
    """How to go on without a dtype: by the smallest one that has all its values, if there is one."""
    exact = EXACT.get(wanted)
    if exact in known:
        return f"dtype={exact!r}, which has every value of {wanted}"
    return "dtype=... to convert, which may lose precision"


def _refuse_extent(target: Framework, facts: Facts) -> Route:
    axis = facts.shape.index(max(facts.shape))
    return _refuse(
        "extent",
        f"axis {axis} has {facts.shape[axis]} elements, more than {target.name} can count",
        want=f"at most {target.extent} along each axis",
        fix="reshape x to more axes, or hand it over in parts",
    )


def _refuse_device(target: Framework, facts: Facts, request: Request) -> Route | None:
    """Refuse what would need memory of a device that the target cannot hold; None: nothing of the kind."""
    if target.devices:
        return None
    if request.device not in (None, "cpu"):
        return _refuse("device", f"{target.name} only knows host memory", fix="leave device= out")
    if request.device is None and facts.device != "cpu":
        return _refuse(
            "device",
            f"the array lives on {facts.device} and {target.name} only knows host memory",
            fix='device="cpu" to copy it to the host',
        )
    return None


def _refuse_via(target: Framework, source: Framework, via: str | None) -> Route:
    if via is None:
        return _refuse("no-door", f"no protocol leads from {source.name} to {target.name}")
    doors = ", ".join(repr(door.name) for door, _ in _ready(source, target))
    shut = any(door.name == via for door, _ in doors_between(source, target))
    problem = f"the door {via!r} of {target.name} does not work with the versions that are installed"
    return _refuse(
        "via",
        problem if shut else f"{target.name} has no door {via!r} from {source.name}",
        want=f"one of {doors}" if doors else None,
        fix="leave via= out: the cheapest exact door is taken",
    )


def _other_doors(target: Framework, source: Framework, facts: Facts, wanted: str) -> str:
    others = [door.name for door, offer in _ready(source, target) if _carries(door, offer, facts, wanted)]
    return f"via={others[0]!r}, or leave via= out" if others else "dtype=... to convert, which may lose precision"


# ------------------------------------------------------------------------------------------------------------- layout

_STRIDES_WANTED: dict[StridesRule, str] = {
    "any": "distances of whole elements",
    "non-negative": "non-negative strides",
    "permutation": "a compact block, its axes in any order",
    "row-major": "row-major (C) order without gaps",
}


def fits(rule: StridesRule, shape: tuple[int, ...], strides: tuple[int, ...] | None) -> bool:
    """Whether a layout obeys a rule. Strides of axes with one element do not matter, nor any of an empty array."""
    if strides is None:
        return False
    if rule == "any" or prod(shape) == 0:
        return True
    axes = [(extent, stride) for extent, stride in zip(shape, strides, strict=True) if extent != 1]
    if rule == "non-negative":
        return all(stride >= 0 for _, stride in axes)
    if rule == "permutation":
        axes.sort(key=lambda axis: -axis[1])
    expected = 1
    for extent, stride in reversed(axes):
        if stride != expected:
            return False
        expected *= extent
    return True


def is_overlapping(shape: tuple[int, ...], strides: tuple[int, ...] | None) -> bool:
    """Whether two elements may have one address: a write to one would show in the other.

    Exact for what slicing, transposing and broadcasting make. Windows that interleave without touching (only
    `as_strided` makes them) count as overlapping, which costs a copy and never a wrong value.
    """
    if strides is None or prod(shape) == 0:
        return False
    reach = 0  # the largest distance between two elements along the axes seen so far
    for stride, extent in sorted((abs(stride), extent) for extent, stride in zip(shape, strides, strict=True)):
        if extent == 1:
            continue
        if stride <= reach:
            return True
        reach += stride * (extent - 1)
    return False


def _strides_reason(rule: StridesRule, target: str, facts: Facts) -> str:
    if facts.strides is None:
        return "the distance between its elements is not a whole number of elements"
    if rule == "non-negative":
        axis = next(
            axis
            for axis, (extent, stride) in enumerate(zip(facts.shape, facts.strides, strict=True))
            if stride < 0 and extent != 1
        )
        return f"axis {axis} runs backwards and {target} has no negative strides"
    if rule == "permutation":
        return f"strides {facts.strides} leave gaps, repeat or run backwards, and {target} only takes compact blocks"
    return f"strides {facts.strides} are not row-major and {target} has no strides"


def _element_alignment(facts: Facts) -> int:
    """What C asks of the address of one element: its size, or half of it for a complex number."""
    return max(1, facts.itemsize // 2 if facts.dtype.startswith("complex") else facts.itemsize)


def _misalignment(target: Framework, facts: Facts) -> int:
    """Bytes past the boundary that the target needs; 0 where it does not matter."""
    if facts.nbytes == 0:
        return 0
    return facts.address % (target.alignment or _element_alignment(facts))
