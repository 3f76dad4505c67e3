"""Nonlinear functions, each with its slope. Those of `FUSED` know their slope from their value, so a layer can apply
them in place and keep nothing else.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import kernels as k
from ..errors import ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive

Primitive = tuple[Array, Backward]


class Activation(NamedTuple):
    """A function and the product of a gradient with its slope, both elementwise, both into `out` if it is given."""

    value: Callable[[Array, Array | None], Array]  # (x, out) -> y
    gradient: Callable[[Array, Array, Array | None], Array]  # (dy, y, out) -> dx


def _relu(x: Array, out: Array | None) -> Array:
    return k.at_least(0.0, x, out=out)


def _relu_gradient(dy: Array, y: Array, out: Array | None) -> Array:
    return k.multiply(dy, k.greater(y, k.scalar(0, y.dtype)), out=out)


def _sigmoid(x: Array, out: Array | None) -> Array:
    limit = 87.0 if x.dtype == np.float32 else 708.0  # beyond it exp overflows, and the result is 0 anyway
    y = k.negative(x, out=out)
    y = k.exp(k.at_most(limit, y, out=y), out=y)
    return k.reciprocal(k.add(y, k.scalar(1, x.dtype), out=y), out=y)


def _sigmoid_gradient(dy: Array, y: Array, out: Array | None) -> Array:
    slope = k.subtract(k.scalar(1, y.dtype), y)
    return k.multiply(dy, k.multiply(y, slope, out=slope), out=slope if out is None else out)


def _tanh(x: Array, out: Array | None) -> Array:
    return k.tanh(x, out=out)


def _tanh_gradient(dy: Array, y: Array, out: Array | None) -> Array:
    slope = k.square(y)
    k.subtract(k.scalar(1, y.dtype), slope, out=slope)
    return k.multiply(dy, slope, out=slope if out is None else out)


def _hardsigmoid(x: Array, out: Array | None) -> Array:
    y = k.multiply(x, k.scalar(1 / 6, x.dtype), out=out)
    y = k.add(y, k.scalar(0.5, x.dtype), out=y)
    return k.at_most(1.0, k.at_least(0.0, y, out=y), out=y)


def _hardsigmoid_gradient(dy: Array, y: Array, out: Array | None) -> Array:
    inside = k.logical_and(k.greater(y, k.scalar(0, y.dtype)), k.less(y, k.scalar(1, y.dtype)))
    dx = k.multiply(dy, inside, out=out)
    return k.multiply(dx, k.scalar(1 / 6, y.dtype), out=dx)


FUSED = {
    "relu": Activation(_relu, _relu_gradient),
    "sigmoid": Activation(_sigmoid, _sigmoid_gradient),
    "tanh": Activation(_tanh, _tanh_gradient),
    "hardsigmoid": Activation(_hardsigmoid, _hardsigmoid_gradient),
}


@primitive
def relu(x: Array) -> Primitive:
    """`max(x, 0)`"""
    y = _relu(x, None)
    return y, lambda dy: (lambda out: _relu_gradient(dy, y, out),)


@primitive
def sigmoid(x: Array) -> Primitive:
    """`1 / (1 + exp(-x))`"""
    y = _sigmoid(x, None)
    return y, lambda dy: (lambda out: _sigmoid_gradient(dy, y, out),)


@primitive
def tanh(x: Array) -> Primitive:
    """Hyperbolic tangent."""
    y = _tanh(x, None)
    return y, lambda dy: (lambda out: _tanh_gradient(dy, y, out),)


@primitive
def hardsigmoid(x: Array) -> Primitive:
    """`min(max(x / 6 + 1/2, 0), 1)`, as in MobileNetV3"""
    y = _hardsigmoid(x, None)
    return y, lambda dy: (lambda out: _hardsigmoid_gradient(dy, y, out),)


@primitive
def softmax(x: Array, axis: int = -1) -> Primitive:
    """`exp(x) / sum(exp(x))` over `axis`, shifted by the largest so that nothing overflows."""
    axes = (_axis(x, axis),)
    p = k.exp(k.subtract(x, k.max(x, axes, True)))
    y = k.divide(p, k.sum(p, axes, True), out=p)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            inner = k.sum(k.multiply(dy, y), axes, True)
            return k.multiply(k.subtract(dy, inner), y, out=out)

        return (dx,)

    return y, backward


@primitive
def log_softmax(x: Array, axis: int = -1) -> Primitive:
    """`x - log(sum(exp(x)))` over `axis`, shifted by the largest so that nothing overflows."""
    axes = (_axis(x, axis),)
    shifted = k.subtract(x, k.max(x, axes, True))
    p = k.exp(shifted)
    total = k.sum(p, axes, True)
    y = k.subtract(shifted, k.log(total), out=shifted)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            share = k.divide(k.sum(dy, axes, True), total)
            return k.subtract(dy, k.multiply(p, share), out=out)

        return (dx,)

    return y, backward


def _axis(x: Array, axis: int) -> int:
    if not -x.ndim <= axis < x.ndim or x.shape[axis] == 0:
        raise ShapeError(f"axis {axis} of shape {x.shape}: it must exist and not be empty")
    return axis % x.ndim
