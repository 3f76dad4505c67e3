"""For every primitive: the gradient in float64, replay bit for bit, and a thunk that writes where it is told."""

import numpy as np
import pytest

import mlkit
from mlkit import kernels as k
from mlkit import ops
from mlkit.errors import ArgumentError, DataError, DtypeError, MlkitError, ShapeError

from .cases import CASES, Poison

ids = [f"{i}-{case}" for i, case in enumerate(CASES)]
every_case = pytest.mark.parametrize("case", CASES, ids=ids)


def leaves(case, dtype=np.float64):
    """The case's inputs as tensors, those with gradients first."""
    arrays = [a.astype(dtype) if a.dtype.kind == "f" else a for a in map(np.asarray, case.arrays)]
    return [mlkit.tensor(a, requires_grad=i < case.inputs) if i < case.inputs else a for i, a in enumerate(arrays)]


def test_every_primitive_has_a_case():
    reached = {case.function.__name__ for case in CASES}
    through = {"reshape": "reshaped", "permute": "permuted", "transpose": "turned", "getitem": "rows", "broadcast_to": "spread",
               "embedding": "looked_up", "pad": "widened", "upsample": "enlarged"}  # fmt: skip
    drawn = {"dropout", "normal_like"}  # their tests are their own
    assert {through.get(name, name) for name in ops.__all__} - drawn <= reached


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
def test_nothing_depends_on_what_memory_held_before(case, rng):
    v = None
    results = []
    for observer in (k.Observer(), Poison()):
        inputs = leaves(case, np.float32)
        with observer:
            y = case(*inputs)
            v = rng.standard_normal(y.shape).astype(y.dtype) if v is None else v
            y.backward(v)
            results.append([y.data, *(x.grad.data for x in inputs[: case.inputs])])
    assert all(np.array_equal(a, b) for a, b in zip(*results))


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
    first = ops.log_softmax(inputs[0]) if case.function is ops.ctc_loss else inputs[0]  # torch's gradient there is that before it
    y = case(first, *inputs[1:])
    z = theirs(*tensors, **case.options)
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

    def activated(function):
        """With a bias, and the activation afterwards."""

        def apply(x, weight, bias=None, *rest, activation=None, algorithm=None, **options):
            y = function(x, weight, bias, *rest, **options)
            return y if activation is None else getattr(f, activation)(y)

        return apply

    def batch_norm(x, weight, bias, residual, mean=None, var=None, activation=None):
        y = f.batch_norm(x, mean, var, weight, bias, training=mean is None) + residual
        return y if activation is None else getattr(f, activation)(y)

    def recurrent(kind):
        def apply(x, *rest, reverse=False):
            mask = rest[-1] if rest[-1].ndim == 3 else None
            rest = rest if mask is None else rest[:-1]
            states, parameters = rest[:-4], rest[-4:]
            lengths = None if mask is None else mask[..., 0].sum(0).long()
            if reverse:  # each series by itself backwards: what torch's packing does
                order = [torch.arange(len(x)) for _ in range(x.shape[1])]
                for n, each in enumerate(order):
                    end = len(x) if lengths is None else int(lengths[n])
                    each[:end] = torch.arange(end).flip(0)
                turn = lambda z: torch.stack([z[each, n] for n, each in enumerate(order)], 1)  # noqa: E731
                x = turn(x)
            module = getattr(torch.nn, kind)(x.shape[2], states[0].shape[1]).double()
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            given = [state[None] for state in states]
            source = x if lengths is None else torch.nn.utils.rnn.pack_padded_sequence(x, lengths)
            y, last = torch.func.functional_call(
                module, dict(zip(names, parameters)), (source, tuple(given) if kind == "LSTM" else given[0])
            )
            if lengths is not None:
                y, _ = torch.nn.utils.rnn.pad_packed_sequence(y)
            return torch.cat([turn(y) if reverse else y, *(last if kind == "LSTM" else (last,))])

        return apply

    def rotary(x, first=0):
        half = x.shape[-1] // 2
        angles = (first + torch.arange(x.shape[-2]))[:, None] * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        turned = torch.view_as_complex(torch.stack([x[..., :half], x[..., half:]], -1)) * torch.polar(
            torch.ones_like(angles), angles
        )
        return torch.cat([turned.real, turned.imag], -1)

    def self_attention(x, heads, is_causal=False):
        parts = x.view(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4)
        return f.scaled_dot_product_attention(*parts, is_causal=is_causal).transpose(1, 2).reshape(*x.shape[:2], -1)

    def cross_entropy(x, target, ignore_index=-100, **options):
        return f.cross_entropy(x, target, ignore_index=ignore_index, **options)

    def max_pool2d(x, activation=None, **options):
        return f.max_pool2d(f.relu(x) if activation else x, **options)

    def norm(function):
        return lambda x, *parameters, axes: function(x, x.shape[x.ndim - axes :], *parameters)

    return {
        "add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply, "divide": torch.divide, "power": torch.pow,
        "negative": torch.negative, "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "absolute": torch.abs,
        "relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "hardsigmoid": f.hardsigmoid,
        "softmax": lambda x, axis=-1: torch.softmax(x, axis), "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
        "sum": reduction(torch.sum), "mean": reduction(torch.mean), "max": reduction(torch.amax), "min": reduction(torch.amin),
        "concatenate": lambda *x, axis: torch.cat(x, axis), "matmul": torch.matmul, "linear": activated(f.linear),
        "mse_loss": f.mse_loss, "l1_loss": f.l1_loss, "huber_loss": f.huber_loss, "cross_entropy": cross_entropy,
        "binary_cross_entropy": f.binary_cross_entropy, "binary_cross_entropy_with_logits": f.binary_cross_entropy_with_logits,
        "reshaped": lambda x: x.reshape(2, -1), "permuted": lambda x: x.permute(2, 0, 1), "turned": lambda x: x.transpose(0, -1),
        "rows": lambda x: x.flip(0)[:, 1, None], "one": lambda x: x[0, 0], "spread": lambda x: torch.broadcast_to(x, (2, 3, 4)),
        "conv2d": activated(f.conv2d), "conv1d": activated(f.conv1d), "conv_transpose2d": f.conv_transpose2d,
        "max_pool2d": max_pool2d, "avg_pool2d": f.avg_pool2d, "adaptive_avg_pool2d": f.adaptive_avg_pool2d,
        "batch_norm": batch_norm, "group_norm": lambda x, weight, bias, num_groups: f.group_norm(x, num_groups, weight, bias),
        "layer_norm": norm(f.layer_norm), "rms_norm": norm(f.rms_norm),
        "lstm": recurrent("LSTM"), "gru": recurrent("GRU"), "rnn": recurrent("RNN"),
        "scaled_dot_product_attention": f.scaled_dot_product_attention,
        "self_attention": self_attention, "rotary": rotary, "looked_up": lambda weight, i: f.embedding(i, weight, padding_idx=1),
        "leaky_relu": f.leaky_relu, "elu": f.elu, "gelu": f.gelu, "silu": f.silu, "mish": f.mish, "softplus": f.softplus,
        "widened": lambda x, mode: f.pad(x, (1, 2, 2, 1), mode=mode), "enlarged": f.interpolate,
        "smooth_l1_loss": f.smooth_l1_loss, "hinge_embedding_loss": f.hinge_embedding_loss, "kl_div": f.kl_div,
        "nll_loss": f.nll_loss, "ctc_loss": lambda x, *rest, **options: f.ctc_loss(f.log_softmax(x, -1), *rest, **options),
    }  # fmt: skip


