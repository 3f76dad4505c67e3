"""fit: what it learns, what it says, how it ends, and that it goes on to the same bits after a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import mlkit
from mlkit import data, io, models, nn, ops, optim, train
from mlkit.errors import ArgumentError, NonFiniteError, ShapeError
from mlkit.train import metric


@pytest.fixture
def digits():
    d = data.digits()
    return (d.x_train, d.y_train), (d.x_test, d.y_test)


def network(seed=0, sizes=(64, 32, 10)):
    mlkit.manual_seed(seed)
    return models.MLP(sizes)


def test_a_network_learns_digits_and_the_history_says_so(digits):
    model = network()
    history = train.fit(model, *digits, epochs=15, metrics=[metric.accuracy])
    assert history.names == ["epoch", "loss", "validation_loss", "validation_accuracy", "lr", "seconds"]
    assert len(history) == 15
    assert history["loss"][-1] < 0.2 * history["loss"][0]
    found = train.evaluate(model, digits[1], metrics=[metric.accuracy])
    assert found["accuracy"] == history["validation_accuracy"][-1] > 0.8
    assert not model.training
    assert history.best("validation_loss")["validation_loss"] == min(history["validation_loss"])


def test_fit_makes_the_same_steps_as_a_loop_by_hand(digits):
    (x, y), _ = digits
    a, b = network(), network()
    train.fit(a, (x, y), epochs=2, rng=np.random.default_rng(7), batch_size=100)
    optimizer, rng = optim.Adam(b.parameters()), np.random.default_rng(7)
    for _ in range(2):
        order = rng.permutation(len(x))
        for start in range(0, len(x), 100):  # the last batch has 37 rows
            rows = order[start : start + 100]
            optimizer.zero_grad()
            ops.cross_entropy(b(x[rows]), y[rows]).backward()
            optimizer.step()
    for name, value in a.state_dict().items():
        np.testing.assert_allclose(value, b.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_rows_of_weight_zero_teach_nothing(digits):
    (x, y), _ = digits
    weight = (np.arange(len(x)) % 2).astype(np.float32)
    a, b = network(), network()
    train.fit(a, data.DataLoader((x, np.where(weight > 0, y, 0), weight), 64), epochs=2)
    spoiled = x + 10 * (1 - weight)[:, None]
    train.fit(b, data.DataLoader((spoiled, y, weight), 64), epochs=2)
    for name, value in a.state_dict().items():
        np.testing.assert_allclose(value, b.state_dict()[name], atol=1e-6)


def test_class_weights_count_as_the_loss_of_pytorch_has_them(digits):
    (x, y), _ = digits
    counts = np.linspace(0.5, 2, 10, dtype=np.float32)
    a, b = network(), network()
    train.fit(a, data.DataLoader((x, y), 64), epochs=1, class_weight=counts)
    weighted = nn.CrossEntropyLoss(weight=counts)
    train.fit(b, data.DataLoader((x, y), 64), epochs=1, loss=lambda p, t: weighted(p, t))
    for name, value in a.state_dict().items():
        np.testing.assert_allclose(value, b.state_dict()[name], rtol=1e-3, atol=1e-5)


def test_accumulated_batches_step_like_one_large_batch(digits):
    (x, y), _ = digits
    a, b = network(), network()
    optimizers = [optim.SGD(model.parameters(), lr=0.1) for model in (a, b)]
    train.fit(a, data.DataLoader((x[:1280], y[:1280]), 32), optimizer=optimizers[0], epochs=2, accumulate=4, clip_norm=0.5)
    train.fit(b, data.DataLoader((x[:1280], y[:1280]), 128), optimizer=optimizers[1], epochs=2, clip_norm=0.5)
    for name, value in a.state_dict().items():
        np.testing.assert_allclose(value, b.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_an_objective_trains_what_has_no_targets(digits):
    (x, _), _ = digits
    mlkit.manual_seed(0)
    model = models.VAE(64, 32, 4)
    history = train.fit(model, (x,), objective=lambda x: model.loss(x), epochs=3)
    assert history["loss"][-1] < history["loss"][0]


def test_early_stopping_puts_the_best_weights_back(digits):
    model = network()
    stopping = train.EarlyStopping(patience=3)
    history = train.fit(
        model,
        (digits[0][0][:100], digits[0][1][:100]),
        digits[1],
        epochs=300,
        callbacks=[stopping],
        optimizer=optim.Adam(model.parameters(), 0.02),
    )
    assert len(history) < 300
    assert "was best" in history.stopped
    best = history.best("validation_loss")
    assert best["epoch"] == stopping.best_epoch == len(history) - 3
    assert train.evaluate(model, digits[1])["loss"] == best["validation_loss"]


def test_logs_hold_the_history(digits, tmp_path):
    logs = [train.CSVLog(tmp_path / "log.csv"), train.JSONLog(tmp_path / "log.jsonl")]
    statistics = train.Statistics()
    history = train.fit(network(), digits[0], epochs=2, callbacks=[*logs, statistics])
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == history["loss"]
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == history.rows
    assert len(statistics.rows) == 2
    assert statistics.rows[0]["0.weight.grad"] > 0


def test_tensorboard_reads_the_event_files(digits, tmp_path):
    pytest.importorskip("tensorboardX")
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    history = train.fit(network(), digits[0], epochs=2, callbacks=[train.TensorBoard(tmp_path)])
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    np.testing.assert_allclose([event.value for event in events.Scalars("loss")], history["loss"], rtol=1e-6)


def test_a_loss_that_is_no_number_names_its_place(digits):
    x = digits[0][0].copy()
    x[40] = np.nan
    with pytest.raises(NonFiniteError, match="epoch 1, batch 2"):
        train.fit(network(), data.DataLoader((x, digits[0][1]), 32), epochs=1)


def test_an_interrupt_ends_cleanly_with_what_was_reached(digits):
    class Impatient(train.Callback):
        ended = False

        def batch(self, run):
            if run.steps == 60:
                os.kill(os.getpid(), signal.SIGINT)

        def end(self, run):
            self.ended = True

    impatient, before = Impatient(), signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        history = train.fit(network(), digits[0], epochs=50, callbacks=[impatient])
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.stopped == "interrupted"
    assert impatient.ended
    assert len(history) == 1


def test_the_rate_finder_leaves_everything_as_it_was(digits):
    model = network()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    before = model.state_dict()
    rates, losses = train.find_lr(model, digits[0], optimizer=optimizer, steps=60, high=10.0)
    assert len(rates) == len(losses) > 20
    assert losses.min() < losses[0]
    assert optimizer.lr == pytest.approx(3e-3)
    assert all((value == before[name]).all() for name, value in model.state_dict().items())


def test_schedules_step_when_they_are_told_to(digits):
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    by_epoch = train.fit(model, digits[0], optimizer=optimizer, epochs=3, schedule=optim.ExponentialLR(optimizer, 0.5))
    assert by_epoch["lr"] == [1.0, 0.5, 0.25]
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    each = train.fit(
        model,
        digits[0],
        optimizer=optimizer,
        epochs=1,
        schedule=optim.ExponentialLR(optimizer, 0.5),
        each_step=True,
        batch_size=500,
    )
    assert each["lr"] == [1 / 8]


def test_wrong_inputs_are_one_clear_error(digits):
    (x, y), _ = digits
    with pytest.raises(ShapeError, match="targets"):
        train.fit(network(sizes=(64, 3)), (x, np.zeros((len(x), 2), np.float32)), epochs=1)
    with pytest.raises(ShapeError, match="rows"):
        train.fit(network(), (x, y[:-1]), epochs=1)
    with pytest.raises(ArgumentError, match="class_weight"):
        train.fit(network(), (x, y), epochs=1, class_weight=[1, 2])
    with pytest.raises(ArgumentError, match="val_loss"):
        train.fit(network(), (x, y), epochs=1, callbacks=[train.EarlyStopping("val_loss")])
    with pytest.raises(ArgumentError, match="cannot be written"):
        train.fit(network(), (x, y), epochs=1, callbacks=[train.CSVLog("/nowhere/log.csv")])


SCRIPT = """
import sys
import mlkit
from mlkit import data, io, nn, optim, train

