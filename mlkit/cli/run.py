"""`mlkit run --blas NAME -- COMMAND`: any program on a chosen BLAS, without root."""

import argparse
from typing import Any

from ..blas import process

DESCRIPTION = """Run a program in which libblas.so.3 is the library NAME: any NumPy script of Debian's Python, R, Octave, …
The choice holds for this program alone; nobody has to be root."""


def add_to(commands: Any) -> None:
    parser = commands.add_parser("run", help="run any program on a chosen BLAS", description=DESCRIPTION)
    parser.add_argument("--blas", metavar="NAME", required=True, help="a name from `mlkit blas list`, system, or a path")
    parser.add_argument("--threads", metavar="N", type=int, help="threads (default: the CPUs that this process may use)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the program and its arguments")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    process.start(options.blas, command, options.threads)
    return 0
