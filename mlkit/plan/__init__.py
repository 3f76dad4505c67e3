"""A training step is a list of kernel calls: capture it once, replay, read, time, save and retarget it."""

from .capture import Capture, View, capturing
from .captured import Captured, capture
from .plan import Plan

__all__ = ["Capture", "Captured", "Plan", "View", "capture", "capturing"]
