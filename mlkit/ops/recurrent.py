"""Recurrent layers over whole series: the products with the inputs are made at once, those with the states step by step.

All take x (T, N, inputs) and the first states (N, H), and return the outputs with the last states behind them, in one
array; gates stand in PyTorch's order. `mask`, (T, N, 1) of ones and zeros, ends series early: where it is 0 the states
stay as they are and the output is 0.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from .. import kernels as k
from ..blas import gemm, gemv
from ..errors import ArgumentError, DtypeError, ShapeError
from ..kernels import Array, Bound
from ..tensor import Backward, primitive
from .activation import FUSED

Primitive = tuple[Array, Backward]


@primitive
def lstm(
    x: Array, h0: Array, c0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array | None, bias_hh: Array | None,
    mask: Array | None = None, reverse: bool = False,
) -> Primitive:  # fmt: skip
    """Long short-term memory: gates i, f, g, o; `c' = f c + i g; h' = o tanh(c')` -> (T + 2, N, H), the last two h and c.

    weight_ih (4 H, inputs), weight_hh (4 H, H), biases (4 H,). Source: Hochreiter & Schmidhuber 1997, Gers et al. 2000.
    """
    time, batch, size = _check("lstm", 4, x, (h0, c0), weight_ih, weight_hh, bias_ih, bias_hh, mask)
    half = _halves(size, x.dtype)  # sigmoid(z) = (1 + tanh(z / 2)) / 2: one tanh serves all gates
    gates = _input_products(x, weight_ih, (bias_ih, bias_hh), half)
    hidden = k.multiply(weight_hh.T, half, out=k.empty((size, 4 * size), x.dtype))
    y, states, tanhs = (k.empty((time + extra, batch, size), x.dtype) for extra in (2, 0, 0))
    h, c = h0, c0
    order = range(time)[::-1] if reverse else range(time)
    for t in order:
        gemm(h, hidden, out=gates[t], beta=1.0)
        k.call(lstm_step, c, gates[t], states[t], tanhs[t], y[t])
        if mask is not None:
            _hold(mask[t], c, states[t]), _hold(mask[t], h, y[t])
        h, c = y[t], states[t]
    k.copy(h, out=y[time]), k.copy(c, out=y[time + 1])
    before = _before(h0, y, order)
    if mask is not None:
        k.multiply(y[:time], mask, out=y[:time])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dgates = k.empty(gates.shape, x.dtype)
        dh, dc = k.copy(dy[time]), k.copy(dy[time + 1])
        scratch = k.empty((batch, 4 * size), x.dtype)
        for step, t in enumerate(order[::-1]):
            if mask is None:
                k.add(dh, dy[t], out=dh)
            else:
                kept = [_set_aside(mask[t], d) for d in (dh, dc)]
                k.add(dh, k.multiply(dy[t], mask[t]), out=dh)
            previous = c0 if step == time - 1 else states[order[-step - 2]]
            k.call(lstm_step_gradient, dh, gates[t], previous, tanhs[t], scratch, dc, dgates[t])
            gemm(dgates[t], weight_hh, out=dh)
            if mask is not None:
                k.add(dh, kept[0], out=dh), k.add(dc, kept[1], out=dc)
        return (
            lambda out: _of_input(dgates, weight_ih, x, out),
            lambda out: _given(dh, out),
            lambda out: _given(dc, out),
            lambda out: _of_weight(dgates, x, out),
            lambda out: _of_weight(dgates, before, out),
            lambda out: _of_bias(dgates, out),
            lambda out: _of_bias(dgates, out),
        )

    return y, backward


@primitive
def gru(
    x: Array, h0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array | None, bias_hh: Array | None,
    mask: Array | None = None, reverse: bool = False,
) -> Primitive:  # fmt: skip
    """Gated recurrent unit: gates r, z, n; `n = tanh(x_n + r h_n); h' = n + z (h - n)` -> (T + 1, N, H), the last h.

    h_n is the product with the state, its bias included. weight_ih (3 H, inputs), weight_hh (3 H, H), biases (3 H,).
    Source: Cho et al. 2014, in PyTorch's form.
    """
    time, batch, size = _check("gru", 3, x, (h0,), weight_ih, weight_hh, bias_ih, bias_hh, mask)
    gates = _input_products(x, weight_ih, (bias_ih,), k.row(1, 3 * size, x.dtype))
    y, products = k.empty((time + 1, batch, size), x.dtype), k.empty((time, batch, 3 * size), x.dtype)
    hidden = k.copy(weight_hh.T)
    h, order = h0, range(time)[::-1] if reverse else range(time)
    for t in order:
        if bias_hh is not None:
            k.copy(bias_hh, out=products[t])
        gemm(h, hidden, out=products[t], beta=0.0 if bias_hh is None else 1.0)
        k.call(gru_step, h, products[t], gates[t], y[t])
        if mask is not None:
            _hold(mask[t], h, y[t])
        h = y[t]
    k.copy(h, out=y[time])
    before = _before(h0, y, order)
    if mask is not None:
        k.multiply(y[:time], mask, out=y[:time])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dgates, dproducts = k.empty(gates.shape, x.dtype), k.empty(gates.shape, x.dtype)
        dh, scratch = k.copy(dy[time]), k.empty((batch, size), x.dtype)
        for step, t in enumerate(order[::-1]):
            if mask is None:
                k.add(dh, dy[t], out=dh)
            else:
                kept = _set_aside(mask[t], dh)
                k.add(dh, k.multiply(dy[t], mask[t]), out=dh)
            previous = before[t]
            k.call(gru_step_gradient, gates[t], products[t], previous, scratch, dproducts[t], dh, dgates[t])
            gemm(dproducts[t], weight_hh, out=dh, beta=1.0)
            if mask is not None:
                k.add(dh, kept, out=dh)
        return (
            lambda out: _of_input(dgates, weight_ih, x, out),
            lambda out: _given(dh, out),
            lambda out: _of_weight(dgates, x, out),
            lambda out: _of_weight(dproducts, before, out),
            lambda out: _of_bias(dgates, out),
            lambda out: _of_bias(dproducts, out),
        )

    return y, backward


@primitive
def rnn(
    x: Array, h0: Array, weight_ih: Array, weight_hh: Array, bias_ih: Array | None, bias_hh: Array | None,
    mask: Array | None = None, reverse: bool = False, nonlinearity: str = "tanh",
) -> Primitive:  # fmt: skip
    """`h' = tanh(x weight_ihᵀ + h weight_hhᵀ + biases)`, or its positive part with "relu" -> (T + 1, N, H), the last h.

    weight_ih (H, inputs), weight_hh (H, H), biases (H,). Source: Elman 1990.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ArgumentError(f"rnn: nonlinearity {nonlinearity!r} is neither tanh nor relu")
    function = FUSED[nonlinearity]
    time, batch, size = _check("rnn", 1, x, (h0,), weight_ih, weight_hh, bias_ih, bias_hh, mask)
    values = _input_products(x, weight_ih, (bias_ih, bias_hh), k.row(1, size, x.dtype))
    y, hidden = k.empty((time + 1, batch, size), x.dtype), k.copy(weight_hh.T)
    h, order = h0, range(time)[::-1] if reverse else range(time)
    for t in order:
        gemm(h, hidden, out=values[t], beta=1.0)
        function.value(values[t], values[t])
        k.copy(values[t], out=y[t])
        if mask is not None:
            _hold(mask[t], h, y[t])
        h = y[t]
    k.copy(h, out=y[time])
    before = _before(h0, y, order)
    if mask is not None:
        k.multiply(y[:time], mask, out=y[:time])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dvalues, dh = k.empty(values.shape, x.dtype), k.copy(dy[time])
        for t in order[::-1]:
            if mask is None:
                k.add(dh, dy[t], out=dh)
            else:
                kept = _set_aside(mask[t], dh)
                k.add(dh, k.multiply(dy[t], mask[t]), out=dh)
            function.gradient(dh, values[t], dvalues[t])
            gemm(dvalues[t], weight_hh, out=dh)
            if mask is not None:
                k.add(dh, kept, out=dh)
        return (
            lambda out: _of_input(dvalues, weight_ih, x, out),
            lambda out: _given(dh, out),
            lambda out: _of_weight(dvalues, x, out),
            lambda out: _of_weight(dvalues, before, out),
            lambda out: _of_bias(dvalues, out),
            lambda out: _of_bias(dvalues, out),
        )

    return y, backward


