"""Whole-vector updates in blocks that stay in cache."""

from collections.abc import Iterator

import numpy as np

from .. import blas
from ..kernels import Array, Bound

BLOCK = 32768  # elements; the five vectors of Adam's blocks together fill a second-level cache


def cut(*vectors: Array) -> Iterator[tuple[Array, ...]]:
    """The vectors in blocks, and with each a scratch block."""
    size = vectors[0].size
    scratch = np.empty(min(BLOCK, size), vectors[0].dtype)
    for start in range(0, size, BLOCK):
        part = slice(start, min(start + BLOCK, size))
        yield *(vector[part] for vector in vectors), scratch[: part.stop - start]


def decay_and_add(y: Array, decay: Array, x: Array) -> list[Bound]:
    """`y = decay * y + x` as bound calls; decay is a 0-d array, read at each."""
    together = blas.bind_axpby(x, y, None, decay)
    return [together] if together else [(np.multiply, (y, decay, y)), (np.add, (y, x, y))]


def add_scaled(y: Array, factor: Array, x: Array) -> list[Bound]:
    """`y += factor * x` as bound calls that may overwrite x; factor is a 0-d array, read at each."""
    together = blas.bind_axpby(x, y, factor, None)
    return [together] if together else [(np.multiply, (x, factor, x)), (np.add, (y, x, y))]
