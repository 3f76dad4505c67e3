"""Layers: parameters plus one op."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ops
from ..errors import ArgumentError
from ..ops.activation import FUSED, SLOPED
from ..tensor import Parameter
from . import init
from .conv import Conv2d
from .module import Module
from .norm import BatchNorm2d
from .pool import MaxPool2d

if TYPE_CHECKING:
    from numpy.random import Generator


class Linear(Module):
    """`x @ weight.T + bias`: (…, in_features) -> (…, out_features); weight (out, in), bias (out,).

    Both start uniform within ±1/√in_features, as in PyTorch, drawn from `rng` or the generator of `manual_seed`.
    """

    activations = (*FUSED, *SLOPED)

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: Any = np.float32,
        rng: "Generator | None" = None,
    ) -> None:
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(value, int | np.integer) or value < 1:
                raise ArgumentError(f"Linear: {name} is {value!r}; it must be a whole number from 1")
        self.in_features, self.out_features = int(in_features), int(out_features)
        bound = 1 / self.in_features**0.5
        weight = Parameter(np.empty((out_features, in_features), dtype), order=(1, 0))  # OpenBLAS has faster kernels for x @ w
        self.weight = init.uniform_(weight, -bound, bound, rng)
        self.bias = init.uniform_(Parameter(np.empty(out_features, dtype)), -bound, bound, rng) if bias else None

    def forward(self, x: Any, activation: str | None = None) -> Any:
        return ops.linear(x, self.weight, self.bias, activation=activation)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Identity(Module):
    """`x`"""

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """All axes from `start_dim` on as one."""

    def __init__(self, start_dim: int = 1) -> None:
        self.start_dim = start_dim

    def forward(self, x: Any) -> Any:
        return ops.reshape(x, *x.shape[: self.start_dim], -1)


class Sequential(Module):
    """One module after another; one that can takes the activation behind it into its own op.

    A ReLU before a MaxPool2d is taken into the pool, which gives the same numbers with less work; a BatchNorm2d in use into
    the convolution before it.
    """

    def __init__(self, *layers: Module) -> None:
        for layer in layers:
            if not isinstance(layer, Module):
                raise ArgumentError(f"Sequential takes modules, not {layer!r}")
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer, norm, activation in self._fused():
            options = {"activation": activation} if activation else {}
            x = norm.after(layer, x, **options) if norm is not None else layer(x, **options)
        return x

    def _fused(self) -> Iterator[tuple[Module, BatchNorm2d | None, str | None]]:
        """The layers that are called, each with the normalisation of a convolution, and the activation that is taken in."""
        layers: list[Module | None] = [*self.layers, None, None, None]
        place = 0
        while (layer := layers[place]) is not None:
            norm = layers[place + 1]
            norm = norm if isinstance(layer, Conv2d) and isinstance(norm, BatchNorm2d) else None
            place += 1 if norm is None else 2
            following, third = layers[place : place + 2]
            fused = getattr(following, "fused", None)
            fused = fused if fused in (norm or layer).activations else None
            place += 1 if fused else 0
            if fused == "relu" and isinstance(third, MaxPool2d):
                yield layer, norm, None
                yield third, None, fused
                place += 1
            else:
                yield layer, norm, fused

    def children(self) -> Iterator[tuple[str, Module]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]
