"""Parts of a batch side by side, each a plan of its own: in Python threads, or in processes that share memory."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from .. import blas
from .. import kernels as k
from ..blas import threads as workers
from ..errors import PlanError
from ..kernels import Array
from ..optim import Optimizer
from ..plan import Capture, Plan, View
from ..plan.elsewhere import Elsewhere
from ..tensor import Tensor

Loss = Callable[..., Tensor]


class Parts:
    """A plan for each part of the batch; the first writes the gradients themselves, the others gradients of their own."""

    others: Sequence[Elsewhere] = ()  # where the plans but for the first are, if not here

    def __init__(
        self, loss: Loss, optimizer: Optimizer, whole: Plan | None, arrays: Sequence[Array], count: int, grain: int
    ) -> None:
        self.parameters = [p for p in optimizer.parameters if not p.fresh]
        stores = list(dict.fromkeys(p.place[0] for p in self.parameters))
        size = len(arrays[0])
        edges = [size * i // count for i in range(count + 1)]
        self.slices = [slice(a, b) for a, b in pairwise(edges)]
        self.shares = [(part.stop - part.start) / size for part in self.slices]
        self.sums: list[tuple[Array, Array]] = []
        self._twins: dict[int, Array] = {}  # of arrays here, by their ids: those that other processes write
        self.plans: list[Plan] = []
        originals = [p._gradient for p in self.parameters]
        try:
            with unchanged(whole):
                for number, (part, share) in enumerate(zip(self.slices, self.shares)):
                    if number:
                        self._redirect(stores)
                    self.plans.append(_captured(loss, optimizer, [x[part] for x in arrays], share, grain))
        finally:
            for p, gradient in zip(self.parameters, originals):
                p._gradient, p.fresh = gradient, False
        self.joined = any(kernel is k.summed_over_parts for kernel, _ in self.plans[0].calls)

    def __call__(self, arrays: Sequence[Array]) -> Tensor:
        library = blas.current()
        here = self.plans[:1] if self.others else self.plans
        for inputs, part in zip([*(plan.inputs for plan in here), *(other.inputs for other in self.others)], self.slices):
            for held, x in zip(inputs, arrays):
                np.copyto(held, x[part])
        for other in self.others:
            other.start()
        with library.limited(1), k.part_of_batch(1.0, self._exchange):
            for plan in here:
                plan.follow()
            workers.parallel([partial(_replay, library, plan) for plan in here])
        losses = [*(plan.result.data for plan in here), *(other.finish() for other in self.others)]
        for total, more in self.sums:
            k.add(total, self._twins.get(id(more), more), out=total)
        return Tensor(np.array(sum(loss * share for loss, share in zip(losses, self.shares)), losses[0].dtype))

    def depart(self) -> bool:
        """Start a process for each plan but the first; False where that cannot be, or where somebody watches the calls."""
        library = blas.current()
        if k.observing() is not None:
            return False
        try:
            self.others = [Elsewhere(plan, library) for plan in self.plans[1:]]
        except (PlanError, OSError):
            return False
        for plan, other in zip(self.plans[1:], self.others):
            for outer in plan.outer:
                self._twins[id(outer.array)] = other.twin(outer.array)
        return True

    def come_back(self) -> None:
        """End them."""
        for other in self.others:
            other.close()
        self.others = ()
        self._twins.clear()

    def _exchange(self, a: Array) -> None:
        """Make `a` the sum of those that all parts have in its place, here and there."""
        for other in self.others:
            a += other.receive(a)
        for other in self.others:
            other.send(a)

    @property
    def stale(self) -> bool:
        """Whether parameters were moved since."""
        return self.plans[0].generation != k.generation()

    def _redirect(self, stores: Sequence[Any]) -> None:
        """Give the parameters gradients in vectors of their own."""
        others = {store: k.keep(k.aligned(store.gradient.shape, store.gradient.dtype), "gradient") for store in stores}
        self.sums += [(store.gradient, other) for store, other in others.items()]
        for p in self.parameters:
            store, start = p.place
            p._gradient = p.laid(others[store][start : start + p.size])


def _captured(loss: Loss, optimizer: Optimizer, arrays: Sequence[Array], share: float, grain: int) -> Plan:
    """Forward and backward of one part, whose mean counts `share` in the whole one, in calls longer by the factor `grain`."""
    held = [k.keep(k.aligned_copy(x), "input") for x in arrays]
    with blas.using(threads=1), k.long_calls(grain), k.part_of_batch(share), Capture() as log:
        optimizer.zero_grad()
        found = loss(*held)
        found.backward(Tensor(k.scalar(share, found.dtype)))
    return Plan.of(log, held, found)


def draws_or_keeps(plan: Plan) -> bool:
    """Whether a call before the update draws at random, or writes state that parts of a batch would not have alike."""
    return any(
        any(isinstance(x, np.random.Generator) for x in operands) or (_is_state(plan, operands[-1]) and kernel not in k.ALIKE)
        for (kernel, operands), place in zip(plan.calls, plan.places)
        if place.phase != "update"
    )


def _is_state(plan: Plan, operand: Any) -> bool:
    return isinstance(operand, View) and operand.buffer < 0 and plan.outer[-1 - operand.buffer].role == "state"


@contextmanager
def unchanged(plan: Plan | None) -> Iterator[None]:
    """What the plan keeps – parameters, state – is afterwards as it was before."""
    kept = "parameter", "state"
    before = [(outer.array, outer.array.copy()) for outer in plan.outer if outer.role in kept] if plan else []
    try:
        yield
    finally:
        for array, copy in before:
            array[...] = copy


def _replay(library: blas.Library, plan: Plan) -> None:
    if library.scope == "thread":
        library.settle()
    plan()
