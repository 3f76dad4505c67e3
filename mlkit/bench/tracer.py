"""Recording another program: `mlkit trace` sets $MLKIT_TRACE to a directory, and every process that imports mlkit writes there."""

import atexit
import os
import sys

from .. import kernels as k
from .trace import Tracer

VARIABLE = "MLKIT_TRACE"


def start() -> None:
    """Count every product of this process from now on, and write them when it ends."""
    directory, tracer, process = os.environ[VARIABLE], Tracer(), os.getpid()
    k.observe_everywhere(tracer)

    def write() -> None:
        if os.getpid() == process:  # a fork's end is not this process's
            found = tracer.trace(" ".join(sys.argv))
            if found.products:
                found.save(os.path.join(directory, f"{process}.json"))

    atexit.register(write)
