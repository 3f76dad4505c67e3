"""L-BFGS, SciPy's, on the flat vector of all parameters."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, DataError
from ..kernels import Array
from ..tensor import Parameter
from . import flat
from .optimizer import at_least_zero


class LBFGS:
    """`loss = optimizer.step(closure)`: some iterations of L-BFGS-B on the loss that `closure` returns, as a whole batch has it.

    `closure` forgets the gradients, computes the loss and goes backward: `optimizer.zero_grad(); loss = …; loss.backward();
    return loss`. Source: Liu & Nocedal 1989; scipy.optimize.minimize(method="L-BFGS-B"). It asks for values, so a step with
    it runs eagerly.
    """

    def __init__(
        self, parameters: Iterable[Parameter], max_iter: int = 20, history_size: int = 10, tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
    ) -> None:  # fmt: skip
        self.parameters = flat.gather(parameters)
        if max_iter < 1 or history_size < 1:
            raise ArgumentError(f"LBFGS: max_iter {max_iter}, history_size {history_size}; both must be from 1")
        self.max_iter, self.history_size = max_iter, history_size
        self.tolerance_grad = at_least_zero("tolerance_grad", tolerance_grad)
        self.tolerance_change = at_least_zero("tolerance_change", tolerance_change)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.fresh = True

    def step(self, closure: Callable[[], Any]) -> float:
        """Go on from where the parameters are; returns the smallest loss, whose parameters stay."""
        from scipy.optimize import minimize  # it takes longer to import than all of mlkit

        k.ask("LBFGS.step()")

        def loss_and_gradient(x: Array) -> tuple[float, Array]:
            self._set(x)
            loss = float(closure())
            if not np.isfinite(loss):
                raise DataError(f"LBFGS: the loss is {loss}")
            return loss, self._gradient()

        options = {
            "maxiter": self.max_iter,
            "maxcor": self.history_size,
            "gtol": self.tolerance_grad,
            "ftol": self.tolerance_change,
        }
        found = minimize(loss_and_gradient, self._get(), jac=True, method="L-BFGS-B", options=options)
        self._set(found.x)
        return float(found.fun)

    def _get(self) -> Array:
        return np.concatenate([p.data.reshape(-1).astype(np.float64) for p in self.parameters])

    def _gradient(self) -> Array:
        parts = [np.zeros(p.size) if p.grad is None else p.grad.data.reshape(-1) for p in self.parameters]
        return np.concatenate(parts).astype(np.float64)

    def _set(self, x: Array) -> None:
        start = 0
        for p in self.parameters:
            p.data[...] = x[start : start + p.size].reshape(p.shape)
            start += p.size
