"""Libraries side by side, each running its own kernels; threads; forks."""

import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mlkit import blas
from mlkit.errors import ArgumentError, BlasError, ThreadControlError

BLAS_SYMBOL = re.compile(
    r"^(scipy_)?(cblas_)?[sdcz](gemm|gemv|axpy|dot|scal|copy|ger|trsm|asum|nrm2)[a-z_]*(64)?_?$|^(bli_|ATL_|gotoblas|exec_blas|openblas_|mkl_)"
)


def run(code, **environment):
    """Run a script in a new process with one thread."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MLKIT_THREADS": "1", **environment}
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=env, capture_output=True, text=True, timeout=120)


LOAD_ALL = """
    import sys
    import numpy as np
    from mlkit import blas
    a = np.arange(60.0).reshape(6, 10)
    names = [c.name for c, r in blas.available() if not r.failure]
    names.sort(key=lambda name: not name.startswith("mkl"))  # MKL first: it makes its symbols global
    for name in names:
        with blas.using(name):
            for dtype in (np.float32, np.float64):
                x = a.astype(dtype)
                assert np.array_equal(blas.gemm(x, x.T), np.matmul(x, x.T)), name
    print(len(blas.loaded()), len(names))
"""


def test_all_libraries_are_loaded_side_by_side():
    done = run(LOAD_ALL)
    assert done.returncode == 0, done.stderr
    loaded, names = map(int, done.stdout.split())
    assert loaded == names >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="the dynamic loader of Linux is asked")
def test_no_library_calls_the_kernels_of_another(tmp_path):
    """The loader's own log of symbol bindings: whatever looks like BLAS is bound within one library's directory.

    Where BLAS and LAPACK alternatives do not match, NumPy itself mixes two libraries, which it has loaded before.
    """
    done = run(LOAD_ALL, LD_DEBUG="bindings", LD_DEBUG_OUTPUT=str(tmp_path / "log"), LD_BIND_NOW="1", PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stderr[-2000:]
    numpy = run("import numpy.linalg; print(open('/proc/self/maps').read())").stdout
    own = {os.path.realpath(library) for library in (c.path for c, _ in blas.available())}
    seen = 0
    for log in tmp_path.glob("log.*"):
        for line in log.read_text(errors="replace").splitlines():
            found = re.search(r"binding file (\S+) \[\d+\] to (\S+) \[\d+\]: .*symbol `([^']+)'", line)
            if found and BLAS_SYMBOL.match(found[3]):
                user, provider = (os.path.realpath(p) for p in found.groups()[:2])
                if user in own:
                    seen += 1
                    at_home = os.path.dirname(user) == os.path.dirname(provider) or "libatlas" in provider
                    assert at_home or (user in numpy and provider in numpy), line
    assert seen > 0


def test_a_library_loads_once_under_all_its_names(library):
    assert blas.resolve(library.name) is library
    assert blas.resolve(library.path) is library


def test_the_report_is_what_the_library_is(library):
    report = library.report
    assert report.vendor in ("openblas", "blis", "atlas", "reference", "mkl", "flexiblas", "accelerate", "unknown")
    assert library.integer(2**40).value == (2**40 if report.int64 else 0)
    assert report.version
    if "64" in library.name or library.name == "numpy":
        assert report.int64
    assert f"{64 if report.int64 else 32}-bit" in repr(library)


def test_every_library_is_given_the_same_count(library):
    assert library.threads in (1, None)


def test_a_count_is_set_on_the_library_itself(library):
    if not library.report.adjustable:
        assert library.threads == 1
        with pytest.raises(ThreadControlError, match=library.name):
            library.threads = 2
        return
    with blas.using(threads=2):
        assert library.threads == 2
        with blas.using(threads=1):
            assert library.threads == 1
        assert library.threads == 2
    assert library.threads == 1


def test_overlapping_blocks_leave_the_count_as_it_was(library):
    if not library.report.adjustable:
        return
    first, second = library.limited(2), library.limited(3)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert library.threads == 3
    second.__exit__(None, None, None)
    assert library.threads == 1


@pytest.mark.parametrize("count", [0, -1, 10**6, 1.5, "2", None, True])
def test_a_count_that_is_none_is_refused(count):
    with pytest.raises(ArgumentError):
        blas.current().threads = count


def test_threadpoolctl_sees_and_limits_what_it_can(library):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    seen = [entry["filepath"] for entry in threadpoolctl.threadpool_info()]
    if not library.report.adjustable or not any(os.path.realpath(path) == library.path for path in seen):
        return
    with blas.using(threads=2), threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert library.threads == 1
        blas.gemm(np.ones((3, 3)), np.ones((3, 3)))
        assert library.threads == 1, "a product must not undo the limit"


def test_threadpoolctl_is_told_of_an_mkl_behind_a_stub(library):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if library.report.vendor != "mkl" or not blas.find(library.name).needed or not hasattr(threadpoolctl, "register"):
        return
    assert "mkl" in [entry["internal_api"] for entry in threadpoolctl.threadpool_info()]
    with blas.using(threads=2), threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert library.threads == 1


FORK = """
    import os, signal, sys
    import numpy as np
    from mlkit import blas
    library = blas.use(sys.argv[1], 2 if sys.argv[2] == "2" else None)
    a = np.random.default_rng(0).standard_normal((300, 300))
    right = blas.gemm(a, a)
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        same = np.allclose(blas.gemm(a, a), right)
        os._exit(0 if same and library.threads in (1, None) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.allclose(blas.gemm(a, a), right)
"""


def test_a_fork_leaves_one_thread_and_does_not_hang(library):
    threaded = library.report.adjustable
    code = textwrap.dedent(FORK).replace("sys.argv[1]", repr(library.name)).replace("sys.argv[2]", repr("2" if threaded else ""))
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_products_from_several_threads_are_right(library, rng):
    from concurrent.futures import ThreadPoolExecutor

    a, b = rng.standard_normal((90, 130)), rng.standard_normal((130, 70))
    right = np.matmul(a, b)

    def work(_):
        with blas.using(library):
            return all(np.allclose(blas.gemm(a, b), right) for _ in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_a_second_mkl_is_refused(tmp_path, monkeypatch):
    from mlkit.blas import library as module

    class Loaded:
        report = blas.Report(vendor="mkl")
        path = "/opt/one/libmkl_rt.so.2"

    monkeypatch.setattr(module, "_loaded", {("x", ()): Loaded()})
    monkeypatch.setattr(module, "report", lambda candidate: blas.Report(vendor="mkl"))
    with pytest.raises(BlasError, match="second MKL"):
        module.load(blas.Candidate("mkl", "/opt/two/libmkl_rt.so.2", "path"))


def kernel_sets():
    """(library, a kernel set that it has and every x86-64 CPU runs), of libraries that NumPy itself does not load."""
    sets = {"openblas-serial": "Prescott", "blis": "25"}  # SSE3; and plain C, which BLIS 0.9 knows by its number only
    found = [candidate.name for candidate, report in blas.available() if not report.failure]
    return [entry for entry in sets.items() if entry[0] in found and os.uname().machine == "x86_64"]


@pytest.mark.parametrize(("name", "kernels"), kernel_sets())
def test_a_kernel_set_is_asked_for_behind_a_colon(name, kernels):
    code = f"""
        import os
        import numpy as np
        from mlkit import blas
        before = dict(os.environ)
        library = blas.use("{name}:{kernels}")
        assert dict(os.environ) == before
        a = np.arange(12.0).reshape(3, 4)
        assert np.array_equal(blas.gemm(a, a.T), np.matmul(a, a.T))
        print(library.name, library.report.kernels)
        try:
            blas.use("{name}:other")
        except blas.Library.__init__.__globals__["BlasError"] as error:
            print(error)
    """
    done = run(code)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.split()[0] == f"{name}:{kernels}"
    assert kernels.isdigit() or first.split()[1] == kernels
    assert "loaded from the same file" in second or "no kernels" in second


def test_kernels_that_a_library_lacks_are_refused():
    if "openblas" in [candidate.name for candidate, _ in blas.available()]:
        with pytest.raises(BlasError):
            blas.use("openblas:Nonsense")


def test_kernels_of_a_library_that_numpy_loaded_cannot_be_chosen():
    if "numpy" in [candidate.name for candidate, _ in blas.available()] and blas.resolve("numpy").report.vendor == "openblas":
        done = run("from mlkit import blas; blas.use('numpy:Prescott')")
        assert "in this process already" in done.stderr or "no kernels" in done.stderr
