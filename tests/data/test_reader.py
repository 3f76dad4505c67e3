"""Sound, pictures, texts and games of Go are read as they are meant; what is damaged is one clear error."""

import io
import os
import struct

import numpy as np
import pytest

from mlkit import data
from mlkit.data.audio import mel_bands
from mlkit.data.image import files_by_class
from mlkit.errors import ArgumentError, DataError
from mlkit.file import read_bounded

RATE = 16000


def wav(samples, rate=RATE, bits=16):
    from scipy.io import wavfile

    file = io.BytesIO()
    wavfile.write(file, rate, samples)
    return file.getvalue()


def tone(hertz, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)


@pytest.mark.parametrize(("dtype", "scale", "shift"), [("i2", 32767, 0), ("i4", 2**31 - 1, 0), ("u1", 127, 128), ("f4", 1, 0)])
def test_samples_of_every_kind_lie_between_minus_one_and_one(dtype, scale, shift):
    wave = tone(440)
    rate, read = data.read_wav(wav((wave * scale + shift).astype(dtype)))
    assert rate == RATE
    assert read.dtype == np.float32
    assert np.abs(read - wave).max() < 0.02


def test_channels_are_averaged():
    left = (tone(440) * 1000).astype("i2")
    _, read = data.read_wav(wav(np.column_stack([left, -left])))
    assert np.abs(read).max() == 0


def test_a_length_that_the_head_does_not_know_is_no_error():
    content = bytearray(wav((tone(440) * 1000).astype("i2")))
    content[40:44] = struct.pack("<I", 0x7FFFFFFF)
    assert len(data.read_wav(bytes(content))[1]) == RATE // 2


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVEfmt ", os.urandom(300), wav(np.zeros(0, "i2"))])
def test_what_is_no_sound_is_named(content):
    with pytest.raises(DataError):
        data.read_wav(content)


def test_a_tone_is_loudest_in_the_band_of_its_frequency():
    spectrum = data.log_mel(tone(1000).astype(np.float32), RATE, mels=40)
    bands = mel_bands(400, RATE, 40)
    centre = (bands.argmax(1) * RATE / 400)[int(spectrum.mean(0).argmax())]
    assert abs(centre - 1000) < 150
    assert spectrum.shape == (48, 40)


def test_log_mel_is_the_power_in_the_bands():
    samples = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    found = data.log_mel(samples, RATE, mels=20)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frame = np.abs(np.fft.rfft(samples[160:560] * window)) ** 2
    assert np.allclose(found[1], np.log(mel_bands(400, RATE, 20).astype(float) @ frame + 1e-10), atol=1e-3)


def test_resampling_keeps_the_tone():
    half = data.resample(tone(440).astype(np.float32), RATE, 8000)
    assert len(half) == 4000
    assert abs(np.abs(np.fft.rfft(half)).argmax() * 8000 / 4000 - 440) <= 2


