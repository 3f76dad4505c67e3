"""Rows of numbers from files: CSV, NumPy's, IDX; as many at a time as one likes."""

import os
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import DataError
from ..kernels import Array
from .idx import read_idx


def read_csv(path: "str | os.PathLike[str]", header: bool | None = None) -> Array:
    """(rows, columns) float32 of a file of numbers with commas between. A first line that is no numbers is taken for a header.

    DataError, with the line, for what is no number and for rows of different lengths.
    """
    name = os.fspath(path)
    try:
        with open(name, encoding="utf-8") as lines:
            parts = list(csv_batches(lines, name, 4096, header))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{name} cannot be read: {error}") from error
    if not parts:
        raise DataError(f"{name} has no rows")
    return np.concatenate(parts)


def csv_batches(lines: Iterable[str], name: str, size: int, header: bool | None = None) -> Iterator[Array]:
    """The rows of a CSV text, `size` at a time: nothing more is held in memory."""
    width = 0
    rows: list[list[float]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = [float(cell) for cell in line.split(",")]
        except ValueError as error:
            if header or (header is None and number == 1):
                continue
            raise DataError(f"{name}, line {number}: {error}") from None
        if header and number == 1:
            continue
        if width and len(row) != width:
            raise DataError(f"{name}, line {number}: {len(row)} numbers, {width} in the lines before")
        width = len(row)
        rows.append(row)
        if len(rows) == size:
            yield np.array(rows, np.float32)
            rows = []
    if rows:
        yield np.array(rows, np.float32)


def read_rows(path: "str | os.PathLike[str]") -> Array:
    """(n, …) numbers of a CSV, .npy, .npz (its first array) or IDX file; .npy files are memory-mapped. Pickles are refused."""
    name = os.fspath(path)
    kind = name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "csv":
        return read_csv(name)
    if kind not in ("npy", "npz"):
        return read_idx(name)
    try:
        found: Any = np.load(name, mmap_mode="r" if kind == "npy" else None, allow_pickle=False)
        array = found[next(iter(found))] if kind == "npz" else found
    except (OSError, ValueError, EOFError, StopIteration, zipfile.BadZipFile) as error:
        raise DataError(f"{name} cannot be read: {error}") from error
    if not isinstance(array, np.ndarray) or not array.ndim or array.dtype.kind not in "biuf":
        raise DataError(f"{name} has no rows of numbers")
    return array
