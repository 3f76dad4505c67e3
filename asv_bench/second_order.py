"""Seconds until a loss is reached on the lecture's regression: Adam at its best learning rate, and Levenberg–Marquardt.

    python asv_bench/second_order.py [--blas NAME] [--rounds 5]

The daily views, 56 days, one thread. Adam makes captured steps on batches of 32, and its rate is the best of seven by time to the
target; Levenberg–Marquardt takes the whole batch. The target is 1 % above the closed form's loss for the linear model, and for a
network what Adam with its best rate has after 30 epochs.
"""

import argparse
import sys
import time

import numpy as np

import mlkit
from mlkit import blas, data, models, nn, ops, optim
from mlkit.kernels import Array

RATES = (1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1)
LONGEST = 120  # epochs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blas", default=None)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    library = blas.use(options.blas, 1) if options.blas else blas.current()
    library.threads = 1
    print(library)
    x, y, *_ = data.daily_views(56)
    closed = loss_of(models.least_squares(x, y), x, y)
    print(f"closed form: learning loss {closed:.5f}")
    networks = (("linear", [56, 1]), ("10 tanh", [56, 10, 1]), ("20 tanh", [56, 20, 1]), ("100 ReLU", [56, 100, 1]))
    for name, sizes in networks:
        target = closed * 1.01 if name == "linear" else min(by_adam(sizes, x, y, rate, 30, 0.0, 0)[1] for rate in RATES)
        seconds: dict[str, list[float]] = {}
        for seed in range(options.rounds):
            for rate in RATES:
                took, reached = by_adam(sizes, x, y, rate, LONGEST, target, seed)
                seconds.setdefault(f"Adam {rate:g}", []).append(took if reached <= target else float("inf"))
            took, reached = by_marquardt(sizes, x, y, target, seed)
            seconds.setdefault("Levenberg–Marquardt", []).append(took if reached <= target else float("inf"))
        medians = {title: float(np.median(times)) for title, times in seconds.items()}
        second = medians.pop("Levenberg–Marquardt")
        best = min(medians, key=lambda title: medians[title])
        words = ", ".join(f"{title} {value:.3f} s" for title, value in medians.items())
        print(f"{name}: loss {target:.5f}: Levenberg–Marquardt {second:.4f} s, {words}; {best} / it = {medians[best] / second:.2f}")
    return 0


def loss_of(model: nn.Module, x: Array, y: Array) -> float:
    return float(np.mean(np.square(np.asarray(model(x)) - y)))


def network(sizes: list[int], seed: int) -> nn.Module:
    mlkit.manual_seed(seed)
    return models.MLP(sizes, "tanh" if sizes[1] in (10, 20) else "relu")


def by_marquardt(sizes: list[int], x: Array, y: Array, target: float, seed: int) -> tuple[float, float]:
    """(seconds until the loss is at the target, the loss)"""
    model = network(sizes, seed)
    optimizer = optim.LevenbergMarquardt(model)
    start, loss = time.perf_counter(), float("inf")
    for _ in range(50):
        loss = optimizer.step(x, y)
        if loss <= target:
            break
    return time.perf_counter() - start, loss


def by_adam(sizes: list[int], x: Array, y: Array, rate: float, epochs: int, target: float, seed: int) -> tuple[float, float]:
    """(seconds of training until the learning loss is at the target after an epoch, the smallest loss)"""
    rng, model = np.random.default_rng(seed), network(sizes, seed)
    optimizer = optim.Adam(model.parameters(), lr=rate)

    @mlkit.capture
    def step(x: Array, y: Array) -> mlkit.Tensor:
        optimizer.zero_grad()
        loss: mlkit.Tensor = ops.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    took, least = 0.0, float("inf")
    for _ in range(epochs):
        order = rng.permutation(len(x))[: len(x) // 32 * 32].reshape(-1, 32)
        start = time.perf_counter()
        for rows in order:
            step(x[rows], y[rows])
        took += time.perf_counter() - start
        least = min(least, loss_of(model, x, y))
        if least <= target:
            break
    return took, least


if __name__ == "__main__":
    sys.exit(main())
