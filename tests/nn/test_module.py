"""Modules, layers, losses, initialisers."""

import math

import numpy as np
import pytest

import mlkit
from mlkit import nn, ops
from mlkit.errors import ArgumentError, DtypeError, ShapeError


class Net(nn.Module):
    def __init__(self):
        self.first = nn.Linear(4, 3)
        self.blocks = [nn.Linear(3, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 2, bias=False))]
        self.shared = self.first

    def forward(self, x):
        return self.blocks[1](self.blocks[0](self.first(x)))


def test_parameters_are_found_by_dotted_name_and_once():
    names = [name for name, _ in Net().named_parameters()]
    assert names == ["first.weight", "first.bias", "blocks.0.weight", "blocks.0.bias", "blocks.1.1.weight"]


def test_state_goes_from_one_network_to_another():
    one, two = Net(), Net()
    two.load_state_dict(one.state_dict())
    x = np.ones((2, 4), np.float32)
    assert np.array_equal(one(x).data, two(x).data)
    state = one.state_dict()
    state["first.bias"][...] = 9
    assert (one.first.bias.data != 9).all(), "a state is a copy"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda s: s.pop("first.bias"), ArgumentError),
        (lambda s: s.update(extra=np.ones(1)), ArgumentError),
        (lambda s: s.update({"first.bias": np.ones(7)}), ShapeError),
        (lambda s: s.update({"first.bias": np.ones(3, int)}), DtypeError),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, error):
    net = Net()
    before, state = net.state_dict(), {name: value + 1 for name, value in net.state_dict().items()}
    change(state)
    with pytest.raises(error):
        net.load_state_dict(state)
    assert all(np.array_equal(before[name], value) for name, value in net.state_dict().items())


def test_a_state_goes_to_and_from_torch():
    torch = pytest.importorskip("torch")
    ours = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((5, 4), dtype=np.float32)
    assert np.allclose(ours(x).data, theirs(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid, nn.Tanh, nn.Hardsigmoid])
def test_a_linear_takes_the_activation_behind_it(activation, rng):
    fused = nn.Sequential(nn.Linear(4, 3), activation(), activation(), nn.Linear(3, 2))
    x = rng.standard_normal((5, 4)).astype(np.float32)
    y = x
    for i in range(4):
        y = fused[i](y)
    assert np.array_equal(fused(x).data, y.data)


def test_layers_without_parameters(rng):
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    assert nn.Flatten()(x).shape == (2, 12)
    assert np.allclose(nn.Softmax(1)(x).sum(1), 1)
    assert np.allclose(np.exp(nn.LogSoftmax()(x)).sum(-1), 1)
    assert nn.Identity()(x) is x


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.L1Loss, ops.l1_loss),
        (nn.MSELoss, ops.mse_loss),
        (nn.HuberLoss, ops.huber_loss),
        (nn.BCELoss, ops.binary_cross_entropy),
        (nn.BCEWithLogitsLoss, ops.binary_cross_entropy_with_logits),
        (nn.CrossEntropyLoss, ops.cross_entropy),
    ],
)
def test_losses(module, function, rng):
    x, y = (rng.uniform(0.1, 0.9, (3, 4)) for _ in range(2))
    for reduction in ("mean", "sum", "none"):
        assert np.array_equal(module(reduction=reduction)(x, y), function(x, y, reduction=reduction))


def test_the_same_seed_makes_the_same_weights():
    nn.manual_seed(3)
    one = nn.Linear(4, 3)
    mlkit.manual_seed(3)
    two = nn.Linear(4, 3)
    three = nn.Linear(4, 3, rng=np.random.default_rng(3))
    assert np.array_equal(one.weight.data, two.weight.data)
    assert np.array_equal(one.weight.data, three.weight.data)
    assert np.abs(one.weight.data).max() <= 0.5


@pytest.mark.parametrize(
    ("function", "deviation"),
    [
        (lambda p, r: nn.init.xavier_uniform_(p, rng=r), math.sqrt(2 / 500)),
        (lambda p, r: nn.init.xavier_normal_(p, gain=2.0, rng=r), 2 * math.sqrt(2 / 500)),
        (lambda p, r: nn.init.kaiming_uniform_(p, nonlinearity="relu", rng=r), math.sqrt(2 / 300)),
        (lambda p, r: nn.init.kaiming_normal_(p, mode="fan_out", nonlinearity="relu", rng=r), math.sqrt(2 / 200)),
        (lambda p, r: nn.init.normal_(p, 0.0, 0.3, rng=r), 0.3),
        (lambda p, r: nn.init.uniform_(p, -3, 3, rng=r), math.sqrt(3)),
        (lambda p, r: nn.init.ones_(p), 0),
        (lambda p, r: nn.init.zeros_(p), 0),
    ],
)
def test_initialisers_have_the_deviation_of_their_papers(function, deviation, rng):
    p = mlkit.Parameter(np.full((200, 300), np.nan))
    assert function(p, rng) is p
    assert abs(p.data.std() - deviation) <= 0.02 * deviation


def test_what_cannot_be_initialised_is_refused():
    with pytest.raises(ShapeError):
        nn.init.xavier_uniform_(mlkit.Parameter(np.ones(3)))
    with pytest.raises(ArgumentError):
        nn.init.kaiming_normal_(mlkit.Parameter(np.ones((3, 3))), mode="fan")
    with pytest.raises(ArgumentError):
        nn.init.kaiming_normal_(mlkit.Parameter(np.ones((3, 3))), nonlinearity="swoosh")


@pytest.mark.parametrize("sizes", [(0, 3), (3, -1), (2.5, 3), ("3", 3)])
def test_a_layer_of_no_size_is_refused(sizes):
    with pytest.raises(ArgumentError):
        nn.Linear(*sizes)


def test_a_sequential_takes_modules_only():
    with pytest.raises(ArgumentError):
        nn.Sequential(nn.Linear(2, 2), np.tanh)


def test_the_wrong_input_names_both_shapes():
    with pytest.raises(ShapeError, match=r"\(2, 5\).*\(3, 4\)"):
        nn.Linear(4, 3)(np.ones((2, 5), np.float32))


def test_train_and_eval_reach_every_module():
    net = Net()
    assert not any(m.training for m in net.eval().modules())
    assert all(m.training for m in net.train().modules())


def test_a_network_shows_its_layers():
    assert repr(nn.Sequential(nn.Linear(2, 3), nn.ReLU())) == "Sequential(\n  (0): Linear(2, 3, bias=True)\n  (1): ReLU()\n)"
