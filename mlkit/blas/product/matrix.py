"""One product of two matrices: ?gemm, or ?gemv where a side has size 1."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from ... import kernels as k
from ...errors import ArgumentError, ShapeError
from ...kernels import Array, Bound
from ..library import LETTERS, Dtype, Library
from ..selection import current
from .operand import check_dtypes, check_out, data_address, layout, overlap, pointer, reach, refuse_too_large, scalar

ROW_MAJOR, COLUMN_MAJOR = 101, 102
PLAIN, TRANSPOSED = 111, 112
Factor = complex | Array  # a number, or a 0-d array that is read at each call
Sizes = tuple[int, ...]
Layout = tuple[bool, int]
Fill = Callable[[int, int, int], tuple[Any, ...]]


def multiply(a: Array, b: Array, out: Array | None, alpha: Factor, beta: Factor) -> Array:
    """`gemm` for two matrices."""
    recipe = _recipe_of(a, b, out, alpha, beta)
    if recipe is not None and recipe.turned is not None:
        a, b = (a, k.copy(b)) if recipe.turned else (k.copy(a, out=k.empty(a.shape[::-1], a.dtype).T), b)
        recipe = _recipe_of(a, b, out, alpha, beta)
    if recipe is not None:
        target = k.empty(recipe.shape, a.dtype) if out is None else out
        arguments = recipe.arguments(a, b, target)
        if arguments is not None:
            k.run(matrix_product, (a, b, alpha, beta, target), (recipe.routine, arguments))
            return target
    return _multiply_otherwise(a, b, out, alpha, beta)


def _multiply_otherwise(a: Array, b: Array, out: Array | None, alpha: Factor, beta: Factor) -> Array:
    """The products that are no single call: refused ones, sizes of zero, overlap, operands to be copied first."""
    (m, inner), (rows, n) = a.shape, b.shape
    if inner != rows:
        raise ShapeError(f"gemm: {a.shape} @ {b.shape}: the inner dimensions {inner} and {rows} differ")
    check_dtypes("gemm", a, b)
    if out is None:
        require_out(beta)
        out = k.empty((m, n), a.dtype)
    else:
        check_out(out, (m, n), a.dtype)
    if nothing_to_multiply(m, n, inner, alpha):
        return scale(out, beta)
    if all(map(readable, (a, b, out))):
        refuse_too_large(current(), m, n, inner, *(stride // a.itemsize for x in (a, b, out) for stride in x.strides))
    if overlap(out, a, b) or not readable(out):
        return through(multiply, a, b, out, alpha, beta)
    a, b = (x if readable(x) else k.copy(x) for x in (a, b))
    return multiply(a, b, out, alpha, beta)


def bind(a: Array, b: Array, out: Array, alpha: Factor = 1.0, beta: Factor = 0.0) -> Callable[[], Any]:
    """`gemm(a, b, out, alpha, beta)` of matrices as one call of one routine, without arguments, for the library in force now.

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
    recipe = _recipe_of(a, b, out, alpha, beta, whole=True)
    arguments = recipe and recipe.arguments(a, b, out)
    if recipe is None or arguments is None:
        raise ArgumentError(f"bind: strides {a.strides}, {b.strides}, {out.strides} cannot be read in place: copy first")
    call = partial(recipe.routine, *arguments)
    call.__dict__["arrays"] = a, b, out  # raw pointers keep nothing alive
    return call