def test_sigmoid_and_softmax_do_not_overflow():
    x = np.array([[-1e4, -90.0, 0.0, 90.0, 1e4]], np.float32)
    assert np.allclose(ops.sigmoid(x), [[0, 0, 0.5, 1, 1]], atol=1e-30)
    assert np.isfinite(ops.log_softmax(x)).all()
    assert ops.softmax(x).sum() == 1
    assert np.isfinite(ops.binary_cross_entropy_with_logits(x, np.ones_like(x)))
    assert ops.binary_cross_entropy(np.array([0.0, 1.0]), np.array([1.0, 1.0])) == 50


a, b, images = np.ones((2, 3)), np.ones((4, 5)), np.ones((2, 3, 5, 5))


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
        (lambda: ops.cross_entropy(a, np.array([0, -100])), DataError),
        (lambda: ops.cross_entropy(a, np.array([0, 1]), weight=np.ones(2)), ShapeError),
        (lambda: ops.cross_entropy(a, np.array([0, 1]), label_smoothing=2), ArgumentError),
        (lambda: ops.cross_entropy(images, np.array([0, 1])), ShapeError),
        (lambda: ops.nll_loss(a, np.array([0, 7]), weight=np.ones(3)), DataError),
        (lambda: ops.conv2d(images, np.ones((4, 2, 3, 3))), ShapeError),
        (lambda: ops.conv2d(images, np.ones((4, 3, 9, 9))), ShapeError),
        (lambda: ops.conv2d(images, np.ones((4, 3, 3, 3)), np.ones(3)), ShapeError),
        (lambda: ops.conv2d(images, np.ones((4, 3, 3, 3), np.float32)), DtypeError),
        (lambda: ops.conv2d(images, np.ones((4, 3, 3, 3)), stride=0), ArgumentError),
        (lambda: ops.conv2d(images, np.ones((4, 3, 3, 3)), padding=-1), ArgumentError),
        (lambda: ops.conv2d(images, np.ones((4, 1, 3, 3)), groups=3), ShapeError),
        (lambda: ops.conv2d(images, np.ones((4, 3, 3, 3)), algorithm="fft"), ArgumentError),
        (lambda: ops.conv2d(images[:0], np.ones((4, 3, 3, 3))), ShapeError),
        (lambda: ops.conv1d(a, np.ones((4, 3, 3))), ShapeError),
        (lambda: ops.conv_transpose2d(images, np.ones((3, 2, 3, 3)), output_padding=1), ArgumentError),
        (lambda: ops.max_pool2d(images, 9), ShapeError),
        (lambda: ops.max_pool2d(images, 2, padding=2), ArgumentError),
        (lambda: ops.avg_pool2d(a, 2), ShapeError),
        (lambda: ops.adaptive_avg_pool2d(images, 0), ArgumentError),
        (lambda: ops.batch_norm(images, np.ones(2), np.ones(3)), ShapeError),
        (lambda: ops.batch_norm(images, residual=images[:1]), ShapeError),
        (lambda: ops.layer_norm(a, np.ones(2)), ShapeError),
        (lambda: ops.group_norm(images, None, None, num_groups=2), ShapeError),
        (lambda: ops.lstm(np.ones((5, 2, 3)), a, a, np.ones((8, 3)), np.ones((8, 2)), None, None), ShapeError),
        (lambda: ops.rnn(np.ones((5, 2, 3)), a, np.ones((3, 3)), np.ones((3, 3)), None, None, nonlinearity="sin"), ArgumentError),
        (lambda: ops.scaled_dot_product_attention(images, images, images[:, :2]), ShapeError),
        (lambda: ops.scaled_dot_product_attention(images, images, images, np.ones((3, 3), bool)), ShapeError),
        (lambda: ops.self_attention(np.ones((2, 3, 8)), heads=3), ShapeError),
        (lambda: ops.embedding(np.array([0, 5]), b), DataError),
        (lambda: ops.embedding(np.array([0.0]), b), ShapeError),
        (lambda: ops.dropout(a, p=1.5), ArgumentError),
        (lambda: ops.dropout(a), ArgumentError),
        (lambda: ops.normal_like(a, 7), ArgumentError),
        (lambda: ops.conv2d(images, np.ones((4, 3, 2, 2)), algorithm="winograd"), ArgumentError),
        (lambda: ops.conv2d(images, np.ones((4, 3, 3, 3)), stride=2, algorithm="winograd"), ArgumentError),
        (lambda: ops.conv2d(images, np.ones((4, 3, 3, 3)), stride=2, algorithm="planar"), ArgumentError),
        (lambda: ops.gelu(a, approximate="cubic"), ArgumentError),
        (lambda: ops.pad(a, (1, 2, 3)), ArgumentError),
        (lambda: ops.pad(a, (3, 3), mode="reflect"), ShapeError),
        (lambda: ops.upsample(images, 1.5), ArgumentError),
        (lambda: ops.ctc_loss(images[0], np.ones((5, 1), int), np.full(5, 4), np.ones(5, int)), DataError),
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


