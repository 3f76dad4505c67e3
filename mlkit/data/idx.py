"""IDX files, gzipped or not: the form of MNIST and Fashion-MNIST. Source: LeCun's description of the format."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..kernels import Array
from .split import Split

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LARGEST = 1 << 31  # bytes: a header that asks for more is taken for damage

FASHION = Path("/usr/share/datasets/fashion-mnist")


def read_idx(path: "str | os.PathLike[str]") -> Array:
    """The array in an IDX file. DataError if it is missing, truncated, or something else; no more is read than it says."""
    name = os.fspath(path)
    try:
        with (gzip.open if name.endswith(".gz") else open)(name, "rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in DTYPES or not head[3]:
                raise DataError(f"{name} is no IDX file: it begins with {head!r}")
            raw = file.read(4 * head[3])
            if len(raw) < 4 * head[3]:
                raise DataError(f"{name} is truncated: its header is incomplete")
            shape, dtype = struct.unpack(f">{head[3]}I", raw), np.dtype(DTYPES[head[2]])
            size = math.prod(shape) * dtype.itemsize
            if size > LARGEST:
                raise DataError(f"{name} is damaged: its header asks for {size} bytes")
            body = file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} cannot be read: {error}") from error
    if len(body) < size:
        raise DataError(f"{name} is truncated: {len(body)} of {size} bytes for shape {shape}")
    return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def fashion_mnist(directory: "str | os.PathLike[str]" = FASHION) -> Split:
    """Images (n, 784) from 0 to 1, class numbers (n,): 60,000 and 10,000 items of clothing.

    Source: Xiao, Rasul & Vollgraf 2017. On Debian: `apt install dataset-fashion-mnist`.
    """
    if not os.path.isdir(directory):
        raise DataError(f"Fashion-MNIST is not in {os.fspath(directory)}: apt install dataset-fashion-mnist, or name its directory")
    parts = []
    for part, count in (("train", 60000), ("t10k", 10000)):
        images = read_idx(Path(directory, f"{part}-images-idx3-ubyte.gz"))
        labels = read_idx(Path(directory, f"{part}-labels-idx1-ubyte.gz"))
        if images.shape != (count, 28, 28) or labels.shape != (count,):
            raise DataError(f"{os.fspath(directory)} is not Fashion-MNIST: {part} has shapes {images.shape}, {labels.shape}")
        parts += [images.reshape(count, 784).astype(np.float32) / 255, labels.astype(np.int64)]
    return Split(*parts)
