"""mlkit against PyTorch on the same cores: interleaved rounds in one process, ratios, both sides checked to agree.

    python asv_bench/peers.py [--threads 1] [--seconds 8] [--blas NAME] [--only mlp,vgg] [--infer|--memory|--capture] [--eager]
                              [--others]

Training: a step is a whole one – the batch is copied in, the scalar loss is returned. PyTorch runs eager with fused Adam,
image networks with channels_last memory too; the better of its times counts. With more than one thread mlkit takes whichever
of its strategies is faster (mlkit.train.Step). --infer times one forward pass of a batch of 1. --others adds JAX and, for the
perceptrons, scikit-learn; to compare on one thread start it as `taskset -c 0 python …`, for they take all that there are.
--memory starts each side in a process of its own and compares the peaks of resident memory. --capture compares
the first step of a new model, eager and captured. Times are the smallest of the
rounds, CPU seconds with one thread – the peak, a square product, takes its turn in them –, wall-clock seconds with more, because
these machines are shared.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import mlkit
from mlkit import blas, models, nn, ops, optim, train

Step = Callable[[], float]
SQUARE = 1024  # rows and columns of the product whose speed is the peak


def dense(lib: Any, *sizes: int) -> Any:
    """A perceptron in mlkit.nn or torch.nn: they have the same names."""
    layers = [layer for a, b in pairwise(sizes) for layer in (lib.Linear(a, b), lib.ReLU())]
    return lib.Sequential(*layers[:-1])


def mlp(lib: Any) -> Any:
    return dense(lib, 784, 512, 512, 10)


def small(lib: Any) -> Any:
    return dense(lib, 56, 100, 100, 100, 1)


def lenet(lib: Any) -> Any:
    return lib.Sequential(
        lib.Conv2d(1, 16, 5, padding=2), lib.ReLU(), lib.MaxPool2d(2),
        lib.Conv2d(16, 32, 5, padding=2), lib.ReLU(), lib.MaxPool2d(2),
        lib.Flatten(), lib.Linear(1568, 128), lib.ReLU(), lib.Linear(128, 10),
    )  # fmt: skip


def vgg(lib: Any) -> Any:
    return lib.Sequential(
        lib.Conv2d(3, 32, 3, padding=1), lib.ReLU(), lib.Conv2d(32, 32, 3, padding=1), lib.ReLU(), lib.MaxPool2d(2),
        lib.Conv2d(32, 64, 3, padding=1), lib.ReLU(), lib.Conv2d(64, 64, 3, padding=1), lib.ReLU(), lib.MaxPool2d(2),
        lib.Flatten(), lib.Linear(4096, 128), lib.ReLU(), lib.Linear(128, 10),
    )  # fmt: skip


class LastOfLSTM(nn.Module):
    """A class for a series, from the last state of an LSTM."""

    def __init__(self) -> None:
        self.recurrent, self.head = nn.LSTM(64, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, x: Any) -> Any:
        return self.head(self.recurrent(x)[0][:, -1])


def torch_resnet() -> Any:
    import torch

    functional = torch.nn.functional

    class Block(torch.nn.Module):
        def __init__(self, channels: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = torch.nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.bn1 = torch.nn.BatchNorm2d(width)
            self.conv2 = torch.nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = torch.nn.BatchNorm2d(width)
            self.downsample = None
            if stride != 1:
                convolution = torch.nn.Conv2d(channels, width, 1, stride, bias=False)
                self.downsample = torch.nn.Sequential(convolution, torch.nn.BatchNorm2d(width))

        def forward(self, x: Any) -> Any:
            y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
            return functional.relu(y + (x if self.downsample is None else self.downsample(x)))

    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 10),
    )  # fmt: skip


def torch_lstm() -> Any:
    import torch

    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent, self.head = torch.nn.LSTM(64, 128, batch_first=True), torch.nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.recurrent(x)[0][:, -1])

    return Last()


def torch_gpt() -> Any:
    """The modules stand in the order of mlkit.models.GPT, so that parameters can be copied one after the other."""
    import torch

    functional, width, heads = torch.nn.functional, 128, 4

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1 = torch.nn.LayerNorm(width)
            self.attention, self.projection = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
            self.ln_2 = torch.nn.LayerNorm(width)
            self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            parts = self.attention(self.ln_1(x)).view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(*parts, is_causal=True)
            x = x + self.projection(y.transpose(1, 2).reshape(batch, length, width))
            return x + self.down(functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = torch.nn.Embedding(256, width), torch.nn.Embedding(128, width)
            self.blocks, self.ln = torch.nn.Sequential(*[Block() for _ in range(4)]), torch.nn.LayerNorm(width)

        def forward(self, indices: Any) -> Any:
            x = self.ln(self.blocks(self.tokens(indices) + self.positions.weight))
            return (x @ self.tokens.weight.T).flatten(0, 1)

    return Model()


class TokensAsRows(nn.Module):
    """A GPT whose logits stand in rows."""

    def __init__(self) -> None:
        self.gpt = models.GPT(256, 128, 4, 4, 128, bias=True)

    def forward(self, indices: Any) -> Any:
        return ops.reshape(self.gpt(indices), -1, 256)


class Workload(NamedTuple):
    """A network on both sides, and a batch for it."""

    ours: Callable[[], nn.Module]
    theirs: Callable[[], Any]
    x: tuple[int, ...]  # shape; integers below 256 if it has two axes and `tokens`
    classes: int  # 0: numbers are to be met
    flops: float  # of one training step, the gradient of the input left out
    tokens: bool = False
    images: bool = False


def through_torch(make: Callable[[Any], Any]) -> Callable[[], Any]:
    def build() -> Any:
        import torch

        return make(torch.nn)

    return build


def conv(size: int, field: int, outputs: int) -> int:
    return 2 * size * size * field * outputs


VGG = [conv(32, 27, 32), conv(32, 288, 32), conv(16, 288, 64), conv(16, 576, 64), 2 * (4096 * 128 + 1280)]
LENET = [conv(28, 25, 16), conv(14, 400, 32), 2 * (1568 * 128 + 1280)]
RESNET = [conv(32, 27, 16), 2 * conv(32, 144, 16), conv(16, 144, 32), conv(16, 288, 32), conv(16, 16, 32),
          conv(8, 288, 64), conv(8, 576, 64), conv(8, 32, 64)]  # fmt: skip


def training(forward: list[int], batch: int) -> float:
    """Three times the forward pass, without the first layer's input gradient."""
    return float(batch * (3 * sum(forward) - forward[0]))


