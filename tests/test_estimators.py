"""scikit-learn's contract, and what goes beyond its own perceptrons."""

import pickle

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn")

import mlkit  # noqa: E402
from mlkit import data, nn, ops, optim  # noqa: E402
from mlkit.estimators import MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor  # noqa: E402

NEW = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)
ESTIMATORS = (MLPClassifier, MLPRegressor, NetworkClassifier, NetworkRegressor)


@pytest.fixture(scope="module")
def digits():
    d = data.digits()
    return d.x_train, d.y_train, d.x_test, d.y_test


def small(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, outputs))


@pytest.mark.skipif(not NEW, reason="the contract as scikit-learn 1.9 has it")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_check_of_scikit_learn_passes(kind):
    from sklearn.utils.estimator_checks import check_estimator

    found = check_estimator(kind(), on_fail=None, on_skip=None)
    assert [row["check_name"] for row in found if row["status"] not in ("passed", "skipped")] == []
    assert sum(row["status"] == "passed" for row in found) > 50


def test_a_pipeline_a_grid_on_two_processes_and_cross_validation(digits):
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y, x_test, y_test = digits
    pipe = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=80, random_state=0))
    assert pipe.fit(x, y).score(x_test, y_test) > 0.85
    grid = GridSearchCV(pipe, {"mlpclassifier__hidden_layer_sizes": [(4,), (32,)]}, n_jobs=2, cv=3).fit(x[:600], y[:600])
    assert grid.best_params_["mlpclassifier__hidden_layer_sizes"] == (32,)
    assert cross_val_score(pipe, x[:600], y[:600], cv=3).mean() > 0.7


@pytest.mark.parametrize("module", [None, small])
def test_a_pickled_classifier_says_the_same_and_learns_on(digits, module):
    x, y, x_test, _ = digits
    made = NetworkClassifier(module, max_iter=3, random_state=0).fit(x, y)
    again = pickle.loads(pickle.dumps(made))
    assert (again.predict_proba(x_test) == made.predict_proba(x_test)).all()
    assert (again.partial_fit(x, y).predict_proba(x_test) == made.partial_fit(x, y).predict_proba(x_test)).all()


def test_fitting_leaves_the_generator_of_manual_seed_alone(digits):
    mlkit.manual_seed(3)
    expected = nn.Linear(3, 3).weight.data.copy()
    mlkit.manual_seed(3)
    MLPClassifier(max_iter=1, random_state=0).fit(*digits[:2])
    assert (nn.Linear(3, 3).weight.data == expected).all()


def test_batches_that_come_one_by_one_teach_all_classes(digits):
    x, y, x_test, y_test = digits
    made = MLPClassifier((64,), random_state=0, learning_rate_init=3e-3, batch_size=32)
    for _ in range(12):
        for start in range(0, len(x), 200):
            made.partial_fit(x[start : start + 200], y[start : start + 200], classes=np.arange(10))
    assert made.score(x_test, y_test) > 0.85
    with pytest.raises(ValueError, match="not among"):
        made.partial_fit(x[:2], [0, 11])


def test_the_absolute_error_is_not_pulled_by_outliers():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 1))
    y = 2 * x[:, 0]
    y[::10] += 100
    options = {
        "hidden_layer_sizes": (),
        "max_iter": 400,
        "learning_rate_init": 0.02,
        "random_state": 0,
        "tol": 0,
        "batch_size": 100,
        "n_iter_no_change": 400,
    }
    robust, squared = (MLPRegressor(loss=loss, **options).fit(x, y) for loss in (ops.l1_loss, None))
    assert abs(robust.predict([[0.0]])[0]) < 0.5
    assert squared.predict([[0.0]])[0] > 5


def test_a_validation_set_of_ones_own_ends_the_training(digits):
    x, y, x_test, y_test = digits
    made = MLPClassifier((64,), max_iter=300, n_iter_no_change=3, random_state=0, solver=lambda p: optim.AdamW(p, lr=3e-3))
    made.fit(x[:300], y[:300], validation=(x_test, y_test))
    assert made.n_iter_ < 300
    assert "validation_loss was best" in made.history_.stopped
    early = MLPClassifier((64,), early_stopping=True, max_iter=300, n_iter_no_change=3, random_state=0).fit(x, y)
    assert early.n_iter_ < 300


def test_balanced_classes_find_the_rare_one():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (950, 2)), rng.normal(1.5, 1, (50, 2))])
    y = np.repeat(["common", "rare"], [950, 50])
    plain, balanced = (MLPClassifier((8,), class_weight=w, max_iter=40, random_state=0).fit(x, y) for w in (None, "balanced"))
    recall = [(made.predict(x[950:]) == "rare").mean() for made in (plain, balanced)]
    assert recall[1] > recall[0] + 0.3


def test_sparse_input_is_refused_with_a_reason(digits):
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        MLPClassifier().fit(sparse.csr_matrix(digits[0]), digits[1])


@pytest.mark.skipif(not NEW, reason="callbacks came with scikit-learn 1.9")
def test_callbacks_of_scikit_learn_see_every_epoch(digits):
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    made = MLPClassifier((32,), max_iter=6, random_state=0).set_callbacks(monitor).fit(*digits[:2])
    assert made.n_iter_ == 6
    assert len(monitor.get_logs().data) >= 6
