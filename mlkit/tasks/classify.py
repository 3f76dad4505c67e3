"""Images told apart: handwritten digits (bundled), items of clothing (Fashion-MNIST)."""

from pathlib import Path

import numpy as np

from .. import data, models, nn
from ..bench.page import Page
from ..data.image import SUFFIXES, files_by_class
from ..errors import DataError
from ..file import read_bounded
from ..kernels import Array
from ..train import metric, plot
from .input import Numbers, Pictures
from .study import FASHION, OWN, Examples, Origin, Result, Settings, Study, classifier

CLOTHES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def digits(settings: Settings) -> Result:
    """A perceptron with two hidden layers on the bundled digits, in two parts at random, 80 to 20."""
    whole = data.digits()
    x, y = np.concatenate([whole.x_train, whole.x_test]), np.concatenate([whole.y_train, whole.y_test])
    learn, test = data.stratified_split(y, [0.8, 0.2], np.random.default_rng(settings.seed))
    split = data.Split(x[learn], y[learn], x[test], y[test])
    examples = Examples(
        split, tuple("0123456789"), Numbers(shape=[64], scale=16),
        Origin("Alpaydin & Kaynak, optical recognition of handwritten digits (UCI)", "CC-BY-4.0"),
    )  # fmt: skip
    return classifier(
        DIGITS, settings, examples, lambda: models.MLP([64, 128, 64, 10], dropout=0.1), batch=32, lr=2e-3, show=mistakes
    )


def images(settings: Settings) -> Result:
    """Two convolutions and two dense layers on Fashion-MNIST, or on pictures of one's own, moved by a pixel now and then."""
    pictures = Pictures(shape=[1, 28, 28], scale=255, ground=0)
    if settings.source and not list(Path(settings.source).glob("*-ubyte*")):
        examples = _own(settings, pictures)
    else:
        found = data.fashion_mnist(settings.source or data.FASHION)
        x_train, x_test = (x.reshape(-1, 1, 28, 28) for x in (found.x_train, found.x_test))
        examples = Examples(data.Split(x_train, found.y_train, x_test, found.y_test), CLOTHES, pictures, FASHION)
    return classifier(
        IMAGES, settings, examples, lambda: small_cnn(len(examples.classes)), batch=128, lr=2e-3,
        transform=lambda x, y, rng: (data.augment(x, rng, shift=1), y), show=mistakes,
    )  # fmt: skip


def _own(settings: Settings, pictures: Pictures) -> Examples:
    """A folder of pictures for each class, read as a model in use reads them; a fifth is the test."""
    files = files_by_class(str(settings.source), SUFFIXES)
    every = [(path, number) for number, name in enumerate(files) for path in files[name]]
    rows = []
    for done, (path, _) in enumerate(every):
        settings.tell(done, len(every), "reading pictures")
        rows.append(pictures.rows(read_bounded(path), str(path)))
    x, y = np.concatenate(rows), np.array([number for _, number in every])
    if len(files) < 2:
        raise DataError(f"{settings.source} has pictures of one class alone: there has to be a folder for each")
    learn, test = data.stratified_split(y, [0.8, 0.2], np.random.default_rng(settings.seed))
    return Examples(data.Split(x[learn], y[learn], x[test], y[test]), tuple(files), pictures, OWN)


def small_cnn(classes: int = 10) -> nn.Sequential:
    """Two convolutions and two dense layers, for (N, 1, 28, 28)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Linear(128, classes),
    )  # fmt: skip


def mistakes(page: Page, model: nn.Module, logits: Array, examples: Examples) -> None:
    """The images that are taken for something else most surely."""
    x, y = examples.split.x_test, examples.split.y_test
    wrong = np.flatnonzero(metric.classes(logits) != y)
    if not len(wrong):
        return
    page.heading("The surest mistakes")
    margin = logits[wrong].max(1) - logits[wrong, y[wrong]]
    worst = wrong[np.argsort(-margin)][:20]
    side = int(x[0].size ** 0.5)
    titles = [f"{examples.classes[y[i]]}:\n{examples.classes[int(logits[i].argmax())]}?" for i in worst]
    page.figure(plot.images(x[worst].reshape(-1, side, side), titles), "What each image shows, and what was found instead.")


DIGITS = Study("digits", "Handwritten digits", 60, ("accuracy", 0.96), digits)
IMAGES = Study(
    "images",
    "Items of clothing",
    10,
    ("accuracy", 0.92),
    images,
    "a folder of pictures for each class, or Fashion-MNIST's directory",
)
