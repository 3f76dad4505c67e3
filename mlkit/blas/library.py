"""class Library: one loaded BLAS: its routines, what it is, its threads."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import BlasError, ThreadControlError
from . import elf, probe, threads
from .catalog import Candidate
from .probe import Report

Dtype = np.dtype[Any]

LETTERS: dict[Dtype, str] = {np.dtype(t): letter for t, letter in zip(("f4", "f8", "c8", "c16"), "sdcz")}
AVX512 = ("skylakex", "cooperlake", "sapphirerapids")  # kernel sets of OpenBLAS
UNPACKED = 10**6  # multiply-adds of a product up to which they need not pack its operands
PARTS = 256  # of this size that a product is cut into at most
REALS = {"s": ctypes.c_float, "d": ctypes.c_double, "c": ctypes.c_float, "z": ctypes.c_double}

_loaded: dict[tuple[str, tuple[str, ...]], "Library"] = {}
_lock = threading.RLock()


class Library:
    """One BLAS in this process, which runs its own kernels whatever else is loaded.

    `report` says what it is: `version`, `vendor`, `int64`, `kernels`, `threading`, `extensions`.
    """

    def __init__(self, candidate: Candidate, report: Report, handle: ctypes.CDLL) -> None:
        self.name, self.path, self.origin, self.report = candidate.name, candidate.path, candidate.origin, report
        self.needed = candidate.needed  # what was opened instead of the file itself
        self._handle = handle
        self.integer = ctypes.c_int64 if report.int64 else ctypes.c_int
        self.largest = 2**63 - 1 if report.int64 else 2**31 - 1  # a dimension or stride that it can be given
        self.gemm, self.gemv = ({dtype: self.routine(name, dtype) for dtype in LETTERS} for name in ("gemm", "gemv"))
        self.batch_strided = {
            dtype: self.routine("gemm_batch_strided", dtype) if letter in report.stacks else None
            for dtype, letter in LETTERS.items()
        }
        self._small_kernels = report.vendor == "openblas" and report.kernels.lower() in AVX512
        self.axpby = {dtype: self.routine("axpby", dtype) for dtype in LETTERS}
        # An OpenMP OpenBLAS keeps its count for each thread of the program; the others keep one for the process.
        self.scope = "thread" if report.vendor == "openblas" and report.threading == "openmp" else "process"
        self._get, self._set = (self._control(name) for name in (report.get_threads, report.set_threads))
        if self.scope == "thread":  # its own getter lags behind OpenMP's count, which is the one that it obeys
            self._get = self._control("omp_get_max_threads") or self._get
        if report.vendor == "mkl":
            handle.MKL_Set_Dynamic(0)  # the count that is set is the count that runs, as with the others
        self._requests: list[tuple[object, int]] = []  # the counts asked for by `using` blocks, the latest last
        self._base = threads.default()
        self._settled = threading.local()
        self._apply()

    def __repr__(self) -> str:
        bits = 64 if self.report.int64 else 32
        count = "threads uncontrolled" if self.threads is None else f"{self.threads} thread{'s' * (self.threads != 1)}"
        return f"<{self.name}: {self.report.vendor} {self.report.version}, {bits}-bit integers, {count}, {self.path}>"

    def routine(self, name: str, dtype: Dtype | None = None, restype: Any = None) -> Any:
        """The CBLAS routine `name`, for `dtype` if one is given, or None if the library lacks it.

        Prepared for calls without argtypes: every argument must be a ctypes object, or an int meant as a C int.
        """
        letter = LETTERS[np.dtype(dtype)] if dtype is not None else ""
        function = probe.symbol(self._handle, f"{self.report.prefix}cblas_{letter}{name}{self.report.suffix}")
        if function is not None:
            function.restype = restype
        return function

    @property
    def threads(self) -> int | None:
        """How many threads the library would use now, as it says itself; None if it cannot be asked."""
        if self._get is not None:
            return max(1, int(self._get()))  # BLIS answers -1 while nobody has set a count
        return 1 if self.report.threading in ("serial", "sequential") else None

    @threads.setter
    def threads(self, count: int) -> None:
        count = threads.checked(count)
        with _lock:
            self.require_threads(count)
            self._base = count
            self._apply()

    def require_threads(self, count: int) -> None:
        """Raise a ThreadControlError if the library cannot be given `count` threads."""
        if self._set is None and self.threads != count:
            has = "runs one thread only" if self.threads == 1 else "has no function that sets its threads"
            raise ThreadControlError(f"{self.name} cannot be given {count} threads: it {has}; leave `threads` out")

    @contextmanager
    def limited(self, count: int) -> Iterator[None]:
        """`count` threads for this block; when blocks of several Python threads overlap, the latest counts."""
        self.require_threads(threads.checked(count))
        token = object()
        with _lock:
            self._requests.append((token, count))
            self._apply()
        try:
            yield
        finally:
            with _lock:
                self._requests = [request for request in self._requests if request[0] is not token]
                self._apply()

    def for_product(self, dtype: Dtype, stacks: int, m: int, n: int, inner: int, turned: tuple[bool, bool]) -> "Library":
        """The library that makes `stacks` products of (m, inner) and (inner, n): this one, unless it is "auto"."""
        return self

    def turns(self, m: int, n: int, inner: int) -> int | None:
        """Which operand of `a @ b.T` to copy into the other order first, 0 or 1, where that is faster.

        OpenBLAS packs larger operands, and has AVX-512 kernels that need not for small ones – but for this case only up to a
        tenth of `UNPACKED`. Between them a copy of the smaller operand makes it up to 2.5 times faster (0.3.21 to 0.3.34),
        unless there is too little to multiply for each number that is copied.
        """
        if not (self._small_kernels and UNPACKED // 10 < m * n * inner <= UNPACKED):
            return None
        if n <= m:
            return 1 if m > 32 else None
        return 0 if m >= 4 and inner >= 20 else None

    def cut(self, m: int, n: int, inner: int) -> "tuple[bool, int] | None":
        """How to cut a product so that no part is packed: (whether along the inner axis, else into rows; how long the parts are).

        On one thread that makes it 1.05 to 1.4 times as fast (0.3.21 and 0.3.31), where the parts are not too thin.
        """
        if not (self._small_kernels and UNPACKED < m * n * inner <= PARTS * UNPACKED):
            return None
        rows, depth = UNPACKED // (n * inner) // 4 * 4, UNPACKED // (m * n)
        if depth >= 30 and depth > 2 * rows:
            return True, _even(inner, depth)
        return (False, -(-_even(m, rows) // 4) * 4) if rows >= 12 else None

    @property
    def alone(self) -> bool:
        """Whether it is to use one thread: only then are products cut."""
        return self._wanted == 1

    def settled(self) -> "Library":
        """Itself, as it is to be called here and now."""
        self.settle()
        return self

    def settle(self) -> None:
        """Give this Python thread the count in force, where the library keeps one for each."""
        if getattr(self._settled, "count", None) != self._wanted:
            self._settled.count = self._wanted
            self._set(self._wanted)

    def after_fork(self) -> None:
        """One thread: the others did not survive the fork, and some OpenMP runtimes would wait for them for ever."""
        self._base, self._requests = 1, [(token, 1) for token, _ in self._requests]
        self._apply()

    @property
    def _wanted(self) -> int:
        return self._requests[-1][1] if self._requests else self._base

    def _apply(self) -> None:
        if self._set is None:
            return
        self._settled.count = self._wanted
        if self.report.vendor == "mkl":  # a count of this thread's own, as threadpoolctl 3.8 leaves one, would win
            self._handle.MKL_Set_Num_Threads_Local(0)
        self._set(self._wanted)

    def _control(self, name: str) -> Any:
        return probe.symbol(self._handle, name) if name and self.report.adjustable else None


def _even(whole: int, most: int) -> int:
    """The length of as many equal parts as it takes for none to be longer than `most`."""
    return -(-whole // -(-whole // most))


def report(candidate: Candidate) -> Report:
    """What the library is, found out in a child process or known from before."""
    if not os.path.exists(candidate.path):
        return Report(failure="there is no such file")
    if not os.path.isfile(candidate.path):
        return Report(failure="it is not a file")
    with _opened_at(candidate) as path:
        found = probe.probe(path, candidate.path, candidate.threading, candidate.kernels)
    if candidate.kernels and not found.failure and not _granted(candidate.kernels, found):
        return Report(failure=f"it has no kernels called {candidate.kernels} and takes {found.kernels or 'its own'} instead")
    return found


def load(candidate: Candidate) -> Library:
    """The library, loaded once and kept for the life of the process."""
    key = candidate.path, candidate.needed
    with _lock:
        if key in _loaded:
            return _loaded_already(key, candidate)
        found = report(candidate)
        if found.failure:
            raise BlasError(f"{candidate.path} cannot be used as a BLAS: {found.failure}")
        if found.vendor == "mkl":
            _refuse_second_mkl(candidate)
        if candidate.kernels and _is_mapped(candidate.path):
            raise BlasError(
                f"{candidate.path} is in this process already: its kernels were chosen when it was loaded. "
                f"Start the program with {' or '.join(probe.KERNEL_VARIABLES[:2])} set to {candidate.kernels} instead"
            )
        if not _loaded and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_after_fork)
        with _opened_at(candidate) as path, _asked_for(candidate.kernels):
            _loaded[key] = Library(candidate, found, probe.open_shared(path, candidate.threading))
        if candidate.needed:
            _tell_threadpoolctl()
        return _loaded[key]


def loaded() -> list[Library]:
    """Every library that mlkit has loaded in this process."""
    return list(_loaded.values())


@contextmanager
def _opened_at(candidate: Candidate) -> Iterator[str]:
    """The path to open: the library's own, or that of a stub which exists for as long as the block."""
    if not candidate.needed:
        yield candidate.path
        return
    import tempfile  # 5 ms of every start, needed only here

    with tempfile.NamedTemporaryFile(prefix="mlkit-", suffix=".so") as file:
        file.write(elf.stub(candidate.needed, soname=os.path.basename(file.name)))
        file.flush()
        yield file.name


