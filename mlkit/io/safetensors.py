"""Named arrays in one file. Source: the format's description at huggingface/safetensors: length, JSON header, bytes."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from ..file import write_whole
from ..kernels import Array

DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8",
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2",
}  # fmt: skip
NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "BF16"}
LARGEST_HEADER = 100_000_000  # bytes, as the format has it
METADATA = "__metadata__"


def save_tensors(tensors: Mapping[str, Any], path: "str | os.PathLike[str]", metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays by name, and texts by name; the file is there whole or not at all."""
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    parts, start = [], 0
    for name, value in tensors.items():
        array = np.asarray(value)
        dtype = array.dtype.newbyteorder("<")
        if dtype not in NAMES or name == METADATA:
            raise ArgumentError(f"save_tensors: {name!r} is {array.dtype}; safetensors have {', '.join(map(str, NAMES))}")
        parts.append(array.astype(dtype, copy=False).tobytes())
        header[name] = {
            "dtype": NAMES[dtype],
            "shape": list(array.shape),
            "data_offsets": [start, start + array.nbytes],
        }
        start += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    write_whole(os.fspath(path), b"".join([len(text).to_bytes(8, "little"), text, *parts]))


def load_tensors(path: "str | os.PathLike[str]") -> tuple[dict[str, Array], dict[str, str]]:
    """(arrays by name, texts by name); bfloat16 becomes float32. DataError for anything that is not such a file.

    No more is allocated than the file is long.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            length = os.fstat(file.fileno()).st_size
            header, start = _header(file.read(8), file, length, name)
            metadata = header.pop(METADATA, {})
            places = {key: _place(key, entry, name) for key, entry in header.items()}
            _check_whole(places, length - start, name)
            body = file.read(length - start)
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from error
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise DataError(f"{name} is damaged: its metadata are no texts")
    arrays = {}
    for key, (code, shape, begin, end) in places.items():
        array = np.frombuffer(body[begin:end], DTYPES[code]).reshape(shape)
        wide = (array.astype("<u4") << 16).view("<f4") if code == "BF16" else array
        arrays[key] = wide.astype(wide.dtype.newbyteorder("="))
    return arrays, metadata


def _header(first: bytes, file: Any, length: int, name: str) -> tuple[dict[str, Any], int]:
    size = int.from_bytes(first, "little")
    if len(first) < 8 or not 2 <= size <= min(LARGEST_HEADER, length - 8):
        raise DataError(f"{name} is no safetensors file, or truncated: {length} bytes, and a header of {size}")
    try:
        header = json.loads(file.read(size).decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is no safetensors file: its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise DataError(f"{name} is no safetensors file: its header is a {type(header).__name__}")
    return header, 8 + size


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _place(key: str, entry: Any, name: str) -> tuple[str, tuple[int, ...], int, int]:
    """(dtype, shape, begin, end), each checked."""
    try:
        code, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = [*shape, begin, end]
        right = all(type(number) is int and number >= 0 for number in numbers) and len(shape) <= 32
        right = right and end - begin == math.prod(shape) * np.dtype(DTYPES[code]).itemsize
    except (TypeError, KeyError, ValueError):
        right = False
    if not right:
        raise DataError(f"{name} is damaged: the entry of {key!r} is {str(entry)[:100]}")
    return code, shape, begin, end


def _check_whole(places: Mapping[str, tuple[str, tuple[int, ...], int, int]], length: int, name: str) -> None:
    """Every byte belongs to one array."""
    reached = 0
    for key, (_, _, begin, end) in sorted(places.items(), key=lambda item: item[1][2:]):
        if begin != reached:
            raise DataError(f"{name} is damaged: {key!r} begins at byte {begin}, the one before ends at {reached}")
        reached = end
    if reached != length:
        raise DataError(f"{name} is truncated or damaged: {length} bytes of {reached}")
