"""Nonlinear functions, each with its slope. Those of `FUSED` know their slope from their value, so a layer can apply
them in place and keep nothing else; those of `SLOPED` make value and slope together, block by block.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, ShapeError
from ..kernels import Array
from ..tensor import Backward, gradients_wanted, primitive
from .image import on_lines

Primitive = tuple[Array, Backward]
Sloped = Callable[[Array, Array, Array | None], None]  # makes its value and, if asked to, its slope: (x, y, slope)
BLOCK = 32768  # numbers worked on at a time: they stay in a second-level cache


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
    y = on_lines(_relu, x)
    return y, lambda dy: (lambda out: on_lines(_relu_gradient, dy, y) if out is None else _relu_gradient(dy, y, out),)


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
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Primitive:
    """`x` if it is above 0, else `negative_slope * x` (Maas et al. 2013)"""
    slope = _step(x, negative_slope)
    return k.multiply(x, slope), lambda dy: (lambda out: k.multiply(dy, slope, out=out),)


@primitive
def elu(x: Array, alpha: float = 1.0) -> Primitive:
    """`x` if it is above 0, else `alpha * (exp(x) - 1)` (Clevert et al. 2016)"""
    below = k.expm1(k.at_most(0.0, x))
    k.multiply(below, k.scalar(alpha, x.dtype), out=below)
    y = k.add(k.at_least(0.0, x), below)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            low = k.copy(k.greater(k.scalar(0, x.dtype), x), dtype=x.dtype)
            slope = k.add(_step(x, 0.0), k.multiply(low, k.add(below, k.scalar(alpha, x.dtype))))
            return k.multiply(dy, slope, out=out)

        return (dx,)

    return y, backward


@primitive
def gelu(x: Array, approximate: str = "none") -> Primitive:
    """`x * Φ(x)`, Φ the normal distribution function; "tanh" approximates it (Hendrycks & Gimpel 2016)"""
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: approximate is {approximate!r}; it is none or tanh")
    return _sloped(x, SLOPED["gelu_tanh" if approximate == "tanh" else "gelu"])


@primitive
def silu(x: Array) -> Primitive:
    """`x * sigmoid(x)`, also called swish"""
    return _sloped(x, SLOPED["silu"])


@primitive
def mish(x: Array) -> Primitive:
    """`x * tanh(softplus(x))` (Misra 2019)"""
    return _sloped(x, SLOPED["mish"])


@primitive
def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Primitive:
    """`log(1 + exp(beta * x)) / beta`, which is `x` itself where beta * x is above the threshold"""
    if beta <= 0:
        raise ArgumentError(f"softplus: beta is {beta}; it must be above 0")
    z = k.multiply(x, k.scalar(beta, x.dtype)) if beta != 1 else x
    linear = k.copy(k.greater(z, k.scalar(threshold, x.dtype)), dtype=x.dtype)
    rest = k.subtract(k.scalar(1, x.dtype), linear)
    y = k.multiply(_softplus(z), rest)
    y = k.add(y, k.multiply(z, linear, out=linear), out=y)
    if beta != 1:
        k.multiply(y, k.scalar(1 / beta, x.dtype), out=y)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            slope = k.subtract(k.scalar(1, x.dtype), k.multiply(rest, _sigmoid(k.negative(z), None)))
            return k.multiply(dy, slope, out=out)

        return (dx,)

    return y, backward


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


def _gelu_tanh(x: Array, y: Array, slope: Array | None) -> None:
    """With s = (1 + tanh u) / 2, u = √(2/π) (x + 0.044715 x³): y = x s, y' = s + 2 (y - y s) u'."""
    dtype, root = x.dtype, math.sqrt(2 / math.pi)
    half = k.scalar(0.5, dtype)
    square = k.square(x)
    u = k.multiply(square, k.scalar(root * 0.044715, dtype), out=y)
    k.multiply(k.add(u, k.scalar(root, dtype), out=u), x, out=u)
    s = k.tanh(u, out=u if slope is None else slope)
    k.add(k.multiply(s, half, out=s), half, out=s)
    k.multiply(x, s, out=y)
    if slope is not None:
        du = k.multiply(square, k.scalar(6 * root * 0.044715, dtype), out=square)
        k.add(du, k.scalar(2 * root, dtype), out=du)
        rest = k.multiply(y, s)
        k.multiply(k.subtract(y, rest, out=rest), du, out=rest)
        k.add(s, rest, out=slope)


def _gelu(x: Array, y: Array, slope: Array | None) -> None:
    """y' = Φ(x) + x φ(x)"""
    dtype = x.dtype
    phi = k.erf(k.multiply(x, k.scalar(math.sqrt(0.5), dtype)))
    half = k.scalar(0.5, dtype)
    k.add(k.multiply(phi, half, out=phi), half, out=phi)
    if slope is not None:
        density = k.exp(k.multiply(k.square(x), k.scalar(-0.5, dtype)))
        k.multiply(density, k.scalar(1 / math.sqrt(2 * math.pi), dtype), out=density)
        k.add(phi, k.multiply(x, density, out=density), out=slope)
    k.multiply(x, phi, out=y)


def _silu(x: Array, y: Array, slope: Array | None) -> None:
    """y' = s + y (1 - s)"""
    s = _sigmoid(x, None)
    if slope is None:
        k.multiply(x, s, out=y)
        return
    product = k.multiply(x, s)
    rest = k.multiply(product, k.subtract(k.scalar(1, x.dtype), s))
    k.add(s, rest, out=slope)
    k.copy(product, out=y)


def _mish(x: Array, y: Array, slope: Array | None) -> None:
    """With t = tanh(softplus(x)): y' = t + x (1 - t²) sigmoid(x)."""
    one = k.scalar(1, x.dtype)
    t = k.tanh(_softplus(x))
    if slope is not None:
        rest = k.multiply(k.subtract(one, k.square(t)), _sigmoid(x, None))
        k.add(t, k.multiply(x, rest), out=slope)
    k.multiply(x, t, out=y)


SLOPED: dict[str, Sloped] = {"gelu_tanh": _gelu_tanh, "gelu": _gelu, "silu": _silu, "mish": _mish}


def _sloped(x: Array, function: Sloped) -> Primitive:
    y = k.like(x)
    slope = k.like(x) if gradients_wanted() else None
    order = k.memory_order(y)  # images: as they lie in memory
    source, value = x.transpose(order), y.transpose(order).reshape(-1)
    source = k.dense(source).reshape(-1)
    kept = None if slope is None else slope.transpose(order).reshape(-1)
    step = k.grain(BLOCK)
    for first in range(0, x.size, step):
        part = slice(first, first + step)
        function(source[part], value[part], None if kept is None else kept[part])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        return (lambda out: k.multiply(dy, slope, out=out),)  # type: ignore[arg-type]  # there is one on the tape

    return y, backward


def _softplus(x: Array) -> Array:
    """`max(x, 0) + log(1 + exp(-|x|))`"""
    small = k.log1p(k.exp(k.negative(k.absolute(x))))
    return k.add(k.at_least(0.0, x), small, out=small)


def _step(x: Array, low: float) -> Array:
    """1 where x is above 0, else `low`."""
    above = k.copy(k.greater(x, k.scalar(0, x.dtype)), dtype=x.dtype)
    if low <= 1:
        return k.at_least(low, above, out=above)
    return k.add(k.multiply(above, k.scalar(1 - low, x.dtype)), k.scalar(low, x.dtype))
