"""The same elements in another shape: reshape, transpose, index, concatenate. Views where NumPy has views."""

import math
from typing import Any

import numpy as np

from .. import kernels as k
from ..errors import ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive

Primitive = tuple[Array, Backward]


@primitive
def reshape(x: Array, *shape: Any) -> Primitive:
    """The elements in C order in another shape; one size may be -1."""
    sizes = tuple(int(n) for n in shape)
    known = math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) > 1 or (-1 not in sizes and known != x.size) or (-1 in sizes and (not known or x.size % known)):
        raise ShapeError(f"{x.shape}, {x.size} elements, cannot take the shape {sizes}")
    sizes = tuple(x.size // known if n == -1 else n for n in sizes)
    return k.dense(x).reshape(sizes), lambda dy: (lambda out: k.into(out, dy.reshape(x.shape)),)


@primitive
def permute(x: Array, *axes: Any) -> Primitive:
    """The axes in another order; all reversed if none are given. A view."""
    order = tuple(int(axis) % max(1, x.ndim) for axis in axes) or tuple(range(x.ndim))[::-1]
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"axes {axes} are no permutation of the {x.ndim} axes of {x.shape}")
    back = tuple(int(i) for i in np.argsort(order))
    return x.transpose(order), lambda dy: (lambda out: k.into(out, dy.transpose(back)),)


def transpose(x: Any, first: int = -2, second: int = -1) -> Any:
    """Two axes exchanged. A view."""
    for axis in (first, second):
        if not -x.ndim <= axis < x.ndim:
            raise ShapeError(f"axis {axis} of an array with {x.ndim} axes")
    order = list(range(x.ndim))
    order[first], order[second] = order[second], order[first]
    return permute(x, *order)


@primitive
def broadcast_to(x: Array, *shape: Any) -> Primitive:
    """`x` repeated to `shape`. A view."""
    from_shape = tuple(int(n) for n in shape)
    try:
        y = np.broadcast_to(x, from_shape)
    except ValueError:
        raise ShapeError(f"{x.shape} does not broadcast to {from_shape}") from None
    lead = y.ndim - x.ndim
    axes = tuple(i for i in range(y.ndim) if i < lead or (x.shape[i - lead] == 1 and y.shape[i] != 1))

    def dx(dy: Array, out: Array | None) -> Array:
        folded = k.sum(dy, axes, keepdims=True).reshape(x.shape) if axes else dy
        return k.into(out, folded)

    return y, lambda dy: (lambda out: dx(dy, out),)


def getitem(x: Any, index: Any) -> Any:
    """`x[index]` with integers, slices, None and … : a view."""
    parts = index if isinstance(index, tuple) else (index,)
    if not all(part is None or part is Ellipsis or isinstance(part, int | np.integer | slice) for part in parts):
        raise ShapeError(f"index {index!r}: a tensor takes integers, slices, None and … ; use ops.take for an array")
    return _view(x, index=parts)


@primitive
def _view(x: Array, index: tuple[Any, ...]) -> Primitive:
    if Ellipsis not in index:
        index = (*index, Ellipsis)  # keeps a 0-d result an array
    try:
        y = x[index]
    except IndexError as error:
        raise ShapeError(f"index {index} of shape {x.shape}: {error}") from None

    def dx(dy: Array, out: Array | None) -> Array:
        out = k.fill(0, k.empty(x.shape, x.dtype) if out is None else out)
        k.copy(dy, out=out[index])
        return out

    return y, lambda dy: (lambda out: dx(dy, out),)


@primitive
def concatenate(*arrays: Array, axis: int = 0) -> Primitive:
    """Arrays end to end along an axis."""
    first = arrays[0]
    if not -first.ndim <= axis < first.ndim:
        raise ShapeError(f"axis {axis} of an array with {first.ndim} axes")
    axis %= first.ndim
    if any(x.shape[:axis] + x.shape[axis + 1 :] != first.shape[:axis] + first.shape[axis + 1 :] for x in arrays):
        raise ShapeError(f"shapes {[x.shape for x in arrays]} differ beside axis {axis}")
    stops = np.cumsum([x.shape[axis] for x in arrays])
    parts = [(slice(None),) * axis + (slice(stop - x.shape[axis], stop),) for x, stop in zip(arrays, stops)]
    y = k.empty((*first.shape[:axis], int(stops[-1]), *first.shape[axis + 1 :]), first.dtype)
    for x, part in zip(arrays, parts):
        k.copy(x, out=y[part])
    return y, lambda dy: tuple(lambda out, part=part: k.into(out, dy[part]) for part in parts)
