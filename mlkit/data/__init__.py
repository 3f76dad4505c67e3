"""Data to learn from: bundled, and read from files; in parts, in batches, transformed."""

from .bundled import daily_series, daily_views, digits
from .idx import FASHION, fashion_mnist, read_idx
from .loader import DataLoader, Dataset
from .split import Split, random_split, stratified_split, time_split, windows
from .table import csv_batches, read_csv, read_rows
from .transform import CharTokenizer, Standardizer, augment, one_hot, pad_sequences

__all__ = [
    "FASHION",
    "CharTokenizer",
    "DataLoader",
    "Dataset",
    "Split",
    "Standardizer",
    "augment",
    "csv_batches",
    "daily_series",
    "daily_views",
    "digits",
    "fashion_mnist",
    "one_hot",
    "pad_sequences",
    "random_split",
    "read_csv",
    "read_idx",
    "read_rows",
    "stratified_split",
    "time_split",
    "windows",
]
