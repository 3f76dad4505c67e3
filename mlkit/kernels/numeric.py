"""NumPy's calls as kernels: each writes into `out`, or into memory from `empty`."""

from functools import partial
from typing import Any

import numpy as np

from .call import Bound, binding, call, empty, kernel, like, long_row, row
from .memory import Array, memory_order

Axes = tuple[int, ...]


def add(a: Array, b: Array, out: Array | None = None) -> Array:
    return call(np.add, a, b, _result(a, b) if out is None else out)


def subtract(a: Array, b: Array, out: Array | None = None) -> Array:
    return call(np.subtract, a, b, _result(a, b) if out is None else out)


def multiply(a: Array, b: Array, out: Array | None = None) -> Array:
    return call(np.multiply, a, b, _result(a, b) if out is None else out)


def divide(a: Array, b: Array, out: Array | None = None) -> Array:
    return call(np.divide, a, b, _result(a, b) if out is None else out)


def power(a: Array, b: Array, out: Array | None = None) -> Array:
    return call(np.power, a, b, _result(a, b) if out is None else out)


def maximum(a: Array, b: Array, out: Array | None = None) -> Array:
    return call(larger, a, b, _result(a, b) if out is None else out)


def at_least(bound: float, a: Array, out: Array | None = None) -> Array:
    """`max(a, bound)` for a number that never changes."""
    return call(clamped_below, bound, a, like(a) if out is None else out)


def at_most(bound: float, a: Array, out: Array | None = None) -> Array:
    """`min(a, bound)` for a number that never changes."""
    return call(clamped_above, bound, a, like(a) if out is None else out)


def copysign(a: Array, b: Array, out: Array | None = None) -> Array:
    return call(np.copysign, a, b, _result(a, b) if out is None else out)


def greater(a: Array, b: Array) -> Array:
    return call(np.greater, a, b, _result(a, b, bool))


def less(a: Array, b: Array) -> Array:
    return call(np.less, a, b, _result(a, b, bool))


def equal(a: Array, b: Array) -> Array:
    return call(np.equal, a, b, _result(a, b, bool))


def logical_and(a: Array, b: Array) -> Array:
    return call(np.logical_and, a, b, _result(a, b, bool))


def negative(a: Array, out: Array | None = None) -> Array:
    return call(np.negative, a, like(a) if out is None else out)


def absolute(a: Array, out: Array | None = None) -> Array:
    return call(np.absolute, a, like(a) if out is None else out)


def sign(a: Array, out: Array | None = None) -> Array:
    return call(np.sign, a, like(a) if out is None else out)


def exp(a: Array, out: Array | None = None) -> Array:
    return call(np.exp, a, like(a) if out is None else out)


def expm1(a: Array, out: Array | None = None) -> Array:
    return call(np.expm1, a, like(a) if out is None else out)


def erf(a: Array, out: Array | None = None) -> Array:
    """The error function, SciPy's."""
    return call(error_function, a, like(a) if out is None else out)


def log(a: Array, out: Array | None = None) -> Array:
    return call(np.log, a, like(a) if out is None else out)


def log1p(a: Array, out: Array | None = None) -> Array:
    return call(np.log1p, a, like(a) if out is None else out)


def sqrt(a: Array, out: Array | None = None) -> Array:
    return call(np.sqrt, a, like(a) if out is None else out)


def square(a: Array, out: Array | None = None) -> Array:
    return call(np.square, a, like(a) if out is None else out)


def tanh(a: Array, out: Array | None = None) -> Array:
    return call(np.tanh, a, like(a) if out is None else out)


def reciprocal(a: Array, out: Array | None = None) -> Array:
    return call(np.reciprocal, a, like(a) if out is None else out)


def copy(a: Array, out: Array | None = None, dtype: Any = None) -> Array:
    """`a` in new C-ordered memory or in `out`, converted to its dtype."""
    return call(copied, a, empty(a.shape, dtype or a.dtype) if out is None else out)


def dense(a: Array) -> Array:
    """`a` if it is C-contiguous, else a copy that is."""
    return a if a.flags.c_contiguous else copy(a)


def into(out: Array | None, found: Array) -> Array:
    """`found`, copied into `out` if there is one: how a gradient that lies elsewhere is handed over."""
    return found if out is None or out is found else copy(found, out=out)


def fill(value: complex, out: Array) -> Array:
    return call(filled, value, out)


def sum(a: Array, axes: Axes, keepdims: bool = False, out: Array | None = None) -> Array:
    return call(summed, a, axes, keepdims, _reduced(a, axes, keepdims) if out is None else out)


def max(a: Array, axes: Axes, keepdims: bool = False) -> Array:
    return call(highest, a, axes, keepdims, _reduced(a, axes, keepdims))


