"""The loop: `fit` trains, `evaluate` judges, `predict` uses; all on captured steps."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import nn, ops
from ..data import DataLoader, Dataset
from ..data.loader import Batch
from ..errors import ArgumentError, DataError, NonFiniteError, ShapeError
from ..kernels import Array
from ..nn.init import generator
from ..optim import Adam, Optimizer, ReduceLROnPlateau, Scheduler
from ..plan import capture
from ..tensor import Tensor, no_grad
from .callback import Callback
from .history import History
from .step import Step

Loss = Callable[..., Any]
Metric = Callable[[Array, Array], float]

BATCH = 256  # rows that are judged or predicted at a time


def fit(
    model: nn.Module, train: Any, validation: Any = None, *, loss: Loss | None = None, optimizer: Optimizer | None = None,
    epochs: int = 10, batch_size: int = 32, metrics: Sequence[Metric] = (), callbacks: Iterable[Callback] = (),
    objective: Callable[..., Tensor] | None = None, class_weight: Any = None, clip_norm: float | None = None, accumulate: int = 1,
    schedule: Any = None, each_step: bool = False, rng: np.random.Generator | None = None, threads: int | None = None,
    strategy: str = "blas",
) -> History:  # fmt: skip
    """Train `model` on `train` and return what happened, epoch by epoch; the model is left in `eval` mode.

    `train` and `validation` are (inputs, targets), (inputs, targets, weight of each row), a Dataset of these or a DataLoader.
    Batches are shuffled by `rng`, which starts from `manual_seed`'s if not given. The last, smaller batch counts too.

    loss: `loss(predictions, targets)`, cross_entropy for whole numbers and mse_loss otherwise; or `objective(*batch)`, which
    returns the loss of a batch itself, for a network whose loss is no function of predictions and targets alone.
    optimizer: Adam, if none is given. schedule: an optim.Scheduler, stepped after each epoch, or with `each_step` each update;
    or a ReduceLROnPlateau, which sees the validation loss. metrics: functions of mlkit.train.metric, of the validation data.
    class_weight: what a row of each class counts. clip_norm: the largest norm of a gradient. accumulate: batches for one update.
    threads, strategy: see `Step`; one that is named gives the same bits in every run, "fastest" measures first.

    A loss that is not finite is a NonFiniteError. Ctrl-C ends the training after the step; what was reached stays, and
    `History.stopped` says so.
    """
    if epochs < 0:
        raise ArgumentError(f"fit: epochs is {epochs}; it must be from 0")
    if rng is None:
        rng = np.random.default_rng(generator().integers(1 << 62))
    loader = train if isinstance(train, DataLoader) else DataLoader(train, batch_size, shuffle=True, rng=rng)
    optimizer = Adam(model.parameters()) if optimizer is None else optimizer
    if objective is not None and (loss or metrics):
        raise ArgumentError("fit: an objective takes the place of loss and metrics")
    if objective is not None:
        judge: Callable[..., dict[str, float]] = partial(_mean, objective=objective)
    else:
        loss = _loss_for(loader.dataset[:1]) if loss is None else loss
        objective, judge = _objective(model, loss), partial(_judged, loss=loss, metrics=metrics)
    step = Step(objective, optimizer, threads, strategy, clip_norm, accumulate)
    run = Run(model, loader, optimizer, step, epochs, schedule, each_step, list(callbacks), _weighing(class_weight))
    held = None if validation is None else dataset_of(validation)
    run.go(lambda: {} if held is None else judge(model, held))
    return run.history


class Run:
    """A training as callbacks see it: model, loader, optimizer, schedule, history; `epoch` and `steps` that are done."""

    def __init__(
        self, model: nn.Module, loader: DataLoader, optimizer: Optimizer, step: Step, epochs: int, schedule: Any, each_step: bool,
        callbacks: list[Callback], weighed: Callable[[Batch], Batch],
    ) -> None:  # fmt: skip
        if schedule is not None and not isinstance(schedule, Scheduler | ReduceLROnPlateau):
            raise ArgumentError(f"fit: schedule is {schedule!r}; it is one of mlkit.optim's")
        if each_step and isinstance(schedule, ReduceLROnPlateau):
            raise ArgumentError("fit: ReduceLROnPlateau looks at epochs, not at steps")
        self.model, self.loader, self.optimizer, self.epochs, self.schedule = model, loader, optimizer, epochs, schedule
        self.history, self.callbacks = History(), sorted(callbacks, key=lambda callback: callback.last)
        self.epoch = self.batches = self.steps = 0  # epochs, batches of this epoch, batches in all
        self.loss = math.nan
        self._step, self._each_step, self._weighed = step, each_step, weighed
        self._told = [c for c in callbacks if type(c).batch is not Callback.batch]

    def stop(self, reason: str) -> None:
        """End after this epoch."""
        self.history.stopped = reason

    def go(self, judge: Callable[[], dict[str, float]]) -> None:
        """From `epoch`, wherever that is, to the last."""
        begun: list[Callback] = []
        try:
            for callback in self.callbacks:
                begun.append(callback)
                callback.begin(self)
            while self.epoch < self.epochs and not self.history.stopped:
                start = time.perf_counter()
                row = {"epoch": self.epoch + 1, "loss": self._pass(), **judge(), "lr": self.optimizer.lr}
                self.epoch += 1
                self.history.rows.append({**row, "seconds": time.perf_counter() - start})
                self._schedule(row)
                for callback in self.callbacks:
                    callback.epoch(self)
        except KeyboardInterrupt:
            self.history.stopped = "interrupted"
        finally:
            for callback in begun:
                callback.end(self)
            self.model.eval()

    def _pass(self) -> float:
        """One epoch; returns the mean loss of its rows, each as it was before the step that it was part of."""
        self.model.train()
        total, rows, self.batches = 0.0, 0, 0
        for batch in self.loader:
            self.loss = self._step(*self._weighed(batch)).item()
            if not math.isfinite(self.loss):
                raise NonFiniteError(
                    f"the loss is {self.loss} in epoch {self.epoch + 1}, batch {self.batches + 1}: lower lr (it is "
                    f"{self.optimizer.lr:g}), set clip_norm, or look with nn.finite(model) which layer makes it"
                )
            self.batches += 1
            self.steps += 1
            total, rows = total + self.loss * len(batch[0]), rows + len(batch[0])
            if self._each_step and isinstance(self.schedule, Scheduler) and not self.steps % self._step.accumulate:
                self.schedule.step()
            for callback in self._told:
                callback.batch(self)
        self._step.flush()
        return total / rows

    def _schedule(self, row: dict[str, float]) -> None:
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(row.get("validation_loss", row["loss"]))
        elif isinstance(self.schedule, Scheduler) and not self._each_step:
            self.schedule.step()


def evaluate(model: nn.Module, data: Any, loss: Loss | None = None, metrics: Sequence[Metric] = ()) -> dict[str, float]:
    """`{"loss": …, METRIC: …}` of a model in use on (inputs, targets), a Dataset or a DataLoader's."""
    held = dataset_of(data)
    loss = _loss_for(held[:1]) if loss is None else loss
    return {name.removeprefix("validation_"): value for name, value in _judged(model, held, loss, metrics).items()}


