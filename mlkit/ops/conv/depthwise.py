"""Depthwise convolution, one filter for each channel: the sum of shifted images, each times its row of weights."""

from collections.abc import Iterator

import numpy as np

from ... import kernels as k
from ...blas import gemv
from ...kernels import Array
from ..activation import Activation
from ..image import Padded
from .direct import scratch
from .geometry import Block, Geometry


def convolve(g: Geometry, source: Padded, kernel: Array, bias: Array | None, activation: Activation | None) -> Array:
    """Output images (H, N, W, C); the kernel is (kernel height, kernel width, C)."""
    y = k.empty((g.out_height, g.batch, g.out_width, g.outputs), kernel.dtype)
    rows = _rows(g, kernel)
    start = None if bias is None else k.copy(bias, out=k.empty(rows.shape[2:], bias.dtype))
    for block in g.blocks():
        z = block.of(y)
        for row, tap in _taps(g):
            shifted = _shifted(g, source, block, row, tap)
            if (row, tap) == (0, 0):
                k.multiply(shifted, rows[row, tap], out=z)
            else:
                k.add(z, k.multiply(shifted, rows[row, tap]), out=z)
        if start is not None:
            k.add(z, start, out=z)
        if activation:
            activation.value(z, z)
    return y


def input_gradient(g: Geometry, dz: Padded, kernel: Array) -> Array:
    """(H, N, W, C)"""
    dx = Padded((g.height, g.batch, g.width, g.channels), *g.padding, g.planes, g.pitch, g.tail, kernel.dtype)
    k.fill(0, dx.memory)
    rows = _rows(g, kernel)
    for block in g.blocks():
        for row, tap in _taps(g):
            target = _shifted(g, dx, block, row, tap)
            k.add(target, k.multiply(block.of(dz.inside), rows[row, tap]), out=target)
    return dx.inside


def weight_gradient(g: Geometry, source: Padded, dz: Padded, out: Array) -> None:
    """(kernel height, kernel width, C) into `out`."""
    k.fill(0, out)
    for block in g.blocks():
        z = scratch(g, block, dz.memory.dtype).memory[: block.rows * g.out_width * g.channels].reshape(-1, g.channels)
        for row, tap in _taps(g):
            part = z.reshape(block.bottom - block.top, -1, g.out_width, g.channels)
            k.multiply(_shifted(g, source, block, row, tap), block.of(dz.inside), out=part)
            gemv(z.T, k.row(1, len(z), z.dtype), out=out[row, tap], beta=1.0)


def _taps(g: Geometry) -> Iterator[tuple[int, int]]:
    return ((row, tap) for row in range(g.kernel[0]) for tap in range(g.kernel[1]))


def _rows(g: Geometry, kernel: Array) -> Array:
    """The weights of each tap, repeated along a row of the output: (kernel height, kernel width, W, C)."""
    return k.copy(kernel[:, :, None], out=k.empty((*g.kernel, g.out_width, g.channels), kernel.dtype))


def _shifted(g: Geometry, images: Padded, block: Block, row: int, tap: int) -> Array:
    """The pixels that one tap meets, for one block of the output: (rows, images, W, C). Rows may end in the next row's zeros."""
    (down, across), item = g.stride, images.memory.itemsize
    plane = block.top * down + row * g.dilation[0]
    first = (plane * g.batch + block.first) * g.pitch + tap * g.dilation[1]
    shape = block.bottom - block.top, block.last - block.first, g.out_width, g.channels
    pixel = g.channels * item
    steps = down * g.batch * g.pitch * pixel, g.pitch * pixel, across * pixel, item
    return np.ndarray(shape, images.memory.dtype, images.memory, first * pixel, steps)
