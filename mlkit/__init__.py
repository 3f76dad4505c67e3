"""Neural networks in pure Python on any BLAS, chosen at run time."""

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
    "manual_seed",
    "nn",
    "no_grad",
    "ops",
    "optim",
    "tensor",
]
