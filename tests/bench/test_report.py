"""The sentence and the table say what the rows hold."""

import numpy as np

from mlkit import bench
from mlkit.bench import report

FACTS = {"version": "1", "kernels": "k", "int64": False, "threads": 1, "peak": 50.0}


def row(library, seconds, weights=(1.0, 2.0), **more):
    return bench.Row("digits", library, FACTS, tuple(seconds), 100, 0.9, np.array(weights), **more)


def test_the_fastest_is_named_with_those_that_cannot_be_told_apart():
    rows = [row("a", [2, 2, 2]), row("b", [1, 1, 1]), row("c", [0.9, 1.2, 1.2])]
    assert bench.sentence(rows) == (
        "digits: b with 1 thread is fastest (not to be told apart from c with 1 thread), 2.0 × a with 1 thread."
    )


def test_all_level():
    assert bench.sentence([row("a", [1, 2]), row("b", [2, 1])]) == "digits: the libraries cannot be told apart."


def test_one_alone():
    assert bench.sentence([row("a", [1, 2])]) == "digits: nothing to compare."


def test_a_failure_is_named_in_table_and_sentence():
    rows = [row("a", [1, 2]), row("b", [], failure="killed by SIGILL")]
    assert bench.sentence(rows) == "digits: nothing to compare; b failed."
    assert "killed by SIGILL" in bench.table(rows)[0][1][2]


def test_ratio_spread_score_and_difference():
    rows = [row("a", [2, 2, 4]), row("b", [1, 2, 1], (1.0, 2.5))]
    cells = bench.table(rows)[0][1]
    assert cells[1][-3:] == ("1", "90.0 %", "0")
    assert cells[2][-3:] == ("2.00 (1.00–4.00)", "90.0 %", "5.0e-01")
    assert report.ratios(*rows) == [1, 2, 4]
    assert bench.as_json(rows)["rows"][1]["largest_difference"] == 0.5


def test_the_first_that_lives_is_the_measure():
    rows = [row("a", [], failure="exit"), row("b", [1.0]), row("c", [0.5])]
    assert [cells[7] for cells in bench.table(rows)[0][1][1:]] == ["exit", "1", "2.00 (2.00–2.00)"]
    assert bench.as_json(rows)["rows"][2]["ratio"] == [2.0]
