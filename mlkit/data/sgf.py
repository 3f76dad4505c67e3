"""Games of Go: SGF files, and the rules that say what stands on the board. Source: the Smart Game Format, FF[4]."""

import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ArgumentError, DataError
from ..file import read_bounded
from ..kernels import Array

BLACK, WHITE = 1, -1
LONGEST = 1 << 20  # bytes of a game that are read
TOKEN = re.compile(r"\s*([;()])|\s*([A-Za-z]+)|\s*\[((?:[^\]\\]|\\.)*)\]", re.S)

Point = tuple[int, int]  # row from the top, column from the left


class Move(NamedTuple):
    """Who plays where; None is a pass."""

    colour: int
    point: Point | None


class Game(NamedTuple):
    """The board's size, the stones that stood there first, the moves of the main line."""

    size: int
    setup: Sequence[Move]
    moves: Sequence[Move]


def read_sgf(file: "str | os.PathLike[str] | bytes") -> Game:
    """The first game of an SGF file or its content, without variations. DataError for anything else."""
    name = "the game" if isinstance(file, bytes) else os.fspath(file)
    content = file if isinstance(file, bytes) else read_bounded(name, LONGEST)
    size, setup, moves = 19, list[Move](), list[Move]()
    for key, values in _properties(content[:LONGEST].decode("utf-8", "replace"), name):
        if key == "SZ":
            if not values[0].strip().isdigit() or not 2 <= int(values[0]) <= 25:
                raise DataError(f"{name} has a board of size {values[0][:20]!r}; it is from 2 to 25")
            size = int(values[0])
        elif key in ("B", "W"):
            moves.append(Move(BLACK if key == "B" else WHITE, _point(values[0], size, name)))
        elif key in ("AB", "AW") and not moves:
            setup += [Move(BLACK if key == "AB" else WHITE, _point(value, size, name)) for value in values]
    return Game(size, setup, moves)


class Board:
    """What stands where: `stones` is (size, size), 1 for black, -1 for white. `play` takes away what is captured."""

    def __init__(self, size: int = 19) -> None:
        if not 2 <= size <= 25:
            raise ArgumentError(f"Board: size is {size}; it is from 2 to 25")
        self.size = size
        self.stones = np.zeros((size, size), np.int8)
        self.ko: Point | None = None  # where the next move must not be

    def play(self, move: Move) -> None:
        """Put a stone. DataError where one stands, or where it would be captured at once (suicide)."""
        self.ko = None
        if move.point is None:
            return
        if self.stones[move.point]:
            raise DataError(f"a stone is played at row {move.point[0]}, column {move.point[1]}, where one stands")
        self.stones[move.point] = move.colour
        taken: list[Point] = []
        for point in self.beside(move.point):
            if self.stones[point] == -move.colour:
                group, liberties = self.group(point)
                if not liberties:
                    taken += group
                    for stone in group:
                        self.stones[stone] = 0
        own, liberties = self.group(move.point)
        if not liberties:
            self.stones[move.point] = 0
            raise DataError(f"a stone at row {move.point[0]}, column {move.point[1]} would take its own last liberty")
        if len(taken) == 1 and len(own) == 1 and len(liberties) == 1:
            self.ko = taken[0]

    def group(self, point: Point) -> tuple[set[Point], set[Point]]:
        """(the stones connected with the one at a point, the empty points beside them)"""
        colour, group, liberties, waiting = self.stones[point], {point}, set[Point](), [point]
        while waiting:
            for near in self.beside(waiting.pop()):
                if not self.stones[near]:
                    liberties.add(near)
                elif self.stones[near] == colour and near not in group:
                    group.add(near)
                    waiting.append(near)
        return group, liberties

    def beside(self, point: Point) -> Iterator[Point]:
        """The points next to a point."""
        i, j = point
        for near in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
            if 0 <= near[0] < self.size and 0 <= near[1] < self.size:
                yield near

    def liberties(self) -> Array:
        """(size, size) how many liberties the group of each stone has; 0 where nothing stands."""
        found = np.zeros(self.stones.shape, np.int16)
        for point in map(tuple, np.argwhere(self.stones)):
            if not found[point]:
                group, liberties = self.group(point)
                for stone in group:
                    found[stone] = len(liberties)
        return found


def _properties(text: str, name: str) -> Iterator[tuple[str, list[str]]]:
    """(key, values) along the main line: the first branch wherever there are several."""
    start = text.find("(;")
    if start < 0:
        raise DataError(f"{name} is no SGF file: it has no (;")
    place, key, values = start, "", list[str]()
    while found := TOKEN.match(text, place):
        place = found.end()
        mark, word, value = found.groups()
        if value is not None:
            values.append(value)
            continue
        if key and values:
            yield key, values
        key, values = ("".join(filter(str.isupper, word)) if word else ""), []
        if mark == ")":  # the end of the first branch
            return
    raise DataError(f"{name} is damaged or truncated: its game has no end")


def _point(text: str, size: int, name: str) -> Point | None:
    text = text.strip()
    if not text or (text == "tt" and size <= 19):
        return None
    column, row = (ord(c) - ord("a") for c in text) if len(text) == 2 else (-1, -1)
    if not (0 <= row < size and 0 <= column < size):
        raise DataError(f"{name} has a move at {text[:20]!r}, which is not on a board of {size}")
    return row, column
