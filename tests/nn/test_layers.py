"""Layers: PyTorch's state dicts and results, train and eval, odd inputs, one clear error for what does not fit."""

import numpy as np
import pytest

import mlkit
from mlkit import nn, ops, optim
from mlkit.errors import ArgumentError, MlkitError, ShapeError


def first(result):
    """The output of a layer that returns more."""
    return result[0] if isinstance(result, tuple) else result


causal = np.triu(np.ones((5, 5), bool), 1)
padded = np.array([[False] * 5, [False] * 3 + [True] * 2, [False] * 4 + [True]])
LAYERS = {  # name: arguments, options, input shapes, how it is called
    "Linear": ((4, 5), {}, [(3, 4)], None),
    "Conv2d": ((3, 4, 3), {"padding": 1}, [(2, 3, 6, 5)], None),
    "Conv2d same": ((3, 4, (3, 5)), {"padding": "same", "bias": False}, [(2, 3, 6, 5)], None),
    "Conv2d depthwise": ((4, 4, 3), {"groups": 4, "stride": 2}, [(2, 4, 6, 5)], None),
    "Conv1d": ((3, 4, 3), {"stride": 2, "dilation": 2}, [(2, 3, 9)], None),
    "ConvTranspose2d": ((3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}, [(2, 3, 4, 5)], None),
    "BatchNorm1d": ((4,), {}, [(6, 4)], None),
    "BatchNorm2d": ((3,), {"momentum": 0.3}, [(4, 3, 2, 5)], None),
    "BatchNorm2d mean": ((3,), {"momentum": None}, [(4, 3, 2, 5)], None),
    "BatchNorm2d bare": ((3,), {"affine": False, "track_running_stats": False}, [(4, 3, 2, 5)], None),
    "LayerNorm": (((3, 4),), {}, [(2, 3, 4)], None),
    "RMSNorm": ((4,), {}, [(2, 3, 4)], None),
    "GroupNorm": ((2, 4), {}, [(3, 4, 5)], None),
    "Embedding": ((6, 3), {"padding_idx": 1}, [], lambda m, t: m(t(np.array([[0, 1], [5, 2]])))),
    "LSTM": ((4, 3), {"num_layers": 2, "bidirectional": True, "batch_first": True}, [(3, 5, 4)], None),
    "LSTM states": ((4, 3), {}, [(5, 2, 4), (1, 2, 3), (1, 2, 3)], lambda m, t, x, h, c: m(x, (h, c))[1][1]),
    "GRU": ((4, 3), {"num_layers": 2, "bias": False}, [(5, 3, 4)], None),
    "GRU states": ((4, 3), {"bidirectional": True}, [(5, 3, 4), (2, 3, 3)], lambda m, t, x, h: m(x, h)[1]),
    "RNN": ((4, 3), {"nonlinearity": "relu"}, [(5, 3, 4)], None),
    "MultiheadAttention": ((8, 2), {"batch_first": True}, [(3, 5, 8)], lambda m, t, x: m(x, x, x, t(padded))),
    "MultiheadAttention cross": ((8, 4), {"bias": False}, [(4, 3, 8), (5, 3, 8)], lambda m, t, q, k: m(q, k, k, t(padded))),
    "TransformerEncoderLayer": ((8, 2, 16, 0.0), {}, [(5, 3, 8)], lambda m, t, x: m(x, t(causal))),
    "TransformerEncoderLayer first": ((8, 2, 16, 0.0, "gelu"), {"norm_first": True, "batch_first": True}, [(3, 5, 8)], None),
    "TransformerDecoderLayer": ((8, 2, 16, 0.0), {}, [(5, 3, 8), (4, 3, 8)], lambda m, t, x, y: m(x, y, t(causal))),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_the_names_values_and_gradients_of_pytorchs(name, rng):
    torch = pytest.importorskip("torch")
    arguments, options, shapes, call = LAYERS[name]
    kind = name.split()[0]
    ours = getattr(nn, kind)(*arguments, **options, dtype=np.float64)
    theirs = getattr(torch.nn, kind)(*arguments, **options).double()
    state = {key: value.numpy() for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == {key: value.shape for key, value in state.items()}
    ours.load_state_dict(state)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    for _ in range(2):  # running statistics follow
        inputs, tensors = (
            [mlkit.tensor(a, requires_grad=True) for a in arrays],
            [torch.tensor(a, requires_grad=True) for a in arrays],
        )
        call = call or (lambda m, _, x: m(x))
        y, z = first(call(ours, lambda a: a, *inputs)), first(call(theirs, torch.tensor, *tensors))
        dy = rng.standard_normal(y.shape)
        ours.zero_grad(), theirs.zero_grad()
        y.backward(dy), z.backward(torch.tensor(dy))
    assert np.allclose(y.data, z.detach().numpy(), rtol=1e-9, atol=1e-11)
    gradients = dict(theirs.named_parameters())
    for one, other in [*zip(inputs, tensors), *((p, gradients[key]) for key, p in ours.named_parameters())]:
        if other.grad is not None:
            assert np.allclose(one.grad.data, other.grad.numpy(), rtol=1e-9, atol=1e-10)
    for key, value in theirs.state_dict().items():
        assert np.allclose(ours.state_dict()[key], value.numpy(), rtol=1e-6)  # torch counts batches in float32
    ours.eval(), theirs.eval()
    y, z = first(call(ours, lambda a: a, *inputs)), first(call(theirs, torch.tensor, *tensors))
    assert np.allclose(y.data, z.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Mish", "Softplus", "Sigmoid", "Tanh", "Hardsigmoid"])
def test_an_activation_follows_a_layer_as_in_pytorch(name, rng):
    torch = pytest.importorskip("torch")
    ours = nn.Sequential(nn.Linear(4, 5, dtype=np.float64), getattr(nn, name)())
    x = rng.standard_normal((3, 4))
    theirs = getattr(torch.nn, name)()(torch.tensor(ours[0](x).data))
    assert np.allclose(ours(x).data, theirs.numpy(), atol=1e-12)


def network(rng):
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, rng=rng), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3, rng=rng),
        nn.Flatten(), nn.Linear(6 * 4 * 4, 3, rng=rng),
    )  # fmt: skip


