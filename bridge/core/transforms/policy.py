"""What happens where a value leaves a function that is being differentiated: writes to it outside cannot be seen."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

from bridge.core import _native
from bridge.core.errors import GradientWarning, TracedError, message

Reaction: TypeAlias = Literal["warn", "raise", "allow"]

_reactions: tuple[Reaction, ...] = ("warn", "raise", "allow")
_here = threading.local()
_policy: dict[str, Reaction] = {"traced_export": "warn"}


def set_policy(*, traced_export: Reaction) -> None:
    """Say what happens when the memory of an array is handed out while a derivative through it is being computed.

    Args:
        traced_export: "warn" gives the memory and a GradientWarning; "raise" raises TracedError; "allow" is silent.
            The gradient counts what comes back, and what is written there, as constants. `item()`, `tolist()`, printing
            and conditions read values without handing out memory: they are always allowed.
    """
    if traced_export not in _reactions:
        raise ValueError(
            message(
                "bridge.set_policy",
                f"traced_export cannot be {traced_export!r}.",
                want=", ".join(repr(one) for one in _reactions),
            )
        )
    _policy["traced_export"] = traced_export


@contextmanager
def unwatched() -> Iterator[None]:
    """Memory handed out inside, by this thread, goes to somebody who knows how the gradient goes on."""
    before = getattr(_here, "unwatched", False)
    _here.unwatched = True
    try:
        yield
    finally:
        _here.unwatched = before


def exported(name: str, what: str) -> None:
    """An array that `name` traces goes outside: called by the extension."""
    reaction = _policy["traced_export"]
    if reaction == "allow" or getattr(_here, "unwatched", False):
        return
    text = message(
        f"bridge.{name}",
        "the memory of an array is handed out inside a function that is being differentiated. No gradient flows through"
        " what comes back, and none sees what is written there.",
        got=what,
        fix="convert outside the function; bridge.stop_gradient(a) if a constant is meant; bridge.set_policy("
        "traced_export='allow')",
    )
    if reaction == "raise":
        raise TracedError(text)
    warnings.warn(text, GradientWarning, stacklevel=2)


_native._set_export_hook(exported)
