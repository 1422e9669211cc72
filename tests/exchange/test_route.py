"""The decision between sharing, copying and refusing, as a table: no framework, no memory, no bridge array."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from bridge.core.errors import BridgeError, CopyRequired, DTypeError
from bridge.core.framework import DTYPES, Door, Facts, Framework, Offer, Refusal
from bridge.core.route import Request, Route, choose, fits, is_overlapping

DLPACK = Door(name="dlpack", protocol="dlpack")
GIVES = (Offer(protocol="dlpack"), Offer(protocol="buffer", dtypes=DTYPES - {"bfloat16"}))


def record(name: str, **facts: Any) -> Framework:
    defaults: dict[str, Any] = {"module": name, "install": "", "types": (), "takes": (DLPACK,), "gives": GIVES}
    return Framework(name=name, **(defaults | facts))


RECORDS = {
    framework.name: framework
    for framework in (
        record("everything", readonly=True, alignment=1),
        record("mutable", strides="non-negative", alignment=1),
        record(
            "immutable", mutable=False, readonly=True, strides="permutation", alignment=64, dtypes=DTYPES - {"int64"}
        ),
        record("dense", mutable=False, readonly=True, strides="row-major", alignment=64),
        record("elements", readonly=True),
        record("placed", devices=True, takes=(Door(name="dlpack", protocol="dlpack", host_only=False),)),
        record("copying", takes=(Door(name="buffer", protocol="buffer", shares=False), DLPACK)),
        record("buffers", takes=(Door(name="buffer", protocol="buffer", dtypes=DTYPES - {"bfloat16"}),)),
        record("closed", takes=()),
        record("foreign", takes=(Door(name="whisper", protocol="whisper"),)),
        record("private", takes=(Door(name="fast", protocol="dlpack", sources=frozenset({"elsewhere"})), DLPACK)),
        record("leasing", leases=True, readonly=True),
        record("short", extent=5),
    )
}
SOURCE = record("source")
DENSE = Facts(framework="source", dtype="float32", shape=(4, 6), strides=(6, 1), address=4096)


def decide(target: str, facts: dict[str, Any], request: dict[str, Any], source: Framework = SOURCE) -> Route:
    described = Facts(**{name: getattr(DENSE, name) for name in DENSE.__slots__} | {"framework": source.name} | facts)
    return choose(RECORDS[target], source, described, Request(**request))


REVERSED = {"strides": (-6, 1)}
TRANSPOSED = {"shape": (6, 4), "strides": (1, 6)}
STRIDED = {"strides": (12, 2)}
BROADCAST = {"strides": (0, 1)}
ODD = {"address": 4100}
READ = {"access": "read", "why_read": "it is a test"}
OPEN = {"frozen": "a writable view is alive: numpy"}
ELSEWHERE = {"device": "cuda:0"}
ROWS = [
    # target, facts, request -> outcome, rule, words of the reason
    ("everything", {}, {}, "share", "shared", "both sides can write"),
    ("everything", REVERSED, {}, "share", "shared", "both sides"),
    ("everything", ODD, {}, "share", "shared", "both sides"),
    ("everything", READ, {}, "share", "shared-read", "it is a test"),
    ("everything", BROADCAST, {}, "share", "shared-read", "overlap"),
    ("everything", {}, {"readonly": True}, "share", "source-writable", "stays writable"),
    ("everything", {"strides": None}, {}, "copy", "strides", "whole number"),
    # a target without negative strides and without read-only arrays
    ("mutable", REVERSED, {}, "copy", "strides", "axis 0 runs backwards"),
    ("mutable", {"strides": (6, -1)}, {}, "copy", "strides", "axis 1 runs backwards"),
    ("mutable", TRANSPOSED, {}, "share", "shared", "both"),
    ("mutable", STRIDED, {}, "share", "shared", "both"),
    ("mutable", READ, {}, "copy", "read-only", "it is a test"),
    ("mutable", READ, {"readonly": True}, "share", "promised", "promises not to write"),
    ("mutable", BROADCAST, {}, "copy", "read-only", "overlap"),
    ("mutable", BROADCAST, {"readonly": True}, "share", "promised", "overlap"),
    ("mutable", {}, {"readonly": True}, "share", "source-writable", "stays writable"),
    ("mutable", {"shape": (0, 6), "strides": (-6, 1)}, {}, "share", "shared", "both"),
    ("mutable", {"shape": (1, 6), "strides": (-6, 1)}, {}, "share", "shared", "both"),
    # an immutable target of compact blocks
    ("immutable", {}, {}, "share", "source-writable", "source stays writable"),
    ("immutable", READ, {}, "share", "shared-read", "it is a test"),
    ("immutable", TRANSPOSED, {}, "share", "source-writable", "stays writable"),
    ("immutable", STRIDED, {}, "copy", "strides", "compact"),
    ("immutable", BROADCAST, {}, "copy", "strides", "compact"),
    ("immutable", REVERSED, {}, "copy", "strides", "compact"),
    ("immutable", ODD, {}, "copy", "alignment", "4 bytes past a 64-byte boundary"),
    ("immutable", ODD | {"shape": (0, 6)}, {}, "share", "source-writable", "stays writable"),
    ("immutable", OPEN, {}, "copy", "frozen", "a writable view is alive"),
    ("immutable", {"dtype": "int64"}, {}, "refuse", "dtype", "immutable has no int64"),
    ("immutable", {"dtype": "int64"}, {"dtype": "int32"}, "copy", "convert", "int32"),
    ("immutable", {}, {"dtype": "int64"}, "refuse", "dtype", "no int64"),
    ("dense", {}, {}, "share", "source-writable", "stays writable"),
    ("dense", TRANSPOSED, {}, "copy", "strides", "row-major"),
    ("dense", {"shape": (1, 4, 1, 6), "strides": (5, 6, 7, 1)}, {}, "share", "source-writable", "stays writable"),
    # alignment of one element
    ("elements", ODD, {}, "share", "shared", "both"),
    ("elements", {"address": 4097}, {}, "copy", "alignment", "1 byte past a 4-byte boundary"),
    ("elements", {"address": 4104, "dtype": "complex128"}, {}, "share", "shared", "both"),
    ("elements", {"address": 4100, "dtype": "complex128"}, {}, "copy", "alignment", "4 bytes past a 8-byte"),
    ("elements", {"address": 4097, "dtype": "uint8"}, {}, "share", "shared", "both"),
    # open storage: a consumer that may write joins the writers, one that counts on fixed bytes does not
    ("everything", OPEN, {}, "share", "shared", "both"),
    ("everything", OPEN, {"readonly": True}, "copy", "frozen", "writable view"),
    ("everything", OPEN | READ, {}, "copy", "frozen", "writable view"),
    ("leasing", {}, {}, "share", "source-writable", "stays writable"),
    ("leasing", READ, {}, "share", "shared-read", "it is a test"),
    ("leasing", {}, {"readonly": True}, "share", "promised", "nobody writes"),
    # what the call asks for
    ("everything", {}, {"copy": True}, "copy", "asked", "copy=True"),
    ("everything", {}, {"dtype": "float32"}, "share", "shared", "both"),
    ("everything", {}, {"dtype": "float16"}, "copy", "convert", "float16"),
    ("everything", {"dtype": "complex64"}, {"dtype": "float32"}, "refuse", "complex", "imaginary"),
    ("everything", {"dtype": "complex64"}, {"dtype": "complex128"}, "copy", "convert", "complex128"),
    # more elements along an axis than the target can count
    ("short", {}, {}, "refuse", "extent", "axis 1 has 6 elements, more than short can count"),
    ("short", {}, {"copy": True}, "refuse", "extent", "axis 1 has 6"),
    ("short", {"shape": (4, 5)}, {}, "share", "shared", "both"),
    ("short", {"shape": (), "strides": ()}, {}, "share", "shared", "both"),
    # bytes that are not the values, or no bytes at all
    ("everything", {"unlike": "it is a conjugate view"}, {}, "copy", "unlike", "conjugate"),
    ("everything", {"refusal": Refusal(problem="it is sparse")}, {}, "refuse", "no-memory", "sparse"),
    ("everything", {"gradient": True}, {}, "refuse", "gradient", "requires grad"),
    ("everything", {"gradient": True}, {"detach": True}, "share", "shared", "both"),
    # devices
    ("everything", ELSEWHERE, {}, "refuse", "device", "cuda:0"),
    ("everything", ELSEWHERE, {"device": "cpu"}, "copy", "device", "leave cuda:0"),
    ("everything", {}, {"device": "cpu"}, "share", "shared", "both"),
    ("everything", {}, {"device": "cuda:0"}, "refuse", "device", "host memory"),
    ("placed", ELSEWHERE, {}, "share", "shared", "both"),
    ("placed", ELSEWHERE, {"device": "cpu"}, "copy", "device", "leave cuda:0"),
    ("placed", {}, {"device": "cuda:0"}, "copy", "device", "leave cpu"),
    # doors
    ("everything", {}, {"via": "dlpack"}, "share", "shared", "both"),
    ("everything", {}, {"via": "telepathy"}, "refuse", "via", "no door 'telepathy'"),
    ("copying", {}, {}, "share", "shared", "both"),
    ("copying", {}, {"via": "buffer"}, "copy", "door", "always copies"),
    ("buffers", {}, {}, "share", "shared", "both"),
    ("buffers", {"dtype": "bfloat16"}, {}, "refuse", "dtype-door", "'buffer' cannot carry bfloat16"),
    ("buffers", {"dtype": "bfloat16"}, {"dtype": "float32"}, "copy", "convert", "float32"),
    ("buffers", {}, {"dtype": "bfloat16"}, "refuse", "dtype-door", "bfloat16"),
    ("closed", {}, {}, "refuse", "no-door", "no protocol leads"),
    ("foreign", {}, {}, "copy", "no-door", "share no protocol"),
    ("foreign", {}, {"via": "whisper"}, "refuse", "via", "no door 'whisper' from source"),
    ("private", {}, {"via": "fast"}, "refuse", "via", "no door 'fast' from source"),
    ("private", {}, {}, "share", "shared", "both"),
]


@pytest.mark.parametrize(("target", "facts", "request_", "outcome", "rule", "words"), ROWS)
def test_rule(target: str, facts: dict, request_: dict, outcome: str, rule: str, words: str):
    """Each row is one promise: the outcome, the rule that decided, and that the sentence says it."""
    route = decide(target, facts, request_)
    assert (route.outcome, route.rule) == (outcome, rule)
    assert words in route.reason


COPIED = [row[:3] for row in ROWS if row[3] == "copy" and row[2].get("copy") is None]


@pytest.mark.parametrize(("target", "facts", "request_"), COPIED)
def test_copy_false_refuses_what_would_copy(target: str, facts: dict, request_: dict):
    """The same rule and reason, as CopyRequired, with the size of the copy in the fix."""
    allowed, refused = decide(target, facts, request_), decide(target, facts, request_ | {"copy": False})
    assert (refused.outcome, refused.error, refused.rule) == ("refuse", CopyRequired, allowed.rule)
    assert refused.reason == f"the bytes cannot be shared: {allowed.reason}"
    assert refused.fix is not None
    assert refused.fix.startswith("copy=None to allow one copy (")


@pytest.mark.parametrize(("target", "facts", "request_"), [row[:3] for row in ROWS if row[3] == "share"])
def test_copy_true_copies_what_could_be_shared(target: str, facts: dict, request_: dict):
    """Whatever the state, copy=True is granted and gives writable memory where the target has it."""
    route = decide(target, facts, request_ | {"copy": True})
    assert (route.outcome, route.rule) == ("copy", "asked")
    writable = RECORDS[target].mutable and not request_.get("readonly")
    assert route.access == ("write" if writable else "read")


def test_every_combination_has_a_consistent_answer():
    """Over 40,000 combinations: the outcome fits the keywords, and each refusal has an error class and words."""
    layouts = ({}, REVERSED, TRANSPOSED, STRIDED, BROADCAST, {"strides": None}, {"shape": (), "strides": ()})
    states = ({}, READ, OPEN, OPEN | READ, {"gradient": True}, {"unlike": "it is"}, ELSEWHERE)
    requests = product((None, False, True), (None, "float16"), (None, "cpu"), (False, True), (None, "dlpack", "buffer"))
    count = 0
    for keywords in requests:
        request = Request(**dict(zip(("copy", "dtype", "device", "readonly", "via"), keywords, strict=True)))
        for target, layout, state, address in product(RECORDS.values(), layouts, states, (4096, 4100, 4097)):
            described = Facts(**{"framework": "source", "dtype": "float32", "address": address}
                              | {"shape": (4, 6), "strides": (6, 1)} | layout | state)  # fmt: skip
            route = choose(target, SOURCE, described, request)
            count += 1
            check_consistency(route, target, described, request)
    assert count > 40_000


def check_consistency(route: Route, target: Framework, facts: Facts, request: Request) -> None:
    assert route.reason
    assert not route.reason.endswith(".")
    assert route.outcome != "copy" or request.copy is not False
    assert route.outcome != "share" or request.copy is not True
    if route.outcome == "refuse":
        assert issubclass(route.error, BridgeError)
        return
    assert route.door in {door.name for door in target.takes}
    assert route.door == request.via or request.via is None
    assert route.dtype in target.known_dtypes()
    if route.outcome == "share":
        assert target.name != "foreign"
        assert route.dtype == facts.dtype
        assert facts.unlike is None
        assert facts.address % (target.alignment or 4) == 0
        assert fits(target.strides, facts.shape, facts.strides)
        assert not (facts.frozen and route.access == "read")
        assert facts.access == "write" or target.readonly or not target.mutable or request.readonly
    if route.access == "write":
        assert target.mutable
        assert route.outcome == "copy" or facts.access == "write"


def test_an_array_of_the_target_comes_back_as_it_is():
    """Whatever it holds, as long as nothing is asked of it."""
    own = RECORDS["immutable"]
    for facts in ({}, REVERSED, ODD, READ, OPEN, {"gradient": True}, {"refusal": Refusal(problem="sparse")}):
        route = decide("immutable", facts | {"dtype": "strange"}, {"copy": False}, source=own)
        assert (route.outcome, route.rule, route.door) == ("share", "same", "same")
    assert decide("immutable", {}, {"copy": True}, source=own).rule == "asked"
    assert decide("immutable", {}, {"dtype": "float16"}, source=own).rule == "convert"


def test_a_source_that_leases_is_not_called_writable():
    """An engine that never writes what it has handed out does not leave its memory writable."""
    route = decide("immutable", {}, {}, source=RECORDS["leasing"])
    assert (route.outcome, route.rule) == ("share", "frozen-share")
    assert route.reason == "leasing will not write while it is shared"


def test_dtypes_can_depend_on_the_moment():
    """A record may name a function; what it says at the time of the call counts."""
    known = {"float32"}
    target = record("moody", dtypes=lambda: frozenset(known), dtype_fix={"float64": "switch it on"})
    facts = Facts(framework="source", dtype="float64", address=64)
    refused = choose(target, SOURCE, facts, Request())
    assert (refused.rule, refused.error, refused.fix) == ("dtype", DTypeError, "switch it on")
    known.add("float64")
    assert choose(target, SOURCE, facts, Request()).outcome == "share"


def test_an_offer_limits_what_goes_through_a_door():
    """A protocol that the source speaks only for row-major arrays is passed over for the next one."""
    source = record("limited", gives=(Offer(protocol="buffer", strides="row-major"), Offer(protocol="dlpack")))
    target = record("two", takes=(Door(name="buffer", protocol="buffer"), DLPACK))
    transposed = Facts(framework="limited", dtype="float32", shape=(6, 4), strides=(1, 6), address=64)
    assert choose(target, source, transposed, Request()).door == "dlpack"
    forced = choose(target, source, transposed, Request(via="buffer"))
    assert (forced.outcome, forced.rule) == ("copy", "strides")


LAYOUTS = [
    # shape, strides -> any, non-negative, permutation, row-major, overlapping
    ((), (), (True, True, True, True), False),
    ((5,), (1,), (True, True, True, True), False),
    ((5,), (2,), (True, True, False, False), False),
    ((5,), (-1,), (True, False, False, False), False),
    ((5,), (0,), (True, True, False, False), True),
    ((1,), (0,), (True, True, True, True), False),
    ((1,), (-7,), (True, True, True, True), False),
    ((4, 6), (6, 1), (True, True, True, True), False),
    ((6, 4), (1, 6), (True, True, True, False), False),
    ((3, 4, 2), (4, 1, 12), (True, True, True, False), False),
    ((4, 6), (8, 1), (True, True, False, False), False),
    ((4, 6), (0, 1), (True, True, False, False), True),
    ((3, 3), (1, 1), (True, True, False, False), True),
    ((3, 2), (1, 2), (True, True, False, False), True),
    ((4, 1, 6), (6, 99, 1), (True, True, True, True), False),
    ((0, 6), (-6, 0), (True, True, True, True), False),
]


@pytest.mark.parametrize(("shape", "strides", "fitting", "overlapping"), LAYOUTS)
def test_layouts(shape: tuple, strides: tuple, fitting: tuple, overlapping: bool):
    """What each rule says of a layout; axes of one element and empty arrays never matter."""
    rules = ("any", "non-negative", "permutation", "row-major")
    assert tuple(fits(rule, shape, strides) for rule in rules) == fitting
    assert is_overlapping(shape, strides) is overlapping
    assert not fits("any", shape, None)
