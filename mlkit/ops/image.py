"""Images in memory: an (N, C, H, W) array is a view of rows of pixels, one row of all images after the other.

The order in memory is (H, N, W, C): all channels of a pixel lie together, so a window of adjacent pixels is one row of a
matrix; and the same row of all images lies together, so what combines rows – a transform, a pool – runs over thousands
of contiguous numbers. Zeros to the right of a row are shared with those to the left of the next.

A convolution that pads its input leaves zeros around its output, too, and what comes behind it – a normalisation, a pool –
keeps them. So the next convolution finds its padding there, and all of them work on lines without gaps.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError
from ..kernels import Array

Pair = tuple[int, int]
Shape = tuple[int, int, int, int]
FEW = 20000  # numbers that are filled as soon as the edges around them
TILE = 4  # rows that a fast convolution makes at a time: planes are added to fill the last
_surrounded = k.Regions()  # memory of images that are known to have zeros around them: what is known


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


def kept(height: int, width: int, top: int, left: int) -> Pair:
    """How many zeros to keep above and beside images: none, if they would be much larger with them."""
    return (top, left) if 4 * top <= height and 4 * left <= width else (0, 0)


class Known:
    """What is known of memory that `Padded.room` made: zeros lie beside the lines of the images – above and below, if `closed`."""

    def __init__(self, shape: Shape, top: int, left: int) -> None:
        self.shape, self.top, self.left, self.closed = shape, top, left, False


class Padded:
    """Images with zeros around them, in memory (planes, N, pitch, C): the first row of all images is the first plane.

    A plane has `pitch` pixels for each image; those beyond its width are zeros, and so are the planes above and below
    and `tail` pixels behind the last. `top` planes and `left` pixels lie before the first pixel of an image.
    """

    known: Known | None = None

    def __init__(
        self, shape: Shape, top: int, left: int, planes: int, pitch: int, tail: int, dtype: object, memory: Array | None = None
    ) -> None:
        self.shape = self.height, self.batch, self.width, self.channels = shape
        self.top, self.left, self.planes, self.pitch = top, left, planes, pitch
        self.pixels = planes * self.batch * pitch
        self.memory = k.empty(((self.pixels + tail) * self.channels,), dtype) if memory is None else memory
        self.grid = self.memory[: self.pixels * self.channels].reshape(planes, self.batch, pitch, self.channels)

    @classmethod
    def room(cls, shape: Shape, top: int, left: int, dtype: object, memory: Array | None = None) -> "Padded":
        """Memory for images, and for the zeros around them that a convolution with such padding wants."""
        height, _, width, _ = shape
        planes = 2 * top + -(-height // TILE) * TILE if top else height
        return cls(shape, top, left, planes, width + left, 2 * left, dtype, memory)

    @classmethod
    def of(cls, x: Array) -> "Padded | None":
        """The memory around `x`, (H, N, W, C), if it is known to be zeros. It was made by `room`."""
        found = _surrounded.find(k.address(x)) if x.size else None
        if found is None:
            return None
        known, offset, memory = found
        padded = cls.room(known.shape, known.top, known.left, memory.dtype, memory)
        padded.known = known
        same = x.shape == known.shape and x.dtype == memory.dtype and offset == padded.base * padded.channels * x.itemsize
        return padded if same and _steps(x) == _steps(padded.inside) else None

    @classmethod
    def lying(cls, x: Array) -> "Padded":
        """`x`, (H, N, W, C), with the zeros around it that are known; else without any, contiguous."""
        return cls.of(x) or cls(x.shape, 0, 0, x.shape[0], x.shape[2], 0, x.dtype, k.dense(x).reshape(-1))

    @classmethod
    def around(cls, x: Array, top: int, left: int, planes: int, pitch: int, tail: int) -> "Padded":
        """`x`, (H, N, W, C), with zeros around it; no copy where it has them, or needs none."""
        known = cls.of(x)
        found = known and known.within(top, left, planes, pitch, tail)
        if found:
            return found
        if tail == 0 and planes == x.shape[0] and pitch == x.shape[2] and x.flags.c_contiguous:
            return cls(x.shape, 0, 0, planes, pitch, 0, x.dtype, x.reshape(-1))
        padded = cls(x.shape, top, left, planes, pitch, tail, x.dtype)
        padded.clear()
        k.copy(x, out=padded.inside)
        return padded

    def alike(self, height: int = 0, width: int = 0, channels: int = 0) -> "Padded":
        """Memory for as many images, of this size if not another is given, with such zeros around them; nothing is written."""
        shape = height or self.height, self.batch, width or self.width, channels or self.channels
        return Padded.room(shape, *kept(shape[0], shape[2], self.top, self.left), self.memory.dtype)

    def has(self, top: int, left: int, planes: int, pitch: int, tail: int) -> bool:
        """Whether there are so many zeros around the images."""
        if self.pitch != pitch or self.top < top or self.left < left:
            return False
        first = (self.top - top) * self.batch * pitch + self.left - left
        return (first + planes * self.batch * pitch + tail) * self.channels <= self.memory.size

    def within(self, top: int, left: int, planes: int, pitch: int, tail: int) -> "Padded | None":
        """The same images with fewer zeros around them, if there are so many; above and below they are written when wanted."""
        if not self.has(top, left, planes, pitch, tail):
            return None
        if self.known and not self.known.closed:
            self.close()
            self.known.closed = True
        first = ((self.top - top) * self.batch * pitch + self.left - left) * self.channels
        memory = self.memory[first : first + (planes * self.batch * pitch + tail) * self.channels]
        return Padded(self.shape, top, left, planes, pitch, tail, memory.dtype, memory)

    @property
    def base(self) -> int:
        """The first pixel of the first image."""
        return self.top * self.batch * self.pitch + self.left

    @property
    def inside(self) -> Array:
        """The images without the zeros: (H, N, W, C)."""
        return self.grid[self.top : self.top + self.height, :, self.left : self.left + self.width]

    @property
    def lines(self) -> Array:
        """The images with the zeros beside them: (H, N, pitch, C), contiguous."""
        return self.grid[self.top : self.top + self.height]

    @property
    def rows(self) -> Array:
        """A row for each pixel, those beside the images included: (H * N * pitch, C)."""
        return self.lines.reshape(-1, self.channels)

    @property
    def flow(self) -> Array:
        """The images with what lies between the end of a line and the next: (H, N, pitch, C), contiguous."""
        first = self.base * self.channels
        shape = self.height, self.batch, self.pitch, self.channels
        return self.memory[first : first + self.height * self.batch * self.pitch * self.channels].reshape(shape)

    def surrounded(self) -> Array:
        """The images, (H, N, W, C), known from now on to have zeros beside their lines. Their memory was made by `room`."""
        if self.top or self.left:
            _surrounded.add(self.memory, Known(self.shape, self.top, self.left))
        return self.inside

    def clear(self) -> None:
        """Write the zeros around the images."""
        if self.memory.size <= FEW and self.memory.size > self.height * self.batch * self.width * self.channels:
            k.fill(0, self.memory)
        else:
            self.close()
            self.clear_beside()

    def close(self) -> None:
        """Write the zeros before the first pixel, and behind the last line."""
        below = (self.top + self.height) * self.batch * self.pitch
        for part in (self.memory[: self.base * self.channels], self.memory[below * self.channels :]):
            if part.size:
                k.fill(0, part)

    def clear_beside(self) -> None:
        """Write the zeros beside the lines."""
        for part in (self.lines[:, :, : self.left], self.lines[:, :, self.left + self.width :]):
            if part.size:
                k.fill(0, part)

    def clear_before(self) -> None:
        """Write the zeros before the first line."""
        if self.left:
            k.fill(0, self.memory[(self.base - self.left) * self.channels : self.base * self.channels])

    def clear_behind(self, planes: slice, images: slice) -> None:
        """Write the zeros behind some lines, where those of the next may begin."""
        gap = self.pitch - self.width
        if gap:
            pixel = self.channels * self.memory.itemsize
            shape = planes.stop - planes.start, images.stop - images.start, gap * self.channels
            first = self.base + (planes.start * self.batch + images.start) * self.pitch + self.width
            steps = self.batch * self.pitch * pixel, self.pitch * pixel, self.memory.itemsize
            k.fill(0, np.ndarray(shape, self.memory.dtype, self.memory, first * pixel, steps))

    def windows(self, first: int, count: int, step: int, length: int) -> Array:
        """A matrix whose rows are `count` windows of `length` adjacent pixels, `step` pixels apart: (count, length * C)."""
        item = self.memory.itemsize
        pixel = self.channels * item
        shape = count, length * self.channels
        return np.ndarray(shape, self.memory.dtype, self.memory, first * pixel, (step * pixel, item))


def on_lines(function: Callable[..., Array], *arrays: Array) -> Array:
    """`function(*arrays, out)`, which is elementwise and makes zeros of zeros: those around images are kept if all have them."""
    known = [Padded.of(rolled(x)) for x in arrays if x.ndim == 4 and not x.flags.c_contiguous]
    first = known[0] if len(known) == len(arrays) else None
    if first is None or any(p is None or p.lines.shape != first.lines.shape or p.left != first.left for p in known):
        return function(*arrays, None)
    y = first.alike()
    function(*(p.lines for p in known if p), y.lines)
    return unrolled(y.surrounded())


def _steps(x: Array) -> list[int]:
    """The strides of the axes that have a second element."""
    return [step for step, size in zip(x.strides, x.shape) if size > 1]
