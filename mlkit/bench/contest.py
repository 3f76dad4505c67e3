"""The same training under every library, in rounds that take turns; each library in a process of its own."""

import base64
import contextlib
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..blas.process import python_path
from ..kernels import Array
from .workload import WORKLOADS, Workload

PATIENCE = 300.0  # seconds for one answer, after which a library counts as hanging

Tell = Callable[[int, int, str], None]  # steps done, steps in all, what is going on


class Row(NamedTuple):
    """What one library did on one workload; `failure` says what ended it."""

    workload: str
    library: str
    facts: dict[str, Any]  # version, int64, threads, peak, …
    seconds: tuple[float, ...] = ()  # of each round
    samples: int = 0  # in one round
    score: float = float("nan")
    weights: Array | None = None
    failure: str = ""

    @property
    def rate(self) -> float:
        """Samples a second in the median round."""
        return self.samples / float(np.median(self.seconds)) if self.seconds else float("nan")


def compete(
    libraries: Sequence[str], threads: Sequence[int], workloads: Sequence[str], seed: int = 0, epochs: float | None = None,
    share: float = 1.0, tell: Tell = lambda done, total, text: None,
) -> Iterator[Row]:  # fmt: skip
    """A row for each workload, library and thread count, yielded when its workload is done.

    `share` scales the steps of each round, `epochs` sets how long to train instead.
    """
    entries = [Entry(name, count) for count in threads for name in libraries]
    try:
        for number, entry in enumerate(entries):
            tell(number, len(entries), f"starting {entry.title}")
            entry.facts = entry.ask("describe") or {}
        for name in workloads:
            yield from _race(entries, WORKLOADS[name], seed, epochs, share, tell)
    finally:
        for entry in entries:
            entry.stop()


class Entry:
    """One library with one thread count, in its own process, which is stopped between its turns.

    For threads that wait for the next product spin – OpenBLAS's for 20 ms, Intel's OpenMP for 200 – on the CPUs of whoever is next.
    """

    def __init__(self, library: str, threads: int) -> None:
        self.library, self.threads, self.failure, self.facts = library, threads, "", dict[str, Any]()
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "mlkit.bench.worker", str(writing), library, str(threads)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[writing],
            env=_environment(),
        )
        os.close(writing)
        self._answers = os.fdopen(reading)

    @property
    def title(self) -> str:
        return f"{self.library} ({self.threads})"

    def ask(self, do: str, **arguments: Any) -> dict[str, Any] | None:
        """The worker's answer; None, and a `failure`, if it died or hangs."""
        self.send(do, **arguments)
        return self.receive()

    def send(self, do: str, **arguments: Any) -> None:
        """Give the worker a command, and do not wait."""
        if self.failure:
            return
        self._signal("SIGCONT")
        with contextlib.suppress(BrokenPipeError):  # it died; what it left says why
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self) -> dict[str, Any] | None:
        """The answer to the command that was given last."""
        if self.failure:
            return None
        ready, _, _ = select.select([self._answers], [], [], PATIENCE)
        line = self._answers.readline() if ready else ""
        answer: dict[str, Any] = json.loads(line) if line else {"error": self._end() if ready else f"no answer in {PATIENCE:g} s"}
        self.failure = answer.get("error", "")
        self._signal("SIGSTOP")
        return None if self.failure else answer

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._answers, self._process.stdin, self._process.stderr):
            with contextlib.suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()

    def _signal(self, name: str) -> None:
        if self.threads > 1 and hasattr(signal, name):
            self._process.send_signal(getattr(signal, name))

    def _end(self) -> str:
        assert self._process.stderr is not None
        said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        code = self._process.wait()
        words = f": {said[-1]}" if said else ""
        return f"killed by {signal.Signals(-code).name}{words}" if code < 0 else f"ended with exit code {code}{words}"


def _race(entries: Sequence[Entry], workload: Workload, seed: int, epochs: float | None, share: float, tell: Tell) -> Iterator[Row]:
    """Rounds in which every library trains the same steps, each round in another order."""
    for entry in entries:
        entry.send("start", workload=workload.name, seed=seed)
    started = [entry.receive() for entry in entries]
    in_epoch = next((answer["steps_in_epoch"] for answer in started if answer), 1)
    steps = workload.steps * share if epochs is None else epochs * in_epoch / workload.rounds
    steps = max(1, round(steps))
    seconds: dict[int, list[float]] = {i: [] for i in range(len(entries))}
    order, shuffle = list(range(len(entries))), random.Random(seed)
    for entry in entries:
        entry.ask("train", steps=1)  # the first step captures, and warms up
    for number in range(workload.rounds):
        shuffle.shuffle(order)
        for turn, i in enumerate(order):
            tell(number * len(order) + turn, workload.rounds * len(order), f"{workload.name}: {entries[i].title}")
            entries[i].ask("train", steps=1)  # its caches are warm again
            answer = entries[i].ask("train", steps=steps)
            if answer:
                seconds[i].append(answer["seconds"])
    for i, entry in enumerate(entries):
        end = entry.ask("finish")
        weights = np.frombuffer(base64.b64decode(end["weights"]), "<f4") if end else None
        score = end["score"] if end else float("nan")
        samples = steps * workload.batch
        yield Row(workload.name, entry.library, entry.facts, tuple(seconds[i]), samples, score, weights, entry.failure)


def _environment() -> dict[str, str]:
    """This process's, with mlkit where this process found it and nothing that would choose a library or a count."""
    kept = {name: value for name, value in os.environ.items() if name not in ("MLKIT_BLAS", "MLKIT_THREADS")}
    return {**kept, "PYTHONPATH": python_path()}
