"""`mlkit predict MODEL INPUT`: what a saved model says of new data."""

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from .. import blas
from ..kernels import Array
from ..tasks import Predictor
from . import show

DESCRIPTION = """Say for each input which class the model takes it for, and how sure it is – or where things are, or how a text
goes on. INPUT is what the model was trained on: rows of numbers (CSV, .npy, .npz, IDX), a picture, a mail, a WAV or SGF file, a
text; a folder of these; or - for standard input, where CSV lines are answered as they come."""


def add_to(commands: Any) -> None:
    parser = commands.add_parser("predict", help="what a saved model says of new data", description=DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="a file that `mlkit train` or mlkit.save wrote")
    parser.add_argument("input", metavar="INPUT", help="a file, a folder, or - for standard input")
    parser.add_argument("--json", action="store_true", help="a JSON object for each input, with more than one word")
    parser.add_argument("--blas", metavar="NAME", help="the library: a name from `mlkit blas list`, or a path")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.blas:
        blas.use(options.blas)
    predictor = Predictor(options.model)
    for name, rows in _parts(predictor, options.input):
        for answer in predictor.answers(rows):
            if options.json:
                show.write(json.dumps(answer if name == options.input else {"input": name, **answer}, ensure_ascii=False))
            else:
                show.write(predictor.line(answer) if name == options.input else f"{name}: {predictor.line(answer)}")
        sys.stdout.flush()
    return 0


def _parts(predictor: Predictor, path: str) -> Iterator[tuple[str, Array]]:
    if path != "-":
        return predictor.input.files(path)
    return (("-", rows) for _, rows in predictor.input.stream(sys.stdin, "standard input"))
