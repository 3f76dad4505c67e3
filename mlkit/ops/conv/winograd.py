"""Convolution by Winograd's minimal filtering along the height: half the multiplications of the direct form.

F(4,3) makes four rows of a 3-tap convolution, F(2,5) two rows of a 5-tap one, from six transformed rows: the points are
0, ±1, ±2 and ∞. The transforms are sums of whole rows of pixels; the taps along the width stay windows, as in the direct
form. Sources: Winograd 1980, Lavin & Gray 2016. Relative errors are some three times those of the direct form.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ... import kernels as k
from ...blas import gemm
from ...kernels import Array, Bound
from ..activation import Activation
from ..image import Padded, shares
from .geometry import Geometry

POINTS = 6
CHUNK = 16384  # numbers of a row of pixels that are transformed at a time
FILTERS = {  # kernel height -> what each tap counts at each point
    3: [[1, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]],
    5: [[1, 0, 0, 0, 0], [-1 / 6] * 5, [-1 / 6, 1 / 6, -1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6, 1 / 3, 2 / 3],
        [1 / 24, -1 / 12, 1 / 6, -1 / 3, 2 / 3], [0, 0, 0, 0, 1]],
}  # fmt: skip


def suits(g: Geometry) -> bool:
    """Whether there is a filter for this kernel."""
    return g.kernel[0] in FILTERS and g.stride == (1, 1) and g.dilation == (1, 1)


def tile(g: Geometry) -> int:
    """Rows of the output that are made at a time."""
    return POINTS - g.kernel[0] + 1


def planes(g: Geometry) -> int:
    """Planes of the output in whole tiles."""
    return -(-g.out_height // tile(g)) * tile(g)


def convolve(
    g: Geometry, source: Padded, kernel: Array, bias: Array | None, activation: Activation | None, onto: Padded | None = None
) -> Array:
    """Output images (H, N, W, outputs), added to `onto`; the kernel is (kernel height, kernel width, channels, outputs)."""
    y = onto or g.output(kernel.dtype)
    filters = gemm(_filter(g.kernel[0], kernel.dtype), kernel.reshape(g.kernel[0], -1)).reshape(POINTS, -1, g.outputs)
    for part in _parts(g):
        rows = _transformed(g, source, part)
        z = k.empty((POINTS + 1, part.pixels(g), g.outputs), kernel.dtype)
        if bias is not None:
            k.copy(bias, out=z[1])  # what is added at the second point arrives once in every row
        for point in range(POINTS):
            for windows, pixels in _pairs(g, rows[point], z[point]):
                gemm(windows, filters[point], out=pixels, beta=1.0 if point == 1 and bias is not None else 0.0)
        planes, images = slice(part.first * tile(g), min(part.last * tile(g), g.out_height)), slice(part.left, part.right)
        made = y.flow.reshape(g.out_height, g.batch, -1)[planes, images]
        points = z.reshape(POINTS + 1, part.last - part.first, part.right - part.left, -1)
        k.call(winograd_rows, points, tile(g), bool(onto), made)
        if activation:
            flat = made.reshape(len(made), -1)
            activation.value(flat, flat)
        y.clear_behind(planes, images)
    return y.surrounded()


def weight_gradient(g: Geometry, source: Padded, dz: Padded, out: Array) -> None:
    """(kernel height, kernel width, channels, outputs) into `out`: the same filter, transposed."""
    size = tile(g)
    gradient = k.fill(0, k.empty((POINTS, g.kernel[1] * g.channels, g.outputs), dz.memory.dtype))
    for part in _parts(g):
        rows = _transformed(g, source, part)
        z = k.empty((POINTS, part.pixels(g), g.outputs), dz.memory.dtype)
        first = dz.base + (part.first * size * g.batch + part.left) * g.out_pitch
        k.call(winograd_gradient, _rows(dz, first, size, size, part), z.reshape(POINTS, part.last - part.first, -1))
        for point in range(POINTS):
            for windows, pixels in _pairs(g, rows[point], z[point]):
                gemm(windows.T, pixels, out=gradient[point], beta=1.0)
    gemm(_filter(g.kernel[0], gradient.dtype).T, gradient.reshape(POINTS, -1), out=out.reshape(g.kernel[0], -1))


@k.composite
def winograd_input(rows: Array, out: Array) -> Iterator[Bound]:
    """Six rows of pixels at the six points; behind them, zeros: (6, tiles, numbers) -> (6, tiles * numbers + rest).

    Point 0 is a quarter of the usual, which its filter makes good: so nothing but `out` is written.
    """
    r0, r1, r2, r3, r4, r5 = rows
    used = rows.shape[1] * rows.shape[2]
    v0, v1, v2, v3, v4, v5 = out[:, :used].reshape(rows.shape)
    four, quarter = k.scalar(4, out.dtype), k.scalar(0.25, out.dtype)
    yield np.multiply, (r2, four, v0)
    yield np.subtract, (r4, v0, v0)
    yield np.multiply, (r1, four, v5)
    yield np.subtract, (r3, v5, v5)
    yield np.add, (v0, v5, v1)  # r4 - 4 r2 ± (r3 - 4 r1)
    yield np.subtract, (v0, v5, v2)
    yield np.subtract, (r4, r2, v0)
    yield np.subtract, (r3, r1, v5)
    yield np.add, (v5, v5, v5)
    yield np.add, (v0, v5, v3)  # r4 - r2 ± 2 (r3 - r1)
    yield np.subtract, (v0, v5, v4)
    yield np.add, (v5, v5, v5)
    yield np.add, (v5, r3, v5)
    yield np.subtract, (r5, v5, v5)  # r5 - 5 r3 + 4 r1
    yield np.multiply, (v0, quarter, v0)
    yield np.add, (v0, r0, v0)
    yield np.subtract, (v0, r2, v0)  # (r4 - 5 r2) / 4 + r0
    if used < out.shape[1]:
        yield out[:, used:].fill, (0,)


@k.composite
def winograd_rows(points: Array, size: int, begun: bool, out: Array) -> Iterator[Bound]:
    """Rows of the output from its values at the points, which are overwritten: (7, tiles, N, pitch * C) -> (rows, N, numbers).

    They are added to what is there if that is begun.
    """
    z0, z1, z2, z3, z4, z5, t = points
    ys = [out[i::size] for i in range(size)]  # the last tile may lack rows
    even, odd, twice_even, twice_odd = z1, t, z3, z2
    yield np.subtract, (z1, z2, t)
    yield np.add, (z1, z2, z1)
    yield np.subtract, (z3, z4, z2)
    yield np.add, (z3, z4, z3)
    yield np.add, (z0, even, z0)
    yield from _added(z0, twice_even, z0, begun, ys[0])  # z0 + z1 + z2 + z3 + z4
    yield np.add, (twice_odd, twice_odd, twice_odd)
    if size == 4:
        four = k.scalar(4, out.dtype)
        yield from _added(odd, twice_odd, z0, begun, ys[1])  # z1 - z2 + 2 (z3 - z4)
        yield np.multiply, (twice_even, four, twice_even)
        yield from _added(even, twice_even, even, begun, ys[2])  # z1 + z2 + 4 (z3 + z4)
        yield np.multiply, (twice_odd, four, twice_odd)
    yield np.add, (odd, twice_odd, odd)
    yield from _added(odd, z5, odd, begun, ys[-1])  # z1 - z2 + 2 or 8 (z3 - z4) + z5


@k.composite
def winograd_gradient(rows: Array, out: Array) -> Iterator[Bound]:
    """Rows of the output's gradient at the six points: (2 or 4, tiles, numbers) -> (6, tiles, numbers)."""
    z0, z1, z2, z3, z4, z5 = out
    y0, y1 = rows[:2]
    if len(rows) == 2:
        yield np.add, (y0, y1, z1)
        yield np.subtract, (y0, y1, z2)
        yield np.add, (y1, y1, z4)
        yield np.add, (y0, z4, z3)
        yield np.subtract, (y0, z4, z4)
    else:
        four, (y2, y3) = k.scalar(4, out.dtype), rows[2:]
        yield np.add, (y0, y2, z0)
        yield np.add, (y1, y3, z5)
        yield np.add, (z0, z5, z1)  # y0 + y2 ± (y1 + y3)
        yield np.subtract, (z0, z5, z2)
        yield np.multiply, (y2, four, z0)
        yield np.add, (z0, y0, z0)
        yield np.multiply, (y3, four, z5)
        yield np.add, (z5, y1, z5)
        yield np.add, (z5, z5, z5)
        yield np.add, (z0, z5, z3)  # y0 + 4 y2 ± (2 y1 + 8 y3)
        yield np.subtract, (z0, z5, z4)
    yield np.copyto, (z0, y0)
    yield np.copyto, (z5, rows[-1])


