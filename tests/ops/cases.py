"""Every primitive with inputs that reach all of it: one list for gradients, replay, and agreement with torch."""

import numpy as np

from mlkit import kernels as k
from mlkit import ops


class Poison(k.Observer):
    """New memory is full of numbers that are none, as it may be."""

    def own(self, array):
        super().own(array)
        if array.dtype.kind == "f":
            array.fill(np.nan)


class Case:
    """`function(*arrays, **options)`; the gradient is asked of the first `inputs` arrays."""

    def __init__(self, function, *arrays, inputs=None, torch=None, **options):
        self.function, self.arrays, self.options, self.torch = function, arrays, options, torch
        self.inputs = len(arrays) if inputs is None else inputs

    def __repr__(self):
        shapes = ",".join("x".join(map(str, np.shape(a))) for a in self.arrays)
        options = "".join(f",{key}={value}" for key, value in self.options.items())
        return f"{self.function.__name__}({shapes}{options})"

    def __call__(self, *arrays):
        return self.function(*arrays, **self.options)


rng = np.random.default_rng(7)


def normal(*shape):
    return rng.standard_normal(shape)


def positive(*shape):
    return rng.uniform(0.3, 2.0, shape)


def away(*shape, gap=0.1):
    """Numbers that keep `gap` away from 0, where the slope jumps."""
    x = normal(*shape)
    return x + np.copysign(gap, x)


def classes(count, batch):
    return rng.integers(0, count, batch)


def probabilities(*shape):
    p = positive(*shape)
    return p / p.sum(-1, keepdims=True)


PAIRS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((), (3, 4)),
    ((3, 4), ()),
    ((2, 3, 4), (3, 1)),
    ((1,), (1,)),
]

CASES = [
    *(Case(f, normal(*a), normal(*b)) for f in (ops.add, ops.subtract, ops.multiply) for a, b in PAIRS),
    *(Case(ops.divide, normal(*a), positive(*b)) for a, b in PAIRS),
    *(Case(ops.power, positive(*a), normal(*b)) for a, b in PAIRS),
    *(Case(f, normal(3, 5)) for f in (ops.negative, ops.exp, ops.tanh, ops.sigmoid, ops.softmax, ops.log_softmax)),
    *(Case(f, positive(3, 5)) for f in (ops.log, ops.sqrt)),
    *(Case(f, away(*shape)) for f in (ops.absolute, ops.relu) for shape in ((3, 5), (), (7,), (2, 3, 1))),
    Case(ops.hardsigmoid, np.array([[-4.0, -2.9, 0.1, 2.9, 4.0]])),
    Case(ops.softmax, normal(3, 5, 2), axis=1),
    Case(ops.log_softmax, normal(3, 5, 2), axis=0),
    *(Case(f, normal(3, 4, 2), axis=axis, keepdims=keep) for f in (ops.sum, ops.mean, ops.max, ops.min)
      for axis in (None, 0, -1, (0, 2)) for keep in (False, True)),
    Case(ops.reshape, normal(3, 4)), Case(ops.permute, normal(3, 4, 2)),
    Case(ops.concatenate, normal(3, 4), normal(2, 4), axis=0),
    Case(ops.concatenate, normal(3, 1), normal(3, 4), normal(3, 2), axis=-1),
    *(Case(ops.matmul, normal(*a), normal(*b)) for a, b in (
        ((3, 4), (4, 5)), ((3, 4), (4,)), ((4,), (4, 5)), ((4,), (4,)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (5, 4, 3)), ((2, 3, 4), (4,)), ((1, 4), (4, 1)),
    )),
    *(Case(ops.linear, normal(*x), normal(5, 4), normal(5), activation=activation)
      for activation in (None, "relu", "sigmoid", "tanh", "hardsigmoid") for x in ((3, 4), (2, 3, 4), (4,), (1, 4))),
    Case(ops.linear, normal(3, 4), normal(5, 4)), Case(ops.linear, normal(3, 4), normal(1, 4), normal(1), activation="relu"),
    *(Case(ops.mse_loss, normal(4, 3), normal(4, 3), inputs=1, reduction=r) for r in ("mean", "sum", "none")),
    *(Case(ops.l1_loss, away(4, 3), np.zeros((4, 3)), inputs=1, reduction=r) for r in ("mean", "sum", "none")),
    *(Case(ops.huber_loss, 2 * normal(4, 3), normal(4, 3), inputs=1, reduction=r, delta=0.7) for r in ("mean", "sum", "none")),
    *(Case(ops.binary_cross_entropy, rng.uniform(0.05, 0.95, (4, 3)), rng.uniform(0, 1, (4, 3)), inputs=1, reduction=r)
      for r in ("mean", "sum", "none")),
    *(Case(ops.binary_cross_entropy_with_logits, away(4, 3), rng.uniform(0, 1, (4, 3)), inputs=1, reduction=r)
      for r in ("mean", "sum", "none")),
    *(Case(ops.cross_entropy, normal(4, 3), classes(3, 4), inputs=1, reduction=r) for r in ("mean", "sum", "none")),
    *(Case(ops.cross_entropy, normal(4, 3), probabilities(4, 3), inputs=1, reduction=r) for r in ("mean", "sum", "none")),
    Case(ops.cross_entropy, normal(1, 1), np.array([0]), inputs=1),
]  # fmt: skip


