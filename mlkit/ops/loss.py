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
def smooth_l1_loss(x: Array, target: Array, reduction: str = "mean", beta: float = 1.0) -> Primitive:
    """`d**2 / (2 beta)` where |d| < beta, else `|d| - beta / 2`, for d = x - target (Girshick 2015)"""
    if not beta > 0:
        raise ArgumentError(f"smooth_l1_loss: beta is {beta}; it must be above 0")
    loss, backward = huber_loss.on_arrays(x, target, reduction, beta)  # type: ignore[attr-defined]
    share = k.scalar(1 / beta, x.dtype)
    return k.multiply(loss, share), lambda dloss: backward(k.multiply(dloss, share))


@primitive
def hinge_embedding_loss(x: Array, target: Array, reduction: str = "mean", margin: float = 1.0) -> Primitive:
    """`x` where the target is 1, `max(0, margin - x)` where it is -1"""
    _check(x, target)
    one = k.scalar(1, x.dtype)
    near = k.multiply(k.add(target, one), k.scalar(0.5, x.dtype))  # 1 for 1, 0 for -1
    far = k.subtract(one, near)
    room = k.at_least(0.0, k.subtract(k.scalar(margin, x.dtype), x))
    loss = k.add(k.multiply(near, x), k.multiply(far, room))

    def slope(scale: Array, out: Array | None) -> Array:
        open_ = k.copy(k.greater(room, k.scalar(0, x.dtype)), dtype=x.dtype)
        return k.multiply(k.subtract(near, k.multiply(far, open_)), scale, out=out)

    return _reduced(loss, reduction), _backward(slope, x, reduction)


@primitive
def kl_div(x: Array, target: Array, reduction: str = "mean", log_target: bool = False) -> Primitive:
    """`target * (log target - x)` for log-probabilities x; "batchmean" divides the sum by the length of the first axis.

    With log_target the target is logarithms as well: `exp(target) * (target - x)`. Where a target is 0, so is the loss.
    """
    _check(x, target)
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

    return _reduced(loss, reduction), _backward(slope, x, reduction)


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
        _check(x, target)
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


