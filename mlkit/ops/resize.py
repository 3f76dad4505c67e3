"""Images made larger: padding and upsampling."""

from functools import lru_cache
from typing import Any

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive
from .image import pair, rolled, unrolled

Primitive = tuple[Array, Backward]
MODES = ("constant", "reflect", "replicate", "circular")


@primitive
def pad(x: Array, padding: Any, mode: str = "constant", value: float = 0.0) -> Primitive:
    """`x` with more around its last axes; padding is (left, right, top, bottom, …), the last axis first, as in PyTorch.

    mode "constant" writes `value`, "reflect" mirrors without the edge, "replicate" repeats the edge, "circular" goes round.
    Negative numbers cut off.
    """
    pairs = _pairs(x, padding, mode)
    if mode != "constant":
        return _gathered(x, pairs, mode)
    shape = tuple(n + low + high for n, (low, high) in zip(x.shape, pairs))
    if min(shape) < 0:
        raise ShapeError(f"pad: {tuple(padding)} cuts off more than {x.shape} has")
    inside = tuple(slice(max(0, low), n - max(0, high)) for n, (low, high) in zip(shape, pairs))
    kept = tuple(slice(max(0, -low), n - max(0, -high)) for n, (low, high) in zip(x.shape, pairs))
    y = _like(x, shape)
    k.fill(value, y)
    k.copy(x[kept], out=y[inside])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            out = k.fill(0, k.like(x) if out is None else out)
            k.copy(dy[inside], out=out[kept])
            return out

        return (dx,)

    return y, backward


@primitive
def upsample(x: Array, scale_factor: Any = 2, mode: str = "nearest", align_corners: bool = False) -> Primitive:
    """(N, C, H, W) -> (N, C, H s, W s), s a whole number or two: pixels repeated, or "bilinear" between their neighbours."""
    if x.ndim != 4 or x.size == 0:
        raise ShapeError(f"upsample: input {x.shape}; it takes (N, C, H, W), not empty")
    scales = pair("upsample: scale_factor", scale_factor, 1)
    if mode not in ("nearest", "bilinear"):
        raise ArgumentError(f"upsample: mode {mode!r} is neither nearest nor bilinear")
    rows = rolled(x)
    tables = [_sources(n, s, mode, align_corners) for n, s in zip(x.shape[2:], scales)]
    y = _resized(_resized(rows, 0, tables[0]), 2, tables[1])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            found = unrolled(_folded(_folded(rolled(dy), 2, tables[1], x.shape[3]), 0, tables[0], x.shape[2]))
            return k.into(out, found)

        return (dx,)

    return unrolled(y), backward


Source = tuple[int, int, float]  # of one pixel: the one before, the one after, what the latter counts


@lru_cache(256)
def _sources(size: int, scale: int, mode: str, align_corners: bool) -> tuple[Source, ...]:
    """What each pixel of the larger axis is made of."""
    if mode == "nearest":
        return tuple((i // scale, i // scale, 0.0) for i in range(size * scale))
    found = []
    for i in range(size * scale):
        place = i * (size - 1) / max(1, size * scale - 1) if align_corners else max(0.0, (i + 0.5) / scale - 0.5)
        before = min(int(place), size - 1)
        found.append((before, min(before + 1, size - 1), place - before))
    return tuple(found)


def _resized(rows: Array, axis: int, table: tuple[Source, ...]) -> Array:
    y = k.empty((*rows.shape[:axis], len(table), *rows.shape[axis + 1 :]), rows.dtype)
    for i, (before, after, share) in enumerate(table):
        target = _at(y, axis, i)
        if share:
            k.multiply(_at(rows, axis, before), k.scalar(1 - share, rows.dtype), out=target)
            k.add(target, k.multiply(_at(rows, axis, after), k.scalar(share, rows.dtype)), out=target)
        else:
            k.copy(_at(rows, axis, before), out=target)
    return y


def _folded(rows: Array, axis: int, table: tuple[Source, ...], size: int) -> Array:
    """The transpose of `_resized`."""
    dx = k.fill(0, k.empty((*rows.shape[:axis], size, *rows.shape[axis + 1 :]), rows.dtype))
    for i, (before, after, share) in enumerate(table):
        for place, part in ((before, 1 - share), (after, share)):
            if part:
                target, source = _at(dx, axis, place), _at(rows, axis, i)
                k.add(target, source if part == 1 else k.multiply(source, k.scalar(part, rows.dtype)), out=target)
    return dx


def _at(x: Array, axis: int, place: int) -> Array:
    return x[(slice(None),) * axis + (place,)]


def _gathered(x: Array, pairs: list[tuple[int, int]], mode: str) -> Primitive:
    """Axis by axis, each new place a copy of an old one."""
    axes = [(axis, low, high) for axis, (low, high) in enumerate(pairs) if low or high]
    tables = [tuple((place, place, 0.0) for place in _places(x.shape[axis], low, high, mode)) for axis, low, high in axes]
    y = x
    for (axis, _, _), table in zip(axes, tables):
        y = _resized(y, axis, table)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            found = dy
            for (axis, _, _), table in zip(axes[::-1], tables[::-1]):
                found = _folded(found, axis, table, x.shape[axis])
            return k.into(out, found)

        return (dx,)

    return y, backward


def _places(size: int, low: int, high: int, mode: str) -> list[int]:
    most = {"reflect": size - 1, "circular": size}.get(mode)
    if min(low, high) < 0 or (most is not None and max(low, high) > most) or size == 0:
        raise ShapeError(f"pad: {low} and {high} with mode {mode!r} for an axis of {size}")
    wanted = range(-low, size + high)
    if mode == "replicate":
        return [min(max(i, 0), size - 1) for i in wanted]
    if mode == "circular":
        return [i % size for i in wanted]
    return [size - 1 - abs(size - 1 - abs(i)) for i in wanted]


def _pairs(x: Array, padding: Any, mode: str) -> list[tuple[int, int]]:
    """(before, after) for each axis."""
    numbers = tuple(padding)
    if len(numbers) % 2 or len(numbers) > 2 * x.ndim or not all(isinstance(n, int | np.integer) for n in numbers):
        raise ArgumentError(f"pad: padding {padding!r} for shape {x.shape}: it takes two whole numbers for each of the last axes")
    if mode not in MODES:
        raise ArgumentError(f"pad: mode {mode!r} is none of {', '.join(MODES)}")
    found = [(0, 0)] * x.ndim
    for i in range(len(numbers) // 2):
        found[x.ndim - 1 - i] = int(numbers[2 * i]), int(numbers[2 * i + 1])
    return found


def _like(x: Array, shape: tuple[int, ...]) -> Array:
    """Memory of another shape, with its axes in the order of those of `x`."""
    order = k.memory_order(x)
    memory = k.empty(tuple(shape[axis] for axis in order), x.dtype)
    return memory.transpose([order.index(axis) for axis in range(x.ndim)])