mlkit.manual_seed(0)
d = data.digits()
model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.BatchNorm1d(64), nn.Linear(64, 10))
optimizer = optim.AdamW(model.parameters())
callbacks = [io.Checkpoint(sys.argv[1]), train.EarlyStopping(patience=100)]
train.fit(
    model, (d.x_train, d.y_train), (d.x_test, d.y_test), optimizer=optimizer, epochs=40, callbacks=callbacks,
    schedule=optim.OneCycleLR(optimizer, 3e-3, total_steps=40 * 45), each_step=True,
)
io.save_tensors(model.state_dict(), sys.argv[2])
"""


def test_a_killed_training_goes_on_to_the_same_bits(tmp_path):
    def start(name):
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / name), str(tmp_path / f"{name}.end")])

    assert start("whole").wait(120) == 0
    for epoch in (2, 9):
        process = start("killed")
        deadline = time.monotonic() + 60
        while _epoch(tmp_path / "killed") < epoch and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert start("killed").wait(120) == 0
    assert (tmp_path / "killed.end").read_bytes() == (tmp_path / "whole.end").read_bytes()


def _epoch(path):
    try:
        return json.loads(io.load_tensors(path)[1]["checkpoint"])["epoch"]
    except mlkit.MlkitError:
        return -1
