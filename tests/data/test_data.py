"""Bundled data and IDX files, whole and damaged."""

import gzip
import struct

import numpy as np
import pytest

from mlkit import data
from mlkit.data import bundled
from mlkit.errors import ArgumentError, DataError


def test_the_digits_are_the_ones_known():
    found = data.digits()
    assert [x.shape for x in found] == [(1437, 64), (1437,), (360, 64), (360,)]
    assert found.x_train.dtype == np.float32
    assert (found.x_train.min(), found.x_train.max()) == (0, 1)
    assert np.bincount(np.concatenate([found.y_train, found.y_test])).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize(("days", "train", "test"), [(1, 0.415, 0.543), (7, 0.368, 0.498), (28, 0.342, 0.462)])
def test_least_squares_on_the_daily_views_gives_the_published_errors(days, train, test):
    found = data.daily_views(days)
    _, series = bundled.daily_series()
    deviation = found.y_train.std() and series[22 : 22 + len(found.y_train)].std()
    learn, judge = (np.c_[x.astype(float), np.ones(len(x))] for x in (found.x_train, found.x_test))
    weights = np.linalg.lstsq(learn, found.y_train, rcond=None)[0]
    errors = [np.sqrt(np.mean((x @ weights - y) ** 2)) * deviation for x, y in ((learn, found.y_train), (judge, found.y_test))]
    assert np.allclose(errors, (train, test), atol=0.012)
    assert len(found.x_test) == 366


def test_a_window_ends_the_day_before():
    found = data.daily_views(3)
    assert np.allclose(found.x_train[1:, :2], found.x_train[:-1, 1:])
    assert np.allclose(found.x_train[1:, 2:], found.y_train[:-1])


@pytest.mark.parametrize("days", [0, -1, 1000])
def test_windows_that_make_no_sense(days):
    with pytest.raises(ArgumentError):
        data.daily_views(days)


DAMAGED = [b"", b"rubbish", gzip.compress(b"1,2\n3,x"), gzip.compress(b"1,2\n"), gzip.compress(b"1,2" * 99)[:-9]]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_bundled_files_say_what_to_do(monkeypatch, content):
    monkeypatch.setattr(bundled, "_bytes", lambda name: content)
    with pytest.raises(DataError, match="install the package again"):
        data.digits()
    monkeypatch.setattr(bundled, "_bytes", lambda name: b"date,views\n2008-01-01,3\n" + content[:0])
    with pytest.raises(DataError, match="install the package again"):
        data.daily_views()


def test_a_missing_bundled_file(monkeypatch):
    with pytest.raises(DataError, match="missing"):
        bundled._bytes("nothing.csv")


def idx(array, code):
    head = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize(("dtype", "code"), [("u1", 8), ("i1", 9), ("i2", 11), ("i4", 12), ("f4", 13), ("f8", 14)])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_of_every_type(tmp_path, dtype, code, suffix):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(idx(array, code)) if suffix else idx(array, code))
    found = data.read_idx(path)
    assert np.array_equal(found, array)
    assert found.dtype == array.dtype


WHOLE = idx(np.arange(24, dtype="u1").reshape(2, 3, 4), 8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        WHOLE[:3],
        WHOLE[:9],
        WHOLE[:-1],
        b"\x01" + WHOLE[1:],
        WHOLE[:2] + b"\x77" + WHOLE[3:],
        WHOLE[:4] + b"\xff" * 12 + WHOLE[16:],
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_damaged_idx_file_is_one_clear_error(tmp_path, content, suffix):
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match="images"):
        data.read_idx(path)


def test_a_truncated_or_wrong_gzip_file_is_one_clear_error(tmp_path):
    path = tmp_path / "images.gz"
    for content in (gzip.compress(WHOLE)[:-10], WHOLE):
        path.write_bytes(content)
        with pytest.raises(DataError, match="images"):
            data.read_idx(path)
    with pytest.raises(DataError):
        data.read_idx(tmp_path / "none")


def test_fashion_mnist_or_the_command_that_installs_it(tmp_path):
    with pytest.raises(DataError, match="apt install dataset-fashion-mnist"):
        data.fashion_mnist(tmp_path / "none")
    for name in ("train-images-idx3", "train-labels-idx1"):
        (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(WHOLE))
    with pytest.raises(DataError, match="is not Fashion-MNIST"):
        data.fashion_mnist(tmp_path)
    if data.FASHION.is_dir():
        found = data.fashion_mnist()
        assert [x.shape for x in found] == [(60000, 784), (60000,), (10000, 784), (10000,)]
