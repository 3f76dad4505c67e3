"""The products that a program makes, recorded: a file to read, to look at, and to make again on any library."""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import blas
from .. import kernels as k
from ..errors import DataError
from ..file import read_bounded, write_whole
from .machine import machine
from .product import KERNELS, Product, decoded, encoded, product_of

FORMAT, VERSION = "mlkit-trace", 1
TIMELINE = 20_000  # calls whose times are kept one by one


class Moment(NamedTuple):
    """One call of the timeline: its product's number, when it began, how long it took."""

    product: int
    start: float  # seconds since the recording began
    seconds: float


class Trace(NamedTuple):
    """Products with their counts, what made them, and where."""

    products: list[Product]
    command: str
    library: dict[str, Any]  # name, version, kernels, threads
    machine: dict[str, Any]
    seconds: float = 0.0  # of the whole recording
    other: float = 0.0  # of kernels that are no products
    timeline: Sequence[Moment] = ()

    def save(self, path: str) -> None:
        """As JSON, whole."""
        fields = {**self._asdict(), "products": [encoded(product) for product in self.products]}
        write_whole(path, json.dumps({"format": FORMAT, "version": VERSION, **fields}))

    @classmethod
    def load(cls, path: str) -> "Trace":
        """From JSON; DataError for anything that is not such a file, or asks for what cannot be made."""
        found = read_json(path, FORMAT, VERSION)
        try:
            products = [decoded(entry) for entry in found["products"]]
            timeline = [Moment(int(a), float(b), float(c)) for a, b, c in found["timeline"]]
            whole = cls(
                products, str(found["command"]), dict(found["library"]), dict(found["machine"]), float(found["seconds"]),
                float(found["other"]), timeline,
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, DataError):
                raise DataError(f"{path}: {error}") from error
            raise DataError(f"{path} is damaged or was edited by hand: {error!r}") from error
        if not products or any(not 0 <= moment.product < len(products) for moment in timeline):
            raise DataError(f"{path} has no products, or a timeline of other ones")
        return whole

    @property
    def flops(self) -> int:
        """Of all products."""
        return sum(product.flops * product.times for product in self.products)

    def distinct(self) -> list[Product]:
        """Each product once, with the counts and seconds of all layers and phases together, the most expensive first."""
        found: dict[Any, Product] = {}
        for product in self.products:
            known = found.get(product.key)
            count, seconds = (known.times, known.seconds) if known else (0, 0.0)
            found[product.key] = product._replace(
                times=count + product.times, seconds=seconds + product.seconds, layer="", phase=""
            )
        return sorted(found.values(), key=lambda product: -(product.seconds or product.flops * product.times))

    def merged(self, others: Iterable["Trace"]) -> "Trace":
        """With the products of other processes of the same command; the timeline is this one's."""
        rest = list(others)
        return self._replace(
            products=[product for trace in (self, *rest) for product in trace.products],
            seconds=max(trace.seconds for trace in (self, *rest)), other=sum(trace.other for trace in (self, *rest)),
        )  # fmt: skip


class Tracer(k.Observer):
    """Counts every product of its block, or with `k.observe_everywhere` of the process."""

    def __init__(self) -> None:
        self._counts: dict[Any, list[float]] = defaultdict(lambda: [0, 0.0])  # product -> count, seconds
        self._timeline: list[tuple[Product, float, float]] = []
        self._start, self._other = time.perf_counter(), 0.0

    def run(self, function: k.Kernel, operands: tuple[Any, ...], bound: k.Bound) -> None:
        """Time the call; a product is counted."""
        start = time.perf_counter()
        super().run(function, operands, bound)
        seconds = time.perf_counter() - start
        if KERNELS.get(function.__name__) is not function:
            self._other += seconds
            return
        product = product_of(function, operands, k.place())
        entry = self._counts[product]
        entry[0] += 1
        entry[1] += seconds
        if len(self._timeline) < TIMELINE:
            self._timeline.append((product, start - self._start, seconds))

    def trace(self, command: str) -> Trace:
        """What was seen so far."""
        products = [product._replace(times=int(count), seconds=seconds) for product, (count, seconds) in self._counts.items()]
        numbers = {product: number for number, product in enumerate(self._counts)}
        timeline = [Moment(numbers[product], start, seconds) for product, start, seconds in self._timeline]
        library = blas.current()
        about = {
            "name": library.name, "vendor": library.report.vendor, "version": library.report.version,
            "kernels": library.report.kernels, "threads": library.threads,
        }  # fmt: skip
        return Trace(products, command, about, machine(), time.perf_counter() - self._start, self._other, timeline)


def summary(trace: Trace, peak: float | None = None) -> list[str]:
    """What was found, in sentences; `peak` is the library's best, in GFLOP/s."""
    products = trace.distinct()
    total = sum(product.seconds for product in products)
    count = sum(product.times for product in products)
    found = [
        f"{count:,} products of {len(products)} kinds, {trace.flops / 1e9:.3g} GFLOP, in {total:.3g} s on {trace.library['name']}"
    ]
    if total:
        shares = np.cumsum([product.seconds for product in products]) / total
        few = int(np.searchsorted(shares, 0.8)) + 1
        found.append(f"{few} of them make {shares[few - 1]:.0%} of that time")
        rate = trace.flops / total / 1e9
        best = f", {rate / peak:.0%} of the {peak:.0f} that its best product reaches here" if peak else ""
        found.append(f"{rate:.1f} GFLOP/s{best}")
        kernels = total + trace.other
        found.append(
            f"products are {total / kernels:.0%} of the time of all kernels, kernels {kernels / trace.seconds:.0%} of the whole"
        )
    return found


def chrome(trace: Trace) -> dict[str, Any]:
    """The timeline as Chrome's trace events, which chrome://tracing and Perfetto show."""
    events = []
    for number, start, seconds in trace.timeline:
        product = trace.products[number]
        events.append({
            "name": str(product), "cat": product.phase or "product", "ph": "X", "ts": start * 1e6, "dur": seconds * 1e6,
            "pid": 1, "tid": 1,
            "args": {"layer": product.layer, "phase": product.phase, "GFLOP/s": product.flops / max(seconds, 1e-9) / 1e9},
        })  # fmt: skip
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"command": trace.command, "library": trace.library["name"]},
    }


def read_json(path: str, kind: str, version: int) -> dict[str, Any]:
    """A JSON object of that format and version; DataError says what a file is instead."""
    try:
        found = json.loads(read_bounded(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} is no JSON, or truncated: {error}") from error
    if not isinstance(found, dict) or found.get("format") != kind:
        raise DataError(f"{path} is not a file of format {kind}")
    if found.get("version") != version:
        raise DataError(f"{path} has version {found.get('version')!r} of {kind}; this mlkit reads {version}")
    return found
