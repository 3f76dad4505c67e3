"""Training: the step that is made again and again."""

from .step import Step

__all__ = ["Step"]
