"""`mlkit bench replay|deepbench|gemm|layers|train|2026|isa|compare`: libraries side by side on products, layers and networks."""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from .. import bench, blas
from ..bench import outcome, paper, suite
from ..bench.machine import free_memory
from ..bench.race import ROUNDS, Item, Outcome, as_json, race
from ..bench.trace import Trace
from ..blas import threads
from ..errors import ArgumentError, MlkitError
from ..file import write_whole
from ..train import plot
from ..train.progress import Progress
from . import show

LEVELS = {  # kernel sets from the oldest instructions to the newest, in the words of the libraries that read them
    "openblas": ("Prescott", "Nehalem", "Sandybridge", "Haswell", "SkylakeX"),
    "blis": ("generic", "penryn", "sandybridge", "haswell", "zen3", "skx"),
    "mkl": ("SSE4_2", "AVX", "AVX2", "AVX512"),
}
UNKNOWN_MEMORY = 4 << 30  # bytes, where the system does not tell
BLIS_NUMBERS = {"generic": "25", "penryn": "5", "sandybridge": "4", "haswell": "3", "zen3": "6", "skx": "0"}  # of BLIS 0.9


def add_to(parser: argparse.ArgumentParser) -> None:
    """The parts of `mlkit bench`, beside the training that it does by itself."""
    parts = parser.add_subparsers(dest="part", metavar="replay|deepbench|gemm|layers|train|2026|isa|compare")
    replay = _part(parts, "replay", "the products of a trace, on any library, without the model", _replay)
    replay.add_argument("trace", metavar="TRACE", help="a file that `mlkit trace` wrote")
    deep = _part(parts, "deepbench", "DeepBench's products, convolutions and recurrent networks", _deepbench)
    deep.add_argument("--sets", metavar="A,B", default="training", help="of training, server, device (default: training)")
    deep.add_argument(
        "--most", metavar="GFLOP", type=float, default=2.0, help="only products of up to that many (default: 2; inf for all)"
    )
    deep.add_argument(
        "--memory", metavar="GB", type=float, help="only products that take up to that much in each process (default: what fits)"
    )
    _part(parts, "gemm", "squares, skinny and transposed products, stacks", lambda options: suite.gemms())
    _part(parts, "layers", "typical layers, forward and backward", lambda options: suite.layers())
    _part(parts, "train", "training steps of an MLP, a CNN, an LSTM and a GPT", lambda options: suite.networks())
    _part(parts, "2026", "the products of those networks, traced", lambda options: suite.own())
    isa = _part(parts, "isa", "one library at every level of the instruction set, on networks", lambda options: suite.networks())
    isa.add_argument("name", metavar="NAME", help="openblas, blis, mkl or one of their kind from `mlkit blas list`")
    compare = parts.add_parser("compare", help="two files of results")
    compare.add_argument("files", metavar="FILE", nargs=2, help="what --json wrote, before and after")
    compare.add_argument("--page", metavar="FILE", help="write an HTML page")
    compare.set_defaults(run=_compare)


