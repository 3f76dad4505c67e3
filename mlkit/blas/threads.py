"""How many threads a library is given: affinity, cgroup quota, $MLKIT_THREADS; and one after a fork."""

import math
import os
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

from ..errors import ArgumentError

CGROUP = Path("/sys/fs/cgroup")
LARGEST = 1024


def default() -> int:
    """$MLKIT_THREADS, else the CPUs that this process may use."""
    asked = os.environ.get("MLKIT_THREADS")
    if asked is None or asked == "":
        return allowed()
    try:
        return checked(int(asked), "$MLKIT_THREADS")
    except ValueError as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"$MLKIT_THREADS is {asked!r}; it must be a whole number from 1 to {limit()}") from None


def allowed() -> int:
    """The CPUs that the affinity mask and the cgroup quota leave to this process, at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return cpus if math.isinf(quota) else max(1, min(cpus, math.ceil(quota)))


def checked(count: object, what: str = "threads") -> int:
    """`count` as an int, or an ArgumentError."""
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise ArgumentError(f"{what} is {count!r}; it must be a whole number from 1 to {limit()}")
    number = count.__index__()
    if not 1 <= number <= limit():
        raise ArgumentError(f"{what}={number}; it must be from 1 to {limit()} on this machine of {os.cpu_count()} CPUs")
    return int(number)


@lru_cache(1)  # counting the CPUs takes 6 µs
def limit() -> int:
    """The largest count taken: far more threads than CPUs help nobody, and some libraries crash on them."""
    return min(LARGEST, max(16, 4 * (os.cpu_count() or 1)))


def parallel(jobs: Sequence[Callable[[], None]]) -> None:
    """Run the jobs at once, the first one here, the others on worker threads that share this thread's context."""
    waiting = [_pool().submit(copy_context().run, job) for job in jobs[1:]]
    jobs[0]()
    for job in waiting:
        job.result()


@lru_cache(1)
def _pool() -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor  # 4 ms of every start, needed only here

    return ThreadPoolExecutor(limit(), "mlkit")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # the workers did not survive the fork


def _quota(root: Path = CGROUP, membership: Path = Path("/proc/self/cgroup")) -> float:
    """CPUs' worth of time that the cgroups above this process allow (cgroup v2 cpu.max, v1 cpu.cfs_quota_us)."""
    smallest = math.inf
    for line in _read(membership).splitlines():
        _, _, path = line.partition(":")
        controllers, _, path = path.partition(":")
        base = root / controllers if controllers else root
        if controllers and "cpu" not in controllers.split(","):
            continue
        directory = base / path.lstrip("/")
        while directory.is_relative_to(base):
            smallest = min(smallest, _limit(directory))
            directory = directory.parent
    return smallest


def _limit(directory: Path) -> float:
    quota, period = ([*_read(directory / "cpu.max").split(), "max", "100000"])[:2]
    if quota == "max":
        quota = _read(directory / "cpu.cfs_quota_us").strip() or "-1"
        period = _read(directory / "cpu.cfs_period_us").strip() or "100000"
    try:
        number = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return math.inf
    return number if number > 0 else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
