"""Products of stacks of matrices: one gemm where the weights are shared, ?gemm_batch_strided, or slices on workers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ... import kernels as k
from ...errors import ShapeError
from ...kernels import Array, Bound
from .. import threads
from ..library import Library
from ..selection import current
from .matrix import (
    COLUMN_MAJOR,
    PLAIN,
    ROW_MAJOR,
    TRANSPOSED,
    Factor,
    flops,
    multiply,
    nothing_to_multiply,
    readable,
    require_out,
    scale,
    through,
)
from .operand import check_dtypes, check_out, data_address, layout, merge, overlap, pointer, refuse_too_large, scalar

WORTH_A_THREAD = 1_000_000  # FLOPs for each worker: below, handing over takes longer than it saves


def multiply_stacks(a: Array, b: Array, out: Array | None, alpha: Factor, beta: Factor) -> Array:
    """`gemm` for more than two axes."""
    lead, (m, inner), n = _leading_shape(a, b), a.shape[-2:], b.shape[-1]
    check_dtypes("gemm", a, b)
    if out is None:
        require_out(beta)
        out = k.empty((*lead, m, n), a.dtype)
    else:
        check_out(out, (*lead, m, n), a.dtype)
        if overlap(out, a, b):
            return through(multiply_stacks, a, b, out, alpha, beta)
    if out.size == 0 or nothing_to_multiply(m, n, inner, alpha):
        return scale(out, beta)
    if b.ndim == 2 and merge(a.shape[:-1], a.strides[:-1]) and merge(out.shape[:-1], out.strides[:-1]):
        multiply(a.reshape(-1, inner), b, out.reshape(-1, n), alpha, beta)  # shared weights: one product
        return out
    _in_stacks(np.broadcast_to(a, (*lead, m, inner)), np.broadcast_to(b, (*lead, inner, n)), out, alpha, beta)
    return out


def _in_stacks(a: Array, b: Array, out: Array, alpha: Factor, beta: Factor) -> None:
    """All leading axes as one where the strides allow it, else one product for each entry of the first axis."""
    if all(merge(x.shape[:-2], x.strides[:-2]) for x in (a, b, out)):
        left, right, target = (x.reshape(-1, *x.shape[-2:]) for x in (a, b, out))
        _stack(left, right, target, alpha, beta)
    else:
        for i in range(len(out)):
            _in_stacks(a[i], b[i], out[i], alpha, beta)


def _stack(a: Array, b: Array, out: Array, alpha: Factor, beta: Factor) -> None:
    """Three-dimensional operands of the same length."""
    if not _readable(out):
        through(multiply_stacks, a, b, out, alpha, beta)
        return
    a, b = (x if _readable(x) else _copied(x) for x in (a, b))
    k.run(stacked_product, (a, b, alpha, beta, out), _bind_stack(a, b, alpha, beta, out))


@k.kernel
def stacked_product(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> None:
    """Products of three-dimensional operands, all readable in place: what a plan logs."""
    function, arguments = _bind_stack(a, b, alpha, beta, out)
    function(*arguments)


@k.binding(stacked_product)
def _bind_stack(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> Bound:
    if {x.ndim for x in (a, b, out)} != {3} or out.shape != (len(a), a.shape[1], b.shape[2]) or b.shape[:2] != (len(a), a.shape[2]):
        raise ShapeError(f"stacks {a.shape} @ {b.shape} -> {out.shape} do not fit")  # an altered plan, at most
    check_dtypes("gemm", a, b, out)
    dtype = a.dtype
    layouts = [layout(x.shape[1:], x.strides[1:], x.itemsize) for x in (a, b, out)]
    (ta, lda), (tb, ldb), (tc, ldc) = layouts  # type: ignore[misc]  # the caller saw to it
    pa, pb, pc = map(data_address, (a, b, out))
    count, m, inner, n = len(a), a.shape[1], a.shape[2], b.shape[2]
    library = current().for_product(dtype, count, m, n, inner, (ta, tb))
    integer = library.integer
    sa, sb, sc = (x.strides[0] // x.itemsize if count > 1 else 0 for x in (a, b, out))
    refuse_too_large(library, m, n, inner, lda, ldb, ldc, sa, sb, sc, count)
    order = COLUMN_MAJOR if tc else ROW_MAJOR, TRANSPOSED if ta != tc else PLAIN, TRANSPOSED if tb != tc else PLAIN
    sizes, factor, keep = (integer(m), integer(n), integer(inner)), scalar(dtype, alpha), scalar(dtype, beta)
    lda, ldb, ldc = integer(lda), integer(ldb), integer(ldc)
    batch = library.batch_strided[dtype]
    if batch is not None:
        steps = integer(sa), integer(sb), integer(sc)
        left, right = (pointer(pa), lda, steps[0]), (pointer(pb), ldb, steps[1])
        return batch, (*order, *sizes, factor, *left, *right, keep, pointer(pc), ldc, steps[2], integer(count))
    item = a.itemsize
    calls = [
        (*order, *sizes, factor, pointer(pa + i * sa * item), lda, pointer(pb + i * sb * item), ldb, keep,
         pointer(pc + i * sc * item), ldc)
        for i in range(count)
    ]  # fmt: skip
    return _slices, (library, library.gemm[dtype], calls, flops(a, b))


@k.counting(stacked_product)
def _(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> int:
    return flops(a, b)


def _slices(library: Library, gemm: Callable[..., None], calls: list[tuple[Any, ...]], work: int) -> None:
    """One call for each slice; on worker threads with one BLAS thread each, where there is enough to do."""
    workers = min(library.threads or 1, len(calls), work // WORTH_A_THREAD)
    if workers < 2:
        for arguments in calls:
            gemm(*arguments)
        return
    with library.limited(1):
        threads.parallel([partial(_share, library, gemm, calls[i::workers]) for i in range(workers)])


def _share(library: Library, gemm: Callable[..., None], calls: list[tuple[Any, ...]]) -> None:
    if library.scope == "thread":
        library.settle()
    for arguments in calls:
        gemm(*arguments)


def _leading_shape(a: Array, b: Array) -> tuple[int, ...]:
    """The broadcast shape of all axes but the last two."""
    if a.ndim < 2 or b.ndim < 2:
        raise ShapeError(f"gemm: {a.shape} @ {b.shape}; it takes matrices or stacks of them – gemv takes a vector")
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"gemm: {a.shape} @ {b.shape}: the inner dimensions {a.shape[-1]} and {b.shape[-2]} differ")
    try:
        return np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"gemm: {a.shape} @ {b.shape}: the leading axes do not broadcast") from None


def _readable(x: Array) -> bool:
    return readable(x[0]) and x.strides[0] >= 0 and x.strides[0] % x.itemsize == 0


def _copied(x: Array) -> Array:
    """A dense copy; of one slice only, where all are the same."""
    return np.broadcast_to(k.copy(x[:1]), x.shape) if x.strides[0] == 0 else k.copy(x)
