"""Where is what: a detector that looks once, on scenes made of several pieces of clothing."""

from typing import Any

import numpy as np

import mlkit

from .. import data, models, optim
from ..bench.page import Page
from ..kernels import Array
from ..models import Found, Scene
from ..train import fit, plot, predict
from .classify import CLOTHES
from .input import Pictures
from .study import FASHION, Result, Settings, Study, begun, ended

SCENES, TESTED, SIZE, CELLS = 4000, 500, 64, 8
ODDS = 0.3  # what is less sure is not shown


def run(settings: Settings) -> Result:
    """Scenes of 64 × 64 with one to three things; those of the test are made of images that were not learned from."""
    split = data.fashion_mnist(settings.source or data.FASHION)
    mlkit.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    learn, test = (
        models.scenes(x.reshape(-1, 28, 28), y, count, SIZE, rng=rng)
        for x, y, count in ((split.x_train, split.y_train, SCENES), (split.x_test, split.y_test, TESTED))
    )
    model = models.Detector(len(CLOTHES))
    x = np.stack([scene.image for scene in learn])
    loader = data.DataLoader((x, *model.targets(learn, CELLS)), 32, shuffle=True, rng=rng)
    optimizer = optim.AdamW(model.parameters(), lr=5e-3)
    schedule = optim.OneCycleLR(optimizer, 5e-3, max(2, settings.epochs * len(loader)))
    history = fit(
        model, loader, objective=lambda x, wanted, classes: model.loss(model(x), wanted, classes), optimizer=optimizer,
        schedule=schedule, each_step=True, epochs=settings.epochs, callbacks=settings.callbacks, threads=settings.threads,
    )  # fmt: skip
    images = np.stack([scene.image for scene in test])
    raw = predict(model, images)
    score = models.mean_average_precision(model.detections(raw, threshold=0.05), test)
    page = begun(DETECT, settings, history, f"Mean average precision {score:.3f} on {len(test)} scenes, at an overlap of a half.")
    if len(history):
        page.heading("How it learned")
        page.figure(plot.curves(history, ["loss"]), "Loss of the learning part.")
    page.heading("What it finds")
    _pictures(page, test[:12], model.detections(raw[:12], threshold=ODDS))
    pictures = Pictures(shape=[1, SIZE, SIZE], scale=255, ground=0)
    answer = {"kind": "boxes", "classes": list(CLOTHES), "threshold": ODDS}
    found = Result(model, history, {"mAP": score}, page, {"preprocessing": pictures.description, "answer": answer})
    return ended(DETECT, settings, found, [x, images], FASHION._replace(source=f"scenes made of {FASHION.source}"))


def _pictures(page: Page, scenes: list[Scene], found: list[Found]) -> None:
    """Scenes with the boxes that were found, green where class and place are right."""
    figure = plot.images(np.stack([scene.image[0] for scene in scenes]), [" "] * len(scenes), columns=4)
    figure.set_size_inches(9, 7)
    for ax, scene, finds in zip(figure.axes, scenes, found):
        for box, score, kind in zip(finds.boxes, finds.scores, finds.classes):
            right = _right(box, int(kind), scene)
            _frame(ax, box, f"{CLOTHES[int(kind)]} {score:.0%}", "tab:green" if right else "tab:red")
    page.figure(figure, "Scenes of the test; green boxes are right, red ones are not.")


def _right(box: Array, kind: int, scene: Scene) -> bool:
    same = scene.boxes[scene.classes == kind]
    return bool(len(same) and models.intersection_over_union(box[None], same).max() >= 0.5)


def _frame(ax: Any, box: Array, text: str, colour: str) -> None:
    x, y, width, height = box * SIZE
    left, top = x - width / 2, y - height / 2
    across, down = [left, left + width, left + width, left, left], [top, top, top + height, top + height, top]
    ax.plot(across, down, color=colour, linewidth=1.2)
    ax.text(left, top - 1, text, color=colour, fontsize=7)


DETECT = Study("detect", "Where is what", 8, ("mAP", 0.65), run, "the directory of Fashion-MNIST's four IDX files")
