"""One product of two matrices: ?gemm, or ?gemv where a side has size 1."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ... import kernels as k
from ...errors import ArgumentError, ShapeError
from ...kernels import Array, Bound
from ..library import LETTERS
from ..selection import current
from .operand import check_dtypes, check_out, layout, overlap, pointer, refuse_too_large, scalar

ROW_MAJOR, COLUMN_MAJOR = 101, 102
PLAIN, TRANSPOSED = 111, 112
Factor = complex | Array  # a number, or a 0-d array that is read at each call


def multiply(a: Array, b: Array, out: Array | None, alpha: Factor, beta: Factor) -> Array:
    """`gemm` for two matrices."""
    (m, inner), (rows, n) = a.shape, b.shape
    if inner != rows:
        raise ShapeError(f"gemm: {a.shape} @ {b.shape}: the inner dimensions {inner} and {rows} differ")
    dtype = a.dtype
    if dtype not in LETTERS or b.dtype != dtype:
        check_dtypes("gemm", a, b)
    if out is None:
        require_out(beta)
        out = k.empty((m, n), dtype)
    else:
        check_out(out, (m, n), dtype)
        if overlap(out, a, b):
            return through(multiply, a, b, out, alpha, beta)
    if nothing_to_multiply(m, n, inner, alpha):
        return scale(out, beta)
    bound = _bind_in_place(a, b, alpha, beta, out)
    if bound is None:
        return _copied(a, b, out, alpha, beta)
    k.run(matrix_product, (a, b, alpha, beta, out), bound)
    return out


def bind(a: Array, b: Array, out: Array, alpha: Factor = 1.0, beta: Factor = 0.0) -> Callable[[], Any]:
    """`gemm(a, b, out, alpha, beta)` of matrices as a call without arguments, for the library in force now.

    All checks are made here; the arrays must be readable in place, must not overlap `out`, and are kept alive.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ShapeError(f"bind: {a.shape} @ {b.shape}; it takes (m, k) and (k, n)")
    check_dtypes("bind", a, b)
    check_out(out, (a.shape[0], b.shape[1]), a.dtype)
    if overlap(out, a, b):
        raise ArgumentError("bind: `out` overlaps an operand")
    if nothing_to_multiply(out.shape[0], out.shape[1], a.shape[1], alpha):
        return partial(scale, out, beta)
    bound = _bind_in_place(a, b, alpha, beta, out)
    if bound is None:
        raise ArgumentError(f"bind: strides {a.strides}, {b.strides}, {out.strides} cannot be read in place: copy first")
    call = partial(bound[0], *bound[1])
    call.__dict__["arrays"] = a, b, out  # raw pointers keep nothing alive
    return call


@k.kernel
def matrix_product(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> None:
    """A product whose operands are all readable in place: what a plan logs."""
    function, arguments = _bind_product(a, b, alpha, beta, out)
    function(*arguments)


@k.binding(matrix_product)
def _bind_product(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> Bound:
    check_dtypes("gemm", a, b, out)
    bound = _bind_in_place(a, b, alpha, beta, out) if out.shape == (a.shape[0], b.shape[1]) else None
    if bound is None or a.shape[1] != b.shape[0]:  # no plan that was captured gets here, an altered file might
        raise ShapeError(f"gemm: {a.shape} @ {b.shape} -> {out.shape} is no product that can be made in place")
    return bound


@k.counting(matrix_product)
def _(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> int:
    return flops(a, b)


def flops(a: Array, b: Array) -> int:
    """Real operations of `a @ b`: two for each multiply-add, eight if it is complex."""
    return int((8 if a.dtype.kind == "c" else 2) * a.size * b.shape[-1])


def _bind_in_place(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> Bound | None:
    """The CBLAS call, or None if an operand must be copied first."""
    left, right, target = layout(a), layout(b), layout(out)
    if left is None or right is None or target is None:
        return None
    library = current()
    (m, inner), n, dtype = a.shape, b.shape[1], a.dtype
    (ta, lda, pa), (tb, ldb, pb), (tc, ldc, pc) = left, right, target
    if max(m, n, inner, lda, ldb, ldc) > library.largest:
        refuse_too_large(library, m, n, inner, lda, ldb, ldc)
    integer, factor, keep = library.integer, scalar(dtype, alpha), scalar(dtype, beta)
    if n == 1 or m == 1:  # a gemm of such a shape is up to four times slower than the gemv
        if n == 1:  # y = A x
            transposed, rows, columns, matrix, ld = ta, m, inner, pa, lda
            x, incx, incy = pb, 1 if tb else ldb, 1 if tc else ldc
        else:  # yᵀ = Bᵀ xᵀ
            transposed, rows, columns, matrix, ld = not tb, n, inner, pb, ldb
            x, incx, incy = pa, lda if ta else 1, ldc if tc else 1
        if transposed:
            rows, columns = columns, rows  # as it lies in memory
        return library.gemv[dtype], (
            ROW_MAJOR, TRANSPOSED if transposed else PLAIN, integer(rows), integer(columns),
            factor, pointer(matrix), integer(ld), pointer(x), integer(incx), keep, pointer(pc), integer(incy),
        )  # fmt: skip
    # A transposed `out` is a product in column-major order, in which the operands' own orders flip.
    return library.gemm[dtype], (
        COLUMN_MAJOR if tc else ROW_MAJOR,
        TRANSPOSED if ta != tc else PLAIN,
        TRANSPOSED if tb != tc else PLAIN,
        integer(m), integer(n), integer(inner),
        factor, pointer(pa), integer(lda), pointer(pb), integer(ldb), keep, pointer(pc), integer(ldc),
    )  # fmt: skip


def require_out(beta: Factor) -> None:
    if isinstance(beta, np.ndarray) or beta:
        raise ArgumentError("gemm: beta needs an `out` to scale")


def nothing_to_multiply(m: int, n: int, inner: int, alpha: Factor) -> bool:
    """Whether only beta * out is left; libraries differ here, above all when there are NaNs."""
    return not (m and n and inner) or (not isinstance(alpha, np.ndarray) and not alpha)


def scale(out: Array, beta: Factor) -> Array:
    """`out = beta * out`, where beta=0 never reads it."""
    if out.size == 0:
        return out
    if isinstance(beta, np.ndarray):
        return k.multiply(out, beta, out=out)
    if beta == 0:
        return k.fill(0, out)
    return out if beta == 1 else k.multiply(out, k.scalar(beta, out.dtype), out=out)


def through(product: Callable[..., Array], a: Array, b: Array, out: Array, alpha: Factor, beta: Factor) -> Array:
    """The product by way of new memory: `out` overlaps an operand, or lies in a way that CBLAS cannot write."""
    target = k.empty(out.shape, out.dtype)
    if isinstance(beta, np.ndarray) or beta:
        k.copy(out, out=target)
    return k.copy(product(a, b, target, alpha, beta), out=out)


def _copied(a: Array, b: Array, out: Array, alpha: Factor, beta: Factor) -> Array:
    """The product of operands that cannot all be read in place: those that cannot are copied."""
    if layout(out) is None:
        return through(multiply, a, b, out, alpha, beta)
    a, b = (x if layout(x) is not None else k.copy(x) for x in (a, b))
    return multiply(a, b, out, alpha, beta)