def test_a_captured_step_with_dropout_batch_norm_and_a_schedule_gives_the_bits_of_the_eager_one():
    ends = []
    for wrap in (mlkit.capture, lambda step: step):
        rng = np.random.default_rng(1)
        model = network(rng)
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        schedule = optim.CosineAnnealingLR(optimizer, T_max=7)

        def step(x, y, model=model, optimizer=optimizer, schedule=schedule):
            optimizer.zero_grad()
            loss = ops.cross_entropy(model(x), y)
            loss.backward()
            optim.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            return loss

        run, losses = wrap(step), []
        data = np.random.default_rng(2)
        for _ in range(6):
            x, y = data.standard_normal((5, 1, 8, 8), dtype=np.float32), data.integers(0, 3, 5)
            losses.append(run(x, y).item())
        ends.append((losses, optimizer.lr, model.state_dict()))
    (one, lr, state), (other, same_lr, same) = ends
    assert one == other
    assert lr == same_lr == pytest.approx(0.005 * (1 + np.cos(np.pi * 6 / 7)))
    assert all(np.array_equal(state[name], same[name]) for name in state)
    assert state["1.num_batches_tracked"] == 6


def test_train_and_eval_each_have_their_plan():
    model = network(np.random.default_rng(1))
    predict = mlkit.capture(lambda x: model(x))
    x = np.random.default_rng(2).standard_normal((4, 1, 8, 8), dtype=np.float32)
    trained = [predict(x).data.copy() for _ in range(2)]
    model.eval()
    used = [predict(x).data.copy() for _ in range(3)]
    model.train()
    again = predict(x).data.copy()
    assert not np.array_equal(trained[0], trained[1])  # dropout draws anew
    assert np.array_equal(used[0], used[1])
    assert np.array_equal(used[0], used[2])
    assert not np.array_equal(used[0], again)
    assert np.array_equal(model.eval()(x).data.shape, used[0].shape)


def normalised(rng, *layers):
    """A series of convolutions and normalisations in use, whose numbers are all at random."""
    model = nn.Sequential(*layers).eval()
    for tensor in dict(model._state()).values():
        tensor.data[...] = rng.uniform(0.5, 1.5, tensor.shape)
    return model


