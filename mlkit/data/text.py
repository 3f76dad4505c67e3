"""Texts as numbers: characters, or pieces that are learned from a text."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from ..errors import ArgumentError, DataError
from ..file import LARGEST, read_bounded
from ..kernels import Array

WORD = re.compile(r" ?[^\W\d_]+| ?\d+| ?[^\s\w]+|\s+(?!\S)|\s+|_+")  # a space goes with what follows it, as in GPT-2

Pair = tuple[int, int]


def read_text(path: "str | os.PathLike[str]") -> str:
    """The text of a file, or of all text files of a folder, not of links: UTF-8 or Latin-1. DataError for
    anything else, or more than 256 MiB."""
    whole = Path(path)
    files = sorted(file for file in whole.rglob("*") if file.is_file() and not file.is_symlink()) if whole.is_dir() else [whole]
    found, left = list[str](), LARGEST
    for file in files:
        content = read_bounded(file, left)
        if b"\0" not in content:
            found.append(_decoded(content))
            left -= len(content)
    if not found:
        raise DataError(f"{whole} has no text: {len(files)} files, all with zero bytes")
    return "\n".join(found)


class CharTokenizer:
    """Characters as numbers: `encode` and `decode`. Characters that the text it was made from lacks are an error."""

    def __init__(self, text: "str | Sequence[str]") -> None:
        self.characters = sorted(set(text))
        self._numbers = {character: number for number, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Array:
        """(len(text),) numbers."""
        try:
            return np.array([self._numbers[character] for character in text], np.int64)
        except KeyError as error:
            raise DataError(f"the character {error.args[0]!r} is not among the {len(self)} that were learned from") from None

    def decode(self, numbers: Iterable[int]) -> str:
        """The text again."""
        return "".join(self.characters[int(number)] for number in numbers)


class BytePairTokenizer:
    """Pieces of words as numbers: the bytes, and the pairs of pieces that were most frequent, one merged after the other.

    Whatever is asked for can be encoded, for every byte has a number. `merges` is all that it has learned.
    Source: Sennrich, Haddow & Birch 2016; bytes as in Radford et al. 2019.
    """

    def __init__(self, merges: Iterable[Sequence[int]] = ()) -> None:
        self.pieces = [bytes([number]) for number in range(256)]
        self.merges: list[Pair] = []
        for first, second in merges:
            if not (0 <= first < len(self.pieces) and 0 <= second < len(self.pieces)):
                raise DataError(f"merge {len(self.merges)} is of the pieces {first} and {second}, and {len(self.pieces)} are there")
            self.merges.append((first, second))
            self.pieces.append(self.pieces[first] + self.pieces[second])
        self._rank = {pair: 256 + number for number, pair in enumerate(self.merges)}
        self._encoded = lru_cache(1 << 16)(self._word)

    @classmethod
    def learned(cls, text: str, count: int = 1024) -> "BytePairTokenizer":
        """From a text, up to `count` pieces; it ends early where no pair comes twice."""
        if count < 256:
            raise ArgumentError(f"BytePairTokenizer: count is {count}; there are 256 bytes already")
        words = [(list(word.encode()), times) for word, times in Counter(WORD.findall(text)).items()]
        merges: list[Pair] = []
        pairs: Counter[Pair] = Counter()
        where: dict[Pair, set[int]] = {}
        for number, (word, times) in enumerate(words):
            _count(word, times, number, pairs, where)
        while len(merges) < count - 256 and pairs:
            best = max(pairs, key=lambda pair: (pairs[pair], -pair[0], -pair[1]))
            if pairs[best] < 2:
                break
            for number in where.pop(best):
                word, times = words[number]
                _count(word, -times, number, pairs, where)
                word[:] = _merged(word, best, 256 + len(merges))
                _count(word, times, number, pairs, where)
            merges.append(best)
            pairs.pop(best, None)
        return cls(merges)

    def __len__(self) -> int:
        return len(self.pieces)

    def encode(self, text: str) -> Array:
        """(n,) numbers, n at most the bytes of the text."""
        return np.array([number for word in WORD.findall(text) for number in self._encoded(word)], np.int64)

    def decode(self, numbers: Iterable[int]) -> str:
        """The text again; bytes that are no character become U+FFFD."""
        return b"".join(self.pieces[int(number)] for number in numbers).decode("utf-8", "replace")

    def _word(self, word: str) -> list[int]:
        found = list(word.encode())
        while len(found) > 1:
            rank, pair = min((self._rank.get(pair, len(self)), pair) for pair in pairwise(found))
            if rank == len(self):
                break
            found = _merged(found, pair, rank)
        return found


def _count(word: list[int], times: int, number: int, pairs: "Counter[Pair]", where: dict[Pair, set[int]]) -> None:
    for pair in pairwise(word):
        pairs[pair] += times
        if times > 0:
            where.setdefault(pair, set()).add(number)


def _merged(word: Sequence[int], pair: Pair, new: int) -> list[int]:
    """The word with every such pair replaced, from the left."""
    found, place = list[int](), 0
    while place < len(word):
        if place + 1 < len(word) and (word[place], word[place + 1]) == pair:
            found.append(new)
            place += 2
        else:
            found.append(word[place])
            place += 1
    return found


def _decoded(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("latin-1")