WORKLOADS = {
    "mlp": Workload(lambda: mlp(nn), through_torch(mlp), (128, 784), 10,
                    training([2 * 784 * 512, 2 * 512 * 512, 2 * 512 * 10], 128)),
    "small": Workload(lambda: small(nn), through_torch(small), (32, 56), 0,
                      training([2 * 5600, 2 * 10000, 2 * 10000, 200], 32)),
    "lenet": Workload(lambda: lenet(nn), through_torch(lenet), (64, 1, 28, 28), 10, training(LENET, 64), images=True),
    "vgg": Workload(lambda: vgg(nn), through_torch(vgg), (64, 3, 32, 32), 10, training(VGG, 64), images=True),
    "resnet": Workload(models.SmallResNet, torch_resnet, (64, 3, 32, 32), 10, training(RESNET, 64), images=True),
    "lstm": Workload(LastOfLSTM, torch_lstm, (64, 50, 64), 10, training([2 * 64 * 512, 2 * 128 * 512], 64 * 50)),
    "gpt": Workload(TokensAsRows, torch_gpt, (16, 128), 256,
                    training([0, 4 * (24 * 128 * 128 + 4 * 128 * 128), 2 * 128 * 256], 16 * 128), tokens=True),
}  # fmt: skip


def batch(work: Workload, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = work.x if size is None else (size, *work.x[1:])
    x = rng.integers(0, 256, shape) if work.tokens else rng.standard_normal(shape, dtype=np.float32)
    if not work.classes:
        return x, rng.standard_normal((shape[0], 1), dtype=np.float32)
    return x, rng.integers(0, work.classes, shape[0] * (shape[1] if work.tokens else 1))


def mlkit_step(work: Workload, captured: bool) -> tuple[Step, nn.Module]:
    mlkit.manual_seed(0)
    model, (x, y) = work.ours(), batch(work)
    optimizer = optim.Adam(model.parameters())
    loss_of = ops.cross_entropy if work.classes else ops.mse_loss
    if captured and blas.current().threads != 1:
        rows = y.reshape(len(x), -1) if work.tokens else y
        whole = train.Step(lambda x, y: loss_of(model(x), y.reshape(-1) if work.tokens else y), optimizer)
        return lambda: whole(x, rows).item(), model

    def step(x: np.ndarray, y: np.ndarray) -> mlkit.Tensor:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = mlkit.capture(step) if captured else step
    return lambda: run(x, y).item(), model


def like(theirs: Any, ours: nn.Module) -> Any:
    """torch's model with the parameters of mlkit's."""
    import torch

    with torch.no_grad():
        for other, one in zip(theirs.parameters(), ours.parameters(), strict=True):
            other.copy_(torch.from_numpy(np.ascontiguousarray(one.data)))
    return theirs


def torch_step(work: Workload, ours: nn.Module, channels_last: bool = False) -> Step:
    import torch

    model, (x, y) = like(work.theirs(), ours), batch(work)
    source, target = torch.from_numpy(x), torch.from_numpy(y)
    if channels_last:
        model, source = model.to(memory_format=torch.channels_last), source.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    loss_of = torch.nn.functional.cross_entropy if work.classes else torch.nn.functional.mse_loss

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(source.clone()), target.clone())
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def forwards(work: Workload) -> dict[str, Step]:
    """One image, series or row through the network, captured on mlkit's side."""
    import torch

    model, (x, _) = work.ours().eval(), batch(work, 1)
    predict = mlkit.capture(lambda x: model(x), copy=False)

    def ours() -> Any:
        with mlkit.no_grad():
            return predict(x)

    steps: dict[str, Any] = {"mlkit captured": ours}
    for last in (False, True)[: 1 + work.images]:
        theirs, source = like(work.theirs(), model).eval(), torch.from_numpy(x)
        if last:
            theirs, source = theirs.to(memory_format=torch.channels_last), source.to(memory_format=torch.channels_last)

        def run(theirs: Any = theirs, source: Any = source) -> Any:
            with torch.inference_mode():
                return theirs(source)

        steps["torch, channels_last" if last else "torch"] = run
        assert np.allclose(run().numpy(), np.asarray(ours()), atol=1e-4), "mlkit and torch differ"
    return steps


