"""The library named "auto": each product goes to the library that won its shape on this machine, as a profile says.

A profile is made by `mlkit blas tune`. It names the library that is best on the whole, the base, and for every shape that was
raced the winner – another than the base only where the interval of the measurement said so. A shape that was not raced goes
where the nearest one went. Recipes of calls are looked up by shape anyway: the choice costs nothing more, and a plan has it bound.
"""

import json
import math
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BlasError, DataError, LibraryNotFound
from ..file import write_whole
from . import probe
from .library import Dtype, Library

FORMAT, VERSION = "mlkit-profile", 1
NEAR = 1.5  # how far a shape may lie from a raced one: the sum of the doublings of m, n, k and the number of products


class Shape(NamedTuple):
    """What decides who is fastest: precision, which operands lie transposed, how many products, their sizes."""

    dtype: str
    turned: str  # NN, NT, TN, TT
    stacks: int
    m: int
    n: int
    inner: int

    def distance(self, other: "Shape") -> float:
        """In doublings of a size; infinite between kinds that do not compare."""
        if (self.dtype, self.turned, self.stacks > 1) != (other.dtype, other.turned, other.stacks > 1):
            return math.inf
        return sum(abs(math.log2(a / b)) for a, b in zip(self[2:], other[2:]))


class Profile(NamedTuple):
    """For each number of threads the base, and the winner of each shape."""

    machine: str  # the CPU
    libraries: Mapping[str, str]  # name -> path and version
    base: Mapping[int, str]
    winners: Mapping[int, Sequence[tuple[Shape, str]]]

    def save(self, path: "str | os.PathLike[str]") -> None:
        """As JSON, whole."""
        entries = {str(count): [[*shape, name] for shape, name in rows] for count, rows in self.winners.items()}
        bases = {str(count): name for count, name in self.base.items()}
        found = {"machine": self.machine, "libraries": dict(self.libraries), "base": bases, "winners": entries}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"format": FORMAT, "version": VERSION, **found}))

    @classmethod
    def load(cls, path: "str | os.PathLike[str]") -> "Profile":
        """From JSON; DataError for anything else, or if it is of another CPU."""
        name = os.fspath(path)
        try:
            found = json.loads(Path(path).read_text())
            if found["format"] != FORMAT or found["version"] != VERSION:
                raise DataError(
                    f"{name} is {found['format']} {found['version']}; this mlkit reads {FORMAT} {VERSION}: mlkit blas tune"
                )
            base = {int(count): str(library) for count, library in found["base"].items()}
            winners = {int(count): [_row(row) for row in rows] for count, rows in found["winners"].items()}
            profile = cls(str(found["machine"]), dict(found["libraries"]), base, winners)
        except OSError as error:
            raise LibraryNotFound(f"auto: there is no profile at {name}: run mlkit blas tune first") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{name} is damaged: {error!r}; run mlkit blas tune again") from error
        if profile.machine != machine():
            raise DataError(f"{name} is of another CPU, {profile.machine}: run mlkit blas tune here")
        return profile


class Auto(Library):
    """The base, but for the products whose shapes another library won. Threads are given to all of them."""

    def __init__(self, base: Library, others: Mapping[str, Library], profile: Profile) -> None:
        self.__dict__.update(base.__dict__)
        self.name, self.base, self.others, self.profile = "auto", base, dict(others), profile

    def __repr__(self) -> str:
        return f"<auto: {self.base.name} and {', '.join(sorted(self.others)) or 'no other'}, by the profile of this machine>"

    def for_product(self, dtype: Dtype, stacks: int, m: int, n: int, inner: int, turned: tuple[bool, bool]) -> Library:
        """The winner of the shape, or of the nearest that was raced."""
        shape = Shape(str(dtype), "".join("NT"[flag] for flag in turned), stacks, m, n, inner)
        rows = self.profile.winners.get(self.threads or 1) or next(iter(self.profile.winners.values()), [])
        distance, name = min(((shape.distance(known), name) for known, name in rows), default=(math.inf, ""))
        return self.others.get(name, self.base) if distance <= NEAR else self.base

    @property
    def threads(self) -> int | None:
        return self.base.threads

    @threads.setter
    def threads(self, count: int) -> None:
        for library in (self.base, *self.others.values()):
            library.threads = count

    @contextmanager
    def limited(self, count: int) -> Iterator[None]:
        with ExitStack() as stack:
            for library in (self.base, *self.others.values()):
                stack.enter_context(library.limited(count))
            yield


def machine() -> str:
    """The CPU's name, and a sum of all that it can do."""
    cpu = probe.cpu()
    model = next((line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")), "")
    return f"{model} {zlib.crc32(cpu.encode()):08x}"


def base_name() -> str:
    """The base of this machine's profile, for the fewest threads."""
    base = Profile.load(profile_path()).base
    return base[min(base)]


def profile_path() -> Path:
    """$MLKIT_PROFILE, or where `mlkit blas tune` writes: beside what is known of the libraries."""
    named = os.environ.get("MLKIT_PROFILE")
    return Path(named) if named else probe.cache_file().parent / "profile.json"


def auto(load_named: Any, count: int) -> Auto:
    """The library "auto" by the profile of this machine; `load_named` loads one by its name. Those that are gone are left out."""
    profile = Profile.load(profile_path())
    base = profile.base.get(count) or next(iter(profile.base.values()))
    wanted = {name for rows in profile.winners.values() for _, name in rows} - {base}
    others = {}
    for name in sorted(wanted):
        try:
            others[name] = load_named(name)
        except BlasError:
            continue  # it was removed, or does not run any more: the base does its work
    return Auto(load_named(base), others, profile)


def _row(row: Sequence[Any]) -> tuple[Shape, str]:
    dtype, turned, count, m, n, inner, name = row
    sizes = tuple(int(size) for size in (count, m, n, inner))
    if min(sizes) < 1 or turned not in ("NN", "NT", "TN", "TT"):
        raise ValueError(f"{row} is no shape")
    return Shape(str(dtype), str(turned), *sizes), str(name)
