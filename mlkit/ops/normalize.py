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
            found = _unnormalised(grown.reshape(rows.shape), hat.reshape(rows.shape), inverse, share, True)
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


def _cut(rows: Array, features: int) -> Iterator[Array]:
    """The rows, some at a time."""
    step = max(1, k.grain(BLOCK) // features)
    return (rows[first : first + step] for first in range(0, len(rows), step))
