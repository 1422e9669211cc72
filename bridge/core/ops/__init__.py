"""The op vocabulary, one module a family.

Importing it declares the primitives, puts the functions that take `stream=` on it as a whole, and puts the methods on
`bridge.array`. The families of LATER are namespaces of their own (`bridge.linalg`) and are imported when they are first
used; `load()` imports them all, for whoever walks through every primitive.
"""

import importlib
from types import ModuleType

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
    gather,
    gradient,
    index,
    methods,
    misc,
    neighbours,
    placed,
    products,
    reduce,
    scan,
    sets,
    shape,
    sort,
    take,
    trigonometric,
)

LATER = ("fast", "fft", "linalg", "random")

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
    "gather",
    "gradient",
    "index",
    "linalg",
    "misc",
    "neighbours",
    "products",
    "random",
    "reduce",
    "scan",
    "sets",
    "shape",
    "sort",
    "take",
    "trigonometric",
]


def load() -> None:
    """Import the families that are imported at first use, so that PRIMITIVES has every primitive."""
    for name in LATER:
        importlib.import_module(f"bridge.core.ops.{name}")


def __getattr__(name: str) -> ModuleType:
    if name in LATER:
        return importlib.import_module(f"bridge.core.ops.{name}")
    raise AttributeError(f"module 'bridge.core.ops' has no attribute '{name}'")


placed.replace(globals()[name] for name in __all__ if name not in LATER)
methods.attach()