def trainings(work: Workload, eager: bool, others: bool) -> dict[str, Step]:
    captured, model = mlkit_step(work, True)
    steps = {"mlkit captured": captured, "torch, fused Adam": torch_step(work, model)}
    if work.images:
        steps["torch, fused Adam, channels_last"] = torch_step(work, model, channels_last=True)
    if eager:
        steps["mlkit eager"] = mlkit_step(work, False)[0]
    if others:
        import others as peers_of_torch

        x, y = batch(work)
        for title, make in (("JAX jit", peers_of_torch.jax_step), ("scikit-learn", peers_of_torch.sklearn_step)):
            if title == "JAX jit" or work in (WORKLOADS["mlp"], WORKLOADS["small"]):
                fresh = mlkit_step(work, False)
                other = make(fresh[1], x, y, work.classes)
                first, theirs = fresh[0](), other()
                assert np.isclose(first, theirs, rtol=1e-3), f"mlkit and {title} differ: {first}, {theirs}"
                steps[title] = other
    return steps


def check(work: Workload) -> None:
    """The first five losses of the three agree, each starting from the same weights."""
    captured, model = mlkit_step(work, True)
    eager, _ = mlkit_step(work, captured=False)
    theirs = torch_step(work, model)
    losses = np.array([[step() for _ in range(5)] for step in (captured, eager, theirs)])
    if blas.current().threads == 1:  # parts of a batch are summed in another order
        assert np.array_equal(losses[0], losses[1]), "captured and eager differ"
    assert np.allclose(losses[0], losses[2], rtol=2e-3), f"mlkit and torch differ: {losses[[0, 2]]}"


def compare(steps: dict[str, Step], seconds: float, one_thread: bool) -> dict[str, tuple[float, float]]:
    """(smallest, median) seconds of each, in rounds that take turns."""
    clock = time.process_time if one_thread else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in steps}
    repeats = {name: max(1, int(0.02 / _once(step))) for name, step in steps.items()}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values()))) < 5:
        for name, step in steps.items():
            step()
            start = clock()
            for _ in range(repeats[name]):
                step()
            times[name].append((clock() - start) / repeats[name])
    return {name: (min(t), statistics.median(t)) for name, t in times.items()}


def square_product() -> Step:
    """The product that the library in force is best at: its speed is the peak that steps are measured by."""
    a, b, c = (np.ones((SQUARE, SQUARE), np.float32) for _ in range(3))
    return blas.bind(a, b, c)


