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


def rmsprop(p, gradients, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    v, mean, b = (np.zeros_like(p) for _ in range(3))
    for g in gradients(p):
        g = g + weight_decay * p
        v, mean = alpha * v + (1 - alpha) * g * g, alpha * mean + (1 - alpha) * g
        b = momentum * b + g / (np.sqrt(v - mean * mean if centered else v) + eps)
        p -= lr * b
    return p


def adagrad(p, gradients, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    total = np.full_like(p, initial_accumulator_value)
    for t, g in enumerate(gradients(p)):
        g = g + weight_decay * p
        total += g * g
        p -= lr / (1 + t * lr_decay) * g / (np.sqrt(total) + eps)
    return p


def adadelta(p, gradients, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    v, a = np.zeros_like(p), np.zeros_like(p)
    for g in gradients(p):
        g = g + weight_decay * p
        v = rho * v + (1 - rho) * g * g
        d = np.sqrt(a + eps) / np.sqrt(v + eps) * g
        a = rho * a + (1 - rho) * d * d
        p -= lr * d
    return p


def radam(p, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    m, v, longest = np.zeros_like(p), np.zeros_like(p), 2 / (1 - betas[1]) - 1
    for t, g in enumerate(gradients(p), 1):
        g = g + weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        length = longest - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        hat = m / (1 - betas[0] ** t)
        if length > 5:
            r = np.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
            hat = hat * r * np.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)
        p -= lr * hat
    return p


def nadam(p, gradients, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3):
    m, v, past = np.zeros_like(p), np.zeros_like(p), 1.0
    for t, g in enumerate(gradients(p), 1):
        g = g + weight_decay * p
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        now, following = (betas[0] * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in (t, t + 1))
        past *= now
        root = np.sqrt(v / (1 - betas[1] ** t)) + eps
        p -= lr * ((1 - now) / (1 - past) * g + following / (1 - past * following) * m) / root
    return p


def lion(p, gradients, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
    m = np.zeros_like(p)
    for g in gradients(p):
        p -= lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p)
        m = betas[1] * m + (1 - betas[1]) * g
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
    (optim.RMSprop, rmsprop, {"lr": 0.1}),
    (optim.RMSprop, rmsprop, {"lr": 0.05, "alpha": 0.7, "centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    (optim.Adagrad, adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.2, "initial_accumulator_value": 0.3}),
    (optim.Adadelta, adadelta, {"weight_decay": 0.1}),
    (optim.RAdam, radam, {"lr": 0.1, "betas": (0.8, 0.7), "weight_decay": 0.1}),
    (optim.RAdam, radam, {"lr": 0.1}),
    (optim.NAdam, nadam, {"lr": 0.05, "weight_decay": 0.1}),
    (optim.Lion, lion, {"lr": 0.1, "weight_decay": 0.1}),
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
    if not hasattr(torch.optim, optimizer.__name__):
        pytest.skip("torch has no such optimizer")
    start, pull = rng.standard_normal(50), rng.standard_normal(50)
    options = {name: value for name, value in options.items() if name != "decoupled"}
    p, q = mlkit.Parameter(start.copy()), torch.tensor(start, requires_grad=True)
    ours, theirs = optimizer([p], **options), getattr(torch.optim, optimizer.__name__)([q], **options)
    for _ in range(STEPS):
        for updates, x, target in ((ours, p, pull), (theirs, q, torch.tensor(pull))):
            updates.zero_grad()
            ((x - target) ** 2.0).sum().backward()
            updates.step()
    assert np.allclose(p.data, q.detach().numpy(), rtol=1e-7 if optimizer is optim.NAdam else 1e-9)  # torch's momenta are float32


def test_lbfgs_finds_the_minimum_of_rosenbrocks_valley():
    p = mlkit.Parameter(np.array([-1.2, 1.0]))
    updates = optim.LBFGS([p], max_iter=60)

    def closure():
        updates.zero_grad()
        loss = (1.0 - p[0]) ** 2.0 + 100.0 * (p[1] - p[0] * p[0]) ** 2.0
        loss.backward()
        return loss

    assert updates.step(closure) < 1e-8
    assert np.allclose(p.data, 1, atol=1e-3)


def test_gradients_are_clipped_together_and_one_by_one():
    a, b = mlkit.Parameter(np.array([3.0, 4.0])), mlkit.Parameter(np.array([12.0]))
    for setup in (lambda: None, lambda: optim.SGD([a])):  # by themselves, in a flat vector
        setup()
        a.zero_grad(), b.zero_grad()
        (ops.sum(a * a) * 0.5).backward()
        (ops.sum(b * b) * 0.5).backward()
        assert optim.clip_grad_norm_([a, b], 6.5).item() == 13
        assert np.allclose(a.grad.data, [1.5, 2.0], rtol=1e-6)
        assert np.allclose(b.grad.data, [6.0], rtol=1e-6)
        assert optim.clip_grad_norm_([a, b], 100).item() == pytest.approx(6.5)
        assert np.allclose(b.grad.data, [6.0], rtol=1e-6)
        optim.clip_grad_value_([a, b], 1.75)
        assert np.allclose(a.grad.data, [1.5, 1.75], rtol=1e-6)
        assert np.allclose(b.grad.data, [1.75])


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
        lambda: optim.Lion([mlkit.Parameter(np.ones(1))], betas=(0.9,)),
        lambda: optim.RMSprop([mlkit.Parameter(np.ones(1))], alpha=1),
        lambda: optim.LBFGS([mlkit.Parameter(np.ones(1))], max_iter=0),
        lambda: optim.clip_grad_norm_([mlkit.Parameter(np.ones(1))], 1.0),
        lambda: optim.clip_grad_norm_([], 0.0),
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


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "RAdam", "NAdam", "Lion"])
def test_an_optimizer_goes_on_from_its_state(name):
    def trained(steps, state=None, weights=None):
        mlkit.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 1))
        optimizer = getattr(optim, name)(model.parameters(), **({"momentum": 0.9} if name in ("SGD", "RMSprop") else {}))
        if state:
            model.load_state_dict(weights)
            optimizer.load_state_dict(state)

        @mlkit.capture
        def step(x):
            optimizer.zero_grad()
            (model(x) ** 2).mean().backward()
            optimizer.step()

        for _ in range(steps):
            step(np.ones((3, 5), np.float32))
        return model.state_dict(), optimizer.state_dict()

    weights, state = trained(10)
    early, early_state = trained(4)
    again, again_state = trained(6, early_state, early)
    assert all((weights[key] == again[key]).all() for key in weights)
    assert state.keys() == again_state.keys()
    assert all((state[key] == again_state[key]).all() for key in state)
    with pytest.raises(ArgumentError, match="unknown"):
        trained(1, {**early_state, "99.moment": np.zeros(3)}, early)
