"""Where BLAS libraries live: data, and a look at the file system. Nothing is loaded by looking, nothing needs root."""

import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from . import elf


class Candidate(NamedTuple):
    """A library that may be there: not yet looked into."""

    name: str
    path: str  # the file, links resolved
    origin: str  # where it was found, for a person
    needed: tuple[str, ...] = ()  # open a stub that needs these, instead of the file itself (MKL)
    threading: str = ""  # MKL's threading layer
    kernels: str = ""  # the kernel set to ask for, in the library's own words, instead of its own choice


# Debian keeps each variant in a directory of its own. The generic libblas.so.3 in it is never opened: OpenBLAS's is a
# shim that takes whichever libopenblas.so.0 was loaded first, and BLIS's hides the functions that set its threads.
DEBIAN = (  # name, directory, file
    ("openblas", "openblas-pthread", "libopenblas.so.*"),
    ("openblas-openmp", "openblas-openmp", "libopenblas.so.*"),
    ("openblas-serial", "openblas-serial", "libopenblas.so.*"),
    ("blis", "blis-pthread", "libblis.so.*"),
    ("blis-openmp", "blis-openmp", "libblis.so.*"),
    ("blis-serial", "blis-serial", "libblis.so.*"),
    ("atlas", "atlas", "libblas.so.3"),
    ("reference", "blas", "libblas.so.3"),
    ("openblas64", "openblas64-pthread", "libopenblas64.so.*"),
    ("openblas64-openmp", "openblas64-openmp", "libopenblas64.so.*"),
    ("openblas64-serial", "openblas64-serial", "libopenblas64.so.*"),
    ("blis64", "blis64-pthread", "libblis64.so.*"),
    ("blis64-openmp", "blis64-openmp", "libblis64.so.*"),
    ("blis64-serial", "blis64-serial", "libblis64.so.*"),
    ("reference64", "blas64", "libblas64.so.3"),
)

# Elsewhere – Fedora's /usr/lib64, conda's lib, an HPC module's directory – the file's name tells.
ANYWHERE = (
    ("openblas", "libopenblas.so.*"),
    ("openblas", "libopenblas.so"),
    ("openblas", "libopenblasp.so.*"),
    ("openblas-openmp", "libopenblaso.so.*"),
    ("openblas64", "libopenblas64_.so.*"),
    ("openblas64", "libopenblasp64_.so.*"),
    ("blis", "libblis.so.*"),
    ("blis-openmp", "libblis-mt.so.*"),
    ("flexiblas", "libflexiblas.so.3"),
    ("flexiblas64", "libflexiblas64.so.3"),
    ("atlas", "libsatlas.so.3"),
    ("atlas-pthread", "libtatlas.so.3"),
    ("mkl", "libmkl_rt.so*"),
    ("accelerate", "Accelerate"),
)

WHEELS = (  # name, module, patterns relative to the module's directory
    ("numpy", "numpy", ("../numpy.libs/lib*openblas*", ".dylibs/lib*openblas*")),
    ("scipy", "scipy", ("../scipy.libs/lib*openblas*", ".dylibs/lib*openblas*")),
    ("scipy-openblas32", "scipy_openblas32", ("lib/lib*openblas*.so", "lib/lib*openblas*.dylib", "lib/*openblas*.dll")),
    ("scipy-openblas64", "scipy_openblas64", ("lib/lib*openblas*.so", "lib/lib*openblas*.dylib", "lib/*openblas*.dll")),
)

ALIASES = {
    "openblas-pthread": "openblas",
    "blis-pthread": "blis",
    "openblas64-pthread": "openblas64",
    "blis64-pthread": "blis64",
    "netlib": "reference",
}

IMPLEMENTATIONS = ("libopenblas.so.0", "libopenblas64.so.0", "libblis.so.4", "libblis64.so.4")


def candidates() -> list[Candidate]:
    """Every library found, each file once, the most specific name first."""
    found: dict[tuple[str, tuple[str, ...]], Candidate] = {}
    names: set[str] = set()
    for candidate in (*_debian(), *_anywhere(), *_wheels()):
        key = candidate.path, candidate.needed
        if key in found or not os.path.isfile(candidate.path):
            continue
        name, count = candidate.name, 1
        while name in names:
            count += 1
            name = f"{candidate.name}-{count}"
        names.add(name)
        found[key] = candidate._replace(name=name)
    return list(found.values())


def system() -> Candidate | None:
    """What Debian's alternatives, or else the loader's directories, call libblas.so.3."""
    link = next((path for path in map(Path, _links()) if path.exists()), None)
    if link is None:
        return None
    path = implementation(str(link))
    known = next((c for c in candidates() if c.path == path), None)
    return known or at(path, "system", f"{link}")


