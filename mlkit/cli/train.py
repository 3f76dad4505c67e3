"""`mlkit train NAME`: a worked case study – a real model on real data, a page that explains it, a file to use."""

import argparse
import os
from pathlib import Path
from typing import Any

from .. import blas, io, tasks
from ..errors import ArgumentError
from ..file import write_whole
from ..io.card import card
from ..train import Callback, CSVLog, ShowProgress, plot
from ..train.progress import Progress
from . import show

DESCRIPTION = """Train a case study and write a page about it, the model, its card and a log into a directory.
lecture: from y = b + w x to deep networks, on the daily views of an article. digits: handwritten digits.
images: items of clothing (apt install dataset-fashion-mnist). spam: mails (--data). speech: words (apt install espeak-ng).
go: the next move (apt install gnugo). text: a text that goes on (apt install fortunes, or --data).
draw: clothes that nobody has sewn, and detect: where is what (both dataset-fashion-mnist). The pages' plots need matplotlib."""


def add_to(commands: Any) -> None:
    parser = commands.add_parser("train", help="train a worked case study", description=DESCRIPTION)
    names = ["lecture", *tasks.STUDIES]
    parser.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--data", metavar="PATH", help="your own: a folder or file, see mlkit-train(1)")
    parser.add_argument("--out", metavar="DIR", help="where page, model and log go (default: mlkit-NAME)")
    parser.add_argument("--epochs", metavar="N", type=int, help="passes over the data (default: the case study's own)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of weights, batches and splits (default: 0)")
    parser.add_argument("--blas", metavar="NAME", help="the library: a name from `mlkit blas list`, or a path")
    parser.add_argument("--threads", metavar="N", type=int, help="threads (default: the CPUs that this process may use)")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the directory")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    _check(options)
    if options.blas:
        blas.use(options.blas)
    if options.threads:
        blas.current().threads = options.threads
    directory = Path(options.out or f"mlkit-{options.name}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"--out {directory} cannot be made: {error.strerror}") from error
    return _lecture(options, directory) if options.name == "lecture" else _study(options, directory)


def _check(options: argparse.Namespace) -> None:
    """What is wrong before anything starts."""
    if options.epochs is not None and options.epochs < 1:
        raise ArgumentError(f"--epochs is {options.epochs}; it must be from 1")
    if options.seed < 0:
        raise ArgumentError(f"--seed is {options.seed}; it must be from 0")
    if options.name == "lecture" and (options.resume or options.data):
        raise ArgumentError("the lecture trains many small models on bundled data: it takes neither --resume nor --data")
    if options.data and not tasks.STUDIES[options.name].source:
        raise ArgumentError(f"{options.name} has its data with it: it takes no --data")
    if options.data and not os.path.exists(options.data):
        raise ArgumentError(f"--data {options.data} is not there")
    plot.axes()  # without matplotlib: one error


def _lecture(options: argparse.Namespace, directory: Path) -> int:
    with Progress() as tell:
        page, outcomes = tasks.lecture.run(options.epochs or 200, options.seed, tell)
    rows = [("model", "learning", "validation 2011", "test 2012", "lecture's learning", "test")]
    for o in outcomes:
        theirs = [f"{value:.2f}" for value in o.candidate.theirs or ()] or ["", ""]
        rows.append((o.candidate.name, f"{o.learned:.3f}", f"{o.chosen:.3f}", f"{o.tested:.3f}", theirs[0], theirs[1]))
    show.write(show.table(rows))
    _written("page", directory / "lecture.html", str(page))
    return 0


def _study(options: argparse.Namespace, directory: Path) -> int:
    study = tasks.STUDIES[options.name]
    checkpoint = directory / "checkpoint.safetensors"
    if options.resume and not checkpoint.exists():
        raise ArgumentError(f"--resume: there is no checkpoint in {directory}")
    callbacks: list[Callback] = [ShowProgress(), CSVLog(directory / "log.csv"), io.Checkpoint(checkpoint, resume=options.resume)]
    epochs = study.epochs if options.epochs is None else options.epochs
    with Progress() as tell:
        result = study.run(tasks.Settings(epochs, options.seed, options.data, directory, callbacks, options.threads, tell))
    stopped = f" ({result.history.stopped})" if result.history.stopped else ""
    scores = ", ".join(f"{name} {value:.4f}" for name, value in result.scores.items())
    show.write(f"test {scores} after {len(result.history)} epochs{stopped}")
    model = directory / "model.safetensors"
    tasks.save(result, os.fspath(model))
    show.write(f"model: {model}")
    count = sum(p.size for p in result.model.parameters())
    _written("card", directory / "card.md", card(io.read_description(model), count))
    _written("page", directory / "page.html", str(result.page))
    return 130 if result.history.stopped == "interrupted" else 0


def _written(what: str, path: Path, text: str) -> None:
    write_whole(os.fspath(path), text)
    show.write(f"{what}:  {path}")
