"""Parts of one batch, side by side: what they must know of each other to be the whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from .call import Bound, call, composite, empty, kernel
from .memory import Array

Exchange = Callable[[Array], None]  # makes an array the sum of those that all parts have in its place

_share: ContextVar[float] = ContextVar("mlkit_share", default=1.0)
_exchange: ContextVar[Exchange | None] = ContextVar("mlkit_exchange", default=None)


@contextmanager
def part_of_batch(share: float, exchange: Exchange | None = None) -> Iterator[None]:
    """What is called in this block is called for a part of a batch, with that share of its elements."""
    tokens = _share.set(share), _exchange.set(exchange)
    try:
        yield
    finally:
        _share.reset(tokens[0])
        _exchange.reset(tokens[1])


def whole_batch(size: int) -> int:
    """How many elements the whole batch has, if there are `size` here."""
    return round(size / _share.get())


def over_batch(a: Array) -> Array:
    """The sum of `a` over all parts of the batch; itself, if this is the whole."""
    return a if _share.get() == 1.0 else call(summed_over_parts, a, empty(a.shape, a.dtype))


@kernel
def summed_over_parts(a: Array, out: Array) -> None:
    np.copyto(out, a)
    exchange = _exchange.get()
    if exchange is not None:  # else this part is seen alone, to be captured
        exchange(out)


@kernel
def counted(out: Array) -> None:
    """One more batch."""
    np.add(out, 1, out=out)


@composite
def followed(now: Array, momentum: Array, running: Array) -> Iterator[Bound]:
    """`running += momentum * (now - running)`, of numbers that all parts of a batch have alike."""
    step = np.empty_like(running)
    yield np.subtract, (now, running, step)
    yield np.multiply, (step, momentum, step)
    yield np.add, (running, step, running)


ALIKE = counted, followed  # what writes the same state in each part
