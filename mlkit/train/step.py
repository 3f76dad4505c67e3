"""A training step on all the threads that it may have: BLAS threads, or parts of the batch side by side."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np

from .. import blas
from .. import kernels as k
from ..errors import ArgumentError, PlanError
from ..kernels import Array
from ..optim import Optimizer, clip_grad_norm_
from ..plan import capture
from ..tensor import Tensor
from .parts import Parts, draws_or_keeps, unchanged

STRATEGIES = "fastest", "blas", "one", "parts", "processes"
ROUNDS, RUNS = 12, 3  # in which strategies take turns before one is chosen; replays in a round
CONTEST = 0.8  # seconds of a contest after which no round but the second begins
SPIN = 0.15  # seconds for which the threads of a BLAS may go on spinning behind their last product: OpenBLAS's do for 0.1
LONG = 1e-3  # seconds of a step from which processes are worth starting; below, one thread may be enough


class Step:
    """`step(x, y, …)` makes one training step on a batch and returns its loss.

    `loss(x, y, …)` goes forward and returns the mean loss of the batch; the rest is captured and replayed. With more than
    one thread there are four strategies, and for each batch size the fastest is found by measuring after the first step:
    "blas", products on BLAS threads; "one", where a step is so short that threads would wait for each other longer than they
    compute; "parts", as many parts of the batch as there are threads, each a plan of its own on one BLAS thread, whose
    gradients are added; "processes", the same with every part but the first in a process of its own (Linux only), where
    Python's lock is not shared. What batch normalisation wants to know of the whole batch is exchanged between processes, so
    "parts" is not offered then; nothing but "blas" is to a network that draws at random, as dropout does. `strategies` tells
    what was chosen; `threads` is what the library in force has if not given.

    They round differently: a `strategy` that is named is taken without a contest, so that another run gives the same bits
    ("blas" where it cannot be). Gradients of `accumulate` batches are averaged for one update; `clip_norm` limits their norm
    before it.
    """

    def __init__(
        self, loss: Callable[..., Tensor], optimizer: Optimizer, threads: int | None = None, strategy: str = "fastest",
        clip_norm: float | None = None, accumulate: int = 1,
    ) -> None:  # fmt: skip
        if (threads is not None and threads < 1) or accumulate < 1:
            raise ArgumentError(f"Step: threads is {threads}, accumulate {accumulate}; they must be from 1")
        if strategy not in STRATEGIES:
            raise ArgumentError(f"Step: strategy is {strategy!r}; it is one of {', '.join(STRATEGIES)}")
        self.loss, self.optimizer, self.threads, self.strategy = loss, optimizer, threads, strategy
        self.clip_norm, self.accumulate = clip_norm, accumulate
        self.strategies: dict[tuple[Any, ...], str] = {}
        whole = self._gradients if accumulate > 1 else self._step
        self._whole, self._one, self._more = capture(whole), capture(whole), capture(self._more_gradients)
        self._update = capture(self._change)
        self._waiting = 0  # batches whose gradients wait for the update
        self._parts: dict[tuple[Any, ...], Parts] = {}

    def __call__(self, *inputs: Any) -> Tensor:
        arrays = [x.data if isinstance(x, Tensor) else np.asarray(x) for x in inputs]
        count = (blas.current().threads or 1) if self.threads is None else self.threads
        key = self._key(arrays, count)
        parts = self._parts.get(key)
        if parts is not None and parts.stale:
            parts = None
            self._forget(key)
        loss = None
        if self.strategies.get(key) == "one":
            loss = self._on_one(arrays)
        elif parts is not None and not (parts.others and k.observing() is not None):
            try:
                loss = self._in_parts(parts, arrays)
            except BaseException as error:  # an interrupt leaves other processes in the middle of a replay
                parts.come_back()
                del self._parts[key]
                self.strategies[key] = "blas"
                if not isinstance(error, PlanError):
                    raise
        if loss is None:
            loss = self._on_blas(arrays, count)
        key = self._key(arrays, count)  # which only the first step finds out
        if key not in self.strategies:
            while len(self.strategies) >= self._whole.most:
                self._forget(next(iter(self.strategies)))
            self.strategies[key] = "blas"
            if count > 1 and self.strategy != "blas" and self._divides(arrays, count):
                self._choose(key, arrays, count)
        return loss

    def _forget(self, key: tuple[Any, ...]) -> None:
        del self.strategies[key]
        self._parts.pop(key, None)

    def _key(self, arrays: Sequence[Array], count: int) -> tuple[Any, ...]:
        """What a strategy is chosen for: shapes, threads, library, and the modes of layers."""
        relied = (getattr(owner, name) for owner, name in self._whole.relied.values())
        return *((x.shape, x.dtype) for x in arrays), count, blas.current().name, *relied

    def flush(self) -> None:
        """Make the update that gradients wait for, if any do."""
        if self._waiting:
            self._waiting = 0
            self._update()

    def _step(self, *inputs: Any) -> Tensor:
        loss = self._gradients(*inputs)
        self._change()
        return loss

    def _gradients(self, *inputs: Any) -> Tensor:
        self.optimizer.zero_grad()
        return self._more_gradients(*inputs)

    def _more_gradients(self, *inputs: Any) -> Tensor:
        loss = self.loss(*inputs)
        loss.backward(Tensor(k.scalar(1 / self.accumulate, loss.dtype)))
        return loss

    def _change(self) -> None:
        if self.clip_norm is not None:
            clip_grad_norm_(self.optimizer.parameters, self.clip_norm)
        self.optimizer.step()

    def _on_blas(self, arrays: Sequence[Array], count: int) -> Tensor:
        library = blas.current()
        limited = library.limited(count) if library.report.adjustable else nullcontext()
        with limited, k.long_calls(4 if count > 1 else 1):
            loss: Tensor = (self._more if self._waiting else self._whole)(*arrays)
        if self.accumulate > 1:
            self._waiting += 1
            if self._waiting == self.accumulate:
                self.flush()
        return loss

    def _on_one(self, arrays: Sequence[Array]) -> Tensor:
        with blas.current().limited(1):
            loss: Tensor = self._one(*arrays)
        return loss

    def _in_parts(self, parts: Parts, arrays: Sequence[Array]) -> Tensor:
        loss = parts(arrays)
        self._update()
        return loss

    def _divides(self, arrays: Sequence[Array], count: int) -> bool:
        """Whether the step may be made of parts of this batch."""
        plan, sizes = self._whole.plan, {len(x) if x.ndim else 0 for x in arrays}
        if len(sizes) != 1 or min(sizes) < count or self.accumulate > 1 or not blas.current().report.adjustable:
            return False
        return plan is not None and not self._whole.eager and not draws_or_keeps(plan)

    def _choose(self, key: tuple[Any, ...], arrays: Sequence[Array], count: int) -> None:
        """Race what may be faster, keep what is, and put back what the trials changed but gradients."""
        runs: dict[str, Callable[[], object]] = {}
        parted: dict[str, Parts] = {}
        with unchanged(self._whole.plan):
            names = [self.strategy]
            if self.strategy == "fastest":
                runs["blas"] = partial(self._on_blas, arrays, count)
                names = ["parts", "one" if min(_seconds(runs["blas"]) for _ in range(RUNS)) <= LONG else "processes"]
            for name in names:
                with suppress(PlanError):
                    parts = None if name == "one" else self._parted(name, arrays, count)
                    if parts is not None:
                        parted[name] = parts
                        runs[name] = partial(self._in_parts, parts, arrays)
                    elif name == "one":
                        runs[name] = partial(self._on_one, arrays)
            chosen = _fastest(runs)
        for name, parts in parted.items():
            if name == chosen:
                self._parts[key] = parts
            else:
                parts.come_back()
        self.strategies[key] = chosen

    def _parted(self, name: str, arrays: Sequence[Array], count: int) -> "Parts | None":
        """The parts of such a batch in "parts" or "processes", or None where they cannot be."""
        parts = Parts(self.loss, self.optimizer, self._whole.plan, arrays, count, 4 if name == "parts" else 1)
        possible = not parts.joined if name == "parts" else parts.depart()
        return parts if possible else None


def _fastest(runs: dict[str, Callable[[], object]]) -> str:
    """The name of what usually runs in the shortest time, in rounds that take turns; "blas" if nothing runs.

    A round is some runs on end, of which the shortest counts. The median of the rounds decides: what waits for others at every
    product is fast only while nobody else wants their cores.
    """
    times: dict[str, list[float]] = {name: [] for name in ["blas", *runs]}
    end = time.perf_counter() + CONTEST
    for number in range(ROUNDS if len(runs) > 1 else 1):
        if number > 1 and time.perf_counter() > end:
            break
        for name, run in runs.items():
            times[name].append(min(_seconds(run) for _ in range(RUNS)))
            if name == "blas" and "processes" in runs:
                time.sleep(SPIN)
    return min(times, key=lambda name: statistics.median(times[name] or [float("inf")]))


def _seconds(run: Callable[[], object]) -> float:
    """How long it takes; for ever, if it cannot."""
    start = time.perf_counter()
    try:
        run()
    except PlanError:
        return float("inf")
    return time.perf_counter() - start
