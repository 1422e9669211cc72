"""Optimizers that look at a parameter as a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bridge.core._native import array
from bridge.core.errors import message
from bridge.core.ops.arithmetic import maximum, minimum, square
from bridge.core.ops.contract import addmm
from bridge.core.ops.create import zeros, zeros_like
from bridge.core.ops.exponential import rsqrt, sqrt
from bridge.core.ops.reduce import mean
from bridge.core.ops.shape import expand_dims, reshape
from bridge.optimizers.optimizer import Kept, Optimizer, Rate

# Of the odd polynomial a x + b x³ + c x⁵, which drives singular values to about 1 (Jordan et al. 2024).
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Adafactor(Optimizer):
    """Adam's scaling from sums of rows and columns: memory for m + n numbers instead of m * n.

    Parameters with fewer than two axes keep all squares. The factored axes are the last two.

    Args:
        learning_rate:   number, or function of the step; only used if `relative_step` is False.
        eps:             (added to squared gradients, least scale of a parameter).
        clip_threshold:  the root mean square of an update before the learning rate is at most this.
        decay_rate:      the mean of squares keeps 1 - step**decay_rate of itself.
        beta_1:          how much of the mean of updates is kept; None keeps no such mean.
        weight_decay:    decay of the parameters, times the learning rate.
        scale_parameter: multiply the learning rate by the root mean square of the parameter.
        relative_step:   the learning rate is min(0.01, 1 / sqrt(step)).
        warmup_init:     with `relative_step`, min(1e-6 * step, 1 / sqrt(step)).

    Raises:
        ValueError, at the update: `relative_step` is False and there is no learning rate.

    Source: Shazeer & Stern 2018, Adafactor: adaptive learning rates with sublinear memory cost, arXiv:1804.04235.
    """

    def __init__(
        self,
        learning_rate: Rate | None = None,
        eps: Sequence[float] = (1e-30, 1e-3),
        clip_threshold: float = 1.0,
        decay_rate: float = -0.8,
        beta_1: float | None = None,
        weight_decay: float = 0.0,
        scale_parameter: bool = True,
        relative_step: bool = True,
        warmup_init: bool = False,
    ) -> None:
        super().__init__()
        if learning_rate is not None:
            self._maybe_schedule("learning_rate", learning_rate)
        self.eps = eps
        self.clip_threshold = clip_threshold
        self.decay_rate = decay_rate
        self.beta_1 = beta_1
        self.weight_decay = weight_decay
        self.scale_parameter = scale_parameter
        self.relative_step = relative_step
        self.warmup_init = warmup_init

    def init_single(self, parameter: array, state: Kept) -> None:
        """Running means of squared gradients, by row and by column or of each; of updates if there is beta_1."""
        if parameter.ndim >= 2:
            *outer, rows, columns = parameter.shape
            state["exp_avg_sq_row"] = zeros((*outer, rows), dtype=parameter.dtype)
            state["exp_avg_sq_col"] = zeros((*outer, columns), dtype=parameter.dtype)
        else:
            state["exp_avg_sq"] = zeros_like(parameter)
        if self.beta_1 is not None:
            state["exp_avg"] = zeros_like(parameter)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; the means in `state` are replaced."""
        rate = self._rate(parameter)
        update = gradient * self._scale(gradient, parameter, state)
        update = rate * (update / maximum(1.0, _rms(update) / self.clip_threshold))
        if self.beta_1 is not None:
            update = state["exp_avg"] = self.beta_1 * state["exp_avg"] + (1 - self.beta_1) * update
        if self.weight_decay != 0:
            parameter = parameter + parameter * (-self.weight_decay * rate)
        return parameter - update

    def _rate(self, parameter: array) -> array:
        if self.relative_step:
            rate = minimum(1e-6 * self.step if self.warmup_init else 1e-2, rsqrt(self.step))
        elif "learning_rate" in self.state:
            rate = self.learning_rate
        else:
            problem, fix = "relative_step=False needs a learning rate", "Adafactor(1e-3, relative_step=False)"
            raise ValueError(message("bridge.optimizers.Adafactor", problem, fix=fix))
        size = _rms(parameter)
        rate = rate.astype(size.dtype)
        return maximum(self.eps[1], size) * rate if self.scale_parameter else rate

    def _scale(self, gradient: array, parameter: array, state: Kept) -> array:
        """What the gradient is multiplied by: 1 / sqrt(mean of squares), or its approximation of rank 1."""
        forget = (self.step**self.decay_rate).astype(parameter.dtype)
        keep = 1.0 - forget
        squares = square(gradient) + self.eps[0]
        if gradient.ndim < 2:
            every = state["exp_avg_sq"] = keep * state["exp_avg_sq"] + (1 - keep) * squares
            return rsqrt(every)
        rows = state["exp_avg_sq_row"] = keep * state["exp_avg_sq_row"] + (1 - keep) * mean(squares, axis=-1)
        columns = state["exp_avg_sq_col"] = keep * state["exp_avg_sq_col"] + (1 - keep) * mean(squares, axis=-2)
        by_row = rsqrt(rows / mean(rows, axis=-1, keepdims=True))
        return expand_dims(by_row, axis=-1) * expand_dims(rsqrt(columns), axis=-2)


class Muon(Optimizer):
    """Momentum whose matrix is made orthogonal: all directions of a layer move by equal amounts.

    Meant for the matrices inside a network; embeddings, the last layer and parameters of fewer than two axes (which
    just take the momentum) fare better with `AdamW`, see `MultiOptimizer`. A parameter of more axes is taken as a
    matrix of its first axis by all others.

    Args:
        learning_rate: number, or function of the step.
        momentum:      how much of the mean direction is kept.
        weight_decay:  this times the parameter is added to its gradient.
        nesterov:      step along the direction looked ahead.
        ns_steps:      iterations of Newton and Schulz.

    Source: Jordan et al. 2024, Muon: an optimizer for hidden layers in neural networks,
    https://kellerjordan.github.io/posts/muon/.
    """

    def __init__(
        self,
        learning_rate: Rate,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        nesterov: bool = True,
        ns_steps: int = 5,
    ) -> None:
        super().__init__()
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self.ns_steps = ns_steps

    def init_single(self, parameter: array, state: Kept) -> None:
        """v: running mean of the gradients."""
        state["v"] = zeros_like(parameter)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; v in `state` is replaced."""
        rate = self.learning_rate.astype(gradient.dtype)
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        v = state["v"] = self.momentum * state["v"] + (1 - self.momentum) * gradient
        update = gradient * (1 - self.momentum) + v * self.momentum if self.nesterov else v
        if update.ndim < 2:
            return parameter - rate * update
        matrix = reshape(update, (update.shape[0], -1)) if update.ndim > 2 else update
        update = reshape(_orthogonal(matrix, self.ns_steps), update.shape)
        return parameter - rate * math.sqrt(max(1.0, update.shape[-2] / update.shape[-1])) * update


def _rms(a: array) -> array:
    return sqrt(mean(square(a)))


def _orthogonal(matrix: array, steps: int) -> array:
    """About the nearest matrix whose singular values are all 1, by Newton and Schulz on the shorter side."""
    if matrix.shape[0] > matrix.shape[1]:
        return _orthogonal(matrix.T, steps).T
    a, b, c = NEWTON_SCHULZ
    x = matrix / (sqrt(square(matrix).sum()) + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = addmm(a * x, addmm(b * gram, gram, gram, alpha=c), x)
    return x
