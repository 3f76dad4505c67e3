"""Products and steps under several libraries, in rounds that take turns, beside a second copy of the first: the A/A floor."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .contest import Entry
from .machine import energy, load, machine
from .product import Product, decoded, encoded
from .statistic import Comparison, compare, drift, noise_floor

FORMAT, VERSION = "mlkit-bench", 1
SLICE = 0.004  # seconds that one measurement lasts at least
ROUNDS = 11
CONTENDED = 0.9  # share of a thread's time that it must have had a CPU

Tell = Callable[[int, int, str], None]


class Item(NamedTuple):
    """What is raced: a product, or a step of `bench.step` by its name; `weight` is how often it counts in the total."""

    name: str
    product: Product | None = None
    step: str = ""
    weight: int = 1
    group: str = ""  # the network or list that it belongs to

    @property
    def flops(self) -> int:
        """Of one call, where that is known."""
        return self.product.flops if self.product else 0


class Runner(NamedTuple):
    """One library with one thread count, and what is known of it: version, kernels, peak in GFLOP/s, bandwidth in GB/s."""

    library: str
    threads: int
    facts: dict[str, Any]
    failure: str = ""

    @property
    def title(self) -> str:
        """As tables have it."""
        return f"{self.library}, {self.threads} thread{'s' * (self.threads != 1)}"


class Measured(NamedTuple):
    """Seconds of one call in each round, for every runner; `busy` is the share of the time in which it had a CPU."""

    item: Item
    seconds: list[list[float]]
    busy: list[float]
    failures: list[str]
    floor: float = 0.0
    joules: list[float | None] = []  # noqa: RUF012 – of one call, where the machine counts them

    def median(self, runner: int) -> float:
        """Seconds of one call."""
        return float(np.median(self.seconds[runner])) if self.seconds[runner] else float("nan")

    def rate(self, runner: int) -> float:
        """GFLOP/s."""
        return self.item.flops / self.median(runner) / 1e9

    def against(self, runner: int, other: int = 0) -> Comparison | None:
        """How many times faster than another, the first if none is named; None if one of them failed."""
        a, b = self.seconds[other], self.seconds[runner]
        return compare(a, b, self.floor) if a and len(a) == len(b) else None


class Outcome(NamedTuple):
    """A whole race; `finished` is False if it was interrupted."""

    what: str
    runners: list[Runner]
    measured: list[Measured]
    machine: dict[str, Any]
    rounds: int
    finished: bool = True
    load: list[float | None] = []  # noqa: RUF012

    @property
    def titles(self) -> list[str]:
        """Of the runners: the library, with its threads where they differ."""
        same = len({runner.threads for runner in self.runners}) == 1
        return [runner.library if same else runner.title for runner in self.runners]

    @property
    def complaints(self) -> list[str]:
        """What disturbed the measurement."""
        found = []
        waiting = [m.item.name for m in self.measured if any(share < CONTENDED for share in m.busy)]
        if waiting:
            found.append(f"the CPU was shared with others: {len(waiting)} of {len(self.measured)} measurements had to wait for it")
        drifting = [m.item.name for m in self.measured if m.seconds and abs(drift(next(filter(None, m.seconds), [1.0]))) > 0.1]
        if len(drifting) > max(1, len(self.measured) // 5):
            found.append(f"speeds drifted by more than 10 % within {len(drifting)} of {len(self.measured)} measurements")
        if not self.finished:
            found.append("interrupted: the rest was not measured")
        return found


def race(
    what: str, libraries: Sequence[str], threads: Sequence[int], items: Sequence[Item], rounds: int = ROUNDS, seed: int = 0,
    tell: Tell = lambda done, total, text: None,
) -> Iterator[Outcome]:  # fmt: skip
    """The outcome so far, after every item; whoever stops asking has what was measured until then."""
    entries = [Entry(name, count) for count in threads for name in libraries]
    again = Entry(libraries[0], threads[0])  # the first once more: what differs between these two is noise
    try:
        runners = []
        for number, entry in enumerate(entries):
            tell(number, len(entries), f"starting {entry.title}")
            facts = entry.ask("describe") or {}
            runners.append(Runner(entry.library, entry.threads, facts, entry.failure))
        again.ask("describe")
        outcome = Outcome(what, runners, [], machine(), rounds, False, [load()])
        for number, item in enumerate(items):
            tell(number, len(items), item.name)
            found = _measured(item, entries, again, rounds, random.Random(seed + number))
            outcome.measured.append(found)
            yield outcome._replace(finished=number + 1 == len(items), load=[*outcome.load, load()])
    finally:
        for entry in (*entries, again):
            entry.stop()


def _measured(item: Item, entries: Sequence[Entry], again: Entry, rounds: int, shuffle: random.Random) -> Measured:
    """All rounds of one item. An entry that fails is out for this item alone, unless its process died."""
    asked = {"product": encoded(item.product)} if item.product else {"step": item.step}
    runners = [*entries, again]
    calls, failures = [0] * len(runners), [""] * len(runners)
    for i, entry in enumerate(runners):
        answer = entry.ask("prepare", **asked, slice=SLICE)
        failures[i] = entry.failure or (answer or {}).get("refused", "")
        calls[i] = 0 if failures[i] or answer is None else int(answer["calls"])
    seconds: list[list[float]] = [[] for _ in runners]
    cpu, wall = [0.0] * len(runners), [1e-12] * len(runners)
    joules: list[list[float]] = [[] for _ in runners]
    order = [i for i in range(len(runners)) if calls[i]]
    for _ in range(rounds):
        shuffle.shuffle(order)
        for i in order:
            before = energy()
            answer = runners[i].ask("time", calls=calls[i])
            after = energy()
            if answer is None:
                failures[i] = runners[i].failure
                continue
            seconds[i].append(answer["seconds"] / calls[i])
            cpu[i], wall[i] = cpu[i] + answer["cpu"], wall[i] + answer["seconds"]
            if before is not None and after is not None:
                joules[i].append((after - before) / calls[i])
    seconds = [times if len(times) == rounds else [] for times in seconds]
    floor = noise_floor(seconds[0], seconds[-1]) if seconds[0] and seconds[-1] else 0.0
    used = [float(np.median(j)) if j else None for j in joules[:-1]]
    busy = [min(1.0, c / w) for c, w in zip(cpu[:-1], wall[:-1])]
    return Measured(item, seconds[:-1], busy, failures[:-1], floor, used)


def total(outcome: Outcome, group: str | None = None) -> list[float]:
    """Seconds of every runner for all items with their weights; NaN if it failed in one."""
    chosen = [m for m in outcome.measured if group is None or m.item.group == group]
    return [sum(m.median(i) * m.item.weight for m in chosen) if chosen else float("nan") for i in range(len(outcome.runners))]


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Everything, for a file."""
    measured = [
        {**m._asdict(), "item": {**m.item._asdict(), "product": encoded(m.item.product) if m.item.product else None}}
        for m in outcome.measured
    ]
    runners = [runner._asdict() for runner in outcome.runners]
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"format": FORMAT, "version": VERSION, **outcome._asdict(), "runners": runners, "measured": measured, "when": when}


def from_json(found: dict[str, Any], path: str) -> Outcome:
    """The reverse; DataError if the file is damaged."""
    try:
        runners = [Runner(str(r["library"]), int(r["threads"]), dict(r["facts"]), str(r["failure"])) for r in found["runners"]]
        measured = [_entry(m, len(runners)) for m in found["measured"]]
        return Outcome(str(found["what"]), runners, measured, dict(found["machine"]), int(found["rounds"]), bool(found["finished"]),
                       list(found.get("load", [])))  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is damaged or was edited by hand: {error!r}") from error


def _entry(m: dict[str, Any], runners: int) -> Measured:
    item = m["item"]
    product = decoded(item["product"]) if item["product"] else None
    seconds = [[float(s) for s in times] for times in m["seconds"]]
    if len(seconds) != runners or any(not s > 0 for times in seconds for s in times):
        raise ValueError(f"{item['name']} has times of {len(seconds)} runners, or some that are not above 0")
    return Measured(
        Item(str(item["name"]), product, str(item["step"]), int(item["weight"]), str(item["group"])), seconds,
        [float(b) for b in m["busy"]], list(map(str, m["failures"])), float(m["floor"]), list(m.get("joules", [])),
    )  # fmt: skip
