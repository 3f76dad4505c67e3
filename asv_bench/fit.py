"""What `fit` adds to the bare replayed step: a perceptron 784-512-512-10, batch 128, Adam; both in turn, one thread.

    python asv_bench/fit.py [--blas NAME] [--rounds N]

The bare step gets one batch again and again; `fit` shuffles, gathers, asks for the loss, and keeps the history.
"""

import argparse
import time

import numpy as np

import mlkit
from mlkit import blas, models, ops, optim, train

BATCH, STEPS = 128, 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blas", default="numpy")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    blas.use(options.blas, threads=1)
    rng = np.random.default_rng(0)
    x, y = rng.random((BATCH * STEPS, 784), np.float32), rng.integers(0, 10, BATCH * STEPS)
    bare, bare_optimizer = network()
    step = train.Step(lambda x, y: ops.cross_entropy(bare(x), y), bare_optimizer, 1, "blas")
    fitted, optimizer = network()
    ratios, steps = [], []
    for number in range(options.rounds + 1):
        start = time.perf_counter()
        for _ in range(STEPS):
            step(x[:BATCH], y[:BATCH])
        seconds = time.perf_counter() - start
        history = train.fit(fitted, (x, y), optimizer=optimizer, epochs=3, batch_size=BATCH, rng=rng)  # the first captures
        if number:
            ratios.append(min(history["seconds"][1:]) / seconds)
            steps.append(seconds / STEPS)
    low, middle, high = np.percentile(ratios, [10, 50, 90])
    print(f"{blas.current()}")
    print(f"bare step {1e3 * np.median(steps):.2f} ms; fit {middle:.3f} × that (10 to 90 %: {low:.3f} to {high:.3f})")


def network() -> tuple[models.MLP, optim.Adam]:
    mlkit.manual_seed(0)
    model = models.MLP([784, 512, 512, 10])
    return model, optim.Adam(model.parameters())


if __name__ == "__main__":
    main()
