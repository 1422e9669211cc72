"""NumPy's protocols: `np.sin(a)`, `np.add(x, a)` and `np.concatenate([a, x])` give bridge arrays.

A ufunc or function of NumPy that bridge has too (the tables below) runs here, on bridge's arrays, with bridge's dtypes,
lazily; ndarrays beside them are taken in without a copy. Anything else (no such op, an argument that bridge's does not
take) is NumPy's to compute, on read-only views of the arrays' bytes, and gives NumPy's result. `out=` is written: an
ndarray in place, if the dtype converts as `casting` allows; a bridge array is updated as by `out[...] = result`.

Source: NEP 13 (`__array_ufunc__`) and NEP 18 (`__array_function__`).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import numpy

from bridge.core._native import Primitive, array
from bridge.core.errors import DTypeError
from bridge.core.interop import from_, to

__all__ = ["array_function", "array_ufunc", "attach"]

# Ufuncs that bridge has under another name; all others have the same name in both.
RENAMED = {"absolute": "abs", "invert": "bitwise_invert", "deg2rad": "radians", "rad2deg": "degrees"}
# What `ufunc.reduce` and `ufunc.accumulate` are in bridge.
REDUCTIONS = {
    "add": "sum",
    "multiply": "prod",
    "maximum": "max",
    "minimum": "min",
    "logical_and": "all",
    "logical_or": "any",
}
SCANS = {"add": "cumsum", "multiply": "cumprod", "maximum": "cummax", "minimum": "cummin"}
# Functions of NumPy with the name and the meaning of bridge's.
FUNCTIONS = (
    *("all", "any", "argmax", "argmin", "max", "min", "sum", "prod", "mean", "std", "var", "median", "count_nonzero"),
    *("argsort", "sort", "argpartition", "partition", "searchsorted", "cumsum", "cumprod", "diff", "isin", "nonzero"),
    *("cumulative_sum", "cumulative_prod", "unique_all", "unique_counts", "unique_inverse", "unique_values"),
    *("concatenate", "concat", "stack", "unstack", "split", "tile", "repeat", "roll", "flip", "pad", "meshgrid"),
    *("reshape", "transpose", "permute_dims", "matrix_transpose", "moveaxis", "swapaxes", "squeeze", "expand_dims"),
    *("broadcast_to", "broadcast_arrays", "atleast_1d", "atleast_2d", "atleast_3d", "diag", "diagonal", "trace"),
    *("tril", "triu", "take", "take_along_axis", "where", "clip", "round", "nan_to_num", "real", "imag", "isposinf"),
    *("isneginf", "isclose", "allclose", "array_equal", "zeros_like", "ones_like", "full_like", "empty_like", "astype"),
    *("tensordot", "inner", "outer", "kron", "einsum", "convolve"),
)
ALIASES = {"amax": "max", "amin": "min", "around": "round"}
LINALG = (
    *("cholesky", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "matmul", "matrix_norm"),
    *("matrix_power", "matrix_rank", "matrix_transpose", "norm", "outer", "pinv", "qr", "slogdet", "solve", "svd"),
    *("svdvals", "tensordot", "trace", "vecdot", "vector_norm"),
)
FFT = (
    *("fft", "ifft", "fft2", "ifft2", "fftn", "ifftn", "rfft", "irfft", "rfft2", "irfft2", "rfftn", "irfftn"),
    *("hfft", "ihfft", "fftshift", "ifftshift"),
)
# NumPy answers these with a bool, not with an array.
TRUTHS = ("allclose", "array_equal")
# Keywords of ufuncs that change nothing at these values.
NEUTRAL: Mapping[str, Any] = {"dtype": None, "order": "K", "subok": True, "where": True}


def attach() -> None:
    """Put both protocols on `bridge.array`."""
    array.__array_ufunc__ = array_ufunc  # type: ignore[method-assign]
    array.__array_function__ = array_function  # type: ignore[method-assign]


def array_ufunc(self: array, ufunc: numpy.ufunc, method: str, /, *inputs: Any, **keywords: Any) -> Any:
    """What NumPy calls for a ufunc, or a method of one, with a bridge array among the operands or in `out`.

    NotImplemented if an operand has a protocol of its own (a masked array, a frame), which is then asked.
    """
    if not keywords and method == "__call__" and (known := _known.get(ufunc)) and _PLAIN.issuperset(map(type, inputs)):
        try:
            return known(*inputs)
        except DTypeError:
            known = None  # NumPy may have an answer
    out = keywords.pop("out", ())
    if any(_has_its_own(one) for one in (*inputs, *out)):
        return NotImplemented
    rest = {name: value for name, value in keywords.items() if not _is_neutral(name, value)}
    casting = rest.pop("casting", "same_kind")
    ours = _METHODS.get(method) if getattr(numpy, ufunc.__name__, None) is ufunc else None
    try:
        taken = _taken(inputs)
        if ours is _call and not rest and not out:
            _learn(ufunc)
    except DTypeError:  # text, objects, records
        ours = None
    answer = None if ours is None else ours(ufunc.__name__, taken, rest, out)
    if answer is None:
        seen = {name: _seen(value) for name, value in keywords.items()}
        if not any(isinstance(one, array) for one in out):
            return getattr(ufunc, method)(*_seen(inputs), **seen, **({"out": out} if out else {}))
        answer = getattr(ufunc, method)(*_seen(inputs), **seen)
    return _written(answer, out, casting)


def array_function(
    self: array, function: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...], keywords: dict[str, Any]
) -> Any:
    """What NumPy calls for one of its functions with a bridge array among the arguments."""
    if not all(issubclass(one, array | numpy.ndarray) for one in types):
        return NotImplemented
    ours = _functions().get(function)
    if ours is not None:
        positional, named = _arguments(function, args, keywords)
        out = named.pop("out", None)
        try:
            _signature(ours).bind(*positional, **named)
        except TypeError:  # an argument that only NumPy's has
            return function(*_seen(args), **_seen(keywords))
        answer = ours(*_taken(positional), **_taken(named))
        if function.__name__ in TRUTHS:
            return answer.item()
        return answer if out is None else _written(answer, (out,), "same_kind")
    return function(*_seen(args), **_seen(keywords))


# Ufuncs that were called plainly before, and the types of operands that bridge's ops take as they are.
_known: dict[numpy.ufunc, Callable[..., Any]] = {}
_PLAIN = frozenset((array, numpy.ndarray, bool, int, float, complex))


def _learn(ufunc: numpy.ufunc) -> None:
    function = _function(RENAMED.get(ufunc.__name__, ufunc.__name__))
    if isinstance(function, Primitive):
        _known[ufunc] = function


# -------------------------------------------------------------------------------------------------- methods of ufuncs
# Each gives None where bridge has no such op, or not with these keywords.


def _call(name: str, inputs: tuple[Any, ...], keywords: dict[str, Any], out: tuple[Any, ...]) -> Any:
    ours, dtype = _function(RENAMED.get(name, name)), keywords.pop("dtype", None)
    where = keywords.pop("where", True)
    if ours is None or keywords:
        return None
    answer = ours(*inputs)
    if dtype is not None:
        if answer.dtype.name == "bool":
            return None
        answer = ours(*(one.astype(dtype) if isinstance(one, array) else one for one in inputs)).astype(dtype)
    if where is True:
        return answer
    return _function("where")(_taken(where), answer, _taken(out[0]) if out else 0)  # type: ignore[misc]


def _reduce(name: str, inputs: tuple[Any, ...], keywords: dict[str, Any], out: tuple[Any, ...]) -> Any:
    ours = _function(REDUCTIONS.get(name, ""))
    axis, keepdims = keywords.pop("axis", 0), keywords.pop("keepdims", False)
    if ours is None or keywords.keys() - ({"dtype"} if name in ("add", "multiply") else set()):
        return None
    return ours(inputs[0], axis=axis, keepdims=keepdims, **keywords)


def _accumulate(name: str, inputs: tuple[Any, ...], keywords: dict[str, Any], out: tuple[Any, ...]) -> Any:
    ours = _function(SCANS.get(name, ""))
    axis = keywords.pop("axis", 0)
    return None if ours is None or keywords else ours(inputs[0], axis=axis)


def _outer(name: str, inputs: tuple[Any, ...], keywords: dict[str, Any], out: tuple[Any, ...]) -> Any:
    a, b = (one if isinstance(one, array) else from_(one) for one in inputs)
    return _call(name, (a.reshape(*a.shape, *(1,) * b.ndim), b), keywords, out)


_METHODS = {"__call__": _call, "reduce": _reduce, "accumulate": _accumulate, "outer": _outer}


def _is_neutral(name: str, value: Any) -> bool:
    return name in NEUTRAL and (value is NEUTRAL[name] or (isinstance(value, str) and value == NEUTRAL[name]))


# -------------------------------------------------------------------------------------------------- NumPy's functions


def _function(name: str) -> Callable[..., Any] | None:
    found = getattr(sys.modules["bridge"], name, None)
    return found if callable(found) else None


@cache
def _functions() -> dict[Any, Callable[..., Any]]:
    """NumPy's functions that bridge has: gathered when NumPy first asks."""
    bridge = sys.modules["bridge"]
    rows = [(numpy, name, getattr(bridge, name, None)) for name in FUNCTIONS]
    rows += [(numpy, theirs, getattr(bridge, ours, None)) for theirs, ours in ALIASES.items()]
    rows += [(numpy, "dot", _dot)]
    rows += [(numpy.linalg, name, getattr(bridge.linalg, name, None)) for name in LINALG]
    rows += [(numpy.fft, name, getattr(bridge.fft, name, None)) for name in FFT]
    return {getattr(module, name): ours for module, name, ours in rows if ours is not None and hasattr(module, name)}


