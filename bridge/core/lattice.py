"""Questions about dtypes: what kind they are, what they hold, what converts into what.

MLX's lattice of categories (`issubdtype`), the array API's kinds (`isdtype`), and the limits of numbers (`finfo`,
`iinfo`). All answers follow from the dtype table and the promotion lattice.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import Any, TypeAlias

from bridge.core._native import DTYPES, Dtype, array, result_type
from bridge.core.dtypes import (
    BOOL,
    COMPLEX,
    FLOATING,
    HELD,
    INEXACT,
    INTEGER,
    NUMERIC,
    ROWS,
    SIGNED,
    UNSIGNED,
    as_dtype,
    to_numpy,
)
from bridge.core.errors import DTypeError, message

__all__ = ["KINDS", "DtypeCategory", "can_cast", "finfo", "iinfo", "isdtype", "issubdtype"]

Kind: TypeAlias = "Dtype | str | tuple[Dtype | str, ...]"


class DtypeCategory(Enum):
    """A set of dtypes in the lattice that `issubdtype` asks.

    generic
      bool
      number
        integer: signedinteger, unsignedinteger
        inexact: floating, complexfloating
    """

    complexfloating = "complexfloating"
    floating = "floating"
    inexact = "inexact"
    signedinteger = "signedinteger"
    unsignedinteger = "unsignedinteger"
    integer = "integer"
    number = "number"
    generic = "generic"

    def __repr__(self) -> str:
        return f"bridge.{self.name}"

    @property
    def dtypes(self) -> frozenset[Dtype]:
        """The dtypes in it. The held ones (float8, four bits) are in `generic` only: nothing computes with them."""
        return _MEMBERS[self]


_MEMBERS: dict[DtypeCategory, frozenset[Dtype]] = {
    DtypeCategory.complexfloating: COMPLEX,
    DtypeCategory.floating: FLOATING,
    DtypeCategory.inexact: INEXACT,
    DtypeCategory.signedinteger: SIGNED,
    DtypeCategory.unsignedinteger: UNSIGNED,
    DtypeCategory.integer: INTEGER,
    DtypeCategory.number: NUMERIC,
    DtypeCategory.generic: NUMERIC | BOOL | HELD,
}

# The kinds of the array API.
KINDS: dict[str, frozenset[Dtype]] = {
    "bool": BOOL,
    "signed integer": SIGNED,
    "unsigned integer": UNSIGNED,
    "integral": INTEGER,
    "real floating": FLOATING,
    "complex floating": COMPLEX,
    "numeric": NUMERIC,
}


def issubdtype(arg1: Dtype | DtypeCategory, arg2: Dtype | DtypeCategory) -> bool:
    """Whether `arg1`, a dtype or a whole category, is in `arg2`. In a dtype is that dtype and nothing else."""
    if isinstance(arg1, DtypeCategory):
        return isinstance(arg2, DtypeCategory) and arg1.dtypes <= arg2.dtypes
    return as_dtype(arg1) in (arg2.dtypes if isinstance(arg2, DtypeCategory) else (as_dtype(arg2),))


def isdtype(dtype: Dtype, kind: Kind) -> bool:
    """Whether a dtype is of a kind: a dtype, a kind's name (bool, integral, "real floating" ...), or a tuple of these.

    Raises:
        ValueError: a text that is no kind of the array API.
    """
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if not isinstance(kind, str):
        return dtype == as_dtype(kind)
    if kind not in KINDS:
        raise ValueError(
            message("bridge.isdtype", "there is no such kind of dtypes", got=repr(kind), want=", ".join(KINDS))
        )
    return dtype in KINDS[kind]


def can_cast(from_: array | Dtype, to: Dtype) -> bool:
    """Whether promotion leads from one dtype, or that of an array, to the other: `result_type(from_, to) == to`."""
    source = from_.dtype if isinstance(from_, array) else as_dtype(from_)
    target = as_dtype(to)
    if source in HELD or target in HELD:
        return source == target
    return result_type(source, target) == target


class finfo:
    """Limits of a floating-point dtype, or of an array's; of a complex dtype those of its parts.

    Attributes:
        bits: bits of a number.
        eps: distance from 1 to the next larger number.
        max, min: largest and smallest finite number.
        smallest_normal: smallest positive number with full precision.
        dtype: the real dtype that all this is said of.

    Raises:
        DTypeError: integers have `iinfo`.
    """

    __slots__ = ("bits", "dtype", "eps", "max", "min", "smallest_normal")

    bits: int
    dtype: Dtype
    eps: float
    max: float
    min: float
    smallest_normal: float

    def __init__(self, type: array | Dtype, /) -> None:
        dtype = _dtype_of(type)
        self.dtype = _REAL.get(dtype, dtype)
        limits = _float_limits(self.dtype)
        if limits is None:
            fix = "bridge.iinfo(dtype)" if dtype in INTEGER else None
            raise DTypeError(
                message(
                    "bridge.finfo", "the dtype has no floating point", got=dtype.name, want="a floating dtype", fix=fix
                )
            )
        self.bits = ROWS[self.dtype].bits
        self.eps, self.max, self.min, self.smallest_normal = limits

    def __repr__(self) -> str:
        return f"finfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype.name})"


class iinfo:
    """Limits of an integer dtype, or of an array's: `bits`, `min`, `max` and `dtype`.

    Raises:
        DTypeError: not an integer dtype.
    """

    __slots__ = ("bits", "dtype", "max", "min")

    bits: int
    dtype: Dtype
    max: int
    min: int

    def __init__(self, type: array | Dtype, /) -> None:
        self.dtype = _dtype_of(type)
        self.bits = ROWS[self.dtype].bits
        if self.dtype in SIGNED or self.dtype.name == "int4":
            self.max, self.min = 2 ** (self.bits - 1) - 1, -(2 ** (self.bits - 1))
        elif self.dtype in UNSIGNED or self.dtype.name == "uint4":
            self.max, self.min = 2**self.bits - 1, 0
        else:
            fix = "bridge.finfo(dtype)" if self.dtype in INEXACT else None
            raise DTypeError(
                message(
                    "bridge.iinfo", "the dtype is no integer", got=self.dtype.name, want="an integer dtype", fix=fix
                )
            )

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype.name})"


_REAL = {DTYPES["complex64"]: DTYPES["float32"], DTYPES["complex128"]: DTYPES["float64"]}
# Bits of the fraction and of the exponent, as IEEE 754 counts them.
_FORMATS = {"float16": (10, 5), "bfloat16": (7, 8), "float32": (23, 8), "float64": (52, 11)}


def _dtype_of(value: Any) -> Dtype:
    return value.dtype if isinstance(value, array) else as_dtype(value)


@cache
def _float_limits(dtype: Dtype) -> tuple[float, float, float, float] | None:
    """eps, largest, smallest, smallest normal number; None of what is no floating-point format."""
    if dtype.name in _FORMATS:
        fraction, exponent = _FORMATS[dtype.name]
        bias = 2 ** (exponent - 1) - 1
        largest = (2 - 2.0**-fraction) * 2.0**bias
        return 2.0**-fraction, largest, -largest, 2.0 ** (1 - bias)
    if dtype not in HELD or "int" in dtype.name:
        return None
    import ml_dtypes

    known = ml_dtypes.finfo(to_numpy(dtype))
    return float(known.eps), float(known.max), float(known.min), float(known.smallest_normal)
