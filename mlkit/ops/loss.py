"""How wrong a prediction is: one number to make small. reduction is "mean", "sum" or "none", as in PyTorch."""

from collections.abc import Callable

import numpy as np

from .. import kernels as k
from ..blas import dot
from ..errors import ArgumentError, DataError, DtypeError, ShapeError
from ..kernels import Array
from ..tensor import Backward, is_one, primitive
from .activation import _sigmoid

Primitive = tuple[Array, Backward]


@primitive
def mse_loss(x: Array, target: Array, reduction: str = "mean") -> Primitive:
    """`(x - target)**2`"""
    _check(x, target)
    difference = k.subtract(x, target)
    if reduction != "none" and difference.dtype.kind == "f":
        factor = k.scalar(_share(x, reduction), x.dtype)
        loss = dot(difference, difference)  # the squares and their sum in one pass
        loss = loss if reduction == "sum" else k.multiply(loss, factor, out=loss)
    else:
        loss = _reduced(k.square(difference), reduction)

    def slope(scale: Array, out: Array | None) -> Array:
        return k.multiply(difference, scale, out=out)

    return loss, _backward(slope, x, reduction, factor=2.0)


@primitive
def l1_loss(x: Array, target: Array, reduction: str = "mean") -> Primitive:
    """`|x - target|`"""
    _check(x, target)
    difference = k.subtract(x, target)

    def slope(scale: Array, out: Array | None) -> Array:
        return k.multiply(k.sign(difference), scale, out=out)

    return _reduced(k.absolute(difference), reduction), _backward(slope, x, reduction)


@primitive
def huber_loss(x: Array, target: Array, reduction: str = "mean", delta: float = 1.0) -> Primitive:
    """`d**2 / 2` where |d| <= delta, else `delta * (|d| - delta/2)`, for d = x - target (Huber 1964)"""
    _check(x, target)
    if not delta > 0:
        raise ArgumentError(f"huber_loss: delta is {delta}; it must be above 0")
    difference = k.subtract(x, target)
    near = k.at_most(delta, k.absolute(difference))  # min(|d|, delta)
    far = k.subtract(k.absolute(difference), k.multiply(near, k.scalar(0.5, x.dtype)))
    loss = _reduced(k.multiply(near, far), reduction)

    def slope(scale: Array, out: Array | None) -> Array:
        return k.multiply(k.copysign(near, difference), scale, out=out)

    return loss, _backward(slope, x, reduction)


@primitive
def binary_cross_entropy_with_logits(x: Array, target: Array, reduction: str = "mean") -> Primitive:
    """`-t log s - (1 - t) log(1 - s)` for s = sigmoid(x), as `max(x, 0) - x t + log(1 + exp(-|x|))`"""
    _check(x, target)
    small = k.log1p(k.exp(k.negative(k.absolute(x))))
    loss = k.add(k.subtract(k.at_least(0.0, x), k.multiply(x, target)), small, out=small)

    def slope(scale: Array, out: Array | None) -> Array:
        return k.multiply(k.subtract(_sigmoid(x, None), target), scale, out=out)

    return _reduced(loss, reduction), _backward(slope, x, reduction)


@primitive
def binary_cross_entropy(x: Array, target: Array, reduction: str = "mean") -> Primitive:
    """`-t log x - (1 - t) log(1 - x)` for probabilities x; logarithms count as at least -100, as in PyTorch"""
    _check(x, target)
    one = k.scalar(1, x.dtype)
    smallest = float(np.finfo(x.dtype).tiny)  # its logarithm is above -100 in float32, below in float64
    rest = k.subtract(one, x)
    yes, no = (k.at_least(-100.0, k.log(k.at_least(smallest, p))) for p in (x, rest))
    absent = k.subtract(one, target)
    loss = k.negative(k.add(k.multiply(target, yes), k.multiply(absent, no)))

    def slope(scale: Array, out: Array | None) -> Array:
        spread = k.at_least(1e-12, k.multiply(x, rest))
        return k.multiply(k.divide(k.subtract(x, target), spread), scale, out=out)

    return _reduced(loss, reduction), _backward(slope, x, reduction)


