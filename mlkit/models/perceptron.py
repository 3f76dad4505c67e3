"""Where it began: a neuron with a threshold, what it cannot do, and layers of neurons, which can."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .. import blas, nn
from ..errors import ArgumentError, ShapeError
from ..kernels import Array
from ..tensor import no_grad

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


class Perceptron(nn.Module):
    """One neuron: 1 if `x @ weight.T + bias` is above 0, else 0. Source: Rosenblatt 1958.

    `learn` follows his rule: a wrong answer adds the input to the weights, or takes it away. It ends if a line parts the
    classes, and never on XOR (Minsky & Papert 1969).
    """

    def __init__(self, inputs: int) -> None:
        self.linear = nn.Linear(inputs, 1)

    def forward(self, x: Any) -> Any:
        return self.linear(x)

    def predict(self, x: Array) -> Array:
        """0 or 1 for each row."""
        with no_grad():
            found: Array = (np.asarray(self(np.asarray(x, np.float32)))[:, 0] > 0).astype(int)
        return found

    def learn(self, x: Array, y: Array, epochs: int = 100, lr: float = 1.0) -> int:
        """Go through the rows until none is wrong; returns the number of epochs, or 0 if it was not enough."""
        if len(x) != len(y):
            raise ShapeError(f"Perceptron.learn: {len(x)} rows and {len(y)} answers")
        weight, bias = self.linear.weight.data, self.linear.bias
        for epoch in range(1, epochs + 1):
            wrong = 0
            for row, wanted in zip(x, y):
                error = int(wanted) - int(self.predict(row[None])[0])
                weight += lr * error * row
                if bias is not None:
                    bias.data += lr * error
                wrong += error != 0
            if not wrong:
                return epoch
        return 0


class MLP(nn.Sequential):
    """Dense layers of the given sizes, inputs first, with an activation between them: `MLP([784, 256, 10])`."""

    def __init__(self, sizes: Sequence[int], activation: str = "relu", dropout: float = 0.0) -> None:
        if len(sizes) < 2:
            raise ArgumentError(f"MLP: sizes is {sizes!r}; it takes the inputs, the hidden layers and the outputs")
        if activation not in ACTIVATIONS:
            raise ArgumentError(f"MLP: activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), ACTIVATIONS[activation]()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers[: -2 if dropout else -1])


def least_squares(x: Array, y: Array) -> nn.Linear:
    """The linear layer whose squared error on (n, inputs), (n, outputs) is least, in closed form: nothing is trained.

    Routine: ?gelsd of the library in force.
    """
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ShapeError(f"least_squares: {x.shape} and {y.shape}; it takes (n, inputs) and (n, outputs)")
    layer = nn.Linear(x.shape[1], y.shape[1], dtype=x.dtype)
    found, _ = blas.lapack.lstsq(np.column_stack([x, np.ones(len(x), x.dtype)]), y.astype(x.dtype))
    assert layer.bias is not None
    layer.weight.data[...], layer.bias.data[...] = found[:-1].T, found[-1]
    return layer


def xor(hidden: int = 4) -> MLP:
    """The smallest network with something to find out: two inputs, a hidden layer, one output."""
    return MLP([2, hidden, 1], "tanh")
