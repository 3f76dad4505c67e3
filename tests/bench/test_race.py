"""Traces, races and what is said of them: shapes come back, wrong files are named, noise is not taken for news."""

import contextlib
import json
import os
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import mlkit
from mlkit import bench, blas, nn, ops, optim
from mlkit import kernels as k
from mlkit.bench import machine, outcome, product, statistic, step, suite
from mlkit.bench.race import Item, Measured, Outcome, Runner, as_json, from_json, race, total
from mlkit.bench.trace import Trace, Tracer, chrome, summary
from mlkit.errors import ArgumentError, DataError
from tests.conftest import LIBRARIES


def command(*arguments, cwd=None):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MLKIT_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "mlkit", *map(str, arguments)], env=env, capture_output=True, text=True, timeout=300, cwd=cwd
    )


def a_trace():
    """Of a perceptron's steps, and of every other kernel of blas."""
    mlkit.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    optimizer = optim.Adam(model.parameters())
    x, y = np.ones((4, 6), np.float32), np.zeros(4, int)
    with Tracer() as tracer:
        for _ in range(3):
            optimizer.zero_grad()
            ops.cross_entropy(model(x), y).backward()
            optimizer.step()
        stacks = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
        blas.gemm(stacks, stacks.transpose(0, 1, 3, 2))
        blas.axpy(np.ones(7), np.ones(14)[::2], 0.5)
        blas.dot(np.ones(3, np.complex64), np.ones(3, np.complex64))
        blas.gemm(np.eye(3), np.eye(3), np.eye(3), alpha=2.0, beta=0.5)
    return tracer.trace("a test")


def test_a_trace_knows_layers_phases_and_counts():
    found = {(p.layer, p.phase, str(p)): p.times for p in a_trace().products}
    assert found["0", "forward", "4×6×5 NN"] == 3
    assert found["2", "backward", "4×3×5 NT"] == 3
    assert any(name.startswith("6·(4×5×4) N") for _, _, name in found)
    assert any(name.startswith("inner_product") for _, _, name in found)


def test_a_captured_step_is_traced_as_an_eager_one():
    mlkit.manual_seed(0)
    model = nn.Linear(4, 2)

    def forward(x):
        return ops.sum(model(x))

    captured, x = mlkit.capture(forward), np.ones((3, 4), np.float32)
    captured(x)
    traces = []
    for run in (forward, captured):
        with Tracer() as tracer:
            run(x)
        traces.append([(str(p), p.times, p.phase) for p in tracer.trace("").products])
    assert traces[0] == traces[1]


def test_a_product_that_is_made_again_lies_as_it_lay(tmp_path):
    trace = a_trace()
    trace.save(os.fspath(tmp_path / "t.json"))
    again = Trace.load(os.fspath(tmp_path / "t.json"))
    assert again.products == trace.products
    assert again.flops == trace.flops
    rng = np.random.default_rng(0)
    for one in again.products:
        operands = one.made(rng)
        arrays = [x for x in operands if isinstance(x, np.ndarray)]
        assert [(x.shape, x.strides) for x in arrays] == [(x.shape, x.strides) for x in one.arrays]
        before = [x.copy() if isinstance(x, np.ndarray) else x for x in operands]
        function, arguments = one.bound(operands)
        function(*arguments)
        if one.kernel == "matrix_product":
            a, b, alpha, beta, out = before
            assert np.allclose(operands[-1], alpha * (a @ b) + (beta * out if beta else 0), atol=1e-4)


def test_operands_that_shared_memory_share_it_again():
    a = np.ones((3, 3))
    with Tracer() as tracer:
        blas.gemm(a, a)
    [one] = tracer.trace("").products
    left, right, *_, out = one.made(np.random.default_rng(0))
    assert np.shares_memory(left, right)
    assert not np.shares_memory(left, out)


def test_the_sentences_and_the_timeline_say_what_was_made():
    trace = a_trace()
    words = " ".join(summary(trace, 100.0))
    assert "of them make" in words
    assert "GFLOP/s" in words
    events = chrome(trace)["traceEvents"]
    assert len(events) == sum(p.times for p in trace.products)
    assert all(event["dur"] >= 0 and event["ph"] == "X" for event in events)


def edited(tmp_path, change):
    trace = a_trace()
    path = tmp_path / "t.json"
    trace.save(os.fspath(path))
    found = json.loads(path.read_text())
    found = change(found) or found
    path.write_text(found if isinstance(found, str) else json.dumps(found))
    return os.fspath(path)


