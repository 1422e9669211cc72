"""How an array prints: `array([0, 1, 2], dtype=int32)`, as MLX prints it.

Axes of more than six elements show their first and last three. Only the corners that are shown are read: once it is
evaluated, a large array prints as fast as a small one. Numbers print with six significant digits, or with a fixed
number of decimals after `set_printoptions(precision=...)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.core._native import array

EDGE = 3  # elements shown at either end of an axis that is not shown whole


@dataclass(frozen=True)
class PrintOptions:
    """How numbers print. precision: decimals, or -1 for six significant digits."""

    precision: int = -1


_options = PrintOptions()


def get_printoptions() -> PrintOptions:
    """The options in force."""
    return _options


def set_printoptions(precision: int = -1) -> None:
    """Print floating-point numbers with that many decimals; -1: with six significant digits."""
    global _options
    _options = PrintOptions(precision)


@contextmanager
def printoptions(precision: int = -1) -> Iterator[PrintOptions]:
    """`set_printoptions` for the length of a `with` block."""
    global _options
    before = _options
    _options = PrintOptions(precision)
    try:
        yield _options
    finally:
        _options = before


def format_array(a: array) -> str:
    """Text of an array, evaluated if it is not yet. Source: the printed examples of MLX's documentation."""
    cell = _CELLS[_kind(a)]
    body = _nest(_corners(a), a.shape, len("array("), cell)
    return f"array({body}, dtype={a.dtype.name})"


def format_value(a: array, specification: str) -> str:
    """`format(a, specification)`: that of the number if `a` holds one, else the printed array."""
    if a.size == 1 and a.ndim == 0:
        value = a.item()
        return format(value, specification) if specification else _CELLS[_kind(a)](value)
    return format(format_array(a), specification)


def _kind(a: array) -> str:
    """The letters that the dtype's name begins with: "float" of float32 and of float8_e4m3fn."""
    return _LETTERS.match(a.dtype.name)[0]  # type: ignore[index]


def _corners(a: array) -> Any:
    """The elements that are shown, as nested lists in which every elided axis has EDGE elements from either end."""
    elided = [axis for axis, extent in enumerate(a.shape) if extent > 2 * EDGE]
    if not elided:
        return a.tolist()
    ends = (slice(None, EDGE), slice(-EDGE, None))
    whole = [slice(None)] * a.ndim
    corners = []
    for choice in product(ends, repeat=len(elided)):
        for axis, end in zip(elided, choice, strict=True):
            whole[axis] = end
        corners.append(a[tuple(whole)].tolist())
    for axis in reversed(elided):
        corners = [_join(corners[k], corners[k + 1], axis) for k in range(0, len(corners), 2)]
    return corners[0]


def _join(first: Any, second: Any, axis: int) -> Any:
    if axis == 0:
        return first + second
    return [_join(a, b, axis - 1) for a, b in zip(first, second, strict=True)]


def _nest(values: Any, shape: tuple[int, ...], indent: int, cell: Callable[[Any], str]) -> str:
    if not shape:
        return cell(values)
    texts = [_nest(value, shape[1:], indent + 1, cell) for value in values]
    if shape[0] > 2 * EDGE:
        texts.insert(EDGE, "...")
    # The last axis runs along the line; the others put every element on a line of its own.
    between = ", " if len(shape) == 1 else ",\n" + " " * (indent + 1)
    return f"[{between.join(texts)}]"


def _real(value: float) -> str:
    if _options.precision < 0:
        return f"{value:g}"
    return f"{value:.{_options.precision}f}"


def _complex(value: complex) -> str:
    imaginary = value.imag
    plus = "" if imaginary < 0 else "+"
    return f"{_real(value.real)}{plus}{_real(imaginary)}j"


_LETTERS = re.compile("[a-z]+")
_CELLS: dict[str, Callable[[Any], str]] = {
    "bool": str,
    "int": str,
    "uint": str,
    "float": _real,
    "bfloat": _real,
    "complex": _complex,
}
