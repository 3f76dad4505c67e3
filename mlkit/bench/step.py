"""Steps that are raced whole: layers, forward and backward, and networks, a training step; and what products they make."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

import mlkit

from .. import models, nn, ops, optim
from ..kernels import Array
from ..plan import capture
from .product import Product
from .trace import Tracer


class Step(NamedTuple):
    """How to make a model and its inputs; `trains` with an optimizer, else forward and backward alone."""

    title: str
    model: Callable[[], nn.Module]
    inputs: Callable[[np.random.Generator], tuple[Array, ...]]
    loss: Callable[..., Any]
    trains: bool = False


def _normal(*shape: int) -> Callable[[np.random.Generator], tuple[Array, ...]]:
    return lambda rng: (rng.standard_normal(shape, np.float32),)


def _classes(kinds: int, *shape: int) -> Callable[[np.random.Generator], tuple[Array, ...]]:
    return lambda rng: (rng.standard_normal(shape, np.float32), rng.integers(0, kinds, shape[0]))


def _tokens(kinds: int, *shape: int) -> Callable[[np.random.Generator], tuple[Array, ...]]:
    return lambda rng: (rng.integers(0, kinds, shape), rng.integers(0, kinds, shape))


def _sum(y: Any) -> Any:
    return ops.sum(y[0] if isinstance(y, tuple) else y)


def _next(logits: Any, y: Any) -> Any:
    return ops.cross_entropy(ops.reshape(logits, -1, logits.shape[-1]), y.reshape(-1))


def _small_vgg() -> nn.Module:
    layers: list[nn.Module] = []
    for before, after, size in ((3, 32, 2), (32, 64, 2)):
        layers += [
            nn.Conv2d(before, after, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(size),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 64, 128), nn.ReLU(), nn.Linear(128, 10))


LAYERS = {
    "linear": Step("Linear 512→512, batch 128", lambda: nn.Linear(512, 512), _normal(128, 512), _sum),
    "linear-small": Step("Linear 100→100, batch 32", lambda: nn.Linear(100, 100), _normal(32, 100), _sum),
    "conv-first": Step("Conv2d 3→32, 3×3 at 32×32, batch 32", lambda: nn.Conv2d(3, 32, 3, padding=1), _normal(32, 3, 32, 32), _sum),
    "conv": Step("Conv2d 32→64, 3×3 at 16×16, batch 32", lambda: nn.Conv2d(32, 64, 3, padding=1), _normal(32, 32, 16, 16), _sum),
    "conv-1x1": Step("Conv2d 128→128, 1×1 at 14×14, batch 16", lambda: nn.Conv2d(128, 128, 1), _normal(16, 128, 14, 14), _sum),
    "lstm": Step("LSTM 64→128, 50 steps, batch 32", lambda: nn.LSTM(64, 128, batch_first=True), _normal(32, 50, 64), _sum),
    "gru": Step("GRU 64→128, 50 steps, batch 32", lambda: nn.GRU(64, 128, batch_first=True), _normal(32, 50, 64), _sum),
    "transformer": Step(
        "Transformer layer, 128 wide, 4 heads, 64 steps, batch 16",
        lambda: nn.TransformerEncoderLayer(128, 4, 512, 0.0, batch_first=True), _normal(16, 64, 128), _sum,
    ),
}  # fmt: skip
NETWORKS = {
    "mlp": Step(
        "MLP 784-512-512-10, batch 128", lambda: models.MLP([784, 512, 512, 10]), _classes(10, 128, 784), ops.cross_entropy, True
    ),
    "cnn": Step("small VGG at 32×32, batch 32", _small_vgg, _classes(10, 32, 3, 32, 32), ops.cross_entropy, True),
    "lstm": Step(
        "character LSTM, 128 units, 50 steps, batch 32", lambda: models.CharLSTM(65, 128), _tokens(65, 32, 50), _next, True
    ),
    "gpt": Step("GPT, 4 layers of 128, 64 steps, batch 12", lambda: models.GPT(), _tokens(65, 12, 64), _next, True),
}
STEPS = {**{f"layer:{name}": step for name, step in LAYERS.items()}, **{f"train:{name}": step for name, step in NETWORKS.items()}}


def made(name: str, seed: int = 0) -> tuple[Callable[..., Any], Sequence[Array]]:
    """(the step, captured; its inputs). The same seed makes the same weights and inputs."""
    step = STEPS[name]
    mlkit.manual_seed(seed)
    inputs = step.inputs(np.random.default_rng(seed))
    model = step.model()
    optimizer = optim.Adam(model.parameters())

    @capture
    def run(*given: Any) -> Any:
        optimizer.zero_grad()
        loss = step.loss(model(given[0]), *given[1:])
        loss.backward()
        if step.trains:
            optimizer.step()
        return loss

    return run, inputs


def products(name: str) -> list[Product]:
    """What one call of a step multiplies, in the order of layers."""
    run, inputs = made(name)
    run(*inputs)
    with Tracer() as tracer:
        run(*inputs)
    return list(tracer.trace(name).products)
