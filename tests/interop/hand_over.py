"""Makes one hand-over and reports what happened, in plain values that can come from another process."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
from interop.expected import Case
from interop.facts import LAYOUTS, size, steps
from interop.memory_of import (
    ADAPTERS,
    Value,
    elements,
    filled_value,
    has_elements,
    numpy_array,
    other_number,
    value_of_numpy,
)

import bridge
from bridge.core import _native

UNSEEN = {"outcome", "leases"}  # what an array without bytes does not show
Recording = Callable[[], AbstractContextManager[Any]]


def bridge_value(array: Any) -> Value:
    return value_of_numpy(array.dtype.name, np.array(array))


def bridge_address(array: Any) -> int:
    return _native.facts(array)[3]


# How the engine's own views make each layout from an array over all of its memory.
VIEWS = {
    "dense": lambda base: base.reshape(4, 6),
    "offset": lambda base: base[1:],
    "strided": lambda base: base.reshape(4, 12)[:, ::2],
    "window": lambda base: base.reshape(6, 8)[1:5, 1:7],
    "reversed": lambda base: base.reshape(4, 6)[::-1],
    "backwards": lambda base: base.reshape(4, 6)[::-1, ::-1],
    "transposed": lambda base: base.reshape(4, 6).T,
    "permuted": lambda base: base.reshape(2, 3, 4).transpose(1, 2, 0),
    "fortran": lambda base: base.reshape(6, 4).T,
    "broadcast": lambda base: bridge.broadcast_to(base, (4, 6)),
    "scalar": lambda base: base.reshape(()),
    "empty": lambda base: base.reshape(0, 6),
    "unit_axes": lambda base: base.reshape(1, 4, 1, 6),
}


def bridge_array(case: Case) -> tuple[Any, list[Any]]:
    """The array in the layout and the state of the case, and what must stay alive for that state."""
    if case.state.startswith("imported"):
        owner = numpy_array(case.dtype, case.layout)
        owner.flags.writeable = case.state == "imported"
        return bridge.from_(owner, copy=False), [owner]
    layout = LAYOUTS[case.layout]
    dtype = getattr(bridge, case.dtype if case.dtype != "bool" else "bool_")
    base = bridge.array(elements(case.dtype, layout.count), dtype=dtype)
    array = VIEWS[case.layout](base)
    bridge.eval(base, array)
    keep = [base] if case.state == "sibling" else []
    del base
    if case.state == "open":
        keep.append(np.asarray(array))
        assert keep[0].dtype.name == case.dtype
        assert keep[0].flags.writeable
    if case.state == "frozen":
        keep.append(bridge.to("numpy", array, readonly=True))
        assert not keep[0].flags.writeable
    check_layout(array, case.layout)
    return array, keep


def check_layout(array: Any, name: str) -> None:
    """The case is about this layout, so the engine must really hold the array so."""
    layout = LAYOUTS[name]
    _, shape, strides, *_ = _native.facts(array)
    assert tuple(shape) == layout.shape
    if size(layout):
        held = [(s, n) for s, n in zip(strides, shape, strict=True) if n != 1]
        assert held == steps(layout), f"{name}: the engine holds strides {strides}"


def run(case: Case) -> dict[str, Any]:
    """What happened; see `report` for the keys. While somebody records, every conversion takes the readable path.

    So a call with no keyword, which has a shortcut otherwise, is made again unrecorded: `unrecorded` says what was
    different then.
    """
    make = outward if case.direction == "out" else inward
    found = make(case, bridge.record)
    if case.copy is None and case.via is None and not case.readonly:
        again = make(case, unrecorded)
        kept = found.keys() & again.keys() - {"said", "receipts"} - (set() if has_elements(case.layout) else UNSEEN)
        found["unrecorded"] = {key: again[key] for key in kept if again[key] != found[key]}
    return found


@contextmanager
def unrecorded() -> Iterator[list]:
    """In the place of `bridge.record()`: an empty log."""
    yield []


def run_described(case: dict[str, Any]) -> dict[str, Any]:
    """The same for a case that came as JSON."""
    return run(Case(**case))


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The keywords that are not at their defaults."""
    return {
        key: value for key, value in options.items() if value not in (None, False) or (key, value) == ("copy", False)
    }


