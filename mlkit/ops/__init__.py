"""Differentiable primitives: value and gradient side by side. Arrays in, arrays out; Tensors in, Tensors out."""

from . import method as _method  # noqa: F401  # attaches Tensor's operators
from .activation import hardsigmoid, log_softmax, relu, sigmoid, softmax, tanh
from .arithmetic import absolute, add, divide, exp, log, matmul, multiply, negative, power, sqrt, subtract
from .conv import conv1d, conv2d, conv_transpose2d
from .linear import linear
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
)
from .normalize import batch_norm, group_norm, layer_norm, rms_norm
from .pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from .reduce import max, mean, min, sum
from .shape import broadcast_to, concatenate, getitem, permute, reshape, transpose

__all__ = [
    "absolute",
    "adaptive_avg_pool2d",
    "add",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "broadcast_to",
    "concatenate",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "divide",
    "exp",
    "getitem",
    "group_norm",
    "hardsigmoid",
    "huber_loss",
    "l1_loss",
    "layer_norm",
    "linear",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "max_pool2d",
    "mean",
    "min",
    "mse_loss",
    "multiply",
    "negative",
    "permute",
    "power",
    "relu",
    "reshape",
    "rms_norm",
    "sigmoid",
    "softmax",
    "sqrt",
    "subtract",
    "sum",
    "tanh",
    "transpose",
]