def min(a: Array, axes: Axes, keepdims: bool = False) -> Array:
    return call(lowest, a, axes, keepdims, _reduced(a, axes, keepdims))


def take(a: Array, where: Array) -> Array:
    """The elements of `a` at the flat indices `where`."""
    return call(taken, a, where, empty(where.shape, a.dtype))


def add_at(where: Array, values: Array | float, out: Array) -> Array:
    """`out[where] += values` on flat indices, none of which occurs twice; `out` must be C-contiguous."""
    return call(added_at, where, values, out)


@kernel
def larger(a: Array, b: Array, out: Array) -> None:
    np.maximum(a, b, out=out)


@kernel
def clamped_below(bound: float, a: Array, out: Array) -> None:
    a, limit, out = _in_rows(bound, a, out)
    np.maximum(a, limit, out=out)


@kernel
def clamped_above(bound: float, a: Array, out: Array) -> None:
    a, limit, out = _in_rows(bound, a, out)
    np.minimum(a, limit, out=out)


@kernel
def error_function(a: Array, out: Array) -> None:
    from scipy.special import erf  # it takes longer to import than all of mlkit

    erf(a, out=out)


@kernel
def copied(a: Array, out: Array) -> None:
    np.copyto(out, a, casting="unsafe")


@kernel
def filled(value: complex, out: Array) -> None:
    out.fill(value)


@kernel
def summed(a: Array, axes: Axes, keepdims: bool, out: Array) -> None:
    np.add.reduce(a, axes, out=out, keepdims=keepdims)


@kernel
def highest(a: Array, axes: Axes, keepdims: bool, out: Array) -> None:
    np.maximum.reduce(a, axes, out=out, keepdims=keepdims)


@kernel
def lowest(a: Array, axes: Axes, keepdims: bool, out: Array) -> None:
    np.minimum.reduce(a, axes, out=out, keepdims=keepdims)


@kernel
def taken(a: Array, where: Array, out: Array) -> None:
    a.take(where, out=out, mode="clip")  # any other mode makes take buffer its output


@kernel
def added_at(where: Array, values: Array | float, out: Array) -> None:
    out.reshape(-1)[where] += values


@binding(larger)
def _(a: Array, b: Array, out: Array) -> Bound:
    return _into(np.maximum, a, b, out)


@binding(clamped_below)
def _(bound: float, a: Array, out: Array) -> Bound:
    return _into(np.maximum, *_in_rows(bound, a, out))


@binding(clamped_above)
def _(bound: float, a: Array, out: Array) -> Bound:
    return _into(np.minimum, *_in_rows(bound, a, out))


@binding(copied)
def _(a: Array, out: Array) -> Bound:
    return np.copyto, (out, a, "unsafe")


@binding(summed)
def _(a: Array, axes: Axes, keepdims: bool, out: Array) -> Bound:
    return np.add.reduce, (a, axes, None, out, keepdims)


@binding(highest)
def _(a: Array, axes: Axes, keepdims: bool, out: Array) -> Bound:
    return np.maximum.reduce, (a, axes, None, out, keepdims)


@binding(lowest)
def _(a: Array, axes: Axes, keepdims: bool, out: Array) -> Bound:
    return np.minimum.reduce, (a, axes, None, out, keepdims)


def _result(a: Array, b: Array, dtype: Any = None) -> Array:
    if a.shape == b.shape or not b.ndim or a.shape[-b.ndim :] == b.shape:
        return like(a, dtype)
    shape = np.broadcast_shapes(a.shape, b.shape)
    return like(a if shape == a.shape else b, dtype or a.dtype) if shape in (a.shape, b.shape) else empty(shape, dtype or a.dtype)


def _into(ufunc: np.ufunc, a: Array, b: Array, out: Array) -> Bound:
    return partial(ufunc, a, b, out=out), ()  # a positional out is deprecated for maximum and minimum


def _in_rows(bound: float, a: Array, out: Array) -> tuple[Array, Array, Array]:
    """The operands in long rows beside a row of the bound: NumPy's SIMD loops want an array where a scalar would do."""
    if a.ndim > 2 and a.strides == out.strides and not a.flags.c_contiguous:
        order = memory_order(a)
        a, out = a.transpose(order), out.transpose(order)
    if a.flags.c_contiguous and out.flags.c_contiguous:
        length = long_row(a.size)
        shape = (length,) if length == a.size else (-1, length)
        a, out = a.reshape(shape), out.reshape(shape)
    return a, row(bound, a.shape[-1] if a.ndim else 1, a.dtype), out


def _reduced(a: Array, axes: Axes, keepdims: bool) -> Array:
    shape = tuple(1 if i in axes else n for i, n in enumerate(a.shape) if keepdims or i not in axes)
    return empty(shape, a.dtype)
