"""Activations as modules; one with a name in `fused` can be applied by the layer before it."""

from typing import Any

from .. import ops
from .module import Module


class ReLU(Module):
    """`max(x, 0)`"""

    fused = "relu"

    def forward(self, x: Any) -> Any:
        return ops.relu(x)


class Sigmoid(Module):
    """`1 / (1 + exp(-x))`"""

    fused = "sigmoid"

    def forward(self, x: Any) -> Any:
        return ops.sigmoid(x)


class Hardsigmoid(Module):
    """`min(max(x / 6 + 1/2, 0), 1)`"""

    fused = "hardsigmoid"

    def forward(self, x: Any) -> Any:
        return ops.hardsigmoid(x)


class Tanh(Module):
    """Hyperbolic tangent."""

    fused = "tanh"

    def forward(self, x: Any) -> Any:
        return ops.tanh(x)


class Softmax(Module):
    """Probabilities over the axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return ops.softmax(x, axis=self.dim)


class LogSoftmax(Module):
    """Logarithms of probabilities over the axis `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return ops.log_softmax(x, axis=self.dim)


class LeakyReLU(Module):
    """`x` if it is above 0, else `negative_slope * x`"""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return ops.leaky_relu(x, negative_slope=self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """`x` if it is above 0, else `alpha * (exp(x) - 1)`"""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return ops.elu(x, alpha=self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Module):
    """`x * Φ(x)`, Φ the normal distribution function, or its approximation by tanh"""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate
        self.fused = "gelu_tanh" if approximate == "tanh" else "gelu"

    def forward(self, x: Any) -> Any:
        return ops.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """`x * sigmoid(x)`"""

    fused = "silu"

    def forward(self, x: Any) -> Any:
        return ops.silu(x)


class Mish(Module):
    """`x * tanh(softplus(x))`"""

    fused = "mish"

    def forward(self, x: Any) -> Any:
        return ops.mish(x)


class Softplus(Module):
    """`log(1 + exp(beta * x)) / beta`"""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Any:
        return ops.softplus(x, beta=self.beta, threshold=self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"
