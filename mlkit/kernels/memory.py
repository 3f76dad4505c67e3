"""Which known piece of memory an array lies in."""

import math
import mmap
import weakref
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
LARGE = 1 << 20  # bytes from which memory comes from the system, which makes zeros of a page when it is first touched


class Regions:
    """The memory of living arrays, each with a label; a region is forgotten when its array dies.

    Memory is known by its address, so a view is found whatever its offset and strides are. `address_of` tells that of an array.
    """

    def __init__(self, on_death: Callable[[Any], None] | None = None, address_of: Callable[[Array], int] | None = None) -> None:
        self._starts: list[int] = []  # sorted
        self._regions: dict[int, tuple[int, Any, weakref.ref[Array]]] = {}  # start -> (stop, label, the array)
        self._dead: deque[int] = deque()  # starts whose arrays died; removed before the next look
        self._on_death, self._address = on_death, address_of or address
        self._lock = RLock()

    def add(self, array: Array, label: Any = None) -> None:
        """Know the memory of `array`, which must own it or outlive every view that is asked for."""
        if array.nbytes == 0:
            return
        start = self._address(array)

        def died(_: weakref.ref[Array]) -> None:
            self._dead.append(start)
            if self._on_death:
                self._on_death(label)

        with self._lock:
            self._bury()
            if start in self._regions:
                return
            insort(self._starts, start)
            self._regions[start] = start + array.nbytes, label, weakref.ref(array, died)

    def find(self, start: int) -> tuple[Any, int, Array] | None:
        """(label, bytes from the region's start, the region's array), or None if the address lies in no known region."""
        with self._lock:
            self._bury()
            place = bisect_right(self._starts, start) - 1
            if place < 0:
                return None
            begin = self._starts[place]
            stop, label, reference = self._regions[begin]
            owner = reference()
            return (label, start - begin, owner) if start < stop and owner is not None else None

    def _bury(self) -> None:
        while self._dead:
            start = self._dead.popleft()
            del self._regions[start]
            del self._starts[bisect_right(self._starts, start) - 1]


def address(array: Array) -> int:
    """Where the first element of `array` lies."""
    return int(array.__array_interface__["data"][0])


def aligned(shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Zeros that begin a cache line. Long arrays of np.zeros begin 16 bytes behind one: each wide load from them takes two."""
    size = math.prod((shape,) if isinstance(shape, int) else shape) * np.dtype(dtype).itemsize
    # No array, so that views of the result refer to the result, not to this.
    memory = _pages(size) if size >= LARGE else bytearray(size + ALIGNMENT)
    return np.ndarray(shape, dtype, memory, -address(np.frombuffer(memory, np.uint8)) % ALIGNMENT)


def _pages(size: int) -> mmap.mmap:
    """Memory of this process alone; by itself `mmap` shares it with forked children."""
    try:
        return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"the system has no {size} bytes") from error


def aligned_copy(array: Array) -> Array:
    """`array` in C order, on memory that begins a cache line."""
    found = aligned(array.shape, array.dtype)
    found[...] = array
    return found


def memory_order(array: Array) -> list[int]:
    """The axes of `array` as they lie in memory, the farthest strides first."""
    return sorted(range(array.ndim), key=lambda axis: -array.strides[axis])


def native(dtype: Any) -> np.dtype[Any]:
    """`dtype` in native byte order."""
    found: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    return found
