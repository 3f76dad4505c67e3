"""Several at once, once more, and after a fork: threads of Python, threads of the library, processes."""

import os
import signal
import threading
import time

import numpy as np

from ...errors import ThreadControlError
from ...kernels import Array
from .. import threads
from ..library import Library
from .case import LIMIT, Wrong, case, drawn, ratio, raw_gemm

WORKERS, ROUNDS = 6, 60
PATIENCE = 20.0  # seconds for a child to multiply


@case("several Python threads", 120.0)
def reentrant(library: Library) -> str:
    """Six threads of Python multiply at once, each its own matrices, sixty times: silently wrong results have been shipped"""
    rng, wrong, counts = np.random.default_rng(0), [], []
    work = [(drawn(rng, "f4", 97 + i, 130), drawn(rng, "f4", 130, 89 + i)) for i in range(WORKERS)]
    for count in dict.fromkeys((1, threads.allowed())):
        if not _set(library, count):
            continue
        counts.append(str(count))

        def multiply(number: int) -> None:
            if library.scope == "thread":
                library.settle()
            a, b = work[number]
            for _ in range(ROUNDS):
                c = np.full((len(a), b.shape[1]), np.nan, np.float32)
                raw_gemm(library, a, b, c)
                share = ratio(c, a, b, 1, 0, np.zeros_like(c))
                if share > LIMIT:
                    wrong.append((number, share))

        running = [threading.Thread(target=multiply, args=(i,)) for i in range(WORKERS)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        if wrong:
            worst = max(share for _, share in wrong)
            raise Wrong(f"{len(wrong)} of {WORKERS * ROUNDS} results are wrong with {count} threads of its own, by {worst:.3g}")
    return f"{WORKERS * ROUNDS} results are right, with {' and '.join(counts) or 'its own number of'} threads of its own"


@case("fork")
def fork(library: Library) -> str:
    """A child that is forked after products with several threads multiplies, and does not hang"""
    if not hasattr(os, "fork"):
        return "this system has none"
    _set(library, threads.allowed())
    rng = np.random.default_rng(0)
    a, c = drawn(rng, "f4", 400, 400), np.zeros((400, 400), np.float32)
    raw_gemm(library, a, a, c)
    child = os.fork()
    if child == 0:
        again = np.zeros_like(c)
        raw_gemm(library, a, a, again)
        os._exit(0 if np.allclose(again, c, rtol=1e-3, atol=1e-2) else 3)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if status:
                raise Wrong(f"the child ended with status {status}: its product was wrong, or killed it")
            raw_gemm(library, a, a, c)
            return "child and parent multiply"
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise Wrong(f"the child hangs: no product within {PATIENCE:g} s")


@case("the same again")
def repeatable(library: Library) -> str:
    """A note: whether results repeat bit by bit – again, with more threads, at another address, in a smaller batch"""
    rng = np.random.default_rng(0)
    a, b = drawn(rng, "f4", 200, 300), drawn(rng, "f4", 300, 150)
    notes = []
    _set(library, threads.allowed())
    several = _product(library, a, b)
    notes.append("repeats" if all((_product(library, a, b) == several).all() for _ in range(20)) else "does not repeat itself")
    _set(library, 1)
    one = _product(library, a, b)
    if threads.allowed() > 1:
        notes.append("the same with more threads" if (one == several).all() else "more threads round otherwise")
    memory, same = np.zeros(a.size + 16, np.float32), True
    for shift in (1, 3, 8):
        moved = memory[shift : shift + a.size].reshape(a.shape)
        moved[...] = a
        same = same and bool((_product(library, moved, b) == one).all())
    notes.append("the same at any address" if same else "another address rounds otherwise")
    notes.append("rows alone are the same" if (_product(library, a[:7], b) == one[:7]).all() else "fewer rows round otherwise")
    return "; ".join(notes)


def _product(library: Library, a: Array, b: Array) -> Array:
    c = np.zeros((len(a), b.shape[1]), a.dtype)
    raw_gemm(library, a, b, c)
    return c


def _set(library: Library, count: int) -> bool:
    try:
        library.threads = count
    except ThreadControlError:
        return False
    return True
