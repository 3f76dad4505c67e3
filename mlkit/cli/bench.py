"""`mlkit bench`: train the same networks under every BLAS, side by side."""

import argparse
import json
import os
from typing import Any

from .. import bench, blas
from ..blas import threads
from ..errors import ArgumentError
from ..file import write_whole
from ..train.progress import Progress
from . import race, show


def add_to(commands: Any) -> None:
    parser = commands.add_parser("bench", help="train the same networks under every BLAS, side by side", description=__doc__)
    parser.add_argument("--blas", metavar="A,B", help="only these libraries: names or paths (default: all that are found)")
    parser.add_argument("--threads", metavar="1,2", help="thread counts (default: the CPUs that this process may use)")
    parser.add_argument("--only", metavar="W", help=f"only these workloads: {', '.join(bench.WORKLOADS)}")
    parser.add_argument("--epochs", type=float, metavar="N", help="train for N passes over the data (default: a short time)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches (default: 0)")
    parser.add_argument("--quick", action="store_true", help="a quarter of the steps")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.set_defaults(run=run)
    race.add_to(parser)


def run(options: argparse.Namespace) -> int:
    libraries = _libraries(options.blas)
    counts = _counts(options.threads)
    workloads = _workloads(options.only)
    if options.epochs is not None and not 0 < options.epochs < 1e4:
        raise ArgumentError(f"--epochs is {options.epochs}; it must be above 0")
    if options.json and not os.access(os.path.dirname(os.path.abspath(options.json)), os.W_OK):
        raise ArgumentError(f"--json {options.json} cannot be written: its directory is missing or read-only")
    rows: list[bench.Row] = []
    try:
        with Progress() as tell:
            for row in bench.compete(
                libraries, counts, workloads, options.seed, options.epochs, 0.25 if options.quick else 1.0, tell
            ):
                rows.append(row)
    except KeyboardInterrupt:
        if not rows:
            raise
        show.write("interrupted; what was finished:\n")
    for name, value in blas.knobs().items():
        show.write(f"{name}={value} is set, and may choose kernels or threads")
    for title, cells in bench.table(rows):
        show.write(title)
        show.write(show.table(cells) + "\n")
    show.write(bench.sentence(rows))
    if options.json:
        write_whole(options.json, json.dumps(bench.as_json(rows), indent=2))
    return 0 if any(not row.failure for row in rows) else 1


def _libraries(asked: str | None) -> list[str]:
    if asked is None:
        return [candidate.name for candidate, _ in blas.available()]
    names = [name for name in asked.split(",") if name]
    if not names:
        raise ArgumentError("--blas names no library")
    candidates = [blas.find(name) for name in names]  # a wrong name: one error, before anything starts
    return [name if os.sep in name else candidate.name for name, candidate in zip(names, candidates)]


def _counts(asked: str | None) -> list[int]:
    if asked is None:
        return [threads.default()]
    try:
        return [threads.checked(int(word), "--threads") for word in asked.split(",")]
    except ValueError as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"--threads is {asked!r}; it takes whole numbers with commas between") from None


def _workloads(asked: str | None) -> list[str]:
    names = bench.available() if asked is None else asked.split(",")
    for name in names:
        if name not in bench.WORKLOADS:
            raise ArgumentError(f"no workload is called {name!r}; there are {', '.join(bench.WORKLOADS)}")
        bench.WORKLOADS[name].load()  # missing or damaged data: one error, before anything starts
    return names
