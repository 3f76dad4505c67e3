"""Normalisation: numbers made to have mean 0 and variance 1 – over the batch, the features, or groups of channels."""

from collections.abc import Iterator, Sequence

import numpy as np

from .. import kernels as k
from ..blas import gemv
from ..errors import DtypeError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive
from .activation import FUSED
from .image import rolled, unrolled

Primitive = tuple[Array, Backward]
BLOCK = 32768  # numbers worked on at a time: they stay in a second-level cache
FEW = 65536  # numbers up to which long rows cost more to make than they save


@primitive
def batch_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, residual: Array | None = None,
    running_mean: Array | None = None, running_var: Array | None = None, training: bool = False,
    momentum: float | Array = 0.1, eps: float = 1e-5, activation: str | None = None,
) -> Primitive:  # fmt: skip
    """`activation((x - mean) / sqrt(var + eps) * weight + bias + residual)`, for each channel: (N, C), (N, C, L) or (N, C, H, W).

    In training mean and variance are the batch's, and the running ones follow: `r += momentum * (batch's - r)`, with the
    unbiased variance; else, if there are running ones, they are taken. Rounding errors grow with the ratio of mean to
    deviation, as they do in x. Source: Ioffe & Szegedy 2015.
    """
    rows = _channel_rows(x, weight, bias)
    others = None if residual is None else _same_rows(x, residual)
    batch = training or running_mean is None or running_var is None
    function = FUSED[activation] if activation else None
    size = k.whole_batch(len(rows))
    if batch:
        mean, var = _statistics(rows)
        if training and running_mean is not None and running_var is not None:
            _follow(running_mean, mean, momentum)
            unbiased = k.multiply(var, k.scalar(size / max(1, size - 1), x.dtype))
            _follow(running_var, unbiased, momentum)
    else:
        mean, var = running_mean, running_var  # type: ignore[assignment]  # there are such
    root = k.add(var, k.scalar(eps, x.dtype))
    root = k.sqrt(root, out=root)
    scale = k.reciprocal(root) if weight is None else k.divide(weight, root)
    shift = k.subtract(k.row(0, rows.shape[1], x.dtype) if bias is None else bias, k.multiply(mean, scale))
    y, longs = k.empty(rows.shape, x.dtype), _long(rows, scale, shift)
    for source, target, more in zip(_blocks(rows), _blocks(y), _blocks(y if others is None else others)):
        k.add(k.multiply(source, longs[0], out=target), longs[1], out=target)
        if others is not None:
            k.add(target, more, out=target)
        if function:
            function.value(target, target)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        d, inverse = _dense_rows(dy), k.reciprocal(root)
        dz = k.empty(rows.shape, x.dtype) if function else d
        dbias, product = k.empty(rows.shape[1:], x.dtype), k.empty(rows.shape[1:], x.dtype)
        for number, (above, value, below, source) in enumerate(zip(*map(_blocks, (d, y, dz, rows)))):
            if function:
                function.gradient(above, value, below)
            flat = -1, rows.shape[1]
            ones, beta = k.row(1, below.size // flat[1], x.dtype), float(number > 0)
            gemv(below.reshape(flat).T, ones, out=dbias, beta=beta)
            gemv(k.multiply(below, source).reshape(flat).T, ones, out=product, beta=beta)
        k.subtract(product, k.multiply(mean, dbias), out=product)

        def dx(out: Array | None) -> Array:
            found = k.empty(rows.shape, x.dtype)
            share = k.scalar(-1 / size, x.dtype)
            products, dbiases = _over_batch(product, dbias) if batch else (product, dbias)
            slope = k.multiply(k.multiply(products, share), k.square(inverse))
            rest = k.subtract(k.multiply(dbiases, share), k.multiply(mean, slope))
            longs = _long(rows, scale, slope, rest)
            for source, middle, target in zip(_blocks(dz), _blocks(rows), _blocks(found)):
                if batch:
                    k.add(k.multiply(middle, longs[1], out=target), longs[2], out=target)
                    source = k.add(target, source, out=target)
                k.multiply(source, longs[0], out=target)
            return k.into(out, _shaped(found, x))

        return (
            dx,
            lambda out: k.multiply(product, inverse, out=out),
            lambda out: k.into(out, dbias),
            lambda out: k.into(out, _shaped(dz, x)),
        )

    return _shaped(y, x), backward


@primitive
def layer_norm(x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5, axes: int = 1) -> Primitive:
    """`(x - mean) / sqrt(var + eps) * weight + bias`, mean and variance over the last `axes` axes of each element.

    weight and bias have the shape of those axes. Source: Ba, Kiros & Hinton 2016.
    """
    rows, features = _feature_rows("layer_norm", x, weight, bias, axes)
    share = _share(features, x.dtype)
    hat, inverse, y = k.empty(rows.shape, x.dtype), k.empty((len(rows), 1), x.dtype), k.empty(rows.shape, x.dtype)
    for source, h, r, target in zip(*map(_cut, (rows, hat, inverse, y), [features] * 4)):
        k.subtract(source, gemv(source, share)[:, None], out=h)
        _inverse_root(k.square(h, out=target), share, eps, r)
        k.multiply(h, r, out=h)
        _scaled(h, weight, bias, target)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        return _norm_backward(dy, x, weight, bias, hat, inverse, centred=True)

    return y.reshape(x.shape), backward


@primitive
def rms_norm(x: Array, weight: Array | None = None, eps: float | None = None, axes: int = 1) -> Primitive:
    """`x / sqrt(mean(x²) + eps) * weight` over the last `axes` axes; eps is the smallest step at 1 if not given.

    Source: Zhang & Sennrich 2019.
    """
    rows, features = _feature_rows("rms_norm", x, weight, None, axes)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    share = _share(features, x.dtype)
    hat, inverse, y = k.empty(rows.shape, x.dtype), k.empty((len(rows), 1), x.dtype), k.empty(rows.shape, x.dtype)
    for source, h, r, target in zip(*map(_cut, (rows, hat, inverse, y), [features] * 4)):
        _inverse_root(k.square(source, out=target), share, eps, r)
        k.multiply(source, r, out=h)
        _scaled(h, weight, None, target)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        return _norm_backward(dy, x, weight, None, hat, inverse, centred=False)[:2]

    return y.reshape(x.shape), backward


@primitive
def group_norm(x: Array, weight: Array | None, bias: Array | None, num_groups: int, eps: float = 1e-5) -> Primitive:
    """`(x - mean) / sqrt(var + eps) * weight + bias`, over each image's groups of channels: (N, C, …), (C,), (C,).

    Source: Wu & He 2018.
    """
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        raise ShapeError(f"group_norm: input {x.shape} with {num_groups} groups; it takes (N, C, …), C a multiple of the groups")
    _check_channels("group_norm", x.shape[1], x.dtype, weight, bias)
    batch, channels = x.shape[:2]
    rows = k.dense(x).reshape(batch * num_groups, -1)
    share, columns = _share(rows.shape[1], x.dtype), (batch, channels, -1)
    hat = k.subtract(rows, gemv(rows, share)[:, None])
    inverse = k.empty((len(rows), 1), x.dtype)
    _inverse_root(k.square(hat), share, eps, inverse)
    hat = k.multiply(hat, inverse, out=hat).reshape(columns)
    y = hat if weight is None else k.multiply(hat, weight[:, None])
    y = y if bias is None else k.add(y, bias[:, None])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        d = k.dense(dy).reshape(columns)
        grown = d if weight is None else k.multiply(d, weight[:, None])

        def dx(out: Array | None) -> Array:
            found = _unnormalised(grown.reshape(rows.shape), hat.reshape(rows.shape), inverse, share, True)
            return k.into(out, found.reshape(x.shape))

        return dx, lambda out: k.sum(k.multiply(d, hat), (0, 2), out=out), lambda out: k.sum(d, (0, 2), out=out)

    return y.reshape(x.shape), backward


def _statistics(rows: Array) -> tuple[Array, Array]:
    """(mean, variance), of each column."""
    share = k.row(1 / k.whole_batch(len(rows)), len(rows), rows.dtype)
    mean, var = k.over_batch(gemv(rows.T, share)), k.empty(rows.shape[1:], rows.dtype)
    (long_mean,) = _long(rows, mean)
    for number, source in enumerate(_blocks(rows)):
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


def _channel_rows(x: Array, weight: Array | None, bias: Array | None) -> Array:
    """(N, C, …) as a matrix with a column for each channel: images as they lie in memory."""
    if x.ndim not in (2, 3, 4) or x.size == 0:
        raise ShapeError(f"batch_norm: input {x.shape}; it takes (N, C), (N, C, L) or (N, C, H, W), not empty")
    _check_channels("batch_norm", x.shape[1], x.dtype, weight, bias)
    return _dense_rows(x)


def _same_rows(x: Array, residual: Array) -> Array:
    if residual.shape != x.shape or residual.dtype != x.dtype:
        raise ShapeError(f"batch_norm: the residual is {residual.shape}, {residual.dtype}; the input {x.shape}, {x.dtype}")
    return _dense_rows(residual)


def _dense_rows(x: Array) -> Array:
    turned = x if x.ndim == 2 else rolled(x if x.ndim == 4 else x[:, :, None])
    return k.dense(turned).reshape(-1, x.shape[1])


def _shaped(rows: Array, x: Array) -> Array:
    """A matrix of channel rows in the shape of `x`."""
    if x.ndim == 2:
        return rows
    batch, channels, *size = x.shape
    height, width = size if x.ndim == 4 else (1, *size)
    images = unrolled(rows.reshape(height, batch, width, channels))
    return images if x.ndim == 4 else images[:, :, 0]


def _check_channels(name: str, channels: int, dtype: object, *vectors: Array | None) -> None:
    for vector in vectors:
        if vector is not None and vector.shape != (channels,):
            raise ShapeError(f"{name}: weight or bias {vector.shape} for {channels} channels; it takes ({channels},)")
        if vector is not None and vector.dtype != dtype:
            raise DtypeError(f"{name}: the input is {dtype}, weight or bias {vector.dtype}")


def _feature_rows(name: str, x: Array, weight: Array | None, bias: Array | None, axes: int) -> tuple[Array, int]:
    """(all elements as rows of their last `axes` axes, how long a row is)"""
    if not 1 <= axes <= x.ndim or x.size == 0:
        raise ShapeError(f"{name}: input {x.shape}, normalised over {axes} axes; they must exist and not be empty")
    shape = x.shape[x.ndim - axes :]
    for vector in (weight, bias):
        if vector is not None and vector.shape != shape:
            raise ShapeError(f"{name}: weight or bias {vector.shape} for input {x.shape}: it takes {shape}")
        if vector is not None and vector.dtype != x.dtype:
            raise DtypeError(f"{name}: the input is {x.dtype}, weight or bias {vector.dtype}")
    features = int(np.prod(shape))
    return k.dense(x).reshape(-1, features), features


def _inverse_root(squares: Array, share: Array, eps: float, out: Array) -> None:
    """`1 / sqrt(mean + eps)` of each row: (rows, 1)."""
    gemv(squares, share, out=out[:, 0])
    k.add(out, k.scalar(eps, out.dtype), out=out)
    k.reciprocal(k.sqrt(out, out=out), out=out)


def _scaled(h: Array, weight: Array | None, bias: Array | None, out: Array) -> None:
    if weight is None:
        k.copy(h, out=out)
    else:
        k.multiply(h, weight.reshape(-1), out=out)
    if bias is not None:
        k.add(out, bias.reshape(-1), out=out)


def _norm_backward(dy: Array, x: Array, weight: Array | None, bias: Array | None, hat: Array, inverse: Array, centred: bool):  # type: ignore[no-untyped-def]
    """The thunks of layer_norm and rms_norm."""
    features = hat.shape[1]
    share = _share(features, x.dtype)
    d = k.dense(dy).reshape(hat.shape)

    def dx(out: Array | None) -> Array:
        found = k.empty(hat.shape, x.dtype) if out is None else out.reshape(hat.shape)
        for part, h, r, target in zip(*map(_cut, (d, hat, inverse, found), [features] * 4)):
            grown = part if weight is None else k.multiply(part, weight.reshape(-1))
            _unnormalised(grown, h, r, share, centred, target)
        return found.reshape(x.shape) if out is None else out

    def dweight(out: Array | None) -> Array:
        flat = k.empty((features,), x.dtype) if out is None else out.reshape(-1)
        for number, (part, h) in enumerate(zip(_cut(d, features), _cut(hat, features))):
            gemv(k.multiply(part, h).T, k.row(1, len(h), x.dtype), out=flat, beta=float(number > 0))
        return flat if weight is None else flat.reshape(weight.shape)

    def dbias(out: Array | None) -> Array:
        flat = gemv(d.T, k.row(1, len(d), x.dtype), out=None if out is None else out.reshape(-1))
        return flat if bias is None else flat.reshape(bias.shape)

    return dx, dweight, dbias


def _unnormalised(grown: Array, hat: Array, inverse: Array, share: Array, centred: bool, out: Array | None = None) -> Array:
    """`(g - mean(g) - hat * mean(g * hat)) * inverse` for each row; without mean(g) if nothing was centred."""
    product = k.multiply(grown, hat)
    k.multiply(hat, gemv(product, share)[:, None], out=product)
    out = k.subtract(grown, product, out=out)
    if centred:
        k.subtract(out, gemv(grown, share)[:, None], out=out)
    return k.multiply(out, inverse, out=out)


def _share(features: int, dtype: object) -> Array:
    """The vector whose inner product with a row is its mean."""
    return k.row(1 / features, features, dtype)


def _cut(rows: Array, features: int = 0) -> Iterator[Array]:
    """The rows, some at a time."""
    step = max(1, k.grain(BLOCK) // max(1, features or rows.shape[1]))
    return (rows[first : first + step] for first in range(0, len(rows), step))


def _wide(rows: Array) -> int:
    """How many rows to take as one long row, beside which lies a row of numbers for each channel – that has to be made."""
    count, channels = rows.shape
    return k.long_row(count, channels, k.BUFFER if rows.size > FEW else FEW // 64)


def _long(rows: Array, *vectors: Array) -> list[Array]:
    """Each vector, one number for each channel, repeated to a long row."""
    shape = _wide(rows), rows.shape[1]
    return [k.copy(vector, out=k.empty(shape, vector.dtype)).reshape(-1) for vector in vectors]


def _blocks(rows: Array) -> Iterator[Array]:
    """The rows as long rows, some at a time."""
    return _cut(rows.reshape(-1, _wide(rows) * rows.shape[1]))