def reshaped(x):
    return ops.reshape(x, 2, -1)


def permuted(x):
    return ops.permute(x, 2, 0, 1)


def turned(x):
    return ops.transpose(x, 0, -1)


def rows(x):
    return ops.getitem(x, (slice(None, None, -1), 1, None))


def one(x):
    return ops.getitem(x, (0, 0))


def spread(x):
    return ops.broadcast_to(x, 2, 3, 4)


CASES = [case for case in CASES if case.function not in (ops.reshape, ops.permute)]
CASES += [
    Case(reshaped, normal(3, 4)),
    Case(reshaped, normal(4, 3).T),
    Case(permuted, normal(2, 3, 4)),
    Case(turned, normal(2, 3, 4)),
]
CASES += [
    Case(rows, normal(3, 4, 2)),
    Case(one, normal(3, 4)),
    Case(spread, normal(3, 1)),
    Case(spread, normal(2, 3, 4)),
    Case(spread, normal()),
]


def looked_up(weight, indices):
    return ops.embedding(indices, weight, padding_idx=1)


def widened(x, mode="constant"):
    return ops.pad(x, (1, 2, 2, 1), mode=mode)


def enlarged(x, **options):
    return ops.upsample(x, **options)


def gated(gates):
    """Inputs, first state(s), weights and biases of a recurrent layer of 4 units: 5 steps, 3 series, 2 inputs."""
    first = [normal(3, 4)] * (2 if gates == 4 else 1)
    return normal(5, 3, 2), *first, normal(4 * gates, 2), normal(4 * gates, 4), normal(4 * gates), normal(4 * gates)


