"""Whole-vector updates in blocks that stay in cache."""

from collections.abc import Iterator

from .. import kernels as k
from ..kernels import Array

BLOCK = 32768  # elements; the five vectors of Adam's blocks together fill a second-level cache


def cut(*vectors: Array) -> Iterator[tuple[Array, ...]]:
    """The vectors in blocks, and with each a scratch block."""
    size = vectors[0].size
    scratch = k.aligned(min(BLOCK, size), vectors[0].dtype)
    for start in range(0, size, BLOCK):
        part = slice(start, min(start + BLOCK, size))
        yield *(vector[part] for vector in vectors), scratch[: part.stop - start]
