"""Learning rates that change with time: `scheduler.step()` after each step or epoch, in a captured step too.

Names, arguments and values are those of torch.optim.lr_scheduler. A schedule is a function of the number of steps made and
of the rate that the optimizer had at first.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import kernels as k
from ..errors import ArgumentError
from ..kernels import Array
from .optimizer import Optimizer


class Scheduler:
    """Sets `optimizer.lr` to `rate(t)`, t the number of steps made; subclasses say what `rate` is."""

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"a schedule takes an optimizer with a learning rate, not {type(optimizer).__name__}")
        self.optimizer, self.base_lr, self.time = optimizer, optimizer.lr, 0
        optimizer.lr = self.rate(0)

    def rate(self, time: float) -> float:
        """The learning rate after so many steps."""
        raise NotImplementedError

    def step(self) -> None:
        """Count a step and set the rate."""
        k.call(scheduled, self._tick, self.optimizer.lr_array)

    def state_dict(self) -> dict[str, float]:
        """Where it is; its settings are not in it."""
        return {"time": self.time, "base_lr": self.base_lr}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from where `state_dict` was asked for; the rate itself is in the optimizer's state."""
        self.time, self.base_lr = int(state["time"]), state["base_lr"]

    def _tick(self) -> float:
        self.time += 1
        return self.rate(self.time)


@k.kernel
def scheduled(tick: Callable[[], float], out: Array) -> None:
    """`out = tick()`, at every call anew."""
    out[...] = tick()


class LambdaLR(Scheduler):
    """`lr * lr_lambda(t)`"""

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[float], float]) -> None:
        self.lr_lambda = lr_lambda
        super().__init__(optimizer)

    def rate(self, time: float) -> float:
        return self.base_lr * self.lr_lambda(time)


class StepLR(Scheduler):
    """`lr * gamma ** (t // step_size)`"""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = _from_one("step_size", step_size), gamma
        super().__init__(optimizer)

    def rate(self, time: float) -> float:
        return float(self.base_lr * self.gamma ** (time // self.step_size))


class MultiStepLR(Scheduler):
    """`lr * gamma ** (number of milestones reached)`"""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def rate(self, time: float) -> float:
        return self.base_lr * self.gamma ** bisect_right(self.milestones, time)


class ExponentialLR(Scheduler):
    """`lr * gamma ** t`"""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, time: float) -> float:
        return float(self.base_lr * self.gamma**time)


class LinearLR(Scheduler):
    """From `lr * start_factor` to `lr * end_factor` in `total_iters` steps, then constant: a warm-up."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5) -> None:
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, _from_one("total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, time: float) -> float:
        share = min(time, self.total_iters) / self.total_iters
        return self.base_lr * (self.start_factor + (self.end_factor - self.start_factor) * share)


class CosineAnnealingLR(Scheduler):
    """Half a cosine from `lr` to `eta_min` in T_max steps, and back (Loshchilov & Hutter 2017, without restarts)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = _from_one("T_max", T_max), eta_min
        super().__init__(optimizer)

    def rate(self, time: float) -> float:
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + math.cos(math.pi * time / self.T_max)) / 2


class CosineAnnealingWarmRestarts(Scheduler):
    """Half a cosine from `lr` to `eta_min` in T_0 steps, then again, each time T_mult times as long (Loshchilov & Hutter 2017)."""

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:
        self.T_0, self.T_mult, self.eta_min = _from_one("T_0", T_0), _from_one("T_mult", T_mult), eta_min
        super().__init__(optimizer)

    def rate(self, time: float) -> float:
        length = self.T_0
        while time >= length:
            time -= length
            length *= self.T_mult
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + math.cos(math.pi * time / length)) / 2


class OneCycleLR(Scheduler):
    """Up to `max_lr` in the first `pct_start` of total_steps, then down to next to nothing, by cosines (Smith & Topin 2018)."""

    def __init__(
        self, optimizer: Optimizer, max_lr: float, total_steps: int, pct_start: float = 0.3, div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:  # fmt: skip
        if not 0 < pct_start < 1:
            raise ArgumentError(f"OneCycleLR: pct_start is {pct_start}; it lies between 0 and 1")
        self.max_lr, self.total_steps = max_lr, _from_one("total_steps", total_steps)
        self.up = pct_start * total_steps - 1
        self.first, self.last = max_lr / div_factor, max_lr / div_factor / final_div_factor
        super().__init__(optimizer)

    def rate(self, time: float) -> float:
        if time <= self.up:
            return _between(self.first, self.max_lr, time / self.up)
        return _between(self.max_lr, self.last, min(1.0, (time - self.up) / (self.total_steps - 1 - self.up)))


class SequentialLR(Scheduler):
    """One schedule after the other: the next begins, with its time at 0, at each milestone."""

    def __init__(self, optimizer: Optimizer, schedulers: list[Scheduler], milestones: list[int]) -> None:
        if len(schedulers) != len(milestones) + 1:
            raise ArgumentError(
                f"SequentialLR: {len(schedulers)} schedules and {len(milestones)} milestones; it takes one less of these"
            )
        self.schedulers, self.milestones = schedulers, milestones
        base = schedulers[0].base_lr
        for scheduler in schedulers:
            scheduler.base_lr = base
        super().__init__(optimizer)

    def rate(self, time: float) -> float:
        number = bisect_right(self.milestones, time)
        return self.schedulers[number].rate(time - (self.milestones[number - 1] if number else 0))


class ReduceLROnPlateau:
    """`lr * factor` when `step(metric)` has seen no improvement for more than `patience` calls in a row."""

    def __init__(
        self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10, threshold: float = 1e-4,
        threshold_mode: str = "rel", cooldown: int = 0, min_lr: float = 0.0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs"):
            raise ArgumentError(f"ReduceLROnPlateau: mode {mode!r} is min or max, threshold_mode {threshold_mode!r} rel or abs")
        if not 0 < factor < 1:
            raise ArgumentError(f"ReduceLROnPlateau: factor is {factor}; it lies between 0 and 1")
        self.optimizer, self.factor, self.patience, self.cooldown = optimizer, factor, patience, cooldown
        self.threshold, self.relative, self.sign = threshold, threshold_mode == "rel", 1 if mode == "min" else -1
        self.min_lr, self.eps = min_lr, eps
        self.best, self.bad, self.resting = math.inf * self.sign, 0, 0

    def step(self, metric: Any) -> None:
        """Look at a metric – after an epoch, say."""
        value = float(metric)
        if self._better(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.resting:
            self.resting -= 1
            self.bad = 0
        if self.bad > self.patience:
            lower = max(self.optimizer.lr * self.factor, self.min_lr)
            if self.optimizer.lr - lower > self.eps:
                self.optimizer.lr = lower
            self.resting, self.bad = self.cooldown, 0

    def state_dict(self) -> dict[str, float]:
        """Where it is; its settings are not in it."""
        return {"best": self.best, "bad": self.bad, "resting": self.resting}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from where `state_dict` was asked for."""
        self.best, self.bad, self.resting = state["best"], int(state["bad"]), int(state["resting"])

    def _better(self, value: float) -> bool:
        if math.isinf(self.best):
            return value * self.sign < self.best * self.sign
        margin = self.threshold * (abs(self.best) if self.relative else 1)
        return value * self.sign < self.best * self.sign - margin


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _from_one(name: str, value: int) -> int:
    if value < 1:
        raise ArgumentError(f"{name} is {value}; it must be from 1")
    return value
