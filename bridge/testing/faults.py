"""How a test of the suite fails: what was done, what went wrong, and what the author of the plugin has to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn, TypeVar

from bridge.core.errors import PluginError

__all__ = ["Fault", "each", "fail", "must"]

Item = TypeVar("Item")


ABOVE = "see the traceback above"
AGREE = (
    "bridge_export wraps the memory of `source` (its capsule, buffer or owner) with the access of the route, and "
    "bridge_import describes the array as it is; what the framework cannot take or be, the record says (alignment, "
    "strides, dtypes, mutable, readonly, Door.shares)"
)


class Fault(AssertionError):
    """A plugin does not keep the contract."""


def fail(problem: str, fix: str) -> NoReturn:
    raise Fault(f"{problem}\n  fix:  {fix}")


def must(holds: object, problem: str, fix: str) -> None:
    if not holds:
        fail(problem, fix)


def each(what: str, items: Iterable[Item], check: Callable[[Item], object]) -> None:
    """Check all items, and fail with the first fault and the names of the items that have one."""
    faults: list[tuple[Item, Exception]] = []
    for item in items:
        try:
            check(item)
        except Exception as error:
            faults.append((item, error))
    if not faults:
        return
    item, first = faults[0]
    others = "" if len(faults) == 1 else f"\n  also: {', '.join(str(item) for item, _ in faults[1:])}"
    if isinstance(first, Fault):
        raise Fault(f"{what} {item}: {first}{others}") from first.__cause__
    problem = f"{what} {item}: raised {type(first).__name__}: {first}"
    raise Fault(f"{problem}{others}\n  fix:  {AGREE if isinstance(first, PluginError) else ABOVE}") from first
