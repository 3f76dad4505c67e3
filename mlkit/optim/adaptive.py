"""Optimizers that are rules for one block of the flat vectors: RMSprop, Adagrad, Adadelta, RAdam, NAdam, Lion.

A rule stands below its class as two functions: the numbers that every step needs anew, from learning rate and time, and
the elementwise calls on gradient g, states, value p and two scratch blocks.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from .. import kernels as k
from ..blas import bind_axpby
from ..errors import ArgumentError
from ..kernels import Array, Bound
from ..tensor import Parameter
from .block import cut
from .flat import Store
from .optimizer import Optimizer, at_least_zero, below_one

Settings = tuple[float, ...]
Steps = Iterator[Bound]
Numbers = Callable[[Settings, float, float, Array], tuple[float, ...]]
Calls = Callable[[Settings, tuple[Array, ...], Array, tuple[Array, ...], Array, Array, Array], Steps]
RULES: dict[str, tuple[Numbers, Calls]] = {}
KEPT = 4  # numbers of a step; behind them one that a rule may keep from step to step


class Adaptive(Optimizer):
    """An optimizer that follows the rule of its name, with states that start at 0."""

    rule = ""

    def __init__(self, parameters: Iterable[Parameter], lr: float, weight_decay: float, *settings: float) -> None:
        super().__init__(parameters, lr)
        self.weight_decay = at_least_zero("weight_decay", weight_decay)
        self.settings = self.weight_decay, *settings
        self._rates = {dtype: k.keep(np.zeros(KEPT + 1, dtype), "state") for dtype in self.dtypes}
        self._times = {dtype: k.keep(np.zeros(()), "state") for dtype in self.dtypes}

    def _advance(self) -> None:
        for dtype in self.dtypes:
            k.call(rule_numbers, self.rule, self.settings, self._lr, self._times[dtype], self._rates[dtype])

    def _update(self, store: Store, part: slice) -> None:
        states = (self._vector(store, name)[part] for name in self.states)
        operands = self.rule, self.settings, self._rates[store.value.dtype], store.gradient[part], *states, store.value[part]
        self._call(rule_update, (id(store), part.start, part.stop), *operands)


@k.kernel
def rule_numbers(rule: str, settings: Settings, lr: Array, time: Array, out: Array) -> None:
    """Count a step; then what the rule needs in it."""
    time += 1
    numbers = RULES[rule][0](settings, float(lr), float(time), out[KEPT:])
    out[: len(numbers)] = numbers


@k.composite
def rule_update(rule: str, settings: Settings, rates: Array, gradient: Array, *rest: Array) -> Steps:
    """Follow the rule: the rest are its states and, last, the value."""
    decay = k.scalar(settings[0], gradient.dtype) if settings[0] and rule != "lion" else None
    numbers = tuple(rates[i, ...] for i in range(KEPT))
    extra = k.aligned(len(next(cut(gradient))[0]), gradient.dtype)
    total = k.aligned(extra.shape, extra.dtype)
    for g, *states, p, t in cut(gradient, *rest):
        u, d = extra[: len(g)], total[: len(g)]
        if decay is not None:
            yield np.multiply, (p, decay, d)
            yield np.add, (d, g, d)
            g = d
        yield from RULES[rule][1](settings[1:], numbers, g, tuple(states), p, t, u)


def _minus_lr(settings: Settings, lr: float, time: float, kept: Array) -> tuple[float, ...]:
    return (-lr,)


class RMSprop(Adaptive):
    """`v = alpha v + (1 - alpha) g²; p -= lr * g / (√v + eps)`, the squared mean taken from v if centered (Hinton 2012).

    With momentum `b = momentum b + g / (√v + eps); p -= lr * b`. weight_decay adds `weight_decay * p` to g.
    """

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False,
    ) -> None:  # fmt: skip
        self.rule = "rmsprop_centered" if centered else "rmsprop"
        self.states = ["square", *(["mean"] if centered else []), *(["velocity"] if momentum else [])]
        settings = below_one("alpha", alpha), at_least_zero("eps", eps), below_one("momentum", momentum)
        super().__init__(parameters, lr, weight_decay, *settings)


def _rmsprop(
    settings: Settings, rates: tuple[Array, ...], g: Array, states: tuple[Array, ...], p: Array, t: Array, u: Array
) -> Steps:
    (alpha, eps, momentum), v = _scalars(settings, g), states[0]
    yield from _squares_into(v, alpha, settings[0], g, t)
    yield np.sqrt, (v, t)
    yield from _rmsprop_rest(eps, momentum, settings[2], rates, g, states[1:], p, t)


def _rmsprop_centered(
    settings: Settings, rates: tuple[Array, ...], g: Array, states: tuple[Array, ...], p: Array, t: Array, u: Array
) -> Steps:
    (alpha, eps, momentum), (v, mean) = _scalars(settings, g), states[:2]
    yield from _squares_into(v, alpha, settings[0], g, t)
    yield np.multiply, (g, k.scalar(1 - settings[0], g.dtype), t)
    yield from bind_axpby(t, mean, None, alpha)
    yield np.multiply, (mean, mean, t)
    yield np.subtract, (v, t, t)
    yield np.sqrt, (t, t)
    yield from _rmsprop_rest(eps, momentum, settings[2], rates, g, states[2:], p, t)


def _rmsprop_rest(
    eps: Array,
    momentum: Array,
    has_momentum: float,
    rates: tuple[Array, ...],
    g: Array,
    velocity: tuple[Array, ...],
    p: Array,
    t: Array,
) -> Steps:
    yield np.add, (t, eps, t)
    yield np.divide, (g, t, t)
    if has_momentum:
        yield from bind_axpby(t, velocity[0], None, momentum)
        yield np.multiply, (velocity[0], rates[0], t)
        yield np.add, (p, t, p)
    else:
        yield from bind_axpby(t, p, rates[0])


RULES["rmsprop"] = _minus_lr, _rmsprop
RULES["rmsprop_centered"] = _minus_lr, _rmsprop_centered


class Adagrad(Adaptive):
    """`s += g²; p -= lr / (1 + (t - 1) lr_decay) * g / (√s + eps)` (Duchi et al. 2011). weight_decay adds to g."""

    rule, states = "adagrad", ("total",)

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1e-2, lr_decay: float = 0.0, weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0, eps: float = 1e-10,
    ) -> None:  # fmt: skip
        self.initial = at_least_zero("initial_accumulator_value", initial_accumulator_value)
        super().__init__(parameters, lr, weight_decay, at_least_zero("lr_decay", lr_decay), at_least_zero("eps", eps))

    def _first(self, name: str) -> float:
        return self.initial


def _adagrad(
    settings: Settings, rates: tuple[Array, ...], g: Array, states: tuple[Array, ...], p: Array, t: Array, u: Array
) -> Steps:
    (_, eps), (total,) = _scalars(settings, g), states
    yield np.multiply, (g, g, t)
    yield np.add, (total, t, total)
    yield np.sqrt, (total, t)
    yield np.add, (t, eps, t)
    yield np.divide, (g, t, t)
    yield from bind_axpby(t, p, rates[0])


RULES["adagrad"] = lambda settings, lr, time, kept: (-lr / (1 + (time - 1) * settings[1]),), _adagrad


class Adadelta(Adaptive):
    """`v = rho v + (1 - rho) g²; d = √(a + eps) / √(v + eps) * g; a = rho a + (1 - rho) d²; p -= lr * d` (Zeiler 2012)."""

    rule, states = "adadelta", ("square", "delta")

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr, weight_decay, below_one("rho", rho), at_least_zero("eps", eps))


def _adadelta(
    settings: Settings, rates: tuple[Array, ...], g: Array, states: tuple[Array, ...], p: Array, t: Array, u: Array
) -> Steps:
    (rho, eps), (v, a) = _scalars(settings, g), states
    yield from _squares_into(v, rho, settings[0], g, t)
    yield np.add, (a, eps, t)
    yield np.add, (v, eps, u)
    yield np.divide, (t, u, t)
    yield np.sqrt, (t, t)
    yield np.multiply, (t, g, t)
    yield from _squares_into(a, rho, settings[0], t, u)
    yield from bind_axpby(t, p, rates[0])


RULES["adadelta"] = _minus_lr, _adadelta


class RAdam(Adaptive):
    """Adam whose adaptive part waits until the variance of its second moment is tractable (Liu et al. 2020)."""

    rule, states = "radam", ("moment", "square")

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr, weight_decay, *_pair(betas), at_least_zero("eps", eps))


def _radam_numbers(settings: Settings, lr: float, time: float, kept: Array) -> tuple[float, ...]:
    """-lr for `m / (√v + eps)` and for `m`: one of them is 0."""
    _, beta1, beta2, _ = settings
    first, second = 1 - beta1**time, 1 - beta2**time
    longest = 2 / (1 - beta2) - 1
    length = longest - 2 * time * beta2**time / second
    if length <= 5:
        return 0.0, -lr / first
    rectified = ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5
    return -lr / first * rectified * second**0.5, 0.0


def _radam(
    settings: Settings, rates: tuple[Array, ...], g: Array, states: tuple[Array, ...], p: Array, t: Array, u: Array
) -> Steps:
    (beta1, beta2, eps), (m, v) = _scalars(settings, g), states
    yield from _mean_into(m, beta1, settings[0], g, t)
    yield from _squares_into(v, beta2, settings[1], g, t)
    yield np.sqrt, (v, t)
    yield np.add, (t, eps, t)
    yield np.divide, (rates[0], t, t)
    yield np.add, (t, rates[1], t)
    yield np.multiply, (t, m, t)
    yield np.add, (p, t, p)


RULES["radam"] = _radam_numbers, _radam


class NAdam(Adaptive):
    """Adam with Nesterov's momentum (Dozat 2016)."""

    rule, states = "nadam", ("moment", "square")

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0, momentum_decay: float = 4e-3,
    ) -> None:  # fmt: skip
        settings = *_pair(betas), at_least_zero("eps", eps), at_least_zero("momentum_decay", momentum_decay)
        super().__init__(parameters, lr, weight_decay, *settings)


