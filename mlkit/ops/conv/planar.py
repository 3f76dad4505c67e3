"""Convolution of images with few channels: the taps are gathered, each a shifted copy of a whole plane.

With three channels a window is too short a row for a fast product. Gathered, all taps of a pixel make one column of
kernel height × kernel width × C numbers, and the copies are of whole planes. For strides of 1.
"""

from collections.abc import Iterator

import numpy as np

from ... import kernels as k
from ...blas import gemm
from ...kernels import Array
from ..activation import Activation
from ..image import Padded
from .direct import finish, room
from .geometry import Block, Geometry

FEW = 16  # kernel width × channels up to which gathering pays


def suits(g: Geometry) -> bool:
    """Whether gathering is possible, and pays."""
    return g.stride == (1, 1) and g.kernel[1] * g.channels <= FEW and g.kernel != (1, 1)


def padded(g: Geometry, x: Array) -> Padded:
    """The input, (C, H, N, W), each channel an image of its own with zeros around it: planes channel by channel."""
    planes, (top, left) = g.channels * g.planes, g.padding
    padded = Padded((planes, g.batch, g.width, 1), 0, left, planes, g.pitch, g.tail, x.dtype)
    k.fill(0, padded.memory)
    k.copy(x, out=padded.inside.reshape(g.channels, g.planes, g.batch, g.width)[:, top : top + g.height])
    return padded


def convolve(g: Geometry, source: Padded, kernel: Array, bias: Array | None, activation: Activation | None) -> Array:
    """Output images (H, N, W, outputs); the kernel is (kernel height, kernel width, channels, outputs)."""
    y = g.output(kernel.dtype)
    flat = kernel.reshape(-1, g.outputs)
    if bias is not None:  # the weight of one tap more, which is always one
        flat = k.empty((len(flat) + 1, g.outputs), kernel.dtype)
        k.copy(kernel.reshape(-1, g.outputs), out=flat[:-1])
        k.copy(bias, out=flat[-1])
    for block, columns in _gathered(g, source, len(flat)):
        z, first = room(g, block, y)
        gemm(columns.T, flat, out=z.windows(first, columns.shape[1], 1, 1))
        finish(g, block, z, y, activation)
    return y.surrounded()


def weight_gradient(g: Geometry, source: Padded, dz: Padded, out: Array) -> None:
    """(kernel height, kernel width, channels, outputs) into `out`."""
    flat = k.fill(0, out).reshape(-1, g.outputs)
    for block, columns in _gathered(g, source, len(flat)):
        pixels = dz.windows(dz.base + g.offset(block), columns.shape[1], 1, 1)
        gemm(columns, pixels, out=flat, beta=1.0)


def _gathered(g: Geometry, source: Padded, count: int) -> Iterator[tuple[Block, Array]]:
    """(block, its columns): (count, pixels), the taps – kernel height * kernel width * C –, then a one if there is room."""
    memory, item = source.memory, source.memory.itemsize
    plane = g.batch * g.pitch * item
    steps = g.dilation[0] * plane, g.dilation[1] * item, g.planes * plane, item
    taps = g.kernel[0] * g.kernel[1] * g.channels
    for block in g.blocks(taps + g.outputs):
        shape = *g.kernel, g.channels, block.rows * g.out_pitch
        windows = np.ndarray(shape, memory.dtype, memory, g.offset(block) * item, steps)
        columns = k.empty((count, shape[-1]), memory.dtype)
        k.copy(windows, out=columns[:taps].reshape(shape))
        if taps < count:
            k.fill(1, columns[taps:])
        yield block, columns
