"""A process that trains with one library. It reads commands, one JSON line each, and answers on a pipe of its own.

    python -m mlkit.bench.worker DESCRIPTOR LIBRARY THREADS

A library that crashes takes only this process with it; what it prints cannot be taken for an answer.
"""

import base64
import contextlib
import json
import os
import sys
import time
from typing import Any

import numpy as np

from .. import blas
from ..errors import MlkitError, ThreadControlError
from .workload import WORKLOADS, Training

PEAK_SIZE, PEAK_SECONDS = 768, 0.2


def main(descriptor: str, library: str, threads: str) -> None:
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

    def obey(self, do: str, **arguments: Any) -> dict[str, Any]:
        return dict(getattr(self, f"do_{do}")(**arguments))

    def do_describe(self) -> dict[str, Any]:
        """What the library is, and its best sgemm in GFLOP/s."""
        a, b, c = (np.ones((PEAK_SIZE, PEAK_SIZE), np.float32) for _ in range(3))
        call, times = blas.bind(a, b, c), list[float]()
        while len(times) < 3 or sum(times) < PEAK_SECONDS:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return {
            **self.library.report._asdict(), "path": self.library.path, "threads": self.library.threads,
            "peak": 2 * PEAK_SIZE**3 / min(times) / 1e9,
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

    def do_finish(self) -> dict[str, Any]:
        """The test score and the final weights."""
        assert self.training is not None
        weights = base64.b64encode(self.training.weights().astype("<f4").tobytes()).decode()
        return {"score": self.training.score(), "weights": weights}


if __name__ == "__main__":
    main(*sys.argv[1:])
