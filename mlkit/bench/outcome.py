"""What a race found: as tables, in sentences, and beside another race."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .race import FORMAT, VERSION, Measured, Outcome, from_json, total
from .statistic import Comparison, compare_apart
from .trace import read_json

Rows = list[tuple[str, ...]]


def table(outcome: Outcome) -> Rows:
    """A line for each item: GFLOP/s of every runner, or milliseconds where operations are not counted; which is fastest."""
    titles = outcome.titles
    rows: Rows = [("item", "times", *titles, "fastest", "× first", "noise")]
    for m in outcome.measured:
        cells = [_cell(m, i) for i in range(len(titles))]
        best = fastest(m)
        comparison = m.against(best) if best else None
        rows.append((
            m.item.name, str(m.item.weight), *cells,
            _winners(outcome, m), str(comparison) if comparison else "", f"{m.floor:.1%}",
        ))  # fmt: skip
    return rows


def totals(outcome: Outcome) -> Rows:
    """A line for each group: milliseconds of all its items, each as often as it comes; GFLOP/s, % of the peak."""
    rows: Rows = [("group", "library", "ms", "× first", "GFLOP/s", "% of peak", "joules")]
    for group in dict.fromkeys(m.item.group for m in outcome.measured):
        seconds = total(outcome, group)
        mine = [m for m in outcome.measured if m.item.group == group]
        work = sum(m.item.flops * m.item.weight for m in mine)
        for i, (title, runner) in enumerate(zip(outcome.titles, outcome.runners)):
            if math.isnan(seconds[i]):
                rows.append((group, title, "–", "", "", "", ""))
                continue
            rate = work / seconds[i] / 1e9
            peak = runner.facts.get("peak")
            used = [m.joules[i] for m in mine if i < len(m.joules)]
            energy = sum(j * m.item.weight for j, m in zip(used, mine) if j is not None) if used and None not in used else None
            rows.append((
                group, title, three(seconds[i] * 1e3), f"{seconds[0] / seconds[i]:.2f}", f"{rate:.1f}" if work else "",
                f"{rate / peak:.0%}" if work and peak else "", "n/a" if energy is None else three(energy),
            ))  # fmt: skip
    return rows


def fastest(m: Measured) -> int:
    """The number of the runner with the smallest median; the first, if nobody ran."""
    alive = [i for i, seconds in enumerate(m.seconds) if seconds]
    return min(alive, key=m.median) if alive else 0


def level(m: Measured) -> list[int]:
    """The fastest and those that cannot be told from it."""
    best = fastest(m)
    found = [i for i, seconds in enumerate(m.seconds) if seconds]
    return [i for i in found if i == best or ((c := m.against(i, best)) is not None and c.verdict == "cannot tell")]


def sentences(outcome: Outcome) -> list[str]:
    """What was found, in words: who won how often and where, what cannot be told, what disturbed it."""
    found = []
    for runner, first in zip(outcome.runners, [True, *[False] * len(outcome.runners)]):
        if runner.failure:
            found.append(f"{runner.title} failed: {runner.failure}.")
        elif first and not outcome.measured:
            found.append("Nothing was measured.")
    alone = [(level(m), m) for m in outcome.measured if any(m.seconds)]
    for i, title in enumerate(outcome.titles):
        won = [m for best, m in alone if best == [i]]
        if won and len(outcome.runners) > 1:
            lead = max(won, key=lambda m: _lead(m, i))
            found.append(
                f"{title} is fastest in {len(won)} of {len(alone)}, most of all {lead.item.name} ({_lead(lead, i):.2f} × the next)."
            )
    tied = sum(len(best) > 1 for best, _ in alone)
    if tied and len(outcome.runners) > 1:
        found.append(f"In {tied} of {len(alone)} the fastest cannot be told.")
    floors = [m.floor for m in outcome.measured]
    if floors:
        found.append(
            f"The same library differed from itself by up to {np.median(floors):.1%} in half of the measurements, "
            f"{max(floors):.1%} at most: smaller differences are noise."
        )
    limits = [c.detectable for m in outcome.measured for i in range(1, len(outcome.runners)) if (c := m.against(i))]
    if limits:
        found.append(
            f"In half of the comparisons with {outcome.titles[0]} a difference of {np.median(limits):.1%} could have been shown."
        )
    return found + [f"{text[0].upper()}{text[1:]}." for text in outcome.complaints]


class Change(NamedTuple):
    """One item, one runner, in two races: how many times faster in the second."""

    item: str
    runner: str
    before: float  # seconds
    after: float
    comparison: Comparison


def changes(a: Outcome, b: Outcome) -> list[Change]:
    """What both races have, library by library; the floor is the larger of the two. DataError if they share nothing."""
    runners = {(r.library, r.threads): i for i, r in enumerate(b.runners)}
    items = {_key(m): m for m in b.measured}
    found = []
    for m in a.measured:
        other = items.get(_key(m))
        for i, runner in enumerate(a.runners):
            j = runners.get((runner.library, runner.threads))
            if other is not None and j is not None and m.seconds[i] and other.seconds[j]:
                comparison = compare_apart(m.seconds[i], other.seconds[j], max(m.floor, other.floor))
                found.append(Change(m.item.name, runner.title, m.median(i), other.median(j), comparison))
    if not found:
        raise DataError("the two files have no item with the same library and threads in common")
    return found


def table_of(found: Sequence[Change]) -> Rows:
    """A line for each change."""
    rows: Rows = [("item", "library", "ms before", "ms after", "× faster", "verdict")]
    for c in found:
        rows.append((c.item, c.runner, three(c.before * 1e3), three(c.after * 1e3), str(c.comparison), c.comparison.verdict))
    return rows


def differences(a: Outcome, b: Outcome) -> list[str]:
    """What is otherwise in the second race beside the times: machine, versions."""
    found = [f"{key}: {a.machine.get(key)} then, {b.machine.get(key)} now" for key in sorted(a.machine.keys() | b.machine.keys())
             if a.machine.get(key) != b.machine.get(key)]  # fmt: skip
    others = {(r.library, r.threads): r for r in b.runners}
    for runner in a.runners:
        other = others.get((runner.library, runner.threads))
        for key in ("version", "kernels", "path", "threading"):
            if other and runner.facts.get(key) != other.facts.get(key):
                found.append(f"{runner.title}, {key}: {runner.facts.get(key)} then, {other.facts.get(key)} now")
    return found


def load(path: str) -> Outcome:
    """A race from its file."""
    return from_json(read_json(path, FORMAT, VERSION), path)


def three(number: float) -> str:
    """With three figures: 0.0123, 1.23, 12,300."""
    return f"{float(f'{number:.3g}'):,.10g}"


def _cell(m: Measured, i: int) -> str:
    if not m.seconds[i]:
        return "–"
    return f"{m.rate(i):.1f}" if m.item.flops else f"{three(m.median(i) * 1e3)} ms"


def _winners(outcome: Outcome, m: Measured) -> str:
    best = level(m)
    if len(outcome.runners) < 2 or not best:
        return ""
    if len(best) == sum(map(bool, m.seconds)):
        return "cannot tell"
    return " = ".join(outcome.titles[i] for i in best)


def _lead(m: Measured, i: int) -> float:
    """How many times faster than the next."""
    others = [m.median(j) for j, seconds in enumerate(m.seconds) if seconds and j != i]
    return min(others) / m.median(i) if others else 1.0


def _key(m: Measured) -> Any:
    return m.item.product.key if m.item.product else m.item.step
