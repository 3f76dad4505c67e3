"""Convolution with kernels of one pixel: each pixel times one matrix, whatever lies around it.

Zeros beside the lines of an image are multiplied with the rest, so that lines stay contiguous: the product of zeros is zeros.
Strides leave pixels out, which is done first.
"""

from ... import kernels as k
from ...blas import gemm
from ...kernels import Array
from ..activation import Activation
from ..image import Padded
from .geometry import CACHE, Geometry


def suits(g: Geometry) -> bool:
    """Whether a kernel has one pixel."""
    return g.kernel == (1, 1) and g.padding == (0, 0)


def seen(g: Geometry, x: Array) -> Padded:
    """The pixels of the input, (H, N, W, C), that are multiplied, with the zeros beside them that they have."""
    if g.stride == (1, 1):
        return Padded.lying(x)
    chosen, known = _chosen(g, x), Padded.of(x)
    found = known.alike(g.out_height, g.out_width) if known else Padded.room(chosen.shape, 0, 0, x.dtype)
    found.clear_beside()
    k.copy(chosen, out=found.inside)
    return found


def convolve(g: Geometry, source: Padded, kernel: Array, bias: Array | None, activation: Activation | None) -> Array:
    """Output images (H, N, W, outputs); the kernel is (1, 1, channels, outputs)."""
    y = source.alike(channels=g.outputs)
    rows, made = source.rows, y.rows
    step = k.grain(CACHE) // (g.channels + g.outputs) if bias is not None or activation else len(rows)
    for first in range(0, len(rows), max(1, step)):
        pixels = made[first : first + step]
        if bias is not None:
            k.copy(bias, out=pixels)
        gemm(rows[first : first + step], kernel[0, 0], out=pixels, beta=0.0 if bias is None else 1.0)
        if activation:
            activation.value(pixels, pixels)
    if bias is not None or activation:
        y.clear_beside()
    return y.surrounded()


def weight_gradient(g: Geometry, source: Padded, dz: Padded, out: Array) -> None:
    """(1, 1, channels, outputs) into `out`."""
    gemm(source.rows.T, dz.rows, out=out[0, 0])


def input_gradient(g: Geometry, dz: Padded, kernel: Array, onto: Array | None) -> Array:
    """(H, N, W, channels), added to `onto` if there is one."""
    there = None if onto is None or g.stride != (1, 1) else Padded.of(onto)
    if there is not None and there.left == dz.left:
        gemm(dz.rows, kernel[0, 0].T, out=there.rows, beta=1.0)
        return there.inside
    found = dz.alike(channels=g.channels)
    gemm(dz.rows, kernel[0, 0].T, out=found.rows)
    if onto is not None:
        chosen = _chosen(g, onto)
        k.add(chosen, found.inside, out=chosen)
        return onto
    if g.stride == (1, 1):
        return found.surrounded()
    whole = found.alike(g.height, g.width)
    k.fill(0, whole.memory)
    k.copy(found.inside, out=_chosen(g, whole.inside))
    return whole.surrounded()


def _chosen(g: Geometry, images: Array) -> Array:
    return images[:: g.stride[0], :, :: g.stride[1]]
