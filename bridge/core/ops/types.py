"""What ops take and give, in types: the signature that each kind of primitive has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from bridge.core._native import Dtype, array

Scalar: TypeAlias = bool | int | float | complex
Operand: TypeAlias = array | Scalar
Axis: TypeAlias = int | Sequence[int] | None
Shape: TypeAlias = int | Sequence[int]
Stream: TypeAlias = Any  # None, a device or a stream
Device: TypeAlias = Any  # None, "cpu" or a device


class Unary(Protocol):
    """Elementwise primitive of one operand."""

    def __call__(self, a: Operand, /, *, stream: Stream = None) -> array: ...


class Binary(Protocol):
    """Elementwise primitive of two operands that broadcast with each other."""

    def __call__(self, a: Operand, b: Operand, /, *, stream: Stream = None) -> array: ...


class Ternary(Protocol):
    """Choice between two operands by a third; all broadcast with each other."""

    def __call__(self, condition: Operand, x: Operand, y: Operand, /, *, stream: Stream = None) -> array: ...


class Reduction(Protocol):
    """Reduction over one axis, several axes or all of them."""

    def __call__(self, a: array, /, axis: Axis = None, keepdims: bool = False, *, stream: Stream = None) -> array: ...


class Sum(Protocol):
    """Reduction that adds up, or multiplies, in a dtype that can be asked for."""

    def __call__(
        self,
        a: array,
        /,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dtype: Dtype | None = None,
        stream: Stream = None,
    ) -> array: ...


class IndexReduction(Protocol):
    """Reduction that answers with a position: along one axis, or in the flattened array."""

    def __call__(
        self, a: array, /, axis: int | None = None, keepdims: bool = False, *, stream: Stream = None
    ) -> array: ...


class _Offers(type):
    def __instancecheck__(cls, value: object) -> bool:
        if isinstance(value, str | bytes | bytearray | type):
            return False
        names = ("__dlpack__", "__array__", "__array_interface__", "__buffer__")
        return any(hasattr(type(value), name) for name in names)


class ArrayLike(metaclass=_Offers):
    """What ops take beside arrays and numbers: anything that hands out its memory.

    An exporter of DLPack, an object with `__array__` or NumPy's array interface, or with the buffer protocol. Nothing
    inherits from this class: `isinstance` looks at what a value offers.
    """
