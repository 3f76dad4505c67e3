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
from .direct import base, finish, scratch
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
    y = k.empty((g.out_height, g.batch, g.out_width, g.outputs), kernel.dtype)
    flat = kernel.reshape(-1, g.outputs)
    for block, columns in _gathered(g, source):
        z = scratch(g, block, kernel.dtype)
        pixels = z.memory.reshape(-1, g.outputs)
        if bias is not None:
            k.copy(bias, out=pixels)
        gemm(columns.T, flat, out=pixels, beta=0.0 if bias is None else 1.0)
        finish(z.inside, block.of(y), activation)
    return y


def weight_gradient(g: Geometry, source: Padded, dz: Padded, out: Array) -> None:
    """(kernel height, kernel width, channels, outputs) into `out`."""
    flat = k.fill(0, out).reshape(-1, g.outputs)
    for block, columns in _gathered(g, source):
        pixels = dz.windows(base(dz) + g.offset(block), columns.shape[1], 1, 1)
        gemm(columns, pixels, out=flat, beta=1.0)


def _gathered(g: Geometry, source: Padded) -> Iterator[tuple[Block, Array]]:
    """(block, its columns): (kernel height * kernel width * C, pixels)."""
    memory, item = source.memory, source.memory.itemsize
    plane = g.batch * g.pitch * item
    steps = g.dilation[0] * plane, g.dilation[1] * item, g.planes * plane, item
    for block in g.blocks(g.kernel[0] * g.kernel[1] * g.channels + g.outputs):
        shape = *g.kernel, g.channels, block.rows * g.out_pitch
        windows = np.ndarray(shape, memory.dtype, memory, g.offset(block) * item, steps)
        yield block, k.copy(windows).reshape(-1, shape[-1])
