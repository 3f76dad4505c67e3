"""One eager run of a step, seen: its calls with descriptions of their operands, and the life of every buffer."""

import sys
from typing import Any, NamedTuple

import numpy as np

from .. import kernels as k
from ..blas.product.operand import data_address
from ..errors import CaptureError
from ..kernels import Array, Bound, Kernel

PACKAGE = __name__.partition(".")[0]


class View(NamedTuple):
    """An array: which buffer it lies in, and how. Buffers below 0 are not the plan's own: -1 is the first outer one."""

    buffer: int
    offset: int  # bytes
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]


class Outer(NamedTuple):
    """Memory that outlives the step, and what it is for."""

    array: Array
    role: str


class Capture(k.Observer):
    """The calls of its `with` block. What a plan could not repeat ends the capture, not the block: see `failure`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Kernel, tuple[Any, ...]]] = []  # an operand is a View or a constant
        self.places: list[k.Place] = []  # of the calls
        self.sizes: list[int] = []
        self.born: list[int] = []
        self.died: dict[int, int] = {}  # the number of calls made before
        self.outer: list[Outer] = []
        self.relied: dict[tuple[int, str], tuple[Any, str]] = {}  # attributes that decided what was called
        self.failure: CaptureError | None = None
        self._numbers: dict[int, int] = {}  # id of an outer array -> its number
        self._owned = k.Regions(self._free, data_address)

    def run(self, function: Kernel, operands: tuple[Any, ...], bound: Bound) -> None:
        super().run(function, operands, bound)
        if self.failure is None:
            try:
                self.calls.append((function, tuple(map(self.describe, operands))))
                self.places.append(k.place())
            except CaptureError as error:
                self._fail(f"{function.__name__} was given {error}")

    def own(self, array: Array) -> None:
        self._owned.add(array, len(self.sizes))
        self.sizes.append(array.nbytes)
        self.born.append(len(self.calls))

    def ask(self, what: str) -> None:
        self._fail(f"{what} asks for a value, which a plan cannot know")

    def rely(self, owner: Any, name: str) -> None:
        self.relied[id(owner), name] = owner, name

    def describe(self, operand: Any) -> Any:
        """A View of an array in known memory; a constant as it is."""
        if not isinstance(operand, np.ndarray):
            return operand
        start = data_address(operand)
        found = self._owned.find(start)
        if found is not None:
            return View(found[0], found[1], operand.shape, operand.strides, operand.dtype)
        if operand.size == 0:
            return self._view(k.keep(np.empty(operand.shape, operand.dtype)), "constant", 0, operand)
        kept = k.lasting.find(start)
        if kept is None:
            raise CaptureError(
                f"an array of shape {operand.shape} that was made outside the kernels: its value would be frozen. "
                "Pass it to the step as an input, or declare it with kernels.keep"
            )
        role, offset, owner = kept
        return self._view(owner, role, offset, operand)

    def _view(self, owner: Array, role: str, offset: int, operand: Array) -> View:
        number = self._numbers.setdefault(id(owner), len(self.outer))
        if number == len(self.outer):
            self.outer.append(Outer(owner, role))
        return View(-1 - number, offset, operand.shape, operand.strides, operand.dtype)

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self.failure = CaptureError(f"{_place()}: {reason}")
            self.calls.clear()

    def _free(self, number: int) -> None:
        self.died[number] = len(self.calls)


def capturing() -> bool:
    """Whether a capture sees the calls made here."""
    observer = k.observing()
    while observer is not None:
        if isinstance(observer, Capture):
            return True
        observer = observer.enclosing
    return False


def _place() -> str:
    """File and line of the user's code that led here."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
