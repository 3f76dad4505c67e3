"""The probe survives libraries that trap, exit, hang or are none; reports are cached by identity."""

import json
import shutil
import subprocess

import pytest

from mlkit import blas
from mlkit.blas import catalog, elf, probe, threads
from mlkit.errors import BlasError

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")

HOSTILE = {
    "traps": ("void __attribute__((constructor)) f(void) { __builtin_trap(); }", r"SIGILL|SIGTRAP|SIGABRT"),
    "segfaults": ("void __attribute__((constructor)) f(void) { *(volatile int *)0 = 1; }", "SIGSEGV"),
    "exits": ("#include <stdlib.h>\nvoid __attribute__((constructor)) f(void) { exit(3); }", "exit code 3"),
    "exits quietly": ("#include <unistd.h>\nvoid __attribute__((constructor)) f(void) { _exit(0); }", "exit code 0"),
    "hangs": ("#include <unistd.h>\nvoid __attribute__((constructor)) f(void) { for (;;) sleep(1); }", "did not answer"),
    "no blas": ("int nothing(void) { return 0; }", "no cblas_sgemm"),
    "undefined symbol": ("void missing(void);\nvoid f(void) { missing(); }", "undefined symbol"),
    "wrong": (
        "#include <stddef.h>\nsize_t cblas_isamax(long n, const float *x, long i) { return (int)n == 3; }\n"
        "void cblas_sgemm() {}\nvoid cblas_dgemm() {}",
        "wrong",
    ),
}


@needs_compiler
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_library_is_one_clear_error(kind, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(probe, "TIMEOUT", 3.0)
    code, reason = HOSTILE[kind]
    (tmp_path / "lib.c").write_text(code)
    path = tmp_path / "libhostile.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", path, tmp_path / "lib.c"], check=True)
    with pytest.raises(BlasError, match=reason):
        blas.use(path)


def test_a_report_is_cached_and_renewed_when_the_file_changes(cache, monkeypatch):
    candidate = blas.find(blas.current().name)
    first = blas.report(candidate)
    monkeypatch.setattr(probe, "_ask_child", lambda *_: pytest.fail("asked again"))
    assert blas.report(candidate) == first
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Other")  # another kernel set is another library
    with pytest.raises(pytest.fail.Exception):
        blas.report(candidate)


def test_a_failure_is_not_cached(tmp_path, cache):
    path = tmp_path / "libx.so"
    path.write_text("")
    for _ in range(2):
        assert blas.report(catalog.at(str(path))).failure
    assert not probe.cache_file().exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "\0\0"])
def test_a_damaged_cache_costs_time_only(content, cache):
    probe.cache_file().parent.mkdir(parents=True)
    probe.cache_file().write_text(content)
    assert not blas.report(blas.find(blas.current().name)).failure


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not blas.report(blas.find(blas.current().name)).failure


def test_the_child_needs_nothing_but_the_standard_library():
    candidate = blas.find(blas.current().name)
    done = subprocess.run(
        ["python3", "-I", "-S", probe.__file__, candidate.path, candidate.threading], capture_output=True, text=True
    )
    assert json.loads(done.stdout)["vendor"] == blas.current().report.vendor


def test_debian_shims_are_resolved_to_the_implementation(tmp_path):
    (tmp_path / "libblas.so.3").write_text("")
    assert catalog.implementation(str(tmp_path / "libblas.so.3")) == str(tmp_path / "libblas.so.3")
    (tmp_path / "libblis.so.4").write_text("")
    assert catalog.implementation(str(tmp_path / "libblas.so.3")) == str(tmp_path / "libblis.so.4")


def test_two_files_of_one_name_are_told_apart(tmp_path, monkeypatch):
    for part in ("one", "two"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "libblis.so.9").write_text("")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/one:{tmp_path}/two")
    names = [c.name for c in catalog.candidates() if c.path.startswith(str(tmp_path))]
    assert len(names) == len(set(names)) == 2


