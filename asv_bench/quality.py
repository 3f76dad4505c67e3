"""What networks reach: test accuracy on Fashion-MNIST, and a language model's validation loss beside torch's.

    python asv_bench/quality.py [--only cnn,resnet,detector] [--epochs 10] [--threads 1] [--blas NAME]
    python asv_bench/quality.py --only gpt --text FILE [--steps 500]

`cnn` is a network of two convolutions, `resnet` a small residual network; both are trained with AdamW, a one-cycle schedule
and images flipped at random. `detector` finds clothes in scenes made of several images. `gpt` is nanoGPT's preset for a CPU on
the characters of a text, trained by mlkit and, from the same first values and on the same batches, by torch.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import mlkit
from mlkit import blas, data, models, nn, ops, optim


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 49, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 10),
    )  # fmt: skip


def resnet() -> nn.Module:
    return models.SmallResNet((16, 32, 64), blocks=2, channels=1)


IMAGE_NETWORKS = {"cnn": (cnn, 2e-3), "resnet": (resnet, 1e-2)}


def one_cycle(model: nn.Module, rate: float, steps: int, loss_of: Callable[..., mlkit.Tensor]) -> Callable[..., mlkit.Tensor]:
    """A captured step with AdamW and a one-cycle schedule."""
    optimizer = optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = optim.OneCycleLR(optimizer, rate, steps)

    @mlkit.capture
    def step(*inputs: np.ndarray) -> mlkit.Tensor:
        optimizer.zero_grad()
        loss = loss_of(*inputs)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss

    return step


def classify(name: str, epochs: int, size: int = 128) -> None:
    split = data.fashion_mnist()
    images = split.x_train.reshape(-1, 1, 28, 28)
    rng = np.random.default_rng(0)
    mlkit.manual_seed(0)
    make, rate = IMAGE_NETWORKS[name]
    model = make()
    step = one_cycle(model, rate, epochs * (len(images) // size), lambda x, y: ops.cross_entropy(model(x), y))
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        model.train()
        order = rng.permutation(len(images))
        for first in range(0, len(order) - size + 1, size):
            chosen = order[first : first + size]
            x = images[chosen]
            turned = rng.random(size) < 0.5
            x[turned] = x[turned, :, :, ::-1]
            loss = step(x, split.y_train[chosen])
        reached, seconds = accuracy(model, split), time.perf_counter() - start
        print(f"{name}: epoch {epoch}, loss {loss.item():.3f}, test {reached:.4f}, {seconds:.0f} s", flush=True)


def accuracy(model: nn.Module, split: data.Split) -> float:
    model.eval()
    images, right = split.x_test.reshape(-1, 1, 28, 28), 0
    with mlkit.no_grad():
        for first in range(0, len(images), 500):
            right += (model(images[first : first + 500]).data.argmax(1) == split.y_test[first : first + 500]).sum()
    return right / len(images)


def detect(epochs: int, count: int = 4000, size: int = 32) -> None:
    split = data.fashion_mnist()
    images = split.x_train.reshape(-1, 28, 28)
    rng = np.random.default_rng(0)
    scenes = models.scenes(images, split.y_train, count, rng=rng)
    held_out = models.scenes(split.x_test.reshape(-1, 28, 28), split.y_test, 500, rng=rng)
    mlkit.manual_seed(0)
    model = models.Detector()
    step = one_cycle(model, 5e-3, epochs * (count // size), lambda x, *wanted: model.loss(model(x), *wanted))
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        model.train()
        order = rng.permutation(count)
        for first in range(0, count - size + 1, size):
            chosen = [scenes[i] for i in order[first : first + size]]
            loss = step(np.stack([scene.image for scene in chosen]), *model.targets(chosen, 8))
        model.eval()
        with mlkit.no_grad():
            found = model.detections(model(np.stack([scene.image for scene in held_out])).data, threshold=0.05)
        precision, seconds = models.mean_average_precision(found, held_out), time.perf_counter() - start
        print(f"detector: epoch {epoch}, loss {loss.item():.3f}, mAP at 0.5 {precision:.3f}, {seconds:.0f} s", flush=True)


def language(path: str, steps: int, threads: int) -> None:
    import torch
    from peers import like

    torch.set_num_threads(threads)
    letters, numbers = np.unique(np.frombuffer(Path(path).read_bytes(), np.uint8), return_inverse=True)
    cut = len(numbers) * 9 // 10
    train, validation = numbers[:cut], numbers[cut:]
    mlkit.manual_seed(0)
    model = models.GPT(len(letters))
    theirs = like(torch_gpt(len(letters)), model)
    print(f"{len(numbers)} characters, {len(letters)} kinds; {sum(p.size for p in model.parameters())} parameters")
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    other = torch.optim.AdamW(theirs.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
    warm = steps // 10
    schedule, its_schedule = (
        kind.SequentialLR(
            updates,
            [kind.LinearLR(updates, 0.01, 1.0, warm), kind.CosineAnnealingLR(updates, steps - warm, eta_min=1e-4)],
            milestones=[warm],
        )
        for kind, updates in ((optim, optimizer), (torch.optim.lr_scheduler, other))
    )

    @mlkit.capture
    def step(x: np.ndarray, y: np.ndarray) -> mlkit.Tensor:
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x).reshape(-1, len(letters)), y.reshape(-1))
        loss.backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        return loss

    def torch_step(x: np.ndarray, y: np.ndarray) -> float:
        other.zero_grad()
        loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)).flatten(0, 1), torch.from_numpy(y).flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        other.step()
        its_schedule.step()
        return loss.item()

    rng, seconds = np.random.default_rng(0), [0.0, 0.0]
    for number in range(1, steps + 1):
        x, y = draw(train, rng, 12)
        for i, run in enumerate((step, torch_step)):
            start = time.perf_counter()
            run(x, y)
            seconds[i] += time.perf_counter() - start
        if number % 100 == 0 or number == steps:
            held, ours, others = np.random.default_rng(1), [], []
            for _ in range(20):
                x, y = draw(validation, held, 64)
                with mlkit.no_grad(), torch.no_grad():
                    ours.append(ops.cross_entropy(model(x).reshape(-1, len(letters)), y.reshape(-1)).item())
                    logits = theirs(torch.from_numpy(x)).flatten(0, 1)
                    others.append(torch.nn.functional.cross_entropy(logits, torch.from_numpy(y).flatten()).item())
            print(
                f"step {number}: validation loss {np.mean(ours):.4f}, torch {np.mean(others):.4f}; "
                f"{seconds[0]:.0f} s, torch {seconds[1]:.0f} s", flush=True,
            )  # fmt: skip
    start = np.searchsorted(letters, np.frombuffer(b"The ", np.uint8))[None] % len(letters)
    print(bytes(letters[model.generate(start, 300, temperature=0.8, rng=rng)[0]]).decode(errors="replace"))


def draw(numbers: np.ndarray, rng: np.random.Generator, count: int, length: int = 64) -> tuple[np.ndarray, np.ndarray]:
    places = rng.integers(0, len(numbers) - length - 1, count)[:, None] + np.arange(length + 1)
    found = numbers[places].astype(np.int64)
    return np.ascontiguousarray(found[:, :-1]), np.ascontiguousarray(found[:, 1:])


def torch_gpt(kinds: int, width: int = 128, heads: int = 4, layers: int = 4, length: int = 64):  # type: ignore[no-untyped-def]
    """The modules stand in the order of mlkit.models.GPT."""
    import torch

    functional = torch.nn.functional

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ln_1 = torch.nn.LayerNorm(width, bias=False)
            self.attention, self.projection = (torch.nn.Linear(width, n * width, bias=False) for n in (3, 1))
            self.ln_2 = torch.nn.LayerNorm(width, bias=False)
            self.up, self.down = torch.nn.Linear(width, 4 * width, bias=False), torch.nn.Linear(4 * width, width, bias=False)

        def forward(self, x):  # type: ignore[no-untyped-def]
            batch, time, _ = x.shape
            parts = self.attention(self.ln_1(x)).view(batch, time, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            y = functional.scaled_dot_product_attention(*parts, is_causal=True)
            x = x + self.projection(y.transpose(1, 2).reshape(batch, time, width))
            return x + self.down(functional.gelu(self.up(self.ln_2(x)), approximate="tanh"))

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = torch.nn.Embedding(kinds, width), torch.nn.Embedding(length, width)
            self.blocks = torch.nn.Sequential(*[Block() for _ in range(layers)])
            self.ln = torch.nn.LayerNorm(width, bias=False)

        def forward(self, indices):  # type: ignore[no-untyped-def]
            x = self.tokens(indices) + self.positions.weight[: indices.shape[1]]
            return self.ln(self.blocks(x)) @ self.tokens.weight.T

    return Model()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="cnn,resnet")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--text", default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--blas", default=None)
    options = parser.parse_args()
    library = blas.use(options.blas, options.threads) if options.blas else blas.current()
    library.threads = options.threads
    print(library)
    for name in options.only.split(","):
        if name == "gpt":
            if options.text is None:
                parser.error("gpt needs --text FILE")
            language(options.text, options.steps, options.threads)
        elif name == "detector":
            detect(options.epochs)
        else:
            classify(name, options.epochs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
