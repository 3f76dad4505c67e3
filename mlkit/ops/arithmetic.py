"""Element by element, with broadcasting: `+ - * / **`, exp, log, sqrt, abs, and the matrix product."""

import numpy as np

from .. import kernels as k
from ..blas import gemm
from ..errors import DtypeError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive
from .image import on_lines

Primitive = tuple[Array, Backward]


@primitive
def add(a: Array, b: Array) -> Primitive:
    """`a + b`"""
    _check(a, b, "+")
    y = on_lines(k.add, a, b)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        return lambda out: fold(dy, a.shape, out), lambda out: fold(dy, b.shape, out)

    return y, backward


@primitive
def subtract(a: Array, b: Array) -> Primitive:
    """`a - b`"""
    _check(a, b, "-")
    y = k.subtract(a, b)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        return lambda out: fold(dy, a.shape, out), lambda out: k.negative(fold(dy, b.shape), out=out)

    return y, backward


@primitive
def multiply(a: Array, b: Array) -> Primitive:
    """`a * b`"""
    _check(a, b, "*")
    y = k.multiply(a, b)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        return lambda out: product(dy, b, a.shape, out), lambda out: product(dy, a, b.shape, out)

    return y, backward


@primitive
def divide(a: Array, b: Array) -> Primitive:
    """`a / b`"""
    _check(a, b, "/")
    y = k.divide(a, b)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def db(out: Array | None) -> Array:
            return k.negative(product(k.divide(dy, b), y, b.shape), out=out)

        return lambda out: into(k.divide(dy, b), a.shape, out), db

    return y, backward


@primitive
def power(a: Array, b: Array) -> Primitive:
    """`a ** b`; the gradient of b needs a > 0"""
    _check(a, b, "**")
    y = k.power(a, b)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def da(out: Array | None) -> Array:
            slope = k.multiply(b, k.power(a, k.subtract(b, k.scalar(1, b.dtype))))
            return product(dy, slope, a.shape, out)

        return da, lambda out: product(dy, k.multiply(y, k.log(a)), b.shape, out)

    return y, backward


@primitive
def negative(x: Array) -> Primitive:
    """`-x`"""
    return k.negative(x), lambda dy: (lambda out: k.negative(dy, out=out),)


@primitive
def exp(x: Array) -> Primitive:
    """`e ** x`"""
    y = k.exp(x)
    return y, lambda dy: (lambda out: k.multiply(dy, y, out=out),)


@primitive
def log(x: Array) -> Primitive:
    """Natural logarithm."""
    return k.log(x), lambda dy: (lambda out: k.divide(dy, x, out=out),)


@primitive
def sqrt(x: Array) -> Primitive:
    """Square root; its gradient at 0 is infinite."""
    y = k.sqrt(x)
    return y, lambda dy: (lambda out: k.divide(k.multiply(dy, k.scalar(0.5, x.dtype)), y, out=out),)


@primitive
def absolute(x: Array) -> Primitive:
    """`|x|`; its gradient at 0 is 0"""
    return k.absolute(x), lambda dy: (lambda out: k.multiply(dy, k.sign(x), out=out),)


@primitive
def matmul(a: Array, b: Array) -> Primitive:
    """`a @ b`: (…, m, k), (…, k, n) -> (…, m, n); a vector counts as a row on the left, a column on the right."""
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: {a.shape} @ {b.shape}; multiply by a number with *")
    left = a[None, :] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    y = gemm(left, right)
    shape = y.shape
    drop = tuple(axis for axis, x in ((-2, a), (-1, b)) if x.ndim == 1)
    y = y.reshape(tuple(n for i, n in enumerate(shape) if i - len(shape) not in drop))

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        d = dy.reshape(shape)

        def da(out: Array | None) -> Array:
            if out is not None and out.ndim == left.ndim == d.ndim and left.shape[:-2] == shape[:-2]:
                return gemm(d, right.swapaxes(-1, -2), out=out)
            return into(gemm(d, right.swapaxes(-1, -2)), left.shape, out, a.shape)

        def db(out: Array | None) -> Array:
            if out is not None and out.ndim == right.ndim == d.ndim and right.shape[:-2] == shape[:-2]:
                return gemm(left.swapaxes(-1, -2), d, out=out)
            if right.ndim == 2 and left.ndim > 2 and left.flags.c_contiguous and d.flags.c_contiguous:
                rows, drows = left.reshape(-1, right.shape[0]), d.reshape(-1, right.shape[1])  # shared weights: one product
                return gemm(rows.T, drows, out=None if out is None else out.reshape(right.shape)).reshape(b.shape)
            return into(gemm(left.swapaxes(-1, -2), d), right.shape, out, b.shape)

        return da, db

    return y, backward


def fold(dy: Array, shape: tuple[int, ...], out: Array | None = None) -> Array:
    """`dy` summed over the axes that broadcasting added to `shape`: the gradient of the operand of that shape."""
    if dy.shape == shape:
        return k.into(out, dy)
    lead = dy.ndim - len(shape)
    axes = tuple(i for i in range(dy.ndim) if i < lead or (shape[i - lead] == 1 and dy.shape[i] != 1))
    if lead and axes == tuple(range(lead)):
        return k.sum(dy, axes, out=out)
    kept = None if out is None else out.reshape((1,) * lead + shape)
    return k.sum(dy, axes, keepdims=True, out=kept).reshape(shape)


def product(dy: Array, x: Array, shape: tuple[int, ...], out: Array | None = None) -> Array:
    """`fold(dy * x, shape)`"""
    if dy.shape == shape:
        return k.multiply(dy, x, out=out)
    return fold(k.multiply(dy, x), shape, out)


def into(dx: Array, shape: tuple[int, ...], out: Array | None, final: tuple[int, ...] | None = None) -> Array:
    """`fold(dx, shape)` in the shape `final`, moved to `out` if there is one."""
    return k.into(out, fold(dx, shape).reshape(shape if final is None else final))


def _check(a: Array, b: Array, operator: str) -> None:
    if a.dtype != b.dtype:
        raise DtypeError(f"{a.dtype} {operator} {b.dtype}: convert one of them, as in x.astype(np.float32)")
    if a.shape != b.shape:
        try:
            np.broadcast_shapes(a.shape, b.shape)
        except ValueError:
            raise ShapeError(f"{a.shape} {operator} {b.shape}: the shapes do not broadcast") from None
