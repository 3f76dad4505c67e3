"""Networks that tell classes apart."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from .. import nn
from ..kernels import Array
from .contract import keep
from .network import Network, made, perceptron


class NetworkClassifier(ClassifierMixin, Network):  # type: ignore[misc]
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
        keep(self, locals())

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
        return made(self.module, inputs, outputs, dtype)

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


class MLPClassifier(NetworkClassifier):
    """Dense layers as a classifier: scikit-learn's, and dropout, weights of classes, other losses, solvers, callbacks."""

    def __init__(
        self, hidden_layer_sizes: Sequence[int] = (100,), activation: str = "relu", *, dropout: float = 0.0, loss: Any = None,
        solver: Any = "adam", alpha: float = 0.0001, batch_size: Any = "auto", learning_rate_init: float = 0.001,
        max_iter: int = 200, random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False,
        early_stopping: bool = False, validation_fraction: float = 0.1, n_iter_no_change: int = 10, class_weight: Any = None,
        clip_norm: float | None = None, callbacks: Any = None,
    ) -> None:  # fmt: skip
        keep(self, locals())

    def _build(self, inputs: int, outputs: int, dtype: Any) -> nn.Module:
        return perceptron(self, inputs, outputs, dtype)
