"""What happens beside a training: progress, logs, an early end, statistics.

A callback is told when a training begins, after each batch, after each epoch, and when it ends, however that comes.
"""

import csv
import io
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from ..file import write_whole
from ..kernels import Array
from .progress import Progress

if TYPE_CHECKING:
    from .fit import Run


class Callback:
    """A subclass says what happens when; what it must know to go on after a restart is its `state_dict`."""

    last = False  # whether it is told after the others

    def begin(self, run: "Run") -> None:
        """Before the first step."""

    def batch(self, run: "Run") -> None:
        """After a step; `run.loss` is the batch's."""

    def epoch(self, run: "Run") -> None:
        """After an epoch; its numbers are `run.history.rows[-1]`."""

    def end(self, run: "Run") -> None:
        """After the last step, an interrupt or an error."""

    def state_dict(self) -> dict[str, Any]:
        """Numbers, texts and arrays by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The reverse."""


class ShowProgress(Callback):
    """The batch and its loss while they come, a line for each epoch: on standard error."""

    def begin(self, run: "Run") -> None:
        self._progress = Progress()
        self._progress.__enter__()

    def batch(self, run: "Run") -> None:
        epoch = f"epoch {run.epoch + 1}/{run.epochs}"
        self._progress(run.batches, len(run.loader), f"{epoch}, batch {run.batches}/{len(run.loader)}, loss {run.loss:.4g}")

    def epoch(self, run: "Run") -> None:
        numbers = (f"{name} {value:.4g}" for name, value in run.history.rows[-1].items() if name != "epoch")
        self._progress.line(f"epoch {run.epoch}/{run.epochs}: {', '.join(numbers)}")

    def end(self, run: "Run") -> None:
        self._progress.__exit__(None, None, None)


class EarlyStopping(Callback):
    """End when a number of the history has not become better by more than `min_delta` for `patience` epochs.

    The weights of the best epoch are put back, unless `restore_best` is False. mode is "min", or "max" for a score.
    """

    def __init__(
        self, monitor: str = "validation_loss", patience: int = 10, mode: str = "min", min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:  # fmt: skip
        if mode not in ("min", "max") or patience < 1 or min_delta < 0:
            raise ArgumentError(
                f"EarlyStopping: mode {mode!r} is min or max, patience {patience} from 1, min_delta {min_delta} from 0"
            )
        self.monitor, self.patience, self.sign, self.min_delta = monitor, patience, 1 if mode == "min" else -1, min_delta
        self.restore_best = restore_best
        self.best, self.best_epoch, self.weights = np.inf, 0, dict[str, Array]()

    def epoch(self, run: "Run") -> None:
        value = self.sign * run.history[self.monitor][-1]
        if value < self.best - self.min_delta:
            self.best, self.best_epoch = value, run.epoch
            self.weights = run.model.state_dict() if self.restore_best else {}
        elif run.epoch - self.best_epoch >= self.patience:
            run.stop(f"{self.monitor} was best in epoch {self.best_epoch}")

    def end(self, run: "Run") -> None:
        if self.weights:
            run.model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": float(self.best), "best_epoch": self.best_epoch, **{f"weights.{n}": w for n, w in self.weights.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.weights = {name.removeprefix("weights."): x for name, x in state.items() if name.startswith("weights.")}


class CSVLog(Callback):
    """The history as a CSV file, whole after every epoch."""

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        self.path = os.fspath(path)

    def begin(self, run: "Run") -> None:
        write_whole(self.path, self.text(run))  # a path that cannot be written is an error before the work

    def epoch(self, run: "Run") -> None:
        write_whole(self.path, self.text(run))

    def text(self, run: "Run") -> str:
        """What stands in the file."""
        file = io.StringIO()
        writer = csv.DictWriter(file, run.history.names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(run.history.rows)
        return file.getvalue()


class JSONLog(CSVLog):
    """The history as a file of JSON lines, one for each epoch."""

    def text(self, run: "Run") -> str:
        return "".join(json.dumps(row) + "\n" for row in run.history.rows)


class TensorBoard(Callback):
    """The history as event files for TensorBoard, in a directory. It needs `pip install tensorboardX`."""

    def __init__(self, directory: "str | os.PathLike[str]") -> None:
        self.directory = os.fspath(directory)

    def begin(self, run: "Run") -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ArgumentError("TensorBoard's event files need tensorboardX: pip install tensorboardX") from error
        self._writer = SummaryWriter(self.directory)

    def epoch(self, run: "Run") -> None:
        for name, value in run.history.rows[-1].items():
            if name != "epoch":
                self._writer.add_scalar(name, value, run.epoch)

    def end(self, run: "Run") -> None:
        self._writer.close()


class Statistics(Callback):
    """After each epoch the norm of every parameter and of its last gradient: `rows`, as {"epoch", NAME, "NAME.grad"}."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def epoch(self, run: "Run") -> None:
        row: dict[str, Any] = {"epoch": run.epoch}
        for name, p in run.model.named_parameters():
            row[name] = _norm(p.data)
            row[f"{name}.grad"] = _norm(p.grad.data) if p.grad is not None else None
        self.rows.append(row)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rows = list(state["rows"])


def _norm(x: Array) -> float:
    return float(np.sqrt(np.sum(np.square(x, dtype=np.float64))))