def resident(name: str, side: str, threads: int, library: str | None) -> float:
    """Peak of resident memory, MB, of a process that makes a few steps of one side."""
    options = ["--threads", str(threads), *(["--blas", library] if library else [])]
    command = [sys.executable, __file__, "--only", name, "--side", side, *options]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def capturing(work: Workload) -> tuple[float, float, float]:
    """Seconds of a new model's first step, eager and captured, and of an eager step after that."""
    new = [min(_once(mlkit_step(work, captured)[0], 0) for _ in range(3)) for captured in (False, True)]
    eager, _ = mlkit_step(work, captured=False)
    return new[0], new[1], min(_once(eager) for _ in range(5))


def one_side(name: str, side: str) -> float:
    work = WORKLOADS[name]
    if side == "mlkit":
        step, _ = mlkit_step(work, True)
    else:
        import torch

        torch.manual_seed(0)
        model, (x, y) = work.theirs(), batch(work)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        loss_of = torch.nn.functional.cross_entropy if work.classes else torch.nn.functional.mse_loss

        def step() -> float:
            optimizer.zero_grad()
            loss = loss_of(model(torch.from_numpy(x)), torch.from_numpy(y))
            loss.backward()
            optimizer.step()
            return loss.item()

    for _ in range(5):
        step()
    with open("/proc/self/status", encoding="ascii") as file:  # getrusage would tell the peak of the parent, which was copied
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1000


def _once(step: Callable[[], object], warm: int = 3) -> float:
    for _ in range(warm):
        step()
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def report(name: str, steps: dict[str, Step], options: argparse.Namespace) -> None:
    alone, product = options.threads == 1, {"": square_product()}
    if alone:
        found = compare(steps | product, options.seconds, alone)
    else:  # the threads of a BLAS go on spinning behind a product, into whoever's turn it is next
        found = compare(steps, options.seconds, alone) | compare(product, 0.5, alone)
    top = 2 * SQUARE**3 / found.pop("")[0]
    best, median = (min(t[i] for title, t in found.items() if title.startswith("torch")) for i in range(2))
    kind, size = ("forward", 1) if options.infer else ("training step", WORKLOADS[name].x[0])
    print(f"{name}: batch {size}, {kind}; sgemm peak {top / 1e9:.0f} GFLOP/s")
    for title, (time_, middle) in found.items():
        share = "" if options.infer else f"  {WORKLOADS[name].flops / time_ / top * 100:5.1f} % of peak"
        print(
            f"  {title:33} {time_ * 1e6:9.1f} µs (median {middle * 1e6:9.1f})  ratio {best / time_:5.2f} "
            f"(median {median / middle:5.2f}){share}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--blas", default=None)
    parser.add_argument("--only", default=",".join(WORKLOADS))
    parser.add_argument("--infer", action="store_true")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--others", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--capture", action="store_true")
    parser.add_argument("--side", choices=("mlkit", "torch"), default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.only.split(",")
    library = blas.use(options.blas, options.threads) if options.blas else blas.current()
    library.threads = options.threads
    if options.side:
        print(one_side(names[0], options.side))
        return 0
    try:
        import torch
    except ImportError:
        print("torch is not installed: pip install torch==2.13.0", file=sys.stderr)
        return 2
    torch.set_num_threads(options.threads)
    print(*(f"{name}={value}" for name, value in blas.knobs().items()))
    print(f"{library}\nPyTorch {torch.__version__}, {options.threads} thread(s)\n")
    for name in names:
        work = WORKLOADS[name]
        if options.memory:
            ours, theirs = (resident(name, side, options.threads, options.blas) for side in ("mlkit", "torch"))
            print(f"{name}: peak of resident memory {ours:.0f} MB, torch {theirs:.0f} MB, share {ours / theirs:.2f}")
            continue
        if options.capture:
            first, captured, later = (seconds * 1e3 for seconds in capturing(work))
            print(
                f"{name}: a new model's first step takes {first:.2f} ms, captured {captured:.2f} ms, ratio {captured / first:.2f}; "
                f"to a later eager step, {later:.2f} ms, {captured / later:.2f}"
            )
            continue
        if options.infer:
            report(name, forwards(work), options)
            continue
        check(work)
        report(name, trainings(work, options.eager, options.others), options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
