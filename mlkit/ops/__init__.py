"""Differentiable primitives: value and gradient side by side. Arrays in, arrays out; Tensors in, Tensors out."""

from . import method as _method  # noqa: F401  # attaches Tensor's operators
from .activation import hardsigmoid, log_softmax, relu, sigmoid, softmax, tanh
from .arithmetic import absolute, add, divide, exp, log, matmul, multiply, negative, power, sqrt, subtract
from .linear import linear
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
)
from .reduce import max, mean, min, sum
from .shape import broadcast_to, concatenate, getitem, permute, reshape, transpose

__all__ = [
    "absolute",
    "add",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "broadcast_to",
    "concatenate",
    "cross_entropy",
    "divide",
    "exp",
    "getitem",
    "hardsigmoid",
    "huber_loss",
    "l1_loss",
    "linear",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "mean",
    "min",
    "mse_loss",
    "multiply",
    "negative",
    "permute",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "subtract",
    "sum",
    "tanh",
    "transpose",
]
