"""Array views → CBLAS arguments: gemm, gemv, batched gemm, level 1, and calls bound for plans.

Views are read in place where CBLAS can; anything else is copied once. What libraries disagree about – zero sizes,
alpha=0, overlap, illegal leading dimensions, NaN under beta=0 – is settled here, before the call.
"""

from ...errors import DtypeError, ShapeError
from ...kernels import Array
from .batch import multiply_stacks, stacked_product
from .matrix import Factor, bind, matrix_product, multiply
from .vector import (
    absolute_sum,
    asum,
    axpby,
    axpy,
    bind_axpby,
    dot,
    euclidean_norm,
    inner_product,
    nrm2,
    scal,
    scaled,
    scaled_add,
    scaled_sum,
)

__all__ = [
    "KERNELS",
    "Factor",
    "asum",
    "axpby",
    "axpy",
    "bind",
    "bind_axpby",
    "dot",
    "gemm",
    "gemv",
    "nrm2",
    "scal",
]

KERNELS = (
    matrix_product, stacked_product, scaled_add, scaled_sum, scaled, inner_product, absolute_sum, euclidean_norm,
)  # fmt: skip


def gemm(a: Array, b: Array, out: Array | None = None, alpha: Factor = 1.0, beta: Factor = 0.0) -> Array:
    """`alpha * a @ b + beta * out`: (…, m, k), (…, k, n) -> (…, m, n); leading axes broadcast as in np.matmul.

    float32, float64, complex64 or complex128, all of one dtype. alpha and beta are numbers, or 0-d arrays that are read
    at each call. With beta=0 the old contents of `out` are never read. `out` may overlap `a` or `b`.
    Raises ShapeError, DtypeError, ArgumentError. Routines: ?gemm, ?gemv, ?gemm_batch_strided.
    """
    try:
        if a.ndim == 2 == b.ndim:
            return multiply(a, b, out, alpha, beta)
    except AttributeError:
        raise DtypeError(f"gemm takes NumPy arrays, not {type(a).__name__} and {type(b).__name__}") from None
    return multiply_stacks(a, b, out, alpha, beta)


def gemv(a: Array, x: Array, out: Array | None = None, alpha: Factor = 1.0, beta: Factor = 0.0) -> Array:
    """`alpha * a @ x + beta * out`: (m, k), (k,) -> (m,). Otherwise as `gemm`. Routine: ?gemv."""
    if a.ndim != 2 or x.ndim != 1 or a.shape[1] != x.shape[0]:
        raise ShapeError(f"gemv: {a.shape} @ {x.shape}; it takes (m, k) and (k,)")
    column = multiply(a, x[:, None], None if out is None else out[:, None], alpha, beta)
    return column[:, 0] if out is None else out
