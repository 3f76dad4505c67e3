"""Data sets in parts: to learn from, to choose by, to be judged by; and windows over a series."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError
from ..kernels import Array


class Split(NamedTuple):
    """Inputs x and targets y, for training and for the test."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array


def random_split(count: int, shares: Sequence[float], rng: np.random.Generator) -> list[Array]:
    """Row numbers 0 … count-1 in disjoint parts at random; each part has its share, and all together every row."""
    return _cut(rng.permutation(count), shares)


def stratified_split(labels: Any, shares: Sequence[float], rng: np.random.Generator) -> list[Array]:
    """Like `random_split`, with the classes in every part as in the whole: `labels` is the class of each row."""
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ArgumentError(f"stratified_split: labels has shape {labels.shape}; it takes the class of each row")
    parts: list[list[Array]] = [[] for _ in shares]
    for kind in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == kind))
        for part, chosen in zip(parts, _cut(rows, shares)):
            part.append(chosen)
    return [rng.permutation(np.concatenate(part)) if part else np.empty(0, np.int64) for part in parts]


def time_split(count: int, shares: Sequence[float]) -> list[Array]:
    """Like `random_split`, in the order of time: what comes later is never learned from to tell what came before."""
    return _cut(np.arange(count), shares)


def windows(series: Any, length: int, ahead: int = 1) -> tuple[Array, Array]:
    """(n, length) views of a series and, (n,), the value `ahead` steps behind each: what was known, what came."""
    series = np.asarray(series)
    if series.ndim != 1 or not 1 <= length <= len(series) - ahead or ahead < 1:
        raise ArgumentError(f"windows: series {series.shape}, length {length}, ahead {ahead}; a window and what comes must fit")
    x = np.lib.stride_tricks.sliding_window_view(series, length)[: len(series) - length - ahead + 1]
    return x, series[length + ahead - 1 :]


def _cut(rows: Array, shares: Sequence[float]) -> list[Array]:
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ArgumentError(f"shares is {list(shares)}; they are from 0 and add up to 1")
    edges = np.round(np.cumsum([0, *shares]) * len(rows)).astype(int)
    return [rows[a:b] for a, b in itertools.pairwise(edges)]
