"""Steps scaled for each coordinate by what its gradients were so far."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core._native import array
from bridge.core.ops.arithmetic import abs as absolute
from bridge.core.ops.arithmetic import maximum, square
from bridge.core.ops.create import zeros_like
from bridge.core.ops.exponential import rsqrt, sqrt
from bridge.optimizers.optimizer import Kept, Optimizer, Rate


class RMSprop(Optimizer):
    """Gradients divided by the root of the running mean of their squares.

        v = alpha * v + (1 - alpha) * g²
        w = w - learning_rate * g / (sqrt(v) + eps)

    Args:
        learning_rate: number, or function of the step.
        alpha:         how much of the mean is kept; at least 0.
        eps:           above 0.

    Raises:
        ValueError: `alpha` or `eps` is out of range.

    Source: Tieleman & Hinton 2012, Lecture 6.5: rmsprop, Coursera, Neural networks for machine learning.
    """

    def __init__(self, learning_rate: Rate, alpha: float = 0.99, eps: float = 1e-8) -> None:
        super().__init__()
        self._require(alpha >= 0, "alpha", alpha, "at least 0")
        self._require(eps > 0, "eps", eps, "above 0")
        self._maybe_schedule("learning_rate", learning_rate)
        self.alpha = alpha
        self.eps = eps

    def init_single(self, parameter: array, state: Kept) -> None:
        """v: running mean of the squared gradients."""
        state["v"] = zeros_like(parameter)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; v in `state` is replaced."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = state["v"] = self.alpha * state["v"] + (1 - self.alpha) * square(gradient)
        return parameter - rate * gradient / (sqrt(v) + self.eps)


class Adagrad(Optimizer):
    """Gradients divided by the root of the sum of their squares: steps that only become shorter.

        v = v + g²
        w = w - learning_rate * g / (sqrt(v) + eps)

    Args:
        learning_rate: number, or function of the step.
        eps:           above 0.

    Raises:
        ValueError: `eps` is out of range.

    Source: Duchi, Hazan & Singer 2011, Adaptive subgradient methods for online learning and stochastic optimization,
    JMLR 12.
    """

    def __init__(self, learning_rate: Rate, eps: float = 1e-8) -> None:
        super().__init__()
        self._require(eps > 0, "eps", eps, "above 0")
        self._maybe_schedule("learning_rate", learning_rate)
        self.eps = eps

    def init_single(self, parameter: array, state: Kept) -> None:
        """v: sum of the squared gradients."""
        state["v"] = zeros_like(parameter)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; v in `state` is replaced."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = state["v"] = state["v"] + square(gradient)
        return parameter - rate * gradient / (sqrt(v) + self.eps)


class AdaDelta(Optimizer):
    """Steps in the unit of the parameters: gradients times the ratio of mean steps to mean gradients.

        v = rho * v + (1 - rho) * g²
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d²
        w = w - learning_rate * d

    Args:
        learning_rate: number, or function of the step.
        rho:           how much of the means is kept; at least 0.
        eps:           above 0.

    Raises:
        ValueError: `rho` or `eps` is out of range.

    Source: Zeiler 2012, ADADELTA: an adaptive learning rate method, arXiv:1212.5701.
    """

    def __init__(self, learning_rate: Rate, rho: float = 0.9, eps: float = 1e-6) -> None:
        super().__init__()
        self._require(rho >= 0, "rho", rho, "at least 0")
        self._require(eps > 0, "eps", eps, "above 0")
        self._maybe_schedule("learning_rate", learning_rate)
        self.rho = rho
        self.eps = eps

    def init_single(self, parameter: array, state: Kept) -> None:
        """v and u: running means of the squared gradients and of the squared steps."""
        state["v"] = zeros_like(parameter)
        state["u"] = zeros_like(parameter)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; v and u in `state` are replaced."""
        rate = self.learning_rate.astype(gradient.dtype)
        v = state["v"] = self.rho * state["v"] + (1 - self.rho) * square(gradient)
        change = sqrt(state["u"] + self.eps) / sqrt(v + self.eps) * gradient
        state["u"] = self.rho * state["u"] + (1 - self.rho) * square(change)
        return parameter - rate * change


