"""Gradients kept from being too large together."""

from __future__ import annotations

from bridge.core._native import array
from bridge.core.dtypes import float16, float32
from bridge.core.errors import message
from bridge.core.lattice import DtypeCategory, issubdtype
from bridge.core.ops.arithmetic import minimum, square
from bridge.core.ops.exponential import sqrt
from bridge.optimizers.optimizer import Tree
from bridge.utils import tree_map, tree_reduce


def clip_grad_norm(grads: Tree, max_norm: float) -> tuple[Tree, array]:
    """All gradients scaled down by one factor, if the norm of them all together is above `max_norm`.

    Args:
        grads:    a tree of arrays.
        max_norm: at least 0.

    Returns:
        The tree of gradients in their dtypes (integers become float32), and the norm that they had. Squares of
        float16 are summed in float32.

    Raises:
        ValueError: `max_norm` is negative.

    Source: Pascanu, Mikolov & Bengio 2013, On the difficulty of training recurrent neural networks, ICML.
    """
    if max_norm < 0:
        tag = "bridge.optimizers.clip_grad_norm"
        raise ValueError(message(tag, "a norm is not negative", got=f"max_norm={max_norm}", want="at least 0"))
    norm = sqrt(tree_reduce(lambda total, gradient: total + _squares(gradient), grads, 0.0))
    factor = minimum(max_norm / (norm + 1e-6), 1.0)

    def scaled(gradient: array) -> array:
        product = gradient * factor
        return product.astype(gradient.dtype) if issubdtype(gradient.dtype, DtypeCategory.floating) else product

    return tree_map(scaled, grads), norm


def _squares(gradient: array) -> array:
    return square(gradient.astype(float32) if gradient.dtype is float16 else gradient).sum()
