"""Convolution in one and two dimensions, as matrix products on images in the order (H, N, W, C)."""

from collections.abc import Callable, Iterator
from typing import Any

from ... import kernels as k
from ...blas import gemv
from ...errors import ArgumentError, DtypeError, ShapeError
from ...kernels import Array
from ...tensor import Addend, Backward, primitive
from ..activation import FUSED, Activation
from ..image import Padded, Pair, pair, rolled, shares, unrolled
from . import depthwise, direct, pointwise, winograd
from .choice import ALGORITHMS, choose, source_of
from .geometry import Geometry, geometry
from .groups import Gradients, side_by_side

CHUNK = 65536  # numbers that elementwise passes work on at a time


@primitive
def conv2d(
    x: Array, weight: Array, bias: Array | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    activation: str | None = None, algorithm: str | None = None,
) -> tuple[Array, Backward]:  # fmt: skip
    """`activation(x * weight + bias)`: (N, C, H, W), (outputs, C / groups, height, width), (outputs,) -> (N, outputs, H', W').

    Cross-correlation, as in PyTorch: H' = (H + 2 padding - dilation (height - 1) - 1) // stride + 1. activation is a name
    in FUSED. algorithm – direct, winograd, planar, gathered, pointwise – is chosen for the shape unless it is given.
    """
    _check("conv2d", x, weight, bias, groups, activation, algorithm)
    sizes = _sizes("conv2d", stride, padding, dilation)
    function = FUSED[activation] if activation else None
    if groups == 1:
        y, gradients = _one_group(x, weight, bias, *sizes, function, algorithm)
    elif groups == x.shape[1] == len(weight):
        y, gradients = _depthwise(x, weight, bias, *sizes, function)
    else:
        y, gradients = _several_groups(x, weight, bias, *sizes, groups, function, algorithm)
    return unrolled(y), _on_images(gradients)


@primitive
def conv1d(
    x: Array, weight: Array, bias: Array | None = None, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1,
    activation: str | None = None,
) -> tuple[Array, Backward]:  # fmt: skip
    """`activation(x * weight + bias)`: (N, C, L), (outputs, C / groups, taps), (outputs,) -> (N, outputs, L'). See `conv2d`."""
    if x.ndim != 3 or weight.ndim != 3:
        raise ShapeError(f"conv1d: input {x.shape}, weight {weight.shape}; it takes (N, C, L) and (outputs, C / groups, taps)")
    y, rest = conv2d.on_arrays(  # type: ignore[attr-defined]
        x[:, :, None], weight[:, :, None], bias, (1, stride), (0, padding), (1, dilation), groups, activation
    )

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dx, dweight, dbias = rest(dy[:, :, None])
        return _without_height(dx), _without_height(dweight), dbias

    return y[:, :, 0], backward


