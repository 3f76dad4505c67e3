"""A training step on all the threads that it may have: BLAS threads, or parts of the batch side by side."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from .. import blas
from .. import kernels as k
from ..blas import threads as workers
from ..errors import ArgumentError
from ..kernels import Array
from ..optim import Optimizer, clip_grad_norm_
from ..plan import Capture, Plan, View, capture
from ..tensor import Tensor

ROUNDS = 3  # replays of each strategy before one is chosen


class Step:
    """`step(x, y, …)` makes one training step on a batch and returns its loss.

    `loss(x, y, …)` goes forward and returns the mean loss of the batch; the rest is captured and replayed. With more than
    one thread there are two strategies, and for each batch size the faster one is found by measuring: products on BLAS
    threads; or as many parts of the batch as there are threads, each a plan of its own on one BLAS thread, whose gradients
    are added. The latter is not offered to a network that keeps statistics of the batch, draws at random, or does other
    things in training than in use. `strategies` tells what was chosen; `threads` is what the library in force has if not given.

    The two round differently: `strategy="blas"` does not measure, so that another run gives the same bits. Gradients of
    `accumulate` batches are averaged for one update; `clip_norm` limits their norm before it.
    """

    def __init__(
        self, loss: Callable[..., Tensor], optimizer: Optimizer, threads: int | None = None, strategy: str = "fastest",
        clip_norm: float | None = None, accumulate: int = 1,
    ) -> None:  # fmt: skip
        if (threads is not None and threads < 1) or accumulate < 1:
            raise ArgumentError(f"Step: threads is {threads}, accumulate {accumulate}; they must be from 1")
        if strategy not in ("fastest", "blas"):
            raise ArgumentError(f"Step: strategy is {strategy!r}; it is fastest or blas")
        self.loss, self.optimizer, self.threads, self.strategy = loss, optimizer, threads, strategy
        self.clip_norm, self.accumulate = clip_norm, accumulate
        self.strategies: dict[tuple[Any, ...], str] = {}
        self._whole, self._more = capture(self._gradients), capture(self._more_gradients)
        self._update = capture(self._change)
        self._waiting = 0  # batches whose gradients wait for the update
        self._parts: dict[tuple[Any, ...], _Parts] = {}

    def __call__(self, *inputs: Any) -> Tensor:
        arrays = [x.data if isinstance(x, Tensor) else np.asarray(x) for x in inputs]
        count = (blas.current().threads or 1) if self.threads is None else self.threads
        key = *((x.shape, x.dtype) for x in arrays), count, blas.current().name
        parts = self._parts.get(key)
        if parts is not None and parts.stale:
            parts = None
            del self._parts[key]
            self.strategies.pop(key, None)
        if parts is not None and key not in self.strategies:
            self.strategies[key] = self._faster(parts, arrays, count)
        loss = parts(arrays) if parts is not None and self.strategies[key] == "parts" else self._on_blas(arrays, count)
        self._waiting += 1
        if self._waiting == self.accumulate:
            self.flush()
        if key not in self.strategies:
            self._prepare(key, arrays, count)
        return loss

    def flush(self) -> None:
        """Make the update that gradients wait for, if any do."""
        if self._waiting:
            self._waiting = 0
            self._update()

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
        with blas.using(threads=count if blas.current().report.adjustable else None), k.long_calls(4 if count > 1 else 1):
            loss: Tensor = (self._more if self._waiting else self._whole)(*arrays)
        return loss

    def _prepare(self, key: tuple[Any, ...], arrays: Sequence[Array], count: int) -> None:
        """Make the plans of the parts, if there can be any."""
        sizes = {len(x) if x.ndim else 0 for x in arrays}
        plan = self._whole.plan
        if (
            count < 2 or self.strategy == "blas" or self.accumulate > 1
            or len(sizes) != 1 or min(sizes) < count or not blas.current().report.adjustable
            or plan is None or self._whole.eager or self._whole.relied or _has_state(plan)
        ):  # fmt: skip
            self.strategies[key] = "blas"
            return
        while len(self._parts) >= self._whole.most:
            oldest = next(iter(self._parts))
            self.strategies.pop(oldest, None)
            del self._parts[oldest]
        self._parts[key] = _Parts(self, arrays, count)

    def _faster(self, parts: "_Parts", arrays: Sequence[Array], count: int) -> str:
        """Measure both; gradients are all that a replay writes."""
        best = {}
        for name, run in (("blas", partial(self._on_blas, arrays, count)), ("parts", partial(parts, arrays))):
            times = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            best[name] = min(times)
        return min(best, key=lambda name: best[name])


class _Parts:
    """A plan for each part of the batch; the first writes the gradients themselves, the others gradients of their own."""

    def __init__(self, step: Step, arrays: Sequence[Array], count: int) -> None:
        self.parameters = [p for p in step.optimizer.parameters if not p.fresh]
        stores = list(dict.fromkeys(p.place[0] for p in self.parameters))
        size = len(arrays[0])
        edges = [size * i // count for i in range(count + 1)]
        self.slices = [slice(a, b) for a, b in pairwise(edges)]
        self.shares = [(part.stop - part.start) / size for part in self.slices]
        self.sums: list[tuple[Array, Array]] = []
        self.plans: list[Plan] = []
        originals = [p._gradient for p in self.parameters]
        try:
            for number, (part, share) in enumerate(zip(self.slices, self.shares)):
                if number:
                    self._redirect(stores)
                self.plans.append(_captured(step, [x[part] for x in arrays], share))
        finally:
            for p, gradient in zip(self.parameters, originals):
                p._gradient, p.fresh = gradient, False

    def __call__(self, arrays: Sequence[Array]) -> Tensor:
        library = blas.current()
        with library.limited(1):
            for plan, part in zip(self.plans, self.slices):
                for held, x in zip(plan.inputs, arrays):
                    np.copyto(held, x[part])
                plan.follow()
            workers.parallel([partial(_replay, library, plan) for plan in self.plans])
        for total, more in self.sums:
            k.add(total, more, out=total)
        losses = [plan.result.data for plan in self.plans]
        return Tensor(np.array(sum(loss * share for loss, share in zip(losses, self.shares)), losses[0].dtype))

    @property
    def stale(self) -> bool:
        """Whether parameters were moved since."""
        return self.plans[0].generation != k.generation()

    def _redirect(self, stores: Sequence[Any]) -> None:
        """Give the parameters gradients in vectors of their own."""
        others = {store: k.keep(np.zeros_like(store.gradient), "gradient") for store in stores}
        self.sums += [(store.gradient, other) for store, other in others.items()]
        for p in self.parameters:
            store, start = p.place
            p._gradient = p.laid(others[store][start : start + p.size])


def _captured(step: Step, arrays: Sequence[Array], share: float) -> Plan:
    """Forward and backward of one part, whose mean counts `share` in the whole one."""
    held = [k.keep(np.array(x, order="C"), "input") for x in arrays]
    with blas.using(threads=1), k.long_calls(), Capture() as log:
        step.optimizer.zero_grad()
        loss = step.loss(*held)
        loss.backward(Tensor(k.scalar(share, loss.dtype)))
    return Plan.of(log, held, loss)


def _has_state(plan: Plan) -> bool:
    """Whether a call draws at random, or writes state: parts of a batch would have to share that."""
    return any(
        any(isinstance(x, np.random.Generator) for x in operands)
        or (isinstance(operands[-1], View) and operands[-1].buffer < 0 and plan.outer[-1 - operands[-1].buffer].role == "state")
        for _, operands in plan.calls
    )


def _replay(library: blas.Library, plan: Plan) -> None:
    if library.scope == "thread":
        library.settle()
    plan()