def automatic() -> bool:
    """Whether update-alternatives chose libblas.so.3 by priority, not a person."""
    for triplet in triplets():
        try:
            with open(f"/var/lib/dpkg/alternatives/libblas.so.3-{triplet}") as lines:
                return lines.readline().strip() == "auto"
        except OSError:
            continue
    return True


def at(path: str, name: str = "", origin: str = "path") -> Candidate:
    """The candidate at a path that somebody named."""
    real = implementation(path)
    name = name or Path(real).name.split(".so")[0]
    if "mkl_rt" in Path(real).name:
        return _mkl(name, real, origin)
    return Candidate(name, real, origin)


def implementation(path: str) -> str:
    """The file that holds the kernels: a Debian libblas.so.3 has its implementation beside it."""
    real = os.path.realpath(path)
    directory, file = os.path.split(real)
    if file.startswith("libblas"):
        for name in IMPLEMENTATIONS:
            if os.path.exists(os.path.join(directory, name)):
                return os.path.realpath(os.path.join(directory, name))
    return real


def _debian() -> Iterator[Candidate]:
    for triplet in triplets():
        for name, directory, pattern in DEBIAN:
            for path in _matches(Path("/usr/lib", triplet, directory), pattern)[:1]:
                yield Candidate(name, os.path.realpath(path), f"Debian's {triplet}/{directory}")


def _anywhere() -> Iterator[Candidate]:
    for directory in _directories():
        for name, pattern in ANYWHERE:
            for path in _matches(directory, pattern)[:1]:
                yield at(str(path), name, str(directory))


def _wheels() -> Iterator[Candidate]:
    for name, module, patterns in WHEELS:
        spec = find_spec(module)
        if spec is None or not spec.origin:
            continue
        directory = Path(spec.origin).parent
        for pattern in patterns:
            for path in _matches(directory, pattern)[:1]:
                yield Candidate(name, os.path.realpath(path), f"the {module} wheel")


def _matches(directory: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in directory.glob(pattern) if path.is_file())
    except OSError:
        return []


@lru_cache(1)
def triplets() -> tuple[str, ...]:
    """The multiarch names of this interpreter's architecture; others hold libraries that it cannot load."""
    own = sysconfig.get_config_var("MULTIARCH")
    if own and Path("/usr/lib", own).is_dir():
        return (own,)
    return tuple(path.name for path in Path("/usr/lib").glob(f"{os.uname().machine}-linux-*")) if os.name == "posix" else ()


def _links() -> Iterator[str]:
    for triplet in triplets():
        yield f"/etc/alternatives/libblas.so.3-{triplet}"
    for directory in (*(f"/usr/lib/{triplet}" for triplet in triplets()), "/usr/lib64", "/usr/lib"):
        yield f"{directory}/libblas.so.3"


def _directories() -> list[Path]:
    """$LD_LIBRARY_PATH (where environment modules say what is loaded), conda's and pip's prefix, the system's."""
    listed = [Path(entry) for entry in os.environ.get("LD_LIBRARY_PATH", "").split(":") if entry]
    root = os.environ.get("MKLROOT")
    if root:
        listed += [Path(root, "lib"), Path(root, "lib/intel64")]
    listed += [Path(prefix, "lib") for prefix in dict.fromkeys((sys.prefix, sys.base_prefix))]
    listed += [Path("/usr/local/lib"), *(Path("/usr/lib", triplet) for triplet in triplets()), Path("/usr/lib64")]
    listed += [Path("/System/Library/Frameworks/Accelerate.framework")]
    return list(dict.fromkeys(listed))


def _mkl(name: str, path: str, origin: str) -> Candidate:
    """MKL through a stub: its own loader, libmkl_rt, would make all its symbols global at the first call."""
    directory, file = os.path.split(path)
    suffix = file.partition(".so")[2]
    parts = {part: f"{directory}/libmkl_{part}.so{suffix}" for part in ("intel_lp64", "core", "sequential")}
    if suffix in ("", ".1") or not elf.supported() or not all(map(os.path.exists, parts.values())):
        return Candidate(name, path, origin, threading="sequential")  # MKL 2020 and older abort in a stub
    for layer, runtime in (("intel", "libiomp5.so"), ("gnu", "libgomp.so.1")):
        thread = f"{directory}/libmkl_{layer}_thread.so{suffix}"
        runtimes = [f"{directory}/{runtime}", *(f"/usr/lib/{triplet}/{runtime}" for triplet in triplets())]
        present = next(filter(os.path.exists, runtimes), None)
        if present and os.path.exists(thread):
            return Candidate(name, path, origin, (parts["intel_lp64"], thread, parts["core"], present), layer)
    return Candidate(name, path, origin, (parts["intel_lp64"], parts["sequential"], parts["core"]), "sequential")
