"""Convolution of few pixels: all taps of a pixel are gathered into one row, and one product reads the weights once.

Known as im2col. It pays where the weights are larger than the images, as at the end of a deep network for one image.
"""

from collections.abc import Iterator

import numpy as np

from ... import kernels as k
from ...blas import gemm
from ...kernels import Array
from ..activation import Activation
from ..image import Padded
from .geometry import Block, Geometry

FEW = 512  # pixels of the output, or of a plane of it where planes are worked on one by one, below which gathering pays
ROOM = 1 << 20  # numbers that are gathered at a time


def suits(g: Geometry) -> bool:
    """Whether gathering pays."""
    return g.batch * g.out_pitch * (g.out_height if g.stride[0] == 1 else 1) < FEW


def convolve(g: Geometry, source: Padded, kernel: Array, bias: Array | None, activation: Activation | None) -> Array:
    """Output images (H, N, W, outputs); the kernel is (kernel height, kernel width, channels, outputs)."""
    y = k.empty((g.out_height, g.batch, g.out_width, g.outputs), kernel.dtype)
    for block, rows in _rows(g, source):
        pixels = block.of(y).reshape(-1, g.outputs)
        if bias is not None:
            k.copy(bias, out=pixels)
        gemm(rows, kernel.reshape(-1, g.outputs), out=pixels, beta=0.0 if bias is None else 1.0)
        if activation:
            activation.value(pixels, pixels)
    return y


def weight_gradient(g: Geometry, source: Padded, dz: Padded, out: Array) -> None:
    """(kernel height, kernel width, channels, outputs) into `out`."""
    for number, (block, rows) in enumerate(_rows(g, source)):
        pixels = k.dense(block.of(dz.inside)).reshape(-1, g.outputs)
        gemm(rows.T, pixels, out=out.reshape(-1, g.outputs), beta=float(number > 0))


def _rows(g: Geometry, source: Padded) -> Iterator[tuple[Block, Array]]:
    """(some planes of the output, the taps of each of their pixels: (pixels, kernel height * kernel width * C))"""
    memory, item = source.memory, source.memory.itemsize
    pixel = g.channels * item
    row, plane = g.pitch * pixel, g.batch * g.pitch * pixel
    (down, across), (tall, wide) = g.stride, g.dilation
    steps = down * plane, row, across * pixel, tall * plane, wide * pixel, item
    length = g.kernel[0] * g.kernel[1] * g.channels
    count = max(1, ROOM // (g.batch * g.out_width * length))
    for top in range(0, g.out_height, count):
        block = Block(top, min(top + count, g.out_height), 0, g.batch)
        shape = block.bottom - top, g.batch, g.out_width, *g.kernel, g.channels
        windows = np.ndarray(shape, memory.dtype, memory, down * top * plane, steps)
        yield block, k.copy(windows).reshape(-1, length)