def test_a_picture_is_read_scaled_and_grey(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((20, 10, 3), np.uint8)
    pixels[:10, :, 0] = 255
    image.fromarray(pixels).save(tmp_path / "a.png")
    read = data.read_image(tmp_path / "a.png")
    assert read.shape == (3, 20, 10)
    assert (read[0, :10] == 1).all()
    assert not read[1:].any()
    assert data.read_image((tmp_path / "a.png").read_bytes(), (28, 28), 1).shape == (1, 28, 28)


def test_a_folder_of_pictures_has_a_class_for_each_folder(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for name, colour in (("cat", 0), ("dog", 255), ("dog", 254)):
        (tmp_path / name).mkdir(exist_ok=True)
        image.fromarray(np.full((8, 8), colour, np.uint8)).save(tmp_path / name / f"{colour}.png")
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    pictures, classes, names = data.image_folder(tmp_path, (4, 4), 1)
    assert pictures.shape == (3, 1, 4, 4)
    assert names == ["cat", "dog"]
    assert classes.tolist() == [0, 1, 1]


def test_what_is_no_picture_is_named(tmp_path):
    pytest.importorskip("PIL.Image")
    for content in (b"", b"\x89PNG\r\n\x1a\n", os.urandom(100)):
        with pytest.raises(DataError):
            data.read_image(content)
    with pytest.raises(DataError, match="cannot be read"):
        files_by_class(tmp_path / "missing")
    with pytest.raises(DataError, match="no folders"):
        data.image_folder(tmp_path, (4, 4))


def test_texts_are_read_from_files_and_folders(tmp_path):
    (tmp_path / "a.txt").write_text("größer", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes("größer".encode("latin-1"))
    (tmp_path / "c.bin").write_bytes(b"a\0b")
    os.symlink(tmp_path / "a.txt", tmp_path / "d.txt")
    assert data.read_text(tmp_path) == "größer\ngrößer"
    with pytest.raises(DataError, match="zero bytes"):
        data.read_text(tmp_path / "c.bin")
    with pytest.raises(DataError, match="cannot be read"):
        data.read_text(tmp_path / "e.txt")


def test_byte_pairs_give_any_text_back():
    rng = np.random.default_rng(0)
    kinds = "the cat sat, 12 _ \t\n", "größer 東京 🎲 \x00\x7f", "".join(map(chr, range(32, 0x3000)))
    for length in range(300):
        text = "".join(rng.choice(list(kinds[length % 3]), length))
        assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


TOKENIZER = data.BytePairTokenizer.learned("the cat sat on the mat, the rat sat on the cat. " * 20, 300)


def test_byte_pairs_learn_what_is_frequent():
    assert b" the" in TOKENIZER.pieces
    assert len(TOKENIZER.encode("the cat sat on the mat")) <= 8
    again = data.BytePairTokenizer(TOKENIZER.merges)
    assert (again.encode("the rat, the hat") == TOKENIZER.encode("the rat, the hat")).all()


def test_the_merges_are_those_of_the_definition():
    """Against a search over all pairs, word by word, in every step."""
    text = "low low low low low lower lower newest newest newest newest newest newest widest widest widest"
    words = [list(word.encode()) for word in data.text.WORD.findall(text)]
    merges = []
    for new in range(256, 270):
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):  # noqa: RUF007
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts, key=lambda pair: (counts[pair], -pair[0], -pair[1]))
        merges.append(best)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [new]
                i += 1
    assert data.BytePairTokenizer.learned(text, 270).merges == merges


def test_a_damaged_list_of_merges_is_named():
    with pytest.raises(DataError, match="merge 1"):
        data.BytePairTokenizer([(1, 2), (3, 999)])
    with pytest.raises(ArgumentError, match="count is 3"):
        data.BytePairTokenizer.learned("abc", 3)


GAME = rb"(;FF[4]GM[1]SZ[9]KM[6.5]C[with \] and (;B[zz\]) in it]AB[aa][bb];W[cc];B[dd](;W[ee];B[])(;W[ff]))"


def test_a_game_is_its_main_line():
    game = data.read_sgf(GAME)
    assert game.size == 9
    assert [move.point for move in game.setup] == [(0, 0), (1, 1)]
    assert [(move.colour, move.point) for move in game.moves] == [(-1, (2, 2)), (1, (3, 3)), (-1, (4, 4)), (1, None)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no SGF"),
        (b"hello", "no SGF"),
        (GAME[:60], "truncated"),
        (b"(;SZ[99];B[aa])", "size"),
        (b"(;SZ[9];B[zz])", "not on a board"),
        (b"(;SZ[9];B[a])", "not on a board"),
        (os.urandom(50), "no SGF"),
    ],
)
def test_what_is_no_game_is_named(content, words):
    with pytest.raises(DataError, match=words):
        data.read_sgf(content)


def played(text, size=5):
    """A board after moves as "black white black …", each as row and column."""
    board = data.Board(size)
    for number, move in enumerate(text.split()):
        board.play(data.Move(1 if number % 2 == 0 else -1, (int(move[0]), int(move[1])) if move != "--" else None))
    return board


def test_a_stone_without_liberties_is_taken():
    board = played("01 11 10 44 12 43 21")
    assert board.stones[1, 1] == 0
    assert board.ko is None  # four stones around, which have more liberties than the one


def test_a_group_is_taken_whole():
    board = played("02 01 11 00 10")
    assert not board.stones[0, :2].any()
    assert (board.stones[[0, 1, 1], [2, 1, 0]] == 1).all()


def test_ko_forbids_to_take_back_at_once():
    board = played("01 02 10 13 21 22 12 11")
    assert board.stones[1, 2] == 0
    assert board.ko == (1, 2)


def test_a_stone_may_not_be_put_on_another_nor_take_its_own_last_liberty():
    with pytest.raises(DataError, match="where one stands"):
        played("00 00")
    board = played("01 44 10")
    with pytest.raises(DataError, match="last liberty"):
        board.play(data.Move(-1, (0, 0)))
    assert board.stones[0, 0] == 0


def test_liberties_are_counted_by_group():
    liberties = played("00 44 01").liberties()
    assert liberties[0, 0] == liberties[0, 1] == 3
    assert liberties[4, 4] == 2
    assert liberties.astype(bool).sum() == 3


def test_no_more_of_a_file_is_held_than_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bounded(tmp_path / "a", 5) == b"12345"
    for path, words in ((tmp_path / "a", "more than 4"), ("/dev/zero", "more than 4"), (tmp_path / "b", "cannot be read")):
        with pytest.raises(DataError, match=words):
            read_bounded(path, 4)
