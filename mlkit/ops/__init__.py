"""Differentiable primitives: value and gradient side by side. Arrays in, arrays out; Tensors in, Tensors out."""

from . import method as _method  # noqa: F401  # attaches Tensor's operators
from .activation import elu, gelu, hardsigmoid, leaky_relu, log_softmax, mish, relu, sigmoid, silu, softmax, softplus, tanh
from .arithmetic import absolute, add, divide, exp, log, matmul, multiply, negative, power, sqrt, subtract
from .attention import rotary, scaled_dot_product_attention, self_attention
from .batchnorm import batch_norm
from .conv import conv1d, conv2d, conv_transpose2d
from .crossentropy import cross_entropy, nll_loss
from .ctc import ctc_loss
from .dropout import dropout, normal_like
from .embedding import embedding
from .linear import linear
from .loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from .normalize import group_norm, layer_norm, rms_norm
from .pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from .recurrent import gru, lstm, rnn
from .reduce import max, mean, min, sum
from .resize import pad, upsample
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
    "ctc_loss",
    "divide",
    "dropout",
    "elu",
    "embedding",
    "exp",
    "gelu",
    "getitem",
    "group_norm",
    "gru",
    "hardsigmoid",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log",
    "log_softmax",
    "lstm",
    "matmul",
    "max",
    "max_pool2d",
    "mean",
    "min",
    "mish",
    "mse_loss",
    "multiply",
    "negative",
    "nll_loss",
    "normal_like",
    "pad",
    "permute",
    "power",
    "relu",
    "reshape",
    "rms_norm",
    "rnn",
    "rotary",
    "scaled_dot_product_attention",
    "self_attention",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "softplus",
    "sqrt",
    "subtract",
    "sum",
    "tanh",
    "transpose",
    "upsample",
]
