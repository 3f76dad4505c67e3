"""Networks that tell numbers."""

from collections.abc import Callable, Sequence
from typing import Any

from sklearn.base import RegressorMixin

from .. import nn
from ..kernels import Array
from .contract import keep
from .network import Network, made, perceptron


class NetworkRegressor(RegressorMixin, Network):  # type: ignore[misc]
    """Any network as a regressor: `module(n_features, n_outputs)` makes one whose outputs are (n, n_outputs).

    loss: a function of (predictions, targets, reduction=…), by default the mean squared error: ops.l1_loss, ops.huber_loss, ….
    """

    def __init__(
        self, module: Callable[[int, int], nn.Module] | None = None, *, loss: Any = None, solver: Any = "adam",
        alpha: float = 0.0001, batch_size: Any = "auto", learning_rate_init: float = 0.001, max_iter: int = 200,
        random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False, early_stopping: bool = False,
        validation_fraction: float = 0.1, n_iter_no_change: int = 10, clip_norm: float | None = None, callbacks: Any = None,
    ) -> None:  # fmt: skip
        keep(self, locals())

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
        return made(self.module, inputs, outputs, dtype)

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


class MLPRegressor(NetworkRegressor):
    """Dense layers as a regressor: scikit-learn's, and dropout, the mean absolute and other errors, solvers, callbacks."""

    def __init__(
        self, hidden_layer_sizes: Sequence[int] = (100,), activation: str = "relu", *, dropout: float = 0.0, loss: Any = None,
        solver: Any = "adam", alpha: float = 0.0001, batch_size: Any = "auto", learning_rate_init: float = 0.001,
        max_iter: int = 200, random_state: Any = None, tol: float = 1e-4, verbose: bool = False, warm_start: bool = False,
        early_stopping: bool = False, validation_fraction: float = 0.1, n_iter_no_change: int = 10,
        clip_norm: float | None = None, callbacks: Any = None,
    ) -> None:  # fmt: skip
        keep(self, locals())

    def _build(self, inputs: int, outputs: int, dtype: Any) -> nn.Module:
        return perceptron(self, inputs, outputs, dtype)
