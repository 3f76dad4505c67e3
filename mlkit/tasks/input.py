"""How what a user has – rows of numbers, pictures, … – becomes the arrays of a network: the same in training and in use."""

import io
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..data import csv_batches, read_image, read_rows
from ..data.image import SUFFIXES
from ..errors import DataError
from ..file import LARGEST as LARGEST_FILE
from ..file import read_bounded
from ..kernels import Array

BATCH = 256  # rows at a time
LARGEST = 1 << 24  # numbers of a row
NPY = b"\x93NUMPY"


class Input:
    """A subclass reads one thing, a file's content, as rows; `settings` say how, and stand in the model's file.

    DataError if one of those that it `needs`, numbers or texts, is not among them.
    """

    kind: ClassVar[str]
    needs: ClassVar[dict[str, type]] = {}
    suffixes: ClassVar[tuple[str, ...]] = ()  # of the files of a folder; all, if there are none
    field: ClassVar[str] = "text"  # what the content is called in JSON

    def __init__(self, **settings: Any) -> None:
        for name, kind in self.needs.items():
            value: Any = settings.get(name)
            if type(value) is not kind or not value or (isinstance(value, int) and not 0 < value < LARGEST):
                raise DataError(f"inputs of kind {self.kind} need {name}; it is {str(value)[:100]!r}")
        self.settings = settings

    @property
    def description(self) -> dict[str, Any]:
        """What a file says of it."""
        return {"kind": self.kind, **self.settings}

    def rows(self, content: bytes, name: str) -> Array:
        """(n, …) of a file's content."""
        raise NotImplementedError

    def parsed(self, value: Mapping[str, Any]) -> Array:
        """(n, …) of a JSON object with the content in `field`."""
        if set(value) != {self.field} or not isinstance(value[self.field], str):
            raise DataError(f'a request is {{"{self.field}": "…"}}, or the content of a file; it has {", ".join(value)[:100]}')
        return self.rows(value[self.field].encode(), "the request")

    def files(self, path: str) -> Iterator[tuple[str, Array]]:
        """(name, rows) of a file, or of each file of a folder."""
        whole = Path(path)
        if not whole.is_dir():
            yield path, self.rows(read_bounded(whole), path)
            return
        found = sorted(
            part for part in whole.rglob("*") if part.is_file() and (part.suffix.lower() in self.suffixes or not self.suffixes)
        )
        if not found:
            raise DataError(f"{path} has no files to read")
        for part in found:
            yield os.fspath(part), self.rows(read_bounded(part), os.fspath(part))

    def stream(self, file: Any, name: str) -> Iterator[tuple[str, Array]]:
        """The same of an open file: one thing, unless it comes in lines."""
        content = file.buffer.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise DataError(f"{name} has more than {LARGEST_FILE} bytes, which is as much as is read")
        yield name, self.rows(content, name)


class Numbers(Input):
    """Rows of numbers from CSV, NumPy's and IDX files: of `shape`, if that is given, divided by `scale`."""

    kind = "numbers"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        shape, scale = settings.get("shape", [1]), settings.get("scale", 1)
        fit = isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape) and math.prod(shape) < LARGEST
        if not fit or not isinstance(scale, int | float) or not math.isfinite(scale) or not scale:
            raise DataError(f"inputs of kind {self.kind} cannot have shape {str(shape)[:100]}, scale {str(scale)[:100]}")

    def rows(self, content: bytes, name: str) -> Array:
        return self.checked(_read(content, name), name)

    def parsed(self, value: Mapping[str, Any]) -> Array:
        try:
            rows = np.array(value["rows"], np.float32)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f'a request is {{"rows": [[number, …], …]}}; this one is not: {error}') from None
        return self.checked(rows, "the request")

    def files(self, path: str) -> Iterator[tuple[str, Array]]:
        whole = read_rows(path)
        for start in range(0, len(whole), BATCH):
            yield path, self.checked(whole[start : start + BATCH], path)

    def stream(self, file: Any, name: str) -> Iterator[tuple[str, Array]]:
        for part in csv_batches(file, name, 1 if file.isatty() else BATCH):
            yield name, self.checked(part, name)

    def checked(self, rows: Array, name: str) -> Array:
        """Rows of as many finite numbers as the model takes, in its shape, scaled."""
        shape, scale = tuple(self.settings.get("shape", rows.shape[1:])), self.settings.get("scale", 1)
        size = rows[0].size if rows.ndim and len(rows) else 0
        if not size or size != math.prod(shape):
            raise DataError(f"{name} has {size} numbers in a row; the model takes {math.prod(shape)}, as {shape}")
        if not np.isfinite(rows).all():
            raise DataError(f"{name} has numbers that are not finite")
        found: Array = (rows.reshape(-1, *shape) / scale).astype(np.float32)
        return found


class Pictures(Numbers):
    """PNG, JPEG, … files, scaled to (channels, height, width) = `shape`; and rows of numbers as `Numbers` has them.

    `ground` is what lies behind the things in the pictures learned from, 0 for black: a picture on light ground is inverted.
    """

    kind = "pictures"
    needs: ClassVar[dict[str, type]] = {"shape": list}
    suffixes = SUFFIXES

    def rows(self, content: bytes, name: str) -> Array:
        if content.startswith(NPY) or content[:1] in b"0123456789+-.":
            return super().rows(content, name)
        channels, height, width = self.settings["shape"]
        picture = read_image(content, (height, width), channels)
        edge = np.concatenate([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], axis=1)
        if self.settings.get("ground") == 0 and edge.mean() > 0.5:
            picture = 1 - picture
        return picture[None]

    def files(self, path: str) -> Iterator[tuple[str, Array]]:
        if os.path.isdir(path) or path.lower().endswith(SUFFIXES):
            yield from Input.files(self, path)
        else:
            yield from super().files(path)


def _read(content: bytes, name: str) -> Array:
    """The rows of CSV text or of a .npy file's content."""
    try:
        if content.startswith(NPY):
            return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
        parts = list(csv_batches(io.StringIO(content.decode()), name, 4096))
    except (ValueError, EOFError) as error:
        raise DataError(f"{name} is neither CSV nor a .npy file: {error}") from error
    if not parts:
        raise DataError(f"{name} has no rows")
    return np.concatenate(parts)