def predict(model: nn.Module, x: Any, batch_size: int = BATCH) -> Array:
    """What a model in use makes of inputs, batch by batch: (n, …) -> (n, …)."""
    x = np.asarray(x)
    if not len(x):
        raise DataError("predict: there are no rows")
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with no_grad():
            forward = model if len(x) <= batch_size else capture(lambda part: model(part), most=2)  # capturing pays when repeated
            parts = [np.asarray(forward(x[start : start + batch_size])) for start in range(0, len(x), batch_size)]
    finally:
        for module, mode in modes:
            module.training = mode
    return np.concatenate(parts)


def find_lr(
    model: nn.Module, train: Any, *, low: float = 1e-6, high: float = 1.0, steps: int = 100, batch_size: int = 32,
    loss: Loss | None = None, optimizer: Optimizer | None = None, rng: np.random.Generator | None = None,
) -> tuple[Array, Array]:  # fmt: skip
    """(lr, smoothed loss) of a short training whose lr grows from `low` to `high`, ended where the loss explodes.

    The weights and the optimizer are as before. A good rate lies where the loss falls most steeply. Source: Smith 2017.
    """
    if not 0 < low < high or steps < 2:
        raise ArgumentError(f"find_lr: low {low}, high {high}, steps {steps}; it takes 0 < low < high, and two steps")
    optimizer = Adam(model.parameters()) if optimizer is None else optimizer
    rng = np.random.default_rng(0) if rng is None else rng
    loader = train if isinstance(train, DataLoader) else DataLoader(train, batch_size, shuffle=True, rng=rng)
    weights, state = model.state_dict(), optimizer.state_dict()
    step = Step(_objective(model, loss or _loss_for(loader.dataset[:1])), optimizer, strategy="blas")
    rates, losses, mean = list[float](), list[float](), 0.0
    model.train()
    try:
        batches = (batch for _ in range(steps) for batch in loader)
        for number, (rate, batch) in enumerate(zip(np.geomspace(low, high, steps), batches), 1):
            optimizer.lr = float(rate)
            mean = 0.9 * mean + 0.1 * step(*batch).item()
            smooth = mean / (1 - 0.9**number)
            if not math.isfinite(smooth) or (losses and smooth > 4 * min(losses)):
                break
            rates.append(float(rate))
            losses.append(smooth)
    finally:
        model.load_state_dict(weights)
        optimizer.load_state_dict(state)
    return np.array(rates), np.array(losses)


