"""Data to learn from: bundled, and read from files."""

from .bundled import daily_views, digits
from .idx import FASHION, fashion_mnist, read_idx
from .split import Split

__all__ = ["FASHION", "Split", "daily_views", "digits", "fashion_mnist", "read_idx"]
