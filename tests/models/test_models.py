"""The named networks: what they are known for, their names in state dicts, and that they learn."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest

import mlkit
from mlkit import data, models, nn, ops, optim
from mlkit.errors import ArgumentError, NonFiniteError, ShapeError


def train(model, loss, batches, lr=0.01):
    """The losses of captured steps."""
    optimizer = optim.Adam(model.parameters(), lr=lr)

    @mlkit.capture
    def step(*batch):
        optimizer.zero_grad()
        value = loss(*batch)
        value.backward()
        optimizer.step()
        return value

    return [step(*batch).item() for batch in batches]


CORNERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


@pytest.mark.parametrize(("answers", "learnt"), [([0, 0, 0, 1], True), ([0, 1, 1, 1], True), ([0, 1, 1, 0], False)])
def test_a_perceptron_learns_what_a_line_parts_and_not_xor(answers, learnt):
    mlkit.manual_seed(0)
    perceptron = models.Perceptron(2)
    epochs = perceptron.learn(CORNERS, np.array(answers), epochs=50)
    assert bool(epochs) == learnt
    assert np.array_equal(perceptron.predict(CORNERS), answers) == learnt


def test_a_hidden_layer_learns_xor():
    mlkit.manual_seed(1)
    model, y = models.xor(), np.array([[0], [1], [1], [0]], np.float32)
    train(model, lambda x, y: ops.binary_cross_entropy_with_logits(model(x), y), [(CORNERS, y)] * 400, lr=0.05)
    assert np.array_equal(model(CORNERS).data > 0, y > 0)


SIZES = {  # parameters, as published by torchvision (GoogLeNet without its auxiliary classifiers)
    "AlexNet": (models.AlexNet, (), 61_100_840),
    "GoogLeNet": (models.GoogLeNet, (), 6_624_904),
    "ResNet18": (models.ResNet, (18,), 11_689_512),
    "ResNet50": (models.ResNet, (50,), 25_557_032),
    "LeNet5": (models.LeNet5, (), 61_706),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_network_has_the_parameters_that_it_is_known_for(name):
    kind, arguments, count = SIZES[name]
    assert sum(p.size for p in kind(*arguments).parameters()) == count


@pytest.mark.parametrize(
    ("name", "make", "size"),
    [
        ("alexnet", models.AlexNet, 96),
        ("vgg11", lambda: models.VGGNet(11), 32),
        ("googlenet", models.GoogLeNet, 64),
        ("resnet18", models.ResNet, 64),
        ("resnet50", lambda: models.ResNet(50), 64),
    ],
)
def test_torchvisions_weights_give_torchvisions_results(name, make, size, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "torchvision._meta_registrations", types.ModuleType("skipped"))  # wants compiled operators
    try:
        import torchvision.models as vision
    except Exception:
        pytest.skip("torchvision is not installed")
    theirs = getattr(vision, name)(**({"init_weights": False, "aux_logits": False} if name == "googlenet" else {})).eval()
    ours = make()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).standard_normal((2, 3, size, size), dtype=np.float32)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(x)).numpy()
    with mlkit.no_grad():
        found = ours.eval()(x).data
    assert np.allclose(found, expected, atol=1e-4 * abs(expected).max())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is read from /proc")
def test_resnet_50_on_a_whole_image_takes_little_memory():
    code = """
import numpy as np, mlkit
from mlkit import models
with mlkit.no_grad():
    y = models.ResNet(50).eval()(np.ones((1, 3, 224, 224), np.float32))
assert y.shape == (1, 1000)
print(next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) // 1000)
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 600, "MB; the weights alone take 102"


def test_small_residual_and_convolutional_networks_learn_digits():
    split = data.digits()
    x, y = split.x_train[:512].reshape(-1, 1, 8, 8), split.y_train[:512]
    mlkit.manual_seed(0)
    for model in (
        models.SmallResNet((8, 16), channels=1),
        nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)),
    ):
        train(model, lambda x, y, model=model: ops.cross_entropy(model(x), y), [(x, y)] * 80, lr=0.02)
        with mlkit.no_grad():
            right = model.eval()(split.x_test.reshape(-1, 1, 8, 8)).data.argmax(1) == split.y_test
        assert right.mean() > 0.85


