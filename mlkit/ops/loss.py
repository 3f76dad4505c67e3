"""How wrong a prediction is: one number to make small. reduction is "mean", "sum" or "none", as in PyTorch."""

from collections.abc import Callable

import numpy as np

from .. import kernels as k
from ..blas import gemv
from ..errors import ArgumentError, DtypeError, ShapeError
from ..kernels import Array
from ..tensor import Backward, is_one, primitive
from .activation import _sigmoid

Primitive = tuple[Array, Backward]


@primitive
def mse_loss(x: Array, target: Array, reduction: str = "mean") -> Primitive:
    """`(x - target)**2`"""
    check_pair(x, target)
    difference = k.subtract(x, target)
    if reduction != "none" and difference.dtype.kind == "f":
        loss, flat = k.empty((), x.dtype), difference.ravel(order="K")
        gemv(flat[None], flat, out=loss.reshape(1), alpha=share_of(x, reduction))  # squares, sum and mean in one call
    else:
        loss = reduced(k.square(difference), reduction)

    def slope(scale: Array, out: Array | None) -> Array:
        return k.multiply(difference, scale, out=out)

    return loss, backward_of(slope, x, reduction, factor=2.0)


@primitive
def l1_loss(x: Array, target: Array, reduction: str = "mean") -> Primitive:
    """`|x - target|`"""
    check_pair(x, target)
    difference = k.subtract(x, target)

    def slope(scale: Array, out: Array | None) -> Array:
        return k.multiply(k.sign(difference), scale, out=out)

    return reduced(k.absolute(difference), reduction), backward_of(slope, x, reduction)


@primitive
def huber_loss(x: Array, target: Array, reduction: str = "mean", delta: float = 1.0) -> Primitive:
    """`d**2 / 2` where `|d| <= delta`, else `delta * (|d| - delta/2)`, for d = x - target (Huber 1964)"""
    check_pair(x, target)
    if not delta > 0:
        raise ArgumentError(f"huber_loss: delta is {delta}; it must be above 0")
    difference = k.subtract(x, target)
    near = k.at_most(delta, k.absolute(difference))  # min(|d|, delta)
    far = k.subtract(k.absolute(difference), k.multiply(near, k.scalar(0.5, x.dtype)))
    loss = reduced(k.multiply(near, far), reduction)

    def slope(scale: Array, out: Array | None) -> Array:
        return k.multiply(k.copysign(near, difference), scale, out=out)

    return loss, backward_of(slope, x, reduction)


@primitive
def smooth_l1_loss(x: Array, target: Array, reduction: str = "mean", beta: float = 1.0) -> Primitive:
    """`d**2 / (2 beta)` where `|d| < beta`, else `|d| - beta / 2`, for d = x - target (Girshick 2015)"""
    if not beta > 0:
        raise ArgumentError(f"smooth_l1_loss: beta is {beta}; it must be above 0")
    loss, backward = huber_loss.on_arrays(x, target, reduction, beta)  # type: ignore[attr-defined]
    share = k.scalar(1 / beta, x.dtype)
    return k.multiply(loss, share), lambda dloss: backward(k.multiply(dloss, share))


@primitive
def hinge_embedding_loss(x: Array, target: Array, reduction: str = "mean", margin: float = 1.0) -> Primitive:
    """`x` where the target is 1, `max(0, margin - x)` where it is -1"""
    check_pair(x, target)
    one = k.scalar(1, x.dtype)
    near = k.multiply(k.add(target, one), k.scalar(0.5, x.dtype))  # 1 for 1, 0 for -1
    far = k.subtract(one, near)
    room = k.at_least(0.0, k.subtract(k.scalar(margin, x.dtype), x))
    loss = k.add(k.multiply(near, x), k.multiply(far, room))

    def slope(scale: Array, out: Array | None) -> Array:
        open_ = k.copy(k.greater(room, k.scalar(0, x.dtype)), dtype=x.dtype)
        return k.multiply(k.subtract(near, k.multiply(far, open_)), scale, out=out)

    return reduced(loss, reduction), backward_of(slope, x, reduction)