def test_mkl_is_opened_through_a_stub_and_an_old_one_directly(tmp_path):
    for part in ("rt", "intel_lp64", "core", "sequential"):
        (tmp_path / f"libmkl_{part}.so.3").write_text("")
    found = catalog.at(str(tmp_path / "libmkl_rt.so.3"))
    assert [path.split("libmkl_")[1] for path in found.needed] == ["intel_lp64.so.3", "sequential.so.3", "core.so.3"]
    (tmp_path / "libmkl_rt.so").write_text("")
    assert catalog.at(str(tmp_path / "libmkl_rt.so")).needed == ()


@pytest.mark.skipif(not elf.supported() or shutil.which("readelf") is None, reason="no readelf")
def test_the_stub_is_a_shared_object_that_needs_what_it_was_told(tmp_path):
    path = tmp_path / "stub.so"
    path.write_bytes(elf.stub(["/one/liba.so", "/two/libb.so"], "libstub.so"))
    shown = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
    assert shown.index("[/one/liba.so]") < shown.index("[/two/libb.so]")
    assert "[libstub.so]" in shown


def test_a_stub_gives_its_libraries_one_private_scope(tmp_path):
    import ctypes

    if not elf.supported():
        return
    path = tmp_path / "stub.so"
    path.write_bytes(elf.stub([blas.current().path]))
    handle = probe.open_shared(str(path))
    assert any(probe.symbol(handle, f"{p}cblas_sgemm{s}") for p, s in probe.AFFIXES)
    assert not hasattr(ctypes.CDLL(None), "mkl_serv_get_version")


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, float("inf")),
        ({"a/cpu.max": "50000 100000", "cpu.max": "100000 100000"}, 0.5),
        ({"a/cpu.max": "rubbish"}, float("inf")),
        ({}, float("inf")),
    ],
)
def test_the_cgroup_quota_is_read_from_all_levels(tmp_path, files, cpus):
    (tmp_path / "a").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "membership").write_text("0::/a\n")
    assert threads._quota(tmp_path, tmp_path / "membership") == cpus


def test_the_quota_of_cgroup_v1(tmp_path):
    directory = tmp_path / "cpu,cpuacct" / "a"
    directory.mkdir(parents=True)
    (directory / "cpu.cfs_quota_us").write_text("200000")
    (directory / "cpu.cfs_period_us").write_text("100000")
    (tmp_path / "membership").write_text("3:memory:/a\n4:cpu,cpuacct:/a\n")
    assert threads._quota(tmp_path, tmp_path / "membership") == 2


def test_the_openmp_runtime_of_a_library_is_found_at_either_end_of_the_file(tmp_path):
    path = tmp_path / "lib.so"
    for content, found in (
        (b"\x7fELF\0libm.so.6\0libgomp.so.1\0", ["libgomp.so.1"]),
        (b"\0/opt/lib/libiomp5.so\0" + bytes(9 << 20), ["/opt/lib/libiomp5.so"]),
        (bytes(9 << 20) + b"\0libgomp.so.1\0", ["libgomp.so.1"]),
        (b"\0libm.so.6\0", []),
        (b"", []),
    ):
        path.write_bytes(content)
        assert probe.openmp_runtimes(str(path)) == found
    assert probe.openmp_runtimes(str(tmp_path / "none")) == []


@pytest.mark.skipif(not elf.supported() or shutil.which("/usr/bin/python3") is None, reason="no Debian Python")
def test_an_mkl_behind_a_stub_works_in_an_executable_that_has_its_own_environ(tmp_path):
    """Debian's python3 keeps a copy of `environ`; an OpenMP runtime opened with RTLD_DEEPBIND misses it and crashes."""
    found = [c for c in catalog.candidates() if c.name == "mkl" and c.needed]
    if not found:
        return
    path = tmp_path / "stub.so"
    path.write_bytes(elf.stub(found[0].needed))
    command = ["/usr/bin/python3", "-I", "-S", probe.__file__, str(path), found[0].threading]
    assert json.loads(subprocess.run(command, capture_output=True, text=True).stdout)["vendor"] == "mkl"
