"""What is trained: a data set, a perceptron, a loss, a score; the same for every library."""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import data, nn, ops, optim
from ..kernels import Array
from ..plan import capture
from ..tensor import Tensor


class Workload(NamedTuple):
    """One network on one data set."""

    name: str
    load: Callable[[], data.Split]
    sizes: tuple[int, ...]
    batch: int
    rounds: int  # the training is cut into as many rounds, which take turns between the libraries
    steps: int  # in one round
    classifies: bool
    score: str  # what the test score is


WORKLOADS = {
    w.name: w
    for w in (
        Workload("digits", data.digits, (64, 128, 64, 10), 32, 6, 80, True, "accuracy"),
        Workload("views", data.daily_views, (56, 100, 100, 1), 32, 6, 60, False, "RMSE"),
        Workload("fashion", data.fashion_mnist, (784, 256, 128, 10), 128, 5, 16, True, "accuracy"),
    )
}


def available() -> list[str]:
    """The workloads whose data are here."""
    return [name for name in WORKLOADS if name != "fashion" or os.path.isdir(data.FASHION)]


class Training:
    """A workload in progress: the same seed makes the same weights and the same batches."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self.workload, self.split = workload, workload.load()
        rng = np.random.default_rng(seed)
        layers: list[nn.Module] = []
        for a, b in zip(workload.sizes, workload.sizes[1:]):
            layers += [nn.Linear(a, b, rng=rng), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])
        self.optimizer = optim.Adam(self.model.parameters())
        self._batches = self._endless(np.random.default_rng(seed + 1))
        self._step = capture(self._eager_step)

    def steps(self, count: int) -> None:
        """Train on the next `count` batches."""
        for _ in range(count):
            rows = next(self._batches)
            self._step(self.split.x_train[rows], self.split.y_train[rows])

    def score(self) -> float:
        """Accuracy, or root mean squared error, on the test part."""
        y = self.model(Tensor(self.split.x_test)).data
        if self.workload.classifies:
            return float(np.mean(y.argmax(1) == self.split.y_test))
        return float(np.sqrt(np.mean((y - self.split.y_test) ** 2)))

    def weights(self) -> Array:
        """All parameters, one behind the other."""
        return np.concatenate([p.data.ravel() for p in self.model.parameters()])

    def steps_in_epoch(self) -> int:
        """Full batches in one pass over the data."""
        return len(self.split.x_train) // self.workload.batch

    def _eager_step(self, x: Array, y: Array) -> Tensor:
        self.optimizer.zero_grad()
        loss: Tensor = (ops.cross_entropy if self.workload.classifies else ops.mse_loss)(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def _endless(self, rng: np.random.Generator):  # type: ignore[no-untyped-def]
        size = self.workload.batch
        while True:
            order = rng.permutation(len(self.split.x_train))
            for start in range(0, self.steps_in_epoch() * size, size):
                yield order[start : start + size]
