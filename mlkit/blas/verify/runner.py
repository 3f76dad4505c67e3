"""Every case in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from ...errors import ArgumentError, BlasError, LibraryNotFound
from .. import library, process, selection
from ..catalog import Candidate
from . import product, rest, special, together  # noqa: F401 – they register their cases
from .case import CASES, Wrong
from .outcome import CRASHED, FAILED, HUNG, NOTED, PASSED, SKIPPED, Row, Verification

Tell = Callable[[int, int, str], None]


def verify(
    name: str, cases: Sequence[str] | None = None, programs: bool = True, tell: Tell = lambda done, total, text: None
) -> Verification:
    """All cases, or those named, of one library by its name or path; with `programs` Debian's test programs too, if they are here.

    LibraryNotFound, ArgumentError for names that are none. A library that cannot even be loaded has one row that says so.
    """
    unknown = [case for case in cases or () if case not in CASES]
    if unknown:
        raise ArgumentError(f"there is no case {unknown[0]!r}; there are {', '.join(CASES)}")
    candidate = selection.find(name)
    report = library.report(candidate)
    if report.failure:
        return Verification(candidate.name, candidate.path, "", "", [Row("loading", CRASHED, report.failure, 0.0)])
    asked = name if os.sep in name else candidate.name
    rows = list(_rows(asked, candidate, list(cases or CASES), programs and not cases, tell))
    return Verification(candidate.name, candidate.path, report.version, report.kernels, rows)


def _rows(asked: str, candidate: Candidate, cases: Sequence[str], programs: bool, tell: Tell) -> Iterator[Row]:
    named = rest.installed() if programs else []
    for number, case in enumerate(cases):
        tell(number, len(cases) + len(named), f"{candidate.name}: {case}")
        yield _in_child(asked, case)
    for number, program in enumerate(named, len(cases)):
        tell(number, len(cases) + len(named), f"{candidate.name}: {program}")
        yield _program(candidate, program)


def _in_child(asked: str, case: str) -> Row:
    environment = {**os.environ, "PYTHONPATH": process.python_path()}
    for variable in ("MLKIT_BLAS", "MLKIT_TRACE"):
        environment.pop(variable, None)
    start = time.perf_counter()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mlkit.blas.verify.child", asked, case], env=environment, capture_output=True, text=True,
            errors="replace", timeout=CASES[case].seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Row(case, HUNG, f"no end within {CASES[case].seconds:g} s", time.perf_counter() - start)
    seconds = time.perf_counter() - start
    for line in done.stdout.splitlines():
        if line.startswith('{"verdict"'):
            found = json.loads(line)
            return Row(case, found["verdict"], found["detail"], seconds)
    said = done.stderr.strip().splitlines()
    words = f": {said[-1][:200]}" if said else ""
    if done.returncode < 0:
        return Row(case, CRASHED, f"killed by {signal.Signals(-done.returncode).name}{words}", seconds)
    return Row(case, CRASHED, f"the process ended with exit code {done.returncode}{words}", seconds)


def _program(candidate: Candidate, program: str) -> Row:
    """One of Debian's test programs. Complaints of LAPACK's are noted: thresholds and error exits are not the BLAS's alone."""
    start = time.perf_counter()
    if library.report(candidate).vendor == "mkl" and program[-1] in "cz" and not program.startswith(("xblat2", "xblat3")):
        return Row(program, SKIPPED, "MKL returns complex numbers in another way than programs compiled by gfortran expect", 0.0)
    try:
        verdict, detail = PASSED, rest.netlib(candidate, program, process.environment(candidate, 1))
    except Wrong as error:
        verdict, detail = NOTED if program.startswith("xlin") else FAILED, str(error)
    except (BlasError, LibraryNotFound) as error:
        verdict, detail = SKIPPED, str(error)
    except subprocess.TimeoutExpired as error:
        verdict, detail = HUNG, f"no end within {error.timeout:g} s"
    return Row(program, verdict, detail, time.perf_counter() - start)
