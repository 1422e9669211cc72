"""What must happen to one hand-over: shared, copied or refused, derived from the table of facts alone.

Imports nothing from bridge. The engine and the plugins decide for themselves; `test_matrix.py` compares.
"""

from __future__ import annotations

from typing import NamedTuple

from interop.facts import (
    BRIDGE,
    DTYPES,
    FRAMEWORKS,
    LAYOUTS,
    WIDE,
    Framework,
    Layout,
    alignment,
    is_compact_permutation,
    is_row_major,
    repeats,
    runs_backwards,
    size,
)


class Case(NamedTuple):
    """One hand-over. Everything is a plain value, so that a case can travel to another process as JSON."""

    framework: str
    direction: str  # "out": bridge -> framework, "in": framework -> bridge
    dtype: str
    layout: str
    copy: bool | None
    via: str | None = None
    state: str = "plain"  # see STATES
    readonly: bool = False
    x64: bool = False  # jax_enable_x64

    @property
    def id(self) -> str:
        arrow = f"bridge->{self.framework}" if self.direction == "out" else f"{self.framework}->bridge"
        marks = [arrow, self.dtype, self.layout, f"copy={self.copy}"]
        if self.via:
            marks.append(f"via={self.via}")
        if self.state != "plain":
            marks.append(self.state)
        if self.readonly:
            marks.append("readonly")
        if self.x64:
            marks.append("x64")
        return "-".join(marks)


class Expected(NamedTuple):
    """`error` is the name of the class, `reason` a pattern that the text must match (case ignored)."""

    outcome: str  # "shared" | "copied" | "refused"
    error: str | None = None
    reason: str | None = None
    writable: bool = False  # writes through the result reach the source, and updates of the source reach the result


# The storage's state before it is handed over, and what it can still grant.
STATES = {
    "plain": {"write", "freeze"},
    "open": {"write"},  # a writable NumPy view is alive: nobody may count on fixed bytes
    "frozen": {"freeze"},  # a read-only NumPy view is alive: nobody may write
    "sibling": {"freeze"},  # another array shares the storage
    "imported": {"write"},  # the memory belongs to a NumPy array that can be written
    "imported_read_only": {"freeze"},  # ... that cannot
}


def refused(error: str, reason: str) -> Expected:
    return Expected("refused", error, reason)


def expected(case: Case) -> Expected:
    return outward(case) if case.direction == "out" else inward(case)


def known_dtypes(framework: Framework, x64: bool) -> frozenset[str]:
    return framework.dtypes | WIDE if x64 else framework.dtypes


def cannot_hold(framework: Framework, layout: Layout, dtype: str, strides: str) -> str | None:
    """Pattern of the reason why the memory cannot become an array of the framework; None where it can.

    strides: the least that the framework or the door can carry, whichever is less.
    """
    if size(layout) == 0:
        return None
    if strides != "any" and runs_backwards(layout):
        return r"negative|backwards|revers|strid|contiguous|compact|row-major"
    if strides == "compact" and not is_compact_permutation(layout):
        return r"compact|gap|strid|contiguous"
    if strides == "row-major" and not is_row_major(layout):
        return r"row-major|contiguous|strid"
    wanted = framework.alignment or DTYPES[dtype][1]
    if alignment(layout, dtype) < wanted:
        return r"align"
    return None


def narrowest(*kinds: str) -> str:
    order = ("any", "non-negative", "compact", "row-major")
    return max(kinds, key=order.index)


def outward(case: Case) -> Expected:
    """bridge -> framework, by `bridge.to`."""
    target = FRAMEWORKS[case.framework]
    layout = LAYOUTS[case.layout]
    door = target.outward[case.via] if case.via else None
    if case.dtype not in known_dtypes(target, case.x64):
        return refused("DTypeError", r"jax_enable_x64" if case.framework == "jax" else case.dtype)
    if door and case.dtype not in door.dtypes:
        return refused("DTypeError", case.dtype)
    if case.copy:
        return Expected("copied")

    wants_write = target.mutable and not case.readonly
    grants = STATES[case.state] - ({"write"} if repeats(layout) else set())
    writable = wants_write and "write" in grants
    obstacle = cannot_hold(target, layout, case.dtype, narrowest(target.strides, door.strides if door else "any"))
    if obstacle is None and door and door.always_copies:
        obstacle = r"cop(y|ies)"
    if obstacle is None and wants_write and not writable and not target.read_only:
        obstacle = r"read-only|stride 0|broadcast|shares? the storage|frozen"
    if obstacle is None and not writable and "freeze" not in grants:
        obstacle = r"writ"  # whoever cannot write counts on bytes that stay
    if obstacle is None:
        return Expected("shared", writable=writable)
    return Expected("copied") if case.copy is None else refused("CopyRequired", obstacle)


def inward(case: Case) -> Expected:
    """framework -> bridge, by `bridge.from_`."""
    source = FRAMEWORKS[case.framework]
    layout = LAYOUTS[case.layout]
    door = source.inward[case.via] if case.via else None
    if door and case.dtype not in door.dtypes:
        return refused("DTypeError", case.dtype)
    if case.copy:
        return Expected("copied")
    obstacle = cannot_hold(BRIDGE, layout, case.dtype, narrowest(BRIDGE.strides, door.strides if door else "any"))
    if obstacle is None and door and door.always_copies:
        obstacle = r"cop(y|ies)"
    if obstacle is None:
        return Expected("shared", writable=source.mutable and case.state != "read_only")
    return Expected("copied") if case.copy is None else refused("CopyRequired", obstacle)
