"""All parameters in one flat vector, all gradients in another: an update is a handful of whole-vector calls."""

from collections.abc import Iterable, Iterator, Sequence

from .. import kernels as k
from ..errors import ArgumentError
from ..kernels import Array
from ..tensor import Parameter


class Store:
    """Two vectors, values and gradients, in which parameters lie one behind the other."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        size = sum(p.size for p in parameters)
        dtype = parameters[0].dtype
        self.value, self.gradient = k.keep(k.aligned(size, dtype), "parameter"), k.keep(k.aligned(size, dtype), "gradient")
        start = 0
        for p in parameters:
            part = slice(start, start + p.size)
            p.move(p.laid(self.value[part]), p.laid(self.gradient[part]), (self, start))
            start = part.stop
        k.moved()


def gather(parameters: Iterable[Parameter]) -> list[Parameter]:
    """The parameters as a list; those that lie in no flat vector yet are moved into new ones, one for each dtype."""
    found = list(parameters)
    if not found:
        raise ArgumentError("an optimizer needs parameters; the list is empty")
    for p in found:
        if not isinstance(p, Parameter):
            raise ArgumentError(f"an optimizer takes Parameters, not {type(p).__name__}")
    homeless = [p for p in dict.fromkeys(found) if p.place is None]
    for dtype in dict.fromkeys(p.dtype for p in homeless):
        Store([p for p in homeless if p.dtype == dtype])
    return list(dict.fromkeys(found))


def runs(parameters: Iterable[Parameter]) -> Iterator[tuple[Store, slice]]:
    """The longest pieces of flat vectors that the parameters fill without a gap."""
    places = sorted((id(p.place[0]), p.place[1], p.size, p.place[0]) for p in parameters if p.size)
    begin = end = 0
    store: Store | None = None
    for _, start, size, owner in places:
        if owner is store and start == end:
            end += size
            continue
        if store is not None:
            yield store, slice(begin, end)
        store, begin, end = owner, start, start + size
    if store is not None:
        yield store, slice(begin, end)


def like(store: Store) -> Array:
    """A vector of zeros for the optimizer's state, as long as the store's."""
    return k.keep(k.aligned(store.value.shape, store.value.dtype), "state")
