"""Tables of vectors, positions, and dropout."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels as k
from .. import ops
from ..errors import ArgumentError, ShapeError
from ..kernels import Array
from ..tensor import Parameter
from . import init
from .module import Module

if TYPE_CHECKING:
    from numpy.random import Generator


class Embedding(Module):
    """Rows of a table by their numbers: (…) integers -> (…, embedding_dim); weight (num_embeddings, embedding_dim), normal."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, dtype: Any = np.float32,
        rng: "Generator | None" = None,
    ) -> None:  # fmt: skip
        if num_embeddings < 1 or embedding_dim < 1:
            raise ArgumentError(f"Embedding: a table of {num_embeddings} × {embedding_dim}; both must be from 1")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_idx if padding_idx is None or padding_idx >= 0 else num_embeddings + padding_idx
        self.weight = init.normal_(Parameter(np.empty((num_embeddings, embedding_dim), dtype)), rng=rng)
        if self.padding_idx is not None:
            self.weight.data[self.padding_idx] = 0

    def forward(self, indices: Any) -> Any:
        return ops.embedding(indices, self.weight, padding_idx=self.padding_idx)

    def extra_repr(self) -> str:
        return f"{self.num_embeddings}, {self.embedding_dim}"


@lru_cache(16)
def _sinusoids(dim: int, max_len: int, dtype: Any) -> Array:
    """A row for each position: sines at even places, cosines at odd ones."""
    angles = np.arange(max_len)[:, None] * np.exp(np.arange(0, dim, 2) * (-math.log(10000) / dim))
    table = np.empty((max_len, dim), dtype)
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)
    return k.keep(table)


class SinusoidalPosition(Module):
    """Adds sines and cosines of the position: (N, T, dim) -> (N, T, dim). Source: Vaswani et al. 2017, section 3.5."""

    def __init__(self, dim: int, max_len: int = 5000, dtype: Any = np.float32) -> None:
        if dim < 2 or dim % 2:
            raise ArgumentError(f"SinusoidalPosition: dim is {dim}; it must be even")
        self.dim, self.max_len, self.dtype = dim, max_len, np.dtype(dtype)

    def forward(self, x: Any) -> Any:
        if x.ndim != 3 or x.shape[1] > self.max_len or x.shape[2] != self.dim:
            raise ShapeError(f"SinusoidalPosition: input {x.shape}; it takes (N, up to {self.max_len}, {self.dim})")
        return ops.add(x, _sinusoids(self.dim, self.max_len, self.dtype)[: x.shape[1]])


class Dropout(Module):
    """In training each number is 0 with probability `p`, else multiplied by 1 / (1 - p); in use nothing happens.

    It draws from `rng`, or from the generator of `manual_seed`.
    """

    def __init__(self, p: float = 0.5, rng: "Generator | None" = None) -> None:
        if not 0 <= p <= 1:
            raise ArgumentError(f"Dropout: p is {p}; it is a probability")
        self.p, self.rng = p, rng

    def forward(self, x: Any) -> Any:
        return ops.dropout(x, p=self.p, rng=init.generator(self.rng)) if self.p and k.rely(self, "training") else x

    def extra_repr(self) -> str:
        return f"p={self.p}"
