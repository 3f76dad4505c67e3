"""Pictures of a race, by matplotlib: bars with intervals, a roofline. `figure.savefig(path)` writes PNG, SVG or PDF."""

from typing import Any

import numpy as np

from ..train import plot
from .race import Outcome

MOST_BARS = 24


def bars(outcome: Outcome, group: str) -> Any:
    """GFLOP/s, or steps a second, of every runner for the most expensive items of a group; whiskers hold nine of ten rounds."""
    chosen = [m for m in outcome.measured if m.item.group == group and any(m.seconds)]
    chosen = sorted(chosen, key=lambda m: -m.item.weight * min(m.median(i) for i, s in enumerate(m.seconds) if s))[:MOST_BARS]
    counted = all(m.item.flops for m in chosen)
    figure, ax = plot.axes(9, 1.2 + 0.16 * len(chosen) * (len(outcome.runners) + 1))
    height = 1 / (len(outcome.runners) + 1)
    for i in range(len(outcome.runners)):
        places, values, whiskers = [], [], []
        for place, m in enumerate(chosen):
            if m.seconds[i]:
                speeds = (m.item.flops / 1e9 if counted else 1) / np.array(m.seconds[i])
                low, middle, high = np.quantile(speeds, [0.05, 0.5, 0.95])
                places.append(place + i * height)
                values.append(middle)
                whiskers.append((middle - low, high - middle))
        ax.barh(
            places,
            values,
            height,
            xerr=np.array(whiskers).T if whiskers else None,
            label=outcome.titles[i],
            error_kw={"linewidth": 0.8},
        )
    ax.set_yticks(np.arange(len(chosen)) + height * (len(outcome.runners) - 1) / 2, [m.item.name for m in chosen], fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel("GFLOP/s" if counted else "steps a second")
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def roofline(outcome: Outcome) -> Any:
    """GFLOP/s over operations for each byte that must be moved, below what the processor and the memory allow.

    Source: Williams, Waterman & Patterson 2009; the roof is the best runner's best product, the slope its longest saxpy.
    """
    figure, ax = plot.axes(8, 4.5)
    found = [m for m in outcome.measured if m.item.product and any(m.seconds)]
    intensity = np.array([m.item.flops / m.item.product.bytes for m in found if m.item.product])
    for i in range(len(outcome.runners)):
        here = [n for n, m in enumerate(found) if m.seconds[i]]
        ax.loglog(intensity[here], [found[n].rate(i) for n in here], ".", label=outcome.titles[i], alpha=0.7)
    peak = max((runner.facts.get("peak", 0) for runner in outcome.runners), default=0)
    bandwidth = max((runner.facts.get("bandwidth", 0) for runner in outcome.runners), default=0)
    if peak and bandwidth and len(intensity):
        x = np.geomspace(min(intensity.min(), 0.1), max(intensity.max(), 1000), 200)
        ax.loglog(x, np.minimum(peak, bandwidth * x), color="gray", linewidth=1)
    ax.set_xlabel("operations for each byte")
    ax.set_ylabel("GFLOP/s")
    ax.legend(frameon=False, fontsize=8)
    return figure
