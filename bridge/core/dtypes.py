"""The dtype table, its sets, and the way from and to NumPy's dtypes.

One row per element type, in the order of `native/dtypes.h`, which holds the same rows for C++.
`tests/core/test_dtypes.py` compares the two, and the objects that the extension made from them. A dtype is an interned
object: compare with `is` or `==`; a comparison with anything else is False.

Operations compute with the first fifteen. The other nine, float8 and the types of four bits, are *held*: their arrays
are shared, viewed, copied and converted (`held.py`), and an operation that would compute raises DTypeError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bridge.core import _native, errors
from bridge.core._native import DTYPES, Dtype
from bridge.core.memory import numpy_dtype
from bridge.core.promotion import promote as promote_names

if TYPE_CHECKING:
    import numpy

Kind: TypeAlias = Literal["bool", "unsigned", "signed", "floating", "complex", "held"]


@dataclass(frozen=True, slots=True)
class Row:
    """What every layer needs to know of a dtype."""

    name: str  # as Python spells it: "bool", "float32"
    size: int  # bytes of an element
    kind: Kind
    dlpack_code: int  # DLDataTypeCode of DLPack 1.x; lanes are 1
    format: str | None  # struct-module code (PEP 3118); None: the buffer protocol has none
    padding: int = 0  # high bits of an element's byte that are no part of its value
    exact: str | None = None  # of a held dtype: the smallest dtype that is computed with and has every value

    @property
    def bits(self) -> int:
        """Bits of an element as DLPack counts them."""
        return 8 * self.size - self.padding


TABLE: tuple[Row, ...] = (
    Row("bool", 1, "bool", 6, "?"),
    Row("uint8", 1, "unsigned", 1, "B"),
    Row("uint16", 2, "unsigned", 1, "H"),
    Row("uint32", 4, "unsigned", 1, "I"),
    Row("uint64", 8, "unsigned", 1, "Q"),
    Row("int8", 1, "signed", 0, "b"),
    Row("int16", 2, "signed", 0, "h"),
    Row("int32", 4, "signed", 0, "i"),
    Row("int64", 8, "signed", 0, "q"),
    Row("float16", 2, "floating", 2, "e"),
    Row("bfloat16", 2, "floating", 4, None),
    Row("float32", 4, "floating", 2, "f"),
    Row("float64", 8, "floating", 2, "d"),
    Row("complex64", 8, "complex", 5, "Zf"),
    Row("complex128", 16, "complex", 5, "Zd"),
    Row("float8_e4m3fn", 1, "held", 10, None, 0, "float16"),
    Row("float8_e5m2", 1, "held", 12, None, 0, "float16"),
    Row("float8_e4m3b11fnuz", 1, "held", 9, None, 0, "float16"),
    Row("float8_e4m3fnuz", 1, "held", 11, None, 0, "float16"),
    Row("float8_e5m2fnuz", 1, "held", 13, None, 0, "float16"),
    Row("float8_e8m0fnu", 1, "held", 14, None, 0, "bfloat16"),
    Row("int4", 1, "held", 0, None, 4, "int8"),
    Row("uint4", 1, "held", 1, None, 4, "uint8"),
    Row("float4_e2m1fn", 1, "held", 17, None, 4, "float16"),
)
ROWS: dict[Dtype, Row] = {DTYPES[row.name]: row for row in TABLE}

bool_ = DTYPES["bool"]
uint8, uint16, uint32, uint64 = (DTYPES[f"uint{bits}"] for bits in (8, 16, 32, 64))
int8, int16, int32, int64 = (DTYPES[f"int{bits}"] for bits in (8, 16, 32, 64))
float16, float32, float64 = (DTYPES[f"float{bits}"] for bits in (16, 32, 64))
bfloat16 = DTYPES["bfloat16"]
complex64, complex128 = DTYPES["complex64"], DTYPES["complex128"]
float8_e4m3fn, float8_e5m2 = DTYPES["float8_e4m3fn"], DTYPES["float8_e5m2"]
float8_e4m3b11fnuz, float8_e4m3fnuz = DTYPES["float8_e4m3b11fnuz"], DTYPES["float8_e4m3fnuz"]
float8_e5m2fnuz, float8_e8m0fnu = DTYPES["float8_e5m2fnuz"], DTYPES["float8_e8m0fnu"]
int4, uint4, float4_e2m1fn = DTYPES["int4"], DTYPES["uint4"], DTYPES["float4_e2m1fn"]


def _of_kind(*kinds: Kind) -> frozenset[Dtype]:
    return frozenset(dtype for dtype, row in ROWS.items() if row.kind in kinds)


# Sets of dtypes: what an op accepts is written with `|` of these.
BOOL = _of_kind("bool")
UNSIGNED = _of_kind("unsigned")
SIGNED = _of_kind("signed")
INTEGER = UNSIGNED | SIGNED
FLOATING = _of_kind("floating")
COMPLEX = _of_kind("complex")
INEXACT = FLOATING | COMPLEX
REAL = BOOL | INTEGER | FLOATING
NUMERIC = INTEGER | INEXACT
ALL = REAL | COMPLEX
# What no op accepts: see held.py.
HELD = _of_kind("held")


def mask(dtypes: frozenset[Dtype]) -> int:
    """The set as the bit mask that the extension reads: bit `code` for every dtype."""
    bits = 0
    for dtype in dtypes:
        bits |= 1 << dtype.code
    return bits


def promote(a: Dtype, b: Dtype) -> Dtype:
    """Dtype of an operation on two arrays of dtypes `a` and `b`, from the lattice in promotion.py.

    Raises:
        DTypeError: one of them is held, and the other is another.
    """
    if a in HELD or b in HELD:
        return _native.promote(a, b)
    return DTYPES[promote_names(a.name, b.name)]


def to_numpy(dtype: Dtype) -> numpy.dtype[Any]:
    """NumPy's dtype of the same bytes; bfloat16 and the held dtypes are those of ml_dtypes."""
    return numpy_dtype(dtype.name)


