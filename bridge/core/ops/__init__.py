"""The op vocabulary, one module a family.

Importing it declares every primitive, puts the functions that take `stream=` on it as a whole, and puts the methods
on `bridge.array`.
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
    placed,
    random,
    neighbours,
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
    "neighbours",
    "random",
    "reduce",
    "scan",
    "shape",
    "sort",
    "trigonometric",
]

placed.replace(globals()[name] for name in __all__)
methods.attach()
