"""Images keep the zeros that a convolution left around them: from layer to layer, forward and backward, nothing else changes."""

import numpy as np
import pytest

import mlkit
from mlkit import nn, ops
from mlkit.ops.conv.choice import choose
from mlkit.ops.conv.geometry import geometry
from mlkit.ops.image import Padded

from .cases import Poison


def conv(ins, outs, kernel=3, **options):
    return nn.Conv2d(ins, outs, kernel, **{"padding": kernel // 2, "dtype": np.float64, **options})


def norm(channels):
    return nn.BatchNorm2d(channels, dtype=np.float64)


class Residual(nn.Module):
    """What is added to the input, and the input – through a convolution, if its shape must change."""

    def __init__(self, ins, outs, stride=1, activation="relu", kernel=3):
        self.one, self.two = conv(ins, outs, kernel, stride=stride), conv(outs, outs)
        self.norm, self.activation = norm(outs), activation
        self.short = None if ins == outs and stride == 1 else conv(ins, outs, 1, stride=stride, bias=outs % 2 == 0)

    def forward(self, x):
        return self.norm(self.two(self.one(x)), x if self.short is None else self.short(x), activation=self.activation)


class Apart(nn.Module):
    """A residual block as PyTorch's users write it: sums and activations by themselves."""

    def __init__(self, channels):
        self.one, self.two, self.norm = conv(channels, channels), conv(channels, channels), norm(channels)

    def forward(self, x):
        y = ops.relu(self.one(x))
        return ops.relu(self.norm(self.two(y)) + x)


class Series(nn.Module):
    """Convolutions along all lines of an image, one behind the other."""

    def __init__(self):
        first, second = (nn.Conv1d(a, b, taps, padding=taps // 2, dtype=np.float64) for a, b, taps in ((3, 7, 5), (7, 6, 3)))
        self.layers = nn.Sequential(first, nn.BatchNorm1d(7, dtype=np.float64), nn.ReLU(), second, nn.Tanh())

    def forward(self, x):
        return self.layers(ops.reshape(x, *x.shape[:2], -1))


class Twice(nn.Module):
    """Gradients of two convolutions arrive at one place."""

    def __init__(self, channels, kernel, algorithm=None, swapped=False):
        self.first, self.second = conv(channels, channels), conv(channels, channels, kernel, bias=False)
        self.algorithm, self.swapped = algorithm, swapped

    def forward(self, x):
        first = self.first(x)
        second = ops.conv2d(x, self.second.weight, padding=self.second.padding, algorithm=self.algorithm)
        return second + first if self.swapped else first + second


NETWORKS = {
    "two": lambda: [conv(3, 7), conv(7, 5)],
    "two, fused": lambda: [conv(3, 7), nn.ReLU(), conv(7, 8), nn.Tanh(), conv(8, 2)],
    "wide": lambda: [conv(3, 7, 5), nn.Sigmoid(), conv(7, 8, 5), nn.ReLU(), conv(8, 3)],
    "winograd": lambda: [conv(3, 32), nn.ReLU(), conv(32, 32), nn.ReLU(), conv(32, 32)],
    "norm": lambda: [conv(3, 7), norm(7), nn.ReLU(), conv(7, 8), norm(8), conv(8, 2)],
    "max": lambda: [conv(3, 7), nn.ReLU(), nn.MaxPool2d(2), conv(7, 8), nn.ReLU(), nn.MaxPool2d(2), conv(8, 3)],
    "pools": lambda: [conv(3, 7), nn.MaxPool2d(3, 2), conv(7, 6), nn.AvgPool2d(2, 1, 1), conv(6, 6), nn.AdaptiveAvgPool2d(3)],
    "no padding": lambda: [conv(3, 7), conv(7, 6, padding=0), norm(6), conv(6, 6), conv(6, 3, 2, padding=1)],
    "pointwise": lambda: [conv(3, 7), conv(7, 6, 1), norm(6), nn.ReLU(), conv(6, 7, 1, stride=2), conv(7, 6), conv(6, 2, 1)],
    "strides": lambda: [conv(3, 7, stride=2), norm(7), conv(7, 6, stride=2), conv(6, 3)],
    "depthwise": lambda: [conv(3, 6), conv(6, 6, groups=6), norm(6), conv(6, 6, 1), conv(6, 6, groups=2)],
    "dilated": lambda: [conv(3, 7), conv(7, 6, dilation=2, padding=2), norm(6), conv(6, 3)],
    "gaps": lambda: [conv(3, 7), nn.GELU(), conv(7, 6), nn.Upsample(scale_factor=2), conv(6, 3)],
    "transposed": lambda: [conv(3, 7), nn.ConvTranspose2d(7, 6, 3, 2, 1, dtype=np.float64), conv(6, 3)],
    "transposed pixels": lambda: [conv(3, 7), *(nn.ConvTranspose2d(7, 7, 1, s, dtype=np.float64) for s in (1, 2)), conv(7, 3)],
    "residual": lambda: [conv(3, 7), Residual(7, 7), Residual(7, 7, 1, None), Residual(7, 6, 2), Residual(6, 8, 2, "tanh", 5)],
    "series": lambda: [Series()],
    "apart": lambda: [conv(3, 7), Apart(7), Apart(7), conv(7, 2)],
    "sums": lambda: [conv(3, 7), Twice(7, 1), conv(7, 7), Twice(7, 3), conv(7, 7), Twice(7, 3, "direct"), Twice(7, 5)],
    "winograd sums": lambda: [conv(3, 7), Twice(7, 3, "winograd"), Twice(7, 3, "winograd", swapped=True), conv(7, 2)],
    "swapped sums": lambda: [conv(3, 7), Twice(7, 1, None, True), conv(7, 7), Twice(7, 3, "direct", True), Twice(7, 5, None, True)],
}
SIZES = {"even": (2, 12, 16), "odd": (3, 9, 7), "many": (70, 11, 33), "one": (1, 17, 13)}


def gradients(model, x, v):
    """Value, and the gradients of input and parameters."""
    for parameter in model.parameters():
        parameter.zero_grad()
    leaf = mlkit.tensor(x, requires_grad=True)
    y = model(leaf)
    y.backward(v(y.shape))
    return [y.data.copy(), leaf.grad.data, *(p.grad.data.copy() for p in model.parameters())]


@pytest.fixture
def forgotten(monkeypatch):
    """Call it, and no zeros are known, no gradient is added in place: every op works by itself."""

    def forget():
        monkeypatch.setattr(Padded, "of", classmethod(lambda cls, x: None))
        monkeypatch.setattr("mlkit.ops.conv.Addend", lambda write, add: write)

    return forget


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_known_zeros_change_nothing(layers, size, rng, forgotten):
    mlkit.manual_seed(0)
    model = nn.Sequential(*layers())
    x = rng.standard_normal((size[0], 3, *size[1:]))

    def v(shape):
        return np.random.default_rng(1).standard_normal(shape)

    with Poison():
        found = gradients(model, x, v)
    again = gradients(model, x, v)
    forgotten()
    expected = gradients(model, x, v)
    for a, b, c in zip(found, again, expected):
        assert np.array_equal(a, b)
        assert np.allclose(a, c, rtol=1e-8, atol=1e-8 * max(1, abs(c).max()))


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "name"),
    [
        ((64, 64, 16, 16), 1, 1, "pointwise"),
        ((64, 3, 32, 32), 3, 1, "planar"),
        ((64, 32, 16, 16), 3, 2, "gathered"),
        ((1, 64, 8, 8), 3, 1, "gathered"),  # little to multiply
        ((1, 512, 7, 7), 3, 1, "gathered"),  # more weights than pixels
        ((1, 64, 16, 16), 3, 1, "winograd"),
        ((64, 64, 16, 16), 3, 1, "winograd"),
        ((64, 16, 32, 32), 3, 1, "direct"),  # transforms would cost what they save
    ],
)
def test_the_algorithm_is_chosen_for_the_shape(shape, kernel, stride, name):
    batch, channels, *size = shape
    pad = kernel // 2
    outputs = max(16, channels)
    g = geometry(batch, channels, tuple(size), outputs, (kernel, kernel), (stride, stride), (pad, pad), (1, 1))
    assert choose(g) == name
