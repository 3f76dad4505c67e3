"""The worked case studies: each trains a real model and leaves a page that explains it."""

from . import classify, lecture
from .page import Page

__all__ = ["Page", "classify", "lecture"]
