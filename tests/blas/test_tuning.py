"""The library "auto": each product goes where the profile says, and a profile that does not fit is named."""

import json
import os

import numpy as np
import pytest

import mlkit
from mlkit import blas, nn, ops
from mlkit.bench import product, tune
from mlkit.bench.race import Item, Measured, Outcome, Runner
from mlkit.blas import tuning
from mlkit.blas.tuning import Choice, Profile, Shape
from mlkit.errors import DataError, LibraryNotFound
from tests.conftest import LIBRARIES

TWO = [name for name in LIBRARIES if name in ("openblas", "blis", "reference", "numpy", "scipy")][:2]

pytestmark = pytest.mark.skipif(len(TWO) < 2, reason="two libraries are not here")


def profile_of(rows, base=None):
    return Profile(tuning.machine(), {}, {1: Choice(base or TWO[0], 1)}, {1: [(shape, Choice(name, 1)) for shape, name in rows]})


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """For 30×20×10 the second library, for stacks of 4 as well; else the first."""
    path = tmp_path / "profile.json"
    monkeypatch.setenv("MLKIT_PROFILE", os.fspath(path))
    shapes = [(Shape("float64", "NN", 1, 30, 10, 20), TWO[1]), (Shape("float64", "NN", 4, 8, 8, 8), TWO[1])]
    profile_of([*shapes, (Shape("float64", "NN", 1, 300, 300, 300), TWO[0])]).save(path)
    return path


def maker(*shapes):
    """The library that made a product."""
    with blas.recording() as log:
        blas.gemm(*(np.ones(shape) for shape in shapes))
    return log[0].library


def test_every_product_goes_to_the_winner_of_its_shape(profile):
    with blas.using("auto") as library:
        assert library.name == "auto"
        assert maker((30, 20), (20, 10)) == TWO[1]
        assert maker((32, 20), (20, 11)) == TWO[1]  # the nearest
        assert maker((300, 300), (300, 300)) == TWO[0]
        assert maker((3000, 2), (2, 5)) == TWO[0]  # far from all
        assert maker((4, 8, 8), (4, 8, 8)) == TWO[1]
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((30, 20)), rng.standard_normal((20, 10))
        assert np.allclose(blas.gemm(a, b), a @ b)
        assert np.allclose(blas.gemm(a, b.T.copy().T), a @ b)


def test_the_winner_itself_is_called(profile):
    a, b = np.ones((30, 20)), np.ones((20, 10))
    with blas.using("auto"):
        call = blas.bind(a, b, np.empty((30, 10)))
    with blas.using(TWO[1]):
        wanted = blas.bind(a, b, np.empty((30, 10)))
    assert call.func is wanted.func


def test_a_plan_has_the_choice_bound_and_follows(profile):
    mlkit.manual_seed(0)
    model = nn.Linear(20, 10, dtype=np.float64)
    step, x = mlkit.capture(lambda x: ops.sum(model(x))), np.ones((30, 20))
    with blas.using(TWO[0]):
        first = float(np.asarray(step(x)))
    with blas.using("auto"):
        again = float(np.asarray(step(x)))
        with blas.recording() as log:
            step(x)
    assert log[0].library == TWO[1]
    assert again == pytest.approx(first)


def test_threads_are_given_to_all_of_them(profile):
    with blas.using("auto") as library:
        others = list(library.libraries.values())
        if not all(one.report.adjustable for one in others):
            pytest.skip("one of them has no threads to set")
        with library.limited(2):
            assert [one.threads for one in others] == [2, 2]
        assert [one.threads for one in others] == [1, 1]


def test_a_library_that_vanished_is_left_out(profile):
    profile_of([(Shape("float64", "NN", 1, 30, 10, 20), "gone")]).save(profile)
    with blas.using("auto"):
        assert maker((30, 20), (20, 10)) == TWO[0]


def test_without_a_profile_auto_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("MLKIT_PROFILE", os.fspath(tmp_path / "none.json"))
    with pytest.raises(LibraryNotFound, match="mlkit blas tune"):
        blas.use("auto")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.update(machine="another"), "another CPU"),
        (lambda f: f.update(version=9), "reads"),
        (lambda f: f.update(base={"one": "x"}), "damaged"),
        (lambda f: f["winners"]["1"].append(["float64", "NN", 0, 1, 1, 1, "x", 1]), "damaged"),
        (lambda f: f["winners"]["1"].append(["float64", "XX", 1, 1, 1, 1, "x", 1]), "damaged"),
        (lambda f: f["winners"]["1"].append(["float64", "NN", 1, 1, 1, 1, "x", 0]), "damaged"),
        (lambda f: f["winners"]["1"].append(["float64", "NN", 1, 1, 1, 1, "x"]), "damaged"),
        (lambda f: f["base"].clear(), "damaged"),
        (lambda f: f.pop("winners"), "damaged"),
    ],
)
def test_a_profile_that_does_not_fit_is_named(profile, change, words):
    found = json.loads(profile.read_text())
    change(found)
    profile.write_text(json.dumps(found))
    with pytest.raises(DataError, match=words):
        Profile.load(profile)
    profile.write_text(json.dumps(found)[:40])
    with pytest.raises(DataError, match="damaged"):
        Profile.load(profile)


