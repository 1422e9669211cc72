"""The op vocabulary, one module a family.

Importing it declares every primitive and puts the methods on `bridge.array`.
"""

from bridge.core.ops import (
    arithmetic,
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
    reduce,
    scan,
    shape,
    sort,
    trigonometric,
)

__all__ = [
    "arithmetic",
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
    "reduce",
    "scan",
    "shape",
    "sort",
    "trigonometric",
]

methods.attach()
