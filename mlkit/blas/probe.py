"""Look at one library in a child process: integer size, symbol names, version, kernels, extensions, does it crash.

Loading the wrong file can exit, trap or hang the process that tries, so a child does it: this file run as a script, with
nothing but the standard library. What it finds is cached by the file's identity and the CPU.

    python probe.py FILE [THREADING]    prints one line of JSON
"""

import ctypes
import json
import os
import platform
import re
import signal
import sys
import zlib
from contextlib import suppress
from itertools import product
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from subprocess import CompletedProcess

SCHEMA = 7  # of the cache
NAMES_WITHIN = 2 << 20  # bytes: linkers put the names of what is needed at a file's begin, patchelf at its end
TIMEOUT = 30.0  # seconds until a library that does not answer is given up
FLAGS = getattr(os, "RTLD_NOW", 0) | getattr(os, "RTLD_LOCAL", 0) | getattr(os, "RTLD_DEEPBIND", 0)

# One affix for a whole library, never one for each symbol: NumPy's ILP64 copy also exports a bare
# cblas_sgemm_batch_strided. MKL exports LP64 without and ILP64 with _64; the first match is the one to use.
AFFIXES = tuple(product(("", "scipy_"), ("", "64_", "_64")))

EXTENSIONS = ("gemm_batch", "gemm_batch_strided", "gemmt", "gemmtr", "gemm3m", "axpby", "omatcopy", "gemm_pack")

