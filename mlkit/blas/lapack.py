"""Linear equations, least squares, QR, SVD, Cholesky, eigenvalues: by the LAPACK of the library in force, or of a chosen pair.

A library without LAPACK – BLIS, ATLAS, the reference BLAS – gets netlib's or libflame's above it, in one private scope
(blas.elf), so that what they multiply goes to the library that was chosen. Matrices are float32, float64, complex64 or
complex128; results are new arrays. These calls look at values, so a step that makes them is not captured.
"""

import ctypes
import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, BlasError, DtypeError, LibraryNotFound, NonFiniteError, ShapeError
from ..kernels import Array
from . import catalog, elf, probe
from .library import LETTERS, Library
from .selection import current

IMPLEMENTATIONS = {  # below /usr/lib/TRIPLET, for 32-bit integers and for 64-bit ones
    False: {"netlib": "lapack/liblapack.so.3", "libflame": "libflame.so.1"},
    True: {"netlib": "lapack64/liblapack64.so.3"},
}
PACKAGES = {"lapack/liblapack.so.3": "liblapack3", "libflame.so.1": "libflame1", "lapack64/liblapack64.so.3": "liblapack64-3"}
EXAMPLE = "dgesv"


def solve(a: Array, b: Array, implementation: str | None = None) -> Array:
    """x with `a @ x = b`: (n, n), (n,) or (n, m). BlasError if `a` is singular. Routine: ?gesv."""
    lapack, a, b = _prepared("solve", implementation, a, b)
    n, right = len(a), _matrix(b)
    if a.shape != (n, n) or len(right) != n:
        raise ShapeError(f"solve: {a.shape} and {b.shape}; it takes (n, n) and (n,) or (n, m)")
    factors, x, pivots = _columns(a), _columns(right), np.empty(n, lapack.integer)
    info = lapack("gesv", a.dtype, n, x.shape[1], factors, max(1, n), pivots, x, max(1, n))
    if info > 0:
        raise BlasError(f"solve: the matrix is singular: pivot {info} is exactly 0")
    return np.ascontiguousarray(x).reshape(b.shape)


def lstsq(a: Array, b: Array, rcond: float | None = None, implementation: str | None = None) -> tuple[Array, int]:
    """(x of least norm among those that make `|a @ x - b|` least, rank of a): (m, n), (m,) or (m, p) -> (n,) or (n, p).

    Singular values below `rcond` × the largest count as 0; by default the machine's precision × the larger side. Routine: ?gelsd.
    """
    lapack, a, b = _prepared("lstsq", implementation, a, b)
    right = _matrix(b)
    if a.ndim != 2 or len(a) != len(right) or not a.size:
        raise ShapeError(f"lstsq: {a.shape} and {b.shape}; it takes (m, n) and (m,) or (m, p)")
    (m, n), real = a.shape, a.real.dtype
    x = np.zeros((max(m, n), right.shape[1]), a.dtype, "F")
    x[:m] = right
    singular, rank = np.empty(min(m, n), real), np.empty(1, lapack.integer)
    cut = np.array([np.finfo(real).eps * max(m, n) if rcond is None else rcond], real)
    head = m, n, x.shape[1], _columns(a), m, x, max(m, n), singular, cut, rank
    integers, reals = np.empty(_gelsd_integers(m, n), lapack.integer), np.empty(_gelsd_reals(m, n, x.shape[1]), real)
    tail = (reals, integers) if a.dtype.kind == "c" else (integers,)
    info = lapack.with_work("gelsd", a.dtype, head, tail)
    if info > 0:
        raise BlasError(f"lstsq: {info} singular values did not converge")
    return np.ascontiguousarray(x[:n]).reshape((n, *b.shape[1:])), int(rank[0])


def qr(a: Array, implementation: str | None = None) -> tuple[Array, Array]:
    """(q, r) with `q @ r = a`, the columns of q orthonormal, r upper triangular: (m, n) -> (m, k), (k, n), k the smaller side.

    Routines: ?geqrf, ?orgqr or ?ungqr.
    """
    lapack, a = _prepared("qr", implementation, a)
    (m, n), q = a.shape, _columns(a)
    small = min(m, n)
    if not small:
        return np.zeros((m, 0), a.dtype), np.zeros((0, n), a.dtype)
    factors = np.empty(small, a.dtype)
    lapack.with_work("geqrf", a.dtype, (m, n, q, m, factors))
    r = np.triu(q[:small])
    q = np.asfortranarray(q[:, :small])
    lapack.with_work("ungqr" if a.dtype.kind == "c" else "orgqr", a.dtype, (m, small, small, q, m, factors))
    return np.ascontiguousarray(q), np.ascontiguousarray(r)