def first(found):
    return found["products"][0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: json.dumps(f)[:500], "no JSON"),
        (lambda f: "[" * 100_000, "no JSON"),
        (lambda f: f.update(version=2), "version 2"),
        (lambda f: f.update(format="other"), "format"),
        (lambda f: f.pop("products") and None, "damaged"),
        (lambda f: f.update(products=[]), "no products"),
        (lambda f: first(f).update(kernel="exec"), "cannot be made"),
        (lambda f: first(f).update(dtype="O"), "cannot be made"),
        (lambda f: first(f).update(times=0), "cannot be made"),
        (lambda f: first(f)["operands"][0].update(shape=[1 << 40, 6]), "cannot be made"),
        (lambda f: first(f)["operands"][0].update(shape=[5, 6]), "cannot be made"),
        (lambda f: first(f)["operands"][0].update(strides=[-24, 4]), "cannot be made"),
        (lambda f: first(f)["operands"][0].update(strides=[3, 1]), "cannot be made"),
        (lambda f: first(f)["operands"][0].update(memory=4), "cannot be made"),
        (lambda f: first(f)["operands"][-1].update(memory=0), "cannot be made"),
        (lambda f: first(f).update(operands=[1.0]), "cannot be made"),
        (lambda f: f.update(timeline=[[10_000, 0, 0]]), "timeline"),
    ],
)
def test_a_trace_that_is_damaged_or_hostile_is_named(change, words, tmp_path):
    with pytest.raises(DataError, match=words):
        Trace.load(edited(tmp_path, change))


