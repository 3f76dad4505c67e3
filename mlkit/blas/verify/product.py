"""Products against extended precision: gemm, gemv, stacks, level 1, in four precisions."""

import ctypes
from itertools import product
from typing import Any

import numpy as np

from ...kernels import Array
from ..library import LETTERS, REALS, Library
from ..product.matrix import PLAIN, ROW_MAJOR
from ..product.operand import pointer, scalar
from .case import DTYPES, LIMIT, ORDERS, Wrong, case, drawn, extended, ratio, raw_gemm, raw_gemv, unit

SIZES = (
    (1, 1, 1),
    (7, 3, 5),
    (17, 64, 33),
    (64, 200, 96),
    (128, 33, 130),
    (5, 500, 7),
    (100, 1, 100),
    (63, 65, 127),
    (1, 40, 90),
    (90, 40, 1),
)
MATRICES = ((1, 1), (7, 3), (33, 129), (200, 17), (64, 64))
TURNS = ((False, False), (False, True), (True, False), (True, True))
FACTORS = ((1.0, 0.0), (-0.5, 1.0), (2.0, 0.25), (0.0, 2.0), (1.0, 1.0))


def _gemm(dtype: Any) -> Any:
    def check(library: Library) -> str:
        rng, worst = np.random.default_rng(1), 0.0
        factors = [*FACTORS, (0.5 - 1j, 1j)] if np.dtype(dtype).kind == "c" else FACTORS
        for (m, inner, n), turned, order in product(SIZES, TURNS, ORDERS):
            alpha, beta = factors[(m + n + inner + sum(turned)) % len(factors)]
            a, b, c = drawn(rng, dtype, m, inner), drawn(rng, dtype, inner, n), drawn(rng, dtype, m, n)
            lying = [np.array(x.T if flag else x, order="C" if order == ROW_MAJOR else "F") for x, flag in zip((a, b), turned)]
            found = np.array(c, order="C" if order == ROW_MAJOR else "F")
            raw_gemm(library, lying[0], lying[1], found, alpha, beta, turned, order, (m, n, inner))
            share = ratio(found, a, b, alpha, beta, c)
            worst = max(worst, share)
            if share > LIMIT:
                words = (
                    f"{m}×{inner}×{n} {''.join('NT'[flag] for flag in turned)}, {'row' if order == ROW_MAJOR else 'column'}-major"
                )
                raise Wrong(f"{words}, alpha {alpha}, beta {beta}: error {share:.3g} of {LIMIT:g} allowed")
        return f"worst error {worst:.2f} of {LIMIT:g} allowed"

    check.__doc__ = f"cblas_{LETTERS[dtype]}gemm: sizes, transposes, orders, alpha and beta"
    return check


def _gemv(dtype: Any) -> Any:
    def check(library: Library) -> str:
        rng, worst = np.random.default_rng(2), 0.0
        for (m, n), turned, (alpha, beta), step in product(MATRICES, (False, True), FACTORS, (1, 3, -1)):
            a = drawn(rng, dtype, m, n)
            rows, columns = (n, m) if turned else (m, n)
            x, y = drawn(rng, dtype, 3 * columns), drawn(rng, dtype, 3 * rows)
            x, y = (v[:: abs(step)][:size][:: 1 if step > 0 else -1] for v, size in ((x, columns), (y, rows)))
            before = y.copy()
            raw_gemv(library, a, x, y, alpha, beta, turned)
            share = ratio(y[:, None], a.T if turned else a, x[:, None], alpha, beta, before[:, None])
            worst = max(worst, share)
            if share > LIMIT:
                words = f"{m}×{n}{' transposed' * turned}, stride {step}, alpha {alpha}, beta {beta}"
                raise Wrong(f"{words}: error {share:.3g} of {LIMIT:g} allowed")
        return f"worst error {worst:.2f} of {LIMIT:g} allowed"

    check.__doc__ = f"cblas_{LETTERS[dtype]}gemv: sizes, transposes, strides also below 0, alpha and beta"
    return check


for _dtype in DTYPES:
    case(f"gemm {_dtype}")(_gemm(_dtype))
    case(f"gemv {_dtype}")(_gemv(_dtype))


@case("stacks")
def stacks(library: Library) -> str:
    """cblas_?gemm_batch_strided, where there is one: products, gaps between them, a shared operand"""
    rng, worst, found = np.random.default_rng(3), 0.0, []
    for dtype in DTYPES:
        routine = library.routine("gemm_batch_strided", dtype)
        if routine is None:
            continue
        found.append(LETTERS[dtype])
        for (count, m, inner, n), shared in product(((1, 3, 4, 5), (7, 16, 33, 8), (20, 5, 64, 64)), (False, True)):
            a, b = drawn(rng, dtype, count, m, inner + 3), drawn(rng, dtype, 1 if shared else count, inner, n)
            c = np.full((count, m + 2, n + 1), 7, dtype)
            integer = library.integer
            routine(
                ROW_MAJOR, PLAIN, PLAIN, integer(m), integer(n), integer(inner), scalar(dtype, 1.0), pointer(a.ctypes.data),
                integer(inner + 3), integer(m * (inner + 3)),
                pointer(b.ctypes.data), integer(n), integer(0 if shared else inner * n),
                scalar(dtype, 0.0), pointer(c.ctypes.data), integer(n + 1), integer((m + 2) * (n + 1)), integer(count),
            )  # fmt: skip
            nothing = np.zeros((m, n), dtype)
            for number in range(count):
                share = ratio(c[number, :m, :n], a[number, :, :inner], b[0 if shared else number], 1, 0, nothing)
                worst = max(worst, share)
            if worst > LIMIT:
                raise Wrong(f"{count} of {m}×{inner}×{n} in {dtype}{', shared' * shared}: error {worst:.3g} of {LIMIT:g} allowed")
            if not (c[:, m:] == 7).all() or not (c[:, :, n:] == 7).all():
                raise Wrong(f"{count} of {m}×{inner}×{n} in {dtype}: it wrote between the results")
    return f"in {', '.join(found)}: worst error {worst:.2f} of {LIMIT:g} allowed" if found else "it has none"


