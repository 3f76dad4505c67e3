"""A step as a list of kernel calls: replayed without allocation or dispatch, read, timed, retargeted, saved."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from os import PathLike
from typing import Any

import numpy as np

from .. import blas
from .. import kernels as k
from ..blas.memory import trim
from ..blas.recording import routine
from ..errors import ArgumentError, PlanError
from ..kernels import Array, Bound, Kernel, Value
from . import arena, trace
from .capture import Capture, Outer, View

LARGE = 1 << 24  # bytes of an arena worth asking for freed memory first


class Plan:
    """`plan()` repeats the captured step on what `plan.inputs` hold now; `print(plan)` shows it.

    A plan owns its memory, one arena: what it returns is overwritten by the next replay.
    """

    def __init__(
        self, calls: Sequence[tuple[Kernel, tuple[Any, ...]]], offsets: Sequence[int], size: int, outer: Sequence[Outer],
        inputs: Sequence[Array] = (), result: Any = None, places: Sequence[k.Place] = (),
    ) -> None:  # fmt: skip
        self.calls, self.offsets, self.arena_size, self.outer = tuple(calls), tuple(offsets), size, tuple(outer)
        self.inputs, self.generation = tuple(inputs), k.generation()
        self.places = tuple(places) or (k.Place(),) * len(self.calls)
        self._memory = k.aligned(size, np.uint8)
        self._bytes = [o.array.reshape(-1).view(np.uint8) for o in self.outer]
        self._operands = [tuple(map(self._array, operands)) for _, operands in self.calls]
        self._pinned: list[blas.Library | None] = [None] * len(self.calls)  # None: the library in force
        self.described = result
        self.result = rebuild(result, self._array)
        self._bind(self._pinned)

    @classmethod
    def of(cls, log: Capture, inputs: Sequence[Array], result: Any) -> "Plan":
        """The plan of a finished capture."""
        if log.failure is not None:
            raise log.failure
        described = rebuild(result, log.describe)
        end = len(log.calls) + 1
        offsets, size = arena.layout(log.sizes, log.born, [log.died.get(n, end) for n in range(len(log.sizes))])
        if size > LARGE:
            trim()  # what the eager run held is free now, and is needed once more
        return cls(log.calls, offsets, size, log.outer, inputs, described, log.places)

    def __call__(self) -> Any:
        if k.observing() is not None:
            for (kernel, _), operands, bound, place in zip(self.calls, self._operands, self._steps, self.places):
                with k.at(*place):
                    k.run(kernel, operands, bound)
            return self.result
        for function, arguments in self._steps:
            function(*arguments)
        return self.result

    def __len__(self) -> int:
        return len(self.calls)

    def __str__(self) -> str:
        return trace.table(self)

    @property
    def flops(self) -> int:
        """Real operations of one replay."""
        return sum(k.flops(kernel, operands) for (kernel, _), operands in zip(self.calls, self._operands))

    def retarget(self, library: "blas.selection.Name | None", calls: Iterable[int] | None = None) -> "Plan":
        """Bind the products – all, or those of the given numbers – to another library; None: the one in force.

        If the library cannot make one of them, an error is raised and the plan is as before.
        """
        chosen = None if library is None else blas.resolve(library)
        pinned = list(self._pinned)
        for number in range(len(self)) if calls is None else calls:
            if not 0 <= number < len(self):
                raise ArgumentError(f"there is no call {number}; they go from 0 to {len(self) - 1}")
            pinned[number] = chosen
        self._bind(pinned)
        return self

    def follow(self) -> "Plan":
        """Bind to the library in force now, where it is another than at the last binding, or has one thread and had more."""
        library = blas.current()
        if library is not self._bound_to or library.alone is not self._alone:
            self._bind(self._pinned)
        return self

    def libraries(self) -> list[str]:
        """The name of the library that each call is bound to."""
        return [(library or self._bound_to).name for library in self._pinned]

    def routines(self) -> list[str]:
        """What each call ends in: the routine of a product – sgemm, sgemv –, the name of another kernel."""
        calls = zip(self.calls, self._steps, self._pinned)
        return [routine(kernel, bound, library or self._bound_to) for (kernel, _), bound, library in calls]

    def time(self, rounds: int = 20) -> list[float]:
        """The best of `rounds` times of each call, in seconds. It replays the step as often, side effects included."""
        best = [float("inf")] * len(self)
        for _ in range(rounds):
            for i, (function, arguments) in enumerate(self._steps):
                start = time.perf_counter()
                function(*arguments)
                best[i] = min(best[i], time.perf_counter() - start)
        return best

    def table(self, rounds: int = 0) -> str:
        """The calls as a table; with `rounds`, the best time of each beside it."""
        return trace.table(self, self.time(rounds) if rounds else None)

    def save(self, path: "str | PathLike[str]", values: bool = False) -> None:
        """Write the plan as JSON: calls, shapes, constants; with `values`, what parameters and state hold too."""
        trace.save(self, path, values)

    @classmethod
    def load(cls, path: "str | PathLike[str]") -> "Plan":
        """A plan from JSON, with memory of its own. PlanError if the file is none, or has been altered."""
        parts = trace.load(path)
        try:
            return cls(*parts)
        except (ValueError, TypeError, LookupError, MemoryError, OverflowError) as error:
            raise PlanError(f"{os.fspath(path)} is no plan: {error}") from error

    def operands(self, number: int) -> tuple[Any, ...]:
        """The arrays and constants of one call."""
        return self._operands[number]

    def _bind(self, pinned: Sequence[blas.Library | None]) -> None:
        here = blas.current()
        steps: list[Bound] = []
        for library, run in groupby(zip(pinned, self.calls, self._operands), key=lambda entry: entry[0]):
            with blas.using(library or here):
                steps += [k.bind(kernel, operands) for _, (kernel, _), operands in run]
        self._steps, self._pinned, self._bound_to, self._alone = tuple(steps), list(pinned), here, here.alone

    def _array(self, operand: Any) -> Any:
        if not isinstance(operand, View):
            return operand
        number, offset, shape, strides, dtype = operand
        if number < 0:
            return np.ndarray(shape, dtype, self._bytes[-1 - number], offset, strides)
        return np.ndarray(shape, dtype, self._memory, self.offsets[number] + offset, strides)


def rebuild(tree: Any, leaf: Callable[[Any], Any]) -> Any:
    """`tree` – tuples, lists, dicts, Values, arrays, numbers – with `leaf` applied to its arrays and views."""
    if isinstance(tree, (View, np.ndarray)):
        return leaf(tree)
    if isinstance(tree, Value):
        return type(tree)(leaf(tree.data))
    if isinstance(tree, dict):
        return {key: rebuild(value, leaf) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [rebuild(value, leaf) for value in tree]
        return tree._make(parts) if hasattr(tree, "_make") else type(tree)(parts)
    return tree
