"""Second order: the step is the one of the equations, and never a bad one."""

import numpy as np
import pytest

from mlkit import data, manual_seed, models, nn, optim
from mlkit.blas import lapack
from mlkit.errors import ArgumentError, BlasError, NonFiniteError, ShapeError


@pytest.fixture(autouse=True)
def a_lapack():
    """The library in force may have none, nor one above it."""
    try:
        lapack.of()
    except BlasError as error:
        pytest.skip(str(error))


def regression(rows=60, inputs=5, outputs=1):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, inputs))
    return x, np.sin(x[:, :outputs]) + 0.1 * rng.standard_normal((rows, outputs))


def in_float64(*sizes, activation="tanh"):
    manual_seed(0)
    layers = []
    for a, b in zip(sizes, sizes[1:]):  # noqa: RUF007
        layers += [nn.Linear(a, b, dtype=np.float64), {"tanh": nn.Tanh, "relu": nn.ReLU, "silu": nn.SiLU}[activation]()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("activation", ["tanh", "relu", "silu"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_jacobian_is_that_of_finite_differences(outputs, activation):
    x, _ = regression(7, 4)
    model = in_float64(4, 6, outputs, activation=activation)
    optimizer = optim.LevenbergMarquardt(model)
    found, jacobian = optimizer._derived(x)
    assert np.allclose(found, np.asarray(model(x)))
    column = 0
    for p in optimizer._parameters():
        for place in np.ndindex(p.shape):
            old, step = p.data[place], 1e-6
            p.data[place] = old + step
            above = np.asarray(model(x)).copy()
            p.data[place] = old - step
            below = np.asarray(model(x)).copy()
            p.data[place] = old
            assert np.allclose(jacobian[:, column], ((above - below) / (2 * step)).ravel(), atol=1e-6)
            column += 1
    assert column == jacobian.shape[1]


def test_a_linear_model_is_at_its_optimum_after_two_steps():
    x, y = regression()
    model = nn.Linear(5, 1, dtype=np.float64)
    optimizer = optim.LevenbergMarquardt(model, damping=0)
    optimizer.step(x, y)
    loss = optimizer.step(x, y)
    best = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)
    assert loss == pytest.approx(float(best[1][0]) / len(x), rel=1e-9)


def test_no_step_makes_the_loss_larger_and_networks_fit():
    x, y = regression()
    for sizes in ((5, 4, 1), (5, 30, 1)):  # fewer parameters than rows, and more
        model = in_float64(*sizes)
        optimizer = optim.LevenbergMarquardt(model)
        losses = [optimizer.step(x, y) for _ in range(30)]
        assert (np.diff(losses) <= 0).all()
        assert losses[-1] < 0.2 * losses[0]


def test_equations_that_are_singular_have_their_shortest_solution():
    x, y = regression()
    twice = np.column_stack([x, x])
    optimizer = optim.LevenbergMarquardt(nn.Linear(10, 1, dtype=np.float64), damping=0)
    assert optimizer.step(twice, y) <= optimizer.step(twice, y) * (1 + 1e-9)


def test_what_it_cannot_do_is_named():
    x, y = regression()
    with pytest.raises(ArgumentError, match=r"0\.weight"):
        optim.LevenbergMarquardt(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 1)))
    with pytest.raises(ShapeError, match="targets"):
        optim.LevenbergMarquardt(in_float64(5, 1)).step(x, y[:, 0])
    with pytest.raises(NonFiniteError):
        optim.LevenbergMarquardt(in_float64(5, 1)).step(x, y * np.nan)
    shared = nn.Linear(5, 5)
    with pytest.raises(ArgumentError, match="called once"):
        optim.LevenbergMarquardt(nn.Sequential(shared, shared)).step(x.astype(np.float32), x.astype(np.float32))


def test_an_orthogonal_weight_has_orthonormal_rows_or_columns():
    for shape in ((4, 9), (9, 4), (5, 5), (6, 2, 3, 3)):
        weight = np.asarray(
            nn.init.orthogonal_(nn.Linear(1, 1).weight.__class__(np.empty(shape)), 2.0, np.random.default_rng(0)).data
        )
        matrix = weight.reshape(shape[0], -1)
        gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        assert np.allclose(gram, 4 * np.eye(len(gram)))


def test_the_closed_form_is_least_squares():
    x, y = regression(outputs=2)
    layer = models.least_squares(x, y)
    best = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]
    assert np.allclose(layer.weight.data.T, best[:-1])
    assert np.allclose(layer.bias.data, best[-1])
    with pytest.raises(ShapeError):
        models.least_squares(x, y[:, 0])


def test_principal_components_carry_the_variance_and_whiten():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3)) @ rng.standard_normal((3, 6)) + 5
    pca = data.PCA(x)
    assert pca.directions.shape == (3, 6)
    assert pca.share.sum() == pytest.approx(1)
    assert np.allclose(pca.inverse(pca(x)), x)
    white = data.PCA(x, 2, whiten=True)
    assert np.allclose(np.cov(white(x).T), np.eye(2), atol=1e-9)
    assert np.allclose(white(white.inverse(white(x))), white(x))
    with pytest.raises(ShapeError):
        data.PCA(x, 7)