@primitive
def conv_transpose2d(
    x: Array, weight: Array, bias: Array | None = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> tuple[Array, Backward]:  # fmt: skip
    """The transpose of `conv2d` as a linear map, plus a bias.

    (N, C, H, W), (C, outputs / groups, height, width), (outputs,) -> (N, outputs, H', W') with
    H' = (H - 1) stride - 2 padding + dilation (height - 1) + output_padding + 1.
    """
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != len(weight) or groups < 1 or len(weight) % groups:
        raise ShapeError(
            f"conv_transpose2d: input {x.shape} does not fit weight {weight.shape} with {groups} groups: "
            "it takes (N, C, H, W), (C, outputs / groups, height, width)"
        )
    if bias is not None and bias.shape != (weight.shape[1] * groups,):
        raise ShapeError(f"conv_transpose2d: bias {bias.shape} does not fit weight {weight.shape} with {groups} groups")
    steps, pads, gaps = _sizes("conv_transpose2d", stride, padding, dilation)
    extra = pair("conv_transpose2d: output_padding", output_padding, 0)
    if any(more >= max(step, gap) for more, step, gap in zip(extra, steps, gaps)):
        raise ArgumentError(
            f"conv_transpose2d: output_padding {extra} must be smaller than the stride {steps} or the dilation {gaps}"
        )
    size = tuple(
        (n - 1) * step - 2 * pad + gap * (taps - 1) + more + 1
        for n, step, pad, gap, taps, more in zip(x.shape[2:], steps, pads, gaps, weight.shape[2:], extra)
    )
    if min(size) < 1:
        raise ShapeError(f"conv_transpose2d: input {x.shape} with padding {pads} leaves nothing: {size}")
    ins, outs = shares(len(weight), groups), shares(weight.shape[1] * groups, groups)
    g = geometry(x.shape[0], weight.shape[1], size, len(weight) // groups, weight.shape[2:], steps, pads, gaps)
    parts = [_transposed(g, x[:, i], weight[i], None if bias is None else bias[o]) for i, o in zip(ins, outs)]
    y, gradients = parts[0] if groups == 1 else side_by_side(parts, weight, ins, ins, outs)
    return unrolled(y), _on_images(gradients)


def _on_images(gradients: Gradients) -> Backward:
    """The backward of a convolution whose gradients are made of and as images (H, N, W, C)."""

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dx, dweight, dbias = gradients(rolled(dy))
        return Addend(lambda out: k.into(out, unrolled(dx(None))), lambda to: dx(rolled(to)) is not None), dweight, dbias

    return backward


def _transposed(g: Geometry, x: Array, weight: Array, bias: Array | None) -> tuple[Array, Gradients]:
    """`g` is the convolution whose transpose this is."""
    dz = _gradient_rows(g, rolled(x), None, None)
    kernel = k.dense(weight.transpose(2, 3, 1, 0))
    y = _input_gradient(g, dz, kernel, None, None)
    y = y if bias is None else k.add(y, bias)

    def gradients(dy: Array):  # type: ignore[no-untyped-def]
        name = choose(g)
        source = source_of(g, dy, name)
        rows = _gradient_rows(g, rolled(x), None, None, source) if name == "pointwise" else dz
        return (
            lambda onto: None if onto is not None else ALGORITHMS[name].convolve(g, source, kernel, None, None),
            lambda out: _laid(ALGORITHMS[name].weight_gradient, g, source, rows, out),
            lambda out: k.sum(dy, (0, 1, 2), out=out),
        )

    return y, gradients


def _one_group(
    x: Array, weight: Array, bias: Array | None, stride: Pair, padding: Pair, dilation: Pair, function: Activation | None,
    algorithm: str | None,
) -> tuple[Array, Gradients]:  # fmt: skip
    g = geometry(x.shape[0], x.shape[1], x.shape[2:], weight.shape[0], weight.shape[2:], stride, padding, dilation)
    able = {"winograd": winograd.suits(g), "planar": stride == (1, 1), "pointwise": pointwise.suits(g)}
    if algorithm is not None and not able.get(algorithm, True):
        raise ArgumentError(
            f"conv2d: algorithm {algorithm!r} cannot make a kernel {g.kernel} with stride {stride}, dilation {dilation}"
        )
    name = algorithm or choose(g)
    source = source_of(g, rolled(x), name)
    kernel = k.dense(weight.transpose(2, 3, 1, 0))  # (height, width, C, outputs)
    y = ALGORITHMS[name].convolve(g, source, kernel, bias, function)

    def gradients(dy: Array):  # type: ignore[no-untyped-def]
        pixelwise = name == "pointwise"
        dz = _gradient_rows(g, dy, y, function, source if pixelwise else None)
        return (
            lambda onto: _input_gradient(g, dz, kernel, name if pixelwise else algorithm, onto),
            lambda out: _laid(ALGORITHMS[name].weight_gradient, g, source, dz, out),
            lambda out: _column_sums(dz, out),
        )

    return y, gradients


def _depthwise(
    x: Array, weight: Array, bias: Array | None, stride: Pair, padding: Pair, dilation: Pair, function: Activation | None
) -> tuple[Array, Gradients]:
    g = geometry(x.shape[0], x.shape[1], x.shape[2:], weight.shape[0], weight.shape[2:], stride, padding, dilation)
    source = g.padded(rolled(x))
    kernel = k.dense(weight[:, 0].transpose(1, 2, 0))  # (height, width, C)
    y = depthwise.convolve(g, source, kernel, bias, function)

    def gradients(dy: Array):  # type: ignore[no-untyped-def]
        dz = _gradient_rows(g, dy, y, function)
        return (
            lambda onto: None if onto is not None else depthwise.input_gradient(g, dz, kernel),
            lambda out: _laid(_with_one_channel, g, source, dz, out),
            lambda out: _column_sums(dz, out),
        )

    return y, gradients


def _several_groups(
    x: Array, weight: Array, bias: Array | None, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    function: Activation | None, algorithm: str | None,
) -> tuple[Array, Gradients]:  # fmt: skip
    """Each group a convolution of its own."""
    outs, ins = shares(len(weight), groups), shares(x.shape[1], groups)
    parts = [
        _one_group(x[:, i], weight[o], None if bias is None else bias[o], stride, padding, dilation, function, algorithm)
        for i, o in zip(ins, outs)
    ]
    return side_by_side(parts, weight, outs, ins, outs)


def _gradient_rows(g: Geometry, dy: Array, y: Array | None, function: Activation | None, alike: Padded | None = None) -> Padded:
    """The gradient before the activation, with the zeros that both of its convolutions need, or those that `alike` has."""
    turned = g.turned
    planes = winograd.planes(g) if winograd.suits(g) else g.out_height
    if alike is not None:
        zeros = alike.top, alike.left, alike.planes, alike.pitch, 2 * alike.left
    elif turned is None:
        zeros = 0, 0, planes, g.out_pitch, 0
    else:
        top, left = turned.padding
        planes = max(top + planes, turned.planes)
        if winograd.suits(turned):
            planes = max(planes, winograd.planes(turned) + turned.kernel[0] - 1)
        zeros = top, left, planes, turned.pitch, turned.tail
    if function is None or y is None:
        return Padded.around(dy, *zeros)
    value, slope = Padded.of(y), Padded.of(dy)
    if value and slope and value.pitch == slope.pitch and value.has(*zeros):
        dz = value.alike()
        for above, below, target in zip(*map(_chunks, (slope.lines, value.lines, dz.lines))):
            function.gradient(above, below, target)
        return Padded.around(dz.surrounded(), *zeros)
    dz = Padded(dy.shape, *zeros, dy.dtype)
    dz.clear()
    step = max(1, k.grain(CHUNK) * len(dy) // dy.size)
    for first in range(0, len(dy), step):
        part = slice(first, first + step)
        k.copy(function.gradient(dy[part], y[part], None), out=dz.inside[part])
    return dz


def _chunks(lines: Array) -> Iterator[Array]:
    """Contiguous numbers, some at a time."""
    flat, step = lines.reshape(-1), k.grain(CHUNK)
    return (flat[first : first + step] for first in range(0, flat.size, step))


def _input_gradient(g: Geometry, dz: Padded, kernel: Array, algorithm: str | None, onto: Array | None) -> Any:
    """The gradient of the input, (H, N, W, C); or, if it can as well be added to what is `onto`, that; else None."""
    if algorithm == "pointwise":
        return pointwise.input_gradient(g, dz, kernel, onto)
    turned = g.turned
    if turned is None or algorithm in ("direct", "planar"):
        return direct.input_gradient(g, dz, kernel) if onto is None else None
    back, name = k.copy(kernel[::-1, ::-1].swapaxes(2, 3)), algorithm or choose(turned)
    if onto is None:
        return ALGORITHMS["direct" if name == "planar" else name].convolve(turned, dz, back, None, None)
    there = Padded.of(onto)
    if there is None or there.pitch != turned.out_pitch or name == "gathered":
        return None
    return (winograd if name == "winograd" else direct).convolve(turned, dz, back, None, None, there)


def _laid(make: Callable[..., None], g: Geometry, source: Padded, dz: Padded, out: Array | None) -> Array:
    """A weight's gradient, (outputs, C, height, width): made where it belongs if that lies as (height, width, C, outputs)."""
    there = None if out is None else out.transpose(2, 3, 1, 0)
    if there is not None and there.flags.c_contiguous and out is not None:
        make(g, source, dz, there)
        return out
    found = k.empty((*g.kernel, 1 if make is _with_one_channel else g.channels, g.outputs), dz.memory.dtype)
    make(g, source, dz, found)
    return k.copy(found.transpose(3, 2, 0, 1), out=out)


def _with_one_channel(g: Geometry, source: Padded, dz: Padded, out: Array) -> None:
    depthwise.weight_gradient(g, source, dz, out[:, :, 0])


def _column_sums(dz: Padded, out: Array | None) -> Array:
    rows = dz.memory.reshape(-1, dz.channels)
    return gemv(rows.T, k.row(1, len(rows), rows.dtype), out=out)


def _without_height(thunk: Any) -> Any:
    return lambda out: thunk(None if out is None else out[:, :, None])[:, :, 0]


def _sizes(name: str, stride: Any, padding: Any, dilation: Any) -> tuple[Pair, Pair, Pair]:
    return pair(f"{name}: stride", stride, 1), pair(f"{name}: padding", padding, 0), pair(f"{name}: dilation", dilation, 1)


def _check(
    name: str, x: Array, weight: Array, bias: Array | None, groups: int, activation: str | None, algorithm: str | None
) -> None:
    if x.ndim != 4 or weight.ndim != 4 or groups < 1 or x.shape[1] != weight.shape[1] * groups or len(weight) % groups:
        raise ShapeError(
            f"{name}: input {x.shape} does not fit weight {weight.shape} with {groups} groups: "
            "it takes (N, C, H, W), (outputs, C / groups, height, width)"
        )
    if x.size == 0 or weight.size == 0:
        raise ShapeError(f"{name}: input {x.shape}, weight {weight.shape}: nothing to convolve")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"{name}: bias {bias.shape} does not fit weight {weight.shape}: it has {weight.shape[0]} outputs")
    if len({a.dtype for a in (x, weight, bias) if a is not None}) > 1:
        found = ", ".join(str(a.dtype) for a in (x, weight, bias) if a is not None)
        raise DtypeError(f"{name}: input, weight and bias are {found}; they must be the same")
    if activation is not None and activation not in FUSED:
        raise ArgumentError(f"{name}: activation {activation!r} is none of {', '.join(FUSED)}")
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise ArgumentError(f"{name}: algorithm {algorithm!r} is none of {', '.join(ALGORITHMS)}")