@k.kernel
def matrix_product(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> None:
    """A product whose operands are all readable in place: what a plan logs."""
    function, arguments = _bind_product(a, b, alpha, beta, out)
    function(*arguments)


@k.binding(matrix_product)
def _bind_product(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> Bound:
    recipe = _recipe_of(a, b, out, alpha, beta)
    arguments = recipe and recipe.arguments(a, b, out)
    if recipe is None or arguments is None:  # no plan that was captured gets here, an altered file might
        raise ShapeError(f"gemm: {a.shape} @ {b.shape} -> {out.shape} is no product that can be made in place")
    return recipe.routine, arguments


@k.counting(matrix_product)
def _(a: Array, b: Array, alpha: Factor, beta: Factor, out: Array) -> int:
    return flops(a, b)


def flops(a: Array, b: Array) -> int:
    """Real operations of `a @ b`: two for each multiply-add, eight if it is complex."""
    return int((8 if a.dtype.kind == "c" else 2) * a.size * b.shape[-1])


class Recipe(NamedTuple):
    """A call of ?gemm or ?gemv, or some in turn, but for the addresses."""

    routine: Any
    shape: tuple[int, int]  # of the result
    fill: Callable[[int, int, int], tuple[Any, ...]]  # addresses of a, b, out -> arguments
    reaches: tuple[int, int, int]  # bytes that a, b, out span
    misaligned: int  # bits that no address may have
    turned: int | None  # the operand of which a transposed copy makes it faster

    def arguments(self, a: Array, b: Array, out: Array) -> tuple[Any, ...] | None:
        """The arguments for these arrays, or None if one is misaligned or `out` overlaps another or is read-only."""
        left, right, target = data_address(a), data_address(b), data_address(out)
        na, nb, nc = self.reaches
        if (left | right | target) & self.misaligned or not out.flags.writeable:
            return None
        if (left < target + nc and target < left + na) or (right < target + nc and target < right + nb):
            return None
        return self.fill(left, right, target)


def _recipe_of(a: Array, b: Array, out: Array | None, alpha: Factor, beta: Factor, whole: bool = False) -> Recipe | None:
    """The recipe for such operands in the library in force: looked up, because finding it takes longer than using it."""
    find: Callable[..., Recipe | None] = (
        _recipe.__wrapped__ if isinstance(alpha, np.ndarray) or isinstance(beta, np.ndarray) else _recipe
    )
    library = current()
    target = (None, (), ()) if out is None else (out.dtype, out.shape, out.strides)
    cuts = not whole and library.alone
    return find(library, cuts, a.dtype, a.shape, a.strides, b.dtype, b.shape, b.strides, *target, alpha, beta)


@lru_cache(4096)
def _recipe(
    library: Library, cuts: bool, dtype: Dtype, a_shape: Sizes, a_strides: Sizes, b_dtype: Dtype, b_shape: Sizes, b_strides: Sizes,
    out_dtype: Dtype | None, out_shape: Sizes, out_strides: Sizes, alpha: Factor, beta: Factor,
) -> Recipe | None:  # fmt: skip
    """The CBLAS call for such operands, cut into several if that may be, or None where it takes more, or none."""
    (m, inner), (rows, n), item = a_shape, b_shape, dtype.itemsize
    if out_dtype is None:
        out_dtype, out_shape, out_strides = dtype, (m, n), (n * item, item)
        if isinstance(beta, np.ndarray) or beta:
            return None
    if dtype not in LETTERS or not dtype == b_dtype == out_dtype or inner != rows or out_shape != (m, n):
        return None
    operands = (a_shape, a_strides), (b_shape, b_strides), (out_shape, out_strides)
    left, right, target = (layout(shape, strides, item) for shape, strides in operands)
    if left is None or right is None or target is None or nothing_to_multiply(m, n, inner, alpha):
        return None
    library = library.for_product(dtype, 1, m, n, inner, (left[0], right[0]))
    if max(m, n, inner, left[1], right[1], target[1]) > library.largest:
        return None
    factors = scalar(dtype, alpha), scalar(dtype, beta)
    if n == 1 or m == 1:  # a gemm of such a shape is up to four times slower than the gemv
        routine, fill = library.gemv[dtype], _gemv(library.integer, m, n, inner, left, right, target, factors)
    else:
        routine, fill = library.gemm[dtype], _gemm(library.integer, m, n, inner, left, right, target, factors)
        cut = library.cut(*((n, m) if target[0] else (m, n)), inner) if cuts and dtype.kind == "f" else None
        if cut is not None and (left[0] or not right[0]):  # parts of `a @ b.T` would be packed all the same
            routine, fill = _in_turn, _cut(routine, library.integer, (m, n, inner), operands, item, factors, *cut)
    reaches = tuple(reach(shape, strides, item) for shape, strides in operands)
    plain = min(m, n) > 1 and (left[0], right[0], target[0]) == (False, True, False)
    turned = library.turns(m, n, inner) if plain else None
    return Recipe(routine, (m, n), fill, reaches, dtype.alignment - 1, turned)  # type: ignore[arg-type]  # three of them


def _in_turn(routine: Any, calls: Iterable[tuple[Any, ...]]) -> None:
    for arguments in calls:
        routine(*arguments)


def _cut(
    routine: Any, integer: Any, sizes: Sizes, operands: Sequence[tuple[Sizes, Sizes]], item: int, factors: tuple[Any, Any],
    along_inner: bool, length: int,
) -> Fill:  # fmt: skip
    """Calls for parts of a product: of its inner axis, of its rows, or of its columns if it is made in column-major order."""
    layouts = [layout(shape, strides, item) for shape, strides in operands]
    (_, left), (_, right), (_, target) = operands
    if along_inner:
        axis, moves = 2, (left[1], right[0], 0)
    elif layouts[2][0]:  # type: ignore[index]  # the caller saw to it
        axis, moves = 1, (0, right[1], target[1])
    else:
        axis, moves = 0, (left[0], 0, target[0])
    added = factors[0], type(factors[1])(1)
    parts: list[tuple[Sizes, Fill]] = []
    for first in range(0, sizes[axis], length):
        size = min(length, sizes[axis] - first)
        m, n, inner = (size if i == axis else whole for i, whole in enumerate(sizes))
        make = _gemm(integer, m, n, inner, *layouts, added if along_inner and first else factors)  # type: ignore[arg-type,call-arg]
        parts.append((tuple(first * move for move in moves), make))

    def fill(pa: int, pb: int, pc: int) -> tuple[Any, ...]:
        return routine, tuple(make(pa + da, pb + db, pc + dc) for (da, db, dc), make in parts)

    return fill


def _gemm(integer: Any, m: int, n: int, inner: int, a: Layout, b: Layout, out: Layout, factors: tuple[Any, Any]) -> Fill:
    (ta, lda), (tb, ldb), (tc, ldc) = a, b, out
    # A transposed `out` is a product in column-major order, in which the operands' own orders flip.
    order = COLUMN_MAJOR if tc else ROW_MAJOR
    turned = TRANSPOSED if ta != tc else PLAIN, TRANSPOSED if tb != tc else PLAIN
    sizes, (ca, cb, cc), (alpha, beta) = (integer(m), integer(n), integer(inner)), map(integer, (lda, ldb, ldc)), factors
    head = order, *turned, *sizes, alpha

    def fill(pa: int, pb: int, pc: int) -> tuple[Any, ...]:
        return (*head, pointer(pa), ca, pointer(pb), cb, beta, pointer(pc), cc)

    return fill


def _gemv(integer: Any, m: int, n: int, inner: int, a: Layout, b: Layout, out: Layout, factors: tuple[Any, Any]) -> Fill:
    (ta, lda), (tb, ldb), (tc, ldc) = a, b, out
    if n == 1:  # y = A x
        transposed, rows, ld, incx, incy = ta, m, lda, 1 if tb else ldb, 1 if tc else ldc
    else:  # yᵀ = Bᵀ xᵀ
        transposed, rows, ld, incx, incy = not tb, n, ldb, lda if ta else 1, ldc if tc else 1
    stored = (inner, rows) if transposed else (rows, inner)
    head = ROW_MAJOR, TRANSPOSED if transposed else PLAIN, integer(stored[0]), integer(stored[1]), factors[0]
    (step, stepx, stepy), beta = map(integer, (ld, incx, incy)), factors[1]

    def fill(pa: int, pb: int, pc: int) -> tuple[Any, ...]:
        matrix, x = (pa, pb) if n == 1 else (pb, pa)
        return (*head, pointer(matrix), step, pointer(x), stepx, beta, pointer(pc), stepy)

    return fill


def readable(x: Array) -> bool:
    """Whether CBLAS can read the matrix in place."""
    return layout(x.shape, x.strides, x.itemsize) is not None and x.flags.aligned


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
    a, b = (k.copy(x) if overlap(target, x) else x for x in (a, b))  # its rows lie around the new memory: as_strided can do it
    return k.copy(product(a, b, target, alpha, beta), out=out)
