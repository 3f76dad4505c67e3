"""Convolution as products of overlapping windows: nothing is gathered, nothing is copied.

A window of adjacent pixels is a contiguous row of kernel width × C numbers. Windows that overlap cannot be the rows of
one matrix – CBLAS wants rows that do not – but every P-th of them can: one product for each kernel row and each of
P = ⌈kernel width / stride⌉ phases. Value, input gradient and weight gradient multiply the same pairs of views.
"""

from collections.abc import Iterator

from ... import kernels as k
from ...blas import gemm
from ...kernels import Array
from ..activation import Activation
from ..image import Padded
from .geometry import Block, Geometry, Run


def convolve(
    g: Geometry, source: Padded, kernel: Array, bias: Array | None, activation: Activation | None, onto: Padded | None = None
) -> Array:
    """Output images (H, N, W, outputs), added to `onto`; the kernel is (kernel height, kernel width, channels, outputs)."""
    y = onto or g.output(kernel.dtype)
    for block in g.blocks():
        z, first = room(g, block, y)
        if bias is not None:
            k.copy(bias, out=z.windows(first, block.rows * g.out_pitch, 1, 1))
        for run, windows, pixels in pairs(g, source, block, z, first):
            begun = onto or bias is not None or run is not g.runs[0]
            gemm(windows, taps(kernel, run), out=pixels, beta=1.0 if begun else 0.0)
        finish(g, block, z, y, activation)
    return y.surrounded()


def input_gradient(g: Geometry, dz: Padded, kernel: Array) -> Array:
    """(H, N, W, channels): every product spreads over the windows that it came from. Serves any stride."""
    dx = Padded((g.height, g.batch, g.width, g.channels), *g.padding, g.planes, g.pitch, g.tail, kernel.dtype)
    k.fill(0, dx.memory)
    turned = k.copy(kernel.transpose(0, 3, 1, 2))  # (kernel height, outputs, kernel width, channels)
    for block in g.blocks():
        for run, windows, pixels in pairs(g, dx, block, dz, dz.base + g.offset(block)):
            part = turned[run.row, :, run.tap : run.tap + run.length]
            gemm(pixels, part.reshape(g.outputs, -1), out=windows, beta=1.0)
    return dx.inside


def weight_gradient(g: Geometry, source: Padded, dz: Padded, out: Array) -> None:
    """(kernel height, kernel width, channels, outputs) into `out`."""
    k.fill(0, out)
    for block in g.blocks():
        for run, windows, pixels in pairs(g, source, block, dz, dz.base + g.offset(block)):
            gemm(windows.T, pixels, out=taps(out, run), beta=1.0)


def pairs(g: Geometry, source: Padded, block: Block, target: Padded, first: int) -> Iterator[tuple[Run, Array, Array]]:
    """(run, its windows of the source, the pixels of the target that they belong to) of one block.

    `first` is the target's pixel that belongs to the first window of the block.
    """
    down, across = g.stride
    count = block.rows * g.out_pitch
    for run in g.runs:
        plane = down * block.top + run.row * g.dilation[0]
        corner = (plane * g.batch + block.first) * g.pitch + run.pixel
        phases = -(-run.length // across)
        for phase in range(phases):
            rows = -(-(count - phase) // phases)
            windows = source.windows(corner + across * phase, rows, across * phases, run.length)
            yield run, windows, target.windows(first + phase, rows, phases, 1)


def taps(kernel: Array, run: Run) -> Array:
    """The part of a kernel that a run multiplies: (length * channels, outputs)."""
    return kernel[run.row, run.tap : run.tap + run.length].reshape(-1, kernel.shape[-1])


def room(g: Geometry, block: Block, y: Padded) -> tuple[Padded, int]:
    """Where a block of the output is made, with the pitch of windows, and its first pixel there: in `y`, or aside."""
    if y.pitch == g.out_pitch:
        return y, y.base + g.offset(block)
    return scratch(g, block, y.memory.dtype), 0


def scratch(g: Geometry, block: Block, dtype: object) -> Padded:
    """Memory for one block of the output, with its pitch."""
    planes = block.bottom - block.top
    return Padded((planes, block.last - block.first, g.out_width, g.outputs), 0, 0, planes, g.out_pitch, 0, dtype)


def finish(g: Geometry, block: Block, z: Padded, y: Padded, activation: Activation | None) -> None:
    """`y = activation(z)` for the block that was made in z, without what lies behind its lines."""
    if z is y:
        if activation:
            pixels = y.windows(y.base + g.offset(block), block.rows * g.out_pitch, 1, 1)
            activation.value(pixels, pixels)
        y.clear_behind(slice(block.top, block.bottom), slice(block.first, block.last))
        return
    shape = block.bottom - block.top, block.last - block.first, -1
    target = block.of(y.inside).reshape(shape)
    k.copy(z.inside.reshape(shape), out=target)  # which takes lines with gaps better than other calls do
    if activation:
        activation.value(target, target)
