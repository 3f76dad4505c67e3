"""Convolution by gathering: all taps of a pixel become one row, and one product makes many pixels.

Known as im2col. It pays where windows do not overlap much – at strides –, and where the weights are larger than the images, as
at the end of a deep network for one image: they are read once.
"""

from collections.abc import Iterator

import numpy as np

from ... import kernels as k
from ...blas import gemm
from ...kernels import Array
from ..activation import Activation
from ..image import Padded
from .geometry import CACHE, Block, Geometry

FEW = 512  # pixels of the output below which gathering pays; and at least so many are gathered at a time
MANY = 2048  # pixels of the output from which it pays to multiply the zeros around it, too


def suits(g: Geometry) -> bool:
    """Whether gathering pays."""
    return g.stride != (1, 1) or g.batch * g.out_pitch * g.out_height < FEW


def seen(g: Geometry, x: Array) -> Padded:
    """The input, (H, N, W, C), with the zeros around it that windows reach: those that it has, if they are enough."""
    known = Padded.of(x)
    beyond = (g.out_width - 1) * g.stride[1] + g.reach[1] - g.width - g.padding[1]
    found = known.within(*g.padding, g.planes, known.pitch, max(0, beyond)) if known and beyond <= known.left else None
    return found or g.padded(x)


def convolve(g: Geometry, source: Padded, kernel: Array, bias: Array | None, activation: Activation | None) -> Array:
    """Output images (H, N, W, outputs); the kernel is (kernel height, kernel width, channels, outputs)."""
    y = g.output(kernel.dtype, g.batch * g.out_height * g.out_width >= MANY)
    for block, rows in _rows(g, source, y.pitch):
        pixels = _pixels(y, block)
        if bias is not None:
            k.copy(bias, out=pixels)
        gemm(rows, kernel.reshape(-1, g.outputs), out=pixels, beta=0.0 if bias is None else 1.0)
        if activation:
            activation.value(pixels, pixels)
        if bias is not None or activation:
            y.clear_behind(slice(block.top, block.bottom), slice(block.first, block.last))
    return y.surrounded()


def weight_gradient(g: Geometry, source: Padded, dz: Padded, out: Array) -> None:
    """(kernel height, kernel width, channels, outputs) into `out`."""
    for number, (block, rows) in enumerate(_rows(g, source, dz.pitch)):
        gemm(rows.T, _pixels(dz, block), out=out.reshape(-1, g.outputs), beta=float(number > 0))


def _pixels(images: Padded, block: Block) -> Array:
    """A block of the output or its gradient, with what lies behind its lines: (pixels, outputs)."""
    return images.windows(images.base + (block.top * images.batch + block.first) * images.pitch, block.rows * images.pitch, 1, 1)


def _rows(g: Geometry, source: Padded, pitch: int) -> Iterator[tuple[Block, Array]]:
    """(a block of the output, the taps of each of its pixels: (pixels, kernel height * kernel width * C)); zeros behind lines."""
    memory, item = source.memory, source.memory.itemsize
    pixel = g.channels * item
    line, plane = source.pitch * pixel, g.batch * source.pitch * pixel
    (down, across), (tall, wide) = g.stride, g.dilation
    steps = down * plane, line, across * pixel, tall * plane, wide * pixel, item
    length = g.kernel[0] * g.kernel[1] * g.channels
    for block in g.cut(max(FEW, k.grain(CACHE) // length) // pitch):
        shape = block.bottom - block.top, block.last - block.first, g.out_width, *g.kernel, g.channels
        windows = np.ndarray(shape, memory.dtype, memory, block.top * steps[0] + block.first * line, steps)
        rows = k.empty((*shape[:2], pitch, *shape[3:]), memory.dtype)
        if pitch > g.out_width:
            k.fill(0, rows[:, :, g.out_width :])
        k.copy(windows, out=rows[:, :, : g.out_width])
        yield block, rows.reshape(-1, length)
