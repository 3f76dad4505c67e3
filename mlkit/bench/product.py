"""A product on paper: kernel, operands, how often, in which layer – enough to make it again on any library, without the model."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import blas
from .. import kernels as k
from ..blas import product as routines
from ..blas.product.operand import merge, transposed
from ..errors import DataError
from ..kernels import Array, Bound

KERNELS = {kernel.__name__: kernel for kernel in routines.KERNELS}
DTYPES = ("float32", "float64", "complex64", "complex128")
MOST_DIMENSIONS, LARGEST = 8, 1 << 36  # axes of an operand; bytes that it may span


class Operand(NamedTuple):
    """An array: its shape, its strides in bytes, and which operand's memory it is (its own number, if it has its own)."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    memory: int

    def span(self, item: int) -> int:
        """Bytes from its first number to behind its last."""
        return sum((n - 1) * step for n, step in zip(self.shape, self.strides)) + item if 0 not in self.shape else 0


class Product(NamedTuple):
    """One product and how often it was made; `operands` are Operands and numbers, as its kernel takes them."""

    kernel: str
    dtype: str
    operands: tuple[Operand | complex | None, ...]
    times: int = 1
    layer: str = ""
    phase: str = ""
    seconds: float = 0.0  # of all calls, when it was recorded

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes it the same product as another."""
        return self.kernel, self.dtype, self.operands

    @property
    def arrays(self) -> list[Operand]:
        """The operands that are arrays, the result last."""
        return [x for x in self.operands if isinstance(x, Operand)]

    @property
    def flops(self) -> int:
        """Real operations of one call."""
        return k.flops(KERNELS[self.kernel], tuple(_ghost(x, self.dtype) if isinstance(x, Operand) else x for x in self.operands))

    @property
    def bytes(self) -> int:
        """Bytes that are read or written at least: each operand once."""
        item = np.dtype(self.dtype).itemsize
        own = (x for number, x in enumerate(self.operands) if isinstance(x, Operand) and x.memory == number)
        return sum(item * math.prod(x.shape) for x in own)

    @property
    def size(self) -> int:
        """Bytes that its operands take in memory."""
        item = np.dtype(self.dtype).itemsize
        return sum(x.span(item) for x in self.arrays)

    @property
    def turned(self) -> str:
        """NN, NT, TN or TT: which of two matrices, or stacks of them, lies transposed."""
        item = np.dtype(self.dtype).itemsize
        return "".join("NT"[transposed(x.shape, x.strides, item)] for x in self.arrays[:2])

    def __str__(self) -> str:
        shapes = self.arrays
        item = np.dtype(self.dtype).itemsize
        kind = [] if self.dtype == "float32" else [self.dtype]
        if self.kernel == "matrix_product":
            a, b = shapes[:2]
            wide = [f"ld{name} {max(x.strides) // item}" for name, x in zip("abc", shapes) if not _dense(x, item)]
            return " ".join([f"{a.shape[0]}×{a.shape[1]}×{b.shape[1]} {self.turned}", *wide, *kind])
        if self.kernel == "stacked_product":
            a, b = shapes[:2]
            return " ".join([f"{a.shape[0]}·({a.shape[1]}×{a.shape[2]}×{b.shape[2]}) {self.turned}", *kind])
        return " ".join([f"{self.kernel} {'×'.join(map(str, shapes[0].shape))}", *kind])

    def made(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Operands with numbers of about 1, lying as the recorded ones lay."""
        dtype = np.dtype(self.dtype)
        memory: dict[int, Array] = {}
        found: list[Any] = []
        for operand in self.operands:
            if not isinstance(operand, Operand):
                found.append(operand)
                continue
            own = self.operands[operand.memory]
            assert isinstance(own, Operand)
            if operand.memory not in memory:
                count = max(own.span(dtype.itemsize), operand.span(dtype.itemsize)) // dtype.itemsize
                memory[operand.memory] = rng.standard_normal(max(count, 1), np.float32).astype(dtype)
            found.append(np.ndarray(operand.shape, dtype, memory[operand.memory], 0, operand.strides))
        return tuple(found)

    def bound(self, operands: tuple[Any, ...]) -> Bound:
        """The product of these operands as one call, bound to the library in force."""
        if self.kernel == "matrix_product":
            a, b, alpha, beta, out = operands
            return blas.bind(a, b, out, alpha, beta), ()
        return k.bind(KERNELS[self.kernel], operands)


def product_of(kernel: k.Kernel, operands: Sequence[Any], place: k.Place) -> Product:
    """What a recording saw."""
    described: list[Any] = []
    first: dict[int, int] = {}
    last = len(operands) - 1
    for number, x in enumerate(operands):
        if not isinstance(x, np.ndarray):
            described.append(x)
        elif x.ndim == 0 and number < last:
            described.append(x.item())  # a factor that is read at each call
        else:
            described.append(Operand(x.shape, x.strides, first.setdefault(k.address(x), number)))
    return Product(kernel.__name__, str(operands[-1].dtype), tuple(described), 1, *place)


