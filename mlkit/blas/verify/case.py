"""Every case by its name, and what those of all kinds share: operands, references in extended precision, bounds.

Bound of a product, as in LAPACK's tests: the error is below `LIMIT · u · (k + 2) · (|α| |A| |B| + |β| |C|)`, element by
element, u half the distance of 1 to the next number. Source: Higham 2002, section 3.5.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...kernels import Array
from ..library import LETTERS, Library
from ..product.matrix import COLUMN_MAJOR, PLAIN, ROW_MAJOR, TRANSPOSED
from ..product.operand import pointer, scalar

LIMIT = 4.0
DTYPES = tuple(LETTERS)  # float32, float64, complex64, complex128


class Wrong(Exception):
    """What a library did wrong."""


class Case(NamedTuple):
    """A check of one library: it raises Wrong, or returns what is worth knowing. `seconds` is how long it may take."""

    name: str
    about: str
    check: Callable[[Library], str]
    seconds: float = 60.0


CASES: dict[str, Case] = {}


def case(name: str, seconds: float = 60.0) -> Callable[[Callable[[Library], str]], Callable[[Library], str]]:
    """The decorated function is the case of that name."""

    def register(check: Callable[[Library], str]) -> Callable[[Library], str]:
        CASES[name] = Case(name, (check.__doc__ or "").strip(), check, seconds)
        return check

    return register


def drawn(rng: np.random.Generator, dtype: Any, *shape: int) -> Array:
    """Normal numbers."""
    x = rng.standard_normal(shape)
    return np.asarray(x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)


def extended(x: Array) -> Array:
    """The same numbers with more digits than double precision, where the machine has them."""
    return x.astype(np.clongdouble if x.dtype.kind == "c" else np.longdouble)


def unit(dtype: Any) -> float:
    """Half the distance of 1 to the next number."""
    return float(np.finfo(dtype).eps) / 2


def ratio(found: Array, a: Array, b: Array, alpha: complex, beta: complex, c: Array) -> float:
    """The largest error of `alpha · a @ b + beta · c`, as a share of its bound; infinite if there are NaNs."""
    wanted = alpha * (extended(a) @ extended(b)) + beta * extended(c)
    sizes = [np.abs(x).astype(np.longdouble) for x in (a, b, c)]
    bound = unit(found.dtype) * (a.shape[-1] + 2) * (abs(alpha) * (sizes[0] @ sizes[1]) + abs(beta) * sizes[2])
    if not np.isfinite(found).all():
        return float("inf")
    return float((np.abs(extended(found) - wanted) / (bound + np.finfo(found.dtype).tiny)).max(initial=0))


def raw_gemm(
    library: Library, a: Array, b: Array, c: Array, alpha: complex = 1.0, beta: complex = 0.0,
    turned: tuple[bool, bool] = (False, False), order: int = ROW_MAJOR, sizes: tuple[int, int, int] | None = None,
) -> None:  # fmt: skip
    """cblas_?gemm itself: no check of mlkit's stands before it. Operands lie row by row, or column by column for the other order.

    `a` and `b` are the matrices as they lie; with `turned` the library is told to transpose them. `sizes` are m, n, k.
    """
    dtype, integer = c.dtype, library.integer
    m, n, inner = sizes or (c.shape[0], c.shape[1], a.shape[0] if turned[0] else a.shape[1])
    lead = [x.strides[0 if order == ROW_MAJOR else 1] // x.itemsize for x in (a, b, c)]
    lda, ldb, ldc = (integer(max(1, ld)) for ld in lead)
    trans = [TRANSPOSED if flag else PLAIN for flag in turned]
    library.gemm[dtype](
        order, *trans, integer(m), integer(n), integer(inner), scalar(dtype, alpha), pointer(a.ctypes.data), lda,
        pointer(b.ctypes.data), ldb, scalar(dtype, beta), pointer(c.ctypes.data), ldc,
    )  # fmt: skip


def raw_gemv(
    library: Library, a: Array, x: Array, y: Array, alpha: complex = 1.0, beta: complex = 0.0, turned: bool = False
) -> None:
    """cblas_?gemv of a matrix that lies row by row; x and y may have strides, negative ones too."""
    dtype, integer = y.dtype, library.integer
    steps = [v.strides[0] // v.itemsize for v in (x, y)]
    starts = [
        v.ctypes.data + min(0, (len(v) - 1) * v.strides[0]) for v in (x, y)
    ]  # BLAS counts a negative stride from the other end
    library.gemv[dtype](
        ROW_MAJOR, TRANSPOSED if turned else PLAIN, integer(a.shape[0]), integer(a.shape[1]), scalar(dtype, alpha),
        pointer(a.ctypes.data), integer(max(1, a.strides[0] // a.itemsize)), pointer(starts[0]), integer(steps[0]),
        scalar(dtype, beta), pointer(starts[1]), integer(steps[1]),
    )  # fmt: skip


ORDERS = (ROW_MAJOR, COLUMN_MAJOR)
