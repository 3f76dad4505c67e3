"""A data set in two parts: to learn from, and to be judged by."""

from typing import NamedTuple

from ..kernels import Array


class Split(NamedTuple):
    """Inputs x and targets y, for training and for the test."""

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
