"""A training step on one thread and on several: the same losses, whichever strategy is chosen."""

import gc
import os
import warnings
from functools import partial

import numpy as np
import pytest

import mlkit
from mlkit import blas, nn, ops, optim
from mlkit.errors import ArgumentError, PlanError
from mlkit.plan.elsewhere import Elsewhere
from mlkit.train import Step
from mlkit.train.step import _fastest


def network(*more):
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), *more, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 16, 3))


ADAM = partial(optim.Adam, lr=0.01)


def losses(threads, more=(), strategy=None, batch=7, optimizer=ADAM, kill=False):
    mlkit.manual_seed(3)
    model = network(*more)
    if strategy == "processes" and not hasattr(os, "memfd_create"):
        pytest.skip("memory cannot be shared with another process here")
    step = Step(lambda x, y: ops.cross_entropy(model(x), y), optimizer(model.parameters()), threads, strategy or "fastest")
    rng, found = np.random.default_rng(1), []
    for number in range(6):
        if number == 3 and kill:
            next(iter(step._parts.values())).others[0]._process.kill()
        x, y = rng.standard_normal((batch, 1, 8, 8), dtype=np.float32), rng.integers(0, 3, batch)
        found.append(step(x, y).item())
    return found, step


def adjustable():
    return pytest.mark.skipif(not blas.current().report.adjustable, reason="one thread only")


def test_one_thread_is_the_captured_step():
    model_losses, step = losses(1)
    mlkit.manual_seed(3)
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    rng = np.random.default_rng(1)
    for expected in model_losses:
        x, y = rng.standard_normal((7, 1, 8, 8), dtype=np.float32), rng.integers(0, 3, 7)
        optimizer.zero_grad()
        loss = ops.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        assert loss.item() == expected
    assert list(step.strategies.values()) == ["blas"]


@adjustable()
@pytest.mark.parametrize("strategy", ["parts", "processes", "one", "blas", None])
@pytest.mark.parametrize("batch", [2, 7])
def test_parts_of_a_batch_make_the_step_of_the_whole(strategy, batch):
    alone, _ = losses(1, batch=batch)
    together, step = losses(2, strategy=strategy, batch=batch)
    assert np.allclose(alone, together, rtol=1e-5)
    assert step.strategies
    if strategy:
        assert list(step.strategies.values()) == [strategy]


@adjustable()
def test_processes_make_the_bits_of_threads_and_end_with_the_step():
    in_threads, _ = losses(2, strategy="parts")
    in_processes, step = losses(2, strategy="processes")
    assert in_processes == in_threads
    [parts] = step._parts.values()
    process = parts.others[0]._process
    assert process.poll() is None
    del parts, step
    gc.collect()
    assert process.poll() == 0


@adjustable()
def test_a_process_that_was_killed_is_done_without():
    expected, _ = losses(1)
    found, step = losses(2, strategy="processes", kill=True)
    assert np.allclose(found, expected, rtol=1e-5)
    assert list(step.strategies.values()) == ["blas"]
    assert not step._parts


@adjustable()
def test_who_watches_the_calls_sees_all_of_them():
    x, y, work = np.zeros((7, 1, 8, 8), np.float32), np.zeros(7, int), []
    for step in (losses(1)[1], losses(2, strategy="processes")[1]):
        with blas.recording() as log:
            step(x, y)
        work.append(sum(call.flops for call in log))
    assert work[0] == work[1]
    assert next(iter(step._parts.values())).others  # they wait for the next step


@adjustable()
def test_a_child_of_this_program_leaves_the_processes_alone():
    _, step = losses(2, strategy="processes")
    x, y = np.zeros((7, 1, 8, 8), np.float32), np.zeros(7, int)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of threads beside a fork
        child = os.fork()
    if not child:  # pragma: no cover
        try:
            os.write(
                writing, b"1" if np.isfinite(step(x, y).item()) and step.strategies[next(iter(step.strategies))] == "blas" else b"0"
            )
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"1"
    os.close(reading)
    os.waitpid(child, 0)
    assert np.isfinite(step(x, y).item())
    assert list(step.strategies.values()) == ["processes"]


def test_a_plan_that_draws_cannot_be_replayed_elsewhere():
    mlkit.manual_seed(3)
    layer = nn.Dropout(0.5)
    run = mlkit.capture(lambda x: ops.sum(layer(x)))
    run(np.ones((4, 5), np.float32))
    with pytest.raises(PlanError, match="cannot be saved"):
        Elsewhere(run.plan, blas.current())


@adjustable()
@pytest.mark.parametrize("more", [{}, {"momentum": None}, {"track_running_stats": False}, {"affine": False}])
@pytest.mark.parametrize("batch", [4, 7])
def test_processes_tell_each_other_what_batch_normalisation_wants_to_know(more, batch):
    """The same losses and running statistics as those of the whole batch."""
    found, layers = [], [nn.BatchNorm2d(4, **more) for _ in range(2)]
    for threads, layer in zip((1, 2), layers):
        # not Adam, which makes steps of the noise that the gradient of a bias before a normalisation is
        optimizer = partial(optim.SGD, lr=0.1, momentum=0.9)
        found.append(losses(threads, [layer], "processes" if threads > 1 else None, batch, optimizer)[0])
    assert np.allclose(*found, rtol=1e-4)
    one, other = (layer.state_dict() for layer in layers)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.allclose(value, other[name], rtol=1e-3, atol=1e-5), name


