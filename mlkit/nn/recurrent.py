"""Recurrent layers: parameters in PyTorch's names and order, series by series."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels as k
from .. import ops
from ..errors import ArgumentError, ShapeError
from ..tensor import Parameter
from . import init
from .module import Module

if TYPE_CHECKING:
    from numpy.random import Generator


class _Recurrent(Module):
    """Layers × directions; each has weight_ih_l0 (gates H, inputs), weight_hh_l0 (gates H, H), bias_ih_l0, bias_hh_l0 (gates H,).

    x is (T, N, inputs), or (N, T, inputs) with batch_first; `lengths`, (N,) integers, ends series early. The states are
    (layers × directions, N, H), zeros if not given. Returns (output, last states); the parameters start uniform within ±1/√H.
    """

    gates = 1
    states = 1

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, dtype: Any = np.float32, rng: "Generator | None" = None,
    ) -> None:  # fmt: skip
        for what, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if not isinstance(value, int | np.integer) or value < 1:
                raise ArgumentError(f"{type(self).__name__}: {what} is {value!r}; it must be a whole number from 1")
        if not 0 <= dropout <= 1:
            raise ArgumentError(f"{type(self).__name__}: dropout is {dropout}; it is a probability")
        self.input_size, self.hidden_size, self.num_layers = int(input_size), int(hidden_size), int(num_layers)
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        self.rng = rng
        bound, rows = 1 / hidden_size**0.5, self.gates * hidden_size
        for layer in range(num_layers):
            width = input_size if layer == 0 else hidden_size * (1 + bidirectional)
            for end in self._ends(layer):
                shapes = {"weight_ih": (rows, width), "weight_hh": (rows, hidden_size), "bias_ih": (rows,), "bias_hh": (rows,)}
                for name, shape in shapes.items():
                    if bias or name.startswith("weight"):
                        setattr(self, name + end, init.uniform_(Parameter(np.empty(shape, dtype)), -bound, bound, rng))

    def forward(self, x: Any, states: Any = None, lengths: Any = None) -> Any:
        if x.ndim != 3 or x.shape[2] != self.input_size or 0 in x.shape:
            order = "(N, T, " if self.batch_first else "(T, N, "
            raise ShapeError(f"{self!r}: input {x.shape}; it takes {order}{self.input_size}), not empty")
        x = ops.permute(x, 1, 0, 2) if self.batch_first else x
        time, batch, _ = x.shape
        given = self._given_states(states, batch, x.dtype)
        mask = None if lengths is None else _mask(np.asarray(lengths), time, batch, x.dtype)
        last: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and k.rely(self, "training"):
                x = ops.dropout(x, p=self.dropout, rng=init.generator(self.rng))
            outputs = []
            for reverse, end in enumerate(self._ends(layer)):
                first = tuple(state[len(last)] for state in given)
                parameters = [getattr(self, name + end, None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
                y = self._run(x, first, parameters, mask, bool(reverse))
                outputs.append(y[:time])
                last.append(tuple(y[time + i] for i in range(self.states)))
            x = outputs[0] if len(outputs) == 1 else ops.concatenate(*outputs, axis=-1)
        stacked = tuple(_stacked([state[i] for state in last]) for i in range(self.states))
        return ops.permute(x, 1, 0, 2) if self.batch_first else x, stacked if self.states > 1 else stacked[0]

    def _run(self, x: Any, first: tuple[Any, ...], parameters: list[Any], mask: Any, reverse: bool) -> Any:
        raise NotImplementedError

    def _ends(self, layer: int) -> list[str]:
        """What the names of a layer's parameters end in, direction by direction."""
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def _given_states(self, states: Any, batch: int, dtype: Any) -> tuple[Any, ...]:
        shape = self.num_layers * (1 + self.bidirectional), batch, self.hidden_size
        if states is None:
            return (k.fill(0, k.empty(shape, dtype)),) * self.states
        found = tuple(states) if self.states > 1 else (states,)
        if len(found) != self.states or any(state.shape != shape for state in found):
            raise ShapeError(f"{self!r}: states {[state.shape for state in found]}; it takes {self.states} of shape {shape}")
        return found

    def extra_repr(self) -> str:
        words = [str(self.input_size), str(self.hidden_size)]
        usual = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        return ", ".join(words + [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value])


class LSTM(_Recurrent):
    """Long short-term memory: `output, (h, c) = lstm(x, (h0, c0))`."""

    gates, states = 4, 2

    def _run(self, x: Any, first: tuple[Any, ...], parameters: list[Any], mask: Any, reverse: bool) -> Any:
        return ops.lstm(x, *first, *parameters, mask=mask, reverse=reverse)


class GRU(_Recurrent):
    """Gated recurrent unit: `output, h = gru(x, h0)`."""

    gates = 3

    def _run(self, x: Any, first: tuple[Any, ...], parameters: list[Any], mask: Any, reverse: bool) -> Any:
        return ops.gru(x, *first, *parameters, mask=mask, reverse=reverse)


class RNN(_Recurrent):
    """Elman's network: `output, h = rnn(x, h0)`, with tanh or relu."""

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, dtype: Any = np.float32,
        rng: "Generator | None" = None,
    ) -> None:  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"RNN: nonlinearity {nonlinearity!r} is neither tanh nor relu")
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, rng)

    def _run(self, x: Any, first: tuple[Any, ...], parameters: list[Any], mask: Any, reverse: bool) -> Any:
        return ops.rnn(x, *first, *parameters, mask=mask, reverse=reverse, nonlinearity=self.nonlinearity)


def _mask(lengths: Any, time: int, batch: int, dtype: Any) -> Any:
    """(T, N, 1): 1 while a series lasts, then 0."""
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise ShapeError(f"lengths {lengths.shape} of {lengths.dtype}; for this batch it takes ({batch},) integers")
    return k.call(lasting_steps, lengths, k.empty((time, batch, 1), dtype))


@k.kernel
def lasting_steps(lengths: Any, out: Any) -> None:
    """1 in the first `lengths[n]` places of column n, then 0; the lengths are checked at every call, in a plan too."""
    time = len(out)
    if lengths.size and (lengths.min() < 1 or lengths.max() > time):
        raise ArgumentError(f"a length is outside 1 … {time}: they go from {lengths.min()} to {lengths.max()}")
    np.less(np.arange(time)[:, None, None], lengths[:, None], out=out, casting="unsafe")


def _stacked(states: list[Any]) -> Any:
    return ops.concatenate(*(ops.reshape(state, 1, *state.shape) for state in states), axis=0) if states else None
