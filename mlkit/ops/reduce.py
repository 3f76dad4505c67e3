"""Over axes: sum, mean, largest and smallest element."""

from typing import Any

from .. import kernels as k
from ..errors import ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive

Primitive = tuple[Array, Backward]
Axis = int | tuple[int, ...] | None


@primitive
def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Primitive:
    """Sum over `axis`: an axis, several, or all of them."""
    axes = normal(axis, x.ndim)
    y = k.sum(x, axes, keepdims)
    return y, lambda dy: (lambda out: _spread(dy, x, axes, keepdims, out),)


@primitive
def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Primitive:
    """Mean over `axis`: an axis, several, or all of them."""
    axes = normal(axis, x.ndim)
    total = k.sum(x, axes, keepdims)
    share = k.scalar(total.size / x.size if x.size else float("nan"), x.dtype)
    y = k.multiply(total, share, out=total)
    return y, lambda dy: (lambda out: _spread(k.multiply(dy, share), x, axes, keepdims, out),)


@primitive
def max(x: Array, axis: Axis = None, keepdims: bool = False) -> Primitive:
    """Largest element over `axis`; its gradient is shared evenly by all that are equal to it, as in torch.amax."""
    return _extreme(x, axis, keepdims, k.max)


@primitive
def min(x: Array, axis: Axis = None, keepdims: bool = False) -> Primitive:
    """Smallest element over `axis`; its gradient is shared evenly by all that are equal to it, as in torch.amin."""
    return _extreme(x, axis, keepdims, k.min)


def normal(axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` as a tuple of axes from 0 on."""
    axes = tuple(range(ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    for one in axes:
        if not -ndim <= one < ndim:
            raise ShapeError(f"axis {one} of an array with {ndim} axes")
    normalised = tuple(sorted(one % ndim for one in axes))
    if len(set(normalised)) != len(normalised):
        raise ShapeError(f"axes {axes} name one axis twice")
    return normalised


def _extreme(x: Array, axis: Axis, keepdims: bool, reduction: Any) -> Primitive:
    if x.size == 0:
        raise ShapeError(f"the largest or smallest element of an empty array of shape {x.shape}")
    axes = normal(axis, x.ndim)
    peak = reduction(x, axes, True)
    y = peak if keepdims else peak.reshape(tuple(n for i, n in enumerate(x.shape) if i not in axes))

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dx(out: Array | None) -> Array:
            here = k.copy(k.equal(x, peak), dtype=x.dtype)
            share = k.divide(dy.reshape(peak.shape), k.sum(here, axes, True))
            return k.multiply(here, share, out=out)

        return (dx,)

    return y, backward


def _spread(dy: Array, x: Array, axes: tuple[int, ...], keepdims: bool, out: Array | None) -> Array:
    """`dy` repeated over the axes that were summed."""
    kept = dy.reshape(tuple(1 if i in axes else n for i, n in enumerate(x.shape)))
    out = k.empty(x.shape, x.dtype) if out is None else out
    return k.copy(kept, out=out)