def test_dropout_draws_anew_in_eager_and_in_replay():
    x = np.ones((40, 50), np.float32)
    generators = [np.random.default_rng(3) for _ in range(2)]
    captured = mlkit.capture(lambda x: ops.dropout(x, p=0.3, rng=generators[1]))
    seen = []
    for _ in range(3):
        one = ops.dropout(x, p=0.3, rng=generators[0])
        assert np.array_equal(one, captured(x))
        seen.append(one)
    assert captured.plan is not None
    assert not np.array_equal(seen[0], seen[1])
    assert set(np.unique(seen)) == {0, np.float32(1 / 0.7)}
    assert abs(np.mean(seen) - 1) < 0.05


def test_dropout_stops_the_gradient_where_it_stops_the_value():
    x = mlkit.tensor(np.ones((5, 6)), requires_grad=True)
    y = ops.dropout(x, p=0.5, rng=np.random.default_rng(0))
    y.backward(np.ones((5, 6)))
    assert np.array_equal(x.grad.data, y.data)


def test_normal_draws_are_new_at_every_call_and_normal():
    generators = [np.random.default_rng(3) for _ in range(2)]
    captured = mlkit.capture(lambda x: ops.normal_like(x, generators[1]))
    x = np.empty((100, 200), np.float32)
    draws = [ops.normal_like(x, generators[0]) for _ in range(2)]
    assert all(np.array_equal(one, captured(x)) for one in draws)
    assert not np.array_equal(*draws)
    assert abs(np.mean(draws)) < 0.02
    assert abs(np.std(draws) - 1) < 0.02