@k.kernel
def lstm_step(c: Array, gates: Array, state: Array, tanh: Array, h: Array) -> None:
    """The new c in `state`, its tanh, the new h; `gates` hold what goes into the tanh, then i, f, g, o."""
    k.replay(_lstm_steps(c, gates, state, tanh, h))


@k.kernel
def lstm_step_gradient(dh: Array, gates: Array, c: Array, tanh: Array, scratch: Array, dc: Array, dgates: Array) -> None:
    """The gradient before the gates' functions; `dc` becomes that of the state before."""
    k.replay(_lstm_gradient_steps(dh, gates, c, tanh, scratch, dc, dgates))


@k.kernel
def gru_step(h: Array, products: Array, gates: Array, out: Array) -> None:
    """The new h; `gates` hold the products with the inputs, then r, z, n."""
    k.replay(_gru_steps(h, products, gates, out))


@k.kernel
def gru_step_gradient(gates: Array, products: Array, h: Array, scratch: Array, dproducts: Array, dh: Array, dgates: Array) -> None:
    """The gradients before the gates' functions; `dh` becomes what goes past the gates to the state before."""
    k.replay(_gru_gradient_steps(gates, products, h, scratch, dproducts, dh, dgates))


@k.binding(lstm_step)
def _(*operands: Array) -> Bound:
    return k.replay, (tuple(_lstm_steps(*operands)),)


