"""Data sets, and batches of them: views where the order allows it, prepared ahead on a thread where that is asked for."""

from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..kernels import Array

Batch = tuple[Array, ...]


class Dataset:
    """Arrays with one row for each example: inputs, targets, weights, … An index, a slice or row numbers give a tuple of rows.

    Anything else with `len(data)` and `data[row numbers]`, a tuple of arrays, serves as well; so does a memory-mapped array.
    """

    def __init__(self, *arrays: Any) -> None:
        self.arrays = tuple(np.asanyarray(array) for array in arrays)
        lengths = [len(array) if array.ndim else 0 for array in self.arrays]
        if not lengths or len(set(lengths)) > 1:
            raise ShapeError(f"Dataset: arrays of {lengths or 'no'} rows; it takes one or more, all of one length")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, rows: Any) -> Batch:
        return tuple(array[rows] for array in self.arrays)


class DataLoader:
    """Batches of a data set, (x, y, …), in order or shuffled anew by `rng` at every pass.

    Unshuffled batches are views. `transform` gets the arrays of a batch and returns those to use instead: augmentation, say.
    `prefetch` batches are made ahead on a thread, which pays where making them takes long.
    """

    def __init__(
        self, dataset: Any, batch_size: int = 32, shuffle: bool = False, rng: "np.random.Generator | None" = None,
        drop_last: bool = False, transform: Callable[..., Sequence[Array]] | None = None, prefetch: int = 0,
    ) -> None:  # fmt: skip
        if batch_size < 1 or prefetch < 0:
            raise ArgumentError(f"DataLoader: batch_size {batch_size} must be from 1, prefetch {prefetch} from 0")
        if shuffle and rng is None:
            raise ArgumentError("DataLoader: shuffle=True needs rng, as np.random.default_rng(seed) makes one")
        self.dataset = Dataset(*dataset) if isinstance(dataset, tuple) else dataset
        if not len(self.dataset):
            raise ArgumentError("DataLoader: the data set is empty")
        self.batch_size, self.shuffle, self.rng, self.drop_last = int(batch_size), shuffle, rng, drop_last
        self.transform, self.prefetch = transform, prefetch

    def __len__(self) -> int:
        """Batches in one pass."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        order = self.rng.permutation(len(self.dataset)) if self.shuffle and self.rng else None
        batches = self._batches(order)
        return ahead(batches, self.prefetch) if self.prefetch else batches

    def _batches(self, order: Array | None) -> Iterator[Batch]:
        for number in range(len(self)):
            part = slice(number * self.batch_size, min((number + 1) * self.batch_size, len(self.dataset)))
            batch = self.dataset[part if order is None else order[part]]
            yield tuple(self.transform(*batch)) if self.transform else batch


def ahead(items: Iterator[Any], count: int) -> Iterator[Any]:
    """The same items, up to `count` of them made before they are asked for, by a thread; its errors are raised here."""
    waiting: Queue[tuple[str, Any]] = Queue(count)
    enough = Event()

    def put(kind: str, item: Any) -> bool:
        while not enough.is_set():
            try:
                waiting.put((kind, item), timeout=0.1)
                return True
            except Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:
            put("error", error)

    worker = Thread(target=work, name="mlkit prefetch", daemon=True)
    worker.start()
    try:
        while True:
            kind, item = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise item
            yield item
    finally:
        enough.set()
        while True:  # let go of what was made in vain
            try:
                waiting.get_nowait()
            except Empty:
                break
        worker.join()