ALGORITHMS = [
    (3, "gathered", 5e-6),
    (3, "direct", 5e-6),
    (3, "winograd", 3e-5),
    (3, "planar", 5e-6),
    (5, "direct", 5e-6),
    (5, "winograd", 3e-5),
]


@pytest.mark.parametrize(("taps", "algorithm", "bound"), ALGORITHMS)
def test_a_convolution_in_float32_keeps_its_error_bound(library, taps, algorithm, bound):
    """Against float64, relative to the largest number: values and both gradients."""
    rng = np.random.default_rng(taps)
    arrays = [rng.standard_normal((3, 24, 13, 11)), rng.standard_normal((20, 24, taps, taps)) / taps, rng.standard_normal(20)]
    single = [a.astype(np.float32) for a in arrays]
    exact, exactly = ops.conv2d.on_arrays(*[a.astype(np.float64) for a in single], padding=taps // 2, algorithm="direct")
    found, roughly = ops.conv2d.on_arrays(*single, padding=taps // 2, algorithm=algorithm)
    dy = rng.standard_normal(found.shape).astype(np.float32)
    pairs = [(exact, found), *((a(None), b(None)) for a, b in zip(exactly(dy.astype(np.float64)), roughly(dy)))]
    for one, other in pairs:
        assert abs(one - other).max() < bound * abs(one).max()


@pytest.mark.parametrize("shape", [(1, 16, 28, 28), (3, 2, 9, 7), (64, 16, 6, 28), (200, 16, 5, 29)])
def test_pools_of_short_and_long_lines_and_of_some_images_at_a_time(rng, shape):
    x = rng.standard_normal(shape).astype(np.float32)
    height, width = shape[2] // 2, shape[3] // 2
    windows = x[:, :, : 2 * height, : 2 * width].reshape(*shape[:2], height, 2, width, 2)
    wanted = windows.max((3, 5))
    leaf = mlkit.tensor(x, requires_grad=True)
    y = ops.max_pool2d(leaf, 2)
    assert np.array_equal(y.numpy(), wanted)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    y.backward(dy)
    expected = np.zeros_like(x)
    routed = (windows == wanted[:, :, :, None, :, None]) * dy[:, :, :, None, :, None]
    expected[:, :, : 2 * height, : 2 * width] = routed.reshape(*shape[:2], 2 * height, 2 * width)
    assert np.array_equal(leaf.grad.numpy(), expected)


def test_images_keep_their_order_in_memory():
    x = ops.conv2d(np.ones((2, 3, 6, 6), np.float32), np.ones((4, 3, 3, 3), np.float32), padding=1)
    for y in (
        ops.relu(x),
        x + x,
        ops.gelu(x),
        ops.sigmoid(x) * x,
        ops.max_pool2d(x, 2),
        ops.dropout(x, rng=np.random.default_rng(0)),
    ):
        assert k.memory_order(y) == [2, 0, 3, 1]
