"""The command line, as a person meets it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from mlkit import bench, blas, cli
from mlkit.bench import contest

NAMES = [candidate.name for candidate, report in blas.available() if not report.failure]


def mlkit(*arguments, **environment):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    return subprocess.run([sys.executable, "-m", "mlkit", *arguments], env=env, capture_output=True, text=True, timeout=300)


def test_bench_trains_the_same_network_under_every_library(tmp_path):
    path = tmp_path / "found.json"
    done = mlkit("bench", "--quick", "--only", "digits,views", "--json", str(path))
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    for workload in ("digits", "views"):
        rows = [row for row in found["rows"] if row["workload"] == workload]
        assert [row["library"] for row in rows] == NAMES
        for row in rows:
            assert not row["failure"]
            assert row["facts"]["threads"] in (1, None)
            assert row["facts"]["peak"] > 0
            assert row["samples_per_second"] > 0
            assert row["largest_difference"] < 0.05, "the same training, to rounding"
            assert len(row["ratio"]) == 6
            assert row["ratio"] == sorted(row["ratio"])
            assert f"{row['library']}" in done.stdout
        assert rows[0]["largest_difference"] == 0
    assert done.stdout.strip().endswith(found["sentence"])
    assert found["machine"]["cpu"]


def test_bench_of_chosen_libraries_and_counts():
    threaded = next((n for n in NAMES if blas.resolve(n).report.adjustable), NAMES[0])
    done = mlkit("bench", "--quick", "--only", "digits", "--blas", threaded, "--threads", "1,2")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(threaded)]
    assert len(rows) == 2


def test_a_library_that_crashes_is_a_row_and_the_others_go_on(monkeypatch):
    rows = []
    for row in bench.compete([NAMES[0], "/nowhere/libblas.so"], [1], ["digits"], share=0.1):
        rows.append(row)
    assert [bool(row.failure) for row in rows] == [False, True]
    assert "no file" in rows[1].failure
    assert "failed" in bench.sentence(rows)


def test_a_worker_that_is_killed_is_a_row_and_the_others_go_on(monkeypatch):
    workers = []

    class Watched(contest.Entry):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            workers.append(self)

    def tell(done, total, text):
        if text.startswith("digits"):
            workers[-1]._process.kill()

    monkeypatch.setattr(contest, "Entry", Watched)
    rows = list(bench.compete([NAMES[0], NAMES[-1]], [1], ["digits"], share=0.1, tell=tell))
    assert rows[1].failure == "killed by SIGKILL"
    assert not rows[0].failure
    assert rows[0].score > 0.2
    assert "killed by SIGKILL" in str(bench.table(rows))


def test_an_interrupted_bench_ends_quietly():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "mlkit", "bench", "--only", "digits", "--epochs", "2000", "--blas", NAMES[0]],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell in the background starts us with it ignored
    )  # fmt: skip
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bench", "--blas", "nonsense"], "no BLAS is called"),
        (["bench", "--blas", "/nowhere/x.so"], "no file"),
        (["bench", "--blas", ","], "names no library"),
        (["bench", "--threads", "0"], "--threads=0"),
        (["bench", "--threads", "1000000"], "--threads=1000000"),
        (["bench", "--threads", "two"], "whole numbers"),
        (["bench", "--only", "nothing"], "no workload"),
        (["bench", "--epochs", "-1"], "--epochs"),
        (["bench", "--quick", "--only", "digits", "--blas", NAMES[0], "--json", "/nowhere/x.json"], "/nowhere/x.json"),
        (["blas", "info", "nonsense"], "no BLAS is called"),
        (["blas", "info", "/etc"], "not a file"),
    ],
)
def test_a_wrong_input_is_one_line_and_exit_code_2(arguments, words):
    done = mlkit(*arguments)
    if arguments[:2] == ["blas", "info"] and os.path.isdir(arguments[2]):
        assert done.returncode == 1
        assert words in done.stdout
        return
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("mlkit: ")
    assert words in done.stderr


def test_debug_shows_the_traceback():
    done = mlkit("--debug", "blas", "info", "nonsense")
    assert "Traceback" in done.stderr


def test_blas_list_names_every_library():
    done = mlkit("blas", "list")
    assert done.returncode == 0
    assert all(any(line.startswith(f"{name} ") for line in done.stdout.splitlines()) for name in NAMES)
    assert "in force: " in done.stdout
    found = json.loads(mlkit("blas", "list", "--json").stdout)
    assert [entry["name"] for entry in found if "failure" not in entry] == NAMES
    assert all(entry["integer_bits"] in (32, 64) for entry in found if "failure" not in entry)


@pytest.mark.parametrize("name", NAMES)
def test_blas_info_tells_what_is_known(name):
    found = json.loads(mlkit("blas", "info", name, "--json").stdout)
    assert found["name"] == name
    assert found["threads"] in (1, None)
    assert name in mlkit("blas", "info", name).stdout


def test_a_library_that_cannot_be_used_is_a_line_in_the_list(tmp_path):
    path = tmp_path / "libblis.so.4"
    path.write_text("no library")
    done = mlkit("blas", "list", LD_LIBRARY_PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0
    assert "unusable" in done.stdout


def test_output_to_a_closed_pipe_is_no_error():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = f"{sys.executable} -m mlkit blas list --json | head -c 1"
    done = subprocess.run(command, shell=True, env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith("mlkit 0.")


SEES = "import ctypes; ctypes.CDLL('libblas.so.3'); print(*{line.split()[-1] for line in open('/proc/self/maps') if '.so' in line})"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the loader of other systems has other variables")
@pytest.mark.parametrize("name", NAMES)
def test_run_puts_a_library_in_the_place_of_libblas(name, tmp_path):
    report = blas.report(blas.find(name))
    command = [
        "run",
        "--blas",
        name,
        "--threads",
        "1",
        "--",
        "sh",
        "-c",
        f'{sys.executable} -c "{SEES}"; echo $OMP_NUM_THREADS; exit 7',
    ]
    done = mlkit(*command, XDG_CACHE_HOME=str(tmp_path))
    if report.int64 or report.prefix or report.suffix:
        assert done.returncode == 2
        assert "cannot stand in for libblas.so.3" in done.stderr
        return
    assert done.returncode == 7, done.stderr
    assert blas.find(name).path in done.stdout.split(), "the library itself was loaded"
    assert done.stdout.split()[-1] == "1"


def test_run_refuses_a_numpy_that_brings_its_own_blas(tmp_path):
    usable = next((n for n in NAMES if not (r := blas.report(blas.find(n))).int64 and not r.prefix + r.suffix), None)
    if usable is None:
        pytest.skip("no library here can stand in for libblas.so.3")
    script = tmp_path / "script"
    script.write_text(f"#!{sys.executable}\nprint('it ran')\n")
    script.chmod(0o755)
    own = "numpy" in NAMES  # the copy in a wheel
    for command in ([sys.executable, "-c", "print('it ran')"], [str(script)]):
        done = mlkit("run", "--blas", usable, "--", *command)
        assert (done.returncode, "it ran" in done.stdout) == ((2, False) if own else (0, True)), done.stderr
        assert not own or "brings its own BLAS" in done.stderr


@pytest.mark.parametrize(("command", "words"), [([], "no command to run"), (["no-such-command"], "there is no command")])
def test_run_without_a_program_is_one_line(command, words):
    done = mlkit("run", "--blas", NAMES[0], "--", *command)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
