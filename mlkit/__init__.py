"""Neural networks in pure Python on any BLAS, chosen at run time."""

import os
from importlib import import_module
from typing import Any

from . import blas, nn, ops, optim
from .errors import (
    ArgumentError,
    BlasError,
    CaptureError,
    CaptureWarning,
    DataError,
    DtypeError,
    LibraryNotFound,
    MlkitError,
    NonFiniteError,
    PlanError,
    ShapeError,
    ThreadControlError,
)
from .nn.init import manual_seed
from .plan import Plan, capture
from .tensor import Parameter, Tensor, no_grad, tensor

__version__ = "0.1.0"

_LATER = {  # imported when asked for: not every program trains, has files, or scikit-learn
    "MLPClassifier": "estimators",
    "MLPRegressor": "estimators",
    "NetworkClassifier": "estimators",
    "NetworkRegressor": "estimators",
    "fit": "train",
    "load": "io",
    "save": "io",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


if "MLKIT_TRACE" in os.environ:  # `mlkit trace` wants to know what this program multiplies
    import_module(f"{__name__}.bench.tracer").start()

# the estimators are not among these: `from mlkit import *` does not ask for scikit-learn
__all__ = [
    "ArgumentError",
    "BlasError",
    "CaptureError",
    "CaptureWarning",
    "DataError",
    "DtypeError",
    "LibraryNotFound",
    "MlkitError",
    "NonFiniteError",
    "Parameter",
    "Plan",
    "PlanError",
    "ShapeError",
    "Tensor",
    "ThreadControlError",
    "blas",
    "capture",
    "fit",
    "load",
    "manual_seed",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "save",
    "tensor",
]
