"""Numbers left out, or drawn, at random."""

from typing import Any

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError
from ..kernels import Array
from ..tensor import Backward, primitive

Primitive = tuple[Array, Backward]


@primitive
def dropout(x: Array, p: float = 0.5, rng: Any = None) -> Primitive:
    """Each number 0 with probability `p`, else multiplied by 1 / (1 - p) (Srivastava et al. 2014). `rng` is a Generator."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout: p is {p}; it is a probability")
    if p == 0:
        return x, lambda dy: (lambda out: k.into(out, dy),)
    _check(rng)
    kept = k.call(chances, p, rng, k.like(x))
    y = k.multiply(x, kept)
    return y, lambda dy: (lambda out: k.multiply(dy, kept, out=out),)


@k.kernel
def chances(p: float, rng: Any, out: Array) -> None:
    """0 with probability `p`, else 1 / (1 - p); new ones at every call."""
    flat = out.transpose(k.memory_order(out)).reshape(-1)
    rng.random(out=flat, dtype=flat.dtype)
    np.greater_equal(flat, p, out=flat, casting="unsafe")
    np.multiply(flat, 1 / (1 - p) if p < 1 else 0, out=flat)


def normal_like(x: Any, rng: Any) -> Array:
    """Numbers drawn from the standard normal distribution by the Generator `rng`, in the shape of `x`."""
    _check(rng)
    array = x.data if isinstance(x, k.Value) else x
    return k.call(normal_draws, rng, k.empty(array.shape, array.dtype))


@k.kernel
def normal_draws(rng: Any, out: Array) -> None:
    """New ones at every call."""
    rng.standard_normal(out=out, dtype=out.dtype)


def _check(rng: Any) -> None:
    if not isinstance(rng, np.random.Generator):
        raise ArgumentError(f"rng is {rng!r}; it takes a numpy.random.Generator, as np.random.default_rng(seed) makes one")