class Adam(Optimizer):
    """The mean of the gradients divided by the root of the mean of their squares.

        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g²
        w = w - learning_rate * m / (sqrt(v) + eps)

    Args:
        learning_rate:   number, or function of the step.
        betas:           (beta_1, beta_2), each at least 0 and below 1.
        eps:             at least 0.
        bias_correction: divide m by 1 - beta_1**step and v by 1 - beta_2**step, as the paper does: both begin at 0
                         and are too small for some steps.

    Raises:
        ValueError: a beta or `eps` is out of range.

    Source: Kingma & Ba 2015, Adam: a method for stochastic optimization, ICLR.
    """

    def __init__(
        self,
        learning_rate: Rate,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        bias_correction: bool = False,
    ) -> None:
        super().__init__()
        for beta in betas:
            self._require(0 <= beta < 1, "betas", tuple(betas), "each at least 0 and below 1")
        self._require(eps >= 0, "eps", eps, "at least 0")
        self._maybe_schedule("learning_rate", learning_rate)
        self.betas = betas
        self.eps = eps
        self.bias_correction = bias_correction

    def init_single(self, parameter: array, state: Kept) -> None:
        """m and v: running means of the gradients and of their squares (Adamax: their largest size)."""
        state["m"] = zeros_like(parameter)
        state["v"] = zeros_like(parameter)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; m and v in `state` are replaced."""
        dtype = gradient.dtype
        beta_1, beta_2 = self.betas
        rate = self.learning_rate.astype(dtype)
        m = state["m"] = beta_1 * state["m"] + (1 - beta_1) * gradient
        v = state["v"] = beta_2 * state["v"] + (1 - beta_2) * square(gradient)
        if not self.bias_correction:
            return parameter - rate * m / (sqrt(v) + self.eps)
        corrected = (rate / (1 - beta_1**self.step)).astype(dtype)
        scale = rsqrt(1 - beta_2**self.step).astype(dtype)
        return parameter - corrected * m / (sqrt(v) * scale + self.eps)


class AdamW(Adam):
    """Adam with decay of the parameters apart from the gradient.

        w = w - learning_rate * (m / (sqrt(v) + eps) + weight_decay * w)

    Args:
        weight_decay: how much the parameters decay, times the learning rate.
        learning_rate, betas, eps, bias_correction: as in `Adam`.

    Source: Loshchilov & Hutter 2019, Decoupled weight decay regularization, ICLR.
    """

    def __init__(
        self,
        learning_rate: Rate,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        bias_correction: bool = False,
    ) -> None:
        super().__init__(learning_rate, betas, eps, bias_correction)
        self.weight_decay = weight_decay

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; m and v in `state` are replaced."""
        rate = self.learning_rate.astype(gradient.dtype)
        return super().apply_single(gradient, parameter * (1 - rate * self.weight_decay), state)


class Adamax(Adam):
    """Adam by the largest gradients instead of the mean of their squares, without correction of the bias.

        m = beta_1 * m + (1 - beta_1) * g
        v = max(beta_2 * v, |g|)
        w = w - learning_rate * m / (v + eps)

    Args:
        learning_rate, betas, eps: as in `Adam`.

    Source: Kingma & Ba 2015, Adam: a method for stochastic optimization, ICLR, section 7.1.
    """

    def __init__(self, learning_rate: Rate, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(learning_rate, betas, eps)

    def apply_single(self, gradient: array, parameter: array, state: Kept) -> array:
        """The new parameter; m and v in `state` are replaced."""
        beta_1, beta_2 = self.betas
        rate = self.learning_rate.astype(gradient.dtype)
        m = state["m"] = beta_1 * state["m"] + (1 - beta_1) * gradient
        v = state["v"] = maximum(beta_2 * state["v"], absolute(gradient))
        return parameter - rate * m / (v + self.eps)
