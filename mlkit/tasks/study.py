"""What a case study is: something to train, the data that it needs, and what comes of it."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import mlkit

from .. import data, io, nn, optim
from ..bench.page import Page
from ..blas import threads
from ..errors import ArgumentError
from ..kernels import Array
from ..train import Callback, History, fit, metric, plot, predict
from .input import Input

Tell = Callable[[int, int, str], None]


class Settings(NamedTuple):
    """What a person chooses for a training."""

    epochs: int
    seed: int = 0
    source: str | None = None  # the user's own data
    directory: Path = Path()  # where made data are kept
    callbacks: Sequence[Callback] = ()
    threads: int | None = None
    tell: Tell = lambda done, total, text: None


class Result(NamedTuple):
    """What a training came to; `description` is what a file says of it beside the architecture."""

    model: nn.Module
    history: History
    scores: dict[str, float]
    page: Page
    description: dict[str, Any]


class Study(NamedTuple):
    """A case study: `run` trains, explains and judges by `reach`, (score, value)."""

    name: str
    title: str
    epochs: int
    reach: tuple[str, float]
    run: Callable[[Settings], Result]
    source: str = ""  # what --data may be


class Origin(NamedTuple):
    """Where data are from, and under which licence."""

    source: str
    licence: str


OWN = Origin("data of the user's own", "unknown")
FASHION = Origin("Xiao, Rasul & Vollgraf, Fashion-MNIST (2017)", "Expat")


class Examples(NamedTuple):
    """Data of a classifier, and all that must be known of them to use and to grade the model."""

    split: data.Split
    classes: Sequence[str]
    input: Input  # which made the arrays of what a user has
    origin: Origin


Show = Callable[[Page, nn.Module, Array, Examples], None]


def classifier(
    study: Study, settings: Settings, examples: Examples, make: Callable[[], nn.Module], batch: int, lr: float,
    transform: Callable[..., Any] | None = None, weight_decay: float = 0.01, show: Show | None = None,
) -> Result:  # fmt: skip
    """Train; a tenth of the learning data is the validation part; the test part is looked at once, at the end.

    `transform(x, y, rng)` changes a batch before it is learned from; `show` adds to the page.
    """
    split = examples.split
    mlkit.manual_seed(settings.seed)
    count, rng = len(split.y_train), np.random.default_rng(settings.seed)
    if count < 10:
        raise ArgumentError(f"{study.name}: {count} examples are too few to learn from")
    many = np.bincount(split.y_train).min() >= 10
    learn, choose = data.stratified_split(split.y_train, [0.9, 0.1], rng) if many else data.random_split(count, [0.9, 0.1], rng)
    rng = np.random.default_rng(settings.seed + 1)
    changed = (lambda x, y: transform(x, y, rng)) if transform else None
    loader = data.DataLoader((split.x_train[learn], split.y_train[learn]), batch, shuffle=True, rng=rng, transform=changed)
    model = make()
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = optim.CosineAnnealingLR(optimizer, max(1, settings.epochs * len(loader)))
    history = fit(
        model, loader, (split.x_train[choose], split.y_train[choose]), optimizer=optimizer, schedule=schedule, each_step=True,
        epochs=settings.epochs, metrics=[metric.accuracy], callbacks=settings.callbacks, threads=settings.threads,
    )  # fmt: skip
    logits = predict(model, split.x_test)
    score = metric.accuracy(logits, split.y_test)
    page = begun(study, settings, history, f"{score:.2%} of {len(split.y_test):,} examples that were not learned from are right.")
    curves(page, history, "validation_accuracy", "Share of the validation part that is right.")
    if len(examples.classes) <= 25:
        confusions(page, logits, split.y_test, examples.classes)
    if show:
        show(page, model, logits, examples)
    description = {"preprocessing": examples.input.description, "answer": {"kind": "classes", "classes": list(examples.classes)}}
    return ended(study, settings, Result(model, history, {"accuracy": score}, page, description), split, examples.origin)


def begun(study: Study, settings: Settings, history: History, found: str) -> Page:
    """A page with what was found and what it took."""
    page = Page(study.title)
    name, value = study.reach
    if not len(history):
        page.text("Nothing was trained.")
        return page
    page.text(
        found, f"A good {name} for such a network is {value:g}. {len(history)} epochs, {sum(history['seconds']):.0f} seconds."
    )
    if history.stopped:
        page.text(f"The training ended early: {history.stopped}.")
    return page


def curves(page: Page, history: History, score: str, caption: str) -> None:
    """How it learned."""
    if not len(history):
        return
    page.heading("How it learned")
    page.figure(plot.curves(history), "Loss of the learning part, before each step, and of the validation part, after each epoch.")
    if score in history:
        page.figure(plot.curves(history, [score]), caption)


def confusions(page: Page, logits: Array, y: Array, classes: Sequence[str]) -> None:
    """What is taken for what, and how well each class is found."""
    page.heading("What it mistakes for what")
    matrix = metric.confusion_matrix(logits, y, len(classes))
    page.figure(plot.confusion(matrix, classes), "Examples of the test part: rows are what they are, columns what was found.")
    found = metric.precision_recall_f1(logits, y, len(classes))
    rows = [("class", "precision", "recall", "F1", "examples")]
    rows += [(name, f"{p:.3f}", f"{r:.3f}", f"{f:.3f}", str(n)) for name, p, r, f, n in zip(classes, *found)]
    page.table(rows)


def ended(study: Study, settings: Settings, result: Result, arrays: Sequence[Array], origin: Origin) -> Result:
    """The result with a last line on the page, and a description that says how to make it again."""
    command = f"mlkit train {study.name} --epochs {settings.epochs} --seed {settings.seed}{' --data DATA' * bool(settings.source)}"
    result.page.text(f"Made by `{command}`. Data: {origin.source}, {origin.licence}.", soft=True)
    library = mlkit.blas.current()
    made = {
        "task": study.name, "command": command, "seed": settings.seed, "epochs": settings.epochs, "trained": len(result.history),
        "stopped": result.history.stopped, "mlkit": mlkit.__version__, "numpy": np.__version__,
        "library": {
            "name": library.name, "version": library.report.version, "kernels": library.report.kernels,
            "threads": settings.threads or library.threads,
        },
        "data": {
            "source": origin.source, "licence": origin.licence, "examples": len(arrays[0]), "sha256": digest(arrays),
        },
    }  # fmt: skip
    return result._replace(description={**made, "scores": result.scores, **result.description})


def together(function: Callable[[Any], Any], items: Sequence[Any], tell: Tell, text: str) -> list[Any]:
    """`function` of every item, several at a time, which pays where it waits for other programs; an interrupt waits for none."""
    pool = ThreadPoolExecutor(threads.default())
    try:
        found = []
        for result in pool.map(function, items):
            found.append(result)
            tell(len(found), len(items), text)
        return found
    finally:
        pool.shutdown(cancel_futures=True)


def digest(arrays: Sequence[Array]) -> str:
    """SHA-256 of shapes, types and numbers."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def save(result: Result, path: str) -> None:
    """The model with all that is needed to use it and to make it again."""
    io.save(result.model, path, **result.description)
