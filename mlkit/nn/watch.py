"""Looking at a network while it runs: what each layer makes, and which one makes numbers that are not finite."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, NonFiniteError
from ..tensor import no_grad
from .module import Module, named_modules


class Layer(NamedTuple):
    """One call of a layer: its dotted name, kind, output shape, parameters, operations, and the products it makes."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    flops: int
    products: tuple[str, ...]


class Summary:
    """The layers of a network in the order in which they run; `print` shows them as a table."""

    def __init__(self, layers: list[Layer], parameters: int) -> None:
        self.layers, self.parameters = layers, parameters

    @property
    def flops(self) -> int:
        """Real operations of one forward pass: two for each multiply-add of a product, one for each number written else."""
        return sum(layer.flops for layer in self.layers)

    def __str__(self) -> str:
        rows = [("layer", "kind", "output", "parameters", "MFLOP", "products")]
        for layer in self.layers:
            shape = "×".join(map(str, layer.shape))
            rows.append(
                (layer.name, layer.kind, shape, f"{layer.parameters:,}", f"{layer.flops / 1e6:,.2f}", " ".join(layer.products))
            )
        rows.append(("", "", "", f"{self.parameters:,}", f"{self.flops / 1e6:,.2f}", ""))
        widths = [max(map(len, column)) for column in zip(*rows)]
        right = {3, 4}
        lines = ["  ".join(f"{x:>{w}}" if i in right else f"{x:<{w}}" for i, (x, w) in enumerate(zip(row, widths))) for row in rows]
        return "\n".join(line.rstrip() for line in lines)


def summary(model: Module, *inputs: Any) -> Summary:
    """What the layers of `model` make of the inputs: arrays, or shapes of float32 arrays; and what is done between them."""
    arrays = [np.zeros(x, np.float32) if isinstance(x, tuple) else x for x in inputs]
    if not arrays:
        raise ArgumentError("summary: it takes the inputs of the model, or their shapes, as in model.summary((1, 3, 224, 224))")
    layers: list[Layer] = []
    counted: Counter[str] = Counter()

    def see(name: str, module: Module, run: Callable[[], Any]) -> Any:
        with _Products() as log:
            y = run()
        shape = getattr(y[0] if isinstance(y, tuple) else y, "shape", ())
        size = sum(p.size for p in module.parameters())
        layers.append(Layer(name, type(module).__name__, tuple(shape), size, log.flops, log.words()))
        counted.update(log.counts)
        return y

    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with no_grad(), watched(model, see), _Products() as whole:
            model(*arrays)
    finally:
        for module, mode in modes.items():
            module.training = mode
    whole.flops -= sum(layer.flops for layer in layers)
    if whole.flops:
        whole.counts -= counted
        layers.append(Layer("", "between the layers", (), 0, whole.flops, whole.words()))
    return Summary(layers, sum(p.size for p in model.parameters()))


@contextmanager
def finite(model: Module) -> Iterator[None]:
    """In this block the first layer of `model` whose output has a NaN or an infinity raises a NonFiniteError that names it.

    Looking at values costs time, and a step that is looked at is not captured.
    """

    def see(name: str, module: Module, run: Callable[[], Any]) -> Any:
        y = run()
        for part in y if isinstance(y, tuple) else (y,):
            array = part.data if isinstance(part, k.Value) else part
            if isinstance(array, np.ndarray) and array.dtype.kind in "fc":
                k.ask("nn.finite()")
                bad = int(array.size - np.isfinite(array).sum())
                if bad:
                    layer = f"{name or 'the model'}, {module!r}"
                    raise NonFiniteError(f"{layer}: {bad} of {array.size} numbers of its output {array.shape} are not finite")
        return y

    with watched(model, see):
        yield


@contextmanager
def watched(model: Module, see: Callable[[str, Module, Callable[[], Any]], Any]) -> Iterator[None]:
    """In this block every call of a module without children goes through `see(name, module, run)`, which returns `run()`."""
    leaves = [(name, module) for name, module in named_modules(model) if not any(module.children())]

    def wrap(name: str, module: Module) -> Callable[..., Any]:
        forward = module.forward
        return lambda *inputs, **options: see(name, module, lambda: forward(*inputs, **options))

    for name, module in leaves:
        module.forward = wrap(name, module)
    try:
        yield
    finally:
        for _, module in leaves:
            del module.forward


class _Products(k.Observer):
    """The products made in its block, and all operations."""

    def __init__(self) -> None:
        self.flops = 0
        self.counts: Counter[str] = Counter()

    def run(self, function: k.Kernel, operands: tuple[Any, ...], bound: k.Bound) -> None:
        super().run(function, operands, bound)
        self.flops += k.flops(function, operands)
        if k.is_product(function):
            shapes = [x.shape for x in operands if isinstance(x, np.ndarray)]
            if len(shapes) > 2 and len(shapes[0]) >= 2:
                self.counts["×".join(map(str, (*shapes[0], shapes[1][-1])))] += 1

    def words(self) -> tuple[str, ...]:
        """Sizes of the products, the most frequent first: rows × inner × columns, and how often."""
        return tuple(word if count == 1 else f"{count}·{word}" for word, count in self.counts.most_common())
