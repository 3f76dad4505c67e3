"""A race as one page that needs nothing else: what was found, tables to sort, a heat map, bars with intervals, a roofline."""

import math
from collections.abc import Sequence

from .. import __version__
from . import figure, outcome
from .page import Page
from .race import Measured, Outcome


def page(found: Outcome) -> Page:
    """The report; its plots need matplotlib."""
    paper = Page(f"BLAS libraries: {found.what}", wide=True)
    for sentence in outcome.sentences(found):
        paper.text(sentence)
    paper.heading("All together")
    rows = outcome.totals(found)
    paper.table(rows, sortable=True)
    paper.text(
        "Milliseconds of all items of a group, each as often as it comes; × first is how many times faster than the library in "
        "the first line. The peak is a library's own best product of 768 × 768. Joules are n/a where the machine does not "
        "count them.",
        soft=True,
    )
    for group in dict.fromkeys(m.item.group for m in found.measured):
        mine = [m for m in found.measured if m.item.group == group]
        paper.heading(group or "Items")
        _heat_map(paper, found, mine)
        paper.figure(figure.bars(found, group), "The most expensive; bars are medians, whiskers hold nine of ten rounds.")
    if any(m.item.product for m in found.measured):
        paper.heading("Roofline")
        paper.figure(
            figure.roofline(found), "Every product, over its operations for each byte; the line is what processor and memory allow."
        )
    _facts(paper, found)
    return paper


def comparison(a: Outcome, b: Outcome, names: Sequence[str]) -> Page:
    """What changed from one race to another."""
    paper = Page(f"{names[0]} and {names[1]}", wide=True)
    for difference in outcome.differences(a, b):
        paper.text(difference)
    paper.table(outcome.table_of(outcome.changes(a, b)), sortable=True)
    return paper


def _heat_map(paper: Page, found: Outcome, mine: Sequence[Measured]) -> None:
    """Items by libraries, coloured by speed as a share of the fastest."""
    shares: list[list[float | None]] = []
    for m in mine:
        best = m.median(outcome.fastest(m))
        speeds = [best / m.median(i) if s else None for i, s in enumerate(m.seconds)]
        shares.append([None, None, *speeds, None, None, None])
    rows = outcome.table(found._replace(measured=list(mine)))
    paper.table(rows, sortable=True, shares=shares)
    if any(reason for m in mine for reason in m.failures):
        refused = {(found.titles[i], reason) for m in mine for i, reason in enumerate(m.failures) if reason}
        for title, reason in sorted(refused):
            paper.text(f"{title}: {reason}", soft=True)


def _facts(paper: Page, found: Outcome) -> None:
    paper.heading("Where and how")
    rows = [("library", "vendor", "version", "kernels", "integers", "threading", "peak GFLOP/s", "saxpy GB/s", "file")]
    for runner in found.runners:
        f = runner.facts
        rows.append((
            runner.title, str(f.get("vendor", "")), str(f.get("version", "")), str(f.get("kernels", "")),
            "64" if f.get("int64") else "32", str(f.get("threading", "")), _number(f.get("peak")), _number(f.get("bandwidth")),
            str(f.get("path", "")),
        ))  # fmt: skip
    paper.table(rows, sortable=True)
    machine = [("fact", "value"), *((key, str(value)) for key, value in found.machine.items())]
    paper.table(machine)
    loads = [load for load in found.load if load is not None]
    paper.text(
        f"mlkit {__version__}. {found.rounds} rounds, in which the libraries take turns in a new order each time, every one in a "
        "process of its own with the same number of threads; medians, and 95 % intervals of the median of paired ratios by the "
        "bootstrap. "
        "The first library runs twice in every round: what it differs from itself is the noise, and no smaller difference counts. "
        + (f"Processes that wanted a CPU meanwhile: {min(loads):.1f} to {max(loads):.1f}." if loads else ""),
        soft=True,
    )


def _number(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, int | float) and math.isfinite(value) else ""
