"""What a training said of itself, epoch by epoch."""

from collections.abc import Iterator
from typing import Any

from ..errors import ArgumentError


class History:
    """`rows`: for each epoch its numbers by name; `history["loss"]`: one number in all epochs. `stopped` says why it ended."""

    def __init__(self, rows: "list[dict[str, Any]] | None" = None) -> None:
        self.rows = [] if rows is None else rows
        self.stopped = ""

    def __getitem__(self, name: str) -> list[Any]:
        if not any(name in row for row in self.rows):
            raise ArgumentError(f"the history has no {name!r}; it has {', '.join(self.names) or 'nothing'}")
        return [row.get(name) for row in self.rows]

    def __contains__(self, name: str) -> bool:
        return any(name in row for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    @property
    def names(self) -> list[str]:
        """Of all numbers, as they came."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def best(self, name: str, mode: str = "min") -> dict[str, Any]:
        """The row in which a number was smallest, or with mode="max" largest."""
        if mode not in ("min", "max"):
            raise ArgumentError(f"mode {mode!r} is min or max")
        self[name]
        return (min if mode == "min" else max)((row for row in self.rows if name in row), key=lambda row: row[name])

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in self.rows[-1].items()) if self.rows else "no epochs"
        return f"History({last}{', ' + self.stopped if self.stopped else ''})"
