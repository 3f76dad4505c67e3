"""Data to learn from: bundled, and read from files; in parts, in batches, transformed."""

from .audio import log_mel, read_wav, resample
from .bundled import daily_series, daily_views, digits
from .idx import FASHION, fashion_mnist, read_idx
from .image import image_folder, read_image
from .loader import DataLoader, Dataset
from .sgf import Board, Game, Move, read_sgf
from .split import Split, random_split, stratified_split, time_split, windows
from .table import csv_batches, read_csv, read_rows
from .text import BytePairTokenizer, CharTokenizer, read_text
from .transform import PCA, Standardizer, augment, one_hot, pad_sequences

__all__ = [
    "FASHION",
    "PCA",
    "Board",
    "BytePairTokenizer",
    "CharTokenizer",
    "DataLoader",
    "Dataset",
    "Game",
    "Move",
    "Split",
    "Standardizer",
    "augment",
    "csv_batches",
    "daily_series",
    "daily_views",
    "digits",
    "fashion_mnist",
    "image_folder",
    "log_mel",
    "one_hot",
    "pad_sequences",
    "random_split",
    "read_csv",
    "read_idx",
    "read_image",
    "read_rows",
    "read_sgf",
    "read_text",
    "read_wav",
    "resample",
    "stratified_split",
    "time_split",
    "windows",
]
