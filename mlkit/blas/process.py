"""Another program on a chosen BLAS, without root: the loader meets that library before the system's libblas.so.3."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import ArgumentError, BlasError
from . import catalog, probe, selection, threads
from .catalog import Candidate
from .library import report

COUNTS = ("OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
LOOK = """
import numpy.linalg
with open("/proc/self/maps") as maps:
    print(*{line.split(None, 5)[5] for line in maps if ".so" in line and any(s in line for s in ("blas", "blis", "mkl"))}, sep="")
"""


def environment(candidate: Candidate, count: int | None = None) -> dict[str, str]:
    """This process's variables, changed so that a program linked with libblas.so.3 gets this library.

    A directory of links goes before $LD_LIBRARY_PATH; $MLKIT_BLAS names the same library. `count` threads, by default the
    CPUs that the process may use, are asked for wherever the caller has not set a number himself. BlasError if programs
    cannot call the library as libblas.so.3: because its integers have 64 bits, or its symbols other names.
    """
    if not sys.platform.startswith("linux"):
        raise BlasError("only the loader of Linux lets a directory of links stand before the system's libraries")
    found = report(candidate)
    if found.failure:
        raise BlasError(f"{candidate.path} cannot be used as a BLAS: {found.failure}")
    if found.int64 or found.prefix or found.suffix:
        raise BlasError(
            f"{candidate.name} cannot stand in for libblas.so.3: its integers have {64 if found.int64 else 32} bits and its "
            f"product is called {found.prefix}cblas_dgemm{found.suffix}; programs want 32 bits and cblas_dgemm"
        )
    chosen = dict(os.environ)
    directories = [str(_links(candidate)), os.path.dirname(candidate.path) if found.vendor == "mkl" else ""]
    chosen["LD_LIBRARY_PATH"] = ":".join(filter(None, [*directories, os.environ.get("LD_LIBRARY_PATH")]))
    chosen["MLKIT_BLAS"] = candidate.path + (f":{candidate.kernels}" if candidate.kernels else "")
    for variable in COUNTS:
        if count is not None or variable not in os.environ:
            chosen[variable] = str(threads.default() if count is None else threads.checked(count))
    if count is not None:
        chosen["MLKIT_THREADS"] = str(count)
    if candidate.kernels:
        chosen.update(dict.fromkeys(probe.KERNEL_VARIABLES, candidate.kernels))
    if found.vendor == "mkl":
        chosen |= {"MKL_THREADING_LAYER": (candidate.threading or "sequential").upper(), "MKL_INTERFACE_LAYER": "LP64"}
        if candidate.threading == "gnu":
            chosen["LD_PRELOAD"] = candidate.needed[-1]
    return chosen


def start(name: str, command: Sequence[str], count: int | None = None) -> None:
    """Become `command` on the library `name`; returns only by an error.

    If the command is a Python, or a script for one, its NumPy is asked first what it loads: BlasError if that is a BLAS of
    its own, as in PyPI's wheels.
    """
    if not command:
        raise ArgumentError("no command to run; for example: mlkit run --blas blis -- python3 script.py")
    program = shutil.which(command[0])
    if program is None:
        raise ArgumentError(f"there is no command {command[0]}")
    candidate = selection.find(name)
    chosen, python = environment(candidate, count), interpreter(program)
    if python:
        _check_numpy(python, candidate, chosen)
    try:
        os.execve(program, list(command), chosen)
    except OSError as error:
        raise ArgumentError(f"{program} cannot be started: {error.strerror}") from error


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it is gone, even while it is stopped. Linux only."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def python_path() -> str:
    """The PYTHONPATH by which a Python that is started finds mlkit where this one did."""
    root = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))


def interpreter(program: str) -> str | None:
    """The Python that runs `program`: itself, or what its first line names; None if it is no Python program."""
    if os.path.basename(program).startswith("python"):
        return program
    with suppress(OSError), open(program, "rb") as file:
        if file.read(2) == b"#!":
            words = file.readline(4096).decode(errors="replace").split()
            words = words[1:] if words and os.path.basename(words[0]) == "env" else words
            found = next((word for word in words if not word.startswith("-") and "=" not in word), "")
            return shutil.which(found) if os.path.basename(found).startswith("python") else None
    return None


def _check_numpy(python: str, candidate: Candidate, chosen: dict[str, str]) -> None:
    try:
        done = subprocess.run([python, "-c", LOOK], env=chosen, capture_output=True, text=True, timeout=probe.TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BlasError(f"{python} does not say which BLAS its NumPy loads: {error}") from error
    mapped = done.stdout.split()
    if done.returncode or candidate.path in map(os.path.realpath, mapped):
        return  # without NumPy there is nothing to refuse: the program itself says what it lacks
    own = ", ".join(mapped) or "none that can be seen"
    raise BlasError(
        f"NumPy of {python} does not take libblas.so.3, so no {candidate.name} for it: it brings its own BLAS ({own}). "
        "Debian's python3-numpy takes it; mlkit.blas does in any Python"
    )


def _links(candidate: Candidate) -> Path:
    """A directory in which the library and a LAPACK that fits it have the names that the loader looks for."""
    home = Path(candidate.path).parent
    wanted = {"libblas.so.3": candidate.path}
    wanted |= {path.name: candidate.path for path in home.glob("lib*.so*") if os.path.realpath(path) == candidate.path}
    if (home / "liblapack.so.3").exists():
        wanted["liblapack.so.3"] = os.path.realpath(home / "liblapack.so.3")
    elif b"dgetrf_\0" in Path(candidate.path).read_bytes():
        wanted["liblapack.so.3"] = candidate.path
    else:
        plain = (Path("/usr/lib", triplet, "lapack", "liblapack.so.3") for triplet in catalog.triplets())
        wanted.update(("liblapack.so.3", os.path.realpath(path)) for path in plain if path.exists())
    directory = probe.cache_file().parent / "run" / f"{zlib.crc32(repr(sorted(wanted.items())).encode()):08x}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, target in wanted.items():
            with suppress(FileExistsError):
                (directory / name).symlink_to(target)
    except (OSError, RuntimeError) as error:
        raise BlasError(f"{directory} cannot be written ({error}); set XDG_CACHE_HOME to a directory that can") from error
    return directory