def refusal(error: Exception) -> dict[str, Any]:
    return {"outcome": "refused", "errors": [c.__name__ for c in type(error).__mro__], "text": str(error)}


def outward(case: Case, recording: Recording) -> dict[str, Any]:
    adapter = ADAPTERS[case.framework]
    array, keep = bridge_array(case)
    before = bridge_value(array)
    held = len(bridge.leases(array))
    options = {"copy": case.copy, "readonly": case.readonly, "via": case.via}
    try:
        with recording() as log:
            result = bridge.to(case.framework, array, **given(options))
    except bridge.BridgeError as error:
        return {**refusal(error), "unharmed": bridge_value(array) == before, "leases": len(bridge.leases(array)) - held}
    found = report(adapter.value(result), before, bridge_address(array), adapter.address(result), log)
    found["leases"] = leases_taken(array, held, found["outcome"])
    found["writable"] = adapter.writable(result)
    if found["writable"] and not case.readonly:  # readonly is the caller's promise not to write
        number = other_number(before)
        adapter.fill(result, number)
        after = bridge_value(array)
        found["source_sees_write"] = after == filled_value(before, number)
        found["unharmed"] = after in (before, filled_value(before, number))
    current, seen = bridge_value(array), adapter.value(result)
    number = other_number(seen)
    array[...] = number
    found["updated"] = bridge_value(array) == filled_value(current, number)
    found["result_sees_update"] = adapter.value(result) == filled_value(seen, number)
    found["result_intact"] = adapter.value(result) in (seen, filled_value(seen, number))
    del keep
    return found


def leases_taken(array: Any, held: int, outcome: str | None) -> int:
    """How many more than before; jax lets go of what it has copied from at its next occasion, which gc.collect is."""
    if outcome == "copied" and len(bridge.leases(array)) > held:
        gc.collect()
    return len(bridge.leases(array)) - held


def inward(case: Case, recording: Recording) -> dict[str, Any]:
    adapter = ADAPTERS[case.framework]
    source = adapter.build(case.dtype, case.layout)
    if case.state == "read_only":
        source.flags.writeable = False
    before = adapter.value(source)
    try:
        with recording() as log:
            array = bridge.from_(source, **given({"copy": case.copy, "via": case.via}))
    except bridge.BridgeError as error:
        return {**refusal(error), "unharmed": adapter.value(source) == before, "leases": 0}
    found = report(bridge_value(array), before, adapter.address(source), bridge_address(array), log)
    if adapter.writable(source):
        number = other_number(before)
        adapter.fill(source, number)
        found["result_sees_write"] = bridge_value(array) == filled_value(before, number)
    current, seen = bridge_value(array), adapter.value(source)
    number = other_number(seen)
    array[...] = number
    found["updated"] = bridge_value(array) == filled_value(current, number)
    found["unharmed"] = adapter.value(source) == seen  # the engine never writes imported memory
    return found


def report(result: Value, source: Value, source_address: int, result_address: int, log: Any) -> dict[str, Any]:
    """Outcome by address, and whether the values, the dtype, the shape and the receipt are right.

    An array without elements has no bytes to share: there the receipt alone says what happened.
    """
    receipts = list(log)
    said = receipts[-1].outcome if receipts else None
    outcome = said
    if not source.bits and said is None:
        outcome = "shared"  # nothing to see, and nobody to say otherwise
    if source.bits:
        outcome = "shared" if source_address == result_address else "copied"
    return {
        "outcome": outcome,
        "receipts": len(receipts),
        "said": said,
        "dtype": result.dtype == source.dtype,
        "shape": result.shape == source.shape,
        "values": result.bits == source.bits,
        "writable": False,
        "source_sees_write": False,
        "result_sees_write": False,
        "unharmed": True,
    }
