"""Stochastic gradient descent, with momentum."""

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


class SGD(Optimizer):
    """`p -= lr * g`; with momentum `v = momentum * v + g; p -= lr * v` (Nesterov: `p -= lr * (g + momentum * v)`).

    weight_decay adds `weight_decay * p` to g. Source: Sutskever et al. 2013, in PyTorch's form.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum, self.nesterov = below_one("momentum", momentum), nesterov
        self.weight_decay = at_least_zero("weight_decay", weight_decay)
        if nesterov and not momentum:
            raise ArgumentError("SGD: nesterov needs momentum above 0")
        self.states = ("velocity",) if momentum else ()
        self._rates = {dtype: k.keep(np.zeros((), dtype), "state") for dtype in self.dtypes}

    def _advance(self) -> None:
        for rate in self._rates.values():
            k.call(sgd_rate, self._lr, rate)

    def _update(self, store: Store, part: slice) -> None:
        dtype = store.value.dtype
        velocity = self._vector(store, "velocity")[part] if self.momentum else None
        decays = [k.scalar(x, dtype) if x else None for x in (self.momentum, self.weight_decay)]
        operands = store.gradient[part], velocity, self._rates[dtype], *decays, self.nesterov, store.value[part]
        self._call(sgd_update, (id(store), part.start, part.stop), *operands)


@k.kernel
def sgd_rate(lr: Array, out: Array) -> None:
    """`-lr` in the dtype of the update."""
    out[...] = -lr


@k.composite
def sgd_update(
    gradient: Array, velocity: Array | None, rate: Array, momentum: Array | None, weight_decay: Array | None, nesterov: bool,
    value: Array,
) -> Iterator[Bound]:  # fmt: skip
    for g, v, p, t in cut(gradient, gradient if velocity is None else velocity, value):
        if weight_decay is not None:
            yield np.multiply, (p, weight_decay, t)
            yield np.add, (t, g, t)
            g = t
        if momentum is not None:
            yield from bind_axpby(g, v, None, momentum)
            if nesterov:
                extra = k.aligned(t.shape, t.dtype)
                yield np.multiply, (v, momentum, extra)
                yield np.add, (extra, g, extra)
                v = extra
            g = v
        if g is not t:
            yield np.multiply, (g, rate, t)
            yield np.add, (p, t, p)
        else:
            yield from bind_axpby(t, p, rate)
