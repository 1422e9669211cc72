"""The op vocabulary, one module a family.

Importing it declares every primitive and puts the methods on `bridge.array`.
"""

from bridge.core.ops import (
    arithmetic,
    bitcast,
    bitwise,
    compare,
    contract,
    conv,
    create,
    einsum,
    exponential,
    fast,
    fft,
    index,
    linalg,
    methods,
    misc,
    random,
    reduce,
    scan,
    shape,
    sort,
    trigonometric,
)

__all__ = [
    "arithmetic",
    "bitcast",
    "bitwise",
    "compare",
    "contract",
    "conv",
    "create",
    "einsum",
    "exponential",
    "fast",
    "fft",
    "index",
    "linalg",
    "misc",
    "random",
    "reduce",
    "scan",
    "shape",
    "sort",
    "trigonometric",
]

methods.attach()