def _nadam_numbers(settings: Settings, lr: float, time: float, kept: Array) -> tuple[float, ...]:
    """What g and m count, and one over the root of the bias correction; the product of all momenta is kept."""
    _, beta1, beta2, _, decay = settings
    now, following = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (time, time + 1))
    kept[0] = now if time == 1 else kept[0] * now
    past = float(kept[0])
    return -lr * (1 - now) / (1 - past), -lr * following / (1 - past * following), (1 - beta2**time) ** -0.5


def _nadam(
    settings: Settings, rates: tuple[Array, ...], g: Array, states: tuple[Array, ...], p: Array, t: Array, u: Array
) -> Steps:
    (beta1, beta2, eps, _), (m, v) = _scalars(settings, g), states
    yield from _mean_into(m, beta1, settings[0], g, t)
    yield from _squares_into(v, beta2, settings[1], g, t)
    yield np.sqrt, (v, t)
    yield np.multiply, (t, rates[2], t)
    yield np.add, (t, eps, t)
    yield np.multiply, (g, rates[0], u)
    yield np.divide, (u, t, u)
    yield np.add, (p, u, p)
    yield np.multiply, (m, rates[1], u)
    yield np.divide, (u, t, u)
    yield np.add, (p, u, p)


RULES["nadam"] = _nadam_numbers, _nadam


