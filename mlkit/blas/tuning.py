"""The library named "auto": each product goes to the library that won its shape on this machine, as a profile says.

A profile is made by `mlkit blas tune`. It names the library and number of threads that are best on the whole, the base, and for
every shape that was raced the winner – another than the base only where the interval of the measurement said so. A shape that was
not raced goes where the nearest one went. Recipes of calls are looked up by shape anyway: the choice costs nothing more, and a plan
has it bound.
"""

import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import BlasError, DataError, LibraryNotFound
from ..file import write_whole
from . import probe, threads
from .library import Dtype, Library

FORMAT, VERSION = "mlkit-profile", 2
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


class Choice(NamedTuple):
    """A library, and the number of threads that it is given."""

    library: str
    threads: int


class Profile(NamedTuple):
    """For each number of threads that may be used: the base, and the winner of each shape, which may use fewer."""

    machine: str  # the CPU
    libraries: Mapping[str, str]  # name -> path and version
    base: Mapping[int, Choice]
    winners: Mapping[int, Sequence[tuple[Shape, Choice]]]

    def save(self, path: "str | os.PathLike[str]") -> None:
        """As JSON, whole."""
        entries = {str(count): [[*shape, *choice] for shape, choice in rows] for count, rows in self.winners.items()}
        bases = {str(count): list(choice) for count, choice in self.base.items()}
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
            base = {int(count): _choice(entry) for count, entry in found["base"].items()}
            winners = {int(count): [_row(row) for row in rows] for count, rows in found["winners"].items()}
            profile = cls(str(found["machine"]), dict(found["libraries"]), base, winners)
            if not base or base.keys() != winners.keys():
                raise ValueError("no base")
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
    """The base, but for the products whose shapes another library won, or the same with fewer threads.

    Threads are given to all of them. What is chosen depends on their number: `settled` is the Auto of the number in force.
    """

    def __init__(self, profile: Profile, libraries: Mapping[str, Library], count: int, family: "dict[int, Auto] | None" = None):
        known = min(profile.base, key=lambda raced: (abs(raced - count), raced))  # that number, or the nearest that was raced
        self.__dict__.update(libraries[profile.base[known].library].__dict__)
        self.name, self.scope, self.profile, self.libraries, self.count = "auto", "auto", profile, libraries, count
        self.rows = profile.winners[known]
        self._family = {} if family is None else family
        self._family[count] = self
        self._made: dict[Choice, Library] = {}
        self._ruled = [library for library in libraries.values() if library._set is not None]
        self.base = self._given(profile.base[known])

    def __repr__(self) -> str:
        names = ", ".join(sorted(self.libraries.keys() - {self.base.name})) or "no other"
        return f"<auto: {self.base.name} and {names}, by the profile of this machine>"

    def for_product(self, dtype: Dtype, stacks: int, m: int, n: int, inner: int, turned: tuple[bool, bool]) -> Library:
        """The winner of the shape, or of the nearest that was raced."""
        shape = Shape(str(dtype), "".join("NT"[flag] for flag in turned), stacks, m, n, inner)
        distance, choice = min(((shape.distance(known), choice) for known, choice in self.rows), default=(math.inf, Choice("", 1)))
        return self._given(choice) if distance <= NEAR and choice.library in self.libraries else self.base

    def settled(self) -> "Auto":
        """The one for the number of threads in force."""
        for library in self._ruled:
            if library.scope == "thread":
                library.settle()
        count = self._wanted
        if count == self.count:
            return self
        return self._family.get(count) or Auto(self.profile, self.libraries, count, self._family)

    @property
    def _wanted(self) -> int:
        return self._ruled[0]._wanted if self._ruled else 1

    @property
    def threads(self) -> int | None:
        return self._wanted

    @threads.setter
    def threads(self, count: int) -> None:
        self.require_threads(threads.checked(count))
        for library in self._ruled:
            library.threads = count

    def require_threads(self, count: int) -> None:
        """Raise a ThreadControlError if none of its libraries can be given `count` threads."""
        if not self._ruled:
            super().require_threads(count)

    @contextmanager
    def limited(self, count: int) -> Iterator[None]:
        self.require_threads(threads.checked(count))
        with ExitStack() as stack:
            for library in self._ruled:
                stack.enter_context(library.limited(count))
            yield

    def _given(self, choice: Choice) -> Library:
        """The library itself, or one that gives it fewer threads for the length of each product."""
        library = self.libraries[choice.library]
        if choice.threads >= self.count or library._set is None:
            return library
        if choice not in self._made:
            self._made[choice] = Fewer(library, choice.threads)
        return self._made[choice]


class Fewer(Library):
    """A library that gets fewer threads before each product, and its own number back behind it."""

    def __init__(self, library: Library, count: int) -> None:
        self.__dict__.update(library.__dict__)
        self.library, self.count = library, count
        self.gemm, self.gemv, self.batch_strided = (
            {dtype: routine and self._around(routine) for dtype, routine in table.items()}
            for table in (library.gemm, library.gemv, library.batch_strided)
        )

    def cut(self, m: int, n: int, inner: int) -> None:
        """Never: every part would set the threads anew."""

    def _around(self, routine: Any) -> Any:
        set_threads, library, count = self._set, self.library, self.count

        def call(*arguments: Any) -> None:
            set_threads(count)
            routine(*arguments)
            set_threads(library._wanted)

        return call

    @property
    def _wanted(self) -> int:
        return self.library._wanted

    @property
    def threads(self) -> int:
        return self.count

    @threads.setter
    def threads(self, count: int) -> None:
        self.library.threads = count

    @contextmanager
    def limited(self, count: int) -> Iterator[None]:
        with self.library.limited(count):
            yield


def machine() -> str:
    """The CPU's name, and a sum of all that it can do."""
    cpu = probe.cpu()
    model = next((line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")), "")
    return f"{model} {zlib.crc32(cpu.encode()):08x}"


def base_name() -> str:
    """The base of this machine's profile, for the fewest threads."""
    base = Profile.load(profile_path()).base
    return base[min(base)].library


def profile_path() -> Path:
    """$MLKIT_PROFILE, or where `mlkit blas tune` writes: beside what is known of the libraries."""
    named = os.environ.get("MLKIT_PROFILE")
    return Path(named) if named else probe.cache_file().parent / "profile.json"


def auto(load_named: Callable[[str], Library], count: int) -> Auto:
    """The library "auto" by the profile of this machine; `load_named` loads one by its name. Those that are gone are left out."""
    profile = Profile.load(profile_path())
    bases = {choice.library for choice in profile.base.values()}
    wanted = bases | {choice.library for rows in profile.winners.values() for _, choice in rows}
    libraries = {}
    for name in sorted(wanted):
        try:
            libraries[name] = load_named(name)
        except BlasError:  # it was removed, or does not run any more: the base does its work
            if name in bases:
                raise
    return Auto(profile, libraries, count)


def _row(row: Sequence[Any]) -> tuple[Shape, Choice]:
    dtype, turned, count, m, n, inner, *choice = row
    sizes = tuple(int(size) for size in (count, m, n, inner))
    if min(sizes) < 1 or turned not in ("NN", "NT", "TN", "TT"):
        raise ValueError(f"{row} is no shape")
    return Shape(str(dtype), str(turned), *sizes), _choice(choice)


def _choice(entry: Sequence[Any]) -> Choice:
    name, count = entry
    if int(count) < 1:
        raise ValueError(f"{entry} has no threads")
    return Choice(str(name), int(count))
