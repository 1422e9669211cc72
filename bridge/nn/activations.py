"""Activation functions and the layers that apply them. Each works on every element, or along one axis.

Functions of one array take any shape and floating dtype and keep both. They are lazy and fuse with what surrounds them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from bridge.core._native import array
from bridge.core.ops import exponential, trigonometric
from bridge.core.ops import reduce as reductions
from bridge.core.ops.arithmetic import abs, maximum, minimum, sign, square
from bridge.core.ops.compare import where
from bridge.core.ops.create import full
from bridge.core.ops.exponential import erf, exp, logaddexp
from bridge.core.ops.gradient import stop_gradient
from bridge.core.ops.shape import split
from bridge.nn.module import Module


def sigmoid(x: array) -> array:
    """1 / (1 + exp(-x))."""
    return exponential.sigmoid(x)


def tanh(x: array) -> array:
    """Hyperbolic tangent."""
    return trigonometric.tanh(x)


def relu(x: array) -> array:
    """max(x, 0)."""
    return maximum(x, 0)


def relu2(x: array) -> array:
    """max(x, 0), squared."""
    return square(maximum(x, 0))


def relu6(x: array) -> array:
    """x limited to [0, 6]."""
    return minimum(maximum(x, 0), 6.0)


def leaky_relu(x: array, negative_slope: float = 0.01) -> array:
    """The larger of x and `negative_slope * x`."""
    return maximum(negative_slope * x, x)


def elu(x: array, alpha: float = 1.0) -> array:
    """x where it is positive, else `alpha * (exp(x) - 1)`."""
    return where(x > 0, x, alpha * (exp(x) - 1))


def celu(x: array, alpha: float = 1.0) -> array:
    """max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1): `elu` with a derivative without jumps."""
    return maximum(x, 0.0) + alpha * (exp(minimum(x, 0.0) / alpha) - 1)


def selu(x: array) -> array:
    """`elu` with the scale and the slope that keep mean and variance (Klambauer et al., 2017)."""
    return elu(x, 1.67326) * 1.0507


def prelu(x: array, alpha: array) -> array:
    """x where it is positive, else `alpha * x`; alpha broadcasts to x."""
    return maximum(0, x) + alpha * minimum(0, x)


def softmax(x: array, axis: int = -1) -> array:
    """exp(x) over its sum along `axis`."""
    return reductions.softmax(x, axis=axis)


def softmin(x: array, axis: int = -1) -> array:
    """`softmax` of -x."""
    return reductions.softmax(-x, axis=axis)


def log_softmax(x: array, axis: int = -1) -> array:
    """x less the logarithm of the sum of exp(x) along `axis`."""
    shifted = x - stop_gradient(reductions.max(x, axis=axis, keepdims=True))
    return shifted - reductions.logsumexp(shifted, axis=axis, keepdims=True)


def softplus(x: array) -> array:
    """log(1 + exp(x))."""
    return logaddexp(x, 0)


def softsign(x: array) -> array:
    """x / (1 + |x|)."""
    return x / (1 + abs(x))


def softshrink(x: array, lambd: float = 0.5) -> array:
    """x moved by `lambd` towards zero; zero where it is nearer than that."""
    return where(abs(x) > lambd, x - sign(x) * lambd, 0)


def hard_shrink(x: array, lambd: float = 0.5) -> array:
    """x; zero where |x| is not above `lambd`."""
    return where(abs(x) > lambd, x, 0)


def hard_tanh(x: array, min_val: float = -1.0, max_val: float = 1.0) -> array:
    """x limited to [min_val, max_val]."""
    return minimum(maximum(x, min_val), max_val)


def hardswish(x: array) -> array:
    """x * min(max(x + 3, 0), 6) / 6."""
    return x * minimum(maximum(x + 3, 0), 6) / 6


def silu(x: array) -> array:
    """x * sigmoid(x), also called swish."""
    return x * exponential.sigmoid(x)


def log_sigmoid(x: array) -> array:
    """Logarithm of the sigmoid."""
    return -softplus(-x)


def gelu(x: array) -> array:
    """x times the probability that a standard normal number is below it."""
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_approx(x: array) -> array:
    """`gelu` with a hyperbolic tangent in place of the error function."""
    return 0.5 * x * (1 + trigonometric.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_fast_approx(x: array) -> array:
    """x * sigmoid(1.702 * x)."""
    return x * exponential.sigmoid(1.702 * x)


def mish(x: array) -> array:
    """x * tanh(softplus(x))."""
    return x * trigonometric.tanh(softplus(x))


def glu(x: array, axis: int = -1) -> array:
    """The first half of `axis` times the sigmoid of the second: half as long along this axis."""
    value, gate = split(x, 2, axis=axis)
    return value * exponential.sigmoid(gate)


def step(x: array, threshold: float = 0.0) -> array:
    """int32: 1 where x is at least `threshold`, else 0."""
    return where(x >= threshold, 1, 0)


class _Activation(Module):
    """A layer that applies `function` and has no parameters."""

    function: ClassVar[Callable[..., array]]

    def __call__(self, x: array) -> array:
        return type(self).function(x)


class Sigmoid(_Activation):
    """`sigmoid` as a layer."""

    function = staticmethod(sigmoid)


class Tanh(_Activation):
    """`tanh` as a layer."""

    function = staticmethod(tanh)


class ReLU(_Activation):
    """`relu` as a layer."""

    function = staticmethod(relu)


class ReLU2(_Activation):
    """`relu2` as a layer."""

    function = staticmethod(relu2)


class ReLU6(_Activation):
    """`relu6` as a layer."""

    function = staticmethod(relu6)


class SELU(_Activation):
    """`selu` as a layer."""

    function = staticmethod(selu)


class Softmax(_Activation):
    """`softmax` as a layer along the last axis."""

    function = staticmethod(softmax)


class Softmin(_Activation):
    """`softmin` as a layer along the last axis."""

    function = staticmethod(softmin)


class LogSoftmax(_Activation):
    """`log_softmax` as a layer along the last axis."""

    function = staticmethod(log_softmax)


class Softplus(_Activation):
    """`softplus` as a layer."""

    function = staticmethod(softplus)


class Softsign(_Activation):
    """`softsign` as a layer."""

    function = staticmethod(softsign)


class SiLU(_Activation):
    """`silu` as a layer."""

    function = staticmethod(silu)


class LogSigmoid(_Activation):
    """`log_sigmoid` as a layer."""

    function = staticmethod(log_sigmoid)


class Mish(_Activation):
    """`mish` as a layer."""

    function = staticmethod(mish)


class Hardswish(_Activation):
    """`hardswish` as a layer."""

    function = staticmethod(hardswish)


class HardTanh(_Activation):
    """`hard_tanh` as a layer."""

    function = staticmethod(hard_tanh)


class LeakyReLU(Module):
    """`leaky_relu` as a layer."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__()
        self._negative_slope = negative_slope

    def __call__(self, x: array) -> array:
        return leaky_relu(x, self._negative_slope)


