"""Normalisation: numbers made to have mean 0 and variance 1 – over the features, or groups of channels."""

from collections.abc import Iterator

import numpy as np

from .. import kernels as k
from ..blas import gemv
from ..errors import DtypeError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive

Primitive = tuple[Array, Backward]
BLOCK = 32768  # numbers worked on at a time: they stay in a second-level cache
FEW = 65536  # numbers up to which long rows cost more to make than they save


@primitive
def layer_norm(x: Array, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-5, axes: int = 1) -> Primitive:
    """`(x - mean) / sqrt(var + eps) * weight + bias`, mean and variance over the last `axes` axes of each element.

    weight and bias have the shape of those axes. Source: Ba, Kiros & Hinton 2016.
    """
    rows, features = _feature_rows("layer_norm", x, weight, bias, axes)
    share, longs = _share(features, x.dtype), _long(rows, weight, bias)
    hat, inverse, y = k.empty(rows.shape, x.dtype), k.empty((len(rows), 1), x.dtype), k.empty(rows.shape, x.dtype)
    for source, h, r, target in _blocks(rows, hat, inverse, y):
        k.subtract(source, gemv(source, share)[:, None], out=h)
        _inverse_root(k.square(h, out=target), share, eps, r)
        k.multiply(h, r, out=h)
        _scaled(h, longs, target)

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
    share, longs = _share(features, x.dtype), _long(rows, weight, None)
    hat, inverse, y = k.empty(rows.shape, x.dtype), k.empty((len(rows), 1), x.dtype), k.empty(rows.shape, x.dtype)
    for source, h, r, target in _blocks(rows, hat, inverse, y):
        _inverse_root(k.square(source, out=target), share, eps, r)
        k.multiply(source, r, out=h)
        _scaled(h, longs, target)

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
    check_channels("group_norm", x.shape[1], x.dtype, weight, bias)
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
            found = _unnormalised(grown.reshape(rows.shape), hat.reshape(rows.shape), inverse, share)
            return k.into(out, found.reshape(x.shape))

        return dx, lambda out: k.sum(k.multiply(d, hat), (0, 2), out=out), lambda out: k.sum(d, (0, 2), out=out)

    return y.reshape(x.shape), backward


def check_channels(name: str, channels: int, dtype: object, *vectors: Array | None) -> None:
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


def _scaled(h: Array, longs: list[Array | None], out: Array) -> None:
    """`h * weight + bias` for long rows of both, as far as there are any."""
    weight, bias = longs
    if weight is None:
        k.copy(h, out=out)
    else:
        k.multiply(h.reshape(-1, weight.size), weight, out=out.reshape(-1, weight.size))
    if bias is not None:
        flat = out.reshape(-1, bias.size)
        k.add(flat, bias, out=flat)


def _norm_backward(dy: Array, x: Array, weight: Array | None, bias: Array | None, hat: Array, inverse: Array, centred: bool):  # type: ignore[no-untyped-def]
    """The thunks of layer_norm and rms_norm. With g = dy * weight: dx = (g - mean(g) - hat * mean(g * hat)) * inverse."""
    features = hat.shape[1]
    share = _share(features, x.dtype)
    weights = share if weight is None else k.multiply(weight.reshape(-1), k.scalar(1 / features, x.dtype))
    d, inner, total = k.dense(dy).reshape(hat.shape), k.empty(inverse.shape, x.dtype), k.empty((features,), x.dtype)
    for number, (part, h, mean) in enumerate(_blocks(d, hat, inner)):
        product = k.multiply(part, h)
        gemv(product, weights, out=mean[:, 0])
        gemv(product.T, k.row(1, len(h), x.dtype), out=total, beta=float(number > 0))

    def dx(out: Array | None) -> Array:
        found = k.empty(hat.shape, x.dtype) if out is None else out.reshape(hat.shape)
        longs = _long(hat, weight, None)
        for part, h, mean, r, target in _blocks(d, hat, inner, inverse, found):
            if weight is not None:
                _scaled(part, longs, target)
            k.subtract(part if weight is None else target, k.multiply(h, mean), out=target)
            if centred:
                k.subtract(target, gemv(part, weights)[:, None], out=target)
            k.multiply(target, r, out=target)
        return found.reshape(x.shape) if out is None else out

    def dbias(out: Array | None) -> Array:
        flat = gemv(d.T, k.row(1, len(d), x.dtype), out=None if out is None else out.reshape(-1))
        return flat if bias is None else flat.reshape(bias.shape)

    return dx, lambda out: k.into(out, total if weight is None else total.reshape(weight.shape)), dbias


def _unnormalised(grown: Array, hat: Array, inverse: Array, share: Array) -> Array:
    """`(g - mean(g) - hat * mean(g * hat)) * inverse` for each row."""
    product = k.multiply(grown, hat)
    k.multiply(hat, gemv(product, share)[:, None], out=product)
    found = k.subtract(grown, product, out=product)
    k.subtract(found, gemv(grown, share)[:, None], out=found)
    return k.multiply(found, inverse, out=found)


def _share(features: int, dtype: object) -> Array:
    """The vector whose inner product with a row is its mean."""
    return k.row(1 / features, features, dtype)


def _many(rows: Array) -> int:
    """How many rows to take as one long row, where each number of a row meets one of its own."""
    return k.long_row(*rows.shape) if rows.size > FEW else 1


def _long(rows: Array, *vectors: Array | None) -> list[Array | None]:
    """Each vector as a long row."""
    flat, many = [v if v is None else v.reshape(-1) for v in vectors], _many(rows)
    return [v if v is None or many == 1 else k.copy(v, out=k.empty((many, v.size), v.dtype)).reshape(-1) for v in flat]


def _blocks(rows: Array, *others: Array) -> Iterator[tuple[Array, ...]]:
    """The rows, and as many of other arrays, some at a time: a whole number of long rows."""
    many = _many(rows)
    step = max(1, k.grain(BLOCK) // (rows.shape[1] * many)) * many
    return (tuple(a[first : first + step] for a in (rows, *others)) for first in range(0, len(rows), step))
