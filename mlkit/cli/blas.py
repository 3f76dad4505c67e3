"""`mlkit blas list`, `mlkit blas info NAME`, `mlkit blas verify NAME` and `mlkit blas doctor`"""

import argparse
import json
import os
from contextlib import suppress
from typing import Any

from .. import blas
from ..bench import suite, tune
from ..bench.race import race
from ..bench.trace import Trace
from ..blas import doctor, threads, verify
from ..blas.tuning import profile_path
from ..errors import ArgumentError, LibraryNotFound
from ..file import write_whole
from ..train.progress import Progress
from . import show
from .race import counts as race_counts


def add_to(commands: Any) -> None:
    parser = commands.add_parser("blas", help="the BLAS libraries of this machine")
    parts = parser.add_subparsers(dest="part", required=True, metavar="list|info|verify|tune|doctor")
    listing = parts.add_parser("list", help="every library found, and what it is")
    listing.add_argument("--json", action="store_true", help="as JSON on standard output")
    listing.set_defaults(run=run_list)
    info = parts.add_parser("info", help="all that is known of one library")
    info.add_argument("name", help="a name from `mlkit blas list`, system, or a path")
    info.add_argument("--json", action="store_true", help="as JSON on standard output")
    info.set_defaults(run=run_info)
    proof = parts.add_parser(
        "verify", help="is a library right: bounds, edges, special values, threads, fork, LAPACK, netlib's tests"
    )
    proof.add_argument("names", metavar="NAME", nargs="*", help="names or paths (default: the library in force)")
    proof.add_argument("--all", action="store_true", help="every library of this machine")
    proof.add_argument("--cases", metavar="A,B", help="only these cases")
    proof.add_argument("--junit", metavar="FILE", help="write JUnit's XML, for autopkgtest and CI")
    proof.add_argument("--json", action="store_true", help="as JSON on standard output")
    proof.set_defaults(run=run_verify)
    tuning = parts.add_parser("tune", help="race the libraries for every shape; the library called auto then takes the winners")
    tuning.add_argument(
        "trace", metavar="TRACE", nargs="?", help="a file that `mlkit trace` wrote (default: typical networks and shapes)"
    )
    tuning.add_argument("--blas", metavar="A,B", help="only these libraries (default: all whose threads one count rules)")
    tuning.add_argument("--threads", metavar="1,2", help="thread counts (default: 1, and the CPUs that this process may use)")
    tuning.add_argument("--rounds", metavar="N", type=int, default=15, help="that take turns (default: 15)")
    tuning.add_argument("--out", metavar="FILE", help="the profile (default: where auto looks for it)")
    tuning.set_defaults(run=run_tune)
    diagnosis = parts.add_parser("doctor", help="which library NumPy, SciPy and mlkit really use, and what is wrong")
    diagnosis.add_argument("--json", action="store_true", help="as JSON on standard output")
    diagnosis.set_defaults(run=run_doctor)


def run_list(options: argparse.Namespace) -> int:
    found = blas.available()
    if options.json:
        show.write(json.dumps([_facts(candidate, report) for candidate, report in found], indent=2))
        return 0
    rows = [("name", "vendor", "version", "int", "kernels", "threading", "found in")]
    for candidate, report in found:
        bits = "64" if report.int64 else "32"
        rows.append((candidate.name, report.vendor, report.version, bits, report.kernels, report.threading, candidate.origin)
                    if not report.failure else (candidate.name, "unusable", "", "", "", "", report.failure))  # fmt: skip
    show.write(show.table(rows))
    for name, value in blas.knobs().items():
        show.write(f"{name}={value} is set, and may choose kernels or threads")
    show.write(f"\nin force: {blas.current().name}  (change it with blas.use(NAME), MLKIT_BLAS=NAME or mlkit bench --blas NAME)")
    with suppress(LibraryNotFound):
        system = blas.find("system")
        show.write(f"system:   {system.name}  (what libblas.so.3 is for other programs; change it with update-alternatives)")
    return 0


def run_info(options: argparse.Namespace) -> int:
    candidate = blas.find(options.name)
    report = blas.report(candidate)
    facts = _facts(candidate, report)
    if not report.failure:
        library = blas.resolve(candidate.path if candidate.origin == "path" else candidate.name)
        facts["threads"], facts["thread_scope"] = library.threads, library.scope
    if options.json:
        show.write(json.dumps(facts, indent=2))
    else:
        width = max(map(len, facts))
        for key, value in facts.items():
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            show.write(f"{key:{width}}  {text}")
    return 1 if report.failure else 0


