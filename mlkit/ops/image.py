"""Images in memory: an (N, C, H, W) array is a view of rows of pixels, one row of all images after the other.

The order in memory is (H, N, W, C): all channels of a pixel lie together, so a window of adjacent pixels is one row of a
matrix; and the same row of all images lies together, so what combines rows – a transform, a pool – runs over thousands
of contiguous numbers. Zeros to the right of a row are shared with those to the left of the next.
"""

from typing import Any

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError
from ..kernels import Array

Pair = tuple[int, int]
FEW = 20000  # numbers that are filled as soon as the edges around them


def shares(count: int, parts: int) -> list[slice]:
    """`count` things shared out evenly."""
    return [slice(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def pair(what: str, value: Any, least: int) -> Pair:
    """A whole number, meant for height and width, or two of them."""
    numbers = value if isinstance(value, tuple | list) else (value, value)
    if len(numbers) != 2 or not all(isinstance(n, int | np.integer) and n >= least for n in numbers):
        raise ArgumentError(f"{what} is {value!r}; it takes a whole number from {least}, or two")
    return int(numbers[0]), int(numbers[1])


def rolled(x: Array) -> Array:
    """An (N, C, H, W) array with its axes in the order of memory: (H, N, W, C). A view."""
    return x.transpose(2, 0, 3, 1)


def unrolled(x: Array) -> Array:
    """The reverse of `rolled`."""
    return x.transpose(1, 3, 0, 2)


class Padded:
    """Images with zeros around them, in memory (planes, N, pitch, C): the first row of all images is the first plane.

    A plane has `pitch` pixels for each image; those beyond its width are zeros, and so are the planes above and below
    and `tail` pixels behind the last. `top` planes and `left` pixels lie before the first pixel of an image.
    """

    def __init__(
        self, shape: tuple[int, int, int, int], top: int, left: int, planes: int, pitch: int, tail: int, dtype: object
    ) -> None:
        self.height, self.batch, self.width, self.channels = shape
        self.top, self.left, self.planes, self.pitch = top, left, planes, pitch
        self.pixels = planes * self.batch * pitch
        self.memory = k.empty(((self.pixels + tail) * self.channels,), dtype)
        self.grid = self.memory[: self.pixels * self.channels].reshape(planes, self.batch, pitch, self.channels)

    @classmethod
    def around(cls, x: Array, top: int, left: int, planes: int, pitch: int, tail: int) -> "Padded":
        """`x`, (H, N, W, C), with zeros around it; no copy of what needs none."""
        height, batch, width, _ = x.shape
        if tail == 0 and planes == height and pitch == width and x.flags.c_contiguous:
            same: Padded = cls.__new__(cls)
            same.height, same.batch, same.width, same.channels = x.shape
            same.top, same.left, same.planes, same.pitch, same.pixels = 0, 0, planes, pitch, height * batch * width
            same.memory, same.grid = x.reshape(-1), x
            return same
        padded = cls(x.shape, top, left, planes, pitch, tail, x.dtype)
        padded.clear()
        k.copy(x, out=padded.inside)
        return padded

    @property
    def inside(self) -> Array:
        """The images without the zeros: (H, N, W, C)."""
        return self.grid[self.top : self.top + self.height, :, self.left : self.left + self.width]

    def clear(self) -> None:
        """Write the zeros around the images."""
        if self.memory.size <= FEW:
            k.fill(0, self.memory)
            return
        below, right = self.top + self.height, self.left + self.width
        middle = self.grid[self.top : below]
        rest = self.memory[self.pixels * self.channels :]
        for part in (self.grid[: self.top], self.grid[below:], middle[:, :, : self.left], middle[:, :, right:], rest):
            if part.size:
                k.fill(0, part)

    def windows(self, first: int, count: int, step: int, length: int) -> Array:
        """A matrix whose rows are `count` windows of `length` adjacent pixels, `step` pixels apart: (count, length * C)."""
        item = self.memory.itemsize
        pixel = self.channels * item
        shape = count, length * self.channels
        return np.ndarray(shape, self.memory.dtype, self.memory, first * pixel, (step * pixel, item))