def test_an_lstm_learns_to_go_on_with_a_text():
    text = np.frombuffer(b"to be or not to be that is the question " * 8, np.uint8)
    letters, numbers = np.unique(text, return_inverse=True)
    mlkit.manual_seed(0)
    model = models.CharLSTM(len(letters), 48, embedding_dim=16)
    x = np.stack([numbers[i : i + 40] for i in range(0, 40, 5)])
    y = np.stack([numbers[i + 1 : i + 41] for i in range(0, 40, 5)])
    found = train(model, lambda x, y: ops.cross_entropy(model(x).reshape(-1, len(letters)), y.reshape(-1)), [(x, y)] * 150, lr=0.02)
    assert found[-1] < 0.2 < found[0]
    written = model.generate(numbers[:12][None], 20, temperature=0)[0]
    assert bytes(letters[written]) == b"to be or not to be that is the q"


def gpt():
    mlkit.manual_seed(2)
    return models.GPT(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=16, bias=True)


def test_a_gpt_has_gpt2s_names_and_one_table_for_both_ends():
    model = gpt()
    state = model.state_dict()
    assert {"transformer.wte.weight", "transformer.wpe.weight", "transformer.h.1.attn.c_attn.weight", "transformer.h.0.ln_2.bias",
            "transformer.h.0.mlp.c_proj.bias", "transformer.ln_f.weight", "lm_head.weight"} <= state.keys()  # fmt: skip
    assert model.lm_head.weight is model.transformer.wte.weight
    assert sum(name == "lm_head.weight" for name, _ in model.named_parameters()) == 0


def test_kept_keys_and_values_write_what_the_whole_window_would():
    model = gpt().eval()
    start = np.array([[1, 2, 3], [4, 5, 6]])
    found = start
    for _ in range(5):
        with mlkit.no_grad():
            logits = model(found).data[:, -1]
        found = np.concatenate([found, logits.argmax(1)[:, None]], axis=1)
    assert np.array_equal(model.generate(start, 5, temperature=0), found)
    assert model.generate(start, 30, temperature=0).shape == (2, 33)  # past the window
    drawn = [model.generate(start, 6, top_k=3, top_p=0.9, rng=np.random.default_rng(5)) for _ in range(2)]
    assert np.array_equal(*drawn)


def test_a_gpt_learns_to_count():
    model = gpt()
    x = np.array([[(start + i) % 11 for i in range(9)] for start in range(11)])
    found = train(model, lambda x, y: ops.cross_entropy(model(x).reshape(-1, 11), y.reshape(-1)), [(x[:, :-1], x[:, 1:])] * 150)
    assert found[-1] < 0.1 < found[0]
    assert np.array_equal(model.generate(np.array([[3, 4]]), 4, temperature=0), [[3, 4, 5, 6, 7, 8]])


def test_sampling_keeps_to_the_likeliest():
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]] * 2000))
    rng = np.random.default_rng(0)
    share = np.bincount(models.sampled(logits, rng=rng), minlength=4) / 2000
    assert np.allclose(share, [0.5, 0.3, 0.15, 0.05], atol=0.04)
    assert set(models.sampled(logits, top_k=2, rng=rng)) == {0, 1}
    assert set(models.sampled(logits, top_p=0.79, rng=rng)) == {0, 1}
    assert set(models.sampled(logits, temperature=0)) == {0}


def test_a_transformer_learns_which_token_occurs_and_does_not_see_the_padding():
    mlkit.manual_seed(0)
    model = models.TransformerClassifier(20, 2, width=16, heads=2, layers=1, max_len=12, dropout=0.0)
    rng = np.random.default_rng(0)
    x = rng.integers(2, 20, (64, 10))
    x[:, 7:] = 0
    y = rng.integers(0, 2, 64)
    x[y == 1, rng.integers(0, 7, (y == 1).sum())] = 1
    found = train(model, lambda x, y: ops.cross_entropy(model(x), y), [(x, y)] * 80)
    assert found[-1] < 0.1 < found[0]
    with mlkit.no_grad():
        assert np.allclose(model(x).data, model(np.pad(x, ((0, 0), (0, 2)))).data, atol=1e-5)


def test_autoencoders_learn_to_copy():
    x = data.digits().x_train[:256]
    mlkit.manual_seed(0)
    model = models.Autoencoder(64, 32, 8)
    found = train(model, lambda x: ops.binary_cross_entropy_with_logits(model(x), x), [(x,)] * 60)
    assert found[-1] < 0.8 * found[0]
    variational = models.VAE(64, 32, 4)
    found = train(variational, variational.loss, [(x,)] * 60)
    assert found[-1] < 0.9 * found[0]
    images = variational.draw(3, np.random.default_rng(0)).data
    assert images.shape == (3, 64)
    assert ((images >= 0) & (images <= 1)).all()


