"""An array as CBLAS takes it: address, leading dimension, transposition; and what is refused before the call."""

import ctypes
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from ...errors import ArgumentError, DtypeError, ShapeError
from ...kernels import Array
from ..library import LETTERS, REALS, Dtype, Library

pointer = ctypes.c_void_p
_peek = ctypes.c_size_t.from_address
_DATA = object.__basicsize__  # PyArrayObject: the object's head, then `char *data`


def layout(shape: tuple[int, ...], strides: tuple[int, ...], item: int) -> tuple[bool, int] | None:
    """(transposed, leading dimension) of a matrix that CBLAS can read in place, else None.

    The strides of axes of size 1 mean nothing and are replaced by legal ones: some libraries print and silently do
    nothing when a leading dimension is too small, others exit the process.
    """
    (rows, columns), (down, across) = shape, strides
    if (across == item or columns <= 1) and (rows <= 1 or (down >= columns * item and down % item == 0)):
        return False, down // item if rows > 1 else max(columns, 1)
    if (down == item or rows <= 1) and (columns <= 1 or (across >= rows * item and across % item == 0)):
        return True, across // item if columns > 1 else max(rows, 1)
    return None


def transposed(shape: tuple[int, ...], strides: tuple[int, ...], item: int) -> bool:
    """Whether CBLAS reads a matrix, or each of a stack of them, as transposed."""
    way = layout(shape[-2:], strides[-2:], item)
    return way is not None and way[0]


def reach(shape: tuple[int, ...], strides: tuple[int, ...], item: int) -> int:
    """Bytes from the first element of a view with positive strides to behind its last."""
    return sum((size - 1) * stride for size, stride in zip(shape, strides)) + item


def merge(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether these axes can be walked as one, with one stride."""
    axes = [(size, stride) for size, stride in zip(shape, strides) if size != 1]
    return all(left[1] == right[0] * right[1] for left, right in pairwise(axes))


def check_dtypes(what: str, *arrays: Array) -> None:
    """Raise a DtypeError unless the arrays share one dtype that BLAS has routines for."""
    first = arrays[0].dtype
    if first not in LETTERS or any(x.dtype != first for x in arrays):
        found = ", ".join(str(x.dtype) for x in arrays)
        raise DtypeError(f"{what}: dtypes {found}; all must be float32, float64, complex64 or complex128, and the same")


def check_out(out: Array, shape: tuple[int, ...], dtype: Dtype) -> None:
    if out.shape != shape:
        raise ShapeError(f"`out` has shape {out.shape}; the result has {shape}")
    if out.dtype != dtype:
        raise DtypeError(f"`out` is {out.dtype}; the result is {dtype}")
    if not out.flags.writeable:
        raise ArgumentError("`out` is read-only")


def refuse_too_large(library: Library, *sizes: int) -> None:
    if max(sizes) > library.largest:
        raise ArgumentError(
            f"{max(sizes)} is too large for the 32-bit integers of {library.name}; "
            "use a 64-bit library: blas.use('openblas64') or blas.use('numpy')"
        )


def overlap(out: Array, *operands: Array) -> bool:
    """Whether `out` may share memory with an operand."""
    return any(np.may_share_memory(out, x) for x in operands)


def scalar(dtype: Dtype, value: Any) -> Any:
    """alpha or beta as CBLAS takes it: a real by value, a complex by reference; a 0-d array is read at each call."""
    if isinstance(value, np.ndarray):
        if value.shape != () or value.dtype != dtype:
            raise DtypeError(f"a scalar is a number or a 0-d array of {dtype}, not {value.dtype} of shape {value.shape}")
        live = REALS[LETTERS[dtype]].from_buffer(value.reshape(1).view(value.real.dtype).data)
        return ctypes.byref(live) if dtype.kind == "c" else live
    return _constant(dtype, value)


@lru_cache(1024)
def _constant(dtype: Dtype, value: complex) -> Any:
    real = REALS[LETTERS[dtype]]
    if dtype.kind == "c":
        return ctypes.byref((real * 2)(complex(value).real, complex(value).imag))
    if isinstance(value, complex):
        raise DtypeError(f"the factor {value} is complex, the arrays are {dtype}")
    return real(value)


def _peeked_address(x: Array) -> int:
    return _peek(id(x) + _DATA).value


def _interface_address(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


_samples = np.zeros(3), np.zeros((4, 5), np.float32)[1:, 2:]
# Reading the pointer where CPython's NumPy keeps it takes an eighth of the time of asking for it.
data_address = _peeked_address if all(_peeked_address(x) == _interface_address(x) for x in _samples) else _interface_address
