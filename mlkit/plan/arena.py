"""Where each buffer of a plan lies: buffers that are alive together never overlap, others share memory."""

from collections.abc import Sequence

import numpy as np

from ..kernels import ALIGNMENT, Array


def layout(sizes: Sequence[int], born: Sequence[int], died: Sequence[int]) -> tuple[list[int], int]:
    """Offset of each buffer and the size of the whole: first fit, the largest buffers first.

    A buffer is alive from the call number `born` up to, not including, the call number `died`.
    """
    count, total = len(sizes), 0
    offsets = [0] * count
    placed = np.zeros((4, count), np.int64)  # start, stop, born, died of the buffers placed so far
    order = sorted(range(count), key=lambda n: (-sizes[n], born[n]))
    for place, n in enumerate(order):
        need = -(-sizes[n] // ALIGNMENT) * ALIGNMENT
        starts, stops, births, deaths = placed[:, :place]
        alive = (births < died[n]) & (born[n] < deaths)
        offsets[n] = _first_fit(starts[alive], stops[alive], need)
        placed[:, place] = offsets[n], offsets[n] + need, born[n], died[n]
        total = max(total, offsets[n] + need)
    return offsets, total


def _first_fit(starts: Array, stops: Array, need: int) -> int:
    """The lowest offset at which `need` bytes overlap none of the intervals."""
    if not starts.size:
        return 0
    order = np.argsort(starts)
    edges = np.concatenate([[0], np.maximum.accumulate(stops[order])])  # a gap begins where all before have stopped
    gaps = np.append(starts[order], np.iinfo(np.int64).max) - edges
    return int(edges[np.argmax(gaps >= need)])