def _dot(a: Any, b: Any) -> array:
    """NumPy's dot: over the last axis of `a` and the last but one of `b`."""
    bridge = sys.modules["bridge"]
    if numpy.ndim(a) == 0 or numpy.ndim(b) == 0:
        product = bridge.multiply(a, b)
    else:
        product = bridge.tensordot(a, b, ([numpy.ndim(a) - 1], [max(numpy.ndim(b) - 2, 0)]))
    return product  # type: ignore[no-any-return]


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _arguments(
    function: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A call's arguments: the required ones by position, the others by NumPy's name, without those at their default.

    The order of optional parameters is NumPy's own: `np.sum(a, 0, dtype)`.
    """
    try:
        signature = _signature(function)
    except ValueError:  # written in C, without a signature
        return args, keywords
    bound = signature.bind(*args, **keywords).arguments
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, value in bound.items():
        parameter = signature.parameters[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            named |= value
        elif parameter.default is parameter.empty:
            positional.append(value)
        elif value is not parameter.default and not (isinstance(value, str) and value == parameter.default):
            named[name] = value
    return tuple(positional), named


# -------------------------------------------------------------------------------------------------------- to and fro


def _has_its_own(value: Any) -> bool:
    """Whether the operand's type has a protocol of its own, neither ndarray's nor this one."""
    protocol = getattr(type(value), "__array_ufunc__", None)
    return protocol not in (None, numpy.ndarray.__array_ufunc__, array_ufunc)


def _taken(value: Any) -> Any:
    """With every ndarray, also inside lists, tuples and dicts, as a bridge array over its memory."""
    return from_(value) if isinstance(value, numpy.ndarray) else _inside(value, _taken)


def _seen(value: Any) -> Any:
    """With every bridge array, also inside lists, tuples and dicts, as an ndarray over its bytes that cannot write."""
    return to("numpy", value, readonly=True) if isinstance(value, array) else _inside(value, _seen)


def _inside(value: Any, change: Callable[[Any], Any]) -> Any:
    if type(value) in (list, tuple):
        return type(value)(change(one) for one in value)
    return {name: change(one) for name, one in value.items()} if type(value) is dict else value


def _written(answer: Any, out: tuple[Any, ...], casting: str) -> Any:
    """The answer, written into `out` where that is given, which is then the answer."""
    if not out:
        return answer
    answers = answer if isinstance(answer, tuple) else (answer,)
    given = [values if target is None else target for target, values in zip(out, answers, strict=True)]
    for target, values in zip(out, answers, strict=True):
        if isinstance(target, numpy.ndarray):
            numpy.copyto(target, _seen(values), casting=casting)  # type: ignore[arg-type]
        elif target is not None:
            target[...] = values
    return given[0] if len(given) == 1 else tuple(given)
