"""Which Library is in force: `using` > `use` > $MLKIT_BLAS > the system's alternative > the bundled copies."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

from ..errors import ArgumentError, BlasError, LibraryNotFound
from . import catalog, threads, tuning
from .catalog import Candidate
from .library import Library, load, report
from .probe import Report

_block: ContextVar[Library | None] = ContextVar("mlkit_blas", default=None)
_process: Library | None = None
_autos: dict[tuple[str, int], Library] = {}

Name = str | os.PathLike[str] | Library


def current() -> Library:
    """The library in force here: of the innermost `using` block, else of the process."""
    library = _block.get() or _process or _settle_default()
    return library if library.scope == "process" else library.settled()


def use(name: Name, threads: int | None = None) -> Library:
    """Use the library `name` – a name, a path or a Library – in the whole process, with `threads` threads.

    Raises LibraryNotFound, BlasError (it cannot be loaded) or ThreadControlError; then nothing has changed.
    """
    global _process
    library = resolve(name)
    if threads is not None:
        library.threads = threads
    _process = library
    return library


@contextmanager
def using(name: Name | None = None, threads: int | None = None) -> Iterator[Library]:
    """Use a library, or another thread count, in this block of this thread or asyncio task, and in its workers.

    The choice of library is the block's own. A thread count belongs to the library, so other Python threads that use
    the same library meanwhile see it too, unless `library.scope` is "thread".
    """
    library = current() if name is None else resolve(name)
    with ExitStack() as stack:
        if threads is not None:
            stack.enter_context(library.limited(threads))
        token = _block.set(library)
        stack.callback(_block.reset, token)
        yield library


def available() -> list[tuple[Candidate, Report]]:
    """Every library found on this machine with what is known of it. Nothing is loaded into this process."""
    found = catalog.candidates()
    named = os.environ.get("MLKIT_BLAS")
    if named and os.sep in named:
        candidate = catalog.at(named, origin="$MLKIT_BLAS")
        if all(candidate.path != other.path for other in found):
            found.insert(0, candidate)
    from concurrent.futures import ThreadPoolExecutor  # 4 ms of every start, needed only here

    with ThreadPoolExecutor(threads.allowed()) as pool:  # each waits for a child process
        return list(zip(found, pool.map(report, found)))


def find(name: str) -> Candidate:
    """The candidate of that name or path; LibraryNotFound lists what there is.

    A kernel set may follow a colon, in the library's own words: "openblas:SkylakeX", "blis:zen3".
    """
    base, colon, kernels = name.rpartition(":")
    if colon and kernels and not os.path.exists(name):
        candidate = find(base)
        return candidate._replace(name=f"{candidate.name}:{kernels}", kernels=kernels)
    if os.sep in name:
        if not os.path.exists(name):
            raise LibraryNotFound(f"there is no file {name}")
        path = catalog.implementation(name)
        known = next((c for c in catalog.candidates() if c.path == path), None)
        return known or catalog.at(name)
    if name == "auto":
        return find(tuning.base_name())._replace(name="auto")
    if name == "system":
        system = catalog.system()
        if system is None:
            raise LibraryNotFound(f"no libblas.so.3 is installed; found: {_names()}")
        return system
    wanted = catalog.ALIASES.get(name, name)
    found = catalog.candidates()
    exact = [c for c in found if c.name == wanted]
    variants = [c for c in found if c.name.startswith(f"{wanted}-")]  # openblas, where only openblas-openmp is there
    if not exact and not variants:
        import difflib

        close = difflib.get_close_matches(name, [c.name for c in found], 1)
        hint = f": did you mean {close[0]}?" if close else "."
        raise LibraryNotFound(f"no BLAS is called {name!r}{hint} Found: {_names()}; or give a path")
    return (exact or variants)[0]


def resolve(name: Name) -> Library:
    """The Library of that name or path, loaded."""
    if isinstance(name, Library):
        return name
    if name == "auto":
        return _automatic()
    if not isinstance(name, str | os.PathLike):
        raise ArgumentError(f"a BLAS is named by a string or a path, not by {name!r}")
    return load(find(os.fspath(name)))


def _automatic() -> Library:
    """The library "auto", made once for each profile."""
    path = tuning.profile_path()
    try:
        key = str(path), path.stat().st_mtime_ns
    except OSError:
        key = str(path), 0
    if key not in _autos:
        _autos.clear()
        _autos[key] = tuning.auto(lambda name: load(find(name)), threads.default())
    return _autos[key]


def _settle_default() -> Library:
    global _process
    named = os.environ.get("MLKIT_BLAS")
    try:
        _process = resolve(named) if named else _first_that_loads()
    except LibraryNotFound as error:
        raise LibraryNotFound(f"$MLKIT_BLAS: {error}" if named else str(error)) from None
    return _process


def _first_that_loads() -> Library:
    """The system's choice, then the bundled copies, then anything; the reference only when nothing else is there.

    A machine where nobody chose has Debian's reference BLAS as often as not, twenty times slower than the copy inside
    NumPy's wheel: it is the system's choice only if a person made it.
    """
    found, failures = catalog.candidates(), []
    system = catalog.system()
    order = [] if system is None else [system]
    order += [c for name in ("numpy", "scipy") for c in found if c.name == name]
    order += [c for c in found if c not in order]
    slow = {"reference", "reference64"} if catalog.automatic() else set()
    for candidate in sorted(order, key=lambda c: c.name in slow):
        try:
            return load(candidate)
        except BlasError as error:
            failures.append(str(error))
    reasons = "; ".join(failures) or "none was found"
    raise LibraryNotFound(f"no BLAS can be used: {reasons}. Install one, for example: apt install libopenblas0")


def _names() -> str:
    return ", ".join(c.name for c in catalog.candidates()) or "none"