def svd(a: Array, implementation: str | None = None) -> tuple[Array, Array, Array]:
    """(u, s, vt) with `(u * s) @ vt = a`, s from the largest: (m, n) -> (m, k), (k,), (k, n), k the smaller side.

    Routine: ?gesdd.
    """
    lapack, a = _prepared("svd", implementation, a)
    (m, n), real = a.shape, a.real.dtype
    small, large = min(m, n), max(m, n)
    if not small:
        return np.zeros((m, 0), a.dtype), np.zeros(0, real), np.zeros((0, n), a.dtype)
    u, s, vt = np.empty((m, small), a.dtype, "F"), np.empty(small, real), np.empty((small, n), a.dtype, "F")
    integers, reals = np.empty(8 * small, lapack.integer), np.empty(small * max(5 * small + 7, 2 * large + 2 * small + 1), real)
    head = b"S", m, n, _columns(a), m, s, u, m, vt, small
    info = lapack.with_work("gesdd", a.dtype, head, (reals, integers) if a.dtype.kind == "c" else (integers,))
    if info > 0:
        raise BlasError("svd: it did not converge")
    return np.ascontiguousarray(u), s, np.ascontiguousarray(vt)


def cholesky(a: Array, implementation: str | None = None) -> Array:
    """l, lower triangular, with `l @ l.conj().T = a`; the upper triangle of `a` is not looked at. Routine: ?potrf.

    BlasError if `a` is not positive definite.
    """
    lapack, a = _prepared("cholesky", implementation, a)
    n, lower = _square("cholesky", a), _columns(a)
    info = lapack("potrf", a.dtype, b"L", n, lower, max(1, n))
    if info > 0:
        raise BlasError(f"cholesky: the matrix is not positive definite: its leading part of order {info} is not")
    return np.ascontiguousarray(np.tril(lower))


def eigh(a: Array, implementation: str | None = None) -> tuple[Array, Array]:
    """(w, v), eigenvalues from the smallest and eigenvectors, `a @ v = v * w`, of a symmetric or Hermitian matrix.

    The upper triangle of `a` is not looked at. Routines: ?syevd, ?heevd.
    """
    lapack, a = _prepared("eigh", implementation, a)
    n, v = _square("eigh", a), _columns(a)
    w = np.empty(n, a.real.dtype)
    if n:
        info = lapack.eigenvectors(v, w)
        if info > 0:
            raise BlasError("eigh: it did not converge")
    return w, np.ascontiguousarray(v)


