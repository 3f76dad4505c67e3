"""Adam and AdamW on flat vectors."""

from collections.abc import Iterable, Iterator

import numpy as np

from .. import kernels as k
from ..blas import bind_axpby
from ..errors import ArgumentError
from ..kernels import Array, Bound
from ..tensor import Parameter
from .block import cut
from .flat import Store
from .optimizer import Optimizer, at_least_zero, below_one


class Adam(Optimizer):
    """Adaptive moments: `m = β₁ m + (1-β₁) g; v = β₂ v + (1-β₂) g²; p -= lr · m̂ / (√v̂ + eps)` (Kingma & Ba 2015).

    weight_decay adds `weight_decay * p` to g. The moments are kept without their factors (1-β), which go into the rate
    and into eps: that saves two passes over the vectors.
    """

    states = ("moment", "square")
    decoupled = False

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr)
        if len(betas) != 2:
            raise ArgumentError(f"Adam: betas is {betas!r}; it takes two numbers")
        self.betas = below_one("betas[0]", betas[0]), below_one("betas[1]", betas[1])
        self.eps, self.weight_decay = at_least_zero("eps", eps), at_least_zero("weight_decay", weight_decay)
        self._rates = {dtype: k.keep(np.zeros(3, dtype), "state") for dtype in self.dtypes}
        self._times = {dtype: k.keep(np.zeros(()), "state") for dtype in self.dtypes}

    def _advance(self) -> None:
        decay = self.weight_decay if self.decoupled else 0.0
        for dtype in self.dtypes:
            k.call(adam_rates, self._lr, *self.betas, self.eps, decay, self._times[dtype], self._rates[dtype])

    def _update(self, store: Store, part: slice) -> None:
        dtype = store.value.dtype
        moments = (self._vector(store, name)[part] for name in self.states)
        factors = *(k.scalar(beta, dtype) for beta in self.betas), self._rates[dtype]
        decay = k.scalar(self.weight_decay, dtype) if self.weight_decay else None
        operands = store.gradient[part], *moments, *factors, decay, self.decoupled, store.value[part]
        self._call(adam_update, (id(store), part.start, part.stop), *operands)


class AdamW(Adam):
    """Adam with decoupled weight decay: `p -= lr * weight_decay * p` besides (Loshchilov & Hutter 2019)."""

    decoupled = True

    def __init__(
        self, parameters: Iterable[Parameter], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:  # fmt: skip
        super().__init__(parameters, lr, betas, eps, weight_decay)


@k.kernel
def adam_rates(lr: Array, beta1: float, beta2: float, eps: float, decay: float, time: Array, out: Array) -> None:
    """Count a step; then -lr, eps and the kept share of p, as moments without their factors and started at 0 need them."""
    t, rate = float(time) + 1, float(lr)
    first = (1 - beta1) / (1 - beta1**t)
    second = ((1 - beta2) / (1 - beta2**t)) ** 0.5
    time[...] = t
    out[:] = -rate * first / second, eps / second, 1 - rate * decay


@k.composite
def adam_update(
    gradient: Array, moment: Array, square: Array, beta1: Array, beta2: Array, rates: Array, decay: Array | None, decoupled: bool,
    value: Array,
) -> Iterator[Bound]:  # fmt: skip
    rate, floor, kept = (rates[i, ...] for i in range(3))
    for g, m, v, p, t in cut(gradient, moment, square, value):
        if decay is not None and not decoupled:
            total = k.aligned(t.shape, t.dtype)
            yield np.multiply, (p, decay, total)
            yield np.add, (total, g, total)
            g = total
        elif decay is not None:
            yield np.multiply, (p, kept, p)
        yield from bind_axpby(g, m, None, beta1)
        yield np.multiply, (g, g, t)
        yield from bind_axpby(t, v, None, beta2)
        yield np.sqrt, (v, t)
        yield np.add, (t, floor, t)
        yield np.divide, (m, t, t)
        yield from bind_axpby(t, p, rate)
