"""Metrics: by hand on small cases, and against scikit-learn where it is installed."""

import numpy as np
import pytest

from mlkit.errors import ArgumentError, ShapeError
from mlkit.train import metric

RNG = np.random.default_rng(0)
SCORES, LABELS = RNG.standard_normal((200, 5)), RNG.integers(0, 5, 200)


def test_metrics_by_hand():
    scores, labels = [[2, 1, 0], [0, 1, 2], [1, 2, 0], [0, 2, 1]], [0, 2, 0, 2]
    assert metric.accuracy(scores, labels) == 0.5
    assert metric.top_k(scores, labels, 2) == 1.0
    assert metric.confusion_matrix(scores, labels).tolist() == [[1, 1, 0], [0, 0, 0], [0, 1, 1]]
    found = metric.precision_recall_f1(scores, labels)
    assert found.precision.tolist() == [1, 0, 1]
    assert found.recall.tolist() == [0.5, 0, 0.5]
    assert found.support.tolist() == [2, 0, 2]
    assert metric.roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == 0.75
    assert metric.mae([1.0, 2.0], [2.0, 4.0]) == 1.5
    assert metric.rmse([0.0, 0.0], [3.0, 4.0]) == pytest.approx(12.5**0.5)
    assert metric.r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) == 1
    assert metric.r2([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) == 0
    assert metric.perplexity(np.zeros((7, 4)), np.zeros(7, int)) == pytest.approx(4)


def test_metrics_agree_with_scikit_learn():
    theirs = pytest.importorskip("sklearn.metrics")
    found = metric.classes(SCORES)
    assert metric.accuracy(SCORES, LABELS) == pytest.approx(theirs.accuracy_score(LABELS, found))
    assert (metric.confusion_matrix(SCORES, LABELS) == theirs.confusion_matrix(LABELS, found)).all()
    ours = metric.precision_recall_f1(SCORES, LABELS)
    for mine, other in zip(ours, theirs.precision_recall_fscore_support(LABELS, found)):
        np.testing.assert_allclose(mine, other)
    assert metric.top_k(SCORES, LABELS, 3) == pytest.approx(theirs.top_k_accuracy_score(LABELS, SCORES, k=3))
    two, rough = LABELS % 2, np.round(SCORES[:, 0], 1)
    assert metric.roc_auc(rough, two) == pytest.approx(theirs.roc_auc_score(two, rough))
    p = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
    assert np.log(metric.perplexity(SCORES, LABELS)) == pytest.approx(theirs.log_loss(LABELS, p))
    assert metric.r2(SCORES[:, 0], SCORES[:, 1]) == pytest.approx(theirs.r2_score(SCORES[:, 1], SCORES[:, 0]))


def test_shapes_that_do_not_fit_are_errors():
    with pytest.raises(ShapeError):
        metric.accuracy(SCORES, LABELS[:-1])
    with pytest.raises(ShapeError):
        metric.rmse(np.zeros((3, 1)), np.zeros(3))
    with pytest.raises(ArgumentError):
        metric.roc_auc(SCORES, LABELS)
