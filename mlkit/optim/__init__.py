"""Optimizers: each a handful of whole-vector calls on the flat vectors of a model."""

from .adam import Adam, AdamW
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
