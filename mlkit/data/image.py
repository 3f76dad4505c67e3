"""Pictures in files, by pillow, and folders of them."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from ..kernels import Array

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
MOST_PIXELS = 1 << 26  # of a picture; more is taken for an attack on the memory


def read_image(file: "str | os.PathLike[str] | bytes", size: tuple[int, int] | None = None, channels: int = 3) -> Array:
    """(channels, height, width) float32 from 0 to 1 of a picture or its content, grey if channels is 1, red green blue if 3.

    size: (height, width) that it is scaled to. It needs pillow.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ArgumentError("pictures need pillow: apt install python3-pil, or pip install pillow") from error
    if channels not in (1, 3):
        raise ArgumentError(f"read_image: channels is {channels}; it is 1 or 3")
    name = "the picture" if isinstance(file, bytes) else os.fspath(file)
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else name) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise DataError(f"{name} has {picture.width} x {picture.height} pixels; no more than {MOST_PIXELS} are read")
            found: Any = picture.convert("L" if channels == 1 else "RGB")
            if size is not None:
                found = found.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{name} is no picture that can be read: {error}") from error
    pixels: Array = np.asarray(found, np.float32) / np.float32(255)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def image_folder(
    directory: "str | os.PathLike[str]", size: tuple[int, int], channels: int = 3,
    tell: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> tuple[Array, Array, list[str]]:  # fmt: skip
    """(pictures (n, channels, height, width), (n,) class numbers, names) of a folder with a folder of pictures for each class."""
    files = files_by_class(directory, SUFFIXES)
    names = sorted(files)
    rows = [(path, number) for number, name in enumerate(names) for path in files[name]]
    pictures = np.empty((len(rows), channels, *size), np.float32)
    for place, (path, _) in enumerate(rows):
        pictures[place] = read_image(path, size, channels)
        tell(place + 1, len(rows), "reading pictures")
    return pictures, np.array([number for _, number in rows], np.int64), names


def files_by_class(directory: "str | os.PathLike[str]", suffixes: tuple[str, ...] = ()) -> dict[str, list[Path]]:
    """The files, in order, of each folder in a folder: the folders' names are the classes. DataError if there are none."""
    whole = Path(directory)
    try:
        folders = sorted(path for path in whole.iterdir() if path.is_dir() and not path.name.startswith("."))
        found = {folder.name: sorted(filter(Path.is_file, folder.iterdir())) for folder in folders}
    except OSError as error:
        raise DataError(f"{whole} cannot be read: {error.strerror}") from error
    found = {name: [file for file in files if file.suffix.lower() in suffixes or not suffixes] for name, files in found.items()}
    found = {name: files for name, files in found.items() if files}
    if not found:
        kinds = f" with {', '.join(suffixes)} files" if suffixes else ""
        raise DataError(f"{whole} has no folders{kinds}: there has to be one for each class")
    return found
