"""Pooling of images: the largest number, or the mean, of each window. Along the width first, then along the height."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive
from .activation import FUSED
from .image import Padded, Pair, pair, rolled, unrolled

Primitive = tuple[Array, Backward]
Route = Callable[[Array, Padded], None]  # the gradient of the result -> that of the images
NARROW = 128  # channels up to which long rows are faster, although every other comparison is in vain
CHUNK = 65536  # numbers worked on at a time: they stay in a second-level cache


class Axis(NamedTuple):
    """The windows along one axis."""

    axis: int  # of (H, N, W, C)
    size: int
    taps: int
    step: int
    padding: int
    dilation: int
    out: int

    @property
    def parts(self) -> bool:
        """Whether every place lies in one window, and none outside."""
        return self.taps == self.step and self.out * self.step == self.size and not self.padding and self.dilation == 1

    @property
    def halves(self) -> bool:
        """Whether windows are pairs, one beside the other."""
        return self.taps == self.step == 2 and self.dilation == 1 and self.inside

    @property
    def inside(self) -> bool:
        """Whether no window reaches outside."""
        return not self.padding and self.step * (self.out - 1) + self.dilation * (self.taps - 1) < self.size

    def tap(self, source: Array, result: Array, tap: int) -> tuple[Array, Array]:
        """The places of the source that are the given tap of a window, and the results of these windows."""
        shift = tap * self.dilation - self.padding
        first = max(0, -(shift // self.step))
        last = max(first, min(self.out, (self.size - 1 - shift) // self.step + 1))
        here: list[slice] = [slice(None)] * source.ndim
        there = list(here)
        here[self.axis] = slice(first * self.step + shift, last * self.step + shift if last > first else 0, self.step)
        there[self.axis] = slice(first, last)
        return source[tuple(here)], result[tuple(there)]


@primitive
def max_pool2d(
    x: Array, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    activation: str | None = None,
) -> Primitive:  # fmt: skip
    """The largest number of each window: (N, C, H, W) -> (N, C, H', W'). Of equal ones, the first gets the gradient.

    activation is None or "relu": as that never falls, it may as well come after the pool, where there is less to do.
    """
    if activation not in (None, "relu"):
        raise ArgumentError(f"max_pool2d: activation {activation!r} is not relu")
    function = FUSED[activation] if activation else None
    down, across = _axes("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    source = Padded.lying(rolled(x))
    result = source.alike(down.out, across.out)
    result.clear_beside()
    y = result.inside
    route = (_halve if down.halves and across.halves and source.channels <= NARROW else _reduce)(down, across, source, y)
    if function:
        function.value(result.lines, result.lines)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            found = source.alike()
            route(function.gradient(rolled(dy), y, None) if function else rolled(dy), found)
            return k.into(out, unrolled(found.surrounded()))

        return (dx,)

    return unrolled(result.surrounded()), backward


@primitive
def avg_pool2d(
    x: Array, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True
) -> Primitive:
    """The mean of each window: (N, C, H, W) -> (N, C, H', W'); zeros of the padding count, if count_include_pad."""
    axes = _axes("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    down, across = axes
    share = _shares(*axes, count_include_pad, x.dtype)
    source = Padded.lying(rolled(x))
    result = source.alike(down.out, across.out)
    result.clear_beside()
    rows, y = source.inside, result.inside
    for part in _images(rows):
        middle = k.empty((down.size, y[part].shape[1], *y.shape[2:]), x.dtype)
        _combined(across, rows[part], middle, k.add, 0.0)
        _combined(down, middle, y[part], k.add, 0.0)
    k.multiply(y, share, out=y)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            each = k.multiply(rolled(dy), share)
            found = source.alike()
            found.clear_beside()
            for part in _images(rows):
                middle = k.empty((down.size, each[part].shape[1], *each.shape[2:]), x.dtype)
                _spread(down, each[part], middle)
                _spread(across, middle, found.inside[part])
            return k.into(out, unrolled(found.surrounded()))

        return (dx,)

    return unrolled(result.surrounded()), backward


@primitive
def adaptive_avg_pool2d(x: Array, output_size: Any) -> Primitive:
    """Means of `output_size` windows that share out the images evenly: (N, C, H, W) -> (N, C, H', W')."""
    if x.ndim != 4 or x.size == 0:
        raise ShapeError(f"adaptive_avg_pool2d: input {x.shape}; it takes (N, C, H, W), not empty")
    height, width = pair("adaptive_avg_pool2d: output_size", output_size, 1)
    tall, wide = _bins(x.shape[2], height), _bins(x.shape[3], width)
    source = Padded.lying(rolled(x))
    rows = source.inside
    y = k.empty((height, rows.shape[1], width, rows.shape[3]), x.dtype)
    for i, (top, bottom) in enumerate(tall):
        column = k.sum(rows[top:bottom], (0,)) if bottom - top > 1 else rows[top]
        for j, (left, right) in enumerate(wide):
            share = k.scalar(1 / ((bottom - top) * (right - left)), x.dtype)
            k.multiply(k.sum(column[:, left:right], (1,)), share, out=y[i, :, j])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            turned, gradient = rolled(dy), source.alike()
            gradient.clear_beside()
            found = gradient.inside
            apart = len(tall) * (tall[0][1] - tall[0][0]) == x.shape[2] and len(wide) * (wide[0][1] - wide[0][0]) == x.shape[3]
            if not apart:
                k.fill(0, found)
            for i, (top, bottom) in enumerate(tall):
                for j, (left, right) in enumerate(wide):
                    share = k.multiply(turned[i, :, j], k.scalar(1 / ((bottom - top) * (right - left)), x.dtype))[:, None]
                    window = found[top:bottom, :, left:right]
                    k.copy(share, out=window) if apart else k.add(window, share, out=window)
            return k.into(out, unrolled(gradient.surrounded()))

        return (dx,)

    return unrolled(y), backward


def _reduce(down: Axis, across: Axis, source: Padded, y: Array) -> Route:
    """The largest numbers into y, along the width first, then along the height."""
    rows = source.inside
    middle = k.empty((down.size, *y.shape[1:]), y.dtype)
    for part in _images(rows):
        _combined(across, rows[part], middle[part], k.maximum, -np.inf)
        _combined(down, middle[part], y[part], k.maximum, -np.inf)

    def route(dy: Array, out: Padded) -> None:
        out.clear_beside()
        for part in _images(rows):
            between = k.empty(middle[part].shape, y.dtype)
            _route(down, dy[part], middle[part], y[part], between)
            _route(across, between, rows[part], middle[part], out.inside[part])

    return route


def _halve(down: Axis, across: Axis, source: Padded, y: Array) -> Route:
    """The same for windows of 2 × 2 that part the image, in long rows.

    Neighbours along the width lie one pixel apart in memory. So two rows of all images are compared with themselves, one
    pixel on: twice as many comparisons as are wanted, but in rows of thousands of numbers, not of one pixel's channels.
    What stands at odd pixels, or beside the images, is not looked at.
    """
    rows, pixel, width = source.lines, source.channels, source.pitch * source.channels
    count = min(rows.shape[1], max(1, k.grain(CHUNK) // (2 * width)))
    lines = min(down.out, max(1, k.grain(CHUNK) // (2 * width * count)))  # of the result, at a time

    def parts() -> Iterator[tuple[slice, slice]]:
        """Some lines of the result, and some images."""
        for first in range(0, rows.shape[1], count):
            for line in range(0, down.out, lines):
                yield slice(line, min(line + lines, down.out)), slice(first, min(first + count, rows.shape[1]))

    def pairs(lines: Array, part: tuple[slice, slice]) -> Array:
        """The two lines above each of the result, flat: (lines, 2, numbers)."""
        line, images = part
        return lines[2 * line.start : 2 * line.stop, images].reshape(line.stop - line.start, 2, -1)

    def even(flat: Array) -> Array:
        """The pixels that windows begin at."""
        first = source.left
        return flat.reshape(len(flat), -1, source.pitch, pixel)[:, :, first : first + 2 * across.out : 2]

    for part in parts():
        two = pairs(rows, part)
        found, length = len(two), two.shape[2]
        if found > 1 and length < k.BUFFER and two.flags.c_contiguous:  # short lines: each is compared with the next, all at once
            flat, apart = two.reshape(-1), 2 * length
            tall = k.maximum(flat[:-length], flat[length:])
        else:
            tall, apart = k.maximum(two[:, 0], two[:, 1]).reshape(-1), length
        whole = k.empty((found, apart), y.dtype)
        k.maximum(tall[:-pixel], tall[pixel:], out=whole.reshape(-1)[: tall.size - pixel])
        k.copy(even(whole[:, :length]), out=y[part])

    def route(dy: Array, out: Padded) -> None:
        k.fill(0, out.lines[2 * down.out :])
        each: Array | None = None  # a result's gradient at its first pixel, 0 at odd ones
        for part in parts():
            two, found = pairs(rows, part), pairs(out.lines, part)
            if each is None or each.shape != (len(two), two.shape[2]):
                each = k.fill(0, k.empty((len(two), two.shape[2]), y.dtype))
            k.copy(dy[part], out=even(each))
            left, right, first = two[..., :-pixel], two[..., pixel:], each[:, :-pixel]
            k.fill(0, found[..., -pixel:])
            here, there = found[..., :-pixel], found[..., pixel:]
            wide = k.maximum(left, right)
            k.multiply(first, k.greater(wide[:, 1], wide[:, 0]), out=here[:, 1])
            k.subtract(first, here[:, 1], out=here[:, 0])
            moved = k.multiply(here, k.greater(right, left))
            k.subtract(here, moved, out=here)
            k.add(there, moved, out=there)

    return route


def _combined(along: Axis, source: Array, result: Array, combine: Callable[..., Array], start: float) -> None:
    """The taps of each window, combined two by two; `start` where none is inside."""
    if not along.inside:
        k.fill(start, result)
    for tap in range(along.taps):
        here, there = along.tap(source, result, tap)
        if along.inside and tap == 0:
            first = here
            if along.taps == 1:
                k.copy(first, out=there)
        elif there.size:
            combine(first if along.inside and tap == 1 else there, here, out=there)


def _route(along: Axis, gradient: Array, source: Array, result: Array, out: Array) -> None:
    """The gradient of each window to the first tap that equals its result."""
    if along.taps == 1 and along.parts:
        k.copy(gradient, out=out)
        return
    if not along.parts:
        k.fill(0, out)
    waiting = k.copy(gradient)
    for tap in range(along.taps):
        here, there = along.tap(source, result, tap)
        if not there.size:
            continue
        _, left = along.tap(source, waiting, tap)
        target, _ = along.tap(out, result, tap)
        if along.parts and tap == along.taps - 1:
            k.copy(left, out=target)
            continue
        part = k.multiply(left, k.equal(here, there), out=target if along.parts else None)
        k.subtract(left, part, out=left)
        if not along.parts:
            k.add(target, part, out=target)


def _spread(along: Axis, gradient: Array, out: Array) -> None:
    """Each window's gradient to all of its taps."""
    if not along.parts:
        k.fill(0, out)
    for tap in range(along.taps):
        target, there = along.tap(out, gradient, tap)
        if along.parts:
            k.copy(there, out=target)
        elif there.size:
            k.add(target, there, out=target)


