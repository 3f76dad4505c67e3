"""`mlkit trace -- COMMAND`: every product that a program of mlkit makes, in a file that any library can be raced with."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .. import blas
from ..bench.contest import Entry
from ..bench.outcome import three
from ..bench.trace import Trace, chrome, summary
from ..bench.tracer import VARIABLE
from ..errors import ArgumentError
from ..file import write_whole
from . import show

DESCRIPTION = """Run a program and write every product that mlkit makes in it: routine, shapes, strides, count, layer, phase.
The file replays on any library and machine, `mlkit bench replay FILE`, without the program and its data: attach it to a report.
Recording makes each call some microseconds slower."""


def add_to(commands: Any) -> None:
    parser = commands.add_parser("trace", help="record the products that a program makes", description=DESCRIPTION)
    parser.add_argument("--out", metavar="FILE", default="trace.json", help="the trace (default: trace.json)")
    parser.add_argument("--timeline", metavar="FILE", help="the calls one by one, for chrome://tracing and Perfetto")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the program and its arguments")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise ArgumentError("trace: there is no command: mlkit trace -- python3 script.py")
    for path in filter(None, (options.out, options.timeline)):
        if not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
            raise ArgumentError(f"{path} cannot be written: its directory is missing or read-only")
    with tempfile.TemporaryDirectory() as directory:
        code = _observed(command, directory)
        parts = sorted(Path(directory).glob("*.json"), key=lambda path: -path.stat().st_size)
        traces = [Trace.load(os.fspath(path)) for path in parts]
    if not traces:
        show.write(f"the program ended with exit code {code}, and made no product with mlkit")
        return code or 1
    whole = traces[0].merged(traces[1:])._replace(command=" ".join(command))
    _tell(whole)  # a disk that is full loses the file alone
    whole.save(options.out)
    show.write(f"trace: {options.out}  (mlkit bench replay {options.out} --blas all)")
    if options.timeline:
        write_whole(options.timeline, json.dumps(chrome(whole)))
        show.write(f"timeline: {options.timeline}")
    return code


def _observed(command: list[str], directory: str) -> int:
    """The exit code of the program, which writes into the directory; an interrupt is the program's."""
    program = sys.executable if command[0] in ("python", "python3") else shutil.which(command[0])
    words = [sys.executable, "-m", "mlkit"] if command[0] == "mlkit" else [program or command[0]]
    try:
        with subprocess.Popen([*words, *command[1:]], env={**os.environ, VARIABLE: directory}) as process:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:
                    continue
    except OSError as error:
        raise ArgumentError(f"{command[0]} cannot be run: {error.strerror}") from error


def _tell(trace: Trace) -> None:
    products = trace.distinct()
    total = sum(product.seconds for product in products)
    rows = [("product", "times", "ms", "share", "GFLOP/s", "layers")]
    for product in products[:20]:
        layers = list(dict.fromkeys(f"{p.layer} {p.phase}".strip() for p in trace.products if p.key == product.key))
        rows.append((
            str(product), str(product.times), three(product.seconds * 1e3), f"{product.seconds / total:.1%}",
            f"{product.flops * product.times / product.seconds / 1e9:.1f}", ", ".join(layers[:3]) + ", …" * (len(layers) > 3),
        ))  # fmt: skip
    show.write(show.table(rows) + "\n")
    for sentence in summary(trace, _peak(trace)):
        show.write(sentence)


def _peak(trace: Trace) -> float | None:
    """The best that the library of the trace does here, in GFLOP/s, if it is here."""
    names = {candidate.name for candidate, report in blas.available() if not report.failure}
    if trace.library["name"] not in names:
        return None
    entry = Entry(trace.library["name"], trace.library["threads"] or 1)
    try:
        return (entry.ask("describe") or {}).get("peak")
    finally:
        entry.stop()
