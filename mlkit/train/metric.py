"""How good predictions are: functions of (predictions, targets), both arrays, that return a float unless they say otherwise.

For classes, predictions are scores (n, classes) – logits or probabilities –, or (n,) or (n, 1) for two classes, above 0 for the
second one; targets are class numbers (n,). The definitions are scikit-learn's.
"""

from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..kernels import Array


def accuracy(predictions: Any, targets: Any) -> float:
    """The share of rows whose class has the highest score."""
    return float(np.mean(classes(predictions) == _labels(targets, len(predictions))))


def top_k(predictions: Any, targets: Any, k: int = 5) -> float:
    """The share of rows whose class is among the `k` with the highest scores."""
    scores, labels = np.asarray(predictions), _labels(targets, len(predictions))
    if scores.ndim != 2 or not 1 <= k <= scores.shape[1]:
        raise ArgumentError(f"top_k: scores {scores.shape}, k {k}; it takes (n, classes), and k of them at most")
    own = scores[np.arange(len(scores)), labels]
    return float(np.mean((scores > own[:, None]).sum(1) < k))


def confusion_matrix(predictions: Any, targets: Any, count: int | None = None) -> Array:
    """(classes, classes): rows of class i that were taken for class j."""
    found, labels = classes(predictions), _labels(targets, len(predictions))
    count = int(max(found.max(initial=0), labels.max(initial=0))) + 1 if count is None else count
    matrix: Array = np.bincount(labels * count + found, minlength=count * count).reshape(count, count)
    return matrix


class Scores(NamedTuple):
    """For each class, (classes,)."""

    precision: Array
    recall: Array
    f1: Array
    support: Array


def precision_recall_f1(predictions: Any, targets: Any, count: int | None = None) -> Scores:
    """Right finds among all finds, among all that there are, and their harmonic mean: for each class, 0 where there are none."""
    matrix = confusion_matrix(predictions, targets, count)
    right, found, there = matrix.diagonal().astype(float), matrix.sum(0), matrix.sum(1)
    precision, recall = right / np.maximum(found, 1), right / np.maximum(there, 1)
    return Scores(precision, recall, 2 * right / np.maximum(found + there, 1), there)


def roc_auc(predictions: Any, targets: Any) -> float:
    """The probability that a row of class 1 scores higher than one of class 0; ties count half. (n,), (n, 1) or (n, 2) scores."""
    scores, labels = np.asarray(predictions, float), _labels(targets, len(predictions))
    scores = scores[:, 1] - scores[:, 0] if scores.ndim == 2 and scores.shape[1] == 2 else scores.reshape(len(labels), -1)[:, 0]
    ones = int((labels == 1).sum())
    if not 0 < ones < len(labels) or labels.max() > 1 or np.asarray(predictions).size > 2 * len(labels):
        raise ArgumentError("roc_auc takes two classes, 0 and 1, with rows of both")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place.reshape(-1)]
    return float((ranks[labels == 1].sum() - ones * (ones + 1) / 2) / (ones * (len(labels) - ones)))


def mae(predictions: Any, targets: Any) -> float:
    """The mean absolute error."""
    return float(np.mean(np.abs(_difference(predictions, targets))))


def rmse(predictions: Any, targets: Any) -> float:
    """The root of the mean squared error."""
    return float(np.sqrt(np.mean(np.square(_difference(predictions, targets), dtype=np.float64))))


def r2(predictions: Any, targets: Any) -> float:
    """The share of the variance that is explained: 1 is perfect, 0 as good as the mean, below is worse."""
    wrong, targets = _difference(predictions, targets), np.asarray(targets, float)
    spread = np.square(targets - targets.mean(0)).sum()
    return float(1 - np.square(wrong, dtype=np.float64).sum() / spread) if spread else float("nan")


def perplexity(predictions: Any, targets: Any) -> float:
    """`exp` of the mean cross-entropy of logits, (n, classes): among how many tokens the model hesitates."""
    logits, labels = np.asarray(predictions, float), _labels(targets, len(predictions))
    top = logits.max(1, keepdims=True)
    logarithm = (top + np.log(np.exp(logits - top).sum(1, keepdims=True)))[:, 0]
    return float(np.exp(np.mean(logarithm - logits[np.arange(len(labels)), labels])))


def classes(predictions: Any) -> Array:
    """(n,) the class that each row of scores is for."""
    scores = np.asarray(predictions)
    if scores.ndim == 1 or (scores.ndim == 2 and scores.shape[1] == 1):
        found: Array = (scores.reshape(-1) > 0).astype(np.int64)
        return found
    if scores.ndim != 2:
        raise ShapeError(f"scores have shape {scores.shape}; they are (n, classes)")
    return np.asarray(scores.argmax(1))


def _labels(targets: Any, count: int) -> Array:
    labels = np.asarray(targets)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,):
        raise ShapeError(f"targets have shape {labels.shape} for {count} rows; they are class numbers, one for each")
    return labels.astype(np.int64)


def _difference(predictions: Any, targets: Any) -> Array:
    a, b = np.asarray(predictions), np.asarray(targets)
    if a.shape != b.shape or not a.size:
        raise ShapeError(f"predictions {a.shape}, targets {b.shape}; they have one shape, and one number at least")
    return np.asarray(a - b)
