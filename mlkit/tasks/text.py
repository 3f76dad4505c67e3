"""Text that goes on: a small Transformer learns which character comes next, and writes."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import mlkit

from .. import data, models, ops, optim
from ..bench.page import Page
from ..errors import DataError
from ..kernels import Array
from ..train import evaluate, fit, plot
from .input import Input
from .study import OWN, Origin, Result, Settings, Study, begun, ended

FORTUNES = Path("/usr/share/games/fortunes")
LENGTH, BATCH, STEPS = 64, 12, 250  # characters of a window, windows of a step, steps of an epoch
RARE = 30  # a character that comes less often is left out
NEEDS = "text needs something to read: --data FILE or DIR of your own; or apt install fortunes"
WRITTEN = 400  # characters of a sample
SHORTEST = 20_000  # characters


class Prompt(Input):
    """The beginning of a text, as numbers; characters that were not learned are left out."""

    kind = "prompt"
    needs: ClassVar[dict[str, type]] = {"characters": str}

    def rows(self, content: bytes, name: str) -> Array:
        known = set(self.settings["characters"])
        text = "".join(c for c in content.decode("utf-8", "replace") if c in known)
        if not text:
            raise DataError(f"{name} has no character that the model knows; it knows {self.settings['characters']!r}")
        return self.tokenizer.encode(text)[None]

    @property
    def tokenizer(self) -> data.CharTokenizer:
        """Characters to numbers and back."""
        return data.CharTokenizer(self.settings["characters"])


def run(settings: Settings) -> Result:
    """nanoGPT's network for a CPU, 0.8 million parameters; a tenth of the text, its end, is not learned from."""
    text, origin = _read(settings.source)
    counts = np.unique(np.array(list(text)), return_counts=True)
    prompt = Prompt(characters="".join(c for c, n in zip(*counts) if n >= RARE))
    keep = set(prompt.settings["characters"])
    numbers = prompt.tokenizer.encode("".join(c for c in text if c in keep))
    learn, held = numbers[: len(numbers) * 9 // 10], numbers[len(numbers) * 9 // 10 :]
    mlkit.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)

    def drawn(count: int) -> tuple[Array, Array]:
        return windows(learn, rng.integers(0, len(learn) - LENGTH - 1, count))

    loader = data.DataLoader(
        (np.empty((BATCH * STEPS, 0)),), BATCH, rng=rng, transform=lambda rows: drawn(len(rows))
    )  # fmt: skip
    x, y = windows(held, np.linspace(0, len(held) - LENGTH - 1, 400).astype(int))
    model = models.GPT(len(prompt.tokenizer), LENGTH)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, betas=(0.9, 0.99))
    schedule = optim.OneCycleLR(optimizer, 1e-3, max(2, settings.epochs * STEPS), pct_start=0.05)
    history = fit(
        model, loader, (x, y), loss=next_loss, optimizer=optimizer, schedule=schedule, each_step=True, epochs=settings.epochs,
        clip_norm=1.0, callbacks=settings.callbacks, threads=settings.threads,
    )  # fmt: skip
    loss = evaluate(model, (x, y), next_loss)["loss"]
    page = begun(TEXT, settings, history, (
        f"{loss:.3f} nats for each character of the part that was not learned from: as if the network had to choose between "
        f"{np.exp(loss):.1f} characters; it knows {len(prompt.tokenizer)}."
    ))  # fmt: skip
    if len(history):
        page.heading("How it learned")
        page.figure(plot.curves(history), "Nats for each character: of the learning part, before each step, and of the other.")
    page.heading("What it writes")
    for temperature in (0.5, 0.8, 1.0):
        page.text(f"Temperature {temperature}:", soft=True)
        page.code(write(model, prompt, prompt.tokenizer.decode(held[:8]), WRITTEN, settings.seed, temperature))
    _knows(page, model, prompt, held)
    scores = {"loss": loss, "perplexity": float(np.exp(loss))}
    description = {"preprocessing": prompt.description, "answer": {"kind": "text"}}
    return ended(TEXT, settings, Result(model, history, scores, page, description), [numbers], origin)


def windows(numbers: Array, places: Array) -> tuple[Array, Array]:
    """(n, LENGTH) characters from places of the text, and those that follow each."""
    found = numbers[places[:, None] + np.arange(LENGTH + 1)]
    return np.ascontiguousarray(found[:, :-1]), np.ascontiguousarray(found[:, 1:])


def next_loss(logits: Any, targets: Any, **options: Any) -> Any:
    """Cross-entropy of every next character: (N, T, characters), (N, T)."""
    return ops.cross_entropy(ops.reshape(logits, -1, logits.shape[-1]), targets.reshape(-1), **options)


def write(model: Any, prompt: Prompt, text: str, count: int, seed: int, temperature: float = 0.8) -> str:
    """The text and how the model goes on."""
    start = prompt.rows(text.encode(), "the beginning")
    tokens = model.generate(start, count, temperature, rng=np.random.default_rng(seed))
    return prompt.tokenizer.decode(tokens[0])


def _knows(page: Page, model: Any, prompt: Prompt, held: Array) -> None:
    """What it expects after each character of a line."""
    tokens = held[:LENGTH][None]
    shares = np.asarray(ops.softmax(np.asarray(model(tokens)[0])))
    characters = prompt.settings["characters"]
    page.heading("What it expects")
    rows: list[tuple[str, ...]] = [("after", "it expects", "", "", "and there comes")]
    for place in range(8, 28):
        guesses = [f"{characters[i]!r} {shares[place, i]:.0%}" for i in np.argsort(-shares[place])[:3]]
        before = prompt.tokenizer.decode(tokens[0, max(0, place - 12) : place + 1])
        rows.append((repr(before), *guesses, repr(characters[int(tokens[0, place + 1])])))
    page.table(rows)


def _read(source: str | None) -> tuple[str, Origin]:
    if source is None and not FORTUNES.is_dir():
        raise DataError(NEEDS)
    text = data.read_text(source or FORTUNES)
    if len(text) < SHORTEST:
        raise DataError(f"{source or FORTUNES} has {len(text)} characters; {SHORTEST} are needed to learn something from")
    if source:
        return text, OWN
    return text, Origin("Debian's fortunes", "mixed: see /usr/share/doc/fortunes/copyright")


TEXT = Study("text", "Text that goes on", 10, ("loss", 2.05), run, "a file of text, or a folder of them")
