"""Any BLAS, chosen at run time: the only package that multiplies matrices.

blas.available()                      what this machine has; nothing is loaded by asking
blas.use("blis", threads=2)           the whole process; $MLKIT_BLAS and $MLKIT_THREADS do the same
with blas.using("openblas"): ...      this block, this thread
blas.current()                        the Library in force
c = blas.gemm(a, b)                   views are read in place, transposed or strided
with blas.recording() as log: ...     every call: routine, shapes, library, threads, seconds, FLOPs
"""

from . import lapack
from .catalog import Candidate
from .library import Library, loaded, report
from .probe import Report, knobs
from .product import asum, axpby, axpy, bind, bind_axpby, dot, gemm, gemv, nrm2, scal
from .recording import Call, Recording, recording
from .selection import available, current, find, resolve, use, using

__all__ = [
    "Call",
    "Candidate",
    "Library",
    "Recording",
    "Report",
    "asum",
    "available",
    "axpby",
    "axpy",
    "bind",
    "bind_axpby",
    "current",
    "dot",
    "find",
    "gemm",
    "gemv",
    "knobs",
    "lapack",
    "loaded",
    "nrm2",
    "recording",
    "report",
    "resolve",
    "scal",
    "use",
    "using",
]