@case("level 1")
def level_one(library: Library) -> str:
    """cblas_?axpy, ?scal, ?dot, ?nrm2, ?asum: lengths, strides also below 0, sums against extended precision"""
    rng = np.random.default_rng(4)
    for dtype, size, step in product(DTYPES, (0, 1, 2, 7, 64, 1000, 4099), (1, 2, -1)):
        x, y = (drawn(rng, dtype, 2 * size + 1)[:: abs(step)][:size][:: 1 if step > 0 else -1] for _ in range(2))
        _axpy(library, x, y)
        _scal(library, x)
        _dot(library, x, y)
        if step > 0:  # the others say nothing of strides below 1
            _norms(library, x)
    return "all within their bounds"


@case("norms")
def norms(library: Library) -> str:
    """cblas_?nrm2 of numbers whose squares overflow or underflow"""
    notes = []
    for dtype in (np.dtype("f4"), np.dtype("f8")):
        limits = np.finfo(dtype)
        for value in (limits.max / 4, limits.tiny * 4):
            found = _reduced(library, "nrm2", np.full(9, value, dtype))
            if not np.isclose(found / value, 3, rtol=1e-5):
                notes.append(f"{LETTERS[dtype]}nrm2 of nine numbers of {value:.1e} is {found:.3g} times one, not 3")
    if notes:
        raise Wrong("; ".join(notes))
    return "neither overflow nor underflow on the way"


def _vectors(library: Library, *vectors: Array) -> list[Any]:
    found: list[Any] = []
    for v in vectors:
        step = v.strides[0] // v.itemsize if len(v) > 1 else 1
        found += [pointer(v.ctypes.data + min(0, (len(v) - 1) * v.strides[0])), library.integer(step)]
    return found


def _axpy(library: Library, x: Array, y: Array) -> None:
    whole = np.full(2 * len(y), 7, y.dtype)
    found = whole[::2]
    found[:] = y
    library.routine("axpy", x.dtype)(library.integer(len(x)), scalar(x.dtype, -1.5), *_vectors(library, x, found))
    if (whole[1::2] != 7).any():
        raise Wrong(f"{LETTERS[x.dtype]}axpy of {len(x)} numbers wrote between those of y")
    wanted = extended(y) - 1.5 * extended(x)
    bound = 3 * unit(x.dtype) * (np.abs(y) + 1.5 * np.abs(x)).astype(np.longdouble)
    if (np.abs(extended(found) - wanted) > bound).any():
        raise Wrong(f"{LETTERS[x.dtype]}axpy of {len(x)} numbers, stride {x.strides[0] // x.itemsize if len(x) else 1}")


def _scal(library: Library, x: Array) -> None:
    """One rounding for each product of reals; three for each of complex numbers, of which alpha is real here."""
    whole = np.full(2 * len(x), 7, x.dtype)
    found = whole[::2]
    found[:] = x
    library.routine("scal", x.dtype)(library.integer(len(x)), scalar(x.dtype, 0.3), *_vectors(library, found))
    wanted = extended(x) * extended(np.array(0.3, x.real.dtype))
    if (np.abs(extended(found) - wanted) > 3 * unit(x.dtype) * np.abs(wanted)).any():
        raise Wrong(f"{LETTERS[x.dtype]}scal of {len(x)} numbers")
    if (whole[1::2] != 7).any():
        raise Wrong(f"{LETTERS[x.dtype]}scal of {len(x)} numbers wrote between them")


def _dot(library: Library, x: Array, y: Array) -> None:
    letter, count = LETTERS[x.dtype], library.integer(len(x))
    if x.dtype.kind == "c":
        out = np.zeros(1, x.dtype)
        library.routine("dotu_sub", x.dtype)(count, *_vectors(library, x, y), pointer(out.ctypes.data))
        found = out[0]
    else:
        found = x.dtype.type(library.routine("dot", x.dtype, REALS[letter])(count, *_vectors(library, x, y)))
    products = extended(x) * extended(y)
    bound = LIMIT * unit(x.dtype) * (len(x) + 2) * np.abs(products).sum()
    if abs(extended(np.array(found)) - products.sum()) > bound:
        raise Wrong(f"{letter}dot of {len(x)} numbers is {found}, not {products.sum()}")


def _norms(library: Library, x: Array) -> None:
    wide = extended(x)
    parts = np.concatenate([wide.real, wide.imag]) if x.dtype.kind == "c" else wide
    for name, wanted in (("nrm2", np.sqrt(np.square(parts).sum())), ("asum", np.abs(parts).sum())):
        found = _reduced(library, name, x)
        if abs(found - wanted) > LIMIT * unit(x.real.dtype) * (len(parts) + 2) * max(wanted, 1e-30):
            raise Wrong(f"{name} of {len(x)} {x.dtype} is {found}, not {wanted}")


def _reduced(library: Library, name: str, x: Array) -> float:
    """?nrm2 and ?asum, whose names of complex ones begin with the real letter."""
    letter = LETTERS[x.dtype]
    real = {"c": "s", "z": "d"}.get(letter, "")
    function = library.routine(f"{real}{letter}{name}")
    if function is None:
        raise Wrong(f"it has no cblas_{real}{letter}{name}")
    function.restype = ctypes.c_float if letter in "sc" else ctypes.c_double
    return float(function(library.integer(len(x)), *_vectors(library, x)))
