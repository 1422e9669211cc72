"""One hand-over, made and looked at.

The outcome is measured (by address, dtype, shape and bits) and held against what bridge says of it: the receipt of the
conversion, the plan that `explain` made before, and the plain call that nobody watches.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import bridge
from bridge.cli.cells import Cell
from bridge.cli.samples import ADAPTERS, Value

__all__ = ["OUTCOMES", "Found", "try_cell"]

OUTCOMES = ("shared", "copied", "refused", "wrong", "crashed")


class Found(NamedTuple):
    """What happened in one cell."""

    outcome: str  # one of OUTCOMES
    rule: str = ""  # the id of the rule that decided
    door: str | None = None
    why: str = ""  # the reason, as a sentence; of a wrong or crashed cell, what went wrong
    fix: str | None = None
    error: str | None = None  # the class of a refusal
    writable: bool = False  # the result can be written


class Seen(NamedTuple):
    """What a result shows without asking bridge."""

    outcome: str
    writable: bool
    problems: list[str]


def try_cell(cell: Cell, source: Any) -> Found:
    """Hand `source`, the sample that the cell names, over, and report. An unexpected exception is a wrong outcome."""
    try:
        return _try_cell(cell, source)
    except Exception as error:
        return Found("wrong", why=f"{type(error).__name__}: {error}")


def _try_cell(cell: Cell, source: Any) -> Found:
    options = _options(cell)
    before = ADAPTERS[cell.source].value(source)
    plan = bridge.explain(cell.target, source, **options)
    found = Found(plan.outcome, plan.rule, plan.route, plan.why, plan.fix)
    with bridge.record() as log:
        try:
            result = bridge.to(cell.target, source, **options)
        except bridge.BridgeError as error:
            problems = _problems_of_refusal(plan, log, str(error))
            return _checked(found._replace(outcome="refused", error=type(error).__name__), problems)
    seen = _look(cell, source, before, result, said=plan.outcome)
    problems = seen.problems + _problems_of_receipts(plan, list(log), seen.outcome)
    del result
    if not options:
        problems += _unwatched(cell, source, before, seen)
    if ADAPTERS[cell.source].value(source) != before:
        problems.append("the source was changed")
    return _checked(found._replace(outcome=seen.outcome, writable=seen.writable), problems)


def _options(cell: Cell) -> dict[str, Any]:
    """The keywords that are not at their defaults."""
    options: dict[str, Any] = {}
    if cell.copy is not None:
        options["copy"] = cell.copy
    if cell.via is not None:
        options["via"] = cell.via
    if cell.readonly:
        options["readonly"] = True
    return options


def _look(cell: Cell, source: Any, before: Value, result: Any, *, said: str) -> Seen:
    """The outcome as the memory shows it, and what is wrong with it. `said` stands where there are no bytes to see."""
    target = ADAPTERS[cell.target]
    value = target.value(result)
    problems = [f"other {name}" for name, new, old in zip(Value._fields, value, before, strict=True) if new != old]
    outcome, writable = said, target.writable(result)
    if before.bits:
        outcome = "shared" if target.address(result) == ADAPTERS[cell.source].address(source) else "copied"
    if (cell.copy, outcome) in _BROKEN:
        problems.append(f"copy={cell.copy}, and it was {outcome}")
    if outcome == "shared" and before.bits and writable and cell.target == "numpy" and _is_fixed(cell, source):
        problems.append("memory that nobody may write came out writeable")
    return Seen(outcome, writable, problems)


_BROKEN = ((False, "copied"), (True, "shared"))


def _is_fixed(cell: Cell, source: Any) -> bool:
    """Whether nobody may write through the result, if it shares the memory of the source."""
    return not ADAPTERS[cell.source].writable(source) or cell.readonly


def _unwatched(cell: Cell, source: Any, before: Value, seen: Seen) -> list[str]:
    """The plain call, twice: the second one takes the shortcut that the first one learned."""
    problems = []
    for _ in range(2):
        again = _look(cell, source, before, bridge.to(cell.target, source), said=seen.outcome)
        problems += [f"{problem}, when nobody watches" for problem in again.problems]
        if before.bits and again[:2] != seen[:2]:
            problems.append(f"{again.outcome}, writable={again.writable}, when nobody watches")
    return problems


def _problems_of_receipts(plan: Any, receipts: list[Any], outcome: str) -> list[str]:
    if len(receipts) != 1:
        return [f"{len(receipts)} receipts for one conversion"]
    (receipt,) = receipts
    if receipt.outcome != outcome:
        return [f"the receipt says {receipt.outcome}, the memory was {outcome}"]
    if receipt.cells() != plan.cells() or receipt.rule != plan.rule:
        return [f"explain said {plan}, and the receipt {receipt}"]
    return []


def _problems_of_refusal(plan: Any, log: Any, text: str) -> list[str]:
    problems = []
    if plan.outcome != "refused":
        problems.append(f"explain said {plan.outcome} by {plan.route!r}, and it was refused: {text}")
    if len(log):
        problems.append("a refused conversion has a receipt")
    if not text.startswith("[bridge."):
        problems.append(f"the refusal has no tag: {text}")
    return problems


def _checked(found: Found, problems: list[str]) -> Found:
    return found._replace(outcome="wrong", why="; ".join(problems)) if problems else found
