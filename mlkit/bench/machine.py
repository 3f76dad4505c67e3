"""What machine this is: the facts that a measurement cannot be read without."""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np

from .. import blas
from ..blas import threads

POWER = Path("/sys/class/powercap")


def machine() -> dict[str, Any]:
    """CPU, number of cores and those that may be used, caches, system, Python, NumPy, variables that choose kernels or threads."""
    lines = _lines("/proc/cpuinfo")
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    return {
        "cpu": model, "cpus": sum(line.startswith("processor") for line in lines) or None, "allowed": threads.allowed(),
        "architecture": platform.machine(), "caches": caches(), "system": platform.platform(),
        "python": platform.python_version(), "numpy": np.__version__, "environment": blas.knobs(),
    }  # fmt: skip


def caches() -> dict[str, str]:
    """The sizes of the first CPU's caches, as Linux has them: {"L1": "48K", …}."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind = "".join(_lines(index / "type"))
        if kind in ("Data", "Unified"):
            found[f"L{''.join(_lines(index / 'level'))}"] = "".join(_lines(index / "size"))
    return found


def load() -> float | None:
    """Processes that wanted a CPU in the last minute, as the system counts them."""
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def free_memory() -> int | None:
    """Bytes that new programs can have without swapping, as Linux estimates them; None elsewhere."""
    found = next((line for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")), None)
    return int(found.split()[1]) * 1024 if found else None


def energy() -> float | None:
    """Joules that all CPU packages have used so far (RAPL), or None where they cannot be read: by root alone, on real hardware."""
    try:
        found = [int((zone / "energy_uj").read_text()) for zone in POWER.glob("intel-rapl:[0-9]*") if zone.name.count(":") == 1]
    except (OSError, ValueError):
        return None
    return sum(found) / 1e6 if found else None


def _lines(path: "str | Path") -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
