"""Every product of a block: routine, shapes, strides, dtype, library, threads, seconds, FLOPs."""

import time
from typing import Any, NamedTuple

import numpy as np

from .. import kernels as k
from ..kernels import Array, Bound, Kernel
from . import product
from .library import Library
from .product.batch import stacked_product
from .product.matrix import matrix_product
from .product.operand import transposed
from .selection import current


class Call(NamedTuple):
    """One call into a library."""

    routine: str  # sgemm, dgemv, sgemm_batch_strided, …
    shapes: tuple[tuple[int, ...], ...]  # of the operands, the result last
    strides: tuple[tuple[int, ...], ...]  # in bytes
    dtype: str
    library: str
    threads: int | None
    seconds: float
    flops: int
    layer: str = ""
    phase: str = ""  # forward, backward or update
    start: float = 0.0  # seconds, of time.perf_counter

    @property
    def gflops(self) -> float:
        """10⁹ operations a second."""
        return self.flops / self.seconds / 1e9 if self.seconds else 0.0


class Recording(k.Observer):
    """The products of a `with` block, in `calls`; iterable, printable."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def run(self, function: Kernel, operands: tuple[Any, ...], bound: Bound) -> None:
        if function not in product.KERNELS:
            super().run(function, operands, bound)
            return
        start = time.perf_counter()
        super().run(function, operands, bound)
        seconds = time.perf_counter() - start
        arrays = [x for x in operands if isinstance(x, np.ndarray)]
        self.calls.append(_call(function, operands, arrays, bound, seconds, start))

    def __len__(self) -> int:
        return len(self.calls)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.calls)

    def __getitem__(self, index: int) -> Call:
        return self.calls[index]

    def __str__(self) -> str:
        rows = ["routine              shapes                                    library            µs   GFLOP/s"]
        for call in self.calls:
            shapes = " ".join("×".join(map(str, shape)) for shape in call.shapes)
            rows.append(f"{call.routine:20} {shapes:41} {call.library:14} {call.seconds * 1e6:7.1f} {call.gflops:9.2f}")
        return "\n".join(rows)


def recording() -> Recording:
    """`with blas.recording() as log:` – `log` then holds every product made in the block, replayed plans included.

    It sees the calls of this thread or asyncio task and of the workers that mlkit starts for it.
    """
    return Recording()


def _call(function: Kernel, operands: tuple[Any, ...], arrays: list[Array], bound: Bound, seconds: float, start: float) -> Call:
    library = _maker(function, operands)
    return Call(
        routine(function, bound, library),
        tuple(x.shape for x in arrays),
        tuple(x.strides for x in arrays),
        str(arrays[-1].dtype),
        library.name,
        library.threads,
        seconds,
        k.flops(function, operands),
        *k.place(),
        start,
    )


def _maker(function: Kernel, operands: tuple[Any, ...]) -> Library:
    """The library that makes the call: the one in force, or the one that "auto" has chosen."""
    library = current()
    if function in (matrix_product, stacked_product):
        a, b = operands[:2]
        turned = transposed(a.shape, a.strides, a.itemsize), transposed(b.shape, b.strides, b.itemsize)
        library = library.for_product(a.dtype, len(a) if a.ndim == 3 else 1, a.shape[-2], b.shape[-1], a.shape[-1], turned)
    return library


def routine(function: Kernel, bound: Bound, library: Library) -> str:
    """The routine that a bound call ends in, without the library's own affixes: sgemm, dgemv, …; else the kernel."""
    routines = [x for x in (bound[0], *bound[1]) if hasattr(x, "restype")]
    if not routines:
        return function.__name__
    return str(routines[0].__name__).removeprefix(f"{library.report.prefix}cblas_").removesuffix(library.report.suffix)