# vendor, how its count is read and set; {} stands where an affix goes
THREAD_CONTROLS = (
    ("openblas", "{}openblas_get_num_threads{}", "{}openblas_set_num_threads{}"),
    ("blis", "bli_thread_get_num_threads", "bli_thread_set_num_threads"),
    ("mkl", "MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    ("flexiblas", "flexiblas_get_num_threads", "flexiblas_set_num_threads"),
)
KERNEL_VARIABLES = ("OPENBLAS_CORETYPE", "BLIS_ARCH_TYPE", "MKL_ENABLE_INSTRUCTIONS")  # read while loading
MKL_LAYERS = {"intel": 0, "sequential": 1, "gnu": 3}
MKL_BRANCHES = {1: "compatible", 3: "SSE2", 5: "SSE4.1", 6: "SSE4.2", 8: "AVX", 9: "AVX2", 10: "AVX-512"}
MKL_BRANCHES |= {11: "AVX-512 MIC", 12: "AVX2", 13: "AVX-512", 14: "AVX-512 E1"}


class Report(NamedTuple):
    """What a library is; `failure` says why it cannot be used, and then the rest is empty."""

    prefix: str = ""
    suffix: str = ""
    int64: bool = False
    vendor: str = ""
    version: str = ""
    kernels: str = ""  # the instruction-set variant that it chose for this CPU
    threading: str = ""  # serial, pthread, openmp, sequential, intel, gnu
    get_threads: str = ""  # the symbols that read and set its thread count, if there are any
    set_threads: str = ""
    extensions: tuple[str, ...] = ()
    stacks: str = ""  # the precisions, of s d c z, in which its gemm_batch_strided is right
    failure: str = ""

    @property
    def adjustable(self) -> bool:
        """Whether its thread count can be set."""
        return bool(self.set_threads) and self.threading not in ("serial", "sequential")


def probe(path: str, identity: str, threading: str = "", kernels: str = "") -> Report:
    """The report on the file at `path`; `identity` is the file that the cache knows it by."""
    key = _key(identity, threading, kernels)
    known = _cached().get(key)
    if known is not None:
        return Report(**{**known, "extensions": tuple(known["extensions"])})
    report = _ask_child(path, threading, kernels)
    if not report.failure:  # what it lacked may be installed by the next time
        _remember(key, report)
    return report


def open_shared(path: str, threading: str = "") -> ctypes.CDLL:
    """The library at `path`, blind to every other one in the process and they to it.

    Its OpenMP runtime is opened before, the plain way. Under RTLD_DEEPBIND it would see libc's `environ` instead of the
    copy that an executable like Debian's python3 has made of it, find nothing there, and crash.
    """
    for runtime in openmp_runtimes(path):
        with suppress(OSError):
            ctypes.CDLL(runtime, mode=FLAGS & ~getattr(os, "RTLD_DEEPBIND", 0))
    handle = ctypes.CDLL(path, mode=FLAGS)
    choose = symbol(handle, "MKL_Set_Threading_Layer")
    if choose is not None and threading:
        choose(MKL_LAYERS[threading])  # before the first call: MKL without OpenMP's symbols exits the process
    return handle


def openmp_runtimes(path: str) -> list[str]:
    """The OpenMP runtimes, by name or path, that a shared object needs: strings between two zeros near one of its ends."""
    try:
        with open(path, "rb") as file:
            content = file.read(NAMES_WITHIN)
            file.seek(max(len(content), os.path.getsize(path) - NAMES_WITHIN))
            content += b"\0" + file.read()
    except OSError:
        return []
    places = (content.find(name) for name in (b"libgomp.so.", b"libiomp5.so", b"libomp.so"))
    ends = ((content.rfind(b"\0", 0, place) + 1, content.find(b"\0", place)) for place in places if place >= 0)
    return [content[start:stop].decode(errors="replace") for start, stop in ends]


def symbol(handle: ctypes.CDLL, name: str) -> Any:
    """The function called `name`, or None."""
    return getattr(handle, name, None)


def examine(path: str, threading: str = "") -> Report:
    """Load the library here and now and find out what it is."""
    handle = open_shared(path, threading)
    affix = next(((p, s) for p, s in AFFIXES if symbol(handle, f"{p}cblas_sgemm{s}")), None)
    if affix is None:
        return Report(failure="it exports no cblas_sgemm under any known name: it is no BLAS with the C interface")
    prefix, suffix = affix
    int64 = _takes_int64(symbol(handle, f"{prefix}cblas_isamax{suffix}"))
    _multiply(symbol(handle, f"{prefix}cblas_sgemm{suffix}"), ctypes.c_float, int64)
    _multiply(symbol(handle, f"{prefix}cblas_dgemm{suffix}"), ctypes.c_double, int64)
    vendor = _vendor(handle, path, affix)
    version, kernels, found = _details(handle, vendor, path, affix)
    control = next((names for kind, *names in THREAD_CONTROLS if kind == vendor), ["", ""])
    get, set_ = (name.replace("{}", prefix, 1).replace("{}", suffix) for name in control)
    controlled = bool(get) and symbol(handle, get) is not None and symbol(handle, set_) is not None
    return Report(
        prefix, suffix, int64, vendor, version, kernels, threading or found,
        get if controlled else "", set_ if controlled else "",
        tuple(e for e in EXTENSIONS if any(symbol(handle, f"{prefix}cblas_{t}{e}{suffix}") for t in "sc")),
        "".join(t for t in "sdcz" if _stacks_are_right(symbol(handle, f"{prefix}cblas_{t}gemm_batch_strided{suffix}"), t, int64)),
    )  # fmt: skip


def _takes_int64(isamax: Any) -> bool:
    """Whether integers have 64 bits: n is 3 in its low half, hugely negative as a whole (libblastrampoline's trick)."""
    if isamax is None:
        raise OSError("it has cblas_sgemm but no cblas_isamax")
    isamax.restype = ctypes.c_size_t
    where = isamax(ctypes.c_int64(-(1 << 32) + 3), (ctypes.c_float * 3)(1, 2, 1), ctypes.c_int64(1)) & 0xFFFFFFFF
    if where not in (0, 1):
        raise OSError(f"cblas_isamax of (1, 2, 1) is {where}")
    return bool(where == 0)


def _multiply(gemm: Any, real: Any, int64: bool) -> None:
    """A product of integers, large enough to reach the vector kernels, against plain Python."""
    m, n, k = 37, 41, 29
    integer = ctypes.c_int64 if int64 else ctypes.c_int
    a, b = [i % 7 - 3 for i in range(m * k)], [i % 5 - 2 for i in range(k * n)]
    c = (real * (m * n))(*[float("nan")] * (m * n))
    gemm.restype = None
    row_major, plain = 101, 111
    sizes = integer(m), integer(n), integer(k)
    left, right = (real * (m * k))(*a), (real * (k * n))(*b)
    gemm(row_major, plain, plain, *sizes, real(1), left, integer(k), right, integer(n), real(0), c, integer(n))
    for i, j in product(range(m), range(n)):
        if c[i * n + j] != sum(a[i * k + p] * b[p * n + j] for p in range(k)):
            raise OSError(f"its gemm of two integer matrices is wrong at ({i}, {j})")


def _stacks_are_right(gemm: Any, letter: str, int64: bool) -> bool:
    """Two products of integers in one call. OpenBLAS 0.3.34 gets them wrong in both complex precisions."""
    if gemm is None:
        return False
    size, count, parts = 3, 2, 2 if letter in "cz" else 1
    real, integer = ctypes.c_float if letter in "sc" else ctypes.c_double, ctypes.c_int64 if int64 else ctypes.c_int
    cells = size * size
    a, b = ([complex(i % p - 2, i % q - 1 if parts == 2 else 0) for i in range(count * cells)] for p, q in ((5, 3), (7, 4)))
    left, right = ((real * (parts * len(x)))(*(y for z in x for y in (z.real, z.imag)[:parts])) for x in (a, b))
    out = (real * (parts * count * cells))()
    one, zero = (ctypes.byref((real * 2)(x, 0)) if parts == 2 else real(x) for x in (1, 0))
    n, step, row_major, plain = integer(size), integer(cells), 101, 111
    gemm.restype = None
    operands = left, n, step, right, n, step, zero, out, n, step
    gemm(row_major, plain, plain, n, n, n, one, *operands, integer(count))
    for s, i, j in product(range(count), range(size), range(size)):
        exact = sum(a[s * cells + i * size + p] * b[s * cells + p * size + j] for p in range(size))
        at = parts * (s * cells + i * size + j)
        if complex(*out[at : at + parts]) != exact:
            return False
    return True


def _vendor(handle: ctypes.CDLL, path: str, affix: tuple[str, str]) -> str:
    prefix, suffix = affix
    signs = (
        ("flexiblas", "flexiblas_get_num_threads"),
        ("openblas", f"{prefix}openblas_get_config{suffix}"),
        ("mkl", "MKL_Get_Max_Threads"),
        ("blis", "bli_info_get_version_str"),
        ("atlas", "ATL_buildinfo"),
        ("accelerate", "BLASGetThreading"),
    )
    found = next((vendor for vendor, sign in signs if symbol(handle, sign)), None)
    return found or ("reference" if re.match(r"lib(c|ref)?blas(64)?\.", os.path.basename(path)) else "unknown")


def _details(handle: ctypes.CDLL, vendor: str, path: str, affix: tuple[str, str]) -> tuple[str, str, str]:
    """(version, kernels, threading) as the library itself tells them."""
    if vendor == "openblas":
        words = _text(handle, "openblas_get_config".join(affix)).split()
        version = next((word for word in words if word[0].isdigit()), "")
        layer = symbol(handle, "openblas_get_parallel".join(affix))
        layers = ("serial", "pthread", "openmp")
        return version, _text(handle, "openblas_get_corename".join(affix)), layers[layer()] if layer else ""
    if vendor == "blis":
        return _text(handle, "bli_info_get_version_str"), _blis_kernels(handle), _blis_threading(handle)
    if vendor == "mkl":
        buffer = ctypes.create_string_buffer(256)
        handle.MKL_Get_Version_String(buffer, 256)
        found = re.search(r"Version (\d[\d.]*)", buffer.value.decode())
        branch = symbol(handle, "MKL_CBWR_Get_Auto_Branch")
        return found.group(1) if found else "", MKL_BRANCHES.get(branch(), "") if branch else "", "sequential"
    found = re.search(r"\.so\.(\d+\.\d[\d.]*)$", os.path.realpath(path))  # ATLAS and the reference do not tell
    return found.group(1) if found else "", "", "serial"


def _blis_kernels(handle: ctypes.CDLL) -> str:
    query = symbol(handle, "bli_arch_query_id") or symbol(handle, "bli_cpuid_query_id")
    if not query or not symbol(handle, "bli_arch_string"):
        return ""
    handle.bli_arch_string.restype = ctypes.c_char_p
    return str(handle.bli_arch_string(query()).decode())


def _blis_threading(handle: ctypes.CDLL) -> str:
    for threading, sign in (("openmp", "bli_info_get_enable_openmp"), ("pthread", "bli_info_get_enable_pthreads")):
        enabled = symbol(handle, sign)
        if enabled and enabled():
            return threading
    return "serial"


def _text(handle: ctypes.CDLL, name: str) -> str:
    function = symbol(handle, name)
    if function is None:
        return ""
    function.restype = ctypes.c_char_p
    return str((function() or b"").decode(errors="replace"))


def _ask_child(path: str, threading: str, kernels: str) -> Report:
    if not sys.executable:  # an embedded interpreter: there is no child to ask
        return _examined(path, threading)
    import subprocess  # 3 ms of every start, needed only when a library is new

    command = [sys.executable, "-I", "-S", __file__, path, threading]
    environment = {**os.environ, **dict.fromkeys(KERNEL_VARIABLES, kernels)} if kernels else None
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=TIMEOUT, text=True, errors="replace", check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return Report(failure=f"it did not answer within {TIMEOUT:g} s of being loaded")
    for line in done.stdout.splitlines():
        if line.startswith('{"prefix"'):
            found = json.loads(line)
            return Report(**{**found, "extensions": tuple(found["extensions"])})
    return Report(failure=_death(done))


def _death(done: "CompletedProcess[str]") -> str:
    said = done.stderr.strip().splitlines()
    words = f": {said[-1]}" if said else ""
    if done.returncode < 0:
        return f"loading it, or its first product, killed the process with {signal.Signals(-done.returncode).name}{words}"
    return f"loading it, or its first product, ended the process with exit code {done.returncode}{words}"


def _examined(path: str, threading: str) -> Report:
    try:
        return examine(path, threading)
    except OSError as error:
        return Report(failure=str(error))


def _key(identity: str, threading: str, kernels: str) -> str:
    """What a report depends on: the file, the CPU, the interpreter and the variables that choose kernels."""
    try:
        status = os.stat(identity)
        stamp = f"{status.st_size} {status.st_mtime_ns}"
    except OSError:
        stamp = ""
    around = zlib.crc32(repr([SCHEMA, cpu(), platform.machine(), sys.implementation.cache_tag, knobs()]).encode())
    return f"{identity} {stamp} {threading} {kernels} {around:08x}"


_KNOBS = ("OPENBLAS_", "BLIS_", "MKL_", "OMP_", "FLEXIBLAS", "LD_LIBRARY_PATH", "LD_PRELOAD")


def cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("flags", "Features", "model name", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))


def knobs() -> dict[str, str]:
    """The environment variables that are set and choose a library's kernels or threads."""
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(_KNOBS)}


def cache_file() -> Path:
    """Where reports are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "mlkit", "probe.json")


def _cached() -> dict[str, Any]:
    try:
        found = json.loads(cache_file().read_text())
    except (OSError, ValueError, RuntimeError):
        return {}
    return found if isinstance(found, dict) else {}


_writing = Lock()


def _remember(key: str, report: Report) -> None:
    """Add a report to the cache, which may be absent, broken or read-only: it only saves time."""
    import tempfile

    try:
        path = cache_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with _writing, tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as part:
            json.dump({**_cached(), key: report._asdict()}, part)
            part.flush()
            os.replace(part.name, path)
    except (OSError, RuntimeError):
        return


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_examined(*sys.argv[1:])._asdict()) + "\n")
