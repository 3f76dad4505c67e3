"""`mlkit train NAME`: a worked case study – a real model on real data, a page that explains it, a file to use."""

import argparse
import os
from pathlib import Path
from typing import Any

from .. import blas
from ..data.file import write_whole
from ..errors import ArgumentError
from ..io import Checkpoint
from ..tasks import classify, lecture
from ..train import Callback, CSVLog, ShowProgress, plot
from ..train.progress import Progress
from . import show

DESCRIPTION = """Train a case study and write a page about it, the model and a log into a directory.
lecture: from y = b + w x to deep networks, on the daily views of an article. digits: handwritten digits.
images: items of clothing (apt install dataset-fashion-mnist). The pages' plots need matplotlib."""


def add_to(commands: Any) -> None:
    parser = commands.add_parser("train", help="train a worked case study", description=DESCRIPTION)
    parser.add_argument("name", choices=["lecture", *classify.TASKS], metavar="NAME", help="lecture, digits or images")
    parser.add_argument("--out", metavar="DIR", help="where page, model and log go (default: mlkit-NAME)")
    parser.add_argument("--epochs", metavar="N", type=int, help="passes over the data (default: the case study's own)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of weights, batches and splits (default: 0)")
    parser.add_argument("--blas", metavar="NAME", help="the library: a name from `mlkit blas list`, or a path")
    parser.add_argument("--threads", metavar="N", type=int, help="threads (default: the CPUs that this process may use)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the directory")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.epochs is not None and options.epochs < 1:
        raise ArgumentError(f"--epochs is {options.epochs}; it must be from 1")
    if options.resume and options.name == "lecture":
        raise ArgumentError("--resume: the lecture trains many small models in seconds and keeps no checkpoint")
    plot.axes()  # without matplotlib: one error, before anything starts
    if options.blas:
        blas.use(options.blas)
    if options.threads:
        blas.current().threads = options.threads
    directory = Path(options.out or f"mlkit-{options.name}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"--out {directory} cannot be made: {error.strerror}") from error
    return _lecture(options, directory) if options.name == "lecture" else _classify(options, directory)


def _lecture(options: argparse.Namespace, directory: Path) -> int:
    with Progress() as tell:
        page, outcomes = lecture.run(options.epochs or 200, options.seed, tell)
    rows = [("model", "learning", "validation 2011", "test 2012", "lecture's learning", "test")]
    for o in outcomes:
        theirs = [f"{value:.2f}" for value in o.candidate.theirs or ()] or ["", ""]
        rows.append((o.candidate.name, f"{o.learned:.3f}", f"{o.chosen:.3f}", f"{o.tested:.3f}", theirs[0], theirs[1]))
    show.write(show.table(rows))
    _written(directory / "lecture.html", str(page))
    return 0


def _classify(options: argparse.Namespace, directory: Path) -> int:
    task = classify.TASKS[options.name]
    checkpoint = directory / "checkpoint.safetensors"
    if options.resume and not checkpoint.exists():
        raise ArgumentError(f"--resume: there is no checkpoint in {directory}")
    callbacks: list[Callback] = [ShowProgress(), CSVLog(directory / "log.csv"), Checkpoint(checkpoint, resume=options.resume)]
    result = classify.run(task, options.epochs, options.seed, callbacks, options.threads)
    stopped = f" ({result.history.stopped})" if result.history.stopped else ""
    show.write(f"test accuracy {result.score:.4f} after {len(result.history)} epochs{stopped}")
    model = directory / "model.safetensors"
    classify.save(task, result, os.fspath(model), options.seed)
    show.write(f"model: {model}")
    _written(directory / "page.html", str(result.page))
    return 130 if stopped == " (interrupted)" else 0


def _written(path: Path, text: str) -> None:
    write_whole(os.fspath(path), text)
    show.write(f"page:  {path}")
