"""Layers that shift and scale features to mean 0 and variance 1. The last axis is that of the features."""

from __future__ import annotations

import math

from bridge.core._native import array
from bridge.core.ops import fast
from bridge.core.ops.create import ones, zeros
from bridge.core.ops.exponential import rsqrt
from bridge.core.ops.reduce import mean, var
from bridge.core.ops.shape import moveaxis
from bridge.nn.module import Module


class _Normalization(Module):
    """What the layers share: `eps` above 0, and a weight of ones with a bias of zeros."""

    def _make(self, dims: int, eps: float, affine: bool, bias: bool = True) -> None:
        if eps <= 0.0:
            raise ValueError(f"[bridge.nn.{type(self).__name__}] eps must be positive, not {eps}")
        self.eps = eps
        if affine:
            self.weight = ones((dims,))
        if affine and bias:
            self.bias = zeros((dims,))

    def _scaled(self, x: array) -> array:
        return self.weight * x + self.bias if "weight" in self else x


class InstanceNorm(_Normalization):
    """Every feature of every item normalised over the axes between the first and the last.

    Args:
        dims:   number of features: the input is (N, ..., dims) with at least 3 axes.
        eps:    added to the variance.
        affine: with the parameters weight (dims,) and bias (dims,).
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__()
        self._make(dims, eps, affine)
        self.dims = dims

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x: array) -> array:
        if x.ndim < 3:
            raise ValueError(f"[bridge.nn.InstanceNorm] (N, ..., C) has at least 3 axes, not {x.ndim}")
        first = moveaxis(x, -1, 1)
        rows = fast.layer_norm(first.reshape(*first.shape[:2], -1), None, None, self.eps)
        return self._scaled(moveaxis(rows.reshape(first.shape), 1, -1))


class LayerNorm(_Normalization):
    """The last axis normalised.

    Args:
        dims:   its length.
        eps:    added to the variance.
        affine: with the parameter weight (dims,).
        bias:   and, if affine, with the parameter bias (dims,).
    """

    def __init__(self, dims: int, eps: float = 1e-5, affine: bool = True, bias: bool = True) -> None:
        super().__init__()
        self._make(dims, eps, affine, bias)
        self.dims = dims

    def _extra_repr(self) -> str:
        return f"{self.dims}, eps={self.eps}, affine={'weight' in self}"

    def __call__(self, x: array) -> array:
        return fast.layer_norm(x, self.get("weight"), self.get("bias"), self.eps)


class RMSNorm(_Normalization):
    """The last axis, `dims` long, over its root mean square; parameter weight (dims,)."""

    def __init__(self, dims: int, eps: float = 1e-5) -> None:
        super().__init__()
        self._make(dims, eps, affine=True, bias=False)

    def _extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"

    def __call__(self, x: array) -> array:
        return fast.rms_norm(x, self["weight"], self.eps)


class GroupNorm(_Normalization):
    """Groups of features of every item normalised together, over all axes but the first.

    Args:
        num_groups: how many; divides `dims`.
        dims:       number of features: the input is (N, ..., dims).
        eps:        added to the variance.
        affine:     with the parameters weight (dims,) and bias (dims,).
        pytorch_compatible: a group is neighbouring features, as in PyTorch; otherwise every num_groups-th feature.
    """

    def __init__(
        self, num_groups: int, dims: int, eps: float = 1e-5, affine: bool = True, pytorch_compatible: bool = False
    ) -> None:
        super().__init__()
        if num_groups <= 0 or dims <= 0 or dims % num_groups:
            raise ValueError(f"[bridge.nn.GroupNorm] {num_groups} groups cannot share {dims} features evenly")
        self._make(dims, eps, affine)
        self.num_groups = num_groups
        self.dims = dims
        self.pytorch_compatible = pytorch_compatible

    def _extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.dims}, eps={self.eps}, affine={'weight' in self}, "
            f"pytorch_compatible={self.pytorch_compatible}"
        )

    def __call__(self, x: array) -> array:
        items, groups = x.shape[0], self.num_groups
        if self.pytorch_compatible:
            parts = moveaxis(x.reshape(items, -1, groups, self.dims // groups), 2, 1)
            rows = fast.layer_norm(parts.reshape(items, groups, -1), None, None, self.eps)
            return self._scaled(moveaxis(rows.reshape(parts.shape), 1, 2).reshape(x.shape))
        columns = x.reshape(items, -1, groups)
        middle = mean(columns, 1, keepdims=True)
        spread = rsqrt(var(columns, 1, keepdims=True) + self.eps)
        return self._scaled(((columns - middle) * spread).reshape(x.shape))


class BatchNorm(_Normalization):
    """Every feature normalised over all items and positions.

    In training by the mean and variance of the batch, which also move `running_mean` and `running_var` (the latter by
    the unbiased variance); otherwise by these two, if they are kept.

    Args:
        num_features: C: the input is (N, C), (N, L, C) or (N, H, W, C).
        eps:          added to the variance.
        momentum:     share of the new batch in what is kept.
        affine:       with the parameters weight (C,) and bias (C,).
        track_running_stats: with the parameters running_mean (C,) and running_var (C,), which are never trained.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self._make(num_features, eps, affine)
        self.num_features = num_features
        self.momentum = momentum
        self.track_running_stats = track_running_stats
        if track_running_stats:
            self.running_mean = zeros((num_features,))
            self.running_var = ones((num_features,))
            self._no_grad |= self._never_trained()

    def _never_trained(self) -> set[str]:
        return {"running_mean", "running_var"} if self.track_running_stats else set()

    def _extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={'weight' in self}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def __call__(self, x: array) -> array:
        if not 2 <= x.ndim <= 4:
            raise ValueError(f"[bridge.nn.BatchNorm] the input has 2, 3 or 4 axes, not {x.ndim}")
        count = math.prod(x.shape[:-1])
        if self.training and count == 1:
            raise ValueError(
                "[bridge.nn.BatchNorm] one value a feature has no variance: train with more, or call eval()"
            )
        if not self.training and self.track_running_stats:
            middle, variance = self.running_mean, self.running_var
        else:
            axes = tuple(range(x.ndim - 1))
            middle, variance = mean(x, axes), var(x, axes)
            if self.training and self.track_running_stats:
                kept, new = 1 - self.momentum, self.momentum
                self.running_mean = kept * self.running_mean + new * middle
                self.running_var = kept * self.running_var + new * (variance * (count / (count - 1)))
        return self._scaled((x - middle) * rsqrt(variance + self.eps))
