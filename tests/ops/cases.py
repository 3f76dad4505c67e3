"""Every primitive with inputs that reach all of it: one list for gradients, replay, and agreement with torch."""

import numpy as np

from mlkit import ops


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
