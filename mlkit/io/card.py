"""A model card: what a model is, what it was made from, how well it does, and how free it is.

Sources: Mitchell et al. 2019 for the card; the Debian machine-learning team's draft policy for the grades.
"""

from collections.abc import Mapping
from typing import Any

FREE = {  # licences that Debian's main has
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "Expat", "GPL-2+", "GPL-3+", "MIT",
    "PDDL-1.0",
}  # fmt: skip
FORBIDDING = {"NC", "ND", "PROPRIETARY", "NON"}  # parts of the names of licences that are not
GRADES = {
    "Free": "the weights, the data and the program that trains are free, and anybody can train it again",
    "ToxicCandy": "the weights may be used freely, but nobody else can make them again from data that are known to be free",
    "Non-free": "the licence of the data forbids what a free licence allows",
}


def grade(description: Mapping[str, Any]) -> str:
    """Free, ToxicCandy or Non-free, from the licence of the data and whether mlkit has the program that made it."""
    data = description.get("data")
    licence = str(data.get("licence", "unknown")) if isinstance(data, Mapping) else "unknown"
    if FORBIDDING & set(licence.upper().split("-")):
        return "Non-free"
    return "Free" if licence in FREE and description.get("command") else "ToxicCandy"


CARD = """# {task}

A network of mlkit {mlkit}: {architecture}, {parameters:,} parameters.

## Use

Inputs: {inputs}.
Answers: {answers}.

```sh
mlkit predict model.safetensors INPUT
```

## Data

{data[source]}; licence: {data[licence]}.

{data[examples]} examples to learn from; SHA-256 of all arrays: `{data[sha256]}`.

## Training

```sh
{command}
```

Seed {seed}, {trained} epochs, NumPy {numpy}, {library[name]} {library[version]} ({library[kernels]}), threads: {library[threads]}.
`mlkit model rebuild model.safetensors` trains it again and compares.

## Scores

{scores}

## Grade: {grade}

In the terms of the Debian machine-learning policy, a draft, {grade} means: {meaning}.
The grade follows from the licence that is stated above.
"""


class _Said(dict[str, Any]):
    """What a description says, and "?" for what it does not."""

    def __missing__(self, key: str) -> Any:
        return "?"


def card(description: Mapping[str, Any], parameters: int) -> str:
    """The card in Markdown, from what `save` was told."""
    said = _Said(description)
    for key in ("data", "library", "scores", "architecture"):
        said[key] = _Said(said[key]) if isinstance(said[key], Mapping) else _Said()
    found = grade(description)
    said |= {
        "architecture": said["architecture"]["class"], "parameters": parameters, "inputs": _settings(said["preprocessing"]),
        "answers": _settings(said["answer"]), "grade": found, "meaning": GRADES[found],
        "scores": "\n".join(f"- {key}: {value:.4g}" for key, value in said["scores"].items() if isinstance(value, int | float)),
    }  # fmt: skip
    return CARD.format_map(said)


def _settings(value: Any) -> str:
    """What a description says, in a line."""
    if not isinstance(value, Mapping):
        return "not said"
    rest = ", ".join(f"{key} {str(entry)[:200]}" for key, entry in value.items() if key != "kind")
    return f"{value.get('kind', '?')}{' (' if rest else ''}{rest}{')' if rest else ''}"
