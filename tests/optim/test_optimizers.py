"""Optimizers against their formulas, written out in float64."""

import numpy as np
import pytest

import mlkit
from mlkit import nn, ops, optim
from mlkit.errors import ArgumentError

STEPS = 6


def sgd(p, gradients, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    v = np.zeros_like(p)
    for g in gradients(p):
        g = g + weight_decay * p
        v = momentum * v + g
        p -= lr * ((g + momentum * v) if nesterov else v)
    return p


def adam(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gradients(p), 1):
        if decoupled:
            p -= lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        p -= lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


CASES = [
    (optim.SGD, sgd, {"lr": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (optim.Adam, adam, {"lr": 0.1}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.5, 0.7), "eps": 0.1, "weight_decay": 0.2}),
    (optim.AdamW, adam, {"lr": 0.1, "weight_decay": 0.2, "decoupled": True}),
]


@pytest.mark.parametrize(("optimizer", "formula", "options"), CASES)
@pytest.mark.parametrize("size", [7, 40_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_an_optimizer_follows_its_formula(library, rng, optimizer, formula, options, size, threads):
    if threads == 2 and not library.report.adjustable:
        pytest.skip("one thread only")
    start, pull = rng.standard_normal(size), rng.standard_normal(size)
    p = mlkit.Parameter(start.copy())
    updates = optimizer([p], **{name: value for name, value in options.items() if name != "decoupled"})
    with mlkit.blas.using(library, threads=threads if library.report.adjustable else None):
        for _ in range(STEPS):
            updates.zero_grad()
            ((p * p * p) * 0.1 + p * pull).sum().backward()
            updates.step()

    def gradients(q):
        return (0.3 * q * q + pull for _ in range(STEPS))

    assert np.allclose(p.data, formula(start.copy(), gradients, **options), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("optimizer", "options"), [(case[0], case[2]) for case in CASES])
def test_an_optimizer_agrees_with_torch(rng, optimizer, options):
    torch = pytest.importorskip("torch")
    start, pull = rng.standard_normal(50), rng.standard_normal(50)
    options = {name: value for name, value in options.items() if name != "decoupled"}
    p, q = mlkit.Parameter(start.copy()), torch.tensor(start, requires_grad=True)
    ours, theirs = optimizer([p], **options), getattr(torch.optim, optimizer.__name__)([q], **options)
    for _ in range(STEPS):
        for updates, x, target in ((ours, p, pull), (theirs, q, torch.tensor(pull))):
            updates.zero_grad()
            ((x - target) ** 2.0).sum().backward()
            updates.step()
    assert np.allclose(p.data, q.detach().numpy(), rtol=1e-9)


def test_parameters_lie_in_one_flat_vector_and_gradients_land_in_another(rng):
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    before = model.state_dict()
    optim.SGD(model.parameters())
    parameters = list(model.parameters())
    store = parameters[0].place[0]
    assert all(p.place[0] is store and np.shares_memory(p.data, store.value) for p in parameters)
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())
    ops.sum(model(rng.standard_normal((5, 4)).astype(np.float32))).backward()
    assert all(np.shares_memory(p.grad.data, store.gradient) for p in parameters)


def test_a_parameter_without_a_gradient_stays():
    model = [nn.Linear(3, 3) for _ in range(3)]
    updates = optim.Adam([p for layer in model for p in layer.parameters()], lr=0.1, weight_decay=0.1)
    x = np.ones((2, 3), np.float32)
    for used in ((0, 1, 2), (0, 2), (1,)):
        before = [layer.state_dict() for layer in model]
        updates.zero_grad()
        for i in used:
            ops.sum(model[i](x)).backward()
        updates.step()
        for i, layer in enumerate(model):
            changed = any(not np.array_equal(before[i][name], value) for name, value in layer.state_dict().items())
            assert changed == (i in used)


def test_two_optimizers_share_a_model():
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    first, second = optim.SGD(model[0].parameters(), lr=0.1), optim.SGD(model.parameters(), lr=0.2)
    before = model.state_dict()
    ops.sum(model(np.ones((1, 4), np.float32))).backward()
    first.step()
    assert not np.array_equal(before["0.weight"], model[0].weight.data)
    assert np.array_equal(before["1.weight"], model[1].weight.data)
    second.step()
    assert not np.array_equal(before["1.weight"], model[1].weight.data)


def test_parameters_of_two_dtypes():
    a, b = mlkit.Parameter(np.ones(3)), mlkit.Parameter(np.ones(3, np.float32))
    updates = optim.Adam([a, b], lr=0.5)
    (a * 2.0).sum().backward()
    (b * 2.0).sum().backward()
    updates.step()
    assert np.allclose(a.data, 0.5)
    assert np.allclose(b.data, 0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optim.SGD([]),
        lambda: optim.SGD([mlkit.tensor([1.0])]),
        lambda: optim.SGD([mlkit.Parameter(np.ones(1))], lr=-1),
        lambda: optim.SGD([mlkit.Parameter(np.ones(1))], lr=float("nan")),
        lambda: optim.SGD([mlkit.Parameter(np.ones(1))], momentum=1.5),
        lambda: optim.SGD([mlkit.Parameter(np.ones(1))], nesterov=True),
        lambda: optim.SGD([mlkit.Parameter(np.ones(1))], weight_decay=-0.1),
        lambda: optim.Adam([mlkit.Parameter(np.ones(1))], betas=(0.9, 1.0)),
        lambda: optim.Adam([mlkit.Parameter(np.ones(1))], betas=(0.9,)),
        lambda: optim.Adam([mlkit.Parameter(np.ones(1))], eps="x"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make):
    with pytest.raises(ArgumentError):
        make()


def test_a_model_learns_xor(library):
    nn.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    updates = optim.Adam(model.parameters(), lr=0.05)
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([[0], [1], [1], [0]], np.float32)

    @mlkit.capture
    def step(x, y):
        updates.zero_grad()
        loss = ops.binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        updates.step()
        return loss

    losses = [step(x, y).item() for _ in range(300)]
    assert losses[-1] < 0.02 < losses[0]
    assert np.array_equal(model(x).data > 0, y > 0.5)
