"""Recurrent layers over whole series: the products with the inputs are made at once, those with the states step by step.

All take x (T, N, inputs) and the first states (N, H), and return the outputs with the last states behind them, in one
array; gates stand in PyTorch's order. `mask`, (T, N, 1) of ones and zeros, ends series early: where it is 0 the states
stay as they are and the output is 0. In memory each gate has its own (T, N, H), so that what is done to it is contiguous;
those of a single series lie side by side, so that one product of its state with the whole weight makes them all.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from .. import kernels as k
from ..blas import gemm, gemv
from ..errors import ArgumentError, DtypeError, ShapeError
from ..kernels import Array
from ..tensor import Backward, primitive
from .activation import FUSED
from .gates import gru_step, gru_step_gradient, halves, lstm_step, lstm_step_gradient

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
    half, _ = halves(size, x.dtype)  # sigmoid(z) = (1 + tanh(z / 2)) / 2: one tanh serves all gates
    seen = _seen(x, size)
    blocks = 1 if batch == 1 else 4
    products = _input_products(seen, weight_ih, (bias_ih, bias_hh), blocks, half)
    hidden, gates = _by_block(weight_hh, blocks, half), _gates_of(products, 4)
    y, states, tanhs = (k.empty((time + extra, batch, size), x.dtype) for extra in (2, 0, 0))
    h, c = h0, c0
    order = range(time)[::-1] if reverse else range(time)
    for t in order:
        for product, weight in zip(products, hidden):
            gemm(h, weight, out=product[t], beta=1.0)
        k.call(lstm_step, c, gates[:, t], states[t], tanhs[t], y[t])
        if mask is not None:
            _hold(mask[t], c, states[t])
            _hold(mask[t], h, y[t])
        h, c = y[t], states[t]
    k.copy(h, out=y[time])
    k.copy(c, out=y[time + 1])
    _before(h0, y, order, seen[..., 1 + x.shape[2] :])
    if mask is not None:
        k.multiply(y[:time], mask, out=y[:time])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dgates = k.empty(gates.shape, x.dtype)
        dh, dc = k.copy(dy[time]), k.copy(dy[time + 1])
        scratch = k.empty((4, batch, size), x.dtype)
        for step, t in enumerate(order[::-1]):
            kept = _receive(dh, dy[t], None if mask is None else mask[t])
            kept_c = None if mask is None else _set_aside(mask[t], dc)
            previous = c0 if step == time - 1 else states[order[-step - 2]]
            k.call(lstm_step_gradient, dh, gates[:, t], previous, tanhs[t], scratch, dc, dgates[:, t])
            _through(dgates[:, t], weight_hh, dh)
            if kept is not None and kept_c is not None:
                k.add(dh, kept, out=dh)
                k.add(dc, kept_c, out=dc)
        return (
            lambda out: _of_input(dgates, weight_ih, x, out),
            lambda out: k.into(out, dh),
            lambda out: k.into(out, dc),
            *_of_parameters_together(dgates, seen, x.shape[2]),
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
    blocks = 1 if batch == 1 else 3
    inputs = _input_products(_seen(x, 0), weight_ih, (bias_ih,), blocks, None)
    y, states = k.empty((time + 1, batch, size), x.dtype), k.empty(inputs.shape, x.dtype)
    gates, products, hidden = _gates_of(inputs, 3), _gates_of(states, 3), _by_block(weight_hh, blocks, None)
    h, order = h0, range(time)[::-1] if reverse else range(time)
    for t in order:
        if bias_hh is not None:
            k.copy(bias_hh.reshape(3, 1, size), out=products[:, t])
        for product, weight in zip(states, hidden):
            gemm(h, weight, out=product[t], beta=0.0 if bias_hh is None else 1.0)
        k.call(gru_step, h, products[:, t], gates[:, t], y[t])
        if mask is not None:
            _hold(mask[t], h, y[t])
        h = y[t]
    k.copy(h, out=y[time])
    before = _before(h0, y, order, k.empty((time, batch, size), x.dtype))
    if mask is not None:
        k.multiply(y[:time], mask, out=y[:time])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dgates, dproducts = k.empty(gates.shape, x.dtype), k.empty(gates.shape, x.dtype)
        dh, scratch = k.copy(dy[time]), k.empty((batch, size), x.dtype)
        for t in order[::-1]:
            kept = _receive(dh, dy[t], None if mask is None else mask[t])
            k.call(gru_step_gradient, gates[:, t], products[:, t], before[t], scratch, dproducts[:, t], dh, dgates[:, t])
            _through(dproducts[:, t], weight_hh, dh, beta=1.0)
            if kept is not None:
                k.add(dh, kept, out=dh)
        return (
            lambda out: _of_input(dgates, weight_ih, x, out),
            lambda out: k.into(out, dh),
            *_of_parameters(dgates, dproducts, x, before),
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
    seen = _seen(x, size)
    (values,) = _input_products(seen, weight_ih, (bias_ih, bias_hh), 1, None)
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
    _before(h0, y, order, seen[..., 1 + x.shape[2] :])
    if mask is not None:
        k.multiply(y[:time], mask, out=y[:time])

    def backward(dy: Array):  # type: ignore[no-untyped-def]
        dvalues, dh = k.empty(values.shape, x.dtype), k.copy(dy[time])
        for t in order[::-1]:
            kept = _receive(dh, dy[t], None if mask is None else mask[t])
            function.gradient(dh, values[t], dvalues[t])
            gemm(dvalues[t], weight_hh, out=dh)
            if kept is not None:
                k.add(dh, kept, out=dh)
        return (
            lambda out: _of_input(dvalues[None], weight_ih, x, out),
            lambda out: k.into(out, dh),
            *_of_parameters_together(dvalues[None], seen, x.shape[2]),
        )

    return y, backward


def _input_products(seen: Array, weight: Array, biases: tuple[Array | None, ...], blocks: int, scale: Array | None) -> Array:
    """`(x @ weight.T + biases) * scale`, for all steps at once: (blocks, T, N, n). A bias is the weight of the ones before x.

    A block is a gate, or all of them.
    """
    size, inputs = len(weight) // blocks, weight.shape[1]
    y, parts = k.empty((blocks, *seen.shape[:2], size), seen.dtype), _parts(blocks, 1 + inputs, size, seen.dtype)
    _by_block(weight, blocks, scale, parts[:, 1:])
    given = [bias for bias in biases if bias is not None]
    if given:
        total = given[0] if len(given) == 1 else k.add(*given)
        total = total if scale is None else k.multiply(total, scale)
        k.copy(total.reshape(blocks, size), out=parts[:, 0])
    first = 0 if given else 1
    rows = seen.reshape(-1, seen.shape[-1])[:, first : 1 + inputs]
    for product, part in zip(y, parts):
        gemm(rows, part[first:], out=product.reshape(-1, size))
    return y


def _gates_of(products: Array, gates: int) -> Array:
    """Each gate's share of (blocks, T, N, n): (gates, T, N, H). A view."""
    if len(products) == gates:
        return products
    return products.reshape(*products.shape[1:3], gates, -1).transpose(2, 0, 1, 3)