def dataset_of(data: Any) -> Any:
    """The data set in (x, y, …), in a DataLoader, or itself."""
    if isinstance(data, DataLoader):
        return data.dataset
    return Dataset(*data) if isinstance(data, tuple) else data


def _loss_for(batch: tuple[Array, ...]) -> Loss:
    """Cross-entropy for classes, squared error for numbers."""
    if len(batch) < 2:
        raise ArgumentError(f"the data have {len(batch)} arrays in a batch; they need inputs and targets, or an objective")
    return ops.cross_entropy if batch[1].dtype.kind in "iu" else ops.mse_loss


def _objective(model: nn.Module, loss: Loss) -> Callable[..., Tensor]:
    """The mean loss of a batch, in which each row counts what its weight says."""

    def objective(x: Any, y: Any, weight: Any = None) -> Any:
        predictions = model(x)
        if predictions.shape != y.shape and y.dtype.kind not in "iu":
            raise ShapeError(f"the model's predictions have shape {predictions.shape}, the targets {y.shape}")
        if weight is None:
            return loss(predictions, y)
        losses = loss(predictions, y, reduction="none")
        if losses.ndim > 1:
            losses = ops.mean(ops.reshape(losses, len(y), -1), 1)
        return ops.sum(losses * weight) / ops.sum(Tensor(weight))

    return objective


def _weighing(class_weight: Any) -> Callable[[Batch], Batch]:
    """What gives a batch the weights of its rows' classes."""
    if class_weight is None:
        return lambda batch: batch
    counts = np.asarray(class_weight, np.float64)
    if counts.ndim != 1 or not (counts >= 0).all():
        raise ArgumentError(f"fit: class_weight is {class_weight!r}; it takes a number from 0 for each class")

    def weighed(batch: Batch) -> Batch:
        x, y, *weight = batch
        if y.dtype.kind not in "iu" or y.max(initial=0) >= len(counts):
            raise ArgumentError(f"fit: class_weight has {len(counts)} classes; targets are {y.dtype} up to {y.max(initial=0)}")
        each = counts[y].astype(x.dtype if x.dtype.kind == "f" else np.float32)
        return x, y, each * weight[0] if weight else each

    return weighed


def _mean(model: nn.Module, held: Any, objective: Callable[..., Tensor]) -> dict[str, float]:
    """The objective's mean over the rows, of a model in use."""
    model.eval()
    total = 0.0
    with no_grad():
        for start in range(0, len(held), BATCH):
            batch = held[start : start + BATCH]
            total += float(np.asarray(objective(*batch))) * len(batch[0])
    return {"validation_loss": total / len(held)}


def _judged(model: nn.Module, held: Any, loss: Loss, metrics: Sequence[Metric]) -> dict[str, float]:
    arrays = held[:]
    predictions, targets = predict(model, arrays[0]), arrays[1]
    found = {"validation_loss": float(np.asarray(loss(Tensor(predictions), targets)))}
    return found | {f"validation_{metric.__name__}": metric(predictions, targets) for metric in metrics}
