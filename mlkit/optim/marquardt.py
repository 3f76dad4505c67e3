"""Levenberg–Marquardt: second order for the squared error of dense networks, on a whole batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import blas, nn, ops
from .. import kernels as k
from ..blas import lapack
from ..errors import ArgumentError, BlasError, NonFiniteError, ShapeError
from ..kernels import Array
from ..tensor import Tensor, tensor
from .optimizer import at_least_zero

TRIES = 12  # at most, of a larger damping, before a step is given up


class LevenbergMarquardt:
    """`loss = optimizer.step(x, y)`: one step on the mean squared error of (n, inputs), (n, outputs), which never makes it larger.

    The step solves `(JᵀJ + damping · s · I) d = Jᵀ r`, J the derivative of every output by every parameter and s the mean of
    the diagonal of JᵀJ or JJᵀ, whichever is smaller: with damping 0 it is Gauss and Newton's, with much of it gradient
    descent. The damping falls tenfold after a good step and grows after a bad one. A linear model is at its optimum after one
    or two steps. J has n · outputs rows and a column for each parameter, and is held in memory.

    The model's parameters are those of nn.Linear layers, each called once, on rows. Sources: Levenberg 1944, Marquardt 1963;
    Hagan & Menhaj 1994 for networks. Routines: ?gesv, ?gelsd. Steps run eagerly.
    """

    def __init__(self, model: nn.Module, damping: float = 1e-3) -> None:
        self.model, self.damping = model, at_least_zero("damping", damping)
        self.layers = list(dict.fromkeys(module for module in model.modules() if isinstance(module, nn.Linear)))
        own = {id(p) for layer in self.layers for p in layer.parameters()}
        others = [name for name, p in model.named_parameters() if id(p) not in own]
        if not self.layers or others:
            found = ", ".join(others[:3]) or "no such layer"
            raise ArgumentError(f"LevenbergMarquardt takes networks whose parameters are nn.Linear's; this one has {found}")

    def step(self, x: Array, y: Array) -> float:
        """Make a step, and return the loss after it."""
        k.ask("LevenbergMarquardt.step()")
        outputs, jacobian = self._derived(x)
        if outputs.shape != y.shape:
            raise ShapeError(f"LevenbergMarquardt: outputs {outputs.shape}, targets {y.shape}")
        residuals = (y - outputs).reshape(-1)
        loss = float(np.mean(np.square(residuals)))
        if not np.isfinite(loss):
            raise NonFiniteError(f"LevenbergMarquardt: the loss is {loss}")
        before = [p.data.copy() for p in self._parameters()]
        system = _System(jacobian, residuals)
        for _ in range(TRIES):
            self._move(before, system.solved(self.damping))
            after = float(np.mean(np.square(np.asarray(self.model(x)) - y)))
            if after <= loss:
                self.damping = max(self.damping / 10, 1e-12)
                return after
            self.damping = max(self.damping * 10, 1e-9)
        self._move(before, None)
        return loss

    def _parameters(self) -> Iterator[Any]:
        for layer in self.layers:
            yield layer.weight
            if layer.bias is not None:
                yield layer.bias

    def _move(self, before: list[Array], step: Array | None) -> None:
        start = 0
        for p, old in zip(self._parameters(), before):
            p.data[...] = old if step is None else old + step[start : start + p.size].reshape(p.shape)
            start += p.size

    def _derived(self, x: Array) -> tuple[Array, Array]:
        """(the outputs, their derivative by all parameters: (n · outputs, parameters))

        Each layer's rows get zeros added whose gradient is, row by row, that of what the layer has computed.
        """
        seen: list[tuple[nn.Linear, Array, Tensor]] = []
        with _seeing(self.layers, seen):
            outputs = self.model(tensor(x))
        if [id(layer) for layer, _, _ in seen] != [id(layer) for layer in self.layers]:
            raise ArgumentError("LevenbergMarquardt: each nn.Linear is to be called once, in the order of the model's modules")
        n, count = outputs.shape
        rows = np.empty((n, count, sum(p.size for p in self._parameters())), outputs.dtype)
        for number in range(count):
            for _, _, zeros in seen:
                zeros.zero_grad()
            seed = np.zeros((n, count), outputs.dtype)
            seed[:, number] = 1
            outputs.backward(seed, retain_graph=number + 1 < count)
            start = 0
            for layer, inputs, zeros in seen:
                assert zeros.grad is not None
                each = zeros.grad.data
                weight = rows[:, number, start : start + layer.weight.size].reshape(n, *layer.weight.shape)
                np.multiply(each[:, :, None], inputs[:, None, :], out=weight)
                start += layer.weight.size
                if layer.bias is not None:
                    rows[:, number, start : start + layer.bias.size] = each
                    start += layer.bias.size
        return np.asarray(outputs), rows.reshape(n * count, -1)


class _System:
    """The equations of a step, ready for any damping."""

    def __init__(self, jacobian: Array, residuals: Array) -> None:
        self.jacobian, self.residuals = jacobian, residuals
        self.dual = jacobian.shape[0] < jacobian.shape[1]
        self.square = blas.gemm(jacobian, jacobian.T) if self.dual else blas.gemm(jacobian.T, jacobian)
        self.scale = self.square.diagonal().mean()

    def solved(self, damping: float) -> Array:
        """The step; of several, if the equations are singular, the shortest."""
        damped = self.square.copy()
        damped.reshape(-1)[:: len(damped) + 1] += damping * self.scale
        right = self.residuals if self.dual else blas.gemv(self.jacobian.T, self.residuals)
        try:
            found = lapack.solve(damped, right)
        except BlasError:
            found, _ = lapack.lstsq(damped, right)
        return blas.gemv(self.jacobian.T, found) if self.dual else found


@contextmanager
def _seeing(layers: list[nn.Linear], seen: list[tuple[nn.Linear, Array, Tensor]]) -> Iterator[None]:
    """In this block every call of a layer leaves the layer, its inputs, and the zeros that were added to its outputs."""

    def wrap(layer: nn.Linear) -> Any:
        def forward(x: Any, activation: str | None = None) -> Any:
            z = ops.linear(x, layer.weight, layer.bias)
            if z.ndim != 2:
                raise ShapeError(f"LevenbergMarquardt: a layer was given {x.shape}; it takes rows")
            zeros = tensor(np.zeros(z.shape, z.dtype), requires_grad=True)
            seen.append((layer, np.asarray(x.data), zeros))
            z = ops.add(z, zeros)
            if activation == "gelu_tanh":
                return ops.gelu(z, approximate="tanh")
            return getattr(ops, activation)(z) if activation else z

        return forward

    for layer in layers:
        layer.forward = wrap(layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