def _shares(down: Axis, across: Axis, include_padding: bool, dtype: Any) -> Array:
    """One over the number of places that count in each window: (H', 1, W', 1), or one number if all are alike."""
    counts = []
    for along in (down, across):
        starts = np.arange(along.out) * along.step - along.padding
        low, high = (-along.padding, along.size + along.padding) if include_padding else (0, along.size)
        counts.append(np.minimum(starts + along.taps, high) - np.maximum(starts, low))
    table = 1 / (counts[0][:, None] * counts[1])
    if (table == table[0, 0]).all():
        return k.scalar(float(table[0, 0]), dtype)
    return k.keep(table[:, None, :, None].astype(dtype))


def _images(rows: Array) -> Iterator[tuple[slice, slice]]:
    """The images, some at a time."""
    step = max(1, k.grain(CHUNK) * rows.shape[1] // max(1, rows.size))
    return ((slice(None), slice(first, first + step)) for first in range(0, rows.shape[1], step))


def _bins(size: int, count: int) -> list[Pair]:
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _axes(name: str, x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> tuple[Axis, Axis]:
    if x.ndim != 4:
        raise ShapeError(f"{name}: input {x.shape}; it takes (N, C, H, W)")
    kernels = pair(f"{name}: kernel_size", kernel, 1)
    pairs = zip(
        (0, 2), x.shape[2:], kernels, kernels if stride is None else pair(f"{name}: stride", stride, 1),
        pair(f"{name}: padding", padding, 0), pair(f"{name}: dilation", dilation, 1),
    )  # fmt: skip
    down, across = (_axis(name, *numbers, ceil=ceil) for numbers in pairs)
    return down, across


def _axis(name: str, axis: int, size: int, taps: int, step: int, padding: int, dilation: int, *, ceil: bool) -> Axis:
    if 2 * padding > taps:
        raise ArgumentError(f"{name}: padding {padding} is more than half of the window, {taps}")
    room = size + 2 * padding - dilation * (taps - 1) - 1
    out = (-(-room // step) if ceil else room // step) + 1
    if ceil and (out - 1) * step >= size + padding:
        out -= 1  # the last window must begin inside
    if out < 1:
        raise ShapeError(f"{name}: a window of {dilation * (taps - 1) + 1} does not fit in {size} with padding {padding}")
    return Axis(axis, size, taps, step, padding, dilation, out)