@adjustable()
def test_parts_in_threads_are_not_offered_to_batch_normalisation():
    _, step = losses(2, [nn.BatchNorm2d(4)], strategy="parts")
    assert list(step.strategies.values()) == ["blas"]
    assert not step._parts


@adjustable()
def test_a_process_that_was_killed_in_an_exchange_is_done_without():
    _, step = losses(2, [nn.BatchNorm2d(4)], strategy="processes")
    [parts] = step._parts.values()
    parts.others[0]._process.kill()
    x, y = np.random.default_rng(1).standard_normal((7, 1, 8, 8), dtype=np.float32), np.arange(7) % 3
    assert np.isfinite(step(x, y).item())
    assert set(step.strategies.values()) == {"blas"}


@adjustable()
@pytest.mark.parametrize("more", [[], [nn.BatchNorm2d(4)]])
def test_an_interrupt_leaves_no_process_in_the_middle_of_a_replay(more, monkeypatch, capfd):
    _, step = losses(2, more, strategy="processes")
    [parts] = step._parts.values()
    process = parts.others[0]._process
    x, y = np.random.default_rng(1).standard_normal((7, 1, 8, 8), dtype=np.float32), np.arange(7) % 3
    monkeypatch.setattr(parts.plans[0], "follow", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        step(x, y)
    assert process.poll() is not None
    assert not step._parts
    assert np.isfinite(step(x, y).item())
    assert "Traceback" not in capfd.readouterr().err


@adjustable()
def test_what_parts_would_change_is_not_parted():
    _, step = losses(2, [nn.Dropout(0.2)], strategy="parts")
    assert not step._parts
    assert list(step.strategies.values()) == ["blas"]


@adjustable()
def test_a_layer_that_leaves_nothing_out_does_not_keep_parts_away():
    _, step = losses(2, [nn.Dropout(0.0)], strategy="parts")
    assert step._parts


@adjustable()
def test_looking_for_parts_changes_no_statistics_and_draws_nothing():
    rngs, counts, found = [np.random.default_rng(5) for _ in range(2)], [], []
    for threads, rng in zip((1, 2), rngs):
        mlkit.manual_seed(3)
        model = network(nn.BatchNorm2d(4), nn.Dropout(0.2, rng=rng))
        step = Step(lambda x, y, model=model: ops.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.1), threads)
        x = np.random.default_rng(1).standard_normal((6, 1, 8, 8), dtype=np.float32)
        for _ in range(3):
            step(x, np.arange(6) % 3)
        counts.append(int(model.state_dict()["1.num_batches_tracked"]))
        found.append(model.state_dict()["1.running_mean"])
    assert counts == [3, 3]
    assert rngs[0].random() == rngs[1].random()
    assert np.allclose(*found, rtol=1e-4)


@adjustable()
def test_a_network_that_begins_to_train_is_not_replayed_as_it_was_in_use():
    mlkit.manual_seed(3)
    model = network(nn.Dropout(0.5)).eval()
    step = Step(lambda x, y: ops.cross_entropy(model(x), y), optim.SGD(model.parameters(), lr=0.0), 2)
    x, y = np.random.default_rng(1).standard_normal((6, 1, 8, 8), dtype=np.float32), np.arange(6) % 3
    assert len({step(x, y).item() for _ in range(4)}) == 1
    model.train()
    assert len({step(x, y).item() for _ in range(4)}) > 1


@adjustable()
def test_parameters_that_move_make_new_parts():
    _, step = losses(2, strategy="parts")
    before = list(step._parts.values())
    model = nn.Linear(2, 2)
    optim.SGD(model.parameters())  # moves parameters: every plan is stale
    x, y = np.zeros((7, 1, 8, 8), np.float32), np.zeros(7, int)
    step(x, y)
    assert before != list(step._parts.values())
    assert np.isfinite(step(x, y).item())


@adjustable()
def test_an_input_without_a_batch_is_not_parted():
    p = mlkit.Parameter(np.ones(3, np.float32))
    step = Step(lambda x, scale: ops.sum(p * p * x) * scale, optim.SGD([p], lr=0.1), 2)
    step(np.ones(3, np.float32), np.float32(0.5))
    assert list(step.strategies.values()) == ["blas"]
    assert np.allclose(p.data, 0.9)


def test_a_thread_count_that_makes_no_sense_is_refused():
    with pytest.raises(ArgumentError):
        Step(lambda x: x, optim.SGD([mlkit.Parameter(np.ones(1))]), 0)
    with pytest.raises(ArgumentError, match=r"halves.*one of fastest, blas, one, parts, processes"):
        Step(lambda x: x, optim.SGD([mlkit.Parameter(np.ones(1))]), strategy="halves")


@adjustable()
def test_the_contest_takes_what_usually_is_fastest_and_waits_for_the_threads_of_a_blas(monkeypatch):
    times = {"blas": iter([1.0] * 3 + [9.0] * 99), "processes": iter([7.0] * 3 + [5.0] * 99)}  # blas is lucky in one round
    done = []
    monkeypatch.setattr("mlkit.train.step._seconds", lambda name: done.append(name) or next(times[name]))
    monkeypatch.setattr("time.sleep", lambda seconds: done.append("pause"))
    assert _fastest({name: name for name in times}) == "processes"
    assert done[:7] == ["blas"] * 3 + ["pause"] + ["processes"] * 3


def test_a_short_step_on_one_thread_makes_its_bits():
    assert losses(2, strategy="one")[0] == losses(1)[0]
