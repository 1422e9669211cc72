"""Random numbers as primitives: what `bridge.random` puts in the graph.

A key is an array uint32[2], and the result depends on the key and the parameters alone: not on the number of threads,
not on the processor. Keys with leading axes give a result for each.
"""

# mypy: disable-error-code="empty-body, has-type"
# A header declares a native callable: it has no body, and its rules may call it.

from __future__ import annotations

from bridge.core._native import Dtype, array
from bridge.core.dtypes import INTEGER, uint32
from bridge.core.ops.declare import FLAT, structured
from bridge.core.ops.shape import reshape, with_batch
from bridge.core.ops.types import Shape, Stream

KEY = frozenset({uint32})


@structured(
    accepts=KEY,
    derivative=FLAT,
    batching=lambda size, batched, key, shape, dtype, law: random_sample(key, shape, dtype, law),
)
def random_sample(key: array, /, shape: Shape, dtype: Dtype, law: str, *, stream: Stream = None) -> array:
    """Independent numbers of one law.

    law="bits" gives uint32 or uint64 of which every bit is random. The laws of float32 and float64 are "uniform" in
    [0, 1), "normal" with variance 1, "gumbel" and "laplace", all standard. Numbers of 64 bits begin with the 32 bits
    that the same key gives for the same shape. Source: Threefry-2x32 with 20 rounds, Salmon, Moraes, Dror and Shaw
    (2011), "Parallel random numbers: as easy as 1, 2, 3".
    """


@structured(
    accepts=INTEGER,
    derivative=FLAT,
    batching=lambda size, batched, key, low, last, shape: random_integers(
        with_batch(size, batched[0], key),
        _behind_batch(batched[1], low, len(shape) + key.ndim - batched[0]),
        _behind_batch(batched[2], last, len(shape) + key.ndim - batched[0]),
        shape,
    ),
)
def random_integers(key: array, low: array, last: array, /, shape: Shape, *, stream: Stream = None) -> array:
    """Independent integers of the bounds' dtype, from `low` to `last`, both included.

    The bounds broadcast to the result. 64 random bits make an integer, so no one is favoured by more than the share of
    the range in 2^64.
    """


@structured(
    accepts=KEY,
    derivative=FLAT,
    batching=lambda size, batched, key, n: random_permutation(key, n),
)
def random_permutation(key: array, /, n: int, *, stream: Stream = None) -> array:
    """The numbers from 0 to n - 1 in random order: the order of n random numbers of 64 bits."""


def _behind_batch(has: bool, bound: array, ndim: int) -> array:
    """A bound whose batch axis stands before the `ndim` - 1 axes of each result, not before its own."""
    return reshape(bound, (bound.shape[0], *(1,) * (ndim - bound.ndim), *bound.shape[1:])) if has else bound
