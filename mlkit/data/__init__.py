"""Data to learn from: bundled, and read from files; in parts, in batches, transformed."""

from .bundled import daily_views, digits
from .idx import FASHION, fashion_mnist, read_idx
from .loader import DataLoader, Dataset
from .split import Split, random_split, stratified_split, time_split, windows
from .transform import CharTokenizer, Standardizer, augment, one_hot, pad_sequences

__all__ = [
    "FASHION",
    "CharTokenizer",
    "DataLoader",
    "Dataset",
    "Split",
    "Standardizer",
    "augment",
    "daily_views",
    "digits",
    "fashion_mnist",
    "one_hot",
    "pad_sequences",
    "random_split",
    "read_idx",
    "stratified_split",
    "time_split",
    "windows",
]
