"""Rows as a table, as one sentence, as JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .contest import Row
from .machine import machine
from .workload import WORKLOADS

HEAD = (
    "library", "version", "kernels", "int", "threads", "peak GFLOP/s", "samples/s", "ratio to first (spread)", "test",
    "weights differ by",
)  # fmt: skip


def table(rows: Sequence[Row]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """(title, cells) for each workload; the first line of the cells is their head."""
    names = list(dict.fromkeys(row.workload for row in rows))
    return [(_title(name), [HEAD, *_cells([row for row in rows if row.workload == name])]) for name in names]


def sentence(rows: Sequence[Row]) -> str:
    """What was found: which library is fastest for which network, or that they cannot be told apart."""
    parts = [_verdict(name, [r for r in rows if r.workload == name]) for name in dict.fromkeys(row.workload for row in rows)]
    failed = list(dict.fromkeys(row.library for row in rows if row.failure))
    return "; ".join(parts) + (f"; {', '.join(failed)} failed" if failed else "") + "."


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything that was measured, and where."""
    entries = []
    for row in rows:
        first = _first([r for r in rows if r.workload == row.workload])
        entry = {key: value for key, value in row._asdict().items() if key != "weights"}
        entry |= {"samples_per_second": _finite(row.rate), "score": _finite(row.score), "ratio": ratios(first, row)}
        entries.append({**entry, "largest_difference": _difference(first, row)})
    return {"format": 1, "machine": machine(), "rows": entries, "sentence": sentence(rows)}


def ratios(first: Row, row: Row) -> list[float]:
    """How many times faster than `first` the row was, in each round, sorted."""
    return sorted(a / b for a, b in zip(first.seconds, row.seconds))


def _cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    first = _first(rows)
    return [_line(first, row) for row in rows]


def _first(rows: Sequence[Row]) -> Row:
    """The measure of the others: the first that did not fail."""
    return next((row for row in rows if not row.failure), rows[0])


def _line(first: Row, row: Row) -> tuple[str, ...]:
    facts = row.facts
    bits = "" if "int64" not in facts else "64" if facts["int64"] else "32"
    head = row.library, facts.get("version", ""), facts.get("kernels", ""), bits
    if row.failure:
        return (*head, "", "", "", row.failure, "", "")
    spread = ratios(first, row)
    threads = "?" if facts["threads"] is None else str(facts["threads"])
    ratio = "1" if row is first else f"{np.median(spread):.2f} ({spread[0]:.2f}–{spread[-1]:.2f})"
    score = f"{row.score * 100:.1f} %" if WORKLOADS[row.workload].classifies else f"{row.score:.3f}"
    difference = _difference(first, row)
    return (*head, threads, f"{facts['peak']:.0f}", f"{row.rate:,.0f}", ratio, score, f"{difference:.1e}" if difference else "0")


def _verdict(name: str, rows: Sequence[Row]) -> str:
    """The fastest by its median round, and those whose rounds overlap with its own."""
    alive = [row for row in rows if row.seconds and not row.failure]
    if len(alive) < 2:
        return f"{name}: nothing to compare"
    best = min(alive, key=lambda row: np.median(row.seconds))
    level = [_label(row) for row in alive if row is not best and ratios(best, row)[-1] >= 1]
    if len(level) == len(alive) - 1:
        return f"{name}: the libraries cannot be told apart"
    slowest = max(alive, key=lambda row: np.median(row.seconds))
    times = float(np.median(ratios(slowest, best)))
    also = f" (not to be told apart from {', '.join(level)})" if level else ""
    return f"{name}: {_label(best)} is fastest{also}, {times:.1f} × {_label(slowest)}"


def _label(row: Row) -> str:
    return f"{row.library} with {row.facts.get('threads')} thread{'s' if row.facts.get('threads') != 1 else ''}"


def _difference(first: Row, row: Row) -> float | None:
    """The largest difference of a final weight."""
    if first.weights is None or row.weights is None:
        return None
    return float(np.max(np.abs(first.weights - row.weights)))


def _title(name: str) -> str:
    w = WORKLOADS[name]
    return f"{name}: perceptron {'-'.join(map(str, w.sizes))}, batch {w.batch}, Adam, float32; test {w.score}"


def _finite(x: float) -> float | None:
    return x if np.isfinite(x) else None
