"""`capture(step)`: run once eagerly for each signature of shapes and dtypes, replay from then on."""

import warnings
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np

from .. import kernels as k
from ..errors import CaptureWarning
from ..kernels import Array, Value
from .capture import Capture, capturing
from .plan import Plan, rebuild

Signature = tuple[Any, ...]  # shape and dtype of each input, then what the step relies on


class Captured:
    """What `capture` returns: the step, which runs eagerly once for each signature of its inputs and is replayed then.

    `plans` maps signatures to plans; `plan` is the one used last.
    """

    def __init__(self, step: Callable[..., Any], copy: bool = True, most: int = 8) -> None:
        self.step, self.copy, self.most = step, copy, most
        self.plans: dict[Signature, Plan] = {}
        self.plan: Plan | None = None
        self.eager = False  # set when the step did what no plan can repeat
        self._signed: list[Any] = []  # what the step relies on, as it was for `plan`
        self._lock = Lock()  # a plan has one arena
        self.relied: dict[tuple[int, str], tuple[Any, str]] = {}  # attributes that decide what is called: a layer's `training`

    def __call__(self, *inputs: Any) -> Any:
        if self.eager or (k.observing() is not None and capturing()):
            return self.step(*inputs)
        arrays = [x if type(x) is np.ndarray else x.data if isinstance(x, Value) else np.asarray(x) for x in inputs]
        with self._lock:
            plan = self.plan
            if plan is None or not self._takes(plan, arrays):
                plan = self.plans.get(self._signature(arrays))
                if plan is None or plan.generation != k.generation():
                    return self._first(inputs, arrays)
                self.plan, self._signed = plan, [getattr(owner, name) for owner, name in self.relied.values()]
            for held, x in zip(plan.inputs, arrays):
                held[...] = x
            result = plan.follow()()
            return rebuild(result, np.array) if self.copy else result

    def _takes(self, plan: Plan, arrays: list[Array]) -> bool:
        """Whether the plan used last is the one for these inputs: told faster than by their signature."""
        if len(arrays) != len(plan.inputs) or plan.generation != k.generation():
            return False
        for held, x in zip(plan.inputs, arrays):
            if x.shape != held.shape or x.dtype is not held.dtype:
                return False
        return all(getattr(owner, name) is value for (owner, name), value in zip(self.relied.values(), self._signed))

    def _signature(self, arrays: list[Array]) -> Signature:
        shapes = tuple((x.shape, x.dtype) for x in arrays)
        return (*shapes, *(getattr(owner, name) for owner, name in self.relied.values())) if self.relied else shapes

    def _first(self, inputs: tuple[Any, ...], arrays: list[Array]) -> Any:
        """Run the step eagerly, on copies that the plan will read, and keep the plan."""
        held = [k.keep(k.aligned_copy(x), "input") for x in arrays]
        given = [type(x)(y) if isinstance(x, Value) else y for x, y in zip(inputs, held)]
        with Capture() as log:
            result = self.step(*given)
        if log.failure is not None:
            self.eager = True
            warnings.warn(f"the step is not captured and runs eagerly: {log.failure}", CaptureWarning, stacklevel=4)
            return result
        self.relied.update(log.relied)
        signature = self._signature(arrays)
        self.plans.pop(signature, None)
        while len(self.plans) >= self.most:
            self.plans.pop(next(iter(self.plans)))  # the oldest
        self.plan = self.plans[signature] = Plan.of(log, held, result)
        self._signed = [getattr(owner, name) for owner, name in self.relied.values()]
        return result


def capture(step: Callable[..., Any], copy: bool = True, most: int = 8) -> Captured:
    """`step` as a function that runs it eagerly once for each signature of shapes and dtypes, then replays its plan.

    Inputs – arrays, Tensors, numbers – may change their values, not their meaning: Python's own decisions, and numbers
    that are not inputs, are those of the first run. At most `most` plans are kept. With `copy=False` results are views
    into the plan's memory, overwritten by the next call. A step that asks for a value in its course, or uses an array
    made outside the kernels, runs eagerly for good after one CaptureWarning that says where.
    """
    return Captured(step, copy, most)
