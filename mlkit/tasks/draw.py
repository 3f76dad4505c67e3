"""Images from nothing: a variational autoencoder of clothes, and what it draws."""

import numpy as np

import mlkit

from .. import data, models, ops, optim
from ..kernels import Array
from ..train import fit, plot
from .input import Pictures
from .study import FASHION, Result, Settings, Study, begun, ended

CODE = 16


def run(settings: Settings) -> Result:
    """Images through 16 numbers and back; new ones from numbers that are drawn."""
    split = data.fashion_mnist(settings.source or data.FASHION)
    mlkit.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    learn, choose = data.random_split(len(split.x_train), [0.9, 0.1], rng)
    loader = data.DataLoader((split.x_train[learn],), 128, shuffle=True, rng=rng)
    model = models.VAE(784, 400, CODE)
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0)
    schedule = optim.CosineAnnealingLR(optimizer, max(1, settings.epochs * len(loader)))
    history = fit(
        model, loader, (split.x_train[choose],), objective=model.loss, optimizer=optimizer, schedule=schedule, each_step=True,
        epochs=settings.epochs, callbacks=settings.callbacks, threads=settings.threads,
    )  # fmt: skip
    x = split.x_test
    with mlkit.no_grad():
        loss = float(np.mean([model.loss(part).item() for part in np.split(x, 20)]))
    page = begun(DRAW, settings, history, f"{loss:.1f} nats for each image that was not learned from: the bound on its likelihood.")
    if len(history):
        page.heading("How it learned")
        page.figure(plot.curves(history), "Minus the evidence lower bound, in nats for each image.")
    drawn = np.asarray(model.draw(50, np.random.default_rng(settings.seed))).reshape(-1, 28, 28)
    sheet = plot.images(drawn)
    sheet.savefig(settings.directory / "drawn.png", dpi=150)
    page.heading("What it draws")
    page.figure(sheet, f"From {CODE} numbers each, drawn from a normal distribution.")
    page.heading("From one to another")
    page.figure(
        plot.images(_between(model, x[:5], x[5:10])), "Each line goes in ten steps from one image of the test part to another."
    )
    page.heading("What it keeps")
    page.figure(
        plot.images(np.concatenate([x[:10], reconstructed(model, x[:10])]).reshape(-1, 28, 28)),
        "Images of the test part, and what is left.",
    )
    page.heading("What the first layer looks for")
    weights = next(iter(model.encoder.parameters())).data
    strongest = np.argsort(-np.square(weights).sum(1))[:30]
    page.figure(plot.images(weights[strongest].reshape(-1, 28, 28)), "The 30 units of the first layer with the largest weights.")
    pictures = Pictures(shape=[784], scale=255)
    description = {"preprocessing": {**pictures.description, "kind": "numbers"}, "answer": {"kind": "code"}}
    return ended(DRAW, settings, Result(model, history, {"loss": loss}, page, description), [split.x_train, x], FASHION)


def reconstructed(model: models.VAE, x: Array) -> Array:
    """(n, 784) what the code keeps of images: the mean of what it stands for."""
    return decoded(model, code_of(model, x))


def code_of(model: models.VAE, x: Array) -> Array:
    """(n, CODE) mean of the code."""
    with mlkit.no_grad():
        return np.asarray(model.encoder(x))[:, : model.code]


def decoded(model: models.VAE, code: Array) -> Array:
    """(n, 784) pixels between 0 and 1."""
    with mlkit.no_grad():
        return np.asarray(ops.sigmoid(model.decoder(np.ascontiguousarray(code))))


def _between(model: models.VAE, a: Array, b: Array) -> Array:
    """(10 n, 28, 28), ten steps from each image of a to that of b."""
    first, last = code_of(model, a), code_of(model, b)
    steps = np.linspace(0, 1, 10, dtype=np.float32)
    path = first[:, None] * (1 - steps)[:, None] + last[:, None] * steps[:, None]
    return decoded(model, path.reshape(-1, CODE)).reshape(-1, 28, 28)


DRAW = Study("draw", "Clothes that nobody has sewn", 12, ("loss", 245), run, "the directory of Fashion-MNIST's four IDX files")
