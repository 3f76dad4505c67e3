"""Everything that a training depends on, written after each epoch, so that it can go on after whatever happened."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from ..kernels import Array
from ..nn.init import generator
from ..train import Callback, Run
from .safetensors import load_tensors, save_tensors

FORMAT = 1


class Checkpoint(Callback):
    """Write weights, the optimizer's state, random generators, history and callbacks after every `every` epochs.

    If the file is there at the start and `resume` is not False, the training goes on from it: with the same data, library and
    threads to the same bits as if it had never stopped. The file is replaced whole: killed at any moment, one is there.
    """

    last = True

    def __init__(self, path: "str | os.PathLike[str]", every: int = 1, resume: bool = True) -> None:
        if every < 1:
            raise ArgumentError(f"Checkpoint: every is {every}; it must be from 1")
        self.path, self.every, self.resume = os.fspath(path), every, resume

    def begin(self, run: Run) -> None:
        if self.resume and os.path.exists(self.path):
            self._restore(run)
        else:
            self._write(run)

    def epoch(self, run: Run) -> None:
        if run.epoch % self.every == 0 or run.epoch == run.epochs or run.history.stopped:
            self._write(run)

    def _write(self, run: Run) -> None:
        tensors = {f"model.{name}": array for name, array in run.model.state_dict().items()}
        tensors |= {f"optimizer.{name}": array for name, array in run.optimizer.state_dict().items()}
        plain: list[dict[str, Any]] = []
        for number, callback in enumerate(run.callbacks):
            state = callback.state_dict()
            tensors |= {f"callback.{number}.{name}": x for name, x in state.items() if isinstance(x, np.ndarray)}
            plain.append({name: x for name, x in state.items() if not isinstance(x, np.ndarray)})
        written = {
            "format": FORMAT, "epoch": run.epoch, "steps": run.steps, "history": run.history.rows, "stopped": run.history.stopped,
            "schedule": run.schedule.state_dict() if run.schedule else None, "callbacks": plain,
            "kinds": [type(callback).__name__ for callback in run.callbacks],
            "generators": [rng.bit_generator.state for rng in _generators(run)],
        }  # fmt: skip
        save_tensors(tensors, self.path, {"checkpoint": json.dumps(written)})

    def _restore(self, run: Run) -> None:
        tensors, metadata = load_tensors(self.path)
        try:
            written = json.loads(metadata["checkpoint"])
            if written["format"] != FORMAT:
                raise DataError(f"{self.path} is a checkpoint of format {written['format']}; this mlkit reads {FORMAT}")
            if written["kinds"] != [type(callback).__name__ for callback in run.callbacks]:
                raise DataError(
                    f"{self.path} was written with callbacks {written['kinds']}: go on with the same, or with resume=False"
                )
            generators = list(_generators(run))
            if len(generators) != len(written["generators"]) or (written["schedule"] is None) != (run.schedule is None):
                raise DataError(f"{self.path} was written with other generators or another schedule")
            run.model.load_state_dict(_below("model.", tensors))
            run.optimizer.load_state_dict(_below("optimizer.", tensors))
            for number, (callback, plain) in enumerate(zip(run.callbacks, written["callbacks"])):
                callback.load_state_dict({**plain, **_below(f"callback.{number}.", tensors)})
            for rng, state in zip(generators, written["generators"]):
                rng.bit_generator.state = state
            if run.schedule:
                run.schedule.load_state_dict(written["schedule"])
            run.epoch, run.steps = written["epoch"], written["steps"]
            run.history.rows[:] = written["history"]
            run.history.stopped = written["stopped"]
        except DataError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{self.path} is no checkpoint of this training: {error}; with resume=False it starts anew") from error


def _below(prefix: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _generators(run: Run) -> Iterator[np.random.Generator]:
    """Whatever the training draws from, each once: the shuffling's, `manual_seed`'s, the layers' own."""
    own = (value for module in run.model.modules() for value in vars(module).values())
    found = [run.loader.rng, generator(), *own]
    return iter({id(rng): rng for rng in found if isinstance(rng, np.random.Generator)}.values())
