"""Which library is in force, and where."""

import asyncio
import os
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest

from mlkit import blas
from mlkit.blas import catalog, selection, threads
from mlkit.errors import ArgumentError, BlasError, LibraryNotFound, ThreadControlError

NAMES = [candidate.name for candidate, report in blas.available() if not report.failure]
OTHER = next((name for name in NAMES if blas.resolve(name) is not blas.current()), None)
several = pytest.mark.skipif(OTHER is None, reason="one library only")


@pytest.fixture
def restored():
    """The library of the process as it was."""
    before = blas.current()
    yield before
    blas.use(before)


@several
def test_use_is_for_the_process_and_using_for_the_block(restored):
    with blas.using(OTHER) as inner:
        assert blas.current() is inner is not restored
    assert blas.current() is restored
    chosen = blas.use(OTHER)
    seen = []
    worker = threading.Thread(target=lambda: seen.append(blas.current()))
    worker.start()
    worker.join()
    assert seen == [chosen]


@several
def test_using_stays_in_its_own_thread_and_reaches_the_workers_of_mlkit():
    seen = {}
    with blas.using(OTHER) as inner:
        thread = threading.Thread(target=lambda: seen.setdefault("thread", blas.current()))
        thread.start()
        thread.join()
        threads.parallel([partial(lambda i: seen.setdefault(i, blas.current()), i) for i in range(3)])
    assert seen["thread"] is not inner
    assert seen[0] is seen[1] is seen[2] is inner


@several
def test_using_stays_in_its_own_task():
    async def task(name):
        with blas.using(name) as library:
            await asyncio.sleep(0.01)
            return blas.current() is library

    async def both():
        return await asyncio.gather(*(task(name) for name in (OTHER, NAMES[0], OTHER)))

    assert all(asyncio.run(both()))


@several
def test_an_error_in_the_block_restores_the_library():
    before = blas.current()
    with pytest.raises(RuntimeError), blas.using(OTHER):
        raise RuntimeError
    assert blas.current() is before


def test_a_failing_use_changes_nothing(restored):
    with pytest.raises(LibraryNotFound):
        blas.use("no-such-blas")
    with pytest.raises(ArgumentError):
        blas.use(NAMES[0], threads=0)
    assert blas.current() is restored


def test_an_unknown_name_lists_what_there_is_and_guesses():
    with pytest.raises(LibraryNotFound, match=r"did you mean") as caught:
        blas.use(NAMES[0] + "x")
    assert NAMES[0] in str(caught.value)


def test_a_name_must_be_a_string():
    with pytest.raises(ArgumentError):
        blas.use(3)


def test_a_path_that_does_not_exist():
    with pytest.raises(LibraryNotFound, match="no file"):
        blas.use("/nowhere/libblas.so")


def test_a_text_file_is_no_library(tmp_path, cache):
    path = tmp_path / "libblas.so"
    path.write_text("not a library")
    with pytest.raises(BlasError, match=r"libblas\.so cannot be used"):
        blas.use(path)


def test_a_directory_is_no_library(tmp_path):
    with pytest.raises(BlasError, match="not a file"):
        blas.use(tmp_path)


def run(**environment):
    code = "from mlkit import blas; import numpy as np; blas.gemm(np.ones((2,2)), np.ones((2,2))); "
    code += "l = blas.current(); print(l.name, l.threads)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)


def test_the_environment_chooses():
    for name in NAMES:
        assert run(MLKIT_BLAS=name).stdout.split()[0] == name


def test_the_environment_counts():
    threaded = next((n for n in NAMES if blas.resolve(n).report.adjustable), None)
    if threaded:
        assert run(MLKIT_BLAS=threaded, MLKIT_THREADS="2").stdout.split() == [threaded, "2"]


@pytest.mark.parametrize("variables", [{"MLKIT_BLAS": "nonsense"}, {"MLKIT_THREADS": "0"}, {"MLKIT_THREADS": "many"}])
def test_a_wrong_environment_is_one_clear_error(variables):
    done = run(**variables)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("mlkit.errors.")
    assert f"${next(iter(variables))}" in last


def test_importing_loads_no_library():
    code = "import numpy; before = open('/proc/self/maps').read().count('blas'); "
    code += "import mlkit; from mlkit import blas; blas.available(); "
    code += "print(open('/proc/self/maps').read().count('blas') - before)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout.strip() == "0"


def test_the_reference_is_the_default_only_when_a_person_chose_it(monkeypatch):
    reference = catalog.Candidate("reference", "/r", "")
    bundled = catalog.Candidate("numpy", "/n", "")
    monkeypatch.setattr(catalog, "candidates", lambda: [reference, bundled])
    monkeypatch.setattr(catalog, "system", lambda: reference)
    monkeypatch.setattr(selection, "load", lambda candidate: candidate.name)
    monkeypatch.setattr(catalog, "automatic", lambda: True)
    assert selection._first_that_loads() == "numpy"
    monkeypatch.setattr(catalog, "automatic", lambda: False)
    assert selection._first_that_loads() == "reference"


def test_a_default_that_does_not_load_gives_way_to_the_next(monkeypatch):
    broken, good = catalog.Candidate("a", "/a", ""), catalog.Candidate("numpy", "/n", "")

    def load(candidate):
        if candidate is broken:
            raise BlasError("broken")
        return candidate.name

    monkeypatch.setattr(catalog, "candidates", lambda: [broken, good])
    monkeypatch.setattr(catalog, "system", lambda: broken)
    monkeypatch.setattr(selection, "load", load)
    assert selection._first_that_loads() == "numpy"
    monkeypatch.setattr(catalog, "candidates", lambda: [broken])
    with pytest.raises(LibraryNotFound, match="broken"):
        selection._first_that_loads()


def test_a_count_that_a_library_cannot_have_is_refused():
    serial = next((n for n in NAMES if blas.resolve(n).report.threading == "serial"), None)
    if serial:
        with pytest.raises(ThreadControlError), blas.using(serial, threads=2):
            pass
        assert np.array_equal(blas.gemm(np.ones((1, 1)), np.ones((1, 1))), [[1]])