@contextmanager
def _asked_for(kernels: str) -> Iterator[None]:
    """The variables that choose a kernel set, while a library that reads them is loaded."""
    before = {name: os.environ.get(name) for name in probe.KERNEL_VARIABLES} if kernels else {}
    os.environ.update(dict.fromkeys(before, kernels))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _granted(kernels: str, found: Report) -> bool:
    """Whether the library took the kernels asked for; a number, as BLIS before 2.0 has it, says nothing."""
    return kernels.isdigit() or kernels.lower() == found.kernels.lower()


def _loaded_already(key: tuple[str, tuple[str, ...]], candidate: Candidate) -> Library:
    library = _loaded[key]
    if candidate.kernels and candidate.name != library.name:
        raise BlasError(
            f"{candidate.name}: {library.name} is loaded from the same file, with {library.report.kernels} kernels; "
            "a process can hold one set of them. Choose it first, or in another process"
        )
    return library


def _is_mapped(path: str) -> bool:
    try:
        with open("/proc/self/maps") as maps:
            return any(line.rstrip().endswith(path) for line in maps)
    except OSError:
        return False


def _refuse_second_mkl(candidate: Candidate) -> None:
    for library in _loaded.values():
        if library.report.vendor == "mkl" and os.path.dirname(library.path) != os.path.dirname(candidate.path):
            raise BlasError(
                f"{candidate.path} cannot be loaded beside {library.path}: a second MKL would run the kernels of the "
                "first and report its version. Use it in another process"
            )


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it
    for library in _loaded.values():
        library.after_fork()


@lru_cache(1)
def _tell_threadpoolctl() -> None:
    """Let threadpoolctl see an MKL that was loaded without libmkl_rt; only 3.2 and newer can be told."""
    import threadpoolctl  # 20 ms, needed only here

    if hasattr(threadpoolctl, "register"):

        class StubbedMKLController(threadpoolctl.MKLController):  # type: ignore[misc]
            filename_prefixes = ("libmkl_intel_lp64", "libmkl_intel_ilp64")

        threadpoolctl.register(StubbedMKLController)
