"""A network with scikit-learn's `fit`: the training that classifiers and regressors share."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state

from .. import nn, optim, train
from ..errors import ArgumentError
from ..kernels import Array
from ..models import MLP
from ..nn.init import generator, manual_seed
from ..tensor import Buffer, Parameter
from .contract import BaseEstimator, CallbackSupportMixin, Told, sk, validated, with_callbacks


class Network(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """What classifiers and regressors share: the training, and the network that comes of it."""

    @with_callbacks  # type: ignore[untyped-decorator,unused-ignore]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: tuple[Any, Any] | None = None) -> "Network":
        """Train from the start, or with warm_start on from where it was; `validation` is (X, y) for early stopping."""
        return self._fitted(X, y, sample_weight, validation, anew=not (self.warm_start and hasattr(self, "model_")))

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> "Network":
        """One pass over X; `classes`, all that will come, at the first call of a classifier."""
        anew = not hasattr(self, "model_")
        return self._fitted(X, y, sample_weight, None, anew, epochs=1, classes=classes)

    def _fitted(
        self, X: Any, y: Any, sample_weight: Any, validation: Any, anew: bool, epochs: int | None = None, classes: Any = None
    ) -> "Network":
        self._check_parameters()
        X, y = validated(
            self, X, y, reset=anew, multi_output=isinstance(self, RegressorMixin), y_numeric=isinstance(self, RegressorMixin)
        )
        targets = self._targets(y, X.dtype, anew, classes)
        weight = None if sample_weight is None else sk._check_sample_weight(sample_weight, X, dtype=X.dtype)
        if weight is not None:
            kept = weight > 0
            if not kept.any():
                raise ArgumentError("sample_weight is 0 for every row")
            X, targets, weight, y = X[kept], targets[kept], weight[kept], y[kept]
        random = check_random_state(self.random_state)
        if anew or not hasattr(self, "_seed"):
            self._seed = int(random.randint(np.iinfo(np.int32).max))
        else:
            self._seed += 1
        before = generator().bit_generator.state
        told = self._told(X, y, weight) if epochs is None else None
        try:
            manual_seed(self._seed)
            if anew:
                self.model_ = self._build(X.shape[1], self._outputs(targets), X.dtype)
                self.optimizer_ = self._optimizer()
                self.loss_curve_: list[float] = []
            self._train(X, targets, weight, y, validation, self.max_iter if epochs is None else epochs, told)
        finally:
            generator().bit_generator.state = before
        return self

    def _train(self, X: Array, targets: Array, weight: Array | None, y: Array, validation: Any, epochs: int, told: Any) -> None:
        rng = np.random.default_rng(self._seed)
        rows: tuple[Any, ...] = (X, targets) if weight is None else (X, targets, weight)
        held: Any = None
        if validation is not None:
            held_x, held_y = validated(self, *validation, reset=False, multi_output=targets.ndim > 1, y_numeric=False)
            held = held_x, self._targets(held_y, X.dtype, False, None)
        elif self.early_stopping and epochs > 1:
            order = rng.permutation(len(X))
            cut = max(1, int(len(X) * self.validation_fraction))
            if cut >= len(X):
                raise ArgumentError(
                    f"early_stopping: {len(X)} rows are too few to set {self.validation_fraction:.0%} of them aside"
                )
            held = tuple(part[order[:cut]] for part in (X, targets))
            rows = tuple(part[order[cut:]] for part in rows)
        if epochs > 1:
            monitor = "loss" if held is None else "validation_loss"
            stopping = [train.EarlyStopping(monitor, self.n_iter_no_change, min_delta=self.tol, restore_best=held is not None)]
        else:
            stopping = []
        progress = [train.ShowProgress()] if self.verbose else []
        size = min(200, len(rows[0])) if self.batch_size == "auto" else min(int(self.batch_size), len(rows[0]))
        callbacks = [*progress, *stopping, *(self.callbacks or ()), *([told] if told else [])]
        self.history_ = train.fit(
            self.model_, rows, held, loss=self._loss(), optimizer=self.optimizer_, epochs=epochs, batch_size=size, rng=rng,
            class_weight=self._class_weight(y), clip_norm=self.clip_norm, callbacks=callbacks,
        )  # fmt: skip
        if told:
            told.context.call_on_fit_task_end(**told.given)
        self.loss_curve_ += self.history_["loss"] if len(self.history_) else []
        self.n_iter_ = len(self.history_)
        self.loss_ = self.loss_curve_[-1]

    def _told(self, X: Array, y: Array, weight: Array | None) -> "Told | None":
        if not hasattr(self, "_init_callback_context"):
            return None
        given = {"estimator": self, "X": X, "y": y, "metadata": None if weight is None else {"sample_weight": weight}}
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(**given)
        return Told(context, given)

    def _optimizer(self) -> optim.Optimizer:
        if callable(self.solver):
            return self.solver(self.model_.parameters())  # type: ignore[no-any-return]
        make = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD}[self.solver]
        options = {"momentum": 0.9, "nesterov": True} if self.solver == "sgd" else {}
        made: optim.Optimizer = make(self.model_.parameters(), lr=self.learning_rate_init, weight_decay=self.alpha, **options)
        return made

    def _check_parameters(self) -> None:
        if not callable(self.solver) and self.solver not in ("adam", "adamw", "sgd"):
            raise ArgumentError(f"solver is {self.solver!r}; it is adam, adamw, sgd or a function of the parameters")
        if self.batch_size != "auto" and not (isinstance(self.batch_size, int | np.integer) and self.batch_size > 0):
            raise ArgumentError(f"batch_size is {self.batch_size!r}; it is auto or a whole number from 1")
        if not (isinstance(self.max_iter, int | np.integer) and self.max_iter > 0):
            raise ArgumentError(f"max_iter is {self.max_iter!r}; it is a whole number from 1")
        if not 0 < self.validation_fraction < 1:
            raise ArgumentError(f"validation_fraction is {self.validation_fraction}; it lies between 0 and 1")

    def _scores(self, X: Any) -> Array:
        sk.check_is_fitted(self)
        X = validated(self, X, reset=False)
        return train.predict(self.model_, X.astype(next(self.model_.parameters()).dtype, copy=False))

    def _class_weight(self, y: Array) -> Any:
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Arrays instead of the network, whose memory is the process's."""
        state: dict[str, Any] = dict(super().__getstate__())
        if "model_" in state:
            model, optimizer = state.pop("model_"), state.pop("optimizer_")
            shape = self.n_features_in_, self._outputs(None), next(model.parameters()).dtype
            state["_stored"] = shape, model.state_dict(), optimizer.state_dict()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        stored = state.pop("_stored", None)
        super().__setstate__(state)
        if stored:
            shape, weights, optimizer = stored
            before = generator().bit_generator.state
            try:
                self.model_ = self._build(*shape).eval()
            finally:
                generator().bit_generator.state = before
            self.model_.load_state_dict(weights)
            self.optimizer_ = self._optimizer()
            self.optimizer_.load_state_dict(optimizer)


def perceptron(estimator: Any, inputs: int, outputs: int, dtype: Any) -> nn.Module:
    hidden = np.atleast_1d(estimator.hidden_layer_sizes)
    return cast(MLP([inputs, *map(int, hidden), outputs], estimator.activation, estimator.dropout), dtype)


def made(module: Any, inputs: int, outputs: int, dtype: Any) -> nn.Module:
    if module is None:
        return cast(MLP([inputs, 100, outputs]), dtype)
    made = module(inputs, outputs)
    if not isinstance(made, nn.Module):
        raise ArgumentError(f"module made {made!r}; it is a function of (inputs, outputs) that makes an nn.Module")
    return cast(made, dtype)


def cast(model: nn.Module, dtype: Any) -> nn.Module:
    """The network with parameters and buffers in the precision of the data."""
    for _, tensor in model._state():
        if tensor.dtype.kind == "f" and tensor.dtype != dtype:
            fresh = tensor.data.astype(dtype)
            tensor.data = Parameter(fresh, order=tensor.order).data if isinstance(tensor, Parameter) else Buffer(fresh).data
    return model
