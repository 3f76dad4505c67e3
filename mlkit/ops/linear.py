"""The dense layer: a product, a bias, an activation."""

from .. import kernels as k
from ..blas import current, gemm, gemv
from ..errors import ArgumentError, DtypeError, ShapeError
from ..kernels import Array
from ..tensor import Backward, gradients_wanted, primitive
from .activation import BLOCK, FUSED, SLOPED

MANY = 2048  # rows from which it pays to copy a weight that lies by columns: products with it are a tenth slower (OpenBLAS)


@primitive
def linear(x: Array, weight: Array, bias: Array | None = None, activation: str | None = None) -> tuple[Array, Backward]:
    """`activation(x @ weight.T + bias)`: (…, in), (out, in), (out,) -> (…, out); activation is a name in FUSED or SLOPED."""
    _check(x, weight, bias, activation)
    rows = x if x.ndim == 2 else _rows(x)
    sloped = SLOPED.get(activation) if activation else None
    y = k.empty((len(rows), len(weight)), x.dtype)
    slope = k.empty(y.shape, x.dtype) if sloped and gradients_wanted() else None
    library, step = current(), len(rows)
    if sloped:  # what is in the cache can be bent at once
        step = max(1, k.grain(BLOCK) // len(weight))
    elif library.alone and library.cut(len(rows), len(weight), rows.shape[1]):  # so that the bias is still in the cache
        step = max(128, k.grain(2 * BLOCK) // len(weight))
    for first in range(0, len(rows), step or 1):
        part = slice(first, first + step)
        z = y[part] if sloped is None else k.empty(y[part].shape, x.dtype)
        if bias is not None:  # the product is added to the bias: filling rows with it costs half of adding it to them
            k.copy(bias, out=z)
        gemm(rows[part], weight.T, out=z, beta=0.0 if bias is None else 1.0)
        if sloped:
            sloped(z, y[part], None if slope is None else slope[part])
    function = FUSED.get(activation) if activation else None
    if function:
        function.value(y, y)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dz = dy if dy.ndim == 2 else _rows(dy)
        if function:
            dz = function.gradient(dz, y, None)
        elif slope is not None:
            dz = k.multiply(dz, slope)

        def dx(out: Array | None) -> Array:
            laid = weight if weight.flags.c_contiguous or len(rows) < MANY else k.copy(weight)
            return gemm(dz, laid, out=None if out is None else out.reshape(rows.shape)).reshape(x.shape)

        return (
            dx,
            lambda out: gemm(dz.T, rows, out=out),
            lambda out: gemv(dz.T, k.row(1, len(dz), dz.dtype), out=out),  # the sum over the batch, at twice ufunc speed
        )

    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], len(weight)), backward


def _rows(x: Array) -> Array:
    """All leading axes as one: (…, n) -> (rows, n)."""
    return k.dense(x).reshape(-1, x.shape[-1])


def _check(x: Array, weight: Array, bias: Array | None, activation: str | None) -> None:
    if x.ndim == 0 or weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"linear: input {x.shape} does not fit weight {weight.shape}: it takes (…, in), (out, in)")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"linear: bias {bias.shape} does not fit weight {weight.shape}: it has {weight.shape[0]} outputs")
    if bias is not None and bias.dtype != weight.dtype:
        raise DtypeError(f"linear: the bias is {bias.dtype}, the weight {weight.dtype}")
    if activation is not None and activation not in FUSED and activation not in SLOPED:
        raise ArgumentError(f"linear: activation {activation!r} is none of {', '.join([*FUSED, *SLOPED])}")
