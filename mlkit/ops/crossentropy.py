"""Cross-entropy, of class numbers or probabilities, and its half for log-probabilities."""

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, DataError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive
from .loss import backward_of, check_pair, reduced, share_of

Primitive = tuple[Array, Backward]


@primitive
def cross_entropy(
    x: Array, target: Array, reduction: str = "mean", weight: Array | None = None, ignore_index: int | None = None,
    label_smoothing: float = 0.0,
) -> Primitive:  # fmt: skip
    """`-log softmax(x)[target]`: logits (N, C) or (N, C, …) with class numbers (N,) or (N, …), or with probabilities like x.

    weight, (C,), is what each class counts; rows of class `ignore_index` do not count (None: every row does; PyTorch's
    default, -100, has to be asked for); label_smoothing mixes the target with the uniform distribution. "mean" divides by
    what the targets count, for probabilities by the number of rows. A class number outside 0 … C - 1 is a DataError.
    """
    if x.ndim < 2 or x.size == 0:
        raise ShapeError(f"cross_entropy: logits {x.shape}; it takes (N, C) or (N, C, …), not empty")
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"cross_entropy: label_smoothing is {label_smoothing}; it lies from 0 to 1")
    if weight is not None and (weight.shape != x.shape[1:2] or weight.dtype != x.dtype):
        raise ShapeError(
            f"cross_entropy: weight {weight.shape}, {weight.dtype}, for logits {x.shape}, {x.dtype}: one for each class"
        )
    if x.ndim > 2:
        return _with_classes_last(x, target, reduction, weight, ignore_index, label_smoothing)
    if target.ndim == 2:
        check_pair(x, target)
        return _distribution(x, _smoothed(target, weight, label_smoothing), reduction, None)
    if weight is None and ignore_index is None and not label_smoothing:
        return _classes(x, target, reduction)
    _check_labels(x, target)
    wanted = k.call(class_shares, target, weight, ignore_index, label_smoothing, k.empty(x.shape, x.dtype))
    counted = k.call(class_counts, target, weight, ignore_index, k.empty((len(x),), x.dtype))
    return _distribution(x, wanted, reduction, counted)


@primitive
def nll_loss(
    x: Array, target: Array, reduction: str = "mean", weight: Array | None = None, ignore_index: int | None = None
) -> Primitive:
    """`-x[target]` for log-probabilities (N, C) and class numbers (N,); options as in `cross_entropy`."""
    if x.ndim != 2 or x.size == 0:
        raise ShapeError(f"nll_loss: log-probabilities {x.shape}; it takes (N, C), not empty")
    _check_labels(x, target)
    wanted = k.call(class_shares, target, weight, ignore_index, 0.0, k.empty(x.shape, x.dtype))
    counted = k.call(class_counts, target, weight, ignore_index, k.empty((len(x),), x.dtype))
    losses = k.negative(k.sum(k.multiply(wanted, x), (1,)))
    loss, share = _shared(losses, reduction, counted)

    def backward(dloss: Array):  # type: ignore[no-untyped-def]
        scale = k.negative(k.multiply(dloss, share))
        return (lambda out: k.multiply(wanted, scale[:, None] if scale.ndim else scale, out=out), None)

    return loss, backward


def _classes(x: Array, labels: Array, reduction: str) -> Primitive:
    batch, classes = x.shape
    _check_labels(x, labels)
    shifted, p, total = _softmax_parts(x)
    where = k.call(class_places, labels, classes, k.empty((batch,), np.intp))
    picked = k.subtract(k.log(total)[:, 0], k.take(shifted, where))

    def slope(scale: Array, out: Array | None) -> Array:
        out = k.divide(p, total, out=out)
        k.add_at(where, -1.0, out)
        return k.multiply(out, scale if scale.ndim == 0 else scale[:, None], out=out)

    return reduced(picked, reduction), backward_of(slope, picked, reduction)


