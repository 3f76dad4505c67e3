"""What mlkit costs beyond the library itself: call overhead, import time, memory. Numbers to read, not tests.

python asv_bench/overhead.py [--blas NAME]
"""

import argparse
import resource
import subprocess
import sys
import timeit
from collections.abc import Callable

import numpy as np

from mlkit import blas


def best(call: Callable[[], object], repeat: int = 9) -> float:
    """Microseconds of one call, the best of several runs of at least 5 ms."""
    timer = timeit.Timer(call)
    count = max(1, int(0.005 / max(timer.timeit(3) / 3, 1e-7)))
    return min(timer.repeat(repeat, count)) / count * 1e6


def products() -> None:
    print(f"{'n':>5}  {'bound µs':>9}  {'blas.gemm µs':>12}  {'np.matmul µs':>12}")
    for n in (8, 32, 128, 512, 1024):
        a, b, c = (np.random.default_rng(0).standard_normal((n, n), dtype=np.float32) for _ in range(3))
        call = blas.bind(a, b, c)
        times = [best(f) for f in (call, lambda: blas.gemm(a, b, out=c), lambda: np.matmul(a, b, out=c))]  # noqa: B023
        print(f"{n:5}  {times[0]:9.2f}  {times[1]:12.2f}  {times[2]:12.2f}")


def import_time(statement: str, after: str = "pass") -> float:
    """Milliseconds of an import in a new process, the best of nine."""
    code = f"import time; {after}; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
    runs = (subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(9))
    return min(map(float, runs)) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blas", default=None)
    options = parser.parse_args()
    library = blas.use(options.blas, 1) if options.blas else blas.current()
    library.threads = 1
    print(library)
    products()
    numpy, own = import_time("import numpy"), import_time("import mlkit", "import numpy")
    print(f"import numpy {numpy:.0f} ms, then import mlkit {own:.0f} ms more")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process {memory:.0f} MB")


if __name__ == "__main__":
    main()
