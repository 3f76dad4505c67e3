"""Model files: what was written is read, PyTorch reads it too, and a hostile file is one error."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import mlkit
from mlkit import io, models, nn
from mlkit.errors import ArgumentError, DataError

RNG = np.random.default_rng(0)


def test_arrays_come_back_as_they_were(tmp_path):
    arrays = {
        f"a.{dtype}": np.asarray(RNG.integers(0, 2, (3, 4)), dtype)
        for dtype in ("?", "u1", "i1", "i2", "i4", "i8", "u8", "f2", "f4", "f8")
    }
    arrays |= {"scalar": np.array(2.5), "empty": np.zeros((0, 3)), "view": np.arange(12.0).reshape(3, 4).T}
    io.save_tensors(arrays, tmp_path / "x", {"who": "ä"})
    found, metadata = io.load_tensors(tmp_path / "x")
    assert metadata == {"who": "ä"}
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert (found[name] == array).all()
    assert os.stat(tmp_path / "x").st_mode & 0o777 == 0o666 & ~_umask()


def test_the_format_is_that_of_the_safetensors_package(tmp_path):
    theirs = pytest.importorskip("safetensors.numpy")
    arrays = {"weight": RNG.standard_normal((5, 3)).astype("f"), "count": np.array([1, 2])}
    io.save_tensors(arrays, tmp_path / "ours")
    theirs.save_file(arrays, tmp_path / "theirs", {"a": "b"})
    for found in (theirs.load_file(tmp_path / "ours"), io.load_tensors(tmp_path / "theirs")[0]):
        assert found.keys() == arrays.keys()
        assert all((found[name] == arrays[name]).all() for name in arrays)


MODELS = {
    "mlp": (lambda: models.MLP([8, 6, 3], dropout=0.1), (8,)),
    "sequential": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2)), (1, 8, 8)),
    "resnet": (lambda: models.SmallResNet(channels=1), (1, 28, 28)),
    "lenet": (models.LeNet5, (1, 28, 28)),
    "gpt": (lambda: models.GPT(11, 8, n_layer=2, n_head=2, n_embd=16), None),
    "dropout": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5, rng=np.random.default_rng(0))), (4,)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_model_comes_back_with_its_architecture(name, tmp_path):
    make, shape = MODELS[name]
    mlkit.manual_seed(1)
    model = make()
    io.save(model, tmp_path / "m", classes=["a", "b"], seed=1)
    found = io.load(tmp_path / "m")
    x = RNG.standard_normal((2, *shape)).astype("f") if shape else RNG.integers(0, 11, (2, 8))
    assert type(found) is type(model)
    assert not found.training
    assert found.description["classes"] == ["a", "b"]
    assert (np.asarray(found(x)) == np.asarray(model.eval()(x))).all()


def test_torch_reads_the_same_network(tmp_path):
    torch, theirs = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    ours = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()
    t = torch.nn
    other = t.Sequential(t.Conv2d(1, 4, 3), t.BatchNorm2d(4), t.ReLU(), t.Flatten(), t.Linear(144, 3)).eval()
    io.save(ours, tmp_path / "ours")
    state = theirs.load_file(tmp_path / "ours")
    other.load_state_dict({**state, "1.num_batches_tracked": torch.tensor(0)})
    x = RNG.standard_normal((2, 1, 8, 8)).astype("f")
    np.testing.assert_allclose(np.asarray(ours(x)), other(torch.tensor(x)).detach().numpy(), atol=1e-5)


class Own(nn.Module):
    def __init__(self, width):
        self.linear = nn.Linear(width, 2)

    def forward(self, x):
        return self.linear(x)


def test_a_users_own_class_is_loaded_into_a_model_of_it(tmp_path):
    model = Own(3)
    io.save(model, tmp_path / "m", classes=["x"])
    with pytest.raises(DataError, match=r"Own, which mlkit does not have"):
        io.load(tmp_path / "m")
    found = io.load(tmp_path / "m", Own(3))
    assert (found.linear.weight.data == model.linear.weight.data).all()
    assert found.description["classes"] == ["x"]
    with pytest.raises(DataError, match="does not fit"):
        io.load(tmp_path / "m", Own(4))


def test_what_a_file_cannot_hold_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="object"):
        io.save(models.MLP([2, 2]), tmp_path / "m", thing=object())
    with pytest.raises(ArgumentError, match="cannot be written"):
        io.save(models.MLP([2, 2]), tmp_path / "no" / "m")
    assert not list(tmp_path.iterdir())


def written(path, header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def entry(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


HOSTILE = {
    "empty": (b"", b""),
    "list": ([1, 2], b""),
    "deep": (b"[" * 100_000, b""),
    "shape": (entry(shape=[3]), bytes(8)),
    "negative": (entry(shape=[-2]), bytes(8)),
    "huge": (entry(shape=[1 << 40, 1 << 40], data_offsets=[0, 4 << 80]), bytes(8)),
    "float": (entry(shape=[2.0]), bytes(8)),
    "dtype": (entry(dtype="F128"), bytes(8)),
    "pickle": (entry(dtype="O"), bytes(8)),
    "short": (entry(), bytes(7)),
    "long": (entry(), bytes(9)),
    "hole": (entry(data_offsets=[4, 12]), bytes(12)),
    "twice": (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        bytes(1),
    ),
    "metadata": ({"__metadata__": {"mlkit": 3}}, b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_file_is_a_data_error(name, tmp_path):
    with pytest.raises(DataError):
        io.load_tensors(written(tmp_path / "x", *HOSTILE[name]))


def test_every_truncation_of_a_file_is_a_data_error(tmp_path):
    io.save(models.MLP([3, 2]), tmp_path / "m")
    whole = (tmp_path / "m").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "t").write_bytes(whole[:length])
        with pytest.raises(DataError):
            io.load(tmp_path / "t")


def described(path, architecture, **more):
    text = json.dumps({"format": 1, "architecture": architecture, **more})
    io.save_tensors({"weight": np.zeros((2, 2), "f"), "bias": np.zeros(2, "f")}, path, {"mlkit": text})
    return path


def a(kind, *arguments, **options):
    return {"class": kind, "arguments": list(arguments), "options": options}


ASKS = {
    "system": a("os.system", "touch /tmp/x"),
    "module": a("nn.init.uniform_", 1),
    "wide": a("nn.Linear", 1 << 20, 1 << 20),
    "deep": a("nn.LSTM", 1, 1, num_layers=10**9),
    "many": a("nn.Sequential", *[a("nn.ReLU")] * 20_000),
    "list": a("models.MLP", [1 << 20, 1 << 20, 2]),
    "wrong": a("nn.Linear", "two", None),
    "bare": {"class": "nn.Linear"},
    "other": a("nn.Linear", 3, 2),
    "name": a("nn.Linear", 2, 2, nonsense=1),
}


@pytest.mark.parametrize("name", ASKS)
def test_a_description_that_asks_for_something_else_is_a_data_error(name, tmp_path):
    with pytest.raises(DataError):
        io.load(described(tmp_path / "m", ASKS[name]))
    assert np.shape(io.load(described(tmp_path / "m", a("nn.Linear", 2, 2))).weight.data) == (2, 2)


def test_a_hostile_file_takes_no_memory(tmp_path):
    path = described(tmp_path / "m", ASKS["wide"])
    code = f"""
import resource, mlkit.io
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    mlkit.io.load({str(path)!r})
except mlkit.DataError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