CONV = {"dtype": np.float64, "padding": 1}
FOLDED = {
    "pair": lambda: [nn.Conv2d(3, 4, 3, **CONV), nn.BatchNorm2d(4, dtype=np.float64)],
    "no bias": lambda: [nn.Conv2d(3, 4, 3, 2, bias=False, **CONV), nn.BatchNorm2d(4, dtype=np.float64), nn.Tanh()],
    "groups": lambda: [nn.Conv2d(4, 6, 3, groups=2, **CONV), nn.BatchNorm2d(6, affine=False, dtype=np.float64), nn.ReLU()],
    "depthwise": lambda: [nn.Conv2d(4, 4, 3, groups=4, **CONV), nn.BatchNorm2d(4, dtype=np.float64), nn.Sigmoid(), nn.Flatten()],
    "pool": lambda: [nn.Conv2d(3, 4, 1, **CONV), nn.BatchNorm2d(4, dtype=np.float64), nn.ReLU(), nn.MaxPool2d(2)],
    "gelu": lambda: [nn.Conv2d(3, 4, 3, **CONV), nn.BatchNorm2d(4, 0.1, dtype=np.float64), nn.GELU(), nn.Conv2d(4, 2, 3, **CONV)],
}


@pytest.mark.parametrize("name", FOLDED)
def test_a_convolution_in_use_takes_in_the_normalisation_behind_it(name, rng, monkeypatch):
    model = normalised(rng, *FOLDED[name]())
    x = rng.standard_normal((2, model[0].in_channels, 9, 8))
    expected = model(x).data.copy()
    captured = mlkit.capture(lambda x: model(x))
    with mlkit.no_grad():
        assert [np.array_equal(captured(x).data, model(x).data) for _ in range(3)] == [True] * 3
        monkeypatch.setattr("mlkit.ops.batch_norm", None)  # nobody calls it
        assert np.allclose(model(x).data, expected, rtol=1e-12, atol=1e-12)
        model[1].running_var.data[...] *= 2  # a plan sees what the numbers are now
        assert np.array_equal(captured(x).data, model(x).data)
        assert not np.allclose(model(x).data, expected)


def test_a_plan_made_without_gradients_is_not_replayed_where_they_are_wanted(rng):
    model = normalised(rng, *FOLDED["pair"]())
    captured, x = mlkit.capture(lambda x: model(x)), rng.standard_normal((2, 3, 9, 8))
    for _ in range(2):
        with mlkit.no_grad():
            assert np.array_equal(captured(x).data, model(x).data)
            folded = captured.plan
        assert np.array_equal(captured(x).data, model(x).data)
        assert captured.plan is not folded
    assert len(captured.plans) == 2


@pytest.mark.parametrize("activation", [None, "relu", "hardsigmoid"])
def test_a_residual_is_added_to_a_normalised_convolution(activation, rng):
    convolution, norm = normalised(rng, nn.Conv2d(3, 3, 3, **CONV), nn.BatchNorm2d(3, dtype=np.float64)).layers
    x = mlkit.tensor(rng.standard_normal((2, 3, 9, 8)))
    expected = norm(convolution(x), x, activation).data
    with mlkit.no_grad():
        assert np.allclose(norm.after(convolution, x, x, activation).data, expected, rtol=1e-12, atol=1e-12)


def test_a_normalisation_is_made_by_itself_where_it_is_looked_at_or_learns(rng, monkeypatch):
    convolution, norm = model = normalised(rng, nn.Conv2d(3, 4, 3, **CONV), nn.BatchNorm2d(4, dtype=np.float64))
    x, calls, real = rng.standard_normal((2, 3, 9, 8)), [], ops.batch_norm
    monkeypatch.setattr("mlkit.ops.batch_norm", lambda *inputs, **options: calls.append(1) or real(*inputs, **options))
    model(x)  # gradients are wanted
    with mlkit.no_grad():
        model(x[:1, :, :3, :3])  # more weights than numbers
        model.train()(x)
        model.eval()
        with nn.finite(model):
            model(x)
        assert [layer.kind for layer in model.summary(x).layers] == ["Conv2d", "BatchNorm2d"]
        assert len(calls) == 5
        model(x)
        assert len(calls) == 5
    with pytest.raises(ArgumentError, match="running statistics"):
        nn.BatchNorm2d(4, track_running_stats=False).folded(convolution)
    assert norm.after(nn.Identity(), np.zeros((1, 4, 2, 2))).shape == (1, 4, 2, 2)


