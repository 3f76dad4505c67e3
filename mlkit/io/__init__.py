"""Models on disk: safetensors with a description beside the tensors. Never a pickle; a file cannot run code."""

from .checkpoint import Checkpoint
from .model import describe, load, read_description, save
from .safetensors import load_tensors, save_tensors

__all__ = ["Checkpoint", "describe", "load", "load_tensors", "read_description", "save", "save_tensors"]
