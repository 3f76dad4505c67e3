"""One BLAS thread, $MLKIT_BLAS in force where a test does not choose, and every library of this machine as a parameter."""

import os

os.environ["MLKIT_THREADS"] = "1"

import numpy as np
import pytest

from mlkit import blas

CHOSEN = os.environ.pop("MLKIT_BLAS", None)  # the tests of the choice itself begin without one
LIBRARIES = [candidate.name for candidate, report in blas.available() if not report.failure]


if CHOSEN:
    blas.use(CHOSEN)


def pytest_report_header(config):
    return f"BLAS: {', '.join(LIBRARIES)}"


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f"BLAS in force: {blas.current().name}")


@pytest.fixture(params=LIBRARIES)
def library(request):
    """Each library in turn, in force for the test; all stay loaded side by side."""
    with blas.using(request.param) as chosen:
        yield chosen


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty probe cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"
