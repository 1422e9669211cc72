"""Array methods and properties that are ops: `a.exp()` is `exp(a)`.

A function becomes a method as it stands: the array is its first argument. METHODS is the one list; `attach` puts it on
the native type once, and the stub generator reads it. Whatever the type defines in C++ (`astype`, `reshape`,
`transpose`, `item`, the operators ...) is not listed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.core import namespace
from bridge.core._native import array
from bridge.core.ops import arithmetic, bitcast, create, exponential, reduce, scan, shape, take, trigonometric
from bridge.core.ops.placed import on_stream
from bridge.core.ops.types import Operand
from bridge.core.printing import format_value


def _bytes(self: array) -> bytes:
    """The elements in row-major order."""
    values: bytes = self.__array__().tobytes()
    return values


def _divide(self: array, other: Operand) -> array:
    """MLX has the division of Python 2, under its name."""
    return arithmetic.divide(self, other)


def _divide_into(self: array, other: Operand) -> array:
    return arithmetic.divide(other, self)


METHODS: dict[str, Callable[..., Any]] = {
    "abs": arithmetic.abs,
    "all": reduce.all,
    "any": reduce.any,
    "argmax": reduce.argmax,
    "argmin": reduce.argmin,
    "conj": arithmetic.conjugate,
    "cos": trigonometric.cos,
    "cummax": scan.cummax,
    "cummin": scan.cummin,
    "cumprod": scan.cumprod,
    "cumsum": scan.cumsum,
    "diag": create.diag,
    "diagonal": shape.diagonal,
    "exp": exponential.exp,
    "flatten": shape.flatten,
    "log": exponential.log,
    "log10": exponential.log10,
    "log1p": exponential.log1p,
    "log2": exponential.log2,
    "logcumsumexp": scan.logcumsumexp,
    "logsumexp": reduce.logsumexp,
    "max": reduce.max,
    "mean": reduce.mean,
    "min": reduce.min,
    "moveaxis": shape.moveaxis,
    "prod": reduce.prod,
    "reciprocal": arithmetic.reciprocal,
    "round": arithmetic.round,
    "rsqrt": exponential.rsqrt,
    "sin": trigonometric.sin,
    "split": shape.split,
    "sqrt": exponential.sqrt,
    "square": arithmetic.square,
    "squeeze": shape.squeeze,
    "std": reduce.std,
    "sum": reduce.sum,
    "swapaxes": shape.swapaxes,
    "var": reduce.var,
    "view": bitcast.view,
}

# Methods that are no functions of the namespace.
SPECIAL: dict[str, Callable[..., Any]] = {
    "__array_namespace__": namespace.array_namespace,
    "__bytes__": _bytes,
    "__div__": _divide,
    "__format__": format_value,
    "__rdiv__": _divide_into,
    "to_device": namespace.to_device,
}

PROPERTIES: dict[str, Callable[[array], Any]] = {
    "at": take.at,
    "device": namespace.device_of,
    "imag": arithmetic.imag,
    "mT": shape.matrix_transpose,
    "real": arithmetic.real,
}


def attach() -> None:
    """Put METHODS and PROPERTIES on `bridge.array`. A name that C++ already defines is an error, not an override."""
    own = vars(array)
    for name, function in {**METHODS, **SPECIAL}.items():
        if name in own:
            raise TypeError(f"bridge.array.{name} is defined twice: in C++ and in ops/methods.py")
        setattr(array, name, on_stream(function))
    for name, getter in PROPERTIES.items():
        setattr(array, name, property(getter, doc=getter.__doc__))