def measured(m, n, inner, *seconds, floor=0.01):
    rng = np.random.default_rng(0)
    rounds = [list(s * np.exp(rng.normal(0, 0.01, 9))) if s else [] for s in seconds]
    return Measured(Item("x", product.gemm(m, n, inner)), rounds, [1.0] * len(seconds), [""] * len(seconds), floor)


def test_a_race_becomes_a_profile_that_switches_only_where_it_is_sure():
    runners = [Runner(name, 1, {}) for name in ("a", "b")]
    rows = [
        measured(8, 8, 8, 1.0, 0.5),  # b wins
        measured(16, 16, 16, 1.0, 0.5, floor=2.0),  # in such noise nobody can tell
        measured(32, 32, 32, 1.0, 0.99),  # too little to switch for
        measured(64, 64, 64, 1.0, 30.0),
        measured(99, 99, 99, 1.0, None),  # b cannot make it
    ]
    found = tune.profile(Outcome("tune", runners, rows, {}, 9))
    assert found.base == {1: Choice("a", 1)}
    assert [choice.library for _, choice in found.winners[1]] == ["b", "a", "a", "a", "a"]
    assert found.winners[1][0][0] == Shape("float32", "NN", 1, 8, 8, 8)
    assert "1 b" in tune.sentences(found)[0]


def test_with_two_threads_one_may_be_better():
    runners = [Runner(name, count, {"threads": count}) for count in (1, 2) for name in ("a", "b")]
    rows = [
        measured(8, 8, 8, 1.0, 2.0, 3.0, 4.0),  # a with one thread wins
        measured(16, 16, 16, 8.0, 1.0, 4.0, 2.0),  # b with one
        measured(300, 300, 300, 70.0, 60.0, 30.0, 40.0),  # a with two
    ]
    found = tune.profile(Outcome("tune", runners, rows, {}, 9))
    assert found.base == {1: Choice("b", 1), 2: Choice("a", 2)}
    assert [choice for _, choice in found.winners[1]] == [Choice("a", 1), Choice("b", 1), Choice("b", 1)]
    assert [choice for _, choice in found.winners[2]] == [Choice("a", 1), Choice("b", 1), Choice("a", 2)]
    assert "1 a with 1" in tune.sentences(found)[1]


def test_a_product_gets_the_number_of_threads_that_won(tmp_path, monkeypatch):
    name = next(
        (name for name in ("openblas", "blis", "mkl", "numpy") if name in LIBRARIES and blas.report(blas.find(name)).adjustable),
        None,
    )
    if name is None:
        pytest.skip("no library whose threads can be set is here")
    monkeypatch.setenv("MLKIT_PROFILE", os.fspath(tmp_path / "profile.json"))
    shape = Shape("float64", "NN", 1, 30, 10, 20)
    both = {1: Choice(name, 1), 2: Choice(name, 2)}
    rows = {1: [(shape, Choice(name, 1))], 2: [(shape, Choice(name, 1))]}
    Profile(tuning.machine(), {}, both, rows).save(tmp_path / "profile.json")
    a, b, out = np.ones((30, 20)), np.ones((20, 10)), np.empty((30, 10))
    with blas.using("auto", threads=2) as library:
        real = library.libraries[name]
        counts = []
        monkeypatch.setitem(
            real.gemm, a.dtype, lambda *arguments, gemm=real.gemm[a.dtype]: (counts.append(real.threads), gemm(*arguments))
        )
        few = blas.bind(a, b, out)
        few()
        assert counts == [1]
        assert real.threads == 2
        assert np.array_equal(out, a @ b)
        blas.gemm(np.ones((300, 300)), np.ones((300, 300)))  # far from all that was raced
        assert counts == [1, 2]
        with blas.using(threads=1):
            blas.gemm(a, b, out)
            assert counts == [1, 2, 1]
            assert blas.bind(a, b, out).func is real.gemm[a.dtype]  # one thread needs no change of threads


def test_the_shapes_of_profiles_are_those_of_calls():
    """What a race calls NT is what a product with such operands asks for."""
    for a_turned in (False, True):
        for b_turned in (False, True):
            one = product.gemm(30, 10, 20, "float64", a_turned, b_turned)
            shape = tune.shape_of(one)
            assert shape == Shape("float64", "".join("NT"[flag] for flag in (a_turned, b_turned)), 1, 30, 10, 20)
