"""`mlkit predict MODEL INPUT`: what a saved model says of new data."""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import blas, io
from ..data.table import csv_batches, read_rows
from ..errors import ArgumentError, DataError
from ..kernels import Array
from ..train import predict
from . import show

DESCRIPTION = """Say for each row of INPUT which class the model takes it for, and how sure it is.
INPUT is a CSV, .npy, .npz or IDX file, or - for CSV lines on standard input, which are answered as they come."""

BATCH = 256


def add_to(commands: Any) -> None:
    parser = commands.add_parser("predict", help="what a saved model says of new data", description=DESCRIPTION)
    parser.add_argument("model", metavar="MODEL", help="a file that `mlkit train` or mlkit.save wrote")
    parser.add_argument("input", metavar="INPUT", help="rows of numbers, as the model's data had them")
    parser.add_argument("--json", action="store_true", help="a JSON object for each row, with the probability of every class")
    parser.add_argument("--blas", metavar="NAME", help="the library: a name from `mlkit blas list`, or a path")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.blas:
        blas.use(options.blas)
    model = io.load(options.model)
    shape = tuple(model.description.get("input", ()))
    classes = model.description.get("classes")
    scale = model.description.get("scale", 1)
    if not all(type(n) is int and n > 0 for n in shape) or not isinstance(scale, int | float) or not scale:
        raise DataError(f"{options.model} says nothing about its inputs that could be used: input {shape}, scale {scale!r}")
    for part in _parts(options.input):
        rows = _shaped(part, shape, options.input)
        for row in predict(model, (rows / scale).astype(np.float32)):
            show.write(_answer(np.atleast_1d(row), classes, options.json))
        sys.stdout.flush()
    return 0


def _parts(path: str) -> Iterator[Array]:
    if path == "-":
        yield from csv_batches(sys.stdin, "standard input", 1 if sys.stdin.isatty() else BATCH)
    else:
        rows = read_rows(path)
        yield from (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def _shaped(rows: Array, shape: tuple[int, ...], name: str) -> Array:
    """Rows of as many numbers as the model takes, in its shape."""
    count = math.prod(shape) if shape else rows[0].size
    if rows[0].size != count:
        raise ArgumentError(f"{name} has {rows[0].size} numbers in a row; the model takes {count}, as {shape}")
    if not np.isfinite(rows).all():
        raise DataError(f"{name} has numbers that are not finite")
    return rows.reshape(-1, *shape) if shape else rows


def _answer(scores: Array, classes: Any, as_json: bool) -> str:
    """One line for one row."""
    if not isinstance(classes, list) or len(classes) != len(scores):
        numbers = [float(score) for score in scores.ravel()]
        return json.dumps({"prediction": numbers}) if as_json else ",".join(f"{number:g}" for number in numbers)
    shares = np.exp(scores - scores.max(), dtype=np.float64)
    shares /= shares.sum()
    best = int(shares.argmax())
    if as_json:
        each = {str(name): round(float(share), 6) for name, share in zip(classes, shares)}
        return json.dumps({"class": classes[best], "probability": each[str(classes[best])], "classes": each})
    return f"{classes[best]},{shares[best]:.4f}"
