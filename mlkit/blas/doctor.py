"""Which BLAS NumPy, SciPy and mlkit really use in this process, what is wrong with that, and the line that mends it."""

import ctypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from . import catalog, selection, threads
from .catalog import Candidate
from .library import report
from .probe import Report

NAMES = ("openblas", "blis", "mkl", "flexiblas")
FAULTS = (  # vendor, version, kernels, what is wrong
    ("openblas", "0.3.34", "", "cblas_cgemm_batch_strided and its zgemm_batch_strided are wrong; mlkit does not call them"),
    ("openblas", "0.3.34", "Zen|Cooper|Skylake|Sapphire", "dsyrk may crash on Zen 4 and 5 (OpenMathLib/OpenBLAS issue 6013)"),
)
RUNTIMES = {"libgomp": "GNU", "libiomp5": "Intel", "libomp": "LLVM"}
SMALL = 4 << 30  # bytes of address space: OpenBLAS maps a buffer for each thread


class Use(NamedTuple):
    """Who calls which routine of which library: as the loader resolved it, whatever anything is called."""

    who: str
    routine: str
    path: str
    candidate: Candidate


class Finding(NamedTuple):
    """Something worth knowing: a note, a warning or an error; and what mends it."""

    level: str
    what: str
    remedy: str = ""


