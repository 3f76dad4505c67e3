"""What is done to data before a network sees them."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import blas
from ..errors import ArgumentError, DataError, ShapeError
from ..kernels import Array


def one_hot(labels: Any, count: int | None = None, dtype: Any = np.float32) -> Array:
    """(n,) class numbers -> (n, count) with a 1 in the column of the class."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ArgumentError(f"one_hot: labels are {labels.dtype}{labels.shape}; it takes whole numbers, one for each row")
    count = int(labels.max(initial=-1)) + 1 if count is None else count
    if labels.size and not 0 <= labels.min() <= labels.max() < count:
        raise ArgumentError(f"one_hot: labels from {labels.min()} to {labels.max()}, and {count} classes")
    found: Array = np.zeros((len(labels), count), dtype)
    found[np.arange(len(labels)), labels] = 1
    return found


class Standardizer:
    """`(x - mean) / deviation` of each column, as the data that it was made from have them; a constant column is only shifted."""

    def __init__(self, x: Any) -> None:
        x = np.asarray(x)
        if not len(x):
            raise DataError("Standardizer: there are no rows to take mean and deviation from")
        self.mean = x.mean(0, dtype=np.float64).astype(x.dtype if x.dtype.kind == "f" else np.float32)
        deviation = x.std(0, dtype=np.float64)
        self.deviation = np.where(deviation > 0, deviation, 1).astype(self.mean.dtype)

    def __call__(self, x: Any) -> Array:
        """Shifted and scaled."""
        found: Array = (np.asarray(x) - self.mean) / self.deviation
        return found

    def inverse(self, x: Any) -> Array:
        """Scaled and shifted back."""
        found: Array = np.asarray(x) * self.deviation + self.mean
        return found


class PCA:
    """Rows as numbers along the directions in which the rows that it was made from vary most: `(x - mean) @ directions.T`.

    whiten: each direction has deviation 1 then. count: so many directions, by default all that there are. `inverse` goes back.
    Routine: ?gesdd of the library in force. Sources: Pearson 1901, Hotelling 1933.
    """

    def __init__(self, x: Any, count: int | None = None, whiten: bool = False) -> None:
        x = np.asarray(x)
        if x.ndim != 2 or len(x) < 2 or x.dtype.kind != "f" or (count is not None and not 1 <= count <= min(x.shape)):
            raise ShapeError(
                f"PCA: {x.dtype}{x.shape}, count {count}; it takes (n, columns) floats, n from 2, count up to the smaller"
            )
        self.mean = x.mean(0, dtype=np.float64).astype(x.dtype)
        _, s, vt = blas.lapack.svd(x - self.mean)
        kept = int((s > s[0] * np.finfo(x.dtype).eps * max(x.shape)).sum()) if count is None else count
        self.directions, self.deviation = vt[:kept], s[:kept] / np.sqrt(x.dtype.type(len(x) - 1))
        self._scale = self.deviation if whiten else np.ones(kept, x.dtype)
        self.share = np.square(s[:kept]) / np.square(s).sum()  # of the whole variance, direction by direction

    def __call__(self, x: Any) -> Array:
        """(n, columns) -> (n, directions)"""
        found: Array = blas.gemm(np.ascontiguousarray(np.asarray(x) - self.mean), self.directions.T) / self._scale
        return found

    def inverse(self, y: Any) -> Array:
        """(n, directions) -> (n, columns), what the directions that were left out had being lost."""
        found: Array = blas.gemm(np.ascontiguousarray(np.asarray(y) * self._scale), self.directions) + self.mean
        return found


def augment(images: Array, rng: np.random.Generator, flip: bool = False, shift: int = 0) -> Array:
    """(N, C, H, W) images, each mirrored with probability ½ if `flip`, and moved by up to `shift` pixels, zeros moving in.

    Shifting by `shift` is padding by it and cropping at random. New draws at every call.
    """
    if images.ndim != 4 or not 0 <= shift < min(images.shape[2:]):
        raise ShapeError(f"augment: images {images.shape}, shift {shift}; it takes (N, C, H, W), and a shift below H and W")
    found = np.zeros_like(images)
    moves = rng.integers(-shift, shift + 1, (len(images), 2))
    mirrored = rng.random(len(images)) < 0.5 if flip else np.zeros(len(images), bool)
    height, width = images.shape[2:]
    for image, new, (down, right), mirror in zip(images, found, moves, mirrored):
        seen = image[:, :, ::-1] if mirror else image
        part = seen[:, max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
        target = new[:, max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
        target[...] = part
    return found


def pad_sequences(sequences: Iterable[Any], length: int | None = None, value: float = 0) -> tuple[Array, Array]:
    """Sequences of different lengths, (t, …) each, as one array, (n, length, …), and their lengths; longer ones are cut."""
    arrays = [np.asarray(sequence) for sequence in sequences]
    if not arrays or len({array.shape[1:] for array in arrays}) > 1:
        raise ShapeError(f"pad_sequences: {len(arrays)} sequences; it takes one or more that differ in length alone")
    length = max(map(len, arrays)) if length is None else length
    found = np.full((len(arrays), length, *arrays[0].shape[1:]), value, np.result_type(*arrays))
    for row, array in zip(found, arrays):
        row[: min(len(array), length)] = array[:length]
    return found, np.array([min(len(array), length) for array in arrays])
