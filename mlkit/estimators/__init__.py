"""scikit-learn's estimators around mlkit's networks: `MLPClassifier`, `MLPRegressor`, `NetworkClassifier`, `NetworkRegressor`.

Parameters have scikit-learn's names where it has them. Beyond its perceptrons there are dropout, weights of classes, any loss
and optimizer, a validation set of one's own, callbacks – and the BLAS that is in force.
"""

from .classifier import MLPClassifier, NetworkClassifier
from .regressor import MLPRegressor, NetworkRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "NetworkClassifier", "NetworkRegressor"]
