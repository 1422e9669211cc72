"""Where derivatives end."""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from bridge.core._native import array
from bridge.core.ops.declare import FLAT, structured
from bridge.core.ops.types import Stream


@structured(derivative=FLAT, batching=lambda size, batched, a: stop_gradient(a))
def stop_gradient(a: array, /, *, stream: Stream = None) -> array:
    """The same values, through which no derivative flows: for every transform around it they are constants."""
