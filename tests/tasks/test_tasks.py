"""The case studies really train: what they reach, what they leave, and what they say of wrong input."""

import html.parser
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from mlkit import data, io
from mlkit.tasks import Page, lecture


def mlkit(*arguments, stdin=None):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-m", "mlkit", *map(str, arguments)], env=env, capture_output=True, text=True, timeout=300, input=stdin
    )


class Closed(html.parser.HTMLParser):
    """Whether every tag is closed, and what would be fetched."""

    def __init__(self, text):
        super().__init__()
        self.open, self.fetched = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.fetched += [value for name, value in attributes if name in ("src", "href") and not value.startswith("data:")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("number", range(4))
def test_the_linear_models_come_within_three_percent_of_the_optimum(number):
    candidate, views = lecture.LADDER[number], lecture.Views()
    outcome = lecture._climb(candidate, views, 200, 0)
    (x, y), (x_test, y_test) = (views.years(candidate.days, *years) for years in (lecture.LEARN, (2012, 2012)))
    with_one = [np.column_stack([part, np.ones(len(part))]) for part in (x, x_test)]
    best = np.linalg.lstsq(with_one[0], y, rcond=None)[0]
    errors = [np.sqrt(np.mean((a @ best - b) ** 2)) * views.deviation for a, b in zip(with_one, (y, y_test))]
    assert outcome.learned == pytest.approx(errors[0], rel=0.03)
    assert outcome.tested == pytest.approx(errors[1], rel=0.03)


def test_deeper_networks_learn_better_and_over_fit():
    views = lecture.Views()
    deep = [lecture._climb(candidate, views, 60, 0) for candidate in lecture.LADDER if candidate.hidden[:1] == (100,)][1:]
    learned = [outcome.learned for outcome in deep]
    assert learned == sorted(learned, reverse=True)
    assert deep[-1].tested > 2 * deep[-1].learned


def test_the_descent_ends_at_the_bottom_of_the_surface():
    views = lecture.Views()
    x, y = views.years(1, *lecture.LEARN)
    b, w = lecture._descent(views)[-1]
    assert b == pytest.approx(np.mean(y) - w * np.mean(x), abs=1e-2)
    assert w == pytest.approx(np.polyfit(x[:, 0], y[:, 0], 1)[0], abs=1e-2)


def test_no_day_of_the_test_is_learned_from():
    views = lecture.Views()
    _, y = views.years(7, 2011, 2011)
    x_test, y_test = views.years(7, 2012, 2012)
    assert len(y) == 365
    assert len(y_test) == 366
    assert (x_test[0] == y[-7:, 0]).all()
    assert (x_test[7] == y_test[:7, 0]).all()


def test_the_lecture_is_one_page_that_fetches_nothing(tmp_path):
    pytest.importorskip("matplotlib")
    done = mlkit("train", "lecture", "--epochs", "3", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    page = Closed((tmp_path / "lecture.html").read_text())
    assert not page.open
    assert not page.fetched
    assert all(candidate.name in done.stdout for candidate in lecture.LADDER)


def test_a_page_shows_text_as_text():
    page = Page("a < b & c")
    page.table([("<i>", "x"), ("&", "1")], best=0)
    assert "<i>" not in str(page)
    assert "a &lt; b &amp; c" in str(page)


def test_digits_are_trained_saved_and_told_apart(tmp_path):
    pytest.importorskip("matplotlib")
    done = mlkit("train", "digits", "--epochs", "25", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(re.search(r"test accuracy ([0-9.]+)", done.stdout)[1]) >= 0.95
    assert not Closed((tmp_path / "page.html").read_text()).fetched
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 26
    description = io.read_description(tmp_path / "model.safetensors")
    assert description["data"]["licence"] == "CC-BY-4.0"
    d = data.digits()
    rows = "\n".join(",".join(f"{16 * value:g}" for value in row) for row in d.x_test)
    (tmp_path / "x.csv").write_text(rows)
    np.save(tmp_path / "x.npy", (d.x_test * 16).astype(np.uint8))
    answers = mlkit("predict", tmp_path / "model.safetensors", tmp_path / "x.csv").stdout
    found = [line.split(",")[0] for line in answers.splitlines()]
    assert np.mean(np.array(found, int) == d.y_test) > 0.94
    assert mlkit("predict", tmp_path / "model.safetensors", "-", stdin=rows).stdout == answers
    as_json = mlkit("predict", "--json", tmp_path / "model.safetensors", tmp_path / "x.npy").stdout.splitlines()
    assert [json.loads(line)["class"] for line in as_json] == found
    assert sum(json.loads(as_json[0])["classes"].values()) == pytest.approx(1, abs=1e-4)


def test_a_training_on_the_command_line_goes_on(tmp_path):
    pytest.importorskip("matplotlib")
    assert mlkit("train", "digits", "--epochs", "4", "--out", tmp_path / "whole").returncode == 0
    for _ in range(2):  # the second has nothing left to do
        assert mlkit("train", "digits", "--epochs", "4", "--out", tmp_path / "again").returncode == 0
    done = mlkit("train", "digits", "--epochs", "4", "--resume", "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (tmp_path / "again" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "digits", "--epochs", "0"], "--epochs is 0"),
        (["train", "digits", "--resume", "--out", "/tmp/nothing-here"], "no checkpoint"),
        (["train", "digits", "--out", "/proc/no"], "cannot be made"),
        (["predict", "/nowhere", "-"], "cannot be read"),
        (["predict", __file__, "-"], "no safetensors file"),
    ],
)
def test_wrong_input_is_one_line(arguments, words):
    if arguments[0] == "train":
        pytest.importorskip("matplotlib")
    done = mlkit(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2\n", "64"),
        (f"{'1,' * 63}x\n{'1,' * 63}x\n", "line 2"),
        (f"{'1,' * 63}1\n1\n", "line 2"),
        (f"{'1,' * 63}nan\n", "finite"),
    ],
)
def test_rows_that_do_not_fit_are_named(text, words, tmp_path):
    from mlkit import models

    io.save(models.MLP([64, 10]), tmp_path / "m", preprocessing={"kind": "numbers", "shape": [64]}, classes=list("0123456789"))
    done = mlkit("predict", tmp_path / "m", "-", stdin=text)
    assert done.returncode == 2
    assert words in done.stderr
