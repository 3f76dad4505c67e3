"""Tensor's operators and methods: each is the primitive of the same name."""

from typing import Any

from ..tensor import Tensor
from . import activation, arithmetic, reduce, shape


def _reshape(self: Tensor, *sizes: Any) -> Any:
    """The elements in another shape: `x.reshape(2, -1)` or `x.reshape((2, -1))`."""
    return shape.reshape(self, *(sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes))


def _flatten(self: Tensor, start: int = 0) -> Any:
    """The axes from `start` on as one."""
    return shape.reshape(self, *self.shape[:start], -1)


_methods: dict[str, Any] = {
    "__add__": arithmetic.add,
    "__radd__": lambda self, other: arithmetic.add(other, self),
    "__sub__": arithmetic.subtract,
    "__rsub__": lambda self, other: arithmetic.subtract(other, self),
    "__mul__": arithmetic.multiply,
    "__rmul__": lambda self, other: arithmetic.multiply(other, self),
    "__truediv__": arithmetic.divide,
    "__rtruediv__": lambda self, other: arithmetic.divide(other, self),
    "__pow__": arithmetic.power,
    "__matmul__": arithmetic.matmul,
    "__rmatmul__": lambda self, other: arithmetic.matmul(other, self),
    "__neg__": arithmetic.negative,
    "__abs__": arithmetic.absolute,
    "__getitem__": shape.getitem,
    "exp": arithmetic.exp,
    "log": arithmetic.log,
    "sqrt": arithmetic.sqrt,
    "abs": arithmetic.absolute,
    "matmul": arithmetic.matmul,
    "sum": reduce.sum,
    "mean": reduce.mean,
    "max": reduce.max,
    "min": reduce.min,
    "relu": activation.relu,
    "sigmoid": activation.sigmoid,
    "tanh": activation.tanh,
    "softmax": activation.softmax,
    "log_softmax": activation.log_softmax,
    "reshape": _reshape,
    "view": _reshape,
    "flatten": _flatten,
    "permute": shape.permute,
    "transpose": shape.transpose,
    "T": property(shape.permute),
}

for _name, _method in _methods.items():
    setattr(Tensor, _name, _method)
