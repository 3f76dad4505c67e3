"""What a step of an LSTM or a GRU does between its products, forward and back, each as one kernel."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from .. import kernels as k
from ..kernels import Array, Bound


@lru_cache(64)
def halves(size: int, dtype: Any) -> tuple[Array, Array]:
    """What the tanh of the four gates are multiplied by, and what is added, to be sigmoids but for g: (4 H,) each."""
    scale, shift = np.full((2, 4 * size), 0.5, dtype)
    scale[2 * size : 3 * size], shift[2 * size : 3 * size] = 1, 0
    return k.keep(scale), k.keep(shift)


@k.composite
def lstm_step(c: Array, gates: Array, state: Array, tanh: Array, h: Array) -> Iterator[Bound]:
    """The new c in `state`, its tanh, the new h; `gates` hold what goes into the tanh, then i, f, g, o."""
    i, f, g, o = gates
    yield np.tanh, (gates, gates)
    if len(h) == 1:  # then two calls save more than they do in vain
        scale, shift = (row.reshape(gates.shape) for row in halves(h.size, h.dtype))
        yield np.multiply, (gates, scale, gates)
        yield np.add, (gates, shift, gates)
    else:
        half = k.scalar(0.5, h.dtype)
        for sigmoid in (gates[:2], o):
            yield np.multiply, (sigmoid, half, sigmoid)
            yield np.add, (sigmoid, half, sigmoid)
    yield np.multiply, (i, g, tanh)
    yield np.multiply, (f, c, state)
    yield np.add, (state, tanh, state)
    yield np.tanh, (state, tanh)
    yield np.multiply, (o, tanh, h)


@k.composite
def lstm_step_gradient(dh: Array, gates: Array, c: Array, tanh: Array, scratch: Array, dc: Array, dgates: Array) -> Iterator[Bound]:
    """The gradient before the gates' functions; `dc` becomes that of the state before."""
    one = k.scalar(1, dh.dtype)
    i, f, g, o = gates
    di, df, dg, do = dgates
    dh_o, rest = scratch[:2]
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
    yield np.subtract, (gates[:2], scratch[:2], scratch[:2])
    yield np.subtract, (one, scratch[2], scratch[2])
    yield np.subtract, (o, scratch[3], scratch[3])
    yield np.multiply, (dgates, scratch, dgates)


@k.composite
def gru_step(h: Array, products: Array, gates: Array, out: Array) -> Iterator[Bound]:
    """The new h; `gates` hold the products with the inputs, then r, z, n."""
    half, sigmoids = k.scalar(0.5, h.dtype), gates[:2]
    r, z, n = gates
    yield np.add, (sigmoids, products[:2], sigmoids)
    yield np.multiply, (sigmoids, half, sigmoids)
    yield np.tanh, (sigmoids, sigmoids)
    yield np.multiply, (sigmoids, half, sigmoids)
    yield np.add, (sigmoids, half, sigmoids)
    yield np.multiply, (r, products[2], out)
    yield np.add, (n, out, n)
    yield np.tanh, (n, n)
    yield np.subtract, (h, n, out)
    yield np.multiply, (out, z, out)
    yield np.add, (out, n, out)


@k.composite
def gru_step_gradient(
    gates: Array, products: Array, h: Array, scratch: Array, dproducts: Array, dh: Array, dgates: Array
) -> Iterator[Bound]:
    """The gradients before the gates' functions; `dh` becomes what goes past the gates to the state before."""
    one, (r, z, n), (dr, dz, dn) = k.scalar(1, dh.dtype), gates, dgates
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
    yield np.multiply, (dn, products[2], dr)  # dr = dn h_n r (1 - r)
    yield np.multiply, (dr, r, dr)
    yield np.subtract, (one, r, scratch)
    yield np.multiply, (dr, scratch, dr)
    yield np.copyto, (dproducts[:2], dgates[:2])
    yield np.multiply, (dn, r, dproducts[2])