class Lion(Adaptive):
    """`p -= lr * (sign(β₁ m + (1 - β₁) g) + weight_decay * p); m = β₂ m + (1 - β₂) g` (Chen et al. 2023)."""

    rule, states = "lion", ("moment",)

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr, weight_decay, *_pair(betas))


def _lion(settings: Settings, rates: tuple[Array, ...], g: Array, states: tuple[Array, ...], p: Array, t: Array, u: Array) -> Steps:
    (beta1, beta2), (m,) = _scalars(settings, g), states
    yield np.multiply, (m, beta1, t)
    yield np.multiply, (g, k.scalar(1 - settings[0], g.dtype), u)
    yield np.add, (t, u, t)
    yield np.sign, (t, t)
    yield np.multiply, (p, rates[1], p)
    yield from bind_axpby(t, p, rates[0])
    yield from _mean_into(m, beta2, settings[1], g, t)


RULES["lion"] = lambda settings, lr, time, kept: (-lr, 1 - lr * settings[0]), _lion


def _scalars(settings: Settings, like: Array) -> Iterable[Array]:
    return [k.scalar(value, like.dtype) for value in settings]


def _mean_into(m: Array, beta: Array, share: float, g: Array, t: Array) -> Steps:
    """`m = beta m + (1 - beta) g`"""
    yield np.multiply, (g, k.scalar(1 - share, g.dtype), t)
    yield from bind_axpby(t, m, None, beta)


def _squares_into(v: Array, beta: Array, share: float, g: Array, t: Array) -> Steps:
    """`v = beta v + (1 - beta) g²`"""
    yield np.multiply, (g, g, t)
    yield np.multiply, (t, k.scalar(1 - share, g.dtype), t)
    yield from bind_axpby(t, v, None, beta)


def _pair(betas: tuple[float, float]) -> tuple[float, float]:
    if len(betas) != 2:
        raise ArgumentError(f"betas is {betas!r}; it takes two numbers")
    return below_one("betas[0]", betas[0]), below_one("betas[1]", betas[1])
