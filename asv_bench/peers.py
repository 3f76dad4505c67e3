"""mlkit against PyTorch on the same cores: interleaved rounds in one process, ratios, both sides checked to agree.

    python asv_bench/peers.py [--threads 1] [--seconds 8] [--blas NAME] [--only mlp,small]

A step is a whole one: the batch is copied in, the scalar loss is returned. PyTorch runs eager with fused Adam. Times are
the smallest of the rounds: CPU seconds with one thread, wall-clock with more, because these machines are shared.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

import mlkit
from mlkit import blas, nn, ops, optim

Step = Callable[[], float]
FLOPS = {"mlp": 3 * 2 * 128 * (784 * 512 + 512 * 512 + 512 * 10) - 2 * 128 * 784 * 512, "small": 3 * 2 * 32 * 25700 - 2 * 32 * 5600}
PEER = "torch eager, fused Adam"
SIZES = {"mlp": (784, 512, 512, 10), "small": (56, 100, 100, 100, 1)}


def batch(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if name == "mlp":
        return rng.standard_normal((128, 784), dtype=np.float32), rng.integers(0, 10, 128)
    return rng.standard_normal((32, 56), dtype=np.float32), rng.standard_normal((32, 1), dtype=np.float32)


def mlkit_step(name: str, captured: bool) -> tuple[Step, nn.Module]:
    sizes, (x, y) = SIZES[name], batch(name)
    rng = np.random.default_rng(0)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b, rng=rng), nn.ReLU())]
    model = nn.Sequential(*layers[:-1])
    optimizer = optim.Adam(model.parameters())
    loss_of = ops.cross_entropy if name == "mlp" else ops.mse_loss

    def step(x: np.ndarray, y: np.ndarray) -> mlkit.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = mlkit.capture(step) if captured else step
    return lambda: run(x, y).item(), model


def torch_step(name: str, like: nn.Module) -> Step:
    import torch

    sizes, (x, y) = SIZES[name], batch(name)
    layers = [layer for a, b in pairwise(sizes) for layer in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    model = torch.nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for theirs, ours in zip(model.parameters(), like.parameters()):
            theirs.copy_(torch.from_numpy(ours.data))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    loss_of = torch.nn.functional.cross_entropy if name == "mlp" else torch.nn.functional.mse_loss
    source, target = torch.from_numpy(x), torch.from_numpy(y)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(source.clone()), target.clone())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def check(name: str) -> None:
    """The first ten losses of the three agree, each starting from the same weights."""
    captured, model = mlkit_step(name, True)
    eager, _ = mlkit_step(name, False)
    theirs = torch_step(name, model)
    losses = np.array([[step() for _ in range(10)] for step in (captured, eager, theirs)])
    assert np.array_equal(losses[0], losses[1]), "captured and eager differ"
    assert np.allclose(losses[0], losses[2], rtol=2e-4), f"mlkit and torch differ: {losses[[0, 2]]}"


def compare(steps: dict[str, Step], seconds: float, one_thread: bool) -> dict[str, tuple[float, float]]:
    """(smallest, median) seconds of each, in rounds that take turns."""
    clock = time.process_time if one_thread else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in steps}
    repeats = {name: max(1, int(0.02 / _once(step))) for name, step in steps.items()}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, step in steps.items():
            step()
            start = clock()
            for _ in range(repeats[name]):
                step()
            times[name].append((clock() - start) / repeats[name])
    return {name: (min(t), statistics.median(t)) for name, t in times.items()}


def peak() -> float:
    """The best sgemm of the library in force, FLOP/s."""
    n = 1024
    a, b, c = (np.ones((n, n), np.float32) for _ in range(3))
    call = blas.bind(a, b, c)
    return 2 * n**3 / min(_once(call, 1) for _ in range(20))


def _once(step: Callable[[], object], warm: int = 3) -> float:
    for _ in range(warm):
        step()
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--blas", default=None)
    parser.add_argument("--only", default="mlp,small")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        print("torch is not installed: pip install torch==2.13.0", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    library = blas.use(options.blas, options.threads) if options.blas else blas.current()
    library.threads = options.threads
    top = peak()
    print(*(f"{name}={value}" for name, value in blas.knobs().items()))
    print(f"{library}\nPyTorch {torch.__version__}, {options.threads} thread(s); sgemm peak {top / 1e9:.0f} GFLOP/s\n")
    for name in options.only.split(","):
        check(name)
        captured, model = mlkit_step(name, True)
        steps = {
            "torch eager, fused Adam": torch_step(name, model),
            "mlkit captured": captured,
            "mlkit eager": mlkit_step(name, False)[0],
        }
        found = compare(steps, options.seconds, options.threads == 1)
        base = found["torch eager, fused Adam"]
        print(f"{name}: MLP {'-'.join(map(str, SIZES[name]))}, batch {len(batch(name)[0])}, Adam, float32")
        for title, (best, median) in found.items():
            print(
                f"  {title:26} {best * 1e6:9.1f} µs (median {median * 1e6:9.1f})  ratio {base[0] / best:5.2f} (median "
                f"{base[1] / median:5.2f})  {FLOPS[name] / best / top * 100:5.1f} % of peak"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