@k.binding(lstm_step_gradient)
def _(*operands: Array) -> Bound:
    return k.replay, (tuple(_lstm_gradient_steps(*operands)),)


@k.binding(gru_step)
def _(*operands: Array) -> Bound:
    return k.replay, (tuple(_gru_steps(*operands)),)


@k.binding(gru_step_gradient)
def _(*operands: Array) -> Bound:
    return k.replay, (tuple(_gru_gradient_steps(*operands)),)


def _lstm_steps(c: Array, gates: Array, state: Array, tanh: Array, h: Array) -> Iterator[Bound]:
    half = _number(0.5, h.dtype)
    size = h.shape[1]
    i, f, g, o = (gates[:, n * size : (n + 1) * size] for n in range(4))
    yield np.tanh, (gates, gates)
    for sigmoid in (gates[:, : 2 * size], o):
        yield np.multiply, (sigmoid, half, sigmoid)
        yield np.add, (sigmoid, half, sigmoid)
    yield np.multiply, (i, g, tanh)
    yield np.multiply, (f, c, state)
    yield np.add, (state, tanh, state)
    yield np.tanh, (state, tanh)
    yield np.multiply, (o, tanh, h)


def _lstm_gradient_steps(
    dh: Array, gates: Array, c: Array, tanh: Array, scratch: Array, dc: Array, dgates: Array
) -> Iterator[Bound]:
    one, size = _number(1, dh.dtype), dh.shape[1]
    i, f, g, o = (gates[:, n * size : (n + 1) * size] for n in range(4))
    di, df, dg, do = (dgates[:, n * size : (n + 1) * size] for n in range(4))
    dh_o, rest = scratch.reshape(-1)[: 2 * dh.size].reshape(2, *dh.shape)
    yield np.multiply, (dh, tanh, do)
    yield np.multiply, (dh, o, dh_o)  # dc += dh o (1 - tanh²)
    yield np.multiply, (tanh, tanh, rest)
    yield np.multiply, (rest, dh_o, rest)
    yield np.subtract, (dh_o, rest, dh_o)
    yield np.add, (dc, dh_o, dc)
    yield np.multiply, (dc, g, di)
    yield np.multiply, (dc, c, df)
    yield np.multiply, (dc, i, dg)
    yield np.multiply, (dc, f, dc)
    yield np.multiply, (gates, gates, scratch)  # slopes: s (1 - s) of the sigmoids, 1 - g² of the tanh
    first, third, last = scratch[:, : 2 * size], scratch[:, 2 * size : 3 * size], scratch[:, 3 * size :]
    yield np.subtract, (gates[:, : 2 * size], first, first)
    yield np.subtract, (one, third, third)
    yield np.subtract, (o, last, last)
    yield np.multiply, (dgates, scratch, dgates)


