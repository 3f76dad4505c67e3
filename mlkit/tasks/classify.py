"""Images told apart: handwritten digits (bundled), items of clothing (Fashion-MNIST). A model in a file, and a page about it."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

import mlkit

from .. import data, io, models, nn, optim
from ..kernels import Array
from ..train import Callback, History, fit, metric, plot, predict
from .page import Page


class Task(NamedTuple):
    """What is trained, on what, how long, and the score that is known from elsewhere."""

    name: str
    title: str
    load: Callable[[int], data.Split]  # by seed
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]  # of an input of the model
    classes: Sequence[str]
    epochs: int
    batch: int
    lr: float
    scale: int  # what the numbers of a file are divided by
    shift: int  # pixels by which images are moved in learning
    reach: float
    source: str
    licence: str


def shuffled_digits(seed: int) -> data.Split:
    """The digits in two parts at random, 80 to 20, with the classes alike in both."""
    whole = data.digits()
    x, y = np.concatenate([whole.x_train, whole.x_test]), np.concatenate([whole.y_train, whole.y_test])
    learn, test = data.stratified_split(y, [0.8, 0.2], np.random.default_rng(seed))
    return data.Split(x[learn], y[learn], x[test], y[test])


def small_cnn() -> nn.Sequential:
    """Two convolutions and two dense layers, for (N, 1, 28, 28)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


CLOTHES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
TASKS = {
    task.name: task
    for task in (
        Task(
            "digits", "Handwritten digits", shuffled_digits, lambda: models.MLP([64, 128, 64, 10], dropout=0.1), (64,),
            tuple("0123456789"), 60, 32, 2e-3, 16, 0, 0.96,
            "Alpaydin & Kaynak, optical recognition of handwritten digits (UCI)", "CC-BY-4.0",
        ),
        Task(
            "images", "Items of clothing", lambda seed: data.fashion_mnist(), small_cnn, (1, 28, 28),
            CLOTHES, 10, 128, 2e-3, 255, 1, 0.92, "Xiao, Rasul & Vollgraf, Fashion-MNIST (2017)", "Expat",
        ),
    )
}  # fmt: skip


class Result(NamedTuple):
    """What a training came to."""

    model: nn.Module
    history: History
    score: float
    page: Page


def run(
    task: Task, epochs: int | None = None, seed: int = 0, callbacks: Iterable[Callback] = (), threads: int | None = None
) -> Result:
    """Train; a tenth of the learning data is the validation part; the test part is looked at once, at the end."""
    epochs = task.epochs if epochs is None else epochs
    split = task.load(seed)
    mlkit.manual_seed(seed)
    x_train, x_test = (x.reshape(-1, *task.shape) for x in (split.x_train, split.x_test))
    learn, choose = data.stratified_split(split.y_train, [0.9, 0.1], np.random.default_rng(seed))
    rng = np.random.default_rng(seed + 1)
    loader = data.DataLoader(
        (x_train[learn], split.y_train[learn]), task.batch, shuffle=True, rng=rng, transform=_moved(task.shift, rng)
    )
    model = task.make()
    optimizer = optim.AdamW(model.parameters(), lr=task.lr)
    schedule = optim.CosineAnnealingLR(optimizer, max(1, epochs * len(loader)))
    history = fit(
        model, loader, (x_train[choose], split.y_train[choose]), optimizer=optimizer, schedule=schedule, each_step=True,
        epochs=epochs, metrics=[metric.accuracy], callbacks=callbacks, threads=threads,
    )  # fmt: skip
    scores = predict(model, x_test)
    score = metric.accuracy(scores, split.y_test)
    return Result(model, history, score, _page(task, history, score, scores, x_test, split.y_test, epochs, seed))


def save(task: Task, result: Result, path: str, seed: int) -> None:
    """The model with all that is needed to use it and to make it again."""
    split = task.load(seed)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in split)).hexdigest()
    library = mlkit.blas.current()
    io.save(
        result.model, path, task=task.name, input=list(task.shape), scale=task.scale, classes=list(task.classes), seed=seed,
        epochs=len(result.history), scores={"accuracy": result.score}, mlkit=mlkit.__version__,
        library={"name": library.name, "version": library.report.version, "threads": library.threads},
        data={"source": task.source, "licence": task.licence, "sha256": digest},
    )  # fmt: skip


def _moved(shift: int, rng: np.random.Generator) -> Callable[..., Any] | None:
    if not shift:
        return None
    return lambda x, y: (data.augment(x, rng, shift=shift), y)


def _page(task: Task, history: History, score: float, scores: Array, x: Array, y: Array, epochs: int, seed: int) -> Page:
    page = Page(task.title)
    wrong = np.flatnonzero(metric.classes(scores) != y)
    page.text(
        f"{score:.2%} of {len(y):,} images that were not learned from are told apart rightly ({task.reach:.0%} is a good score for "
        f"such a network). {len(history)} epochs, {sum(history['seconds']):.0f} seconds."
        if len(history)
        else "Nothing was trained."
    )
    if history.stopped:
        page.text(f"The training ended early: {history.stopped}.")
    if len(history):
        page.heading("How it learned")
        page.figure(
            plot.curves(history),
            "Loss of the learning part, before each step, and of the validation part, after each epoch.",
        )
        page.figure(plot.curves(history, ["validation_accuracy"]), "Share of the validation part that is told apart rightly.")
    page.heading("What it mistakes for what")
    matrix = metric.confusion_matrix(scores, y, len(task.classes))
    page.figure(plot.confusion(matrix, task.classes), "Images of the test part: rows are what they show, columns what was found.")
    found = metric.precision_recall_f1(scores, y, len(task.classes))
    rows = [("class", "precision", "recall", "F1", "images")]
    rows += [(name, f"{p:.3f}", f"{r:.3f}", f"{f:.3f}", str(n)) for name, p, r, f, n in zip(task.classes, *found)]
    page.table(rows)
    if len(wrong):
        page.heading("The surest mistakes")
        margin = scores[wrong].max(1) - scores[wrong, y[wrong]]
        worst = wrong[np.argsort(-margin)][:20]
        side = int(x[0].size ** 0.5)
        titles = [f"{task.classes[y[i]]}:\n{task.classes[int(scores[i].argmax())]}?" for i in worst]
        page.figure(plot.images(x[worst].reshape(-1, side, side), titles), "What each image shows, and what was found instead.")
    page.text(f"Made by `mlkit train {task.name} --epochs {epochs} --seed {seed}`. Data: {task.source}, {task.licence}.", soft=True)
    return page
