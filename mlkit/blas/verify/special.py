"""What libraries disagree about: gaps and edges of operands, numbers that are none, sizes of zero, the smallest numbers."""

import ctypes
import mmap
from itertools import product
from typing import Any

import numpy as np

from ...kernels import Array
from ..library import Dtype, Library
from .case import LIMIT, Wrong, case, drawn, ratio, raw_gemm, raw_gemv

REAL: tuple[Dtype, ...] = (np.dtype("f4"), np.dtype("f8"))
SIZES = (8, 64, 300)
NAN = float("nan")


@case("gaps")
def gaps(library: Library) -> str:
    """Rows that lie apart: what is between them is neither read – it is NaN – nor written"""
    rng = np.random.default_rng(0)
    for dtype, size in product(REAL, SIZES):
        a, b = np.full((size, size + 3), NAN, dtype), np.full((size, size + 5), NAN, dtype)
        a[:, :size], b[:, :size] = drawn(rng, dtype, size, size), drawn(rng, dtype, size, size)
        c = np.full((size + 1, size + 7), 7, dtype)
        raw_gemm(library, a[:, :size], b[:, :size], c[:size, :size])
        if ratio(c[:size, :size], a[:, :size], b[:, :size], 1, 0, np.zeros((size, size), dtype)) > LIMIT:
            raise Wrong(f"{dtype}, {size}: the result is wrong where rows lie apart")
        if not (c[:size, size:] == 7).all() or not (c[size] == 7).all():
            raise Wrong(f"{dtype}, {size}: it writes between or behind the rows of the result")
    return "neither read nor written"


@case("offsets")
def offsets(library: Library) -> str:
    """Operands that begin at any element of a cache line"""
    rng = np.random.default_rng(0)
    for dtype, shift in product(REAL, range(1, 16, 2)):
        memory = [np.zeros(40 * 50 + 64, dtype) for _ in range(3)]
        a, b, c = (
            m[shift + i : shift + i + r * s].reshape(r, s) for i, (m, r, s) in enumerate(zip(memory, (33, 50, 33), (50, 40, 40)))
        )
        a[...], b[...] = drawn(rng, dtype, *a.shape), drawn(rng, dtype, *b.shape)
        raw_gemm(library, a, b, c)
        if ratio(c, a, b, 1, 0, np.zeros_like(c)) > LIMIT:
            raise Wrong(f"{dtype}, {shift} elements from the beginning: the result is wrong")
    return "right at every one"


@case("edges of memory")
def edges(library: Library) -> str:
    """Operands that end where memory ends: a library that reads or writes a byte too far is killed by SIGSEGV"""
    rng = np.random.default_rng(0)
    for dtype, (m, inner, n) in product(REAL, ((1, 1, 1), (3, 5, 7), (8, 8, 8), (17, 31, 13), (64, 100, 48), (5, 300, 1))):
        a, b, c = (_at_the_end(shape, dtype) for shape in ((m, inner), (inner, n), (m, n)))
        a[...], b[...] = drawn(rng, dtype, m, inner), drawn(rng, dtype, inner, n)
        raw_gemm(library, a, b, c)
        if ratio(c, a, b, 1, 0, np.zeros((m, n), dtype)) > LIMIT:
            raise Wrong(f"{dtype}, {m}×{inner}×{n}: the result is wrong")
        y = _at_the_end((m, 1), dtype)[:, 0]
        raw_gemv(library, a, b[:, 0].copy(), y)
    return "not crossed"


@case("alpha and beta of 0")
def zeros(library: Library) -> str:
    """With beta 0 the old result, with alpha 0 the operands are not looked at, NaN or not"""
    rng = np.random.default_rng(0)
    for dtype, size in product(REAL, SIZES):
        a, b, nan = drawn(rng, dtype, size, size), drawn(rng, dtype, size, size), np.full((size, size), NAN, dtype)
        for what, left, old, alpha, beta in (
            ("beta 0 reads the old result", a, nan, 1.0, 0.0),
            ("alpha 0 reads the operands", nan, np.ones_like(a), 0.0, 2.0),
            ("alpha and beta 0 do not give 0", nan, nan, 0.0, 0.0),
        ):
            c = old.copy()
            raw_gemm(library, left, b, c, alpha, beta)
            if not np.isfinite(c).all() or (alpha == 0 and (c != beta).any()):
                raise Wrong(f"gemm, {dtype}, {size}: {what}")
        y = np.full(size, NAN, dtype)
        raw_gemv(library, a, b[0].copy(), y)
        if not np.isfinite(y).all():
            raise Wrong(f"gemv, {dtype}, {size}: beta 0 reads the old result")
    return "as the standard has it"


