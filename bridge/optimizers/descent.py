"""Steps along the gradient or its sign: the only thing that is kept is a running mean."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core._native import array
from bridge.core.ops.arithmetic import sign
from bridge.core.ops.create import zeros_like
from bridge.optimizers.optimizer import Kept, Optimizer, Rate


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if wanted.

        v = momentum * v + (1 - dampening) * g
        w = w - learning_rate * v

    Args:
        learning_rate: number, or function of the step.
        momentum:      how much of the last direction is kept.
        weight_decay:  this times the parameter is added to its gradient (an L2 penalty).
        dampening:     takes from the gradient where there is momentum.
        nesterov:      step along g + momentum * v, the direction looked ahead.

    Raises:
        ValueError: `nesterov` without momentum or with dampening.

    Source: Robbins & Monro 1951, A stochastic approximation method; Polyak 1964 (momentum); Sutskever, Martens, Dahl &
    Hinton 2013, On the importance of initialization and momentum in deep learning (Nesterov's).
    """

    def __init__(
        self,
        learning_rate: Rate,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        dampening: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__()
        if nesterov:
            self._require(momentum > 0, "momentum", momentum, "a momentum above 0, which nesterov=True needs")
            self._require(dampening == 0, "dampening", dampening, "no dampening beside nesterov=True")
        self._maybe_schedule("learning_rate", learning_rate)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.dampening = dampening
        self.nesterov = nesterov

    def init_single(self, parameter: array, state: Kept) -> None:
        """v: the direction, 0 at first."""
        state["v"] = zeros_like(parameter)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; v in `state` is replaced."""
        rate = self.learning_rate.astype(gradient.dtype)
        if self.weight_decay != 0:
            gradient = gradient + self.weight_decay * parameter
        if self.momentum <= 0:
            return parameter - rate * gradient
        fresh = (1 - self.dampening) * gradient if self.dampening > 0 else gradient
        v = state["v"] = self.momentum * state["v"] + fresh
        return parameter - rate * (gradient + self.momentum * v if self.nesterov else v)


class Lion(Optimizer):
    """Steps of equal length in every coordinate: only the sign of the mean direction counts.

        c = beta_1 * m + (1 - beta_1) * g
        m = beta_2 * m + (1 - beta_2) * g
        w = w - learning_rate * (sign(c) + weight_decay * w)

    The steps are long: take a learning rate 3 to 10 times smaller than AdamW's and a weight decay as much larger.

    Args:
        learning_rate: number, or function of the step.
        betas:         (beta_1, beta_2), each at least 0 and below 1.
        weight_decay:  decay of the parameters, apart from the gradient.

    Raises:
        ValueError: a beta is out of range.

    Source: Chen et al. 2023, Symbolic discovery of optimization algorithms, arXiv:2302.06675.
    """

    def __init__(self, learning_rate: Rate, betas: Sequence[float] = (0.9, 0.99), weight_decay: float = 0.0) -> None:
        super().__init__()
        for beta in betas:
            self._require(0 <= beta < 1, "betas", tuple(betas), "each at least 0 and below 1")
        self._maybe_schedule("learning_rate", learning_rate)
        self.betas = betas
        self.weight_decay = weight_decay

    def init_single(self, parameter: array, state: Kept) -> None:
        """m: running mean of the gradients."""
        state["m"] = zeros_like(parameter)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; m in `state` is replaced."""
        rate = self.learning_rate.astype(gradient.dtype)
        beta_1, beta_2 = self.betas
        direction = sign(beta_1 * state["m"] + (1 - beta_1) * gradient)
        state["m"] = beta_2 * state["m"] + (1 - beta_2) * gradient
        if self.weight_decay > 0:
            parameter = (1 - rate * self.weight_decay) * parameter
        return parameter - rate * direction
