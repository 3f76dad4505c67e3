"""Batches, parts and transforms: nothing is lost, nothing is seen twice, nothing is copied without need."""

import threading
import time

import numpy as np
import pytest

from mlkit import data
from mlkit.errors import ArgumentError, DataError, ShapeError

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10)


def test_batches_in_order_are_views():
    loader = data.DataLoader((X, Y), 4)
    batches = list(loader)
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    assert len(loader) == 3
    assert all(x.base is X or x.base is X.base for x, _ in batches)


@pytest.mark.parametrize("prefetch", [0, 1, 3])
def test_a_shuffled_pass_has_every_row_once_and_the_next_another_order(prefetch):
    loader = data.DataLoader((X, Y), 3, shuffle=True, rng=np.random.default_rng(0), prefetch=prefetch)
    passes = [np.concatenate([y for _, y in loader]) for _ in range(2)]
    assert all(sorted(rows) == list(range(10)) for rows in passes)
    assert (passes[0] != passes[1]).any()
    assert all((x[:, 0] == 2 * y).all() for x, y in loader)


def test_the_last_batch_can_be_dropped_and_a_transform_sees_every_batch():
    loader = data.DataLoader((X, Y), 4, drop_last=True, transform=lambda x, y: (x * 2, y))
    assert [(x == 2 * X[y]).all() for x, y in loader] == [True, True]


def test_an_error_on_the_thread_is_raised_here_and_the_thread_ends():
    def wrong(x, y):
        if y[0] == 4:
            raise DataError("no such row")
        return x, y

    before = threading.active_count()
    loader = data.DataLoader((X, Y), 2, transform=wrong, prefetch=2)
    with pytest.raises(DataError, match="no such row"):
        list(loader)
    assert next(iter(loader))[1].tolist() == [0, 1]  # and thrown away with batches waiting
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_memory_mapped_array_is_read_batch_by_batch(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    loader = data.DataLoader((mapped, Y), 4, shuffle=True, rng=np.random.default_rng(0))
    assert isinstance(loader.dataset.arrays[0], np.memmap)
    assert sum(x.sum() for x, _ in loader) == X.sum()


def test_splits_are_disjoint_and_whole():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [80, 20])
    for parts in (data.random_split(100, [0.7, 0.2, 0.1], rng), data.stratified_split(labels, [0.7, 0.2, 0.1], rng)):
        assert [len(part) for part in parts] == [70, 20, 10]
        assert sorted(np.concatenate(parts)) == list(range(100))
    assert [int(labels[part].sum()) for part in parts] == [14, 4, 2]
    early, late = data.time_split(10, [0.8, 0.2])
    assert early.max() < late.min()


def test_windows_end_before_what_they_tell():
    x, y = data.windows(np.arange(10), 3)
    assert (y == x[:, -1] + 1).all()
    assert len(x) == 7
    assert data.windows(np.arange(10), 3, ahead=4)[1].tolist() == [6, 7, 8, 9]


def test_one_hot_and_standardizer():
    assert data.one_hot([1, 0, 2]).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    x = np.random.default_rng(0).normal(5, 3, (100, 2)).astype("f")
    x[:, 1] = 7
    scaled = data.Standardizer(x)
    np.testing.assert_allclose(scaled(x).mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(scaled(x).std(0), [1, 0], atol=1e-5)
    np.testing.assert_allclose(scaled.inverse(scaled(x)), x, rtol=1e-5)


def test_augmented_images_are_moved_and_mirrored_ones():
    image = np.arange(1.0, 17).reshape(1, 1, 4, 4)
    many = data.augment(np.repeat(image, 400, 0), np.random.default_rng(0), flip=True, shift=1)
    padded = np.pad(image[0, 0], 1)
    expected = {padded[i : i + 4, j : j + 4][:, ::flip].tobytes() for i in range(3) for j in range(3) for flip in (1, -1)}
    assert {each[0].tobytes() for each in many} == expected


def test_sequences_are_padded_and_texts_come_back():
    padded, lengths = data.pad_sequences([[1, 2, 3], [4]], value=-1)
    assert padded.tolist() == [[1, 2, 3], [4, -1, -1]]
    assert lengths.tolist() == [3, 1]
    tokens = data.CharTokenizer("to be or not")
    assert tokens.decode(tokens.encode("not to be")) == "not to be"
    with pytest.raises(DataError, match="'z'"):
        tokens.encode("zoo")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: data.DataLoader((X, Y[:-1])),
        lambda: data.DataLoader((X[:0],)),
        lambda: data.DataLoader((X,), 0),
        lambda: data.DataLoader((X,), shuffle=True),
        lambda: data.random_split(10, [0.5, 0.6], np.random.default_rng(0)),
        lambda: data.windows(Y, 10),
        lambda: data.one_hot([0, 3], 2),
        lambda: data.augment(X, np.random.default_rng(0)),
    ],
)
def test_wrong_inputs_are_one_clear_error(wrong):
    with pytest.raises((ArgumentError, ShapeError)):
        wrong()
