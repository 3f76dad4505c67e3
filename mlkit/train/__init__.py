"""Training: the loop, what happens beside it, how good the result is."""

from . import metric
from .callback import Callback, CSVLog, EarlyStopping, JSONLog, ShowProgress, Statistics, TensorBoard
from .fit import Run, evaluate, find_lr, fit, predict
from .history import History
from .step import Step

__all__ = [
    "CSVLog",
    "Callback",
    "EarlyStopping",
    "History",
    "JSONLog",
    "Run",
    "ShowProgress",
    "Statistics",
    "Step",
    "TensorBoard",
    "evaluate",
    "find_lr",
    "fit",
    "metric",
    "predict",
]
