"""Right libraries are found right; libraries that are wrong on purpose are found wrong, each by what is wrong with it."""

import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from mlkit import blas
from mlkit.blas import verify
from mlkit.blas.verify import case, rest, runner
from mlkit.errors import ArgumentError, LibraryNotFound
from tests.conftest import LIBRARIES

SGEMM = r"""
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cblas_sgemm as the standard has it, but for what BEFORE, TERM and AFTER say; all else is the library's that this one needs */
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb,
                 float beta, float *c, int ldc) {
  BEFORE
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double sum = 0;
      for (int l = 0; l < k && alpha; l++) {
        double x = a[(ta == 111) == (order == 101) ? (long)i * lda + l : (long)l * lda + i];
        double y = b[(tb == 111) == (order == 101) ? (long)l * ldb + j : (long)j * ldb + l];
        TERM
      }
      float *to = &c[order == 101 ? (long)i * ldc + j : (long)j * ldc + i];
      *to = (float)(alpha * sum + (beta ? beta * *to : 0));
    }
  AFTER
}
"""
FAULTS = {  # what is done, the case that finds it, its verdict
    "none": ("", "sum += x * y;", "", "gemm float32", "passed"),
    "forgets the last term": ("", "if (l + 1 < k || k < 30) sum += x * y;", "", "gemm float32", "failed"),
    "confuses the transposes": ("", "if (ta != tb || m != 17) sum += x * y;", "", "gemm float32", "failed"),
    "traps on some size": ("if (m == 63) abort();", "sum += x * y;", "", "gemm float32", "crashed"),
    "exits": ("if (n == 33) _exit(7);", "sum += x * y;", "", "gemm float32", "crashed"),
    "hangs": ("if (m == 64 && n == 96) for (;;) sleep(1);", "sum += x * y;", "", "gemm float32", "hung"),
    "reads the old result": ("", "sum += x * y;", "if (!beta && m > 60) c[0] += 0 * keep;", "alpha and beta of 0", "failed"),
    "writes behind a row": ("", "sum += x * y;", "if (ldc > n) c[n] = 0;", "gaps", "failed"),
    "writes too far": (
        "", "sum += x * y;", "volatile float *p = c + (long)(m - 1) * ldc + n; *p = *p;", "edges of memory", "crashed",
    ),
    "takes NaN for 0": ("", "if (x == x && y == y) sum += x * y;", "", "NaN and infinity", "failed"),
    "loses the smallest": ("", "sum += x * y < 1e-38 && x * y > -1e-38 ? 0 : x * y;", "", "smallest numbers", "failed"),
    "is not re-entrant": (
        "static float held[1 << 16]; if (m * k < 1 << 16 && ta == 111 && order == 101) {"
        "for (int i = 0; i < m; i++) memcpy(held + i * k, a + (long)i * lda, 4 * k); usleep(50); a = held; lda = k; }",
        "sum += x * y;", "", "several Python threads", "failed",
    ),
}  # fmt: skip
SGEMM = SGEMM.replace("  BEFORE", "  float keep = c && m > 7 && n > 0 ? c[0] : 0; (void)keep;\n  BEFORE")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no compiler")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_library_that_is_wrong_on_purpose_is_found(fault, tmp_path, monkeypatch):
    below = next((name for name in ("reference", "openblas", "blis") if name in LIBRARIES), None)
    if below is None:
        pytest.skip("there is no plain library to put the wrong one over")
    before, term, after, name, verdict = FAULTS[fault]
    (tmp_path / "wrong.c").write_text(SGEMM.replace("BEFORE", before).replace("TERM", term).replace("AFTER", after))
    library = tmp_path / "libwrong.so"
    subprocess.run(
        ["gcc", "-O1", "-shared", "-fPIC", "-o", library, tmp_path / "wrong.c", "-Wl,--no-as-needed", blas.find(below).path],
        check=True,
    )
    if verdict == "hung":
        monkeypatch.setitem(case.CASES, name, case.CASES[name]._replace(seconds=4))
    found = verify.verify(str(library), [name])
    assert [row.verdict for row in found.rows] == [verdict], found.rows
    assert found.right == (verdict == "passed")


def test_every_case_comes_to_an_end_with_the_library_in_force():
    """Installed libraries have faults – OpenBLAS's AVX-512 kernels read operands under alpha 0 – but none of them ends a case."""
    found = verify.verify(blas.current().name, programs=False)
    assert [row.case for row in found.rows] == list(verify.CASES)
    assert {row.verdict for row in found.rows} <= {"passed", "failed"}, found.rows
    assert all(row.verdict == "passed" for row in found.rows if row.case.startswith(("gemm", "gemv", "level", "fork"))), found.rows


@pytest.mark.skipif("xblat3s" not in rest.installed(), reason="libblas-test is not installed")
def test_debians_test_programs_run_on_the_library(monkeypatch):
    name = next((name for name in ("blis", "atlas", "reference") if name in LIBRARIES), None)
    if name is None:
        pytest.skip("no library that stands in for libblas.so.3 is here")
    for program in ("xblat1d", "xblat2c", "xblat3s"):
        row = runner._program(blas.find(name), program)
        assert row.verdict == "passed", row
        assert int(row.detail.split()[0]) > 5


def test_a_file_that_is_no_library_has_one_row(tmp_path):
    (tmp_path / "libnone.so").write_bytes(b"not a library")
    [row] = verify.verify(str(tmp_path / "libnone.so")).rows
    assert row.verdict == "crashed"


def test_what_is_not_there_is_named():
    with pytest.raises(ArgumentError, match="no case 'magic'"):
        verify.verify(blas.current().name, ["magic"])
    with pytest.raises(LibraryNotFound):
        verify.verify("magic")


def test_junit_counts_what_was_wrong():
    words = ("passed", "fine & <good>"), ("failed", "wrong"), ("crashed", "SIGSEGV"), ("hung", "no end"), ("skipped", "not here")
    rows = [verify.Row(f"case {number}", *word, 0.1) for number, word in enumerate(words)]
    text = verify.as_junit([verify.Verification("openblas", "/x", "0.3", "Haswell", rows)])
    suite = ElementTree.fromstring(text)[0]
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5", "failures": "1", "errors": "2", "skipped": "1",
    }  # fmt: skip
    assert [entry[0].tag for entry in suite.findall("testcase")] == ["system-out", "failure", "error", "error", "skipped"]
