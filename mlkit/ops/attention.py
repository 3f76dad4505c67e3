"""Scaled dot-product attention, element of the batch by element of the batch: its scores stay in the cache.

Scores lie key by key, (S, heads, T): maxima and sums over the keys are then those of long rows.
The weights of a softmax are never made: the result, and its gradient, are divided by the sums instead, which have fewer
numbers. Source of that: Dao et al. 2022 (FlashAttention), appendix B.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from .. import kernels as k
from ..blas import gemm, gemv
from ..errors import DtypeError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive
from .dropout import chances

Primitive = tuple[Array, Backward]


@primitive
def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, mask: Array | None = None, is_causal: bool = False, scale: float | None = None,
    dropout_p: float = 0.0, rng: Any = None,
) -> Primitive:  # fmt: skip
    """`softmax(query @ key.T * scale + mask) @ value`: (N, heads, T, E), (N, heads, S, E), (N, heads, S, V) -> (N, heads, T, V).

    scale is 1 / √E if not given. mask broadcasts to (N, heads, T, S): True where one may look, or numbers to be added;
    is_causal lets position t look at positions up to t. dropout_p drops weights, drawn from `rng`. In memory the result is
    (N, T, heads, V). Source: Vaswani et al. 2017.
    """
    mask = _check(query, key, value, mask, is_causal)
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    batch, heads, time, _ = query.shape
    y = k.empty((batch, time, heads, value.shape[-1]), query.dtype)
    weights = k.empty((batch, key.shape[2], heads, time), query.dtype)
    shares = k.empty((batch, 1, heads, time), query.dtype)
    kept = k.call(chances, dropout_p, rng, k.like(weights)) if dropout_p else None
    for n in range(batch):
        _attend(query[n], key[n], value[n], _of(mask, n), scale, weights[n], shares[n], _of(kept, n), y[n])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dq, dk, dv = (k.like(x) for x in (query, key, value))
        turned = dy.transpose(0, 2, 1, 3)
        for n in range(batch):
            parts = query[n], key[n], value[n]
            _attend_gradient(turned[n], y[n], *parts, scale, weights[n], shares[n], _of(kept, n), dq[n], dk[n], dv[n])
        return tuple(lambda out, d=d: k.into(out, d) for d in (dq, dk, dv))

    return y.transpose(0, 2, 1, 3), backward


@primitive
def self_attention(
    packed: Array, mask: Array | None = None, heads: int = 1, is_causal: bool = False, dropout_p: float = 0.0, rng: Any = None
) -> Primitive:
    """Attention of a series to itself: query, key and value side by side, (N, T, 3 E) -> (N, T, E), each in `heads` parts.

    mask broadcasts to (N, heads, T, T). The same as `scaled_dot_product_attention` without a copy of the parts.
    """
    if packed.ndim != 3 or packed.shape[2] % (3 * heads):
        raise ShapeError(
            f"self_attention: input {packed.shape} with {heads} heads; it takes (N, T, 3 E), E a multiple of the heads"
        )
    packed = k.dense(packed)
    batch, time, width = packed.shape
    shape = batch, time, 3, heads, width // (3 * heads)
    query, key, value = packed.reshape(shape).transpose(2, 0, 3, 1, 4)
    mask = _check(query, key, value, mask, is_causal)
    scale = 1 / math.sqrt(shape[-1])
    y = k.empty((batch, time, heads, shape[-1]), packed.dtype)
    weights, shares = k.empty((batch, time, heads, time), packed.dtype), k.empty((batch, 1, heads, time), packed.dtype)
    kept = k.call(chances, dropout_p, rng, k.like(weights)) if dropout_p else None
    for n in range(batch):
        _attend(query[n], key[n], value[n], _of(mask, n), scale, weights[n], shares[n], _of(kept, n), y[n])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            d = k.dense(dy).reshape(y.shape)
            out = k.empty(packed.shape, packed.dtype) if out is None else out
            dq, dk, dv = out.reshape(shape).transpose(2, 0, 3, 1, 4)
            for n in range(batch):
                parts = query[n], key[n], value[n]
                _attend_gradient(d[n], y[n], *parts, scale, weights[n], shares[n], _of(kept, n), dq[n], dk[n], dv[n])
            return out

        return (dx,)

    return y.reshape(batch, time, -1), backward


def _attend(
    query: Array, key: Array, value: Array, mask: Array | None, scale: float, weights: Array, shares: Array, kept: Array | None,
    out: Array,
) -> None:  # fmt: skip
    """One element of the batch: (heads, T, E), (heads, S, E), (heads, S, V) -> (T, heads, V).

    `weights`, (S, heads, T), and what they are to be multiplied by, `shares`, (1, heads, T), stay for the gradient.
    """
    gemm(key, query.swapaxes(1, 2), out=weights.swapaxes(0, 1), alpha=scale)
    if mask is not None:
        k.add(weights, mask, out=weights)
    k.subtract(weights, k.max(weights, (0,), True), out=weights)
    k.exp(weights, out=weights)
    k.reciprocal(k.sum(weights, (0,), True, out=shares), out=shares)
    gemm((weights if kept is None else k.multiply(weights, kept)).transpose(1, 2, 0), value, out=out.swapaxes(0, 1))
    k.multiply(out, shares.transpose(2, 1, 0), out=out)


def _attend_gradient(
    dy: Array, y: Array, query: Array, key: Array, value: Array, scale: float, weights: Array, shares: Array, kept: Array | None,
    dq: Array, dk: Array, dv: Array,
) -> None:  # fmt: skip
    """With dy' = dy * shares: dv = weights @ dy', and that of the scores is weights * (value @ dy'.T - sum(dy' * y))."""
    scaled = k.multiply(dy, shares.transpose(2, 1, 0), out=k.empty(y.shape, y.dtype))
    turned = scaled.swapaxes(0, 1)
    gemm((weights if kept is None else k.multiply(weights, kept)).swapaxes(0, 1), turned, out=dv)
    d = k.empty(weights.shape, weights.dtype)
    by_head = d.swapaxes(0, 1)
    gemm(value, turned.swapaxes(1, 2), out=by_head)
    if kept is not None:
        k.multiply(d, kept, out=d)
    rows = k.multiply(scaled, y).reshape(-1, y.shape[2])
    inner = gemv(rows, k.row(1, rows.shape[1], rows.dtype)).reshape(y.shape[:2])
    k.subtract(d, k.dense(inner.T), out=d)
    k.multiply(d, weights, out=d)
    gemm(by_head.swapaxes(1, 2), key, out=dq, alpha=scale)
    gemm(by_head, query, out=dk, alpha=scale)


def _check(query: Array, key: Array, value: Array, mask: Array | None, is_causal: bool) -> Array | None:
    """The mask as numbers to be added, (N, S, heads, T), the first and the third maybe 1."""
    shapes = query.shape, key.shape, value.shape
    if any(len(shape) != 4 for shape in shapes) or query.size == 0 or key.size == 0:
        raise ShapeError(f"attention: query, key and value {shapes}; they take (N, heads, length, width), not empty")
    if not (shapes[0][:2] == shapes[1][:2] == shapes[2][:2] and shapes[0][3] == shapes[1][3] and shapes[1][2] == shapes[2][2]):
        raise ShapeError(
            f"attention: query, key and value {shapes} do not fit: (N, heads, T, E), (N, heads, S, E), (N, heads, S, V)"
        )
    if not query.dtype == key.dtype == value.dtype:
        raise DtypeError(f"attention: query, key and value are {query.dtype}, {key.dtype}, {value.dtype}; they must be the same")
    target = *shapes[0][:3], shapes[1][2]
    if mask is not None:
        if mask.ndim > 4 or any(m not in (1, n) for m, n in zip(mask.shape[::-1], target[::-1])):
            raise ShapeError(f"attention: mask {mask.shape} does not broadcast to {target}")
        mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        if mask.dtype.kind == "b":
            mask = k.multiply(k.subtract(k.copy(mask, dtype=query.dtype), k.scalar(1, query.dtype)), k.scalar(_FAR, query.dtype))
        elif mask.dtype != query.dtype:
            raise DtypeError(f"attention: the mask is {mask.dtype}; it takes booleans or {query.dtype}")
        mask = k.dense(mask.transpose(0, 3, 1, 2))
    if not is_causal:
        return mask
    future = _future(target[3], target[1], target[2], query.dtype)
    return future if mask is None else k.add(mask, future)


_FAR = 1e30  # what a score loses where one may not look


@lru_cache(64)
def _future(source: int, heads: int, time: int, dtype: Any) -> Array:
    """Numbers that hide what comes later: (1, S, heads, T)."""
    later = np.arange(source)[:, None, None] > np.arange(time)
    return k.keep(np.where(np.broadcast_to(later, (1, source, heads, time)), -_FAR, 0).astype(dtype))


def _of(x: Array | None, n: int) -> Array | None:
    """The part for one element of the batch, which may be for all."""
    return None if x is None else x[n if len(x) > 1 else 0]


def _rotate(x: Array, cosines: Array, sines: Array, out: Array | None) -> Array:
    """(a, b) -> (a cos - b sin, b cos + a sin) for the halves a, b of the last axis."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    out = k.empty(x.shape, x.dtype) if out is None else out
    left, right = out[..., :half], out[..., half:]
    k.subtract(k.multiply(a, cosines), k.multiply(b, sines), out=left)
    k.add(k.multiply(b, cosines), k.multiply(a, sines), out=right)
    return out


@primitive
def rotary(x: Array, first: int = 0, base: float = 10000.0) -> Primitive:
    """Pairs of numbers turned by an angle that grows with the position: (…, T, E), E even. Position 0 is `first`.

    The pairs are (i, i + E/2), their angles position * base ** (-2 i / E). Source: Su et al. 2021 (RoFormer).
    """
    if x.ndim < 2 or x.shape[-1] % 2:
        raise ShapeError(f"rotary: input {x.shape}; it takes (…, T, E), E even")
    cosines, sines, backwards = _angles(x.shape[-2], x.shape[-1], first, base, x.dtype)
    return _rotate(x, cosines, sines, None), lambda dy: (lambda out: _rotate(dy, cosines, backwards, out),)


@lru_cache(64)
def _angles(time: int, width: int, first: int, base: float, dtype: Any) -> tuple[Array, Array, Array]:
    angles = (first + np.arange(time))[:, None] * base ** (-np.arange(0, width, 2) / width)
    return tuple(k.keep(f.astype(dtype)) for f in (np.cos(angles), np.sin(angles), -np.sin(angles)))  # type: ignore[return-value]
