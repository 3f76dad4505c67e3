"""Who really uses which library, and what is wrong."""

import json
import os

import pytest

from mlkit import blas, cli
from mlkit.blas import doctor
from mlkit.blas.catalog import Candidate
from mlkit.blas.probe import Report

TRIPLET = "x86_64-linux-gnu"
HEALTHY = Report(vendor="openblas", version="0.3.30", kernels="Haswell", threading="pthread")


def test_what_is_used_is_what_is_mapped_and_defines_the_symbol():
    uses = {use.who: use for use in doctor.uses()}
    with open("/proc/self/maps") as maps:
        mapped = {os.path.realpath(line.split(None, 5)[5].strip()) for line in maps if ".so" in line}
    assert set(uses) >= {"NumPy BLAS", "NumPy LAPACK", "SciPy BLAS", "SciPy LAPACK", "mlkit"}
    for use in uses.values():
        assert use.path in mapped
        with open(use.path, "rb") as file:
            assert use.routine.encode() in file.read()
    assert uses["mlkit"].candidate.name == blas.current().name
    if any(candidate.name == "numpy" for candidate, _ in blas.available()):  # the copy in a wheel
        assert uses["NumPy BLAS"].candidate.name == "numpy"
    else:
        assert uses["NumPy BLAS"].candidate.path == blas.find("system").path


def alternatives(directory, **targets):
    for what, target in targets.items():
        (directory / f"{what}.so.3-{TRIPLET}").symlink_to(target)
    return list(doctor.of_alternatives(directory, [TRIPLET]))


def library(directory, name):
    path = directory / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def test_an_alternative_that_leads_nowhere(tmp_path):
    (found,) = alternatives(tmp_path, libblas="/nowhere/libblas.so.3")
    assert found.level == "error"
    assert "/nowhere/libblas.so.3" in found.what
    assert found.remedy == f"update-alternatives --auto libblas.so.3-{TRIPLET}"


@pytest.mark.parametrize(
    ("one", "other", "fine"),
    [
        ("openblas-pthread", "openblas-pthread", True),
        ("blis-pthread", "lapack", True),
        ("blis-pthread", "openblas-pthread", False),
        ("blas", "atlas", False),
    ],
)
def test_a_lapack_that_brings_another_blas_along(tmp_path, one, other, fine):
    links = {"libblas": library(tmp_path, f"{one}/libblas.so.3"), "liblapack": library(tmp_path, f"{other}/liblapack.so.3")}
    found = alternatives(tmp_path, **links)
    assert [finding.level for finding in found] == ([] if fine else ["warning"])
    assert fine or (one in found[0].what and other in found[0].what and "liblapack" in found[0].remedy)


@pytest.mark.parametrize(
    ("variables", "used", "words"),
    [
        ({"OPENBLAS_NUM_THREADS": "2", "HOME": "/"}, HEALTHY, []),
        ({"BLIS_NUM_THREADS": "2"}, HEALTHY, ["no blis is here"]),
        ({"MKL_DEBUG_CPU_TYPE": "5"}, HEALTHY, ["reads it no more"]),
        ({"OPENBLAS_NUM_THREADS": "2"}, HEALTHY._replace(threading="openmp"), ["does not read it"]),
        ({"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}, HEALTHY, ["each library takes its own"]),
    ],
)
def test_variables_that_nobody_reads(variables, used, words):
    found = list(doctor.of_environment(variables, [HEALTHY], [used]))
    assert len(found) == len(words)
    assert all(word in finding.what for word, finding in zip(words, found))


def test_openmp_runtimes_that_do_not_know_of_each_other():
    assert not list(doctor.of_runtimes(["/a/libgomp.so.1", "/a/libc.so.6"]))
    (found,) = doctor.of_runtimes(["/a/libgomp-24e2ab19.so.1.0.0", "/b/libiomp5.so", "/b/libopenblas.so"])
    assert "/a/libgomp-24e2ab19.so.1.0.0" in found.what
    assert "/b/libiomp5.so" in found.what


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (HEALTHY, None),
        (HEALTHY._replace(version="0.3.340"), None),
        (HEALTHY._replace(version="0.3.34.481.3"), "batch_strided are wrong"),
        (HEALTHY._replace(vendor="blis", kernels="generic"), "generic"),
        (Report(failure="it traps"), "it traps"),
    ],
)
def test_libraries_with_faults(report, words):
    found = list(doctor.of_libraries([(Candidate("x", "/x", ""), report)]))
    assert bool(found) == bool(words)
    assert not words or words in found[0].what


def test_the_reference_blas_is_something_to_mend(monkeypatch, capsys):
    slow = Candidate("reference", "/usr/lib/blas/libblas.so.3", "")
    monkeypatch.setattr(doctor, "uses", lambda: [doctor.Use("NumPy BLAS", "cblas_dgemm", slow.path, slow)])
    monkeypatch.setattr(doctor, "report", lambda candidate: Report(vendor="reference"))
    found = next(finding for finding in doctor.examine() if "NumPy BLAS is the reference BLAS" in finding.what)
    assert found.level == "warning"
    assert found.remedy


@pytest.mark.parametrize(("level", "code"), [("note", 0), ("warning", 1), ("error", 1)])
def test_the_exit_code_is_the_verdict(monkeypatch, capsys, level, code):
    monkeypatch.setattr(doctor, "examine", lambda used: [doctor.Finding(level, "it hurts", "take a rest")])
    assert cli.main(["blas", "doctor"]) == code
    shown = capsys.readouterr().out
    assert f"{level}: it hurts\n    take a rest\n" in shown
    assert shown.rstrip().endswith("1 thing to mend" if code else "healthy")
    assert cli.main(["blas", "doctor", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] is not bool(code)
    assert {use["who"] for use in found["uses"]} >= {"NumPy BLAS", "mlkit"}
