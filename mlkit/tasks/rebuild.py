"""A model trained again from what its file says: is it the same, bit by bit, within a tolerance, or another?"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from .. import io
from ..errors import DataError
from ..kernels import Array
from ..train import Callback
from .catalog import STUDIES
from .study import Settings, Tell

CLOSE = 0.01  # by which a score may differ, as a share of it


class Rebuilt(NamedTuple):
    """`verdict` is "same bits", "within tolerance" or "different"."""

    verdict: str
    differences: list[str]  # between the two trainings
    distance: float  # of the parameters: norm of the difference by norm of the old ones
    before: dict[str, float]  # scores
    after: dict[str, float]


def rebuild(
    path: "str | os.PathLike[str]", source: str | None = None, callbacks: Sequence[Callback] = (),
    tell: Tell = lambda done, total, text: None,
) -> Rebuilt:  # fmt: skip
    """Train the model of a file again, on the library in force, with the file's seed, epochs and threads; and compare.

    "Within tolerance": every score within 1 % of the old one. DataError if the file does not say how it was made.
    """
    tensors, _ = io.load_tensors(path)
    description = io.read_description(path)
    try:
        study = STUDIES[description["task"]]
        epochs, seed, threads = (int(n) for n in (description["epochs"], description["seed"], description["library"]["threads"]))
        before = {str(name): float(value) for name, value in description["scores"].items()}
        trained, own = description["trained"], "--data" in description["command"]
        if not 0 <= epochs < 1 << 20 or not 0 < threads < 1 << 12:
            raise ValueError(f"{epochs} epochs with {threads} threads")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{os.fspath(path)} does not say how it was made, as `mlkit train` says it: {error!r}") from error
    if trained != epochs:
        raise DataError(f"{os.fspath(path)} is of a training that ended after {trained} of {epochs} epochs: it cannot be repeated")
    if own and source is None:
        raise DataError(f"{os.fspath(path)} was trained on {description['data']['source']}: name them with --data")
    with TemporaryDirectory() as directory:
        result = study.run(Settings(epochs, seed, source, Path(directory), callbacks, threads, tell))
    differences = list(_differences(description, result.description))
    new = result.model.state_dict()
    if new.keys() == tensors.keys() and all(new[name].tobytes() == tensors[name].tobytes() for name in new):
        return Rebuilt("same bits", differences, 0.0, before, result.scores)
    close = before.keys() == result.scores.keys() and all(
        abs(result.scores[name] - value) <= CLOSE * abs(value) for name, value in before.items()
    )
    return Rebuilt("within tolerance" if close else "different", differences, _distance(tensors, new), before, result.scores)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What was not as it had been: data, library, versions."""
    for key in ("data", "library", "mlkit", "numpy"):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from (
                f"{key} {name}: {old.get(name)} then, {new.get(name)} now" for name in new if old.get(name) != new.get(name)
            )
        elif old != new:
            yield f"{key}: {old} then, {new} now"


def _distance(before: Mapping[str, Array], after: Mapping[str, Array]) -> float:
    if before.keys() != after.keys() or any(before[name].shape != after[name].shape for name in before):
        return float("inf")
    old, new = (np.concatenate([side[name].ravel().astype(np.float64) for name in before]) for side in (before, after))
    return float(np.sqrt(np.square(new - old).sum() / max(np.square(old).sum(), 1e-300)))