def test_boxes_and_their_overlap():
    boxes = np.array([[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.2, 0.4], [0.1, 0.1, 0.1, 0.1]])
    assert np.allclose(models.intersection_over_union(boxes, boxes), [[1, 0.5, 0], [0.5, 1, 0], [0, 0, 1]])
    scores, classes = np.array([0.7, 0.9, 0.1]), np.array([1, 1, 1])
    assert list(models.non_maximum_suppression(boxes, scores, classes, 0.4)) == [1, 2]
    assert list(models.non_maximum_suppression(boxes, scores, np.array([1, 2, 1]), 0.4)) == [1, 0, 2]


def test_average_precision_of_a_known_ranking():
    scene = models.Scene(np.zeros((1, 8, 8)), np.array([[0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]]), np.array([0, 0]))
    found = models.Found(
        np.array([[0.2, 0.2, 0.2, 0.2], [0.5, 0.2, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]]), np.array([0.9, 0.8, 0.7]), np.zeros(3)
    )
    assert models.mean_average_precision([found], [scene]) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert models.mean_average_precision([models.Found(*(a[:0] for a in found))], [scene]) == 0


def test_a_detector_learns_where_things_are():
    split = data.digits()
    rng = np.random.default_rng(0)
    images = split.x_train[:200].reshape(-1, 8, 8)
    scenes = models.scenes(images, split.y_train[:200], 32, size=32, most=2, rng=rng)
    mlkit.manual_seed(0)
    model = models.Detector(10, width=8)
    x = np.stack([scene.image for scene in scenes])
    wanted, classes = model.targets(scenes, 4)
    train(model, lambda x, *targets: model.loss(model(x), *targets), [(x, wanted, classes)] * 150)
    with mlkit.no_grad():
        found = model(x)  # the statistics of this batch: it is what the network was trained on
    precision = models.mean_average_precision(model.detections(found.data), scenes)
    assert precision > 0.6


def test_a_summary_shows_layers_shapes_parameters_and_products():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 5))
    found = model.summary((2, 3, 8, 8))
    assert [layer.shape for layer in found.layers] == [(2, 8, 8, 8), (2, 8, 4, 4), (2, 128), (2, 5)]
    assert found.parameters == 3 * 8 * 9 + 8 + 128 * 5 + 5
    assert found.flops > 2 * (2 * 64 * 27 * 8 + 2 * 128 * 5) * 0.9
    assert "2×128×5" in str(found)
    assert model.training
    assert model(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 5)


def test_a_summary_counts_what_is_done_between_the_layers():
    found = gpt().summary(np.zeros((3, 8), int))
    between = found.layers[-1]
    assert between.kind == "between the layers"
    assert "12·2×8×8×8" in between.products  # scores of 2 heads, and their products with the values, for 3 texts in 2 blocks
    assert between.flops > 2 * 2 * 3 * 2 * 2 * 8 * 8 * 8


def test_the_first_layer_that_is_not_finite_is_named():
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    model[2].weight.data[0, 0] = np.nan
    x = np.ones((2, 3), np.float32)
    with nn.finite(model), pytest.raises(NonFiniteError, match=r"^2, Linear\(4, 2, bias=True\): 2 of 4"):
        model(x)
    assert np.isnan(model(x).data).any()  # outside the block nobody looks


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: models.ResNet(19), ArgumentError),
        (lambda: models.VGGNet(12), ArgumentError),
        (lambda: models.MLP([3]), ArgumentError),
        (lambda: models.MLP([3, 4], "step"), ArgumentError),
        (lambda: models.CharLSTM(5, kind="QRNN"), ArgumentError),
        (lambda: models.GPT(n_embd=10, n_head=3), ArgumentError),
        (lambda: gpt()(np.zeros((1, 9), int)), ShapeError),
        (lambda: gpt().generate(np.zeros(3), 2), ShapeError),
        (lambda: models.sampled(np.zeros((1, 2)), top_p=0), ArgumentError),
        (lambda: models.Detector()(np.zeros((1, 1, 12, 12), np.float32)), ShapeError),
        (lambda: models.mean_average_precision([], [None]), ShapeError),
        (lambda: models.LeNet5().summary(), ArgumentError),
    ],
)
def test_what_makes_no_sense_is_refused(call, error):
    with pytest.raises(error):
        call()