@primitive
def cross_entropy(x: Array, target: Array, reduction: str = "mean") -> Primitive:
    """`-log softmax(x)[target]`: logits (batch, classes) with class numbers (batch,) or probabilities (batch, classes).

    "mean" is over the batch. A class number outside 0 … classes - 1 is a DataError.
    """
    if x.ndim != 2 or x.size == 0:
        raise ShapeError(f"cross_entropy: logits {x.shape}; it takes (batch, classes), not empty")
    return _classes(x, target, reduction) if target.ndim == 1 else _probabilities(x, target, reduction)


def _classes(x: Array, labels: Array, reduction: str) -> Primitive:
    batch, classes = x.shape
    if labels.shape != (batch,) or labels.dtype.kind not in "iu":
        raise ShapeError(
            f"cross_entropy: target {labels.shape} of {labels.dtype} for logits {x.shape}: it takes ({batch},) integers"
        )
    shifted, p, total = _softmax_parts(x)
    where = k.call(class_places, labels, classes, k.empty((batch,), np.intp))
    picked = k.subtract(k.log(total)[:, 0], k.take(shifted, where))

    def slope(scale: Array, out: Array | None) -> Array:
        out = k.divide(p, total, out=out)
        k.add_at(where, -1.0, out)
        return k.multiply(out, scale if scale.ndim == 0 else scale[:, None], out=out)

    return _reduced(picked, reduction), _backward(slope, picked, reduction)


def _probabilities(x: Array, target: Array, reduction: str) -> Primitive:
    _check(x, target)
    shifted, p, total = _softmax_parts(x)
    picked = k.negative(k.sum(k.multiply(target, k.subtract(shifted, k.log(total))), (1,)))

    def slope(scale: Array, out: Array | None) -> Array:
        share = k.divide(k.sum(target, (1,), True), total)
        out = k.subtract(k.multiply(p, share), target, out=out)
        return k.multiply(out, scale if scale.ndim == 0 else scale[:, None], out=out)

    return _reduced(picked, reduction), _backward(slope, picked, reduction)


@k.kernel
def class_places(labels: Array, classes: int, out: Array) -> None:
    """Flat index of element `labels[i]` of row i; the labels are checked at every call, in a plan too."""
    if labels.size and (labels.max() >= classes or labels.min() < 0):
        raise DataError(f"a class number is outside 0 … {classes - 1}: they go from {labels.min()} to {labels.max()}")
    np.add(k.row_starts(labels.size, classes), labels, out=out, casting="unsafe")


def _softmax_parts(x: Array) -> tuple[Array, Array, Array]:
    """(x less its largest, exp of that, its sum), over the last axis."""
    shifted = k.subtract(x, k.max(x, (1,), True))
    p = k.exp(shifted)
    return shifted, p, k.sum(p, (1,), True)


def _share(x: Array, reduction: str) -> float:
    """What an element's loss counts in the result."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f"reduction {reduction!r} is none of mean, sum, none")
    return 1 / x.size if reduction == "mean" and x.size else 1.0


def _reduced(losses: Array, reduction: str) -> Array:
    share = _share(losses, reduction)
    if reduction == "none":
        return losses
    total = k.sum(losses, tuple(range(losses.ndim)))
    return total if reduction == "sum" else k.multiply(total, k.scalar(share, losses.dtype), out=total)


def _backward(slope: Callable[[Array, Array | None], Array], losses: Array, reduction: str, factor: float = 1.0) -> Backward:
    """The backward of a loss whose elements have `factor` times the given slope; the target gets no gradient."""
    share = k.scalar(factor * _share(losses, reduction), losses.dtype)

    def backward(dloss: Array):  # type: ignore[no-untyped-def]
        scale = share if is_one(dloss) else k.multiply(dloss, share)
        return (lambda out: slope(scale, out), None)

    return backward


def _check(x: Array, target: Array) -> None:
    if x.shape != target.shape:
        raise ShapeError(f"the prediction has shape {x.shape}, the target {target.shape}: they must be the same")
    if x.dtype != target.dtype:
        raise DtypeError(f"the prediction is {x.dtype}, the target {target.dtype}: convert one of them")
    if x.size == 0:
        raise ShapeError(f"a loss over nothing: shape {x.shape}")
