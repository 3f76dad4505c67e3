"""What scikit-learn expects of an estimator, in the versions from 1.2 on that Debian and PyPI have."""

from typing import Any

import numpy as np

from .. import train
from ..errors import ArgumentError

try:
    from sklearn.base import BaseEstimator
    from sklearn.utils import validation as sk
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


__all__ = ["BaseEstimator", "CallbackSupportMixin", "Told", "keep", "sk", "validated", "with_callbacks"]


class Told(train.Callback):
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


def keep(estimator: Any, values: dict[str, Any]) -> None:
    """Parameters are attributes, as they were given: scikit-learn's `clone` asks for that."""
    for name, value in values.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def validated(estimator: Any, *given: Any, **options: Any) -> Any:
    """scikit-learn's checks of X, or X and y: shape, numbers, names of features; float32 and float64 stay what they are."""
    options = {"dtype": (np.float32, np.float64), "order": "C", **options}
    if hasattr(sk, "validate_data"):
        return sk.validate_data(estimator, *given, **options)
    return estimator._validate_data(*given, **options)  # scikit-learn before 1.6
