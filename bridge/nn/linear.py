"""Layers that multiply by a matrix, look up its rows, or chain other layers."""

from __future__ import annotations

import math
from typing import Any

from bridge.core._native import array
from bridge.core.ops import random
from bridge.core.ops.contract import addmm
from bridge.nn.module import Module


class Identity(Module):
    """Gives what it takes; all arguments of the constructor are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def __call__(self, x: array) -> array:
        return x


class Sequential(Module):
    """Calls one module (or function) after the other."""

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        self.layers = list(modules)

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


class Linear(Module):
    """``x @ weight.T + bias``: (..., input_dims) to (..., output_dims).

    Parameters: weight (output_dims, input_dims) and bias (output_dims,), at first evenly spread within
    ``1 / sqrt(input_dims)`` around 0.
    """

    def __init__(self, input_dims: int, output_dims: int, bias: bool = True) -> None:
        super().__init__()
        bound = math.sqrt(1.0 / input_dims)
        self.weight = random.uniform(-bound, bound, (output_dims, input_dims))
        if bias:
            self.bias = random.uniform(-bound, bound, (output_dims,))

    def _extra_repr(self) -> str:
        output_dims, input_dims = self.weight.shape
        return f"input_dims={input_dims}, output_dims={output_dims}, bias={'bias' in self}"

    def __call__(self, x: array) -> array:
        if "bias" in self:
            return addmm(self["bias"], x, self["weight"].T)
        return x @ self.weight.T


class Bilinear(Module):
    """Feature k is ``x2 @ weight[k] @ x1 + bias[k]``: (..., input1_dims) and (..., input2_dims) to (..., output_dims).

    Parameters: weight (output_dims, input2_dims, input1_dims) and bias (output_dims,), at first evenly spread within
    ``1 / sqrt(input1_dims)`` around 0.
    """

    def __init__(self, input1_dims: int, input2_dims: int, output_dims: int, bias: bool = True) -> None:
        super().__init__()
        bound = math.sqrt(1.0 / input1_dims)
        self.weight = random.uniform(-bound, bound, (output_dims, input2_dims, input1_dims))
        if bias:
            self.bias = random.uniform(-bound, bound, (output_dims,))

    def _extra_repr(self) -> str:
        output_dims, second, first = self.weight.shape
        return f"input1_dims={first}, input2_dims={second}, output_dims={output_dims}, bias={'bias' in self}"

    def __call__(self, x1: array, x2: array) -> array:
        output_dims, second, first = self.weight.shape
        rows = x1.reshape(-1, first) @ self.weight.reshape(-1, first).T
        columns = rows.reshape(-1, output_dims, second) @ x2.reshape(-1, second, 1)
        y = columns.reshape(*x1.shape[:-1], output_dims)
        return y + self.bias if "bias" in self else y


class Embedding(Module):
    """Rows of a matrix by number: integers (...) to (..., dims).

    Parameters: weight (num_embeddings, dims), at first normal with variance ``1 / dims``.
    """

    def __init__(self, num_embeddings: int, dims: int) -> None:
        super().__init__()
        self.weight = random.normal((num_embeddings, dims), scale=math.sqrt(1 / dims))

    def _extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}"

    def __call__(self, x: array) -> array:
        return self.weight[x]

    def as_linear(self, x: array) -> array:
        """``x @ weight.T``: (..., dims) to (..., num_embeddings), for an output that shares the weight of the input."""
        return x @ self.weight.T
