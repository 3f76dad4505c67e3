"""Level 1: whole-vector operations, for arrays of any shape whose elements lie at one stride.

They pay from some 16,000 elements on; below, the call costs more than NumPy's. A library with several threads may
spread even these over them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import numpy as np

from ... import kernels as k
from ...errors import ArgumentError, ShapeError
from ...kernels import Array, Bound
from ..library import LETTERS, REALS, Dtype, Library
from ..selection import current
from .matrix import Factor
from .operand import check_dtypes, check_out, data_address, merge, pointer, refuse_too_large, scalar


def axpy(x: Array, y: Array, alpha: Factor = 1.0) -> Array:
    """`y += alpha * x`, in place. Routine: ?axpy."""
    _check_pair("axpy", x, y)
    return _in_place(scaled_add, _apart(x, y), alpha, y)


def axpby(x: Array, y: Array, alpha: Factor = 1.0, beta: Factor = 1.0) -> Array:
    """`y = alpha * x + beta * y`, in place. Routine: ?axpby, or ?scal and ?axpy where the library lacks it."""
    _check_pair("axpby", x, y)
    return _in_place(scaled_sum, _apart(x, y), alpha, beta, y)


def bind_axpby(x: Array, y: Array, alpha: Array | None = None, beta: Array | None = None) -> list[Bound]:
    """`y = alpha * x + beta * y` as bound calls: one of BLAS, or NumPy's two where they are faster, which may overwrite x.

    A factor is a 0-d array that is read at each call, or None for 1. The caller keeps the arrays. Measured on blocks of
    32,768 (2.0 µs for one pass of OpenBLAS 0.3.31, 9 µs before it, 2.7 µs for two ufuncs): axpy pays with one thread,
    axpby where its kernel is vectorised. The rule depends on nothing but strides, library and threads, so that the same
    choice gives the same bits.
    """
    library, dtype = current(), x.dtype
    alone = library.threads == 1 and stride(x) is not None and stride(y) is not None  # OpenBLAS would spread it over its threads
    if alone and beta is None:
        count, *vectors = _vectors(x, y)
        return [(_routine(library, "axpy", dtype), (count, scalar(dtype, 1.0 if alpha is None else alpha), *vectors))]
    if alone and library.axpby[dtype] is not None and _axpby_is_vectorised(library):
        count, *vectors = _vectors(x, y)
        factors = [scalar(dtype, 1.0 if f is None else f) for f in (alpha, beta)]
        return [(library.axpby[dtype], (count, factors[0], *vectors[:2], factors[1], *vectors[2:]))]
    scaled: list[Bound] = [(np.multiply, (a, f, a)) for a, f in ((x, alpha), (y, beta)) if f is not None]
    return [*scaled, (np.add, (y, x, y))]


def scal(x: Array, alpha: Factor) -> Array:
    """`x *= alpha`, in place. Routine: ?scal."""
    check_dtypes("scal", x)
    return _in_place(scaled, alpha, x)


def dot(x: Array, y: Array, out: Array | None = None) -> Array:
    """Sum of `x * y`, nothing conjugated: -> (). Routine: ?dot, ?dotu."""
    _check_pair("dot", x, y)
    return _reduced(inner_product, x.dtype, out, _strided(x), _strided(y))


def asum(x: Array, out: Array | None = None) -> Array:
    """Sum of `|x|`; of `|real| + |imaginary|` if x is complex: -> (). Routine: ?asum."""
    check_dtypes("asum", x)
    return _reduced(absolute_sum, x.real.dtype, out, _strided(x))


def nrm2(x: Array, out: Array | None = None) -> Array:
    """Euclidean norm: -> (). It neither overflows nor underflows on the way. Routine: ?nrm2."""
    check_dtypes("nrm2", x)
    return _reduced(euclidean_norm, x.real.dtype, out, _strided(x))


@k.kernel
def scaled_add(x: Array, alpha: Factor, y: Array) -> None:
    _run(_bind_axpy(x, alpha, y))


@k.kernel
def scaled_sum(x: Array, alpha: Factor, beta: Factor, y: Array) -> None:
    _run(_bind_axpby(x, alpha, beta, y))


@k.kernel
def scaled(alpha: Factor, x: Array) -> None:
    _run(_bind_scal(alpha, x))


@k.kernel
def inner_product(x: Array, y: Array, out: Array) -> None:
    _run(_bind_dot(x, y, out))


@k.kernel
def absolute_sum(x: Array, out: Array) -> None:
    _run(_bind_asum(x, out))


@k.kernel
def euclidean_norm(x: Array, out: Array) -> None:
    _run(_bind_nrm2(x, out))


@k.binding(scaled_add)
def _bind_axpy(x: Array, alpha: Factor, y: Array) -> Bound:
    count, *vectors = _vectors(x, y)
    return _routine(current(), "axpy", x.dtype), (count, scalar(x.dtype, alpha), *vectors)


@k.binding(scaled_sum)
def _bind_axpby(x: Array, alpha: Factor, beta: Factor, y: Array) -> Bound:
    library, (count, *vectors), dtype = current(), _vectors(x, y), x.dtype
    factors = scalar(dtype, alpha), scalar(dtype, beta)
    together = library.axpby[dtype]
    if together is not None:
        return together, (count, factors[0], *vectors[:2], factors[1], *vectors[2:])
    scal, axpy = (_routine(library, name, dtype) for name in ("scal", "axpy"))
    return _both, (scal, (count, factors[1], *vectors[2:]), axpy, (count, factors[0], *vectors))


@k.binding(scaled)
def _bind_scal(alpha: Factor, x: Array) -> Bound:
    count, *vector = _vectors(x)
    return _routine(current(), "scal", x.dtype), (count, scalar(x.dtype, alpha), *vector)


@k.binding(inner_product)
def _bind_dot(x: Array, y: Array, out: Array) -> Bound:
    vectors = _vectors(x, y)
    if x.dtype.kind == "c":
        return _routine(current(), "dotu_sub", x.dtype), (*vectors, pointer(data_address(out)))
    return _store, (_routine(current(), "dot", x.dtype, returns=True), vectors, out)


@k.binding(absolute_sum)
def _bind_asum(x: Array, out: Array) -> Bound:
    return _store, (_routine(current(), "asum", x.dtype, returns=True), _vectors(x), out)


@k.binding(euclidean_norm)
def _bind_nrm2(x: Array, out: Array) -> Bound:
    return _store, (_routine(current(), "nrm2", x.dtype, returns=True), _vectors(x), out)


@k.counting(scaled_add, scaled_sum, inner_product)
def _(x: Array, *_: Any) -> int:
    return 2 * x.size


@lru_cache(256)
def _routine(library: Library, name: str, dtype: Dtype, returns: bool = False) -> Any:
    letter = LETTERS[dtype]
    if not returns:
        return library.routine(name, dtype)
    real = REALS[letter]
    if dtype.kind == "c":  # scasum, dznrm2: the result's letter, then the operand's
        return library.routine({"c": "sc", "z": "dz"}[letter] + name, restype=real)
    return library.routine(name, dtype, restype=real)


def _vectors(*arrays: Array) -> tuple[Any, ...]:
    """n, then address and increment of each array."""
    library, first = current(), arrays[0]
    found = [stride(x) for x in arrays]
    if None in found or any(x.size != first.size or x.dtype != first.dtype for x in arrays):  # an altered plan, at most
        raise ShapeError(f"vectors {[x.shape for x in arrays]} of {[str(x.dtype) for x in arrays]} do not fit")
    refuse_too_large(library, first.size, *(step for step in found if step is not None))
    pairs = [(pointer(data_address(x)), library.integer(step or 1)) for x, step in zip(arrays, found)]
    return library.integer(first.size), *(part for pair in pairs for part in pair)


def stride(x: Array) -> int | None:
    """The positive distance, in elements, between successive elements in C order, or None if there is no single one."""
    step = next((step for size, step in zip(x.shape[::-1], x.strides[::-1]) if size != 1), x.itemsize)
    even = merge(x.shape, x.strides) and step > 0 and step % x.itemsize == 0
    return step // x.itemsize if even and x.flags.aligned else None


def _apart(x: Array, y: Array) -> Array:
    """`x` in a form that can be read while `y` is written: element by element is fine, shifted is not."""
    shifted = data_address(x) != data_address(y) or x.strides != y.strides
    return k.copy(x) if shifted and np.may_share_memory(x, y) else _strided(x)


def _strided(x: Array) -> Array:
    return x if stride(x) is not None else k.copy(x)


def _in_place(kernel: Callable[..., None], *operands: Any) -> Array:
    """Run a kernel that updates its last operand, by way of a copy where that has no single stride."""
    *others, y = operands
    if not y.size:
        return cast(Array, y)
    if not y.flags.writeable:
        raise ArgumentError("the array to update is read-only")
    if stride(y) is not None:
        return k.call(kernel, *others, y)
    return k.copy(k.call(kernel, *others, k.copy(y)), out=y)


def _reduced(kernel: Callable[..., None], dtype: Dtype, out: Array | None, *vectors: Array) -> Array:
    if out is None:
        out = k.empty((), dtype)
    else:
        check_out(out, (), dtype)
    return k.call(kernel, *vectors, out) if vectors[0].size else k.fill(0, out)


def _check_pair(what: str, x: Array, y: Array) -> None:
    check_dtypes(what, x, y)
    if x.shape != y.shape:
        raise ShapeError(f"{what}: {x.shape} and {y.shape} differ")


def _axpby_is_vectorised(library: Library) -> bool:
    version = tuple(int(part) for part in library.report.version.split(".")[:3] if part.isdigit())
    return library.report.vendor == "mkl" or (library.report.vendor == "openblas" and version >= (0, 3, 31))


def _both(scal: Any, first: tuple[Any, ...], axpy: Any, second: tuple[Any, ...]) -> None:
    scal(*first)
    axpy(*second)


def _store(function: Any, arguments: tuple[Any, ...], out: Array) -> None:
    out[...] = function(*arguments)


def _run(bound: Bound) -> None:
    bound[0](*bound[1])
