"""Array methods and properties that are ops: `a.exp()` is `exp(a)`.

A function becomes a method as it stands: the array is its first argument. METHODS is the one list; `attach` puts it on
the native type once, and the stub generator reads it. Whatever the type defines in C++ (`astype`, `reshape`,
`transpose`, `item`, the operators ...) is not listed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bridge.core._native import array
from bridge.core.ops import arithmetic, exponential, reduce, shape, trigonometric
from bridge.core.printing import format_value

METHODS: dict[str, Callable[..., Any]] = {
    "abs": arithmetic.abs,
    "all": reduce.all,
    "any": reduce.any,
    "argmax": reduce.argmax,
    "argmin": reduce.argmin,
    "conj": arithmetic.conjugate,
    "cos": trigonometric.cos,
    "exp": exponential.exp,
    "flatten": shape.flatten,
    "log": exponential.log,
    "log10": exponential.log10,
    "log1p": exponential.log1p,
    "log2": exponential.log2,
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
}

PROPERTIES: dict[str, Callable[[array], array]] = {
    "imag": arithmetic.imag,
    "mT": shape.matrix_transpose,
    "real": arithmetic.real,
}


def attach() -> None:
    """Put METHODS and PROPERTIES on `bridge.array`. A name that C++ already defines is an error, not an override."""
    own = vars(array)
    for name, function in METHODS.items():
        if name in own:
            raise TypeError(f"bridge.array.{name} is defined twice: in C++ and in ops/methods.py")
        setattr(array, name, function)
    for name, getter in PROPERTIES.items():
        setattr(array, name, property(getter, doc=getter.__doc__))
    array.__format__ = format_value  # type: ignore[method-assign]
