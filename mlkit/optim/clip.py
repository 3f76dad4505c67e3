"""Gradients that are too large, made smaller."""

from collections.abc import Iterable, Iterator

from .. import kernels as k
from ..blas import dot
from ..errors import ArgumentError
from ..kernels import Array
from ..tensor import Parameter, Tensor
from . import flat


def clip_grad_norm_(parameters: Iterable[Parameter], max_norm: float) -> Tensor:
    """Scale all gradients so that their norm, taken together, is at most `max_norm`; returns the norm that they had.

    The factor is `min(1, max_norm / (norm + 1e-6))` (Pascanu et al. 2013), as in PyTorch.
    """
    if not max_norm > 0:
        raise ArgumentError(f"clip_grad_norm_: max_norm is {max_norm}; it must be above 0")
    gradients = list(_gradients(parameters))
    if not gradients:
        raise ArgumentError("clip_grad_norm_: no parameter has a gradient")
    dtype = gradients[0].dtype
    total = k.fill(0, k.empty((), dtype))
    for gradient in gradients:
        k.add(total, dot(gradient, gradient), out=total)
    norm = k.sqrt(total)
    factor = k.divide(k.scalar(max_norm, dtype), k.add(norm, k.scalar(1e-6, dtype)))
    factor = k.at_most(1.0, factor, out=factor)
    for gradient in gradients:
        k.multiply(gradient, factor, out=gradient)
    return Tensor(norm)


def clip_grad_value_(parameters: Iterable[Parameter], clip_value: float) -> None:
    """Cut every number of the gradients to -clip_value … clip_value."""
    if not clip_value >= 0:
        raise ArgumentError(f"clip_grad_value_: clip_value is {clip_value}; it must be from 0")
    for gradient in _gradients(parameters):
        k.at_most(float(clip_value), k.at_least(-float(clip_value), gradient, out=gradient), out=gradient)


def _gradients(parameters: Iterable[Parameter]) -> Iterator[Array]:
    """The gradients that there are, as few vectors as possible."""
    present = [p for p in parameters if not p.fresh and p._gradient is not None]
    for store, part in flat.runs(p for p in present if p.place is not None):
        yield store.gradient[part]
    for p in present:
        if p.place is None and p._gradient is not None:
            yield p.flat(p._gradient)
