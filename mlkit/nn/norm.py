"""Normalising layers."""

import math
from typing import Any

import numpy as np

from .. import kernels as k
from .. import ops
from ..errors import ArgumentError, ShapeError
from ..ops.activation import FUSED
from ..ops.batchnorm import fold
from ..tensor import Buffer, Parameter, Tensor, rely_on_gradients
from .conv import Conv2d
from .module import Module


class _BatchNorm(Module):
    """What both share: weight and bias (num_features,), running mean and variance, the number of batches seen.

    `forward` can add a residual and apply an activation in the same pass over memory.
    """

    activations = tuple(FUSED)
    ndims: tuple[int, ...] = ()

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, dtype: Any = np.float32,
    ) -> None:  # fmt: skip
        if not isinstance(num_features, int | np.integer) or num_features < 1:
            raise ArgumentError(f"{type(self).__name__}: num_features is {num_features!r}; it must be a whole number from 1")
        self.num_features, self.eps, self.momentum = int(num_features), eps, momentum
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine else None
        self.running_mean = Buffer(np.zeros(num_features, dtype)) if track_running_stats else None
        self.running_var = Buffer(np.ones(num_features, dtype)) if track_running_stats else None
        self.num_batches_tracked = Buffer(np.array(0, np.int64)) if track_running_stats else None

    def forward(self, x: Any, residual: Any = None, activation: str | None = None) -> Any:
        if x.ndim not in self.ndims or x.shape[1] != self.num_features:
            raise ShapeError(f"{self!r}: input {x.shape}; it takes {self.num_features} channels on axis 1, of {self.ndims} axes")
        training = k.rely(self, "training")
        momentum: Any = self.momentum
        if training and self.num_batches_tracked is not None:
            count = self.num_batches_tracked.data
            k.call(k.counted, count)
            if momentum is None:  # the mean of all batches
                momentum = k.reciprocal(k.copy(count, dtype=x.dtype))
        running = [None if r is None else r.data for r in (self.running_mean, self.running_var)]
        return ops.batch_norm(
            x, self.weight, self.bias, residual, running_mean=running[0], running_var=running[1], training=training,
            momentum=momentum, eps=self.eps, activation=activation,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    """Each feature of (N, C) or (N, C, L) with mean 0 and variance 1 over the batch; the running ones in `eval()`."""

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Each channel of (N, C, H, W) with mean 0 and variance 1 over the batch; the running ones in `eval()`."""

    ndims = (4,)

    def after(self, layer: Module, x: Any, residual: Any = None, activation: str | None = None) -> Any:
        """`self(layer(x), residual, activation)`; in use and inside `no_grad` a convolution's weights take the normalisation in.

        That saves a pass over its output, and changes it by rounding only. A layer that is watched is called by itself.
        """
        if not self._suits(layer, x):
            return self(layer(x), residual, activation)
        if residual is None:
            return layer(x, activation=activation, norm=self)
        y = layer(x, norm=self) + residual
        return getattr(ops, activation)(y) if activation else y

    def folded(self, layer: Conv2d) -> tuple[Tensor, Tensor]:
        """Weight and bias of the layer with the normalisation behind it taken in."""
        offset, mean, var, weight, bias = (
            None if s is None else s.data for s in (layer.bias, self.running_mean, self.running_var, self.weight, self.bias)
        )
        if mean is None or var is None:
            raise ArgumentError(f"{self!r} has no running statistics that a convolution could take in")
        kernel, shift = fold(layer.weight.data, offset, mean, var, weight, bias, self.eps)
        return Tensor(kernel), Tensor(shift)

    def _suits(self, layer: Any, x: Any) -> bool:
        """Whether the layer can take it in, and has fewer weights than its output has numbers."""
        training, learning = k.rely(self, "training"), rely_on_gradients()
        if training or learning or self.running_mean is None or type(layer) is not Conv2d:
            return False
        if "forward" in vars(self) or "forward" in vars(layer) or x.ndim != 4:
            return False
        if layer.out_channels != self.num_features or layer.weight.dtype != self.running_mean.dtype:
            return False
        pixels = len(x) * math.prod(size // step for size, step in zip(x.shape[2:], layer.stride))
        return bool(layer.weight.size <= pixels * layer.out_channels)


class LayerNorm(Module):
    """Each element with mean 0 and variance 1 over its last axes, whose shape is `normalized_shape`."""

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True, dtype: Any = np.float32
    ) -> None:
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        self.weight = Parameter(np.ones(self.normalized_shape, dtype)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, dtype)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        _check_end(self, x)
        return ops.layer_norm(x, self.weight, self.bias, eps=self.eps, axes=len(self.normalized_shape))

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """Each element with mean square 1 over its last axes, whose shape is `normalized_shape`."""

    def __init__(
        self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True, dtype: Any = np.float32
    ) -> None:
        self.normalized_shape, self.eps = _shape(normalized_shape), eps
        self.weight = Parameter(np.ones(self.normalized_shape, dtype)) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        _check_end(self, x)
        return ops.rms_norm(x, self.weight, eps=self.eps, axes=len(self.normalized_shape))

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class GroupNorm(Module):
    """Each image's groups of channels with mean 0 and variance 1: (N, C, …)."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, dtype: Any = np.float32) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ArgumentError(f"GroupNorm: {num_channels} channels cannot be shared out to {num_groups} groups")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = Parameter(np.ones(num_channels, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, dtype)) if affine else None

    def forward(self, x: Any) -> Any:
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            raise ShapeError(f"{self!r}: input {x.shape}; it takes (N, {self.num_channels}, …)")
        return ops.group_norm(x, self.weight, self.bias, num_groups=self.num_groups, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}"


def _shape(shape: Any) -> tuple[int, ...]:
    sizes = (int(shape),) if isinstance(shape, int | np.integer) else tuple(map(int, shape))
    if not sizes or math.prod(sizes) < 1:
        raise ArgumentError(f"normalized_shape is {shape!r}; it takes a whole number from 1, or several")
    return sizes


def _check_end(layer: LayerNorm | RMSNorm, x: Any) -> None:
    if x.shape[-len(layer.normalized_shape) :] != layer.normalized_shape:
        raise ShapeError(f"{layer!r}: input {x.shape} does not end in {layer.normalized_shape}")