def _distribution(x: Array, wanted: Array, reduction: str, counted: Array | None) -> Primitive:
    """Cross-entropy with rows of wanted shares, which need not sum to 1."""
    shifted, p, total = _softmax_parts(x)
    losses = k.negative(k.sum(k.multiply(wanted, k.subtract(shifted, k.log(total))), (1,)))
    loss, share = _shared(losses, reduction, counted)

    def backward(dloss: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            scale = k.multiply(dloss, share)
            whole = k.divide(k.sum(wanted, (1,), True), total)
            out = k.subtract(k.multiply(p, whole), wanted, out=out)
            return k.multiply(out, scale if scale.ndim == 0 else scale[:, None], out=out)

        return (dx, None)

    return loss, backward


def _smoothed(target: Array, weight: Array | None, smoothing: float) -> Array:
    """Probabilities mixed with the uniform ones, times what each class counts."""
    if smoothing:
        kept = k.multiply(target, k.scalar(1 - smoothing, target.dtype))
        target = k.add(kept, k.scalar(smoothing / target.shape[1], target.dtype), out=kept)
    return target if weight is None else k.multiply(target, weight)


def _shared(losses: Array, reduction: str, counted: Array | None) -> tuple[Array, Array]:
    """(the reduced losses, what each of them counts in it); "mean" is over `counted`, else over the batch."""
    if counted is None or reduction != "mean":
        return reduced(losses, reduction), k.scalar(share_of(losses, reduction), losses.dtype)
    share = k.reciprocal(k.sum(counted, (0,)))
    return k.multiply(k.sum(losses, (0,)), share), share


def _with_classes_last(
    x: Array, target: Array, reduction: str, weight: Array | None, ignore_index: int | None, smoothing: float
) -> Primitive:
    """(N, C, …) as rows of classes."""
    last = x.transpose(0, *range(2, x.ndim), 1)
    rows = k.copy(last).reshape(-1, x.shape[1])
    labels: Array
    if target.shape == x.shape:
        labels = k.copy(target.transpose(0, *range(2, x.ndim), 1)).reshape(rows.shape)
    elif target.shape == last.shape[:-1]:
        labels = k.dense(target).reshape(-1)
    else:
        raise ShapeError(f"cross_entropy: target {target.shape} for logits {x.shape}: it takes {last.shape[:-1]} or {x.shape}")
    loss, rest = cross_entropy.on_arrays(rows, labels, reduction, weight, ignore_index, smoothing)  # type: ignore[attr-defined]

    def backward(dloss: Array):  # type: ignore[no-untyped-def]
        thunk = rest(dloss.reshape(-1) if dloss.ndim else dloss)[0]
        back = 0, x.ndim - 1, *range(1, x.ndim - 1)

        def dx(out: Array | None) -> Array:
            found = thunk(None).reshape(last.shape).transpose(back)
            return k.into(out, found)

        return (dx, None)

    return loss.reshape(last.shape[:-1]) if reduction == "none" else loss, backward


@k.kernel
def class_shares(labels: Array, weight: Array | None, ignored: int | None, smoothing: float, out: Array) -> None:
    """Each row's wanted shares: 1 - smoothing for its class, smoothing for all together, times what the classes count."""
    here = _counting(labels, ignored, out.shape[1])
    out[...] = smoothing / out.shape[1]
    out[np.flatnonzero(here), labels[here]] += 1 - smoothing
    if weight is not None:
        out *= weight
    out[~here] = 0


@k.kernel
def class_counts(labels: Array, weight: Array | None, ignored: int | None, out: Array) -> None:
    """What each row counts: the weight of its class, 1 without weights, 0 if it is ignored."""
    here = _counting(labels, ignored, None if weight is None else len(weight))
    out[...] = 0
    out[here] = 1 if weight is None else weight[labels[here]]


def _counting(labels: Array, ignored: int | None, classes: int | None) -> Array:
    """Which rows count; the others' class numbers are checked."""
    here: Array = np.ones(len(labels), bool) if ignored is None else labels != ignored
    found = labels[here]
    if classes is not None and found.size and (found.max() >= classes or found.min() < 0):
        raise DataError(f"a class number is outside 0 … {classes - 1}: they go from {found.min()} to {found.max()}")
    return here


@k.kernel
def class_places(labels: Array, classes: int, out: Array) -> None:
    """Flat index of element `labels[i]` of row i; the labels are checked at every call, in a plan too."""
    function, operands = _bound_places(labels, classes, out)
    function(*operands)


@k.binding(class_places)
def _bound_places(labels: Array, classes: int, out: Array) -> k.Bound:
    unsigned = labels.view(labels.dtype.str.replace("i", "u"))  # in which -1 is the largest number
    return _places, (labels, unsigned, classes, k.row_starts(labels.size, classes), out)


def _places(labels: Array, unsigned: Array, classes: int, starts: Array, out: Array) -> None:
    if labels.size and unsigned.max() >= classes:
        raise DataError(f"a class number is outside 0 … {classes - 1}: they go from {labels.min()} to {labels.max()}")
    np.add(starts, labels, out, casting="unsafe")


def _check_labels(x: Array, labels: Array) -> None:
    if labels.shape != x.shape[:1] or labels.dtype.kind not in "iu":
        raise ShapeError(f"target {labels.shape} of {labels.dtype} for logits {x.shape}: it takes ({len(x)},) integers")


def _softmax_parts(x: Array) -> tuple[Array, Array, Array]:
    """(x less its largest, exp of that, its sum), over the last axis."""
    shifted = k.subtract(x, k.max(x, (1,), True))
    p = k.exp(shifted)
    return shifted, p, k.sum(p, (1,), True)
