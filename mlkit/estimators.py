"""scikit-learn's estimators around mlkit's networks: `MLPClassifier`, `MLPRegressor`, `NetworkClassifier`, `NetworkRegressor`.

Parameters have scikit-learn's names where it has them. Beyond its perceptrons there are dropout, weights of classes, any loss
and optimizer, a validation set of one's own, callbacks – and the BLAS that is in force.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import nn, optim, train
from .errors import ArgumentError
from .kernels import Array
from .models import MLP
from .nn.init import generator, manual_seed
from .tensor import Buffer, Parameter

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils import validation as sk
    from sklearn.utils.class_weight import compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
except ImportError as error:
    raise ArgumentError("estimators need scikit-learn: apt install python3-sklearn, or pip install scikit-learn") from error

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """There are no callbacks to support."""

    def with_callbacks(method: Any) -> Any:
        """Nothing to take down."""
        return method


class _Told(train.Callback):
    """Tells scikit-learn's callbacks of each epoch, and ends the training if one asks for that."""

    last = True

    def __init__(self, context: Any, given: dict[str, Any]) -> None:
        self.context, self.given = context, given

    def begin(self, run: train.Run) -> None:
        self.task = self.context.subcontext(task_name="epoch").call_on_fit_task_begin(**self.given)

    def epoch(self, run: train.Run) -> None:
        if self.task.call_on_fit_task_end(**self.given, reconstruction_attributes={"n_iter_": run.epoch}):
            run.stop("a callback asked for it")
        if run.epoch < run.epochs and not run.history.stopped:
            self.begin(run)


