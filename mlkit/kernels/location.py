"""Where a call belongs: a layer, a phase. It is kept while somebody observes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from .memory import Array


class Place(NamedTuple):
    """Where a call is made: the dotted name of a layer, and forward, backward or update."""

    layer: str = ""
    phase: str = ""


_place: ContextVar[Place] = ContextVar("mlkit_place", default=Place())  # noqa: B039 – it cannot change


def place() -> Place:
    """Where the calls made here belong, as far as `at` has said; it is kept while somebody observes."""
    return _place.get()


@contextmanager
def at(layer: str | None = None, phase: str | None = None) -> Iterator[None]:
    """Calls in this block belong to a layer, to a phase; what is not given stays."""
    before = _place.get()
    token = _place.set(Place(before.layer if layer is None else layer, before.phase if phase is None else phase))
    try:
        yield
    finally:
        _place.reset(token)


def returning(backward: Callable[..., Any]) -> Callable[..., Any]:
    """`backward`, made here: its calls, and those of the functions that it returns, belong to this layer."""
    layer = _place.get().layer

    def inside(function: Callable[..., Any]) -> Callable[..., Any]:
        def placed(*arguments: Any) -> Any:
            with at(layer, "backward"):
                return function(*arguments)

        if hasattr(function, "add"):
            placed.add = inside(function.add)  # type: ignore[attr-defined]
        return placed

    def placed(dy: Array) -> Any:
        with at(layer, "backward"):
            return [thunk and inside(thunk) for thunk in backward(dy)]

    return placed