class Lapack:
    """The LAPACK routines over one BLAS: `lapack("gesv", dtype, …)` returns info. Arrays, whole numbers and bytes by reference."""

    def __init__(self, library: Library, handle: Any, affix: tuple[str, str], name: str) -> None:
        self.library, self.name, self._handle, self._affix = library, name, handle, affix
        self.integer = np.dtype(np.int64 if library.report.int64 else np.int32)

    def __call__(self, routine: str, dtype: Any, *arguments: Any) -> int:
        info = np.zeros(1, self.integer)
        function = self._function(f"{LETTERS[np.dtype(dtype)]}{routine}")
        passed = [self._passed(x) for x in (*arguments, info)]
        lengths = [ctypes.c_size_t(1) for x in arguments if isinstance(x, bytes)]  # of characters, as Fortran hands them on
        function(*passed, *lengths)
        if info[0] < 0:
            raise BlasError(f"{self.name}: argument {-info[0]} of {routine} is refused")
        return int(info[0])

    def with_work(self, routine: str, dtype: Any, head: tuple[Any, ...], tail: tuple[Any, ...] = ()) -> int:
        """The same with a workspace behind `head`, as long as the routine itself asks for."""
        asked = np.zeros(1, dtype)
        self(routine, dtype, *head, asked, -1, *tail)
        length = max(1, math.ceil(asked[0].real))
        return self(routine, dtype, *head, np.empty(length, dtype), length, *tail)

    def eigenvectors(self, v: Array, w: Array) -> int:
        """?syevd or ?heevd, which ask for up to three workspaces."""
        complex_ = v.dtype.kind == "c"
        kinds = [v.dtype, *([v.real.dtype] if complex_ else []), self.integer]
        asked = [np.zeros(1, kind) for kind in kinds]
        head = b"V", b"L", len(v), v, len(v), w
        routine = "heevd" if complex_ else "syevd"
        self(routine, v.dtype, *head, *(x for work in asked for x in (work, -1)))
        lengths = [max(1, math.ceil(work[0].real)) for work in asked]
        return self(routine, v.dtype, *head, *(x for n, kind in zip(lengths, kinds) for x in (np.empty(n, kind), n)))

    def _function(self, name: str) -> Any:
        function = probe.symbol(self._handle, f"{self._affix[0]}{name}_{self._affix[1]}")
        if function is None:
            raise BlasError(f"{self.name} has no {name}")
        function.restype = None
        return function

    def _passed(self, x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return ctypes.c_void_p(x.ctypes.data)
        return ctypes.c_char_p(x) if isinstance(x, bytes) else ctypes.byref(self.library.integer(x))


def of(library: Library | None = None, implementation: str | None = None) -> Lapack:
    """The LAPACK of a library: its own, or "netlib", "libflame" or the one at a path, over it. LibraryNotFound if there is none."""
    return _of(library or current(), implementation)


@lru_cache(64)
def _of(library: Library, implementation: str | None) -> Lapack:
    report = library.report
    own = probe.symbol(library._handle, f"{report.prefix}{EXAMPLE}_{report.suffix}")
    if own is not None and implementation in (None, "own"):
        return Lapack(library, library._handle, (report.prefix, report.suffix), library.name)
    if implementation == "own":
        raise LibraryNotFound(f"{library.name} has no LAPACK of its own")
    if report.prefix or report.suffix or not elf.supported():
        raise BlasError(f"{library.name} cannot have another LAPACK above it: that calls a BLAS by plain names")
    if report.vendor == "mkl":
        raise BlasError(
            "MKL returns complex numbers in another way than LAPACKs compiled by gfortran expect, and has a LAPACK of its own"
        )
    path = _path(implementation or "netlib", library)
    import tempfile  # 5 ms of every start, needed only here

    with tempfile.TemporaryDirectory(prefix="mlkit-") as directory:
        # A copy: the loader has every file once, bound to the BLAS over which it came first. It stands before the BLAS, so that
        # it calls its own factorisations, not those that an OpenBLAS brings along; and it no longer asks for the system's BLAS.
        own_copy, stub = (os.path.join(directory, name) for name in ("lapack.so", "stub.so"))
        content = Path(path).read_bytes()
        for needed in (b"\0libblas.so.3\0", b"\0libblas64.so.3\0"):
            content = content.replace(needed, b"\0libm.so.6".ljust(len(needed), b"\0"))
        Path(own_copy).write_bytes(content)
        Path(stub).write_bytes(elf.stub([own_copy, *(library.needed or (library.path,))], soname=os.path.basename(directory)))
        try:
            handle = probe.open_shared(stub)
        except OSError as error:
            raise BlasError(f"{path} cannot be loaded over {library.name}: {error}") from error
    return Lapack(library, handle, ("", ""), f"{implementation or 'netlib'} over {library.name}")


def _path(implementation: str, library: Library) -> str:
    if os.sep in implementation:
        if not os.path.exists(implementation):
            raise LibraryNotFound(f"there is no file {implementation}")
        return os.path.realpath(implementation)
    files = IMPLEMENTATIONS[library.report.int64]
    if implementation not in files:
        raise ArgumentError(
            f"no LAPACK for {library.name} is called {implementation!r}; there are own, {', '.join(files)}, or a path"
        )
    for triplet in catalog.triplets():
        path = Path("/usr/lib", triplet, files[implementation])
        if path.exists():
            return os.path.realpath(path)
    package = PACKAGES[files[implementation]]
    raise LibraryNotFound(f"{library.name} has no LAPACK of its own, and {implementation} is not here: apt install {package}")


def _prepared(what: str, implementation: str | None, *arrays: Array) -> Any:
    """(the Lapack, the arrays), checked: LAPACK itself hangs on some that are not finite."""
    k.ask(f"lapack.{what}")
    for x in arrays:
        if not isinstance(x, np.ndarray) or x.dtype not in LETTERS or x.dtype != arrays[0].dtype:
            kinds = ", ".join(str(getattr(y, "dtype", type(y).__name__)) for y in arrays)
            raise DtypeError(f"{what}: {kinds}; it takes arrays of one of {', '.join(map(str, LETTERS))}")
        if x.ndim not in (1, 2) or (x is arrays[0] and x.ndim != 2):
            raise ShapeError(f"{what}: shapes {', '.join(str(y.shape) for y in arrays)}; it takes a matrix first")
        if not np.isfinite(x).all():
            raise NonFiniteError(f"{what}: {int(x.size - np.isfinite(x).sum())} of {x.size} numbers are not finite")
    return of(None, implementation), *arrays


def _square(what: str, a: Array) -> int:
    if a.shape[0] != a.shape[1]:
        raise ShapeError(f"{what}: {a.shape}; it takes a square matrix")
    return len(a)


def _matrix(b: Array) -> Array:
    """One right side as a matrix of one column."""
    return b[:, None] if b.ndim == 1 else b


def _columns(a: Array) -> Array:
    """A copy column by column, as Fortran has it, never without memory."""
    return np.array(a, order="F", ndmin=2)


def _gelsd_levels(m: int, n: int) -> int:
    return max(0, int(math.log2(max(min(m, n), 1) / 26))) + 1  # 25 is LAPACK's smallest subproblem


def _gelsd_integers(m: int, n: int) -> int:
    return max(1, 3 * min(m, n) * _gelsd_levels(m, n) + 11 * min(m, n))


def _gelsd_reals(m: int, n: int, right: int) -> int:
    small, levels, leaf = min(m, n), _gelsd_levels(m, n), 25
    return max(1, 10 * max(m, n) + 2 * max(m, n) * leaf + 8 * small * levels + 3 * leaf * right
               + max((leaf + 1) ** 2, small * (1 + right) + 2 * right))  # fmt: skip
