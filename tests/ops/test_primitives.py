"""For every primitive: the gradient in float64, replay bit for bit, and a thunk that writes where it is told."""

import numpy as np
import pytest

import mlkit
from mlkit import ops
from mlkit.errors import ArgumentError, DataError, DtypeError, MlkitError, ShapeError

from .cases import CASES

ids = [f"{i}-{case}" for i, case in enumerate(CASES)]
every_case = pytest.mark.parametrize("case", CASES, ids=ids)


def leaves(case, dtype=np.float64):
    """The case's inputs as tensors, those with gradients first."""
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in map(np.asarray, case.arrays)]
    return [mlkit.tensor(a, requires_grad=i < case.inputs) if i < case.inputs else a for i, a in enumerate(arrays)]


def test_every_primitive_has_a_case():
    reached = {case.function.__name__ for case in CASES}
    through = {"reshape": "reshaped", "permute": "permuted", "transpose": "turned", "getitem": "rows", "broadcast_to": "spread"}
    assert {through.get(name, name) for name in ops.__all__} <= reached


@every_case
def test_the_gradient_is_the_slope_in_random_directions(case, rng):
    """<vjp(v), u> == <v, (f(x + εu/2) - f(x - εu/2)) / ε>"""
    inputs = leaves(case)
    y = case(*inputs)
    v = rng.standard_normal(y.shape)
    y.backward(v)
    for i in range(case.inputs):
        u, step = rng.standard_normal(inputs[i].shape), 1e-6
        shifted = [[a.data if isinstance(a, mlkit.Tensor) else a for a in inputs] for _ in range(2)]
        for arrays, sign in zip(shifted, (1, -1)):
            arrays[i] = np.asarray(arrays[i] + sign * step / 2 * u)
        slope = (case(*shifted[0]) - case(*shifted[1])) / step
        assert np.isclose((inputs[i].grad.data * u).sum(), (v * slope).sum(), rtol=1e-6, atol=1e-8)


@every_case
def test_replay_and_eager_give_the_same_bits(case):
    dtype = np.float32
    held = leaves(case, dtype)

    def step(*arrays):
        tensors = [mlkit.Tensor(a, True) if i < case.inputs else a for i, a in enumerate(arrays)]
        y = case(*tensors)
        ops.sum(ops.multiply(y, y)).backward()
        return y, *(t.grad for t in tensors[: case.inputs])

    captured = mlkit.capture(step)
    arrays = [h.data if isinstance(h, mlkit.Tensor) else h for h in held]
    for scale in (1.0, 0.5, 1.0):  # new values: one that was frozen would show
        scaled = [(a * dtype(scale)).astype(a.dtype) if i < case.inputs else a for i, a in enumerate(arrays)]
        eager, replayed = step(*scaled), captured(*scaled)
        assert all(np.array_equal(e.data, r.data, equal_nan=True) for e, r in zip(eager, replayed))
    assert captured.plan is not None


@every_case
def test_a_thunk_writes_where_it_is_told(case, rng):
    if not hasattr(case.function, "on_arrays"):
        return
    arrays = [np.asarray(a) for a in case.arrays]
    value, backward = case.function.on_arrays(*arrays, **case.options)
    thunks = backward(rng.standard_normal(value.shape))
    for array, thunk in list(zip(arrays, thunks))[: case.inputs]:
        out = np.full(array.shape, np.nan)
        expected = np.array(thunk(None))
        assert expected.shape == array.shape
        assert thunk(out) is out or np.shares_memory(thunk(out), out)
        assert np.array_equal(out, expected)


@every_case
def test_dtype_and_input_are_left_alone(case):
    for dtype in (np.float32, np.float64):
        arrays = [np.array(a, dtype if np.asarray(a).dtype.kind == "f" else None) for a in case.arrays]
        copies = [a.copy() for a in arrays]
        assert case(*arrays).dtype == dtype
        assert all(np.array_equal(a, c) for a, c in zip(arrays, copies))


@every_case
def test_agreement_with_torch(case):
    torch = pytest.importorskip("torch")
    theirs = TORCH(torch).get(case.function.__name__)
    assert theirs is not None
    inputs = leaves(case)
    tensors = [torch.tensor(np.asarray(a), requires_grad=i < case.inputs) for i, a in enumerate(case.arrays)]
    y, z = case(*inputs), theirs(*tensors, **case.options)
    assert np.allclose(y.data, z.detach().numpy(), rtol=1e-10, atol=1e-12)
    y.backward(np.ones(y.shape))
    z.backward(torch.ones_like(z))
    for ours, other in zip(inputs[: case.inputs], tensors):
        coarse = "hardsigmoid" in repr(case)  # torch's slope there is a float32 sixth
        assert np.allclose(ours.grad.data, other.grad.numpy(), rtol=1e-6 if coarse else 1e-9, atol=1e-11)


