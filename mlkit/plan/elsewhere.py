"""A plan in a process of its own. Memory that outlives a step – parameters, gradients, inputs – is shared with it.

Python's lock lets one thread at a time say what is called next; a second process has a lock of its own. The plan is sent as
data, as it would be saved; what runs there is `main`.
"""

import contextlib
import json
import mmap
import os
import select
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence

import numpy as np

from .. import blas
from .. import kernels as k
from ..blas.process import python_path
from ..errors import LibraryNotFound, PlanError
from ..kernels import Array
from . import trace
from .capture import Outer
from .plan import Plan

READY, GO = b"r", b"g"
AWAKE = 5e-4  # seconds of waiting without sleep: whoever sleeps wakes up some hundredths of a millisecond late
CHANGING = ("parameter", "state")  # roles of what is sent before each replay


class Elsewhere:
    """The twin of a plan in another process, with the same library on one thread, on a part of the same batch.

    `inputs` are the arrays to fill; `start()` sends parameters and lets it run, `finish()` waits, and returns what the plan
    returns, one array; `twin(array)` is what it has in the place of an outer array of the plan, a gradient say.
    PlanError if it cannot be started, cannot be written down, or has ended.
    """

    def __init__(self, plan: Plan, library: blas.Library) -> None:
        if not hasattr(os, "memfd_create") or not sys.executable:
            raise PlanError("memory can be shared with another process of Python under Linux only")
        self._outer, result = plan.outer, plan.result.data
        described = json.dumps(trace.encoded(plan))
        arrays = [*(outer.array for outer in self._outer), result]
        descriptor = os.memfd_create("mlkit")
        os.truncate(descriptor, sum(map(_room, arrays)))
        *self._twins, self._result = _twins(descriptor, arrays)
        for twin, outer in zip(self._twins, self._outer):
            twin[...] = outer.array
        self.inputs = [self.twin(x) for x in plan.inputs]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import main; main({descriptor})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[descriptor],
            env={**os.environ, "MLKIT_BLAS": _name(library), "MLKIT_THREADS": "1", "PYTHONPATH": python_path()},
        )
        os.close(descriptor)
        self._owner = os.getpid()
        self._finalizer = weakref.finalize(self, _end, self._process, self._owner)
        self._send(described.encode() + b"\n")
        self._receive()

    def twin(self, array: Array) -> Array:
        """The array in shared memory that stands for an outer one of the plan."""
        return next(twin for twin, outer in zip(self._twins, self._outer) if outer.array is array)

    def start(self) -> None:
        """Let it replay the plan, with what parameters hold now."""
        for twin, outer in zip(self._twins, self._outer):
            if outer.role in CHANGING:
                twin[...] = outer.array
        self._send(GO)

    def finish(self) -> Array:
        """Wait for the end of the replay; what it returned, until the next."""
        self._receive()
        return self._result

    def send(self, a: Array) -> None:
        """Numbers that the replay waits for, in the middle of it."""
        self._send(a.tobytes())

    def receive(self, a: Array) -> Array:
        """As many of its numbers as `a` has."""
        assert self._process.stdout is not None
        content = _awaited(self._process.stdout.fileno(), a.nbytes)
        if len(content) < a.nbytes:
            self._lost()
        return np.frombuffer(content, a.dtype).reshape(a.shape)

    def close(self) -> None:
        """End the process."""
        self._finalizer()

    def _send(self, words: bytes) -> None:
        if os.getpid() != self._owner:
            raise PlanError("the process that replays the plan belongs to the program that this one was forked from")
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(words)
            self._process.stdin.flush()
        except OSError:
            self._lost()

    def _receive(self) -> None:
        assert self._process.stdout is not None
        if _awaited(self._process.stdout.fileno()) != READY:
            self._lost()

    def _lost(self) -> None:
        self.close()
        raise PlanError(f"the process that replays the plan has ended with exit code {self._process.returncode}")


def main(descriptor: int) -> None:
    """Replay the plan whose description comes first, once for each GO; end with the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the other's, who then ends this one
    calls, offsets, size, outer, _, result, places = trace.decoded(json.loads(sys.stdin.buffer.readline()))
    *shared, found = _twins(descriptor, [*(part.array for part in outer), np.empty(result.shape, result.dtype)])
    plan = Plan(calls, offsets, size, [Outer(x, part.role) for x, part in zip(shared, outer)], (), result, places)
    asked, answers = sys.stdin.fileno(), sys.stdout.fileno()

    def exchange(a: Array) -> None:
        os.write(answers, a.tobytes())
        content = _awaited(asked, a.nbytes)
        if len(content) < a.nbytes:
            raise SystemExit  # nobody waits for the rest
        a[...] = np.frombuffer(content, a.dtype).reshape(a.shape)

    os.write(answers, READY)
    with contextlib.suppress(BrokenPipeError), k.part_of_batch(1.0, exchange):
        while _awaited(asked) == GO:
            found[...] = plan.follow()()
            os.write(answers, READY)


def _awaited(descriptor: int, count: int = 1) -> bytes:
    """The next bytes; fewer at the end."""
    end, found = time.perf_counter() + AWAKE, b""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    while len(found) < count:
        while not waiting.poll(0) and time.perf_counter() < end:
            pass
        more = os.read(descriptor, count - len(found))
        if not more:
            break
        found += more
    return found


def _twins(descriptor: int, arrays: Sequence[Array]) -> list[Array]:
    """An array in shared memory for each, one behind the other; they keep the memory."""
    memory, found, start = mmap.mmap(descriptor, 0), [], 0
    for array in arrays:
        found.append(np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape))
        start += _room(array)
    return found


def _room(array: Array) -> int:
    """Bytes that it takes in shared memory."""
    return -(-max(array.nbytes, 1) // k.ALIGNMENT) * k.ALIGNMENT


def _name(library: blas.Library) -> str:
    """By which another process finds it."""
    try:
        return library.name if blas.find(library.name).path == library.path else library.path
    except LibraryNotFound:
        return library.path


def _end(process: "subprocess.Popen[bytes]", owner: int) -> None:
    if os.getpid() != owner:
        return
    for stream in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what was not sent yet has no reader
            if stream is not None:
                stream.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
