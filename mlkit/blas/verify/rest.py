"""What is there at all; LAPACK's residuals; Debian's own test programs."""

import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BlasError, LibraryNotFound
from ...kernels import Array
from .. import catalog, lapack, probe
from ..catalog import Candidate
from ..library import Library
from ..selection import using
from .case import DTYPES, Wrong, case, drawn

ROUTINES = {  # of the standard, by the letters that they are there for
    "sdcz": "axpy scal copy swap gemv gbmv trmv tbmv tpmv trsv tbsv tpsv gemm symm syrk syr2k trmm trsm",
    "sd": "dot nrm2 asum rot rotg rotm rotmg symv sbmv spmv ger syr spr syr2 spr2",
    "cz": "hemv hbmv hpmv geru gerc her hpr her2 hpr2 hemm herk her2k dotu_sub dotc_sub",
}
NEWER = ("axpby", "gemmt", "gemmtr", "gemm_batch", "gemm_batch_strided", "gemm3m", "omatcopy", "gemm_pack")
RESIDUAL = 30.0  # LAPACK's own threshold
PROGRAMS = {  # Debian's libblas-test and liblapack-test: program, input
    **{f"xblat1{letter}": ("blas", "") for letter in "sdcz"},
    **{f"xblat{level}{letter}": ("blas", f"{letter}blat{level}.in") for level in (2, 3) for letter in "sdcz"},
    **{f"xlintst{letter}": ("lapack", f"{letter}test.in") for letter in "sdcz"},
}


@case("routines")
def routines(library: Library) -> str:
    """Every routine of the standard's C interface is there; which of the newer ones are"""
    missing = [f"cblas_{letter}{name}" for letters, names in ROUTINES.items() for name in names.split() for letter in letters
               if library.routine(f"{letter}{name}") is None]  # fmt: skip
    missing += [
        name
        for name in ("cblas_isamax", "cblas_idamax", "cblas_icamax", "cblas_izamax")
        if library.routine(name.removeprefix("cblas_")) is None
    ]
    if missing:
        raise Wrong(f"{len(missing)} are missing: {', '.join(missing[:12])}{', …' * (len(missing) > 12)}")
    lacking = [name for name in NEWER if name not in library.report.extensions]
    fortran = [
        name
        for name in ("sgemmtr_", "dgemmtr_")
        if probe.symbol(library._handle, f"{library.report.prefix}{name}{library.report.suffix}") is None
    ]
    newer = f"of the newer ones it lacks {', '.join(lacking)}" if lacking else "the newer ones too"
    return f"all are there; {newer}{'; LAPACK from 3.12 on wants gemmtr, which it lacks' if fortran else ''}"


@case("LAPACK", 180.0)
def residuals(library: Library) -> str:
    """Solutions, least squares, QR, SVD, Cholesky, eigenvalues: residuals within LAPACK's own threshold"""
    try:
        with using(library):
            name = lapack.of(library).name
            worst = max(_residual(dtype, size) for dtype in DTYPES for size in (1, 10, 65, 200))
    except (LibraryNotFound, BlasError) as error:
        if isinstance(error, LibraryNotFound) or "cannot have another" in str(error):
            return f"not looked at: {error}"
        raise Wrong(str(error)) from error
    if worst > RESIDUAL:
        raise Wrong(f"{name}: a residual of {worst:.3g}; {RESIDUAL:g} are allowed")
    return f"{name}: worst residual {worst:.2g} of {RESIDUAL:g} allowed"


def _residual(dtype: Any, size: int) -> float:
    """The worst of all, in units of precision × size × norms."""
    rng = np.random.default_rng(size)
    a = drawn(rng, dtype, size, size) + size * np.eye(size, dtype=dtype)
    tall, b = drawn(rng, dtype, 2 * size, size), drawn(rng, dtype, size, 3)
    h = a + a.conj().T

    def ratio(residual: Array, *factors: Array) -> float:
        scale = float(np.prod([np.linalg.norm(x) for x in factors]))
        return float(np.linalg.norm(residual) / (np.finfo(dtype).eps * size * max(scale, 1e-30)))

    q, r = lapack.qr(tall)
    u, s, vt = lapack.svd(tall)
    w, v = lapack.eigh(h)
    x, (least, _), lower = lapack.solve(a, b), lapack.lstsq(tall, tall[:, :1].copy()), lapack.cholesky(h @ h.conj().T)
    wanted = np.eye(size, 1, dtype=dtype)
    return max(
        ratio(a @ x - b, a, x), ratio(q @ r - tall, tall), ratio(q.conj().T @ q - np.eye(size, dtype=dtype)),
        ratio((u * s) @ vt - tall, tall), ratio(h @ v - v * w, h), ratio(lower @ lower.conj().T - h @ h.conj().T, h, h),
        ratio(least - wanted, wanted) / 10,
    )  # fmt: skip


def netlib(candidate: Candidate, program: str, environment: dict[str, str]) -> str:
    """What one of Debian's test programs says of the library: Wrong for a failure; their exit codes say nothing."""
    part, data = PROGRAMS[program]
    home = next(
        (Path("/usr/lib", triplet, part) for triplet in catalog.triplets() if Path("/usr/lib", triplet, part, program).exists()),
        None,
    )
    if home is None:
        raise LibraryNotFound(f"apt install lib{part}-test")
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [str(home / program)], input=(home / data).read_text() if data else "", cwd=directory, env=environment,
            capture_output=True, text=True, errors="replace", timeout=300,
        )  # fmt: skip
        said = done.stdout + "".join(path.read_text(errors="replace") for path in Path(directory).iterdir())
    failures = [line.strip() for line in said.splitlines() if "FAIL" in line.upper() and "0 FAIL" not in line.upper()]
    if failures or done.returncode:
        raise Wrong(f"{failures[0][:200] if failures else done.stderr.strip()[-200:] or f'exit code {done.returncode}'}")
    passed = sum("PASS" in line.upper() for line in said.splitlines())
    if not passed:
        raise Wrong(f"it said nothing of what it found: {said[-200:]!r}")
    return f"{passed} tests passed"


def installed() -> list[str]:
    """The test programs that are here."""
    return [
        name
        for name, (part, _) in PROGRAMS.items()
        if any(os.path.exists(f"/usr/lib/{t}/{part}/{name}") for t in catalog.triplets())
    ]