def uses() -> list[Use]:
    """The BLAS and LAPACK of NumPy and SciPy, as far as they are installed, and mlkit's own."""
    found = []
    for who, modules, routine in (
        ("NumPy BLAS", ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"), "cblas_dgemm"),
        ("NumPy LAPACK", ("numpy.linalg._umath_linalg",), "dgesv_"),
        ("SciPy BLAS", ("scipy.linalg._fblas",), "dgemm_"),
        ("SciPy LAPACK", ("scipy.linalg._flapack",), "dgesv_"),
    ):
        module = next(filter(None, map(_imported, modules)), None)
        resolved = _resolved(module, routine) if module else None
        if resolved:
            found.append(Use(who, *resolved, selection.find(resolved[1])))
    library = selection.current()
    name = f"{library.report.prefix}cblas_dgemm{library.report.suffix}"
    return [*found, Use("mlkit", name, library.path, selection.find(library.path))]


def examine(used: list[Use] | None = None) -> list[Finding]:
    """Everything that is found, the worst first; `used` is what `uses()` says."""
    used = uses() if used is None else used
    found = selection.available()
    findings = [
        *_of_uses(used, found),
        *of_alternatives(Path("/etc/alternatives"), catalog.triplets()),
        *_of_counts(),
        *of_environment(os.environ, [known for _, known in found if not known.failure], [report(use.candidate) for use in used]),
        *of_runtimes(_mapped()),
        *_of_limits(),
        *of_libraries(found),
    ]
    return sorted(dict.fromkeys(findings), key=lambda finding: ("error", "warning", "note").index(finding.level))


def of_alternatives(directory: Path, triplets: Iterable[str]) -> Iterator[Finding]:
    """Links that lead nowhere; a LAPACK that brings another BLAS along than the one that was chosen."""
    for triplet in triplets:
        links = {what: directory / f"{what}.so.3-{triplet}" for what in ("libblas", "liblapack")}
        for link in links.values():
            if link.is_symlink() and not link.exists():
                yield Finding(
                    "error", f"{link} leads to {os.readlink(link)}, which is not there", f"update-alternatives --auto {link.name}"
                )
        if not all(link.exists() for link in links.values()):
            continue
        blas, lapack = (Path(os.path.realpath(link)).parent.name for link in links.values())
        if lapack not in (blas, "lapack"):
            yield Finding(
                "warning",
                f"the BLAS alternative is {blas}, the LAPACK alternative {lapack}, which brings its own BLAS: two in a process",
                f"update-alternatives --config {links['liblapack'].name}",
            )


def of_environment(variables: Mapping[str, str], installed: Iterable[Report], used: Iterable[Report]) -> Iterator[Finding]:
    """Variables that are set and that nobody reads, or that contradict each other."""
    here = {known.vendor for known in installed}
    openmp = any(known.vendor == "openblas" and known.threading == "openmp" for known in used)
    for name, value in sorted(variables.items()):
        vendor = next((vendor for vendor in NAMES if name.startswith(vendor.upper())), None)
        if name == "MKL_DEBUG_CPU_TYPE":
            yield Finding("note", f"{name}={value} is set; MKL reads it no more since 2020.1", f"unset {name}")
        elif vendor and vendor not in here:
            yield Finding("note", f"{name}={value} is set, and no {vendor} is here to read it", f"unset {name}")
        elif name == "OPENBLAS_NUM_THREADS" and openmp:
            yield Finding(
                "note", f"{name}={value} is set; an OpenBLAS with OpenMP does not read it", f"export OMP_NUM_THREADS={value}"
            )
    count, other = variables.get("OPENBLAS_NUM_THREADS"), variables.get("OMP_NUM_THREADS")
    if count and other and count != other:
        yield Finding("note", f"OPENBLAS_NUM_THREADS={count} and OMP_NUM_THREADS={other}: each library takes its own")


def of_runtimes(mapped: Iterable[str]) -> Iterator[Finding]:
    """More than one OpenMP runtime in the process: each has threads of its own, and they do not know of each other."""
    there = {kind: path for path in sorted(mapped) for name, kind in RUNTIMES.items() if _stem(path) == name}
    if len(there) > 1:
        yield Finding(
            "note", f"{len(there)} OpenMP runtimes are in this process: {', '.join(there.values())}",
            "choose libraries that share one, or one thread each",
        )  # fmt: skip


def of_libraries(found: Iterable[tuple[Candidate, Report]]) -> Iterator[Finding]:
    """Libraries that cannot be used, that have known faults, that have no kernels for this CPU."""
    for candidate, known in found:
        if known.failure:
            yield Finding("note", f"{candidate.name} cannot be used: {known.failure}", f"mlkit blas info {candidate.path}")
            continue
        what = f"{candidate.name}, {known.vendor} {known.version}"
        for vendor, version, kernels, fault in FAULTS:
            if vendor == known.vendor and f"{known.version}.".startswith(f"{version}.") and re.search(kernels, known.kernels):
                yield Finding("note", f"{what}: {fault}")
        if known.kernels == "generic":
            yield Finding("note", f"{what}, has no kernels for this CPU and takes generic ones")


def _of_uses(used: list[Use], found: list[tuple[Candidate, Report]]) -> Iterator[Finding]:
    """The reference BLAS where a product is made."""
    faster = [candidate for candidate, known in found if not known.failure and known.vendor != "reference"]
    packaged = any(candidate.origin.startswith("Debian") for candidate in faster)
    for use in used:
        if report(use.candidate).vendor != "reference" or use.who.endswith("LAPACK"):
            continue
        remedy = "apt install libopenblas0"
        if use.who == "mlkit" and faster:
            remedy = f"export MLKIT_BLAS={faster[0].name}"
        elif packaged:
            remedy = f"update-alternatives --config libblas.so.3-{catalog.triplets()[0]}"
        yield Finding("warning", f"{use.who} is the reference BLAS, some twenty times slower than an optimised one", remedy)


def _of_counts() -> Iterator[Finding]:
    """Libraries that would run more threads than the process has CPUs."""
    import threadpoolctl  # 20 ms, needed only here

    for pool in threadpoolctl.threadpool_info():
        if pool["num_threads"] > threads.allowed():
            yield Finding(
                "warning",
                f"{pool['filepath']} would run {pool['num_threads']} threads; affinity and cgroup leave {threads.allowed()} CPUs",
                f"export {'OPENBLAS' if pool['internal_api'] == 'openblas' else 'OMP'}_NUM_THREADS={threads.allowed()}",
            )


def _of_limits() -> Iterator[Finding]:
    try:
        import resource
    except ImportError:  # not POSIX
        return
    processes, space = (resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_NPROC, resource.RLIMIT_AS))
    if 0 <= processes < 16 * threads.allowed():
        yield Finding(
            "warning", f"this user may have {processes} processes and threads: a BLAS may fail to start its own", "ulimit -u"
        )
    if 0 <= space < SMALL:
        yield Finding(
            "warning", f"address space is limited to {space >> 20} MB: a BLAS may fail to map its buffers", "ulimit -v unlimited"
        )


class _Place(ctypes.Structure):
    _fields_ = (("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("name", ctypes.c_char_p), ("address", ctypes.c_void_p))


def _imported(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError:
        return None


def _resolved(module: ModuleType, routine: str) -> tuple[str, str] | None:
    """(symbol, file) of what an extension module gets for a routine: its own dependencies are asked, as the loader did."""
    locate = getattr(ctypes.CDLL(None), "dladdr", None)
    handle = ctypes.CDLL(module.__file__)
    for prefix in ("", "scipy_"):
        for suffix in ("", "64_", "_64", "_64_"):
            name, place = f"{prefix}{routine}{suffix}", _Place()
            function = getattr(handle, name, None)
            if locate and function and locate(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(place)):
                return name, os.path.realpath(os.fsdecode(place.file))
    return None


def _mapped() -> set[str]:
    try:
        with open("/proc/self/maps") as maps:
            return {line.split(None, 5)[5].strip() for line in maps if ".so" in line}
    except OSError:
        return set()


def _stem(path: str) -> str:
    return re.split(r"[.-]", os.path.basename(path))[0]