@primitive
def kl_div(x: Array, target: Array, reduction: str = "mean", log_target: bool = False) -> Primitive:
    """`target * (log target - x)` for log-probabilities x; "batchmean" divides the sum by the length of the first axis.

    With log_target the target is logarithms as well: `exp(target) * (target - x)`. Where a target is 0, so is the loss.
    """
    check_pair(x, target)
    if reduction == "batchmean":
        total, backward = kl_div.on_arrays(x, target, "sum", log_target)  # type: ignore[attr-defined]
        share = k.scalar(1 / len(x), x.dtype)
        return k.multiply(total, share), lambda dloss: backward(k.multiply(dloss, share))
    weight = k.exp(target) if log_target else target
    smallest = float(np.finfo(x.dtype).tiny)
    logarithm = target if log_target else k.log(k.at_least(smallest, target))
    loss = k.multiply(weight, k.subtract(logarithm, x))

    def slope(scale: Array, out: Array | None) -> Array:
        return k.negative(k.multiply(weight, scale), out=out)

    return reduced(loss, reduction), backward_of(slope, x, reduction)


@primitive
def binary_cross_entropy_with_logits(x: Array, target: Array, reduction: str = "mean") -> Primitive:
    """`-t log s - (1 - t) log(1 - s)` for s = sigmoid(x), as `max(x, 0) - x t + log(1 + exp(-|x|))`"""
    check_pair(x, target)
    small = k.log1p(k.exp(k.negative(k.absolute(x))))
    loss = k.add(k.subtract(k.at_least(0.0, x), k.multiply(x, target)), small, out=small)

    def slope(scale: Array, out: Array | None) -> Array:
        return k.multiply(k.subtract(_sigmoid(x, None), target), scale, out=out)

    return reduced(loss, reduction), backward_of(slope, x, reduction)


@primitive
def binary_cross_entropy(x: Array, target: Array, reduction: str = "mean") -> Primitive:
    """`-t log x - (1 - t) log(1 - x)` for probabilities x; logarithms count as at least -100, as in PyTorch"""
    check_pair(x, target)
    one = k.scalar(1, x.dtype)
    smallest = float(np.finfo(x.dtype).tiny)  # its logarithm is above -100 in float32, below in float64
    rest = k.subtract(one, x)
    yes, no = (k.at_least(-100.0, k.log(k.at_least(smallest, p))) for p in (x, rest))
    absent = k.subtract(one, target)
    loss = k.negative(k.add(k.multiply(target, yes), k.multiply(absent, no)))

    def slope(scale: Array, out: Array | None) -> Array:
        spread = k.at_least(1e-12, k.multiply(x, rest))
        return k.multiply(k.divide(k.subtract(x, target), spread), scale, out=out)

    return reduced(loss, reduction), backward_of(slope, x, reduction)


def share_of(x: Array, reduction: str) -> float:
    """What an element's loss counts in the result."""
    if reduction not in ("mean", "sum", "none"):
        raise ArgumentError(f"reduction {reduction!r} is none of mean, sum, none")
    return 1 / x.size if reduction == "mean" and x.size else 1.0


def reduced(losses: Array, reduction: str) -> Array:
    share = share_of(losses, reduction)
    if reduction == "none":
        return losses
    total = k.sum(losses, tuple(range(losses.ndim)))
    return total if reduction == "sum" else k.multiply(total, k.scalar(share, losses.dtype), out=total)


def backward_of(slope: Callable[[Array, Array | None], Array], losses: Array, reduction: str, factor: float = 1.0) -> Backward:
    """The backward of a loss whose elements have `factor` times the given slope; the target gets no gradient."""
    share = k.scalar(factor * share_of(losses, reduction), losses.dtype)

    def backward(dloss: Array):  # type: ignore[no-untyped-def]
        scale = share if is_one(dloss) else k.multiply(dloss, share)
        return (lambda out: slope(scale, out), None)

    return backward


def check_pair(x: Array, target: Array) -> None:
    if x.shape != target.shape:
        raise ShapeError(f"the prediction has shape {x.shape}, the target {target.shape}: they must be the same")
    if x.dtype != target.dtype:
        raise DtypeError(f"the prediction is {x.dtype}, the target {target.dtype}: convert one of them")
    if x.size == 0:
        raise ShapeError(f"a loss over nothing: shape {x.shape}")