def _part(parts: Any, name: str, text: str, items: Callable[[argparse.Namespace], list[Item]]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = parts.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    if name != "isa":
        parser.add_argument("--blas", metavar="A,B", help="names or paths, or all (default: all that are found)")
    parser.add_argument("--threads", metavar="1,2", help="thread counts (default: 1)")
    parser.add_argument("--rounds", metavar="N", type=int, default=ROUNDS, help=f"that take turns (default: {ROUNDS})")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the order in the rounds (default: 0)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--page", metavar="FILE", help="write an HTML page that explains it")
    parser.add_argument("--plots", metavar="DIR", help="write the plots as SVG and PNG")
    parser.set_defaults(run=run, items=items)
    return parser


def run(options: argparse.Namespace) -> int:
    libraries, numbers = _libraries(options), counts(options.threads)
    if options.rounds < 3:
        raise ArgumentError(f"--rounds is {options.rounds}; at least 3 are needed to tell anything")
    for path in filter(None, (options.json, options.page)):
        if not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
            raise ArgumentError(f"{path} cannot be written: its directory is missing or read-only")
    if options.page or options.plots:
        plot.axes()  # without matplotlib: one error, before anything starts
    items = options.items(options)
    if not items:
        raise ArgumentError("no product is that small: give --most or --memory more")
    found: Outcome | None = None
    failure: MlkitError | None = None
    try:
        with Progress() as tell:
            for found in race(_title(options), libraries, numbers, items, options.rounds, options.seed, tell):
                failure = _kept(found, options.json) if options.json else None
    except KeyboardInterrupt:
        if found is None:
            raise
        show.write("interrupted; what was finished:\n")
    assert found is not None
    _tell(found)
    if failure is not None:
        raise failure
    if options.page:
        write_whole(options.page, str(paper.page(found)))
        show.write(f"page: {options.page}")
    if options.plots:
        _plots(found, options.plots)
    return 0 if any(any(m.seconds) for m in found.measured) else 1


def _tell(found: Outcome) -> None:
    for name, value in blas.knobs().items():
        show.write(f"{name}={value} is set, and may choose kernels or threads")
    show.write(show.table(outcome.table(found)) + "\n")
    show.write(show.table(outcome.totals(found)) + "\n")
    for sentence in outcome.sentences(found):
        show.write(sentence)


def _kept(found: Outcome, path: str) -> MlkitError | None:
    """Write what was measured so far. Where the disk is full the file before stays, and the race goes on."""
    try:
        write_whole(path, json.dumps(as_json(found)))
    except MlkitError as error:
        return error
    return None


def _plots(found: Outcome, directory: str) -> None:
    try:
        os.makedirs(directory, exist_ok=True)
        for group in dict.fromkeys(m.item.group for m in found.measured):
            drawn = bench.figure.bars(found, group)
            for kind in ("svg", "png"):
                drawn.savefig(os.path.join(directory, f"{group.replace(', ', '-') or 'bars'}.{kind}"), dpi=200)
        if any(m.item.product for m in found.measured):
            for kind in ("svg", "png"):
                bench.figure.roofline(found).savefig(os.path.join(directory, f"roofline.{kind}"), dpi=200)
    except OSError as error:
        raise ArgumentError(f"--plots {directory} cannot be written: {error.strerror}") from error
    show.write(f"plots: {directory}")


def _compare(options: argparse.Namespace) -> int:
    before, after = map(outcome.load, options.files)
    for difference in outcome.differences(before, after):
        show.write(difference)
    changes = outcome.changes(before, after)
    show.write(show.table(outcome.table_of(changes)) + "\n")
    verdicts = [c.comparison.verdict for c in changes]
    words = ", ".join(f"{verdicts.count(word)} {word}" for word in ("faster", "slower", "cannot tell"))
    show.write(f"{len(changes)} pairs: {words}; they were not measured in turns, so a busier machine looks like a slower library")
    if options.page:
        write_whole(options.page, str(paper.comparison(before, after, options.files)))
    return 0


def _replay(options: argparse.Namespace) -> list[Item]:
    return suite.replayed(Trace.load(options.trace).products, os.path.basename(options.trace))


def _deepbench(options: argparse.Namespace) -> list[Item]:
    """Every library is a process of its own that holds the operands, and the first has two: together up to half of the memory."""
    processes = len(_libraries(options)) * len(counts(options.threads)) + 1
    fitting = (free_memory() or UNKNOWN_MEMORY) / 2 / processes
    return suite.deepbench(options.sets.split(","), options.most * 1e9, fitting if options.memory is None else options.memory * 1e9)


def _title(options: argparse.Namespace) -> str:
    return f"{options.part} {options.name}" if options.part == "isa" else str(options.part)


def _libraries(options: argparse.Namespace) -> list[str]:
    if options.part == "isa":
        return _levels(options.name)
    if options.blas in (None, "all"):
        return [candidate.name for candidate, report in blas.available() if not report.failure]
    names = [name for name in options.blas.split(",") if name]
    if not names:
        raise ArgumentError("--blas names no library")
    return [name if os.sep in name else blas.find(name).name for name in names]  # a wrong name: one error, before anything starts


def _levels(name: str) -> list[str]:
    """The kernel sets of a library that this CPU can run."""
    candidate = blas.find(name)
    vendor = blas.report(candidate).vendor
    if vendor not in LEVELS:
        raise ArgumentError(
            f"{candidate.name} is {vendor or 'of a kind'} that has no levels to choose from; {', '.join(LEVELS)} have"
        )
    found = []
    for level in LEVELS[vendor]:
        for word in (level, BLIS_NUMBERS.get(level, "")):
            if word and not blas.report(blas.find(f"{name}:{word}")).failure:
                found.append(f"{name}:{word}")
                break
    if not found:
        raise ArgumentError(f"{candidate.name} takes none of {', '.join(LEVELS[vendor])} on this machine")
    return found


def counts(asked: str | None) -> Sequence[int]:
    """Thread counts with commas between; 1, if none are asked for."""
    try:
        return [threads.checked(int(word), "--threads") for word in (asked or "1").split(",")]
    except ValueError as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"--threads is {asked!r}; it takes whole numbers with commas between") from None