def _added(a: Array, b: Array, aside: Array, begun: bool, out: Array) -> Iterator[Bound]:
    """`out = a + b`, as far as it goes, or `out += a + b`; aside if its lines are shorter, as a copy takes that better."""
    tiles, _, width = out.shape
    if width == a.shape[2] and not begun:
        yield np.add, (a[:tiles], b[:tiles], out)
        return
    yield np.add, (a, b, aside)
    part = aside[:tiles, :, :width]
    if begun:
        yield np.add, (out, part, out)
    else:
        yield np.copyto, (out, part)


class _Part(NamedTuple):
    """Tiles `first` … `last` of the images `left` … `right`: what is transformed at a time."""

    first: int
    last: int
    left: int
    right: int

    def pixels(self, g: Geometry) -> int:
        return (self.last - self.first) * (self.right - self.left) * g.out_pitch


def _parts(g: Geometry) -> Iterator[_Part]:
    tiles = planes(g) // tile(g)
    images = max(1, k.grain(CHUNK) // (g.pitch * max(g.channels, g.outputs)))
    if images >= g.batch:
        step = max(1, images // g.batch)
        for first in range(0, tiles, step):
            yield _Part(first, min(first + step, tiles), 0, g.batch)
        return
    chunks = -(-g.batch // images)
    for part in shares(g.batch, chunks):
        for first in range(tiles):
            yield _Part(first, first + 1, part.start, part.stop)


def _transformed(g: Geometry, source: Padded, part: _Part) -> Array:
    """The source at the points, for one part: (6, numbers), with zeros for the windows that reach behind the last row."""
    first = (part.first * tile(g) * g.batch + part.left) * g.pitch
    rows = _rows(source, first, POINTS, tile(g), part)
    size = part.pixels(g) + g.kernel[1] - 1
    return k.call(winograd_input, rows, k.empty((POINTS, size * g.channels), source.memory.dtype))


def _rows(images: Padded, first: int, count: int, step: int, part: _Part) -> Array:
    """`count` successive rows for each tile, tiles being `step` rows apart: (count, tiles, numbers)."""
    item = images.memory.itemsize
    pixel = images.channels * item
    plane = images.batch * images.pitch * pixel
    shape = count, part.last - part.first, (part.right - part.left) * images.pitch * images.channels
    return np.ndarray(shape, images.memory.dtype, images.memory, first * pixel, (plane, step * plane, item))


def _pairs(g: Geometry, rows: Array, pixels: Array) -> Iterator[tuple[Array, Array]]:
    """(windows, the pixels that they belong to), phase by phase; see `direct`."""
    phases = g.kernel[1]
    for phase in range(phases):
        target = pixels[phase::phases]
        start = phase * g.channels
        yield rows[start : start + len(target) * phases * g.channels].reshape(len(target), -1), target


@lru_cache(16)
def _filter(taps: int, dtype: Any) -> Array:
    return k.keep(np.array(FILTERS[taps], dtype))