def run_verify(options: argparse.Namespace) -> int:
    names = (
        [c.name for c, report in blas.available() if not report.failure] if options.all else options.names or [blas.current().name]
    )
    cases = options.cases.split(",") if options.cases else None
    found: list[verify.Verification] = []
    with Progress() as tell:
        for name in names:
            one = verify.verify(name, cases, tell=tell)
            found.append(one)
            if not options.json:
                tell.line("")
                _show(one)
            if options.junit:
                write_whole(options.junit, verify.as_junit(found))
    if options.json:
        show.write(json.dumps([{**one._asdict(), "rows": [row._asdict() for row in one.rows]} for one in found], indent=2))
    else:
        wrong = [one.library for one in found if not one.right]
        show.write(
            f"wrong: {', '.join(wrong)}" if wrong else f"{len(found)} librar{'y is' if len(found) == 1 else 'ies are'} right"
        )
    return 1 if any(not one.right for one in found) else 0


def _show(found: verify.Verification) -> None:
    show.write(f"{found.library}  {found.version}  {found.kernels}  {found.path}")
    rows = [("case", "", "s", "")]
    rows += [(row.case, row.verdict.upper() if row.wrong else row.verdict, f"{row.seconds:.1f}", row.detail) for row in found.rows]
    show.write(show.table(rows) + "\n")


def run_tune(options: argparse.Namespace) -> int:
    if options.rounds < 3:
        raise ArgumentError(f"--rounds is {options.rounds}; at least 3 are needed to tell anything")
    path = options.out or os.fspath(profile_path())
    items = suite.replayed(Trace.load(options.trace).products, "trace") if options.trace else tune.items()
    counts = options.threads or ",".join(map(str, dict.fromkeys((1, threads.allowed()))))
    if options.blas:
        names = [blas.find(name).name for name in options.blas.split(",") if name]
    else:
        names = [c.name for c, report in blas.available() if not report.failure and report.threading != "openmp"]
    with Progress() as tell:  # an interrupt leaves the profile as it was
        *_, found = race("tune", names, race_counts(counts), items, options.rounds, 0, tell)
    profile = tune.profile(found)
    if not profile.base:
        raise ArgumentError("no library ran: there is nothing to choose from")
    for sentence in tune.sentences(profile):
        show.write(sentence)
    for complaint in found.complaints:
        show.write(complaint)
    profile.save(path)
    show.write(f'profile: {path}  (blas.use("auto"), MLKIT_BLAS=auto or --blas auto)')
    return 0


def run_doctor(options: argparse.Namespace) -> int:
    used = doctor.uses()
    findings = doctor.examine(used)
    grave = [finding for finding in findings if finding.level != "note"]
    reports = [blas.report(use.candidate) for use in used]
    if options.json:
        uses = [
            {"who": use.who, "name": use.candidate.name, "path": use.path, "routine": use.routine, "vendor": known.vendor,
             "version": known.version, "integer_bits": 64 if use.routine.rstrip("_").endswith("64") or known.int64 else 32}
            for use, known in zip(used, reports)
        ]  # fmt: skip
        found = [finding._asdict() for finding in findings]
        show.write(json.dumps({"uses": uses, "findings": found, "healthy": not grave}, indent=2))
        return 1 if grave else 0
    rows = [("who", "library", "version", "calls", "in")]
    rows += [
        (use.who, use.candidate.name, f"{known.vendor} {known.version}".strip() or "–", use.routine, use.path)
        for use, known in zip(used, reports)
    ]
    show.write(show.table(rows) + "\n")
    for finding in findings:
        show.write(f"{finding.level}: {finding.what}")
        if finding.remedy:
            show.write(f"    {finding.remedy}")
    show.write("healthy" if not grave else f"{len(grave)} thing{'s' * (len(grave) > 1)} to mend")
    return 1 if grave else 0


def _facts(candidate: blas.Candidate, report: blas.Report) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": candidate.name, "path": candidate.path, "origin": candidate.origin}
    if report.failure:
        return {**facts, "failure": report.failure}
    facts |= {"integer_bits": 64 if report.int64 else 32, **report._asdict()}
    if candidate.needed:
        facts["isolated_with"] = list(candidate.needed)
    facts["thread_control"] = report.adjustable
    return {key: value for key, value in facts.items() if key not in ("failure", "int64")}
