"""Module: parameters plus one call; Sequential: one module after another."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import numpy as np

from .. import kernels as k
from ..errors import ArgumentError, DtypeError, ShapeError
from ..kernels import Array
from ..tensor import Buffer, Parameter

_names: ContextVar[dict[int, str] | None] = ContextVar("mlkit_names", default=None)  # of the modules below the one that was called


class Module:
    """A part of a network. A subclass keeps Parameters and Modules as attributes and defines `forward`."""

    training = True
    activations: tuple[str, ...] = ()  # names of those that `forward` takes as `activation`, to apply them in its own op

    made_of: tuple[tuple[Any, ...], dict[str, Any]]  # the arguments that it was made with: mlkit.io writes them down

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        module = super().__new__(cls)
        module.made_of = arguments, options
        return module

    forward: Any  # a method of the subclass
    summary: Any  # mlkit.nn.summary: `print(model.summary((1, 3, 32, 32)))`

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if k.observing() is None:
            return self.forward(*inputs, **options)
        with _named(self):
            return self.forward(*inputs, **options)

    def children(self) -> Iterator[tuple[str, "Module"]]:
        """(name, module) of the modules directly in this one; those in a list have its name and a number."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, list | tuple):
                yield from ((f"{name}.{i}", entry) for i, entry in enumerate(value) if isinstance(entry, Module))

    def modules(self) -> Iterator["Module"]:
        """This module and all below it."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) of all parameters, each once."""
        seen: set[int] = set()
        for name, parameter in self._state(prefix):
            if isinstance(parameter, Parameter) and id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self, mode: bool = True) -> "Module":
        """Behave as in training, or else as in use."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> "Module":
        """Behave as in use."""
        return self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """A copy of every parameter and buffer by its dotted name."""
        return {name: tensor.data.copy() for name, tensor in self._state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Set every parameter and buffer from `state`; a missing, unknown or ill-shaped one is an error, and nothing is changed."""
        own = dict(self._state())
        if own.keys() != state.keys():
            missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
            raise ArgumentError(f"the state lacks {missing or 'nothing'} and has {unknown or 'nothing'} unknown")
        arrays = {name: np.asarray(value) for name, value in state.items()}
        for name, value in arrays.items():
            if value.shape != own[name].shape:
                raise ShapeError(f"{name} has shape {own[name].shape}, the state's {value.shape}")
            if value.dtype.kind != own[name].dtype.kind:
                raise DtypeError(f"{name} is {own[name].dtype}, the state's {value.dtype}")
        for name, value in arrays.items():
            own[name].data[...] = value

    def extra_repr(self) -> str:
        """What stands between the parentheses of a module without children."""
        return ""

    def __repr__(self) -> str:
        children = list(self.children())
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        lines = [f"  ({name}): " + repr(child).replace("\n", "\n  ") for name, child in children]
        return "\n".join([f"{type(self).__name__}(", *lines, ")"])

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Parameter | Buffer]]:
        """(dotted name, parameter or buffer) of all, under every name that it has."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter | Buffer):
                yield prefix + name, value
        for name, child in self.children():
            yield from child._state(f"{prefix}{name}.")


def named_modules(model: Module, prefix: str = "") -> Iterator[tuple[str, Module]]:
    """(dotted name, module) of `model` and all below it."""
    yield prefix, model
    for name, child in model.children():
        yield from named_modules(child, f"{prefix}.{name}" if prefix else name)


@contextmanager
def _named(module: Module) -> Iterator[None]:
    """Calls in this block belong to the module, by its name in the one that was called first."""
    names = _names.get()
    if names is not None and id(module) in names:
        with k.at(names[id(module)]):
            yield
        return
    token = _names.set({id(part): name for name, part in named_modules(module)})
    try:
        with k.at("", "forward"):
            yield
    finally:
        _names.reset(token)
