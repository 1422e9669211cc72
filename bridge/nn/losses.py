"""Loss functions. `reduction` is "none" for the loss of each item, "mean" or "sum" for a scalar."""

from __future__ import annotations

import math
from typing import Literal

from bridge.core._native import array
from bridge.core.ops import linalg
from bridge.core.ops.arithmetic import abs, clip, maximum, minimum, power, square
from bridge.core.ops.compare import where
from bridge.core.ops.exponential import exp, log, logaddexp
from bridge.core.ops.gradient import stop_gradient
from bridge.core.ops.reduce import logsumexp, max, mean, sum
from bridge.core.ops.shape import expand_dims, squeeze
from bridge.core.ops.take import take_along_axis

__all__ = [
    "binary_cross_entropy",
    "cosine_similarity_loss",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div_loss",
    "l1_loss",
    "log_cosh_loss",
    "margin_ranking_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
    "triplet_loss",
]

Reduction = Literal["none", "mean", "sum"]


def cross_entropy(
    logits: array,
    targets: array,
    weights: array | None = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
    reduction: Reduction = "none",
) -> array:
    """Minus the logarithm of the probability that ``softmax(logits)`` gives to the target.

    Args:
        logits:  unnormalised scores of the classes along `axis`.
        targets: integers, the classes: the shape of `logits` without `axis`. Or probabilities in the shape of `logits`.
        weights: of the items, in the shape of their losses.
        label_smoothing: in [0, 1): the share of the target that is spread evenly over all classes.

    Raises:
        ValueError: shapes do not fit, or `label_smoothing` is outside.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"[bridge.nn.losses.cross_entropy] label_smoothing is in [0, 1), not {label_smoothing}")
    axis = axis % logits.ndim
    distributed = targets.ndim == logits.ndim
    want = logits.shape if distributed else (*logits.shape[:axis], *logits.shape[axis + 1 :])
    _check("cross_entropy", targets=targets.shape, want=want)
    shifted = logits - stop_gradient(max(logits, axis, keepdims=True))
    score = sum(shifted * targets, axis) if distributed else _picked(shifted, targets, axis)
    if label_smoothing > 0:
        score = (1 - label_smoothing) * score + label_smoothing * mean(shifted, axis)
    return _reduced(_weighted("cross_entropy", logsumexp(shifted, axis) - score, weights), reduction)


def binary_cross_entropy(
    inputs: array,
    targets: array,
    weights: array | None = None,
    with_logits: bool = True,
    reduction: Reduction = "mean",
) -> array:
    """Minus the logarithm of the probability of the targets, which are 0 or 1 or between.

    Args:
        inputs:      logits, or probabilities if not `with_logits`; their logarithms end at -100.
        targets:     in the shape of `inputs`.
        weights:     of the losses, in their shape.

    Raises:
        ValueError: shapes do not fit.
    """
    _check("binary_cross_entropy", inputs=inputs.shape, targets=targets.shape)
    if with_logits:
        loss = logaddexp(0.0, inputs) - inputs * targets
    else:
        yes, no = clip(log(inputs), -100, None), clip(log(1 - inputs), -100, None)
        loss = -(targets * yes + (1 - targets) * no)
    return _reduced(_weighted("binary_cross_entropy", loss, weights), reduction)


def l1_loss(predictions: array, targets: array, reduction: Reduction = "mean") -> array:
    """|predictions - targets|; the shapes are the same."""
    _check("l1_loss", predictions=predictions.shape, targets=targets.shape)
    return _reduced(abs(predictions - targets), reduction)


def mse_loss(predictions: array, targets: array, reduction: Reduction = "mean") -> array:
    """(predictions - targets)²; the shapes are the same."""
    _check("mse_loss", predictions=predictions.shape, targets=targets.shape)
    return _reduced(square(predictions - targets), reduction)


def nll_loss(inputs: array, targets: array, axis: int = -1, reduction: Reduction = "none") -> array:
    """Minus the entry of `inputs` (logarithms of probabilities) along `axis` that the integer in `targets` names."""
    return _reduced(-_picked(inputs, targets, axis), reduction)


def gaussian_nll_loss(
    inputs: array,
    targets: array,
    vars: array,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> array:
    """Minus the logarithm of the density of `targets` under normal distributions.

    Args:
        inputs, vars: means and variances, in the shape of `targets`; variances count as at least `eps`.
        full:         with the constant ``log(2 pi) / 2``.

    Raises:
        ValueError: shapes do not fit.
    """
    _check("gaussian_nll_loss", inputs=inputs.shape, targets=targets.shape, vars=vars.shape)
    variance = maximum(vars, eps)
    loss = 0.5 * (log(variance) + square(targets - inputs) / variance)
    return _reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def kl_div_loss(inputs: array, targets: array, axis: int = -1, reduction: Reduction = "none") -> array:
    """Kullback-Leibler divergence of `inputs` from `targets` along `axis`; both are logarithms of probabilities."""
    return _reduced(sum(exp(targets) * (targets - inputs), axis), reduction)


def smooth_l1_loss(predictions: array, targets: array, beta: float = 1.0, reduction: Reduction = "mean") -> array:
    """The square of the difference over ``2 beta`` where it is below `beta`, else its size less ``beta / 2``."""
    _check("smooth_l1_loss", predictions=predictions.shape, targets=targets.shape)
    distance = abs(predictions - targets)
    return _reduced(where(distance < beta, 0.5 * square(distance) / beta, distance - 0.5 * beta), reduction)


def triplet_loss(
    anchors: array,
    positives: array,
    negatives: array,
    axis: int = -1,
    p: int = 2,
    margin: float = 1.0,
    eps: float = 1e-6,
    reduction: Reduction = "none",
) -> array:
    """max(d(anchors, positives) - d(anchors, negatives) + margin, 0) with the distance d of the p-norm along `axis`.

    Args:
        eps: added below the root, so that a distance of 0 has a derivative.
    """

    def distance(others: array) -> array:
        return power(sum(power(abs(anchors - others), p), axis) + eps, 1.0 / p)

    return _reduced(maximum(distance(positives) - distance(negatives) + margin, 0), reduction)


def hinge_loss(inputs: array, targets: array, reduction: Reduction = "none") -> array:
    """max(1 - inputs * targets, 0); the targets are -1 or 1."""
    return _reduced(maximum(1 - inputs * targets, 0), reduction)


def huber_loss(inputs: array, targets: array, delta: float = 1.0, reduction: Reduction = "none") -> array:
    """Half the square of the difference up to `delta`, linear beyond."""
    distance = abs(inputs - targets)
    near = minimum(distance, delta)
    return _reduced(0.5 * square(near) + delta * (distance - near), reduction)


def log_cosh_loss(inputs: array, targets: array, reduction: Reduction = "none") -> array:
    """Logarithm of the hyperbolic cosine of the difference."""
    difference = inputs - targets
    return _reduced(logaddexp(difference, -difference) - math.log(2), reduction)


def cosine_similarity_loss(
    x1: array, x2: array, axis: int = 1, eps: float = 1e-8, reduction: Reduction = "none"
) -> array:
    """Cosine of the angle between `x1` and `x2` along `axis`; the product of their norms counts as at least `eps`."""
    norms = linalg.norm(x1, axis=axis) * linalg.norm(x2, axis=axis)
    return _reduced(sum(x1 * x2, axis) / maximum(norms, eps), reduction)


def margin_ranking_loss(
    inputs1: array, inputs2: array, targets: array, margin: float = 0.0, reduction: Reduction = "none"
) -> array:
    """max(-targets * (inputs1 - inputs2) + margin, 0); the targets are 1 where the first is to be larger, else -1."""
    _check("margin_ranking_loss", inputs1=inputs1.shape, inputs2=inputs2.shape, targets=targets.shape)
    return _reduced(maximum(0, margin - targets * (inputs1 - inputs2)), reduction)


def _check(name: str, **shapes: tuple[int, ...]) -> None:
    """Raise a ValueError unless all shapes are the same."""
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{argument} {shape}" for argument, shape in shapes.items())
        raise ValueError(f"[bridge.nn.losses.{name}] the shapes do not match: {told}")


def _picked(scores: array, targets: array, axis: int) -> array:
    return squeeze(take_along_axis(scores, expand_dims(targets, axis), axis), axis)


def _weighted(name: str, loss: array, weights: array | None) -> array:
    if weights is None:
        return loss
    _check(name, weights=weights.shape, loss=loss.shape)
    return loss * weights


def _reduced(loss: array, reduction: str) -> array:
    if reduction == "none":
        return loss
    if reduction == "mean":
        return mean(loss)
    if reduction == "sum":
        return sum(loss)
    raise ValueError(f"[bridge.nn.losses] the reduction is 'none', 'mean' or 'sum', not {reduction!r}")
