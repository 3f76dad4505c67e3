"""A numeric call: made at once, and shown to whoever observes – a capture, a recording.

A kernel is a callable that takes arrays and constants (numbers, tuples, None) and writes into the last array. `bind`
turns it, for given operands, into the cheapest pair (function, arguments) that does the same; a bound pair may be
called again and again, as long as the arrays live.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from typing import Any, TypeVar

import numpy as np

from ..errors import ArgumentError, PlanError
from .memory import Array, Regions, native

Kernel = Callable[..., Any]
Bound = tuple[Callable[..., Any], tuple[Any, ...]]
F = TypeVar("F", bound=Kernel)


BUFFER = 8192  # numbers, in which NumPy's ufuncs work where they cannot take operands as they lie
KERNELS: dict[str, Kernel] = {}  # by name, so that a saved plan finds them
_binders: dict[Kernel, Callable[..., Bound]] = {}
_counters: dict[Kernel, Callable[..., int]] = {}
_observer: ContextVar["Observer | None"] = ContextVar("mlkit_observer", default=None)
_longer: ContextVar[int] = ContextVar("mlkit_longer", default=1)

lasting = Regions()  # memory that outlives a step, labelled with its role
generation = 0  # counts the moves of lasting memory: a plan made before a move is stale


def kernel(function: F) -> F:
    """Register `function` as a kernel under its own name."""
    if KERNELS.setdefault(function.__name__, function) is not function:
        raise ValueError(f"two kernels are called {function.__name__}")
    return function


def binding(of: Kernel) -> Callable[[F], F]:
    """The decorated function binds the kernel `of`: operands -> (function, arguments)."""

    def register(binder: F) -> F:
        _binders[of] = binder
        return binder

    return register


def composite(steps: Callable[..., Iterable[Bound]]) -> Kernel:
    """A kernel that consists of several: the decorated function gives, for operands, the bound calls to make in turn."""

    @wraps(steps)
    def function(*operands: Any) -> None:
        replay(steps(*operands))

    _binders[kernel(function)] = lambda *operands: (replay, (tuple(steps(*operands)),))
    return function


def counting(*of: Kernel) -> Callable[[F], F]:
    """The decorated function counts the real operations of the kernels `of`: operands -> FLOPs."""

    def register(counter: F) -> F:
        _counters.update(dict.fromkeys(of, counter))
        return counter

    return register


def flops(function: Kernel, operands: tuple[Any, ...]) -> int:
    """Real operations of `function(*operands)`: counted for products, one for each element written else."""
    counter = _counters.get(function)
    if counter:
        return int(counter(*operands))
    return int(getattr(operands[-1], "size", 0)) if operands else 0


def is_product(function: Kernel) -> bool:
    """Whether the kernel is a BLAS routine: its operations are counted, and a library makes them."""
    return function in _counters


def bind(function: Kernel, operands: tuple[Any, ...]) -> Bound:
    """(function, arguments) that do what `function(*operands)` does."""
    binder = _binders.get(function)
    return binder(*operands) if binder else (function, operands)


def replay(steps: Iterable[Bound]) -> None:
    """Make bound calls one after the other."""
    for function, arguments in steps:
        function(*arguments)


def named(name: str) -> Kernel:
    """The kernel called `name`: one of mlkit's own, else a NumPy ufunc."""
    found = KERNELS.get(name) or getattr(np, name, None)
    if name in KERNELS or isinstance(found, np.ufunc):
        return found  # type: ignore[return-value]
    raise PlanError(f"no kernel is called {name!r}: the plan was saved by another version of mlkit, or altered")


class Value:
    """Something whose numbers lie in `data`, an array: what a Tensor is to a plan."""

    __slots__ = ("data",)

    data: Array

    def __init__(self, data: Array) -> None:
        self.data = data


class Observer:
    """Sees every kernel call made in its `with` block (this thread or task, and mlkit's own workers); blocks nest."""

    enclosing: "Observer | None" = None

    def __enter__(self):  # type: ignore[no-untyped-def]  # -> Self needs 3.11's typing in every subclass
        self.enclosing, self._variable = _observer.get(), _observer  # `observe_everywhere` may put another in its place
        self._token = self._variable.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)

    def run(self, function: Kernel, operands: tuple[Any, ...], bound: Bound) -> None:
        """Make the call `bound`, which does `function(*operands)`."""
        if self.enclosing is None:
            bound[0](*bound[1])
        else:
            self.enclosing.run(function, operands, bound)

    def own(self, array: Array) -> None:
        """`array` was just allocated for a result."""
        if self.enclosing is not None:
            self.enclosing.own(array)

    def ask(self, what: str) -> None:
        """A value is about to leave the kernels."""
        if self.enclosing is not None:
            self.enclosing.ask(what)

    def rely(self, owner: Any, name: str) -> None:
        """The calls that follow depend on what the attribute `name` of `owner` is now."""
        if self.enclosing is not None:
            self.enclosing.rely(owner, name)