def gemm(
    m: int, n: int, inner: int, dtype: str = "float32", a_turned: bool = False, b_turned: bool = False, times: int = 1
) -> Product:
    """`a @ b` of dense operands, (m, inner) @ (inner, n), either lying transposed in memory."""
    item = np.dtype(dtype).itemsize
    a = Operand((m, inner), (item, m * item) if a_turned else (inner * item, item), 0)
    b = Operand((inner, n), (item, inner * item) if b_turned else (n * item, item), 1)
    return Product("matrix_product", dtype, (a, b, 1.0, 0.0, Operand((m, n), (n * item, item), 4)), times)


def encoded(product: Product) -> dict[str, Any]:
    """For JSON."""
    operands = [
        {"shape": x.shape, "strides": x.strides, "memory": x.memory} if isinstance(x, Operand)
        else {"complex": [x.real, x.imag]} if isinstance(x, complex) else x
        for x in product.operands
    ]  # fmt: skip
    return {**product._asdict(), "operands": operands}


def decoded(entry: Any) -> Product:
    """The product of a JSON object, checked: DataError if it is none that could be made."""
    try:
        operands = tuple(map(_operand, entry["operands"]))
        found = Product(
            str(entry["kernel"]), str(entry["dtype"]), operands, int(entry["times"]), str(entry.get("layer", "")),
            str(entry.get("phase", "")), float(entry.get("seconds", 0)),
        )  # fmt: skip
        _check(found)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise DataError(f"a product of the file cannot be made: {error} ({str(entry)[:100]})") from error
    return found


def _operand(entry: Any) -> Operand | complex | None:
    if isinstance(entry, Mapping) and "shape" in entry:
        return Operand(tuple(map(int, entry["shape"])), tuple(map(int, entry["strides"])), int(entry["memory"]))
    if isinstance(entry, Mapping):
        return complex(*entry["complex"])
    if entry is None or isinstance(entry, int | float):
        return entry
    raise ValueError(f"{entry!r} is no operand")


def _check(product: Product) -> None:
    """Shapes that fit and memory that is there: nothing of a file's is trusted."""
    if product.kernel not in KERNELS or product.dtype not in DTYPES or product.times < 1:
        raise ValueError(f"{product.times} times {product.kernel} of {product.dtype}")
    item = np.dtype(product.dtype).itemsize
    for number, x in enumerate(product.operands):
        if not isinstance(x, Operand):
            continue
        own = product.operands[x.memory] if 0 <= x.memory <= number else None
        if not isinstance(own, Operand) or own.memory != x.memory or not len(x.shape) == len(x.strides) <= MOST_DIMENSIONS:
            raise ValueError(f"operand {number} lies nowhere")
        if min((*x.shape, 1)) < 1 or min((*x.strides, 0)) < 0 or any(step % item for step in x.strides) or x.span(item) > LARGEST:
            raise ValueError(f"operand {number} has shape {x.shape}, strides {x.strides}")
        if x.span(item) > own.span(item):
            raise ValueError(f"operand {number} does not fit into the memory of operand {x.memory}")
    if not isinstance(product.operands[-1], Operand):
        raise ValueError("it has no result")
    _check_shapes(product)


def _check_shapes(product: Product) -> None:
    shapes = [x.shape for x in product.arrays]
    own = product.arrays[-1].memory == len(product.operands) - 1
    if product.kernel == "matrix_product":
        (m, inner), (rows, n), out = shapes
        fits = own and inner == rows and out == (m, n)
    elif product.kernel == "stacked_product":
        (count, m, inner), (other, rows, n), out = shapes
        fits = own and inner == rows and count == other and out == (count, m, n)
    else:
        fits = len({shape for shape in shapes if shape}) == 1 and all(merge(x.shape, x.strides) for x in product.arrays)
    if not fits:
        raise ValueError(f"shapes {shapes} of {product.kernel}")


def _dense(x: Operand, item: int) -> bool:
    """Whether a matrix has no gaps, whichever way it lies; a vector's stride is a gap as well."""
    return x.span(item) == item * math.prod(x.shape)


def _ghost(x: Operand, dtype: str) -> Array:
    """An array of that shape without memory of that size."""
    return np.broadcast_to(np.zeros((), dtype), x.shape)


def usable(product: Product, library: blas.Library) -> bool:
    """Whether a library's integers can count it."""
    item = np.dtype(product.dtype).itemsize
    return all(max((*x.shape, *(step // item for step in x.strides), 1)) <= library.largest for x in product.arrays)
