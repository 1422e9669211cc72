"""Transforms of functions that call a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from bridge.core import transforms
from bridge.core._native import array
from bridge.nn.module import Module

__all__ = ["checkpoint", "value_and_grad"]


def value_and_grad(model: Module, fn: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """A function that gives the value of `fn` and its gradient by the trainable parameters of `model`.

    Args:
        model: its parameters are what they were afterwards, except those that `fn` itself replaces (the statistics of a
               BatchNorm).
        fn:    gives a scalar, or a tuple or list whose first entry is one.

    Returns:
        Takes the arguments of `fn`; gives (what `fn` gives, a tree like ``model.trainable_parameters()``).
    """

    def loss(parameters: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        with _lent(model, parameters):
            return fn(*args, **kwargs)

    differentiated = transforms.value_and_grad(loss)

    @wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        return differentiated(model.trainable_parameters(), *args, **kwargs)

    return wrapped


def checkpoint(module: Module, fn: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """`bridge.checkpoint` of a function that calls a module: gradients flow to its trainable parameters as well.

    Args:
        module: whose parameters count as arguments.
        fn:     what is computed again for the gradient; None for the module itself.
    """
    call = module if fn is None else fn

    def inside(parameters: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        with _lent(module, parameters):
            return call(*args, **kwargs)

    again = transforms.checkpoint(inside)

    @wraps(call)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return again(module.trainable_parameters(), *args, **kwargs)

    return wrapped


@contextmanager
def _lent(module: Module, parameters: dict[str, Any]) -> Iterator[None]:
    """Within: the module has these parameters. Afterwards: its own again, where it has not got new ones meanwhile."""
    swaps = [(holder, key, lent, holder[key]) for holder, key, lent in _places(module, parameters)]
    for holder, key, lent, _ in swaps:
        holder[key] = lent
    try:
        yield
    finally:
        for holder, key, lent, own in swaps:
            if holder[key] is lent:
                holder[key] = own


def _places(holder: Any, tree: Any) -> Iterator[tuple[Any, Any, array]]:
    """(dictionary or list, key, array) for every array of `tree`: where it belongs in `holder`."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, array):
            yield holder, key, value
        else:
            yield from _places(holder[key], value)
