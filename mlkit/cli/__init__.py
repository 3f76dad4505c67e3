"""The command `mlkit`. A wrong input is one line on standard error and exit code 2; --debug shows the traceback."""

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import MlkitError
from . import bench, blas, model, predict, run, serve, trace, train


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except MlkitError as error:
        if options.debug:
            raise
        sys.stderr.write(f"mlkit: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("mlkit: interrupted\n")
        return 130
    except BrokenPipeError:  # `mlkit blas list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    whole = argparse.ArgumentParser("mlkit", description="Neural networks on any BLAS, chosen at run time.")
    whole.add_argument("--version", action="version", version=f"mlkit {__version__}")
    whole.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (bench, trace, train, predict, serve, model, blas, run):
        command.add_to(commands)
    return whole