def TORCH(torch):  # noqa: N802
    f = torch.nn.functional

    def reduction(function):
        def apply(x, axis=None, keepdims=False):
            return function(x, dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims)

        return apply

    def linear(x, weight, bias=None, activation=None):
        y = f.linear(x, weight, bias)
        return y if activation is None else getattr(f, activation)(y)

    return {
        "add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply, "divide": torch.divide, "power": torch.pow,
        "negative": torch.negative, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "absolute": torch.abs,
        "relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "hardsigmoid": f.hardsigmoid,
        "softmax": lambda x, axis=-1: torch.softmax(x, axis), "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
        "sum": reduction(torch.sum), "mean": reduction(torch.mean), "max": reduction(torch.amax), "min": reduction(torch.amin),
        "concatenate": lambda *x, axis: torch.cat(x, axis), "matmul": torch.matmul, "linear": linear,
        "mse_loss": f.mse_loss, "l1_loss": f.l1_loss, "huber_loss": f.huber_loss, "cross_entropy": f.cross_entropy,
        "binary_cross_entropy": f.binary_cross_entropy, "binary_cross_entropy_with_logits": f.binary_cross_entropy_with_logits,
        "reshaped": lambda x: x.reshape(2, -1), "permuted": lambda x: x.permute(2, 0, 1), "turned": lambda x: x.transpose(0, -1),
        "rows": lambda x: x.flip(0)[:, 1, None], "one": lambda x: x[0, 0], "spread": lambda x: torch.broadcast_to(x, (2, 3, 4)),
    }  # fmt: skip


def test_sigmoid_and_softmax_do_not_overflow():
    x = np.array([[-1e4, -90.0, 0.0, 90.0, 1e4]], np.float32)
    assert np.allclose(ops.sigmoid(x), [[0, 0, 0.5, 1, 1]], atol=1e-30)
    assert np.isfinite(ops.log_softmax(x)).all()
    assert ops.softmax(x).sum() == 1
    assert np.isfinite(ops.binary_cross_entropy_with_logits(x, np.ones_like(x)))
    assert ops.binary_cross_entropy(np.array([0.0, 1.0]), np.array([1.0, 1.0])) == 50


a, b = np.ones((2, 3)), np.ones((4, 5))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ops.add(a, b), ShapeError),
        (lambda: ops.add(a, a.astype(np.float32)), DtypeError),
        (lambda: mlkit.tensor([1, 2]) + 0.5, DtypeError),
        (lambda: ops.matmul(a, b), ShapeError),
        (lambda: ops.matmul(a, np.array(1.0)), ShapeError),
        (lambda: ops.linear(a, b), ShapeError),
        (lambda: ops.linear(a, np.ones((4, 3)), np.ones(3)), ShapeError),
        (lambda: ops.linear(a, np.ones((4, 3)), activation="swoosh"), ArgumentError),
        (lambda: ops.linear(a.astype(np.float32), np.ones((4, 3))), DtypeError),
        (lambda: ops.linear(a, np.ones((4, 3)), np.ones(4, np.float32)), DtypeError),
        (lambda: ops.sum(a, axis=2), ShapeError),
        (lambda: ops.sum(a, axis=(0, -2)), ShapeError),
        (lambda: ops.max(np.ones((0, 2))), ShapeError),
        (lambda: ops.reshape(a, 4, 2), ShapeError),
        (lambda: ops.reshape(a, -1, -1), ShapeError),
        (lambda: ops.permute(a, 0, 0), ShapeError),
        (lambda: ops.transpose(a, 0, 5), ShapeError),
        (lambda: ops.getitem(a, 7), ShapeError),
        (lambda: ops.getitem(a, [0, 1]), ShapeError),
        (lambda: ops.broadcast_to(a, 4, 4), ShapeError),
        (lambda: ops.concatenate(a, b), ShapeError),
        (lambda: ops.softmax(a, axis=3), ShapeError),
        (lambda: ops.mse_loss(a, b), ShapeError),
        (lambda: ops.mse_loss(a, a, reduction="most"), ArgumentError),
        (lambda: ops.huber_loss(a, a, delta=0), ArgumentError),
        (lambda: ops.l1_loss(a, a.astype(np.float32)), DtypeError),
        (lambda: ops.cross_entropy(a, np.array([0, 3])), DataError),
        (lambda: ops.cross_entropy(a, np.array([0, -1])), DataError),
        (lambda: ops.cross_entropy(a, np.array([0.0, 1.0])), ShapeError),
        (lambda: ops.cross_entropy(a, np.array([0])), ShapeError),
        (lambda: ops.cross_entropy(np.ones(3), np.array([0])), ShapeError),
    ],
)
def test_what_does_not_fit_is_one_clear_error(call, error):
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, MlkitError)


def test_a_wrong_class_number_is_found_in_a_replay_too():
    captured = mlkit.capture(lambda x, y: ops.cross_entropy(x, y))
    x = np.zeros((2, 3), np.float32)
    captured(x, np.array([0, 1])), captured(x, np.array([0, 2]))
    with pytest.raises(DataError):
        captured(x, np.array([0, 3]))