def from_numpy(dtype: Any) -> Dtype:
    """Dtype of the same bytes as a NumPy dtype, or as anything `numpy.dtype` understands.

    Raises:
        DTypeError: bridge has no such dtype (strings, objects, records, longdouble, int2 ...), or its bytes are not
            in this machine's order.
    """
    import numpy

    try:
        wanted = numpy.dtype(dtype)
    except TypeError:
        raise _no_dtype(dtype) from None
    found = DTYPES.get(wanted.name)
    if found is None or not wanted.isnative or wanted.itemsize != found.size or to_numpy(found) != wanted:
        raise _no_dtype(wanted)
    return found


def as_dtype(value: Any) -> Dtype:
    """Dtype from a Dtype, its name ("float32", "bool_"), a Python scalar type, or a NumPy dtype.

    The Python types stand for bridge's default dtypes, not NumPy's: bool, int32, float32, complex64.

    Raises:
        DTypeError: it names no dtype of bridge.
    """
    if type(value) is Dtype:
        return value
    if isinstance(value, str):
        name = value.removesuffix("_")
        if name in DTYPES:
            return DTYPES[name]
    if isinstance(value, type) and value in _PYTHON_TYPES:
        return _PYTHON_TYPES[value]
    return from_numpy(value)


_PYTHON_TYPES: dict[type, Dtype] = {bool: bool_, int: int32, float: float32, complex: complex64}


def _no_dtype(value: object) -> errors.DTypeError:
    return errors.DTypeError(
        errors.message(
            "bridge.dtype",
            "bridge has no dtype of this description.",
            got=str(value),
            want="one of " + ", ".join(DTYPES),
            fix="convert to one of these first, for example with x.astype('float32')",
        )
    )