@primitive
def ctc_loss(
    log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Primitive:  # fmt: skip
    """`-log` of the probability that the series reads as its target, all alignments summed: (T, N, C), (N, S), (N,), (N,).

    log_probs are logarithms of probabilities; blanks and repetitions are left out in reading. "mean" divides each loss by
    its target's length, then by N. zero_infinity makes the loss of a target that is too long 0. Source: Graves et al. 2006.
    """
    if log_probs.ndim != 3 or targets.ndim != 2 or log_probs.shape[1] != len(targets) or log_probs.size == 0:
        raise ShapeError(f"ctc_loss: log-probabilities {log_probs.shape}, targets {targets.shape}; it takes (T, N, C) and (N, S)")
    if any(lengths.shape != (len(targets),) or lengths.dtype.kind not in "iu" for lengths in (input_lengths, target_lengths)):
        raise ShapeError(f"ctc_loss: lengths {input_lengths.shape}, {target_lengths.shape}; it takes integers ({len(targets)},)")
    if not 0 <= blank < log_probs.shape[2] or targets.dtype.kind not in "iu":
        raise ArgumentError(f"ctc_loss: blank {blank}, targets of {targets.dtype}: class numbers below {log_probs.shape[2]}")
    losses, slopes = k.empty((len(targets),), log_probs.dtype), k.empty(log_probs.shape, log_probs.dtype)
    k.call(ctc, log_probs, targets, input_lengths, target_lengths, blank, zero_infinity, losses, slopes)
    if reduction == "mean":
        counted = k.at_least(1.0, k.copy(target_lengths, dtype=losses.dtype))
        share = k.divide(k.scalar(1 / len(targets), losses.dtype), counted)
    else:
        _share(losses, reduction)
        share = k.scalar(1, losses.dtype)
    losses = k.multiply(losses, share)

    def backward(dloss: Array):  # type: ignore[no-untyped-def]
        scale = k.multiply(dloss, share)
        return (lambda out: k.multiply(slopes, scale if scale.ndim == 0 else scale[:, None], out=out), None, None, None)

    return losses if reduction == "none" else k.sum(losses, (0,)), backward


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

    return _reduced(picked, reduction), _backward(slope, picked, reduction)


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
        return _reduced(losses, reduction), k.scalar(_share(losses, reduction), losses.dtype)
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
        labels = (target if target.flags.c_contiguous else k.copy(target)).reshape(-1)
    else:
        raise ShapeError(f"cross_entropy: target {target.shape} for logits {x.shape}: it takes {last.shape[:-1]} or {x.shape}")
    loss, rest = cross_entropy.on_arrays(rows, labels, reduction, weight, ignore_index, smoothing)  # type: ignore[attr-defined]

    def backward(dloss: Array):  # type: ignore[no-untyped-def]
        thunk = rest(dloss.reshape(-1) if dloss.ndim else dloss)[0]
        back = 0, x.ndim - 1, *range(1, x.ndim - 1)

        def dx(out: Array | None) -> Array:
            found = thunk(None).reshape(last.shape).transpose(back)
            return found if out is None else k.copy(found, out=out)

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
def ctc(
    log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int, zero_infinity: bool,
    losses: Array, slopes: Array,
) -> None:  # fmt: skip
    """Losses and their slopes by the forward-backward recursion, over the targets with blanks between, all series at once."""
    time, batch, classes = log_probs.shape
    if (input_lengths > time).any() or (input_lengths < 1).any() or (target_lengths > targets.shape[1]).any():
        raise DataError(f"ctc_loss: a length is above {time} steps or {targets.shape[1]} targets, or a series is empty")
    inside = np.arange(targets.shape[1]) < target_lengths[:, None]
    if inside.any() and (targets[inside].max() >= classes or targets[inside].min() < 0):
        raise DataError(f"ctc_loss: a target is outside 0 … {classes - 1}")
    states = 2 * targets.shape[1] + 1
    symbols = np.full((batch, states), blank)
    symbols[:, 1::2] = np.where(inside, targets, blank)
    skips = np.zeros((batch, states), bool)  # a state may be entered past the blank before it, if the symbol is another one
    skips[:, 3::2] = symbols[:, 3::2] != symbols[:, 1:-2:2]
    last, rows = 2 * target_lengths, np.arange(batch)
    with np.errstate(divide="ignore", invalid="ignore"):
        emitted = log_probs[:, rows[:, None], symbols].astype(np.float64)  # (T, N, states)
        forward = np.full((time, batch, states), -np.inf)
        forward[0, :, 0] = emitted[0, :, 0]
        if states > 1:
            forward[0, :, 1] = np.where(target_lengths > 0, emitted[0, :, 1], -np.inf)
        for t in range(1, time):
            forward[t] = _entered(forward[t - 1], skips) + emitted[t]
        backward = np.full((time, batch, states), -np.inf)
        leaving = np.full((batch, states), -np.inf)
        leaving[rows, last] = 0
        leaving[rows, np.maximum(last - 1, 0)] = 0
        turned = np.zeros_like(skips)
        turned[:, : states - 2] = skips[:, 2:]
        for t in range(time - 1, -1, -1):
            if t + 1 < time:
                ahead = backward[t + 1] + emitted[t + 1]
                backward[t] = _entered(ahead[:, ::-1], turned[:, ::-1])[:, ::-1]
            backward[t] = np.where((input_lengths - 1 == t)[:, None], leaving, backward[t])
            backward[t] = np.where((input_lengths - 1 < t)[:, None], -np.inf, backward[t])
        together = forward + backward
        total = np.logaddexp.reduce(together[0], axis=1)
        share = np.exp(together - total[:, None])
    share[~np.isfinite(share)] = 0
    slopes[...] = 0
    for state in range(states):
        slopes[:, rows, symbols[:, state]] -= share[:, :, state]
    losses[...] = -total
    if zero_infinity:
        losses[~np.isfinite(losses)] = 0


def _entered(before: Array, skips: Array) -> Array:
    """log of the sum over the states that lead to each: itself, the one before, the one before that where it may be skipped."""
    one, two = np.full_like(before, -np.inf), np.full_like(before, -np.inf)
    one[:, 1:], two[:, 2:] = before[:, :-1], before[:, :-2]
    two[~skips] = -np.inf
    found: Array = np.logaddexp(np.logaddexp(before, one), two)
    return found


@k.kernel
def class_places(labels: Array, classes: int, out: Array) -> None:
    """Flat index of element `labels[i]` of row i; the labels are checked at every call, in a plan too."""
    if labels.size and (labels.max() >= classes or labels.min() < 0):
        raise DataError(f"a class number is outside 0 … {classes - 1}: they go from {labels.min()} to {labels.max()}")
    np.add(k.row_starts(labels.size, classes), labels, out=out, casting="unsafe")


def _check_labels(x: Array, labels: Array) -> None:
    if labels.shape != x.shape[:1] or labels.dtype.kind not in "iu":
        raise ShapeError(f"target {labels.shape} of {labels.dtype} for logits {x.shape}: it takes ({len(x)},) integers")


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