lasting = (np.arange(5)[:, None, None] < np.array([5, 3, 1])[:, None]).astype(float)
channels = [(4, 3, 5), (6, 4), (2, 4, 3, 5), (8, 2, 6, 6), (2, 3, 1, 1)]
CONVOLUTIONS = [
    ((2, 3, 8, 7), (4, 3, 3, 3), {"padding": 1}),
    ((2, 3, 7, 9), (4, 3, 3, 3), {"padding": 1, "activation": "relu"}),
    ((2, 3, 7, 9), (4, 3, 3, 3), {"padding": (2, 0), "stride": (1, 2)}),
    ((1, 2, 5, 5), (3, 2, 1, 1), {}),
    ((1, 2, 5, 5), (3, 2, 1, 1), {"padding": 1}),
    ((1, 2, 5, 5), (3, 2, 1, 1), {"stride": 2}),
    ((2, 2, 9, 8), (3, 2, 3, 2), {"dilation": 2, "stride": 2, "padding": 1}),
    ((2, 4, 6, 5), (4, 1, 3, 3), {"groups": 4, "padding": 1, "activation": "tanh"}),
    ((2, 4, 6, 5), (6, 2, 3, 3), {"groups": 2, "stride": 2}),
    ((1, 20, 9, 6), (18, 20, 3, 3), {"padding": 1, "algorithm": "winograd"}),
    ((2, 4, 6, 7), (3, 4, 5, 5), {"padding": 2, "algorithm": "winograd"}),
    ((2, 4, 6, 7), (3, 4, 5, 5), {"padding": 2, "algorithm": "direct"}),
    ((2, 4, 6, 7), (3, 4, 5, 5), {"padding": 2, "algorithm": "planar"}),
    ((2, 4, 6, 7), (3, 4, 5, 5), {"padding": 2, "algorithm": "gathered", "activation": "relu"}),
    ((2, 4, 9, 7), (3, 4, 3, 2), {"padding": 1, "stride": (2, 3), "dilation": (1, 2), "algorithm": "gathered"}),
    ((2, 3, 8, 7), (4, 3, 3, 3), {"padding": 1, "algorithm": "direct"}),
    ((2, 3, 7, 9), (4, 3, 3, 3), {"padding": (2, 0), "stride": (1, 2), "algorithm": "direct"}),
    ((2, 2, 9, 8), (3, 2, 3, 2), {"dilation": 2, "stride": 2, "padding": 1, "algorithm": "direct"}),
    ((1, 2, 5, 5), (3, 2, 1, 1), {"stride": 2, "algorithm": "direct"}),
]
CASES += [
    *(Case(ops.conv2d, normal(*x), normal(*w), normal(w[0]), **options) for x, w, options in CONVOLUTIONS),
    Case(ops.conv2d, normal(2, 3, 5, 5), normal(4, 3, 3, 3)),
    Case(ops.conv1d, normal(2, 3, 8), normal(4, 3, 3), normal(4), padding=1, stride=2),
    Case(ops.conv1d, normal(2, 3, 8), normal(3, 1, 4), normal(3), groups=3),
    Case(ops.conv_transpose2d, normal(2, 3, 4, 5), normal(3, 2, 3, 3), normal(2), stride=2, padding=1, output_padding=1),
    Case(ops.conv_transpose2d, normal(2, 3, 4, 5), normal(3, 2, 3, 3), normal(2)),
    Case(ops.conv_transpose2d, normal(2, 4, 4, 5), normal(4, 3, 3, 3), normal(6), stride=2, groups=2),
    *(Case(ops.max_pool2d, normal(2, 3, 7, 8), kernel_size=size, **options) for size, options in (
        (2, {}), (3, {"stride": 2, "padding": 1}), ((2, 3), {"stride": (1, 2)}), (2, {"dilation": 2, "stride": 1}),
        (3, {"stride": 2, "ceil_mode": True}), (1, {"stride": 2}), (2, {"activation": "relu"}),
    )),
    *(Case(ops.avg_pool2d, normal(2, 3, 7, 8), kernel_size=size, **options) for size, options in (
        (2, {}), (3, {"stride": 2, "padding": 1}), (3, {"stride": 2, "padding": 1, "count_include_pad": False}),
        (2, {"stride": 2, "ceil_mode": True}),
    )),
    *(Case(ops.adaptive_avg_pool2d, normal(2, 3, 6, 8), output_size=size) for size in (1, (2, 4), 5)),
    *(Case(ops.batch_norm, normal(*x), normal(x[1]), normal(x[1]), normal(*x), activation=activation)
      for x in channels if x != (2, 3, 1, 1) for activation in (None, "relu")),
    *(Case(ops.batch_norm, normal(*x), normal(x[1]), normal(x[1]), normal(*x), np.full(x[1], 0.5), np.full(x[1], 2.0),
           inputs=4, activation="tanh") for x in channels),
    *(Case(ops.group_norm, normal(*x), normal(4), normal(4), num_groups=2) for x in ((3, 4, 5), (2, 4, 3, 2), (5, 4))),
    *(Case(ops.layer_norm, normal(3, 4, 5), normal(*shape), normal(*shape), axes=len(shape)) for shape in ((5,), (4, 5))),
    *(Case(ops.rms_norm, normal(3, 4, 5), normal(*shape), axes=len(shape)) for shape in ((5,), (4, 5))),
    *(Case(ops.lstm, *gated(4), *mask, inputs=7, reverse=back) for back in (False, True) for mask in ((), (lasting,))),
    *(Case(ops.gru, *gated(3), *mask, inputs=6, reverse=back) for back in (False, True) for mask in ((), (lasting,))),
    *(Case(ops.rnn, *gated(1), *mask, inputs=6, reverse=back) for back in (False, True) for mask in ((), (lasting,))),
    Case(ops.scaled_dot_product_attention, normal(2, 3, 4, 5), normal(2, 3, 6, 5), normal(2, 3, 6, 2)),
    Case(ops.scaled_dot_product_attention, normal(2, 3, 4, 5), normal(2, 3, 4, 5), normal(2, 3, 4, 5), is_causal=True),
    Case(ops.scaled_dot_product_attention, *(normal(2, 3, *shape) for shape in ((4, 5), (6, 5), (6, 2))), normal(2, 1, 4, 6),
         inputs=3),
    Case(ops.self_attention, normal(2, 5, 12), heads=2), Case(ops.self_attention, normal(2, 5, 12), heads=4, is_causal=True),
    Case(ops.rotary, normal(2, 3, 5, 4)), Case(ops.rotary, normal(5, 6), first=3),
    Case(looked_up, normal(6, 3), rng.integers(2, 6, (4, 5)), inputs=1),
    *(Case(f, away(3, 5)) for f in (ops.leaky_relu, ops.elu, ops.gelu, ops.silu, ops.mish, ops.softplus)),
    Case(ops.leaky_relu, away(3, 5), negative_slope=1.5), Case(ops.elu, away(2, 3), alpha=0.7),
    Case(ops.gelu, normal(3, 5), approximate="tanh"), Case(ops.gelu, normal(4, 3).T), Case(ops.softplus, normal(3, 5), beta=2.0),
    *(Case(ops.linear, normal(300, 4), normal(130, 4), normal(130), activation=name) for name in ("gelu", "silu")),
    *(Case(widened, normal(2, 3, 4, 5), mode=mode) for mode in ("constant", "reflect", "replicate", "circular")),
    *(Case(enlarged, normal(2, 3, 4, 5), scale_factor=2, **more)
      for more in ({}, {"mode": "bilinear"}, {"mode": "bilinear", "align_corners": True})),
    *(Case(ops.smooth_l1_loss, 2 * normal(4, 3), normal(4, 3), inputs=1, reduction=r, beta=0.7) for r in ("mean", "none")),
    *(Case(ops.hinge_embedding_loss, normal(4, 3), np.sign(normal(4, 3)), inputs=1, reduction=r) for r in ("mean", "none")),
    *(Case(ops.kl_div, normal(4, 3), probabilities(4, 3), inputs=1, reduction=r) for r in ("sum", "batchmean", "none")),
    *(Case(ops.nll_loss, normal(4, 3), classes(3, 4), inputs=1, reduction=r) for r in ("mean", "sum", "none")),
    *(Case(ops.cross_entropy, normal(4, 3), np.array([0, -1, 2, 1]), inputs=1, reduction=r, ignore_index=-1, label_smoothing=0.1)
      for r in ("mean", "sum", "none")),
    *(Case(ops.cross_entropy, normal(2, 3, 4), rng.integers(0, 3, (2, 4)), inputs=1, reduction=r) for r in ("mean", "none")),
    Case(ops.cross_entropy, normal(2, 3, 4), probabilities(2, 3, 4), inputs=1, label_smoothing=0.1),
    *(Case(ops.ctc_loss, normal(8, 3, 5), np.array([[1, 2, 2], [3, 1, 0], [4, 0, 0]]), np.array([8, 6, 8]), np.array([3, 2, 0]),
           inputs=1, reduction=r) for r in ("mean", "sum", "none")),
]  # fmt: skip
