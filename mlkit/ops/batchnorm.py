"""Batch normalisation: every channel made to have mean 0 and variance 1 over the batch."""

from collections.abc import Iterator, Sequence

import numpy as np

from .. import kernels as k
from ..blas import gemv
from ..errors import ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive
from .activation import FUSED
from .image import Padded, rolled, unrolled
from .normalize import check_channels

BLOCK = 32768  # numbers worked on at a time: they stay in a second-level cache
FEW = 65536  # numbers up to which long rows cost more to make than they save


@primitive
def batch_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, residual: Array | None = None,
    running_mean: Array | None = None, running_var: Array | None = None, training: bool = False,
    momentum: float | Array = 0.1, eps: float = 1e-5, activation: str | None = None,
) -> tuple[Array, Backward]:  # fmt: skip
    """`activation((x - mean) / sqrt(var + eps) * weight + bias + residual)`, for each channel: (N, C), (N, C, L) or (N, C, H, W).

    In training mean and variance are the batch's, and the running ones follow: `r += momentum * (batch's - r)`, with the
    unbiased variance; else, if there are running ones, they are taken. Rounding errors grow with the ratio of mean to
    deviation, as they do in x. Source: Ioffe & Szegedy 2015.
    """
    if x.ndim not in (2, 3, 4) or x.size == 0:
        raise ShapeError(f"batch_norm: input {x.shape}; it takes (N, C), (N, C, L) or (N, C, H, W), not empty")
    check_channels("batch_norm", x.shape[1], x.dtype, weight, bias)
    if residual is not None and (residual.shape != x.shape or residual.dtype != x.dtype):
        raise ShapeError(f"batch_norm: the residual is {residual.shape}, {residual.dtype}; the input {x.shape}, {x.dtype}")
    table = Table(x)
    rows, others = table.rows, None if residual is None else table.rows_of(residual)
    batch = training or running_mean is None or running_var is None
    function = FUSED[activation] if activation else None
    size = k.whole_batch(table.count)
    if batch:
        mean, var = _statistics(table)
        if training and running_mean is not None and running_var is not None:
            _follow(running_mean, mean, momentum)
            unbiased = k.multiply(var, k.scalar(size / max(1, size - 1), x.dtype))
            _follow(running_var, unbiased, momentum)
    else:
        mean, var = running_mean, running_var  # type: ignore[assignment]  # there are such
    root, both = _affine(mean, var, weight, bias, eps)
    scale = both[0]
    (y, result), longs = table.room(), table.long(both)
    for source, target, more in zip(*map(table.blocks, (rows, y, y if others is None else others))):
        k.add(k.multiply(source, longs[0], out=target), longs[1], out=target)
        if others is not None:
            k.add(target, more, out=target)
        if function:
            function.value(target, target)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        d, inverse = table.rows_of(dy), k.reciprocal(root)
        dz, before = table.room() if function else (d, dy)
        dbias, product = k.empty(rows.shape[1:], x.dtype), k.empty(rows.shape[1:], x.dtype)
        for number, (above, value, below, source) in enumerate(zip(*map(table.blocks, (d, y, dz, rows)))):
            if function:
                function.gradient(above, value, below)
            flat = -1, rows.shape[1]
            ones, beta = k.row(1, below.size // flat[1], x.dtype), float(number > 0)
            gemv(below.reshape(flat).T, ones, out=dbias, beta=beta)
            gemv(k.multiply(below, source).reshape(flat).T, ones, out=product, beta=beta)
        k.subtract(product, k.multiply(mean, dbias), out=product)

        def dx(out: Array | None) -> Array:
            found, gradient = table.room()
            share = k.scalar(-1 / size, x.dtype)
            products, dbiases = _over_batch(product, dbias) if batch else (product, dbias)
            whole, slope, rest = three = k.empty((3, x.shape[1]), x.dtype)
            k.copy(scale, out=whole)
            k.multiply(k.multiply(products, share), k.square(inverse), out=slope)
            k.subtract(k.multiply(dbiases, share), k.multiply(mean, slope), out=rest)
            longs = table.long(three)
            for source, middle, target in zip(*map(table.blocks, (dz, rows, found))):
                if batch:
                    k.add(k.multiply(middle, longs[1], out=target), longs[2], out=target)
                    source = k.add(target, source, out=target)
                k.multiply(source, longs[0], out=target)
            return k.into(out, gradient)

        return (
            dx,
            lambda out: k.multiply(product, inverse, out=out),
            lambda out: k.into(out, dbias),
            lambda out: k.into(out, before),
        )

    return result, backward


def fold(
    kernel: Array, offset: Array | None, mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array]:
    """Weight and bias of a convolution that normalises its output with the given mean and variance."""
    _, (scale, shift) = _affine(mean, var, weight, bias, eps)
    if offset is not None:
        k.add(shift, k.multiply(offset, scale), out=shift)
    turned = kernel.transpose(2, 3, 1, 0)  # in memory, the outputs lie together
    return k.multiply(turned, scale, out=k.empty(turned.shape, kernel.dtype)).transpose(3, 2, 0, 1), shift


class Table:
    """(N, C), (N, C, L) or (N, C, H, W) as a matrix with a column for each channel: images as they lie in memory.

    Where there are zeros beside the lines of an image, they are rows as others; what is added to all rows leaves them out, so
    that zeros they remain.
    """

    def __init__(self, x: Array) -> None:
        self.count, self._ndim = x.size // x.shape[1], x.ndim
        self._images = Padded.lying(_images(x))
        self.rows = self._images.rows

    def rows_of(self, x: Array) -> Array:
        """Those of another array of the same shape; a copy where it does not lie as this one does."""
        images, here = _images(x), self._images
        there = Padded.of(images)
        if there is None and not here.left:
            there = Padded.lying(images)
        if there is None or there.left != here.left:
            there = self._images.alike()
            there.clear_beside()
            k.copy(images, out=there.inside)
        return there.rows

    def room(self) -> tuple[Array, Array]:
        """(rows, the array that they make): memory for a result. All rows are to be written."""
        new = self._images.alike()
        images = new.surrounded()
        if self._ndim == 2:
            return new.rows, images[0, 0]
        return new.rows, unrolled(images) if self._ndim == 4 else unrolled(images)[:, :, 0]

    def long(self, vectors: Array) -> list[Array]:
        """Each vector, one number for each channel, repeated to a long row, with zeros where rows are no part of an image."""
        here, count = self._images, len(vectors)
        whole = k.empty((count, self._wide, here.channels), vectors.dtype)
        inside = whole.reshape(count, -1, here.pitch if here.left else 1, here.channels)
        if here.left:
            inside = k.fill(0, whole).reshape(inside.shape)[:, :, here.left :]
        k.copy(vectors[:, None, None], out=inside)
        return list(whole.reshape(count, -1))

    def blocks(self, rows: Array) -> Iterator[Array]:
        """The rows as long rows, some at a time."""
        flat = rows.reshape(-1, self._wide * self._images.channels)
        step = max(1, round(k.grain(BLOCK) / flat.shape[1]))
        return (flat[first : first + step] for first in range(0, len(flat), step))

    @property
    def _wide(self) -> int:
        """How many rows to take as one long row, beside which lies a row of numbers for each channel – that has to be made."""
        line = self._images.pitch if self._images.left else 1
        least = k.BUFFER if self.rows.size > FEW else FEW // 64
        return line * k.long_row(len(self.rows) // line, line * self._images.channels, least)


def _affine(mean: Array, var: Array, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array]:
    """(√(var + eps), (scale, shift)): the normalised x is `x * scale + shift`."""
    root = k.add(var, k.scalar(eps, var.dtype))
    root = k.sqrt(root, out=root)
    scale, shift = both = k.empty((2, *var.shape), var.dtype)
    k.reciprocal(root, out=scale) if weight is None else k.divide(weight, root, out=scale)
    k.subtract(k.row(0, len(var), var.dtype) if bias is None else bias, k.multiply(mean, scale), out=shift)
    return root, both


def _statistics(table: Table) -> tuple[Array, Array]:
    """(mean, variance), of each column."""
    rows = table.rows
    share = k.row(1 / k.whole_batch(table.count), len(rows), rows.dtype)
    mean, var = k.over_batch(gemv(rows.T, share)), k.empty(rows.shape[1:], rows.dtype)
    (long_mean,) = table.long(mean[None])
    for number, source in enumerate(table.blocks(rows)):
        centred = k.subtract(source, long_mean)
        squares = k.square(centred, out=centred).reshape(-1, rows.shape[1])
        gemv(squares.T, share[: len(squares)], out=var, beta=float(number > 0))
    return mean, k.over_batch(var)


def _over_batch(*sums: Array) -> Sequence[Array]:
    """Some sums over all parts of the batch, exchanged at once."""
    if k.whole_batch(1) == 1:
        return sums
    together = k.empty((len(sums), *sums[0].shape), sums[0].dtype)
    for one, place in zip(sums, together):
        k.copy(one, out=place)
    return list(k.over_batch(together))


def _follow(running: Array, now: Array, momentum: float | Array) -> None:
    k.call(k.followed, now, momentum if isinstance(momentum, np.ndarray) else k.scalar(momentum, now.dtype), running)


def _images(x: Array) -> Array:
    """(H, N, W, C); a matrix is a line of pixels."""
    return x[None, None] if x.ndim == 2 else rolled(x if x.ndim == 4 else x[:, :, None])
