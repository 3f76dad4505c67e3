"""`mlkit model info|card|rebuild FILE`: what a model file says of itself, and whether it can be made again."""

import argparse
import json
import os
from typing import Any

from .. import blas, io
from ..errors import LibraryNotFound
from ..io.card import card, grade
from ..tasks import rebuild
from ..train import ShowProgress
from ..train.progress import Progress
from . import show


def add_to(commands: Any) -> None:
    parser = commands.add_parser("model", help="what a model file says of itself, and whether it can be made again")
    parts = parser.add_subparsers(dest="part", required=True, metavar="info|card|rebuild")
    info = parts.add_parser("info", help="what is in the file")
    info.add_argument("file", metavar="FILE", help="a file that `mlkit train` or mlkit.save wrote")
    info.add_argument("--json", action="store_true", help="as JSON on standard output")
    info.set_defaults(run=run_info)
    whole = parts.add_parser("card", help="data, licence, training, scores and grade, in Markdown")
    whole.add_argument("file", metavar="FILE", help="a file that `mlkit train` or mlkit.save wrote")
    whole.set_defaults(run=run_card)
    again = parts.add_parser("rebuild", help="train it again, and say whether it is the same")
    again.add_argument("file", metavar="FILE", help="a file that `mlkit train` wrote")
    again.add_argument("--data", metavar="PATH", help="the data, if they were your own")
    again.add_argument("--blas", metavar="NAME", help="the library (default: the one that the file names)")
    again.add_argument("--json", action="store_true", help="as JSON on standard output")
    again.set_defaults(run=run_rebuild)


def run_info(options: argparse.Namespace) -> int:
    tensors, _ = io.load_tensors(options.file)
    description = io.read_description(options.file)
    if options.json:
        shapes = {name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in tensors.items()}
        show.write(json.dumps({**description, "grade": grade(description), "tensors": shapes}, indent=2))
        return 0
    for key, value in {**description, "grade": grade(description)}.items():
        show.write(f"{key:14} {value if isinstance(value, str | int | float) else json.dumps(value)[:200]}")
    rows = [("tensor", "shape", "type")]
    rows += [(name, " × ".join(map(str, array.shape)) or "number", str(array.dtype)) for name, array in tensors.items()]
    show.write("\n" + show.table(rows))
    return 0


def run_card(options: argparse.Namespace) -> int:
    tensors, _ = io.load_tensors(options.file)
    show.write(card(io.read_description(options.file), sum(array.size for array in tensors.values())))
    return 0


def run_rebuild(options: argparse.Namespace) -> int:
    _choose(options)
    with Progress() as tell:
        found = rebuild(options.file, options.data, [ShowProgress()], tell)
    if options.json:
        show.write(json.dumps(found._asdict(), indent=2))
        return found.verdict == "different"
    for difference in found.differences:
        show.write(f"otherwise than then: {difference}")
    for name, value in found.before.items():
        show.write(f"{name}: {value:.6g} then, {found.after.get(name, float('nan')):.6g} now")
    distance = f", parameters differ by {found.distance:.2g} of their norm" if found.distance else ""
    show.write(f"{os.path.basename(options.file)} rebuilt: {found.verdict}{distance}")
    return found.verdict == "different"


def _choose(options: argparse.Namespace) -> None:
    """The library asked for, or the one that the file names, if it is here."""
    library = io.read_description(options.file).get("library")
    name = options.blas or (library.get("name") if isinstance(library, dict) else None)
    threads = library.get("threads") if isinstance(library, dict) else None
    try:
        if isinstance(name, str):
            blas.use(name)
    except LibraryNotFound:
        if options.blas:
            raise
    if isinstance(threads, int) and 0 < threads < 1 << 12:
        blas.current().threads = threads