@case("sizes of 0")
def empty(library: Library) -> str:
    """No inner dimension: the result is beta times the old one; no rows or columns: nothing happens"""
    for dtype, size in product(REAL, (8, 64)):
        a, b = np.ones((size, size), dtype), np.ones((size, size), dtype)
        for beta, old, wanted in ((0.0, NAN, 0.0), (3.0, 1.0, 3.0)):
            c = np.full((size, size), old, dtype)
            raw_gemm(library, a, b, c, 1.0, beta, sizes=(size, size, 0))
            if not (c == wanted).all():
                raise Wrong(f"{dtype}: k = 0 with beta {beta:g} gives {c[0, 0]:g}, not {wanted:g}")
        c = np.ones((size, size), dtype)
        raw_gemm(library, a, b, c, sizes=(0, size, size))
        raw_gemm(library, a, b, c, sizes=(size, 0, size))
        if not (c == 1).all():
            raise Wrong(f"{dtype}: m = 0 or n = 0 writes")
    return "as the standard has it"


@case("NaN and infinity")
def not_numbers(library: Library) -> str:
    """They spread to their row or column, also through products with 0, and no further"""
    rng = np.random.default_rng(0)
    for dtype, size, value in product(REAL, SIZES, (NAN, float("inf"))):
        a, b, c = drawn(rng, dtype, size, size), drawn(rng, dtype, size, size), np.zeros((size, size), dtype)
        a[1, 2], b[2] = value, 0
        raw_gemm(library, a, b, c)
        if not np.isnan(c[1]).all() or not np.isfinite(np.delete(c, 1, 0)).all():
            raise Wrong(f"gemm, {dtype}, {size}: {value} × 0 in a row of A is lost or spreads")
        a, b, c = drawn(rng, dtype, size, size), drawn(rng, dtype, size, size), np.zeros((size, size), dtype)
        b[1, 2], a[:, 1] = value, 0
        raw_gemm(library, a, b, c)
        if not np.isnan(c[:, 2]).all() or not np.isfinite(np.delete(c, 2, 1)).all():
            raise Wrong(f"gemm, {dtype}, {size}: {value} × 0 in a column of B is lost or spreads")
        for turned in (False, True):
            a, x, y = drawn(rng, dtype, size, size), np.ones(size, dtype), np.zeros(size, dtype)
            a[1, 2], x[1], x[2] = value, 0, 0
            raw_gemv(library, a, x, y, turned=turned)
            if np.isnan(y).sum() != 1:
                raise Wrong(f"gemv{' transposed' * turned}, {dtype}, {size}: {value} × 0 is lost or spreads")
    return "as IEEE 754 has it"


@case("smallest numbers")
def subnormals(library: Library) -> str:
    """Numbers below the smallest normal one are kept, in the result and in the processor's mode afterwards"""
    notes = []
    for dtype in REAL:
        tiny = np.finfo(dtype).tiny
        a, b, c = (np.eye(64) / 4).astype(dtype), np.full((64, 64), tiny, dtype), np.zeros((64, 64), dtype)
        raw_gemm(library, a, b, c)
        if not (c == tiny / 4).all():
            notes.append(f"{dtype}: {tiny:.1e} / 4 becomes {c[0, 0]:g}")
    if np.float32(np.finfo("f4").tiny) * np.float32(0.5) == 0:
        raise Wrong("it leaves the processor in a mode in which the smallest numbers become 0")
    if notes:
        raise Wrong("; ".join(notes))
    return "kept"


def _at_the_end(shape: tuple[int, int], dtype: Any) -> Array:
    """An array whose last byte is the last before memory that nobody may touch."""
    page = mmap.PAGESIZE
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    pages = -(-size // page) * page
    memory = mmap.mmap(-1, pages + page)
    _memories.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(start + pages), ctypes.c_size_t(page), 0):
        raise Wrong("the system does not protect memory: nothing can be said")
    return np.ndarray(shape, dtype, memory, pages - size)


_memories: list[mmap.mmap] = []
