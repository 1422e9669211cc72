"""The next representable number."""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from typing import Any

import numpy

from bridge.core._native import array
from bridge.core.dtypes import FLOATING
from bridge.core.ops.create import zeros_like
from bridge.core.ops.host import Spec, host
from bridge.core.ops.shape import broadcast_shapes, reshape, unbroadcast
from bridge.core.ops.types import Stream


def _batched(size: int, batched: tuple[bool, ...], *operands: array) -> array:
    """Operands with the batch axis in front of all axes that they broadcast over."""
    inner = [one.ndim - has for one, has in zip(operands, batched, strict=True)]
    aligned = [
        reshape(one, (size, *(1,) * (max(inner) - own), *one.shape[1:])) if has else one
        for one, has, own in zip(operands, batched, inner, strict=True)
    ]
    return nextafter(*aligned)


def _result(a: array, b: array) -> Spec:
    return a.dtype, broadcast_shapes(a.shape, b.shape)


def _kernel(a: numpy.ndarray[Any, Any], b: numpy.ndarray[Any, Any]) -> Any:
    return numpy.where(a == b, b, numpy.nextafter(a, b))  # NumPy keeps the sign of a float16 zero


@host(
    "",
    accepts=FLOATING,
    result=_result,
    kernel=_kernel,
    pullback=lambda g, y, a, b: (unbroadcast(g, a.shape), zeros_like(b)),
    batching=_batched,
)
def nextafter(a: array, b: array, *, stream: Stream = None) -> array:
    """The number next to the first operand in the direction of the second; the second itself where the two are equal.

    NaN if either is. The steps are those of the common dtype: the neighbour of 1 in float16 is 1.001.
    """
