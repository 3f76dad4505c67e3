"""Connectionist temporal classification: the loss of a series whose target says what comes, but not when."""

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, DataError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive
from .loss import share_of

Primitive = tuple[Array, Backward]


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
        share_of(losses, reduction)
        share = k.scalar(1, losses.dtype)
    losses = k.multiply(losses, share)

    def backward(dloss: Array):  # type: ignore[no-untyped-def]
        scale = k.multiply(dloss, share)
        return (lambda out: k.multiply(slopes, scale if scale.ndim == 0 else scale[:, None], out=out), None, None, None)

    return losses if reduction == "none" else k.sum(losses, (0,)), backward


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