def _by_block(weight: Array, blocks: int, scale: Array | None, out: Array | None = None) -> Array:
    """A weight transposed block by block, and scaled: (blocks * n, inputs) -> (blocks, inputs, n)."""
    parts = _parts(blocks, weight.shape[1], len(weight) // blocks, weight.dtype) if out is None else out
    turned = weight.reshape(blocks, -1, weight.shape[1]).swapaxes(1, 2)
    return k.copy(turned, out=parts) if scale is None else k.multiply(turned, scale.reshape(blocks, 1, -1), out=parts)


def _parts(blocks: int, inputs: int, size: int, dtype: Any) -> Array:
    """Memory for a weight, (blocks, inputs, n); a single block is not turned, for products with it are as fast without."""
    return k.empty((1, size, inputs), dtype).swapaxes(1, 2) if blocks == 1 else k.empty((blocks, inputs, size), dtype)


def _seen(x: Array, size: int) -> Array:
    """What each step sees: a one, the input, and room for the state before it: (T, N, 1 + inputs + H)."""
    found = k.empty((*x.shape[:2], 1 + x.shape[2] + size), x.dtype)
    k.fill(1, found[..., :1])
    k.copy(x, out=found[..., 1 : 1 + x.shape[2]])
    return found


def _before(h0: Array, y: Array, order: range, found: Array) -> Array:
    """The state before each step, into `found`: (T, N, H)."""
    if order.step > 0:
        k.copy(h0, out=found[0])
        k.copy(y[: len(order) - 1], out=found[1:])
    else:
        k.copy(h0, out=found[-1])
        k.copy(y[1 : len(order)], out=found[:-1])
    return found


def _hold(mask: Array, old: Array, new: Array) -> None:
    """`new = old` where the mask is 0."""
    change = k.subtract(new, old)
    k.add(old, k.multiply(change, mask, out=change), out=new)


def _receive(dh: Array, dy: Array, mask: Array | None) -> Array | None:
    """Add the gradient of a step's output to that of its state; returns what goes past the step, where the mask is 0."""
    if mask is None:
        k.add(dh, dy, out=dh)
        return None
    kept = _set_aside(mask, dh)
    k.add(dh, k.multiply(dy, mask), out=dh)
    return kept


def _set_aside(mask: Array, d: Array) -> Array:
    """The part of a gradient where the mask is 0, which is taken out of `d`."""
    inside = k.multiply(d, mask)
    outside = k.subtract(d, inside)
    k.copy(inside, out=d)
    return outside


def _through(dgates: Array, weight: Array, out: Array, beta: float = 0.0) -> None:
    """`sum of dgates[i] @ weight[i]` over the gates: (gates, rows, H), (gates * H, n) -> (rows, n)."""
    size = dgates.shape[-1]
    for i, d in enumerate(dgates):
        gemm(d, weight[i * size : (i + 1) * size], out=out, beta=beta if i == 0 else 1.0)


def _of_input(dgates: Array, weight: Array, x: Array, out: Array | None) -> Array:
    found = k.empty(x.shape, x.dtype) if out is None or not out.flags.c_contiguous else out
    _through(dgates.reshape(len(dgates), -1, dgates.shape[-1]), weight, found.reshape(-1, x.shape[-1]))
    return k.into(out, found)


def _of_parameters(dinputs: Array, dhidden: Array, x: Array, before: Array) -> tuple[Callable[[Array | None], Array], ...]:
    """The thunks of weight_ih, weight_hh, bias_ih and bias_hh."""
    return (
        lambda out: _of_weight(dinputs, k.dense(x), out),
        lambda out: _of_weight(dhidden, before, out),
        lambda out: _of_bias(dinputs, out),
        lambda out: _of_bias(dhidden, out),
    )


def _of_parameters_together(dgates: Array, seen: Array, inputs: int) -> tuple[Callable[[Array | None], Array], ...]:
    """The same where both products have the same gradient: one product for each gate makes those of weights and bias."""

    @cache
    def found() -> Array:
        """(1 + inputs + H, gates * H), as a step sees: the bias, then both weights, transposed."""
        rows, size = seen.reshape(-1, seen.shape[-1]), dgates.shape[-1]
        gradient = k.empty((rows.shape[1], len(dgates) * size), seen.dtype)
        for i, d in enumerate(dgates):
            gemm(rows.T, d.reshape(-1, size), out=gradient[:, i * size : (i + 1) * size])
        return gradient

    return (
        lambda out: k.into(out, found()[1 : 1 + inputs].T),
        lambda out: k.into(out, found()[1 + inputs :].T),
        lambda out: k.into(out, found()[0]),
        lambda out: k.into(out, found()[0]),
    )


def _of_weight(dgates: Array, x: Array, out: Array | None) -> Array:
    rows, size = x.reshape(-1, x.shape[-1]), dgates.shape[-1]
    out = k.empty((len(dgates) * size, rows.shape[1]), x.dtype) if out is None else out
    for i, d in enumerate(dgates):
        gemm(d.reshape(-1, size).T, rows, out=out[i * size : (i + 1) * size])
    return out


def _of_bias(dgates: Array, out: Array | None) -> Array:
    size = dgates.shape[-1]
    out = k.empty((len(dgates) * size,), dgates.dtype) if out is None else out
    for i, d in enumerate(dgates):
        rows = d.reshape(-1, size)
        gemv(rows.T, k.row(1, len(rows), rows.dtype), out=out[i * size : (i + 1) * size])
    return out


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
