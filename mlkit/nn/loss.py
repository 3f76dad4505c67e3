"""Losses as modules."""

from typing import Any

import numpy as np

from .. import kernels as k
from .. import ops
from ..tensor import Buffer
from .module import Module


class _Loss(Module):
    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = reduction


class L1Loss(_Loss):
    """Mean absolute error."""

    def forward(self, x: Any, target: Any) -> Any:
        return ops.l1_loss(x, target, reduction=self.reduction)


class MSELoss(_Loss):
    """Mean squared error."""

    def forward(self, x: Any, target: Any) -> Any:
        return ops.mse_loss(x, target, reduction=self.reduction)


class HuberLoss(_Loss):
    """Squared near 0, absolute beyond `delta`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, x: Any, target: Any) -> Any:
        return ops.huber_loss(x, target, reduction=self.reduction, delta=self.delta)


class BCELoss(_Loss):
    """Binary cross-entropy of probabilities."""

    def forward(self, x: Any, target: Any) -> Any:
        return ops.binary_cross_entropy(x, target, reduction=self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits."""

    def forward(self, x: Any, target: Any) -> Any:
        return ops.binary_cross_entropy_with_logits(x, target, reduction=self.reduction)


class CrossEntropyLoss(_Loss):
    """Categorical cross-entropy of logits; `weight` is what each class counts. See `ops.cross_entropy`."""

    def __init__(
        self, weight: Any = None, ignore_index: int | None = None, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index, self.label_smoothing = _class_weights(weight), ignore_index, label_smoothing

    def forward(self, x: Any, target: Any) -> Any:
        return ops.cross_entropy(
            x, target, reduction=self.reduction, weight=self.weight, ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip


class NLLLoss(_Loss):
    """Minus the log-probability of the target; `weight` is what each class counts."""

    def __init__(self, weight: Any = None, ignore_index: int | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight, self.ignore_index = _class_weights(weight), ignore_index

    def forward(self, x: Any, target: Any) -> Any:
        return ops.nll_loss(x, target, reduction=self.reduction, weight=self.weight, ignore_index=self.ignore_index)


class SmoothL1Loss(_Loss):
    """Squared below `beta`, absolute beyond it."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, x: Any, target: Any) -> Any:
        return ops.smooth_l1_loss(x, target, reduction=self.reduction, beta=self.beta)


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence of log-probabilities from a target distribution."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction)
        self.log_target = log_target

    def forward(self, x: Any, target: Any) -> Any:
        return ops.kl_div(x, target, reduction=self.reduction, log_target=self.log_target)


class HingeEmbeddingLoss(_Loss):
    """Distances to be small for targets of 1, above `margin` for targets of -1."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.margin = margin

    def forward(self, x: Any, target: Any) -> Any:
        return ops.hinge_embedding_loss(x, target, reduction=self.reduction, margin=self.margin)


class CTCLoss(_Loss):
    """Connectionist temporal classification: series of log-probabilities against unaligned targets."""

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__(reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        return ops.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, blank=self.blank, reduction=self.reduction,
            zero_infinity=self.zero_infinity,
        )  # fmt: skip


def _class_weights(weight: Any) -> Buffer | None:
    return None if weight is None else Buffer(np.array(weight.data if isinstance(weight, k.Value) else weight))
