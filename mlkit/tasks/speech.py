"""Words told apart by their sound: spoken by espeak-ng in many voices, judged by voices that were not learned from."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, NamedTuple

import numpy as np

from .. import data, nn
from ..bench.page import Page
from ..data.image import files_by_class
from ..errors import ArgumentError, DataError
from ..file import read_bounded
from ..kernels import Array
from ..train import metric
from .input import Input
from .study import OWN, Examples, Origin, Result, Settings, Study, classifier, together

WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go",
)  # fmt: skip
RATE = 22050  # as espeak-ng speaks
QUIET = 12  # nats below the loudest (52 dB): less is not heard
TIMES = 3  # that each voice says each word, faster or slower, higher or lower
NEEDS = "speech needs espeak-ng: apt install espeak-ng; or --data DIR with a folder of WAV files for each word"


class Sounds(Input):
    """A WAV file as a picture, (1, mels, frames): its log-mel spectrogram, the loud part in the middle, mean 0 and deviation 1."""

    kind = "sound"
    needs: ClassVar[dict[str, type]] = {"rate": int, "mels": int, "frames": int}
    suffixes = (".wav",)

    def rows(self, content: bytes, name: str) -> Array:
        rate, samples = data.read_wav(content)
        if not np.isfinite(samples).all() or np.ptp(samples) == 0:
            raise DataError(f"{name} is silent")
        mels, frames = self.settings["mels"], self.settings["frames"]
        spectrum = data.log_mel(data.resample(samples, rate, self.settings["rate"]), self.settings["rate"], mels)
        spectrum = np.maximum(spectrum, spectrum.max() - QUIET)
        loud = np.flatnonzero(spectrum.max(1) > spectrum.max() - QUIET * 2 / 3)
        middle = (loud[0] + loud[-1]) // 2
        padded = np.pad(spectrum, ((frames, frames), (0, 0)), mode="edge")
        found = padded[middle + frames - frames // 2 :][:frames].T
        scaled: Array = ((found - found.mean()) / max(found.std(), 1e-3)).astype(np.float32)
        return scaled[None, None]


class Utterance(NamedTuple):
    """A word as a voice says it."""

    word: int
    voice: str
    speed: int  # words a minute
    pitch: int  # 0 … 99


def run(settings: Settings) -> Result:
    """Three convolutions over frequency and time."""
    sounds = Sounds(rate=RATE, mels=40, frames=96)
    x, y, voices, classes = _recorded(settings, sounds) if settings.source else _spoken(settings, sounds)
    rng = np.random.default_rng(settings.seed)
    known = rng.permutation(sorted(set(voices)))
    unseen = set(known[: max(1, len(known) // 5)])
    test = np.array([voice in unseen for voice in voices])
    examples = Examples(
        data.Split(x[~test], y[~test], x[test], y[test]), classes, sounds,
        OWN if settings.source else Origin("words spoken by espeak-ng", "GPL-3+"),
    )  # fmt: skip
    return classifier(
        SPEECH, settings, examples, lambda: network(len(classes)), batch=64, lr=2e-3, transform=_disturbed,
        show=lambda page, model, logits, examples: _by_voice(page, logits, y[test], [v for v in voices if v in unseen]),
    )  # fmt: skip


def network(classes: int) -> nn.Sequential:
    """(N, 1, 40, 96) -> (N, classes)"""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 5 * 12, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, classes),
    )  # fmt: skip


def utterances(voices: list[str], rng: np.random.Generator) -> list[Utterance]:
    """Every word by every voice, `TIMES` times."""
    found = [(word, voice) for voice in voices for word in range(len(WORDS)) for _ in range(TIMES)]
    drawn = zip(rng.integers(120, 200, len(found)), rng.integers(25, 75, len(found)))
    return [Utterance(word, voice, int(speed), int(pitch)) for (word, voice), (speed, pitch) in zip(found, drawn)]


def _spoken(settings: Settings, sounds: Sounds) -> tuple[Array, Array, list[str], tuple[str, ...]]:
    program = shutil.which("espeak-ng")
    if program is None:
        raise DataError(NEEDS)
    said = utterances(list(_voices(program)), np.random.default_rng(settings.seed))
    with TemporaryDirectory() as directory:

        def speak(number: int) -> Array:
            word, voice, speed, pitch = said[number]
            path = Path(directory, f"{number}.wav")
            command = [program, "-v", f"en+{voice}", "-s", str(speed), "-p", str(pitch), "-w", str(path), WORDS[word]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode or not path.exists():
                raise DataError(f"espeak-ng cannot speak as {voice}: {done.stderr.strip() or done.returncode}")
            return sounds.rows(read_bounded(path), path.name)

        rows = together(speak, range(len(said)), settings.tell, "speaking")
    return np.concatenate(rows), np.array([word for word, *_ in said]), [voice for _, voice, *_ in said], WORDS


def _voices(program: str) -> Iterator[str]:
    """espeak-ng's variants, but for one that is a test of its speed."""
    listed = subprocess.run([program, "--voices=variant"], capture_output=True, text=True, check=False).stdout
    found = sorted(
        {word.removeprefix("!v/") for line in listed.splitlines()[1:] for word in line.split() if word.startswith("!v/")}
    )
    if len(found) < 5:
        raise DataError(f"espeak-ng has {len(found)} variants of voices; there have to be 5 at least: apt install espeak-ng-data")
    return (voice for voice in found if voice != "fast")


def _recorded(settings: Settings, sounds: Sounds) -> tuple[Array, Array, list[str], tuple[str, ...]]:
    """A folder for each word; what comes before the first _ or . in a file's name is taken for who speaks."""
    folders = files_by_class(str(settings.source), Sounds.suffixes)
    files = [(number, path) for number, name in enumerate(folders) for path in folders[name]]
    rows = []
    for done, (_, path) in enumerate(files):
        settings.tell(done, len(files), "listening")
        rows.append(sounds.rows(read_bounded(path), str(path)))
    voices = [path.name.replace(".", "_").split("_")[0] for _, path in files]
    if len(set(voices)) < 2 or len(folders) < 2:
        raise ArgumentError(f"{settings.source}: {len(folders)} words, {len(set(voices))} voices (VOICE_….wav); it takes 2 of each")
    return np.concatenate(rows), np.array([number for number, _ in files]), voices, tuple(folders)


def _disturbed(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Moved in time and a little in frequency, with noise."""
    moved = np.stack([np.roll(row, (0, int(up), int(late)), (0, 1, 2)) for row, up, late in zip(
        x, rng.integers(-2, 3, len(x)), rng.integers(-10, 11, len(x)))])  # fmt: skip
    return moved + np.float32(0.2) * rng.standard_normal(x.shape, np.float32), y


def _by_voice(page: Page, logits: Array, y: Array, voices: list[str]) -> None:
    """How well each unseen voice is understood."""
    page.heading("Voices that it had not heard")
    right = metric.classes(logits) == y
    rows = [("voice", "words", "understood")]
    for voice in sorted(set(voices)):
        mine = np.array([v == voice for v in voices])
        rows.append((voice, str(mine.sum()), f"{right[mine].mean():.1%}"))
    page.table(rows)


SPEECH = Study("speech", "Spoken words", 12, ("accuracy", 0.95), run, "a folder of WAV files (VOICE_….wav) for each word")
