"""The contract with plugins: all that the author of one imports stands here.

A plugin is a module or an object with functions marked `@bridge.hookimpl`. The four built-in ones lie in
`bridge/plugins/`; others are found through the entry point group `bridge.plugins` at the first conversion. A hook may
take fewer arguments than its specification lists.

A plugin that is not the owner of a framework can watch every conversion (`bridge_converted`) or stand around one
(`@bridge.hookimpl(wrapper=True)` on `bridge_import` or `bridge_export`). While such a plugin is there, every conversion
takes the readable path instead of a shortcut.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from bridge.core.calculus import Calculus, Flat, Inside, Spec
from bridge.core.errors import BridgeError, DTypeError, TracedError
from bridge.core.framework import DTYPES, Door, Facts, Framework, Offer, Refusal, Source
from bridge.core.memory import aligned_copy, over
from bridge.core.record import Receipt
from bridge.core.route import Route

__all__ = [
    "DTYPES",
    "BridgeError",
    "Calculus",
    "DTypeError",
    "Door",
    "Facts",
    "Flat",
    "Framework",
    "Inside",
    "Offer",
    "Receipt",
    "Refusal",
    "Route",
    "Source",
    "Spec",
    "TracedError",
    "aligned_copy",
    "bridge_calculus",
    "bridge_converted",
    "bridge_export",
    "bridge_frameworks",
    "bridge_import",
    "hookimpl",
    "hookspec",
    "over",
]

hookspec = pluggy.HookspecMarker("bridge")
hookimpl = pluggy.HookimplMarker("bridge")


@hookspec
def bridge_frameworks() -> Iterable[Framework]:
    """Declare the frameworks that this plugin owns. Called once; imports none of them."""
    raise NotImplementedError


@hookspec(firstresult=True)
def bridge_import(framework: Framework, value: object) -> Source | None:
    """Describe `value`, an array of `framework`: its facts, and the ways to its bytes. Copies and converts nothing.

    An array without bytes that could be handed over (sparse, traced, on another machine) is described too: its facts
    carry a `Refusal`. None: the framework is not this plugin's.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def bridge_export(framework: Framework, source: Source, route: Route) -> Any:
    """Make an array of `framework` over the memory of `source`, through the door that `route` names.

    With `route.outcome` "share" no byte may be copied. With "copy" the result must be memory that nobody else has:
    `source` is fresh memory already, unless the framework's record says `copies` or the door copies by itself.
    None: the framework is not this plugin's.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def bridge_calculus(framework: Framework) -> Calculus | None:
    """How functions of `framework` are differentiated and mapped: what `wrap` and `unwrap` need.

    A plugin may leave it out: its arrays cross all the same. None: the framework is not this plugin's.
    """
    raise NotImplementedError


@hookspec
def bridge_converted(receipt: Receipt) -> None:
    """See the receipt of a conversion that was made. What this raises becomes a warning."""
    raise NotImplementedError
