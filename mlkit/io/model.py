"""A model in a file: its parameters under PyTorch's names, and how it was made, as JSON."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .. import models, nn
from ..errors import ArgumentError, DataError, MlkitError
from ..kernels import Array
from .safetensors import load_tensors, save_tensors

FORMAT = 1
KEY = "mlkit"  # the metadata entry with the description
CLASSES: dict[str, type[nn.Module]] = {  # what a file may ask to be made: nothing but the layers and networks of the package
    f"{module.__name__.partition('.')[2]}.{name}": thing
    for module in (nn, models)
    for name in module.__all__
    if isinstance(thing := getattr(module, name), type) and issubclass(thing, nn.Module)
}
MOST_MODULES, SPARE = 10_000, 1 << 16  # of a description; numbers that a model may hold beside those in the file


def save(model: nn.Module, path: "str | os.PathLike[str]", **description: Any) -> None:
    """Write the parameters and buffers, the architecture, and whatever else JSON can hold: classes, scores, seed, data, ….

    The tensors have the names of `state_dict`, so that PyTorch's safetensors reads them into the same network.
    """
    try:
        text = json.dumps({**description, "format": FORMAT, "architecture": describe(model)})
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"save: the description holds what JSON cannot: {error}") from error
    save_tensors(model.state_dict(), path, {KEY: text})


def load(path: "str | os.PathLike[str]", model: nn.Module | None = None) -> Any:
    """The model in a file, ready for use, its description as `model.description`; or into a `model` of the same shape.

    A model of classes that are not mlkit's, or a file of PyTorch's, is loaded into a `model` that was made before.
    DataError for a file that is damaged, or that asks for something else than layers with the parameters that it has.
    """
    tensors, metadata = load_tensors(path)
    name = os.fspath(path)
    description = _description(metadata, name) if KEY in metadata else {}
    if model is None:
        if not description:
            raise DataError(f"{name} has no description of its architecture: make the model, and load(path, model)")
        model = _made(description["architecture"], tensors, name)
    try:
        model.load_state_dict(tensors)
    except MlkitError as error:
        raise DataError(f"{name} does not fit the model: {error}") from error
    model.description = description  # type: ignore[attr-defined]
    return model.eval()


def read_description(path: "str | os.PathLike[str]") -> dict[str, Any]:
    """What `save` was told, and the architecture."""
    _, metadata = load_tensors(path)
    if KEY not in metadata:
        raise DataError(f"{os.fspath(path)} has no description: mlkit did not write it")
    return _description(metadata, os.fspath(path))


def describe(model: nn.Module) -> dict[str, Any]:
    """The architecture: class and arguments, and those of the modules among the arguments."""
    cls = type(model)
    name = next((name for name, known in CLASSES.items() if known is cls), f"{cls.__module__}.{cls.__qualname__}")
    arguments, options = model.made_of
    if cls is nn.Sequential:
        arguments = tuple(layer for _, layer in model.children())
    found = {key: _plain(value, name) for key, value in options.items() if not isinstance(value, np.random.Generator)}
    return {"class": name, "arguments": [_plain(value, name) for value in arguments], "options": found}


def _plain(value: Any, owner: str) -> Any:
    """An argument as JSON can hold it."""
    if isinstance(value, nn.Module):
        return describe(value)
    if isinstance(value, list | tuple):
        return [_plain(entry, owner) for entry in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, type | np.dtype):
        return np.dtype(value).name
    if isinstance(value, np.random.Generator):
        return None
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise ArgumentError(f"save: {owner} was made with {type(value).__name__}, which a file cannot hold; it holds numbers and texts")


def _description(metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        found = json.loads(metadata[KEY])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is damaged: its description is no JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("architecture"), dict):
        raise DataError(f"{name} is damaged: its description has no architecture")
    if found.get("format") != FORMAT:
        raise DataError(f"{name} has format {found.get('format')!r}; this mlkit reads {FORMAT}: install a newer one")
    return found


def _made(architecture: Mapping[str, Any], tensors: Mapping[str, Array], name: str) -> nn.Module:
    """The model, if it can be no larger than the file's tensors."""
    most = 16 * sum(array.size for array in tensors.values()) + SPARE
    try:
        for number, entry in enumerate(_entries(architecture)):
            if number > MOST_MODULES or _demand(entry) > most:
                raise DataError(f"{name} is damaged: {str(entry)[:100]} asks for more than the file's tensors hold")
        model: nn.Module = _module(architecture, name)
    except (MlkitError, TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{name} describes no model: {error}") from error
    return model


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every module of a description."""
    if isinstance(value, Mapping):
        yield value
        yield from _entries(value.get("arguments"))
        options = value.get("options")
        yield from _entries(list(options.values()) if isinstance(options, Mapping) else None)
    elif isinstance(value, list):
        for entry in value:
            yield from _entries(entry)


def _demand(entry: Mapping[str, Any]) -> float:
    """The product of the two largest numbers among the arguments: a layer's weights are not many times that."""
    numbers = sorted([1.0, 1.0, *_numbers(entry.get("arguments")), *_numbers(entry.get("options"))])
    return numbers[-1] * numbers[-2]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float):
        yield abs(float(value))
    elif isinstance(value, list):
        for entry in value:
            yield from _numbers(entry)
    elif isinstance(value, Mapping) and "class" not in value:
        yield from _numbers(list(value.values()))


def _module(entry: Any, name: str) -> Any:
    """The value of an argument: a module if the entry describes one."""
    if isinstance(entry, list):
        return [_module(each, name) for each in entry]
    if not isinstance(entry, Mapping):
        return entry
    cls = CLASSES.get(str(entry.get("class")))
    if cls is None:
        raise DataError(f"{name} is a {str(entry.get('class'))[:100]}, which mlkit does not have: make it, and load(path, model)")
    arguments = [_module(each, name) for each in entry["arguments"]]
    return cls(*arguments, **{str(key): _module(each, name) for key, each in entry["options"].items()})
