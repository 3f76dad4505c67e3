"""Convolution in one and two dimensions, as matrix products on images in the order (H, N, W, C)."""

from typing import Any

import numpy as np

from ... import kernels as k
from ...blas import gemv
from ...errors import ArgumentError, DtypeError, ShapeError
from ...kernels import Array
from ...tensor import Backward, primitive
from ..activation import FUSED
from ..image import Padded, rolled, unrolled
from . import direct, planar, winograd
from .geometry import Geometry, Pair, geometry

ALGORITHMS = {"direct": direct, "winograd": winograd, "planar": planar}
PASS = 16  # products that take as long as one number of an elementwise pass: the price of Winograd's transforms


@primitive
def conv2d(
    x: Array, weight: Array, bias: Array | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    activation: str | None = None, algorithm: str | None = None,
) -> tuple[Array, Backward]:  # fmt: skip
    """`activation(x * weight + bias)`: (N, C, H, W), (outputs, C / groups, height, width), (outputs,) -> (N, outputs, H', W').

    Cross-correlation, as in PyTorch: H' = (H + 2 padding - dilation (height - 1) - 1) // stride + 1. activation is a name
    in FUSED. algorithm – direct, winograd, planar – is chosen for the shape unless it is given.
    """
    g = _geometry(x, weight, bias, _pair("stride", stride, 1), _pair("padding", padding, 0), _pair("dilation", dilation, 1))
    function = FUSED[activation] if activation else None
    name = algorithm or choose(g)
    source = _source(g, x, name)
    kernel = k.copy(weight.transpose(2, 3, 1, 0))  # (height, width, C, outputs)
    y = ALGORITHMS[name].convolve(g, source, kernel, bias, function)

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dz = _gradient_rows(g, rolled(dy), y, function)

        def dx(out: Array | None) -> Array:
            found = unrolled(_input_gradient(g, dz, kernel, algorithm))
            return found if out is None else k.copy(found, out=out)

        def dweight(out: Array | None) -> Array:
            found = ALGORITHMS[name].weight_gradient(g, source, dz)
            return k.copy(found.transpose(3, 2, 0, 1), out=out)

        def dbias(out: Array | None) -> Array:
            rows = dz.memory.reshape(-1, g.outputs)
            return gemv(rows.T, k.row(1, len(rows), rows.dtype), out=out)

        return dx, dweight, dbias

    return unrolled(y), backward


def choose(g: Geometry) -> str:
    """The algorithm for a convolution: that of least products, transforms counted in."""
    if planar.suits(g):
        return "planar"
    if not winograd.suits(g):
        return "direct"
    rows, taps = winograd.tile(g), g.kernel[0] * g.kernel[1]
    whole = winograd.planes(g) / g.out_height  # the last tile may lack rows
    transforms = PASS * (17 * g.channels + 17 * g.outputs) / rows
    products = 2 * winograd.POINTS * g.kernel[1] / rows * g.channels * g.outputs
    return "winograd" if whole * (products + transforms) < 2 * taps * g.channels * g.outputs else "direct"


def _source(g: Geometry, x: Array, name: str) -> Padded:
    if name == "planar":
        return planar.padded(g, x.transpose(1, 2, 0, 3))
    return g.padded(rolled(x), winograd.planes(g) + g.kernel[0] - 1 if name == "winograd" else 0)


def _gradient_rows(g: Geometry, dy: Array, y: Array, function: Any) -> Padded:
    """The gradient before the activation, with the zeros that both of its convolutions need."""
    turned = g.turned
    planes = winograd.planes(g) if winograd.suits(g) else g.out_height
    if turned is None:
        dz = Padded(dy.shape, 0, 0, planes, g.out_pitch, 0, dy.dtype)
    else:
        top, left = turned.padding
        planes = max(top + planes, turned.planes)
        if winograd.suits(turned):
            planes = max(planes, winograd.planes(turned) + turned.kernel[0] - 1)
        dz = Padded(dy.shape, top, left, planes, turned.pitch, turned.tail, dy.dtype)
    dz.clear()
    if function:
        function.gradient(dy, y, dz.inside)
    else:
        k.copy(dy, out=dz.inside)
    return dz


def _input_gradient(g: Geometry, dz: Padded, kernel: Array, algorithm: str | None) -> Array:
    turned = g.turned
    if turned is None or algorithm == "direct":
        return direct.input_gradient(g, dz, kernel)
    back = k.copy(kernel[::-1, ::-1].swapaxes(2, 3))
    name = algorithm if algorithm == "winograd" else choose(turned)
    return ALGORITHMS["direct" if name == "planar" else name].convolve(turned, dz, back, None, None)


def _geometry(x: Array, weight: Array, bias: Array | None, stride: Pair, padding: Pair, dilation: Pair) -> Geometry:
    return geometry(x.shape[0], x.shape[1], x.shape[2:], weight.shape[0], weight.shape[2:], stride, padding, dilation)


def _pair(name: str, value: Any, least: int) -> Pair:
    pair = (value, value) if isinstance(value, int | np.integer) else tuple(value)
    if len(pair) != 2 or not all(isinstance(n, int | np.integer) and n >= least for n in pair):
        raise ArgumentError(f"conv2d: {name} is {value!r}; it takes a whole number from {least}, or two")
    return int(pair[0]), int(pair[1])
