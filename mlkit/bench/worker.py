"""A process that trains with one library. It reads commands, one JSON line each, and answers on a pipe of its own.

    python -m mlkit.bench.worker DESCRIPTOR LIBRARY THREADS

A library that crashes takes only this process with it; what it prints cannot be taken for an answer.
"""

import base64
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import blas
from ..blas.process import end_with_parent
from ..errors import ArgumentError, MlkitError, ThreadControlError
from .product import Product, decoded, usable
from .step import made
from .workload import WORKLOADS, Training

PEAK_SIZE, STREAM_SIZE, PEAK_SECONDS = 768, 1 << 23, 0.2


def main(descriptor: str, library: str, threads: str) -> None:
    end_with_parent()
    with os.fdopen(int(descriptor), "w") as answers:
        try:
            worker = Worker(library, int(threads))
            for line in sys.stdin:
                json.dump(worker.obey(**json.loads(line)), answers)
                answers.write("\n")
                answers.flush()
        except MlkitError as error:
            json.dump({"error": str(error)}, answers)


class Worker:
    """One library, one thread count, one training at a time."""

    def __init__(self, library: str, threads: int) -> None:
        self.library = blas.use(library)
        with contextlib.suppress(ThreadControlError):  # it runs as many as it runs; the table says how many
            self.library.threads = threads
        self.training: Training | None = None
        self.call: Callable[[], Any] | None = None

    def obey(self, do: str, **arguments: Any) -> dict[str, Any]:
        return dict(getattr(self, f"do_{do}")(**arguments))

    def do_describe(self) -> dict[str, Any]:
        """What the library is, its best sgemm in GFLOP/s, and the GB/s of a long saxpy, which is the memory's."""
        a, b, c = (np.ones((PEAK_SIZE, PEAK_SIZE), np.float32) for _ in range(3))
        x, y = (np.ones(STREAM_SIZE, np.float32) for _ in range(2))
        return {
            **self.library.report._asdict(), "path": self.library.path, "threads": self.library.threads,
            "peak": 2 * PEAK_SIZE**3 / _best(blas.bind(a, b, c)) / 1e9,
            "bandwidth": 3 * x.nbytes / _best(partial(blas.axpy, x, y, 0.5)) / 1e9,
        }  # fmt: skip

    def do_start(self, workload: str, seed: int) -> dict[str, Any]:
        """Load the data and build the network."""
        self.training = Training(WORKLOADS[workload], seed)
        return {"steps_in_epoch": self.training.steps_in_epoch()}

    def do_train(self, steps: int) -> dict[str, Any]:
        """Seconds for that many steps."""
        assert self.training is not None
        start = time.perf_counter()
        self.training.steps(steps)
        return {"seconds": time.perf_counter() - start}

    def do_prepare(self, slice: float, product: Any = None, step: str = "") -> dict[str, Any]:
        """Make a product or a step ready, warm; says how many calls last as long as `slice` seconds, or why it is refused."""
        self.call = None  # its memory is free before the next is made
        try:
            self.call = self._product(decoded(product)) if product else self._step(step)
            seconds = min(self._timed(1)["seconds"] for _ in range(3))
        except (MlkitError, MemoryError) as error:
            return {"refused": str(error) or "there is not enough memory"}
        return {"calls": max(1, math.ceil(slice / max(seconds, 1e-9)))}

    def do_time(self, calls: int) -> dict[str, Any]:
        """Seconds and CPU seconds of that many calls, after one that warms up."""
        return self._timed(calls)

    def _product(self, product: Product) -> Callable[[], Any]:
        if not usable(product, self.library):
            raise ArgumentError(f"{self.library.name} has 32-bit integers, too small for this product")
        operands = product.made(np.random.default_rng(0))
        function, arguments = product.bound(operands)
        call = partial(function, *arguments)
        call.__dict__["operands"] = operands  # raw pointers keep nothing alive
        return call

    def _step(self, name: str) -> Callable[[], Any]:
        run, inputs = made(name)
        run(*inputs)
        return partial(run, *inputs)

    def _timed(self, calls: int) -> dict[str, Any]:
        assert self.call is not None
        call = self.call
        call()
        cpu, start = time.process_time(), time.perf_counter()
        for _ in range(calls):
            call()
        return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}

    def do_finish(self) -> dict[str, Any]:
        """The test score and the final weights."""
        assert self.training is not None
        weights = base64.b64encode(self.training.weights().astype("<f4").tobytes()).decode()
        return {"score": self.training.score(), "weights": weights}


def _best(call: Callable[[], Any]) -> float:
    """Seconds of the fastest call."""
    times = list[float]()
    while len(times) < 3 or sum(times) < PEAK_SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main(*sys.argv[1:])
