"""What times tell, and what they do not: paired ratios with intervals, the floor of the noise, drift, contention.

Sources: Efron 1979 for the bootstrap (percentile intervals of the median); Kalibera & Jones 2013 for rounds that take turns.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..kernels import Array

RESAMPLES, LEVEL = 2000, 0.95


class Comparison(NamedTuple):
    """How many times faster b is than a: the median of the paired ratios a / b, its interval, and what may be said.

    `floor` is what the same library differs by from itself: a ratio within it, or whose interval holds 1, tells nothing.
    """

    ratio: float
    low: float
    high: float
    floor: float

    @property
    def verdict(self) -> str:
        """faster, slower, or cannot tell."""
        if self.low > 1 and self.ratio > 1 + self.floor:
            return "faster"
        if self.high < 1 and self.ratio < 1 / (1 + self.floor):
            return "slower"
        return "cannot tell"

    @property
    def detectable(self) -> float:
        """The smallest difference that these rounds could have shown: half the interval's width, or the floor."""
        return max(self.floor, float(np.sqrt(self.high / self.low)) - 1)

    def __str__(self) -> str:
        return f"{self.ratio:.2f} ({self.low:.2f}–{self.high:.2f})"


def compare(a: Sequence[float], b: Sequence[float], floor: float = 0.0, seed: int = 0) -> Comparison:
    """Rounds that were paired: a[i] and b[i] are seconds of the same round."""
    logs = np.log(np.asarray(a, float) / np.asarray(b, float))
    low, high = interval(logs, seed)
    return Comparison(float(np.exp(np.median(logs))), float(np.exp(low)), float(np.exp(high)), floor)


def compare_apart(a: Sequence[float], b: Sequence[float], floor: float = 0.0, seed: int = 0) -> Comparison:
    """The same of two runs that were not paired – on two days, or machines."""
    rng = np.random.default_rng(seed)
    logs = [np.log(np.asarray(x, float)) for x in (a, b)]
    drawn = [np.median(rng.choice(x, (RESAMPLES, len(x))), axis=1) for x in logs]
    low, high = np.quantile(drawn[0] - drawn[1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    ratio = np.median(logs[0]) - np.median(logs[1])
    return Comparison(float(np.exp(ratio)), float(np.exp(low)), float(np.exp(high)), floor)


def interval(values: Array, seed: int = 0) -> tuple[float, float]:
    """The bootstrap's interval of the median; of a single value everything from 0 to infinity could be said."""
    if len(values) < 3:
        return -np.inf, np.inf
    drawn = np.median(np.random.default_rng(seed).choice(values, (RESAMPLES, len(values))), axis=1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def noise_floor(a: Sequence[float], again: Sequence[float]) -> float:
    """By what share the same library differed from itself in the same rounds: the far end of the interval."""
    found = compare(a, again)
    return max(found.high, 1 / found.low) - 1 if found.low > 0 else float("inf")


def drift(seconds: Sequence[float]) -> float:
    """By what share the second half of the rounds was slower than the first."""
    half = len(seconds) // 2
    return float(np.median(seconds[-half:]) / np.median(seconds[:half])) - 1 if half else 0.0
