"""First values of parameters. Each function fills a parameter in place and returns it; the generator may be explicit.

Sources: Glorot & Bengio 2010 (xavier), He et al. 2015 (kaiming); names and defaults are PyTorch's.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from .. import blas
from ..errors import ArgumentError, ShapeError
from ..tensor import Parameter

if TYPE_CHECKING:
    from numpy.random import Generator

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}

_generator: "Generator | None" = None


def manual_seed(seed: int | None) -> None:
    """Start the generator that serves wherever none is given from `seed`: the same seed, the same first values.

    None starts it from the system's entropy, as it is at first. It stays one object: captured plans that draw from it
    draw from where it now stands.
    """
    global _generator
    fresh = np.random.default_rng(seed)
    if _generator is None:
        _generator = fresh
    else:
        _generator.bit_generator.state = fresh.bit_generator.state


def generator(rng: "Generator | None" = None) -> "Generator":
    """`rng`, or the one that `manual_seed` started."""
    if rng is not None:
        return rng
    if _generator is None:
        manual_seed(None)
    assert _generator is not None
    return _generator


def uniform_(p: Parameter, low: float = 0.0, high: float = 1.0, rng: "Generator | None" = None) -> Parameter:
    """Uniform between `low` and `high`."""
    p.data[...] = generator(rng).uniform(low, high, p.shape)
    return p


def normal_(p: Parameter, mean: float = 0.0, std: float = 1.0, rng: "Generator | None" = None) -> Parameter:
    """Normal with that mean and standard deviation."""
    p.data[...] = generator(rng).normal(mean, std, p.shape)
    return p


def constant_(p: Parameter, value: float) -> Parameter:
    """One number everywhere."""
    p.data[...] = value
    return p


def zeros_(p: Parameter) -> Parameter:
    return constant_(p, 0.0)


def ones_(p: Parameter) -> Parameter:
    return constant_(p, 1.0)


def xavier_uniform_(p: Parameter, gain: float = 1.0, rng: "Generator | None" = None) -> Parameter:
    """Uniform, variance `gain² · 2 / (fan_in + fan_out)`"""
    bound = gain * math.sqrt(6 / sum(fans(p)))
    return uniform_(p, -bound, bound, rng)


def xavier_normal_(p: Parameter, gain: float = 1.0, rng: "Generator | None" = None) -> Parameter:
    """Normal, variance `gain² · 2 / (fan_in + fan_out)`"""
    return normal_(p, 0.0, gain * math.sqrt(2 / sum(fans(p))), rng)


def kaiming_uniform_(
    p: Parameter, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: "Generator | None" = None
) -> Parameter:
    """Uniform, variance `gain² / fan`; `a` is the negative slope of leaky_relu"""
    bound = math.sqrt(3) * _kaiming_std(p, a, mode, nonlinearity)
    return uniform_(p, -bound, bound, rng)


def kaiming_normal_(
    p: Parameter, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: "Generator | None" = None
) -> Parameter:
    """Normal, variance `gain² / fan`; `a` is the negative slope of leaky_relu"""
    return normal_(p, 0.0, _kaiming_std(p, a, mode, nonlinearity), rng)


def orthogonal_(p: Parameter, gain: float = 1.0, rng: "Generator | None" = None) -> Parameter:
    """`gain` × a matrix, (out, the rest), whose rows or columns, whichever are fewer, are orthonormal. Routine: ?geqrf.

    The signs make every such matrix as likely as any other. Source: Saxe et al. 2014.
    """
    rows, columns = p.shape[0], math.prod(p.shape[1:])
    if p.ndim < 2:
        raise ShapeError(f"orthogonal_ of shape {p.shape}: it takes at least two axes")
    drawn = generator(rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = blas.lapack.qr(drawn)
    q *= np.sign(np.diag(r))
    p.data[...] = gain * (q if rows >= columns else q.T).reshape(p.shape)
    return p


def fans(p: Parameter) -> tuple[int, int]:
    """(inputs of one output, outputs of one input) of a weight (out, in, …)."""
    if p.ndim < 2 or 0 in p.shape:
        raise ShapeError(f"fans of shape {p.shape}: a weight has at least two axes, (out, in, …), none empty")
    field = math.prod(p.shape[2:])
    return p.shape[1] * field, p.shape[0] * field


def _kaiming_std(p: Parameter, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"mode {mode!r} is neither fan_in nor fan_out")
    if nonlinearity != "leaky_relu" and nonlinearity not in GAINS:
        raise ArgumentError(f"nonlinearity {nonlinearity!r} is none of leaky_relu, {', '.join(GAINS)}")
    gain = math.sqrt(2 / (1 + a * a)) if nonlinearity == "leaky_relu" else GAINS[nonlinearity]
    return gain / math.sqrt(fans(p)[mode == "fan_out"])
