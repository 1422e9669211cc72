"""The promotion lattice: which dtype an operation on two dtypes has. Names only, imports nothing.

One graph states everything. An edge leads from a dtype to the next ones that hold it; the dtype of an operation is the
least one that both operands lead to. `int*`, `float*` and `complex*` are the weak dtypes of Python scalars: they sit
below every sized dtype of their kind, so a scalar never widens an array of its own kind, and they stand for the
default dtype of the kind when nothing else decides (`int32`, `float32`, `complex64`).

`tools/make_promotion.py` writes the tables that the engine uses (`native/promotion.inc` and `promotion_weak.inc`),
`tools/make_docs.py` those that people read (`docs/dtypes.md`).

Source: the lattice of JAX (JEP 9407), which MLX follows up to the missing complex128.
"""

from functools import cache

HOLDS: dict[str, tuple[str, ...]] = {
    "bool": ("int*",),
    "int*": ("uint8", "int8"),
    "uint8": ("uint16", "int16"),
    "uint16": ("uint32", "int32"),
    "uint32": ("uint64", "int64"),
    "uint64": ("float*",),
    "int8": ("int16",),
    "int16": ("int32",),
    "int32": ("int64",),
    "int64": ("float*",),
    "float*": ("float16", "bfloat16", "complex*"),
    "float16": ("float32",),
    "bfloat16": ("float32",),
    "float32": ("float64", "complex64"),
    "float64": ("complex128",),
    "complex*": ("complex64",),
    "complex64": ("complex128",),
    "complex128": (),
}

# What a weak dtype becomes when it is the answer: the default dtype of its kind.
DEFAULTS = {"int*": "int32", "float*": "float32", "complex*": "complex64"}

# The weak dtype of each Python scalar; a bool is exact.
WEAK = {"bool": "bool", "int": "int*", "float": "float*", "complex": "complex*"}


@cache
def above(name: str) -> frozenset[str]:
    """Every dtype that holds `name`, itself among them."""
    return frozenset({name}).union(*(above(upper) for upper in HOLDS[name]))


@cache
def join(a: str, b: str) -> str:
    """Least dtype, weak ones among them, that holds both."""
    common = above(a) & above(b)
    (least,) = (name for name in common if common <= above(name))
    return least


def promote(a: str, b: str) -> str:
    """Dtype of an operation on two arrays of dtypes `a` and `b`."""
    least = join(a, b)
    return DEFAULTS.get(least, least)


def promote_weak(a: str, scalar: str) -> str:
    """Dtype of an operation on an array of dtype `a` and a Python `scalar`: "bool", "int", "float" or "complex"."""
    return promote(a, WEAK[scalar])
