"""A saved model in use: what it says of files, of lines, of requests – prepared exactly as in its training."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import io, models
from ..errors import DataError
from ..kernels import Array
from ..train import predict
from . import draw, text
from .go import Position
from .input import Input, Numbers, Pictures
from .spam import Mails
from .speech import Sounds

INPUTS: dict[str, type[Input]] = {cls.kind: cls for cls in (Numbers, Pictures, Mails, Sounds, Position, text.Prompt)}
COUNT = 400  # characters that a model of text writes

Answer = dict[str, Any]


class Answering(NamedTuple):
    """How rows become answers, and an answer a line of text."""

    answers: Callable[["Predictor", Array], list[Answer]]
    line: Callable[[Answer], str]


class Predictor:
    """The model in a file: `answers(rows)` of what `input` has made of files or requests."""

    def __init__(self, path: str) -> None:
        self.path, self.model = path, io.load(path)
        description = self.model.description
        plain = {"kind": "classes", "classes": description["classes"]} if "classes" in description else {"kind": "numbers"}
        prepared, self.answer = description.get("preprocessing", {"kind": "numbers"}), description.get("answer", plain)
        if not isinstance(prepared, dict) or str(prepared.get("kind")) not in INPUTS or not isinstance(self.answer, dict):
            raise DataError(f"{path} does not say how its inputs are prepared: {str(prepared)[:100]}, {str(self.answer)[:100]}")
        if str(self.answer.get("kind")) not in ANSWERS:
            raise DataError(f"{path} answers with {str(self.answer.get('kind'))[:50]!r}; there are {', '.join(ANSWERS)}")
        try:
            self.input = INPUTS[prepared["kind"]](**{key: value for key, value in prepared.items() if key != "kind"})
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    def answers(self, rows: Array) -> list[Answer]:
        """One for each row: a JSON object."""
        try:
            return ANSWERS[self.answer["kind"]].answers(self, rows)
        except (KeyError, TypeError, IndexError) as error:
            raise DataError(f"{self.path} does not fit its own description: {error!r}") from error

    def line(self, answer: Answer) -> str:
        """An answer in a few words."""
        return ANSWERS[self.answer["kind"]].line(answer)

    def files(self, path: str) -> Iterator[tuple[str, list[Answer]]]:
        """(name, answers) of a file, or of the files of a folder."""
        for name, rows in self.input.files(path):
            yield name, self.answers(rows)


def _classes(predictor: Predictor, rows: Array) -> list[Answer]:
    classes = predictor.answer["classes"]
    logits = predict(predictor.model, rows).astype(np.float64)
    if logits.ndim != 2 or logits.shape[1] != len(classes):
        raise DataError(f"{predictor.path} has outputs {logits.shape[1:]} and {len(classes)} classes")
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    found = []
    for row in shares:
        likely = np.argsort(-row, kind="stable")[:10]
        each = {str(classes[i]): round(float(row[i]), 6) for i in likely}
        found.append({"class": classes[likely[0]], "probability": round(float(row[likely[0]]), 6), "classes": each})
    return found


def _numbers(predictor: Predictor, rows: Array) -> list[Answer]:
    return [{"prediction": [float(number) for number in row.ravel()]} for row in np.atleast_2d(predict(predictor.model, rows))]


def _boxes(predictor: Predictor, rows: Array) -> list[Answer]:
    classes, threshold = predictor.answer["classes"], float(predictor.answer["threshold"])
    if not isinstance(predictor.model, models.Detector):
        raise DataError(f"{predictor.path} is no detector")
    found = predictor.model.detections(predict(predictor.model, rows), threshold)
    return [
        {"found": [
            {"class": classes[int(kind)], "probability": round(float(score), 4), "box": [round(float(n), 4) for n in box]}
            for box, score, kind in zip(*finds)
        ]}
        for finds in found
    ]  # fmt: skip


def _text(predictor: Predictor, rows: Array) -> list[Answer]:
    if not isinstance(predictor.input, text.Prompt) or not isinstance(predictor.model, models.GPT):
        raise DataError(f"{predictor.path} is no model of text")
    tokens = predictor.model.generate(rows[:, -predictor.model.block_size :], COUNT, 0.8, rng=np.random.default_rng(0))
    return [{"text": predictor.input.tokenizer.decode(row[-COUNT:])} for row in tokens]


def _code(predictor: Predictor, rows: Array) -> list[Answer]:
    if not isinstance(predictor.model, models.VAE):
        raise DataError(f"{predictor.path} is no autoencoder")
    errors = np.sqrt(np.square(draw.reconstructed(predictor.model, rows) - rows).mean(1))
    codes = draw.code_of(predictor.model, rows)
    return [{"error": round(float(e), 6), "code": [round(float(n), 4) for n in code]} for e, code in zip(errors, codes)]


ANSWERS = {
    "classes": Answering(_classes, lambda answer: f"{answer['class']},{answer['probability']:.4f}"),
    "numbers": Answering(_numbers, lambda answer: ",".join(f"{number:g}" for number in answer["prediction"])),
    "boxes": Answering(_boxes, lambda answer: "; ".join(
        f"{box['class']} {box['probability']:.2f} at {','.join(map(str, box['box']))}" for box in answer["found"]) or "nothing"),
    "text": Answering(_text, lambda answer: str(answer["text"])),
    "code": Answering(_code, lambda answer: f"{answer['error']:.4f}"),
}  # fmt: skip
