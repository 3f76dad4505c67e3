"""Several convolutions as one, each with a share of the channels."""

from collections.abc import Callable
from typing import Any

from ... import kernels as k
from ...kernels import Array

Gradients = Callable[[Array], Any]  # of the output -> makers of the gradients of input, weight and bias


def side_by_side(
    parts: list[tuple[Array, Gradients]], weight: Array, rows: list[slice], ins: list[slice], outs: list[slice]
) -> tuple[Array, Gradients]:
    """The convolutions of all groups as one; the first axis of the weight is cut into `rows`."""
    y = _joined([value for value, _ in parts], outs)

    def gradients(dy: Array):  # type: ignore[no-untyped-def]
        found = [part(dy[..., o]) for (_, part), o in zip(parts, outs)]

        def dweight(out: Array | None) -> Array:
            total = k.empty(weight.shape, weight.dtype) if out is None else out
            for (_, part, _), row in zip(found, rows):
                k.copy(part(None), out=total[row])
            return total

        def dbias(out: Array | None) -> Array:
            total = k.empty((outs[-1].stop,), weight.dtype) if out is None else out
            for (_, _, part), o in zip(found, outs):
                part(total[o])
            return total

        return lambda onto: None if onto is not None else _joined([part(None) for part, _, _ in found], ins), dweight, dbias

    return y, gradients


def _joined(parts: list[Array], places: list[slice]) -> Array:
    """Images side by side along their channels."""
    shape = *parts[0].shape[:3], places[-1].stop
    whole = k.empty(shape, parts[0].dtype)
    for part, place in zip(parts, places):
        k.copy(part, out=whole[..., place])
    return whole