def test_the_seed_decides_what_dropout_draws_in_a_captured_step_too():
    layer, x = nn.Dropout(0.5), np.ones(100, np.float32)
    captured = mlkit.capture(lambda x: layer(x))
    captured(x)
    seen = []
    for _ in range(2):
        mlkit.manual_seed(11)
        seen.append(captured(x).copy())
    assert np.array_equal(seen[0], seen[1])


def test_a_series_that_ends_early_does_not_see_what_follows(rng):
    layer = nn.LSTM(2, 3, bidirectional=True, batch_first=True, dtype=np.float64, rng=rng)
    x = rng.standard_normal((2, 6, 2))
    changed = x.copy()
    changed[1, 4:] = 99
    y, (h, _) = layer(x, lengths=np.array([6, 4]))
    z, (g, _) = layer(changed, lengths=np.array([6, 4]))
    assert np.array_equal(y.data, z.data)
    assert np.array_equal(h.data, g.data)
    assert not y.data[1, 4:].any()


def test_copied_layers_have_their_own_parameters(rng):
    stack = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, rng=rng), 3)
    assert len({id(p) for p in stack.parameters()}) == 3 * 12
    assert np.array_equal(stack.layers[0].linear1.weight.data, stack.layers[2].linear1.weight.data)


@pytest.mark.parametrize("odd", [np.asfortranarray, lambda x: x[::-1], lambda x: np.broadcast_to(x[:1], x.shape)])
def test_odd_arrays_are_read_as_they_are(odd, rng):
    x = odd(rng.standard_normal((4, 3, 6, 6)))
    x.flags.writeable = False
    made = nn.Conv2d(3, 4, 3, dtype=np.float64), nn.BatchNorm2d(3, dtype=np.float64), nn.LayerNorm(6, dtype=np.float64)
    for layer in (*made, nn.MaxPool2d(2), nn.GELU()):
        assert np.allclose(layer(x), layer(np.ascontiguousarray(x)), atol=1e-12)


x = np.ones((2, 3, 5, 5), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.Conv2d(3, 4, 3)(x[:, :2]), ShapeError, ["Conv2d(3, 4", "(2, 2, 5, 5)", "(N, 3, H, W)"]),
        (lambda: nn.Conv1d(3, 4, 3)(x), ShapeError, ["Conv1d(3, 4", "(2, 3, 5, 5)"]),
        (lambda: nn.Conv2d(3, 4, 9)(x), ShapeError, ["5×5", "9×9"]),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ArgumentError, ["groups"]),
        (lambda: nn.Conv2d(3, 4, (3, 3, 3)), ArgumentError, ["kernel_size"]),
        (lambda: nn.Conv2d(3, 4, 2, padding="same"), ArgumentError, ["same"]),
        (lambda: nn.Conv2d(0, 4, 2), ArgumentError, ["in_channels"]),
        (lambda: nn.BatchNorm2d(4)(x), ShapeError, ["BatchNorm2d(4", "(2, 3, 5, 5)"]),
        (lambda: nn.BatchNorm1d(0), ArgumentError, ["num_features"]),
        (lambda: nn.LayerNorm(4)(x), ShapeError, ["LayerNorm((4,)", "(2, 3, 5, 5)"]),
        (lambda: nn.GroupNorm(2, 3), ArgumentError, ["groups"]),
        (lambda: nn.LSTM(4, 3)(x[0]), ShapeError, ["LSTM(4, 3", "(3, 5, 5)"]),
        (lambda: nn.LSTM(5, 3)(x[0], (x, x)), ShapeError, ["states", "(1, 5, 3)"]),
        (lambda: nn.GRU(5, 3)(x[0], lengths=np.array([9, 1, 1, 1, 1])), ArgumentError, ["length", "1 … 3"]),
        (lambda: nn.MultiheadAttention(8, 3), ArgumentError, ["heads"]),
        (
            lambda: nn.MultiheadAttention(5, 1)(x[0], x[0], x[0], attn_mask=np.ones((2, 2), bool)),
            ShapeError,
            ["attn_mask", "(2, 2)"],
        ),
        (lambda: nn.Dropout(2), ArgumentError, ["p is 2"]),
        (lambda: nn.Embedding(0, 3), ArgumentError, ["table"]),
    ],
)
def test_what_does_not_fit_names_the_layer_and_both_shapes(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, MlkitError)
    assert all(word in str(caught.value) for word in words), str(caught.value)
