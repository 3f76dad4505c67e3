"""Networks that make images from few numbers: their output has a structure, not a class."""

from typing import TYPE_CHECKING, Any

from .. import nn, ops
from ..nn.init import generator
from .perceptron import MLP

if TYPE_CHECKING:
    from numpy.random import Generator


class Autoencoder(nn.Module):
    """Images squeezed through `code` numbers and made again: (N, inputs) -> (N, inputs) logits.

    Source: Hinton & Salakhutdinov 2006.
    """

    def __init__(self, inputs: int = 784, hidden: int = 256, code: int = 32) -> None:
        self.encoder, self.decoder = MLP([inputs, hidden, code]), MLP([code, hidden, inputs])

    def forward(self, x: Any) -> Any:
        return self.decoder(self.encoder(x))


class VAE(nn.Module):
    """An autoencoder whose code is a normal distribution: (N, inputs) -> logits (N, inputs), mean and log-variance (N, code).

    `loss` is minus the evidence lower bound. `draw` makes new images. Source: Kingma & Welling 2014.
    """

    def __init__(self, inputs: int = 784, hidden: int = 256, code: int = 16, rng: "Generator | None" = None) -> None:
        self.encoder, self.decoder = MLP([inputs, hidden, 2 * code]), MLP([code, hidden, inputs])
        self.code, self.rng = code, rng

    def forward(self, x: Any) -> tuple[Any, Any, Any]:
        both = self.encoder(x)
        mean, log_variance = both[:, : self.code], both[:, self.code :]
        noise = ops.normal_like(mean, generator(self.rng))
        return self.decoder(mean + ops.exp(log_variance * 0.5) * noise), mean, log_variance

    def loss(self, x: Any) -> Any:
        """Cross-entropy of the pixels, x between 0 and 1, plus the divergence of the code from a standard normal, per image."""
        logits, mean, log_variance = self(x)
        pixels = ops.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        divergence = ops.sum(ops.exp(log_variance) + mean * mean - log_variance - 1.0) * 0.5
        return (pixels + divergence) * (1 / len(x))

    def draw(self, count: int, rng: "Generator | None" = None) -> Any:
        """New images, (count, inputs), each pixel between 0 and 1."""
        code = generator(rng).standard_normal((count, self.code)).astype(next(self.decoder.parameters()).dtype)
        return ops.sigmoid(self.decoder(code)).detach()