class ELU(Module):
    """`elu` as a layer."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self._alpha = alpha

    def __call__(self, x: array) -> array:
        return elu(x, self._alpha)


class CELU(Module):
    """`celu` as a layer."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self._alpha = alpha

    def __call__(self, x: array) -> array:
        return celu(x, self._alpha)


class Softshrink(Module):
    """`softshrink` as a layer."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def __call__(self, x: array) -> array:
        return softshrink(x, self.lambd)


class HardShrink(Module):
    """`hard_shrink` as a layer."""

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def __call__(self, x: array) -> array:
        return hard_shrink(x, self.lambd)


class Step(Module):
    """`step` as a layer."""

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def __call__(self, x: array) -> array:
        return step(x, self.threshold)


class GLU(Module):
    """`glu` as a layer."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def __call__(self, x: array) -> Any:
        return glu(x, self.axis)


class PReLU(Module):
    """`prelu` with slopes that are learnt.

    Args:
        num_parameters: one slope for all, or one for each feature of the last axis.
        init:           their value at the beginning.

    Parameters: weight (num_parameters,).
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.weight = full((num_parameters,), init)

    def __call__(self, x: array) -> array:
        return prelu(x, self.weight)


class GELU(Module):
    """`gelu` as a layer.

    Args:
        approx: "none" for `gelu`, "precise" or "tanh" for `gelu_approx`, "fast" for `gelu_fast_approx`.
    """

    _ways: ClassVar[dict[str, Callable[[array], array]]] = {
        "none": gelu,
        "precise": gelu_approx,
        "tanh": gelu_approx,
        "fast": gelu_fast_approx,
    }

    def __init__(self, approx: str = "none") -> None:
        super().__init__()
        if approx not in self._ways:
            raise ValueError(f"[bridge.nn.GELU] approx is one of {list(self._ways)}, not {approx!r}")
        self._approx = approx

    def __call__(self, x: array) -> array:
        return self._ways[self._approx](x)
