"""Rows of a table by their numbers."""

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, DataError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive

Primitive = tuple[Array, Backward]


@primitive
def embedding(indices: Array, weight: Array, padding_idx: int | None = None) -> Primitive:
    """`weight[indices]`: (…) integers, (count, width) -> (…, width). The row `padding_idx` gets no gradient.

    A number outside 0 … count - 1 is a DataError.
    """
    if weight.ndim != 2 or indices.dtype.kind not in "iu":
        raise ShapeError(
            f"embedding: {indices.dtype} {indices.shape} of a table {weight.shape}: it takes integers and (count, width)"
        )
    if padding_idx is not None and not 0 <= padding_idx < len(weight):
        raise ArgumentError(f"embedding: padding_idx {padding_idx} is outside 0 … {len(weight) - 1}")
    y = k.call(rows_taken, weight, indices, k.empty((*indices.shape, weight.shape[1]), weight.dtype))

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        def dweight(out: Array | None) -> Array:
            out = k.empty(weight.shape, weight.dtype) if out is None else out
            return k.call(rows_added, indices, dy, padding_idx, out)

        return None, dweight

    return y, backward


@k.kernel
def rows_taken(table: Array, indices: Array, out: Array) -> None:
    """The rows of these numbers; they are checked at every call, in a plan too."""
    if indices.size and (indices.max() >= len(table) or indices.min() < 0):
        raise DataError(f"a number is outside 0 … {len(table) - 1}: they go from {indices.min()} to {indices.max()}")
    np.take(table, indices, axis=0, out=out, mode="clip")


@k.kernel
def rows_added(indices: Array, values: Array, but: int | None, out: Array) -> None:
    """`out[i] = ` the sum of the values whose number is i: a product with a sparse matrix, SciPy's."""
    from scipy.sparse import csr_matrix  # it takes longer to import than all of mlkit

    flat = indices.reshape(-1)
    ones = np.ones(flat.size, out.dtype)
    chosen = csr_matrix((ones, flat, np.arange(flat.size + 1)), (flat.size, len(out)))
    out[...] = chosen.T * values.reshape(flat.size, -1)
    if but is not None:
        out[but] = 0
