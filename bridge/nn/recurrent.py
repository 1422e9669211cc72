"""Recurrent layers: (..., L, input_size) to (..., L, hidden_size), one step of the second last axis after the other."""

from __future__ import annotations

import math
from collections.abc import Callable

from bridge.core._native import array
from bridge.core.ops import random
from bridge.core.ops.contract import addmm
from bridge.core.ops.exponential import sigmoid
from bridge.core.ops.shape import split, stack
from bridge.core.ops.trigonometric import tanh
from bridge.nn import activations
from bridge.nn.module import Module


class _Recurrent(Module):
    """What the layers share: weights evenly spread within ``1 / sqrt(hidden_size)`` around 0."""

    def _draw(self, *shape: int) -> array:
        bound = 1.0 / math.sqrt(self.hidden_size)
        return random.uniform(-bound, bound, shape)

    def _projected(self, x: array, weight: array, bias: array | None) -> array:
        return x @ weight.T if bias is None else addmm(bias, x, weight.T)


class RNN(_Recurrent):
    """``h = nonlinearity(Wxh x + Whh h + bias)``.

    Args:
        nonlinearity: function of one array; None for tanh.

    Parameters: Wxh (hidden_size, input_size), Whh (hidden_size, hidden_size), bias (hidden_size,).
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Callable[[array], array] | None = None,
    ) -> None:
        super().__init__()
        if nonlinearity is not None and not callable(nonlinearity):
            raise ValueError(f"[bridge.nn.RNN] the nonlinearity is no function: {nonlinearity!r}")
        self.nonlinearity = nonlinearity or activations.tanh
        self.hidden_size = hidden_size
        self.Wxh = self._draw(hidden_size, input_size)
        self.Whh = self._draw(hidden_size, hidden_size)
        self.bias = self._draw(hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return (
            f"input_dims={self.Wxh.shape[1]}, hidden_size={self.hidden_size}, nonlinearity={self.nonlinearity}, "
            f"bias={self.bias is not None}"
        )

    def __call__(self, x: array, hidden: array | None = None) -> array:
        """The states h of all steps (..., L, hidden_size), after the state `hidden` (..., hidden_size) or zeros."""
        x = self._projected(x, self.Wxh, self.bias)
        states = []
        for i in range(x.shape[-2]):
            entry = x[..., i, :]
            hidden = self.nonlinearity(entry if hidden is None else addmm(entry, hidden, self.Whh.T))
            states.append(hidden)
        return stack(states, -2)


class GRU(_Recurrent):
    """Gated recurrent unit: ``h = (1 - z) n + z h`` with ``r, z = sigmoid(Wx x + Wh h + b)`` (the first two thirds) and
    ``n = tanh(Wx x + b + r (Wh h + bhn))`` (the last third).

    Parameters: Wx (3 hidden_size, input_size), Wh (3 hidden_size, hidden_size), b (3 hidden_size,), bhn (hidden_size,).
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.Wx = self._draw(3 * hidden_size, input_size)
        self.Wh = self._draw(3 * hidden_size, hidden_size)
        self.b = self._draw(3 * hidden_size) if bias else None
        self.bhn = self._draw(hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, bias={self.b is not None}"

    def __call__(self, x: array, hidden: array | None = None) -> array:
        """The states h of all steps (..., L, hidden_size), after the state `hidden` (..., hidden_size) or zeros."""
        x = self._projected(x, self.Wx, self.b)
        gates, entries = x[..., : -self.hidden_size], x[..., -self.hidden_size :]
        states = []
        for i in range(x.shape[-2]):
            gate, entry, before = gates[..., i, :], entries[..., i, :], self.bhn
            if hidden is not None:
                drawn = hidden @ self.Wh.T
                gate = gate + drawn[..., : -self.hidden_size]
                before = drawn[..., -self.hidden_size :]
                before = before if self.bhn is None else before + self.bhn
            r, z = split(sigmoid(gate), 2, axis=-1)
            n = tanh(entry if before is None else entry + r * before)
            hidden = (1 - z) * n if hidden is None else (1 - z) * n + z * hidden
            states.append(hidden)
        return stack(states, -2)


class LSTM(_Recurrent):
    """Long short-term memory: ``i, f, g, o`` are the quarters of ``Wx x + Wh h + bias``, ``c = f c + i g`` and
    ``h = o tanh(c)``, with tanh for g and the sigmoid for the other three.

    Parameters: Wx (4 hidden_size, input_size), Wh (4 hidden_size, hidden_size), bias (4 hidden_size,).
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.Wx = self._draw(4 * hidden_size, input_size)
        self.Wh = self._draw(4 * hidden_size, hidden_size)
        self.bias = self._draw(4 * hidden_size) if bias else None

    def _extra_repr(self) -> str:
        return f"input_dims={self.Wx.shape[1]}, hidden_size={self.hidden_size}, bias={self.bias is not None}"

    def __call__(self, x: array, hidden: array | None = None, cell: array | None = None) -> tuple[array, array]:
        """The states h and c of all steps, (..., L, hidden_size) each, after `hidden` and `cell` or zeros."""
        x = self._projected(x, self.Wx, self.bias)
        states, cells = [], []
        for k in range(x.shape[-2]):
            entry = x[..., k, :]
            i, f, g, o = split(entry if hidden is None else addmm(entry, hidden, self.Wh.T), 4, axis=-1)
            new = sigmoid(i) * tanh(g)
            cell = new if cell is None else sigmoid(f) * cell + new
            hidden = sigmoid(o) * tanh(cell)
            cells.append(cell)
            states.append(hidden)
        return stack(states, -2), stack(cells, -2)
