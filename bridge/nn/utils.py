"""Transforms of functions that call a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from bridge.core import transforms
from bridge.nn.module import Module
from bridge.utils import tree_flatten, tree_unflatten

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
    own = tree_flatten(module.parameters(), destination={})
    lent = tree_flatten(parameters, destination={})
    module.update(parameters)
    try:
        yield
    finally:
        now = tree_flatten(module.parameters(), destination={})
        back = {path: own[path] for path, a in lent.items() if now.get(path) is a}
        if back:
            module.update(tree_unflatten(back), strict=False)
