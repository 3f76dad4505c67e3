"""The sizes of one convolution, and the blocks in which it is computed."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from ... import kernels as k
from ...errors import ShapeError
from ...kernels import Array
from ..image import Padded, Pair, kept, shares

CACHE = 131072  # elements of input and output that are worked on at a time: they stay in a second-level cache
PRODUCT = 1_000_000  # multiplications of one product: up to so many, OpenBLAS's AVX-512 kernels need not pack


class Block(NamedTuple):
    """Some rows of the output: planes `top` … `bottom`, images `first` … `last`; contiguous in memory."""

    top: int
    bottom: int
    first: int
    last: int

    @property
    def rows(self) -> int:
        return (self.bottom - self.top) * (self.last - self.first)

    def of(self, images: Array) -> Array:
        """This part of images (H, N, W, C)."""
        return images[self.top : self.bottom, self.first : self.last]


class Run(NamedTuple):
    """Adjacent taps of one kernel row: the row, the first tap, how many, and where they lie beside the window's start."""

    row: int
    tap: int
    length: int
    pixel: int  # from the first pixel of the window, in its plane


class Geometry:
    """A convolution of images (N, C, H, W) with a weight (outputs, C, kernel height, kernel width)."""

    def __init__(
        self, batch: int, channels: int, size: Pair, outputs: int, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
    ) -> None:
        self.batch, self.channels, self.outputs = batch, channels, outputs
        self.height, self.width = size
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation
        self.reach = tuple((taps - 1) * gap + 1 for taps, gap in zip(kernel, dilation))
        self.out_height, self.out_width = (
            (n + 2 * pad - reach) // step + 1 for n, pad, reach, step in zip(size, padding, self.reach, stride)
        )
        if self.out_height < 1 or self.out_width < 1:
            raise ShapeError(
                f"images of {self.height}×{self.width} with padding {padding} are smaller than the kernel, "
                f"{kernel[0]}×{kernel[1]} with dilation {dilation}"
            )
        step = stride[1]
        self.out_pitch = -(-max(self.width + padding[1], step * self.out_width) // step)
        self.pitch = step * self.out_pitch
        self.planes = self.height + 2 * padding[0]
        self.tail = max(0, self.reach[1] - step)
        if dilation[1] == 1:
            self.runs = [Run(row, 0, kernel[1], 0) for row in range(kernel[0])]
        else:
            self.runs = [Run(row, tap, 1, tap * dilation[1]) for row in range(kernel[0]) for tap in range(kernel[1])]

    def padded(self, x: Array, planes: int = 0) -> Padded:
        """The input, (H, N, W, C), with zeros around it, and at least so many planes."""
        return Padded.around(x, *self.padding, max(planes, self.planes), self.pitch, self.tail)

    def output(self, dtype: object, surrounded: bool = True) -> Padded:
        """Memory for the output, with the zeros around it that such a convolution wants next, if lines have room."""
        top, left = kept(self.out_height, self.out_width, *self.padding)
        if not surrounded or self.out_width + left != self.out_pitch:
            top = left = 0
        y = Padded.room((self.out_height, self.batch, self.out_width, self.outputs), top, left, dtype)
        y.clear_before()
        return y

    @property
    def turned(self) -> "Geometry | None":
        """The convolution that makes the gradient of the input from that of the output, by the kernel turned round.

        It reads the output's gradient with the same pitch. None where that is no plain convolution.
        """
        back = tuple(reach - 1 - pad for reach, pad in zip(self.reach, self.padding))
        if self.stride != (1, 1) or min(back) < 0:
            return None
        size, padding = (self.out_height, self.out_width), (back[0], back[1])
        return geometry(self.batch, self.outputs, size, self.channels, self.kernel, (1, 1), padding, self.dilation)

    def offset(self, block: Block) -> int:
        """The first pixel of a block in images of the output's pitch."""
        return (block.top * self.batch + block.first) * self.out_pitch

    def blocks(self, depth: int = 0) -> Iterator[Block]:
        """The output, cut so that what is at hand – `depth` numbers for each pixel – stays in the cache, and products are small."""
        length = self.runs[0].length
        phases, fit = -(-length // self.stride[1]), k.grain(CACHE) // (depth or self.channels + self.outputs)
        small = phases * (k.grain(PRODUCT) // (length * self.channels * self.outputs))
        rows = max(256, min(small, fit) if small >= 64 * phases else max(fit, 1024))
        return self.cut(rows // self.out_pitch, self.stride[0] == 1)

    def cut(self, lines: int, several: bool = True) -> Iterator[Block]:
        """The output in blocks of about so many lines: some planes – one, if several will not do –, or some images of one."""
        if lines >= self.batch:
            planes = lines // self.batch if several else 1
            for top in range(0, self.out_height, planes):
                yield Block(top, min(top + planes, self.out_height), 0, self.batch)
            return
        chunks = -(-self.batch // max(1, lines))
        for images in shares(self.batch, chunks):
            for top in range(self.out_height):
                yield Block(top, top + 1, images.start, images.stop)


geometry = lru_cache(512)(Geometry)
