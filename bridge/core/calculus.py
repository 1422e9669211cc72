"""What a framework has to offer so that functions cross into it with their derivatives: a `Calculus`.

Functions are flat here: they take a list of arrays and give a list of arrays. Nests, dtypes and conversions are the
business of `bridge/core/border.py`; a calculus only knows its framework. Derivatives are functions of the framework's
own arrays again, so that the framework can differentiate and map them as it does any other: second derivatives need no
method of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

__all__ = ["Calculus", "Flat", "Inside", "Spec"]

Flat: TypeAlias = Callable[[Sequence[Any]], list[Any]]
Spec: TypeAlias = tuple[str, tuple[int, ...]]  # name of the dtype, shape


class Inside(Protocol):
    """A bridge function as a calculus sees it that makes a layer of it."""

    name: str

    def __call__(self, xs: Sequence[Any]) -> list[Any]:
        """Results for arrays of the framework, as arrays of the framework."""

    def on_host(self, xs: Sequence[Any]) -> list[Any]:
        """The same for NumPy arrays, which is what callbacks of compiled code get."""

    def specs(self, specs: Sequence[Spec]) -> list[Spec]:
        """Dtypes and shapes of the results for arguments of these."""

    def vjp(self, where: Sequence[int], ends: Sequence[int], count: int) -> Inside:
        """From `count` arguments and the cotangents of the results `ends` to the gradients of the arguments `where`."""

    def batched(self, has: Sequence[bool]) -> Inside:
        """For whole batches: an argument that `has` an axis in front, and every result."""


class Calculus(ABC):
    """How one framework differentiates and maps its own functions.

    `where` and `ends` are the numbers of the arguments and results of floating-point or complex dtype that count.
    Gradients by complex numbers point where a real loss grows.
    """

    types: tuple[type, ...]  # of the framework's arrays, traced ones included; __init__ sets it, which may import

    def free(self, x: Any) -> Any:
        """The array without what the framework has recorded of it."""
        return x

    @abstractmethod
    def recorded(self, f: Flat, xs: Sequence[Any], where: Sequence[int]) -> tuple[list[Any], Callable[..., list[Any]]]:
        """The results of `f`, and `(ends, cotangents) -> gradients`, which uses what the call has kept."""

    @abstractmethod
    def vjp(self, f: Flat, where: Sequence[int], ends: Sequence[int], count: int) -> Flat:
        """From `count` arguments and the cotangents of `ends` to the gradients of `where`."""

    @abstractmethod
    def jvp(self, f: Flat, where: Sequence[int], ends: Sequence[int], count: int) -> Flat:
        """From `count` arguments and the tangents of `where` to the tangents of `ends`."""

    @abstractmethod
    def vmap(self, f: Flat, has: Sequence[bool], size: int) -> Flat:
        """For whole batches: axis 0 of the arguments that have one, and of every result."""

    @abstractmethod
    def specs(self, f: Flat, specs: Sequence[Spec]) -> list[Spec]:
        """Dtypes and shapes of the results for arguments of these, without values."""

    @abstractmethod
    def layer(self, inside: Inside) -> Flat:
        """A bridge function as a function of the framework's arrays that the framework can differentiate."""