def test_a_program_is_traced_and_replayed_on_the_command_line(tmp_path):
    (tmp_path / "script.py").write_text(
        "import numpy as np\nfrom mlkit import blas\nfor _ in range(5): blas.gemm(np.ones((30, 20)), np.ones((20, 10)))\n"
    )
    done = command("trace", "--timeline", "timeline.json", "--", "python", "script.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "30×20×10 NN" in done.stdout
    assert [p.times for p in Trace.load(os.fspath(tmp_path / "trace.json")).products] == [5]
    assert json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    names = ",".join(LIBRARIES[:2])
    done = command("bench", "replay", "trace.json", "--blas", names, "--rounds", "3", "--json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = outcome.load(os.fspath(tmp_path / "r.json"))
    assert found.finished
    assert [r.library for r in found.runners] == LIBRARIES[:2]
    assert all(len(seconds) == 3 for seconds in found.measured[0].seconds)
    done = command("bench", "compare", "r.json", "r.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 slower" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trace", "--"], "no command"),
        (["trace", "--", "no-such-program"], "cannot be run"),
        (["trace", "--out", "/nowhere/t.json", "--", "true"], "cannot be written"),
        (["bench", "replay", "/nowhere.json"], "cannot be read"),
        (["bench", "gemm", "--rounds", "1"], "at least 3"),
        (["bench", "gemm", "--blas", "magic"], "magic"),
        (["bench", "deepbench", "--sets", "magic"], "magic"),
        (["bench", "deepbench", "--most", "0"], "small"),
        (["bench", "isa", "magic"], "magic"),
        (["bench", "compare", __file__, __file__], "no JSON"),
    ],
)
def test_wrong_input_is_one_line(arguments, words, tmp_path):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


def test_a_program_without_products_says_so(tmp_path):
    done = command("trace", "--", "true", cwd=tmp_path)
    assert done.returncode == 1
    assert "no product" in done.stdout


def noisy(rng, seconds, spread=0.05, rounds=15):
    return list(seconds * np.exp(rng.normal(0, spread, rounds)))


def test_what_is_twice_as_fast_is_found_and_what_is_not_is_not():
    rng = np.random.default_rng(0)
    slow, fast = noisy(rng, 2.0), noisy(rng, 1.0)
    found = statistic.compare(slow, fast)
    assert found.low < 2 < found.high or abs(found.ratio - 2) < 0.1
    assert found.verdict == "faster"
    assert statistic.compare(fast, slow).verdict == "slower"
    assert statistic.compare(slow, fast, floor=1.5).verdict == "cannot tell"
    wrong = sum(statistic.compare(noisy(rng, 1.0), noisy(rng, 1.0)).verdict != "cannot tell" for _ in range(200))
    assert wrong < 25  # one in twenty, and some


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = sum(c.low <= 1.3 <= c.high for c in (statistic.compare(noisy(rng, 1.3), noisy(rng, 1.0)) for _ in range(300)))
    assert 0.88 < held / 300 <= 1


def test_two_rounds_tell_nothing():
    assert statistic.compare([2.0, 2.0], [1.0, 1.0]).verdict == "cannot tell"


def test_noise_and_drift_are_measured():
    assert statistic.noise_floor([1.0, 1.1, 0.9, 1.0], [1.0, 1.1, 0.9, 1.0]) == 0
    assert statistic.noise_floor([1.0] * 5, [1.1] * 5) == pytest.approx(0.1)
    assert statistic.drift([1, 1, 1, 2, 2, 2]) == 1
    assert statistic.compare_apart([2.0] * 9, [1.0] * 9).verdict == "faster"


def a_race():
    rng = np.random.default_rng(0)
    items = [Item("8×8×8 NN", product.gemm(8, 8, 8), "", 10, "one"), Item("4×4×4 NN", product.gemm(4, 4, 4), "", 1, "two")]
    runners = [
        Runner("openblas", 1, {"peak": 100.0, "bandwidth": 10.0, "version": "1"}),
        Runner("blis", 1, {"peak": 50.0, "version": "2"}),
    ]
    measured = [
        Measured(item, [noisy(rng, s), noisy(rng, 2 * s)], [1.0, 1.0], ["", ""], 0.02, [None, None])
        for item, s in zip(items, (1e-6, 2e-6))
    ]
    return Outcome("gemm", runners, measured, {"cpu": "x"}, 15, True, [0.5])


def test_a_race_is_told_in_tables_and_sentences():
    found = a_race()
    text = " ".join(outcome.sentences(found))
    assert "openblas is fastest in 2 of 2" in text
    assert outcome.table(found)[1][-3] == "openblas"
    assert total(found, "one")[1] == pytest.approx(2e-5, rel=0.1)
    rows = outcome.totals(found)
    assert [row[0] for row in rows[1:]] == ["one", "one", "two", "two"]
    assert rows[1][-1] == "n/a"


def test_what_was_measured_comes_back_from_its_file_and_damage_is_named():
    found = a_race()
    plain = json.loads(json.dumps(as_json(found)))
    again = from_json(plain, "x")
    assert again.measured == found.measured
    assert again.runners == found.runners
    for change in (
        lambda f: f["measured"][0]["seconds"].pop(),
        lambda f: f["measured"][0]["seconds"][0].append(-1),
        lambda f: f["measured"][0]["item"]["product"].update(kernel="exec"),
        lambda f: f.pop("runners"),
    ):
        broken = json.loads(json.dumps(plain))
        change(broken)
        with pytest.raises(DataError):
            from_json(broken, "x")


def test_files_are_as_their_schemas_say(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    a_trace().save(tmp_path / "trace.json")
    written = {"race": json.loads(json.dumps(as_json(a_race()))), "trace": json.loads((tmp_path / "trace.json").read_text())}
    for name, found in written.items():
        schema = json.loads(resources.files(bench).joinpath("files", f"{name}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(found, schema)
        for key in schema["required"]:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate({other: value for other, value in found.items() if other != key}, schema)


def test_energy_is_read_where_linux_counts_it(tmp_path, monkeypatch):
    """Two packages in microjoules; their parts, and other zones, are not counted twice."""
    monkeypatch.setattr(machine, "POWER", tmp_path)
    assert machine.energy() is None
    for zone, count in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 7_000_000), ("intel-rapl:0:0", 1_000_000), ("dtpm", 9)):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(f"{count}\n")
    assert machine.energy() == 12.0
    [found] = race("test", LIBRARIES[:1], [1], suite.gemms()[:1], rounds=3)
    assert found.measured[0].joules == [0.0]
    assert outcome.totals(found)[1][-1] == "0"


def test_two_races_are_compared_library_by_library():
    a, b = a_race(), a_race()
    b.measured[0].seconds[1][:] = [s / 3 for s in b.measured[0].seconds[1]]
    changes = {(c.item, c.runner): c.comparison.verdict for c in outcome.changes(a, b._replace(machine={"cpu": "y"}))}
    assert changes["8×8×8 NN", "blis, 1 thread"] == "faster"
    assert changes["8×8×8 NN", "openblas, 1 thread"] == "cannot tell"
    assert outcome.differences(a, b._replace(machine={"cpu": "y"})) == ["cpu: x then, y now"]
    with pytest.raises(DataError, match="in common"):
        outcome.changes(a, b._replace(runners=[Runner("atlas", 1, {})] * 2))


def test_an_interrupt_leaves_what_was_measured():
    found = None
    for found in race("test", LIBRARIES[:1], [1], suite.gemms()[:3], rounds=3):
        if len(found.measured) == 2:
            break
    assert found is not None
    assert not found.finished
    assert len(found.measured) == 2
    assert "interrupted" in " ".join(found.complaints)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is asked")
def test_whoever_kills_a_race_leaves_no_process_behind(tmp_path):
    """Between its turns a process is stopped, and would not see the end of its input."""
    code = "from mlkit.bench import suite; from mlkit.bench.race import race; list(race('x', ['NAME'] * 2, [2], suite.gemms(), 99))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MARK": str(tmp_path)}
    started = subprocess.Popen([sys.executable, "-c", code.replace("NAME", LIBRARIES[0])], env=env, stdout=subprocess.DEVNULL)

    def workers():
        """Their states, T for a stopped one."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.fsencode(f"MARK={tmp_path}") in (entry / "environ").read_bytes() and int(entry.name) != started.pid:
                    found.append((entry / "stat").read_text().rpartition(") ")[2][0])
        return found

    def wait(until):
        end = time.monotonic() + 60
        while not until() and time.monotonic() < end:
            time.sleep(0.05)
        return until()

    assert wait(lambda: workers().count("T") == 2)
    started.kill()
    started.wait()
    assert wait(lambda: not workers())


def test_a_full_disk_loses_the_file_alone(tmp_path):
    """What was measured is told, then that it could not be written. The limit of a file's size is a disk that is nearly full."""
    trace = a_trace()
    trace.save(tmp_path / "trace.json")
    limit = "import resource as r, mlkit.cli; r.setrlimit(r.RLIMIT_FSIZE, (3000, 3000)); raise SystemExit(mlkit.cli.main())"
    arguments = [
        "bench",
        "replay",
        tmp_path / "trace.json",
        "--blas",
        LIBRARIES[0],
        "--rounds",
        3,
        "--json",
        tmp_path / "race.json",
    ]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MLKIT_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", limit, *map(str, arguments)], env=env, capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 2, done.stderr
    assert "race.json cannot be written: File too large" in done.stderr
    assert "4×6×5" in done.stdout
    assert outcome.load(os.fspath(tmp_path / "race.json")).measured  # the last that found room


def test_a_library_that_cannot_be_started_is_a_row(tmp_path):
    (tmp_path / "libnone.so").write_bytes(b"no library")
    [found] = race("test", [LIBRARIES[0], os.fspath(tmp_path / "libnone.so")], [1], suite.gemms()[:1], rounds=3)
    assert found.runners[1].failure
    assert not found.measured[0].seconds[1]
    assert found.measured[0].seconds[0]
    assert "failed" in " ".join(outcome.sentences(found))


def test_the_page_is_whole_and_fetches_nothing():
    pytest.importorskip("matplotlib")
    from tests.tasks.test_tasks import Closed

    page = Closed(str(bench.paper.page(a_race())))
    assert not page.open
    assert not page.fetched


def test_deepbench_has_the_shapes_that_its_lists_have():
    """Counts from the lists, and one convolution and one product worked out by hand."""
    gemms = [item for item in suite.deepbench(["training"], most_bytes=1 << 62) if item.group == "gemm, training"]
    assert len(gemms) == 160
    small = [item for item in suite.deepbench(["training"], most_flops=2e9, most_bytes=1 << 62) if item.group == "gemm, training"]
    assert len(small) == 68
    names = {item.name for item in suite.deepbench(["training"], most_bytes=1 << 62) if item.group == "conv, training"}
    assert "107756×100×32 NT" in names  # 700×161×1, batch 4, 32 filters of 20×5, stride 2
    assert "16×1760×1760 NN" in {item.name for item in gemms}


def test_every_step_can_be_made_and_says_what_it_multiplies():
    for name in step.STEPS:
        products = step.products(name)
        assert products
        assert all(p.times >= 1 for p in products)
    phases = {p.phase for p in step.products("train:mlp")}
    assert phases == {"forward", "backward"}


def test_memory_that_is_too_small_is_refused_not_fatal():
    with pytest.raises(ArgumentError):
        suite.deepbench(["other"])
    huge = product.gemm(1 << 18, 1 << 18, 8)
    assert huge.size > 1 << 36
    with pytest.raises(DataError):
        product.decoded(product.encoded(huge))


def test_places_end_with_their_block():
    with k.at("layer", "forward"):
        with k.at(phase="backward"):
            assert k.place() == ("layer", "backward")
        assert k.place() == ("layer", "forward")
    assert k.place() == ("", "")


def test_a_tracer_everywhere_sees_other_threads_and_leaves_open_blocks_alone():
    """In a process of its own: what is seen everywhere is seen until the process ends."""
    code = """
import threading
import numpy as np
from mlkit import blas, kernels as k
from mlkit.bench import Tracer
tracer, a = Tracer(), np.ones((4, 4))
with blas.recording() as log:
    k.observe_everywhere(tracer)
thread = threading.Thread(target=lambda: blas.gemm(a, a))
thread.start()
thread.join()
blas.gemm(a, a)
print(len(log), [p.times for p in tracer.trace("").products])
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split(maxsplit=1) == ["0", "[2]\n"], done.stderr