def _gru_steps(h: Array, products: Array, gates: Array, out: Array) -> Iterator[Bound]:
    half, size = _number(0.5, h.dtype), h.shape[1]
    sigmoids, n = gates[:, : 2 * size], gates[:, 2 * size :]
    r, z = gates[:, :size], gates[:, size : 2 * size]
    yield np.add, (sigmoids, products[:, : 2 * size], sigmoids)
    yield np.multiply, (sigmoids, half, sigmoids)
    yield np.tanh, (sigmoids, sigmoids)
    yield np.multiply, (sigmoids, half, sigmoids)
    yield np.add, (sigmoids, half, sigmoids)
    yield np.multiply, (r, products[:, 2 * size :], out)
    yield np.add, (n, out, n)
    yield np.tanh, (n, n)
    yield np.subtract, (h, n, out)
    yield np.multiply, (out, z, out)
    yield np.add, (out, n, out)


def _gru_gradient_steps(
    gates: Array, products: Array, h: Array, scratch: Array, dproducts: Array, dh: Array, dgates: Array
) -> Iterator[Bound]:
    one, size = _number(1, dh.dtype), dh.shape[1]
    r, z, n = (gates[:, i * size : (i + 1) * size] for i in range(3))
    dr, dz, dn = (dgates[:, i * size : (i + 1) * size] for i in range(3))
    yield np.subtract, (h, n, dz)  # dz = dh (h - n) z (1 - z)
    yield np.multiply, (dz, dh, dz)
    yield np.multiply, (dz, z, dz)
    yield np.subtract, (one, z, scratch)
    yield np.multiply, (dz, scratch, dz)
    yield np.multiply, (dh, scratch, dn)  # dn = dh (1 - z) (1 - n²)
    yield np.multiply, (n, n, scratch)
    yield np.subtract, (one, scratch, scratch)
    yield np.multiply, (dn, scratch, dn)
    yield np.multiply, (dh, z, dh)
    yield np.multiply, (dn, products[:, 2 * size :], dr)  # dr = dn h_n r (1 - r)
    yield np.multiply, (dr, r, dr)
    yield np.subtract, (one, r, scratch)
    yield np.multiply, (dr, scratch, dr)
    yield np.copyto, (dproducts[:, : 2 * size], dgates[:, : 2 * size])
    yield np.multiply, (dn, r, dproducts[:, 2 * size :])


def _input_products(x: Array, weight: Array, biases: tuple[Array | None, ...], scale: Array) -> Array:
    """`(x @ weight.T + biases) * scale`, for all steps at once."""
    rows = (x if x.flags.c_contiguous else k.copy(x)).reshape(-1, x.shape[-1])
    y = k.empty((len(rows), len(weight)), x.dtype)
    given = [bias for bias in biases if bias is not None]
    if given:
        total = k.multiply(given[0] if len(given) == 1 else k.add(*given), scale)
        k.copy(total, out=y)
    scaled = k.multiply(weight.T, scale, out=k.empty(weight.shape[::-1], x.dtype))
    gemm(rows, scaled, out=y, beta=1.0 if given else 0.0)
    return y.reshape(*x.shape[:2], -1)


