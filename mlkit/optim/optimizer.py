"""What all optimizers share: parameters, a learning rate that may change, one update for each run of memory."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import blas
from .. import kernels as k
from ..errors import ArgumentError
from ..kernels import Array, Bound, Kernel
from ..tensor import Parameter
from . import flat


class Optimizer:
    """`zero_grad()`, `step()`, and `lr`, which may be set at any time – between replays of a plan too."""

    states: Sequence[str] = ()  # the vectors that are kept for the parameters

    def __init__(self, parameters: Iterable[Parameter], lr: float) -> None:
        self._lr = k.keep(np.zeros(()), "state")
        self.lr = lr
        self.parameters = flat.gather(parameters)
        self.dtypes = list(dict.fromkeys(p.dtype for p in self.parameters))
        self._bound: dict[tuple[Any, ...], tuple[Bound, tuple[Any, ...]]] = {}
        self._state: dict[tuple[int, str], Array] = {}
        self._rates: dict[np.dtype[Any], Array] = {}  # a step's own numbers
        self._times: dict[np.dtype[Any], Array] = {}  # steps made

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        k.ask("setting lr")  # a schedule's step() can be captured
        self._lr[...] = at_least_zero("lr", value)

    @property
    def lr_array(self) -> Array:
        """The learning rate as the 0-d array that every step reads."""
        return self._lr

    def zero_grad(self) -> None:
        """Forget all gradients; the next ones are written, not added."""
        for parameter in self.parameters:
            parameter.fresh = True

    def step(self) -> None:
        """Change every parameter that has a gradient; the others stay, as in PyTorch."""
        with k.at("", "update"):
            self._advance()
            for store, part in self._runs():
                self._update(store, part)

    def state_dict(self) -> dict[str, Array]:
        """A copy of all that the next step depends on: lr, counts, and `NUMBER.NAME` for each parameter in its order."""
        return {name: array.copy() for name, array in self._named_state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the optimizer did whose `state_dict` it is; one that does not fit is an error, and nothing is changed."""
        for name in state:  # what the first step would make
            number, _, kind = name.partition(".")
            if number.isdecimal() and int(number) < len(self.parameters) and kind in self.states:
                self._vector(self.parameters[int(number)].place[0], kind)
        own = self._named_state()
        unknown = sorted(name for name in state if name not in own or np.shape(state[name]) != own[name].shape)
        missing = sorted(name for name in own if name not in state and not name[0].isdecimal())
        if unknown or missing:
            raise ArgumentError(
                f"{type(self).__name__}: the state lacks {missing or 'nothing'}; unknown or ill-shaped: {unknown or 'none'}"
            )
        for name, array in own.items():
            array[...] = state.get(name, self._first(name.partition(".")[2]))

    def _named_state(self) -> dict[str, Array]:
        found = {"lr": self._lr}
        for kind, arrays in (("rates", self._rates), ("times", self._times)):
            found |= {f"{kind}.{dtype}": array for dtype, array in arrays.items()}
        for number, p in enumerate(self.parameters):
            store, start = p.place
            for owner, name in self._state:
                if owner == id(store):
                    found[f"{number}.{name}"] = p.laid(self._state[owner, name][start : start + p.size])
        return found

    def _advance(self) -> None:
        """What happens once a step: counting it, say."""

    def _update(self, store: flat.Store, part: slice) -> None:
        raise NotImplementedError

    def _runs(self) -> list[tuple[flat.Store, slice]]:
        waiting = tuple(p.fresh for p in self.parameters)
        if waiting != getattr(self, "_waiting", None):
            self._waiting = waiting
            self._known_runs = list(flat.runs(p for p in self.parameters if not p.fresh))
        return self._known_runs

    def _vector(self, store: flat.Store, name: str) -> Array:
        """The state called `name` of all parameters in a store."""
        key = id(store), name
        if key not in self._state:
            self._state[key] = flat.like(store)
            self._state[key] += self._first(name)
        return self._state[key]

    def _first(self, name: str) -> float:
        """What the state called `name` is at first."""
        return 0.0

    def _call(self, kernel: Kernel, key: tuple[Any, ...], *operands: Any) -> None:
        """`k.call`, with the binding kept from step to step: it cuts the vectors into blocks."""
        key = (blas.current(), kernel, *key)
        if key not in self._bound:
            self._bound[key] = k.bind(kernel, operands), operands
        bound, operands = self._bound[key]
        k.run(kernel, operands, bound)


def at_least_zero(name: str, value: float) -> float:
    if not (isinstance(value, int | float | np.number) and 0 <= value < float("inf")):
        raise ArgumentError(f"{name} is {value!r}; it must be a finite number from 0")
    return float(value)


def below_one(name: str, value: float) -> float:
    if not (isinstance(value, int | float | np.number) and 0 <= value < 1):
        raise ArgumentError(f"{name} is {value!r}; it must be from 0, below 1")
    return float(value)