class _Network(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]
    """What classifiers and regressors share: the training, and the network that comes of it."""

    @with_callbacks  # type: ignore[untyped-decorator,unused-ignore]
    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation: tuple[Any, Any] | None = None) -> "_Network":
        """Train from the start, or with warm_start on from where it was; `validation` is (X, y) for early stopping."""
        return self._fitted(X, y, sample_weight, validation, anew=not (self.warm_start and hasattr(self, "model_")))

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> "_Network":
        """One pass over X; `classes`, all that will come, at the first call of a classifier."""
        anew = not hasattr(self, "model_")
        return self._fitted(X, y, sample_weight, None, anew, epochs=1, classes=classes)

    def _fitted(
        self, X: Any, y: Any, sample_weight: Any, validation: Any, anew: bool, epochs: int | None = None, classes: Any = None
    ) -> "_Network":
        self._check_parameters()
        X, y = _validated(
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
                self.t_ = 0
            self._train(X, targets, weight, y, validation, self.max_iter if epochs is None else epochs, told)
        finally:
            generator().bit_generator.state = before
        return self

    def _train(self, X: Array, targets: Array, weight: Array | None, y: Array, validation: Any, epochs: int, told: Any) -> None:
        rng = np.random.default_rng(self._seed)
        rows: tuple[Any, ...] = (X, targets) if weight is None else (X, targets, weight)
        held: Any = None
        if validation is not None:
            held_x, held_y = _validated(self, *validation, reset=False, multi_output=targets.ndim > 1, y_numeric=False)
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
        self.t_ += len(rows[0]) * len(self.history_)
        self.loss_ = self.loss_curve_[-1]

    def _told(self, X: Array, y: Array, weight: Array | None) -> "_Told | None":
        if not hasattr(self, "_init_callback_context"):
            return None
        given = {"estimator": self, "X": X, "y": y, "metadata": None if weight is None else {"sample_weight": weight}}
        context = self._init_callback_context(max_subtasks=self.max_iter)
        context.call_on_fit_task_begin(**given)
        return _Told(context, given)

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
        X = _validated(self, X, reset=False)
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


class NetworkClassifier(ClassifierMixin, _Network):  # type: ignore[misc]
    """Any network as a classifier: `module(n_features, n_classes)` makes one whose outputs are logits, (n, classes).

    loss: a function of (logits, class numbers, reduction=…), by default the cross-entropy. class_weight: None, "balanced", or
    a number for each class by its label.
    """

    def __init__(
        self, module: Callable[[int, int], nn.Module] | None = None, *, loss: Any = None, solver: Any = "adam",
        alpha: float = 0.0001, batch_size: Any = "auto", learning_rate_init: float = 0.001, max_iter: int = 200,
        random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False, early_stopping: bool = False,
        validation_fraction: float = 0.1, n_iter_no_change: int = 10, class_weight: Any = None, clip_norm: float | None = None,
        callbacks: Any = None,
    ) -> None:  # fmt: skip
        _keep(self, locals())

    def predict(self, X: Any) -> Array:
        """(n,) the likeliest class of each row."""
        scores = self._scores(X)
        found: Array = self.classes_[scores.argmax(1)]
        return found

    def predict_proba(self, X: Any) -> Array:
        """(n, classes) probabilities."""
        scores = self._scores(X)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        found: Array = shares / shares.sum(1, keepdims=True)
        return found

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`."""
        found: Array = np.log(self.predict_proba(X))
        return found

    def _build(self, inputs: int, outputs: int, dtype: Any) -> nn.Module:
        return _made(self.module, inputs, outputs, dtype)

    def _loss(self) -> Any:
        return self.loss

    def _outputs(self, targets: Any) -> int:
        return len(self.classes_)

    def _targets(self, y: Array, dtype: Any, anew: bool, classes: Any) -> Array:
        check_classification_targets(y)
        if anew:
            self.classes_ = np.unique(y if classes is None else classes)
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise ValueError(f"y has the classes {unknown}, which are not among {self.classes_}")
        return np.searchsorted(self.classes_, y).astype(np.int64)

    def _class_weight(self, y: Array) -> Any:
        if self.class_weight is None:
            return None
        present = np.unique(y)
        weights = np.ones(len(self.classes_))
        given = (
            {k: v for k, v in self.class_weight.items() if k in present}
            if isinstance(self.class_weight, dict)
            else self.class_weight
        )
        weights[np.searchsorted(self.classes_, present)] = compute_class_weight(given, classes=present, y=y)
        return weights


class NetworkRegressor(RegressorMixin, _Network):  # type: ignore[misc]
    """Any network as a regressor: `module(n_features, n_outputs)` makes one whose outputs are (n, n_outputs).

    loss: a function of (predictions, targets, reduction=…), by default the mean squared error: ops.l1_loss, ops.huber_loss, ….
    """

    def __init__(
        self, module: Callable[[int, int], nn.Module] | None = None, *, loss: Any = None, solver: Any = "adam",
        alpha: float = 0.0001, batch_size: Any = "auto", learning_rate_init: float = 0.001, max_iter: int = 200,
        random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False, early_stopping: bool = False,
        validation_fraction: float = 0.1, n_iter_no_change: int = 10, clip_norm: float | None = None, callbacks: Any = None,
    ) -> None:  # fmt: skip
        _keep(self, locals())

    def predict(self, X: Any) -> Array:
        """(n,) or (n, outputs), as y was."""
        found = self._scores(X)
        return found[:, 0] if self._flat else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _more_tags(self) -> dict[str, bool]:  # scikit-learn before 1.6
        return {"multioutput": True}

    def _build(self, inputs: int, outputs: int, dtype: Any) -> nn.Module:
        return _made(self.module, inputs, outputs, dtype)

    def _loss(self) -> Any:
        return self.loss

    def _outputs(self, targets: Any) -> int:
        if targets is not None:
            self.n_outputs_ = targets.shape[1]
        return int(self.n_outputs_)

    def _targets(self, y: Array, dtype: Any, anew: bool, classes: Any) -> Array:
        if anew:
            self._flat = y.ndim == 1
        return y.reshape(len(y), -1).astype(dtype)


class MLPClassifier(NetworkClassifier):
    """Dense layers as a classifier: scikit-learn's, and dropout, weights of classes, other losses, solvers, callbacks."""

    def __init__(
        self, hidden_layer_sizes: Sequence[int] = (100,), activation: str = "relu", *, dropout: float = 0.0, loss: Any = None,
        solver: Any = "adam", alpha: float = 0.0001, batch_size: Any = "auto", learning_rate_init: float = 0.001,
        max_iter: int = 200, random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False,
        early_stopping: bool = False, validation_fraction: float = 0.1, n_iter_no_change: int = 10, class_weight: Any = None,
        clip_norm: float | None = None, callbacks: Any = None,
    ) -> None:  # fmt: skip
        _keep(self, locals())

    def _build(self, inputs: int, outputs: int, dtype: Any) -> nn.Module:
        return _perceptron(self, inputs, outputs, dtype)


class MLPRegressor(NetworkRegressor):
    """Dense layers as a regressor: scikit-learn's, and dropout, the mean absolute and other errors, solvers, callbacks."""

    def __init__(
        self, hidden_layer_sizes: Sequence[int] = (100,), activation: str = "relu", *, dropout: float = 0.0, loss: Any = None,
        solver: Any = "adam", alpha: float = 0.0001, batch_size: Any = "auto", learning_rate_init: float = 0.001,
        max_iter: int = 200, random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False,
        early_stopping: bool = False, validation_fraction: float = 0.1, n_iter_no_change: int = 10,
        clip_norm: float | None = None, callbacks: Any = None,
    ) -> None:  # fmt: skip
        _keep(self, locals())

    def _build(self, inputs: int, outputs: int, dtype: Any) -> nn.Module:
        return _perceptron(self, inputs, outputs, dtype)


def _keep(estimator: Any, values: dict[str, Any]) -> None:
    """Parameters are attributes, as they were given: scikit-learn's `clone` asks for that."""
    for name, value in values.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def _perceptron(estimator: Any, inputs: int, outputs: int, dtype: Any) -> nn.Module:
    hidden = np.atleast_1d(estimator.hidden_layer_sizes)
    return _cast(MLP([inputs, *map(int, hidden), outputs], estimator.activation, estimator.dropout), dtype)


def _made(module: Any, inputs: int, outputs: int, dtype: Any) -> nn.Module:
    if module is None:
        return _cast(MLP([inputs, 100, outputs]), dtype)
    made = module(inputs, outputs)
    if not isinstance(made, nn.Module):
        raise ArgumentError(f"module made {made!r}; it is a function of (inputs, outputs) that makes an nn.Module")
    return _cast(made, dtype)


def _cast(model: nn.Module, dtype: Any) -> nn.Module:
    """The network with parameters and buffers in the precision of the data."""
    for _, tensor in model._state():
        if tensor.dtype.kind == "f" and tensor.dtype != dtype:
            fresh = tensor.data.astype(dtype)
            tensor.data = Parameter(fresh, order=tensor.order).data if isinstance(tensor, Parameter) else Buffer(fresh).data
    return model


def _validated(estimator: Any, *given: Any, **options: Any) -> Any:
    """scikit-learn's checks of X, or X and y: shape, numbers, names of features; float32 and float64 stay what they are."""
    options = {"dtype": (np.float32, np.float64), "order": "C", **options}
    if hasattr(sk, "validate_data"):
        return sk.validate_data(estimator, *given, **options)
    return estimator._validate_data(*given, **options)  # scikit-learn before 1.6
