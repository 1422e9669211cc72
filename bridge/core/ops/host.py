"""Host ops: primitives whose kernel is a Python function over NumPy arrays.

    @host("linalg", accepts=LAPACK, result=lambda a: alike(a), kernel=lambda a: numpy.linalg.inv(a))
    def inv(a: array, *, stream: Stream = None) -> array:
        \"""Inverse of square matrices.\"""

The header says how the op is called: its parameters annotated `array` are the operands, the others go to the kernel as
they are. An op is as lazy as any other. What can be told from dtypes and shapes is checked in the call; what depends on
values (a singular matrix) raises when the array is evaluated, every time.

The kernel runs on the thread that evaluates, with the GIL and no lock of the engine held. Its operands are read-only
views of the engine's memory, or private copies where another framework can write there. What it gives is copied once,
so the result is an array like any other. Several results come from one run of the kernel, made when the first is
needed; each is dropped from it when it is taken.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

import numpy

from bridge.core._native import Dtype, array, declare, result_type
from bridge.core._native import host as host_node
from bridge.core.dtypes import mask, to_numpy
from bridge.core.errors import BridgeError, DTypeError, LinAlgError, message
from bridge.core.ops.declare import Declaration, Rule, Rules, as_rules, register, signature_text
from bridge.core.ops.index import cast as converted
from bridge.core.ops.shape import as_array
from bridge.core.ops.shape import describe as describe

P = ParamSpec("P")
R = TypeVar("R")

Spec: TypeAlias = tuple[Dtype, tuple[int, ...]]  # dtype and shape of one result
Specs: TypeAlias = Spec | list[Spec]  # a list: the op gives a tuple of arrays


def host(
    module: str,
    *,
    accepts: frozenset[Dtype],
    result: Callable[..., Specs],
    kernel: Callable[..., Any],
    form: Callable[..., Any] | None = None,
    transpose: Rules | None = None,
    pullback: Rule | None = None,
    batching: Rule | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare a host op. Decorates a header, as `structured` does.

    Args:
        module: where users find it: "linalg" for `bridge.linalg`, "" for `bridge`.
        result: `(*operands, **parameters) -> (dtype, shape)`, or a list of them; raises where operands do not fit.
        kernel: `(*ndarrays, **parameters)`, called when the values are needed. Gives one array, or as many as promised.
        form: what several results are given as: a namedtuple's type.
        batching: None where leading axes are a batch already, as in all of linalg.
    """

    def decorate(header: Callable[P, R]) -> Callable[P, R]:
        name = header.__name__
        plan = _plan(".".join(filter(None, ("bridge", module, name))), header, accepts, result, kernel, form)
        call = declare(name, "host", accepts=mask(accepts), plan=plan)
        declaration = Declaration(
            name=name,
            kind="host",
            signature=signature_text(header),
            doc=inspect.cleandoc(header.__doc__ or ""),
            call=call,
            accepts=accepts,
            transpose=as_rules(transpose),
            pullback=pullback,
            batching=batching or (lambda size, batched, /, *operands, **parameters: call(*operands, **parameters)),
            header=header,
        )
        return cast("Callable[P, R]", register(declaration))

    return decorate


class Call:
    """What a node holds: the kernel, its parameters, and what its results must be."""

    __slots__ = ("kernel", "parameters", "results", "tag")

    def __init__(self, tag: str, kernel: Callable[..., Any], parameters: dict[str, Any], results: Specs) -> None:
        self.tag = tag
        self.kernel = kernel
        self.parameters = parameters
        self.results = results

    def __str__(self) -> str:
        return self.tag

    @property
    def name(self) -> str:
        """Of the primitive."""
        return self.tag.rpartition(".")[2]

    def __call__(self, *operands: numpy.ndarray[Any, Any]) -> Any:
        try:
            with numpy.errstate(all="ignore"):
                values = self.kernel(*operands, **self.parameters)
        except numpy.linalg.LinAlgError as error:
            got = ", ".join(f"{one.dtype}{list(one.shape)}" for one in operands)
            raise LinAlgError(message(self.tag, str(error), got=got)) from None
        if isinstance(self.results, list):
            return [self._exact(*pair) for pair in zip(values, self.results, strict=True)]
        return self._exact(values, self.results)

    def _exact(self, value: Any, spec: Spec) -> numpy.ndarray[Any, Any]:
        """The value as the bytes that were promised: dtype, shape, row-major."""
        dtype, shape = spec
        exact: numpy.ndarray[Any, Any] = numpy.asarray(value, dtype=to_numpy(dtype), order="C")
        if exact.shape != shape:
            raise BridgeError(
                message(self.tag, "the kernel gave another shape than it had promised.", got=str(exact.shape))
            )
        # Dtypes of ml_dtypes have no code in the buffer protocol.
        return exact if exact.dtype.isbuiltin == 1 else exact.view(numpy.dtype(f"u{dtype.size}"))


def _plan(
    tag: str,
    header: Callable[..., Any],
    accepts: frozenset[Dtype],
    result: Callable[..., Specs],
    kernel: Callable[..., Any],
    form: Callable[..., Any] | None,
) -> Callable[..., Any]:
    """The function behind the native callable: checks the arguments and makes the node."""
    signature = inspect.signature(header)
    operands = [name for name, one in signature.parameters.items() if one.annotation == "array"]
    parameters_of = _binder(header.__name__, signature)

    def plan(*args: Any, **keywords: Any) -> Any:
        parameters = parameters_of(args, keywords)
        stream = parameters.pop("stream")
        arrays = promoted(tag, [parameters.pop(name) for name in operands], accepts)
        results = result(*arrays, **parameters)
        node = host_node(Call(tag, kernel, parameters, results), tuple(arrays), results, stream)
        return form(*node) if form is not None and isinstance(results, list) else node

    return plan


def _binder(name: str, signature: inspect.Signature) -> Callable[[tuple[Any, ...], dict[str, Any]], dict[str, Any]]:
    """The function from arguments to a value for every parameter; a plain call goes a shorter way."""
    parameters = signature.parameters.values()
    positional = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
    required = sum(one.default is one.empty for one in parameters)

    def parameters_of(args: tuple[Any, ...], keywords: dict[str, Any]) -> dict[str, Any]:
        if required <= len(args) <= len(positional) and (not keywords or keywords.keys() == {"stream"}):
            return {**defaults, **dict(zip(positional, args, strict=False)), **keywords}
        try:
            bound = signature.bind(*args, **keywords)
        except TypeError as error:
            raise TypeError(f"{name}() {error}") from None
        bound.apply_defaults()
        return bound.arguments

    return parameters_of


def promoted(tag: str, operands: Sequence[Any], accepts: frozenset[Dtype]) -> list[array]:
    """The operands as arrays of their common dtype.

    Raises:
        DTypeError: that dtype is not accepted.
    """
    arrays = [as_array(one) for one in operands]
    dtype = result_type(*arrays)
    if dtype not in accepts:
        raise DTypeError(
            message(
                tag,
                f"{dtype.name} is not a dtype that it works with.",
                got=" and ".join(describe(one) for one in arrays),
                want=", ".join(sorted(one.name for one in accepts)),
                fix="a.astype(bridge.float32)",
            )
        )
    return [converted(one, dtype) for one in arrays]