def _before(h0: Array, y: Array, order: range) -> Array:
    """The state before each step: (T, N, H)."""
    found = k.empty((len(order), *h0.shape), h0.dtype)
    if order.step > 0:
        k.copy(h0, out=found[0]), k.copy(y[: len(order) - 1], out=found[1:])
    else:
        k.copy(h0, out=found[-1]), k.copy(y[1 : len(order)], out=found[:-1])
    return found


def _hold(mask: Array, old: Array, new: Array) -> None:
    """`new = old` where the mask is 0."""
    change = k.subtract(new, old)
    k.add(old, k.multiply(change, mask, out=change), out=new)


def _set_aside(mask: Array, d: Array) -> Array:
    """The part of a gradient where the mask is 0, which is taken out of `d`."""
    inside = k.multiply(d, mask)
    outside = k.subtract(d, inside)
    k.copy(inside, out=d)
    return outside


def _of_input(dgates: Array, weight: Array, x: Array, out: Array | None) -> Array:
    rows = dgates.reshape(-1, len(weight))
    if out is not None and out.flags.c_contiguous:
        gemm(rows, weight, out=out.reshape(-1, x.shape[-1]))
        return out
    return _given(gemm(rows, weight).reshape(x.shape), out)


def _of_weight(dgates: Array, x: Array, out: Array | None) -> Array:
    rows = (x if x.flags.c_contiguous else k.copy(x)).reshape(-1, x.shape[-1])
    return gemm(dgates.reshape(-1, dgates.shape[-1]).T, rows, out=out)


def _of_bias(dgates: Array, out: Array | None) -> Array:
    rows = dgates.reshape(-1, dgates.shape[-1])
    return gemv(rows.T, k.row(1, len(rows), rows.dtype), out=out)


def _given(found: Array, out: Array | None) -> Array:
    return found if out is None else k.copy(found, out=out)


@lru_cache(64)
def _halves(size: int, dtype: Any) -> Array:
    """What the arguments of the four gates are scaled by."""
    scale = np.full(4 * size, 0.5, dtype)
    scale[2 * size : 3 * size] = 1
    return k.keep(scale)


@lru_cache(16)
def _number(value: float, dtype: Any) -> Array:
    return np.array(value, dtype)


def _check(
    name: str, gates: int, x: Array, states: tuple[Array, ...], weight_ih: Array, weight_hh: Array, bias_ih: Array | None,
    bias_hh: Array | None, mask: Array | None,
) -> tuple[int, int, int]:  # fmt: skip
    if x.ndim != 3 or x.size == 0 or weight_hh.ndim != 2 or weight_ih.ndim != 2:
        raise ShapeError(
            f"{name}: input {x.shape}, weights {weight_ih.shape}, {weight_hh.shape}; it takes (T, N, inputs), not empty"
        )
    (time, batch, inputs), size = x.shape, weight_hh.shape[1]
    wanted = {"weight_ih": (gates * size, inputs), "weight_hh": (gates * size, size), "bias_ih": (gates * size,),
              "bias_hh": (gates * size,), "mask": (time, batch, 1), **{f"state {i}": (batch, size) for i in range(2)}}  # fmt: skip
    given = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh, "mask": mask}
    given |= {f"state {i}": state for i, state in enumerate(states)}
    for what, array in given.items():
        if array is not None and array.shape != wanted[what]:
            raise ShapeError(f"{name}: {what} has shape {array.shape}; for input {x.shape} and {size} units it is {wanted[what]}")
        if array is not None and array.dtype != x.dtype:
            raise DtypeError(f"{name}: {what} is {array.dtype}, the input {x.dtype}")
    return time, batch, size
