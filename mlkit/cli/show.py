"""What a command shows on standard output: lines and tables."""

import sys
from collections.abc import Sequence

RIGHT = set("0123456789")


def write(text: str = "") -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns; the first row is the head. Columns of numbers are flush right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    right = [all(not row[i] or row[i][0] in RIGHT for row in rows[1:]) for i in range(len(widths))]
    lines = ["  ".join(f"{c:>{w}}" if r else f"{c:<{w}}" for c, w, r in zip(row, widths, right)).rstrip() for row in rows]
    return "\n".join([lines[0], "─" * max(map(len, lines)), *lines[1:]])