def observe_everywhere(observer: Observer) -> None:
    """From now on `observer` sees the calls of every thread and task of the process, but for blocks that are open already."""
    global _observer
    _observer = ContextVar("mlkit_observer", default=observer)


def call(function: Kernel, *operands: Any) -> Array:
    """Run `function(*operands)` now and return the last operand, the array written."""
    observer = _observer.get()
    if observer is None:
        function(*operands)
    else:
        observer.run(function, operands, bind(function, operands))
    written: Array = operands[-1]
    return written


def run(function: Kernel, operands: tuple[Any, ...], bound: Bound) -> None:
    """Make a call that is bound already."""
    observer = _observer.get()
    if observer is None:
        bound[0](*bound[1])
    else:
        observer.run(function, operands, bound)


def observing() -> Observer | None:
    """Who sees the calls made here, if anyone."""
    return _observer.get()


def ask(what: str) -> None:
    """Tell the observer that Python is about to look at a value: a plan cannot repeat what follows from it."""
    observer = _observer.get()
    if observer is not None:
        observer.ask(what)


def rely(owner: Any, name: str) -> Any:
    """The attribute `name` of `owner`; a plan is replayed only while it is what it was – whether a layer trains, say."""
    observer = _observer.get()
    if observer is not None:
        observer.rely(owner, name)
    return getattr(owner, name)


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    """Uninitialised memory; while capturing, memory that the plan will own."""
    array = np.empty(shape, dtype)
    observer = _observer.get()
    if observer is not None:
        observer.own(array)
    return array


def like(a: Array, dtype: Any = None) -> Array:
    """Uninitialised memory for an array of the shape of `a`; images keep the order that their axes have in memory."""
    if a.ndim < 3 or a.flags.c_contiguous or 0 in a.strides:
        return empty(a.shape, a.dtype if dtype is None else dtype)
    array = np.empty_like(a, dtype, "K", False)
    observer = _observer.get()
    if observer is not None:
        observer.own(array)
    return array


def keep(array: Array, role: str = "constant") -> Array:
    """`array`, declared to outlive the step: a captured call may refer to it.

    Roles are parameter, gradient, state, input and constant. A constant's value never changes, and is saved with a plan.
    """
    if not array.flags.c_contiguous:
        raise ArgumentError("lasting memory is C-contiguous")
    lasting.add(array, role)
    return array


def moved() -> None:
    """Lasting memory was replaced by other memory: plans that refer to it are stale."""
    global generation
    generation += 1


@contextmanager
def long_calls(factor: int = 4) -> Iterator[None]:
    """In this block ops cut their work into fewer, longer calls.

    Python threads that replay plans side by side hold each other up at every call, and BLAS threads want large products:
    both cost more than a better cache saves.
    """
    token = _longer.set(factor)
    try:
        yield
    finally:
        _longer.reset(token)


def grain(size: int) -> int:
    """How many numbers to work on at a time, where `size` suits one thread."""
    return size * _longer.get()


@lru_cache(512)
def scalar(value: complex, dtype: Any) -> Array:
    """A kept 0-d array of a number that never changes."""
    return keep(np.array(value, native(dtype)))


@lru_cache(512)
def row(value: float, size: int, dtype: Any = np.float32) -> Array:
    """A kept row of one number: NumPy's SIMD loops for maximum and greater want an array where a scalar would do."""
    return keep(np.full(size, value, dtype))


@lru_cache(1024)
def long_row(count: int, width: int = 1, least: int = BUFFER) -> int:
    """How many of `count` rows of so many numbers to take as one, without a rest, where another row is to be broadcast over them.

    A ufunc copies both through its buffer, of 8192 numbers, where the rows are shorter than that: it takes half as long again.
    """
    enough = max(1, -(-least // width))
    lengths = [n for n in range(1, min(2 * enough, count) + 1) if count % n == 0]
    return next((n for n in lengths if n >= enough), lengths[-1] if lengths else 1)


@lru_cache(256)
def row_starts(rows: int, columns: int) -> Array:
    """The kept flat index of each row's first element: (rows,)."""
    return keep(np.arange(rows, dtype=np.intp) * columns)
