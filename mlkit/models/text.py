"""Networks that read and write: characters by an LSTM, tokens by Transformers."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels as k
from .. import nn, ops
from ..errors import ArgumentError, ShapeError
from ..kernels import Array
from ..nn.init import generator
from ..tensor import no_grad

if TYPE_CHECKING:
    from numpy.random import Generator


class CharLSTM(nn.Module):
    """The next character after each: (N, T) numbers -> (N, T, vocabulary) logits. `kind` is LSTM, GRU or RNN."""

    def __init__(
        self, vocab_size: int, hidden_size: int = 128, num_layers: int = 1, embedding_dim: int = 64, kind: str = "LSTM"
    ) -> None:
        kinds = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
        if kind not in kinds:
            raise ArgumentError(f"CharLSTM: kind {kind!r} is none of {', '.join(kinds)}")
        self.embedding = nn.Embedding(vocab_size, embedding_dim)
        self.recurrent = kinds[kind](embedding_dim, hidden_size, num_layers, batch_first=True)
        self.head = nn.Linear(hidden_size, vocab_size)

    def forward(self, indices: Any, states: Any = None) -> Any:
        return self.head(self.run(indices, states)[0])

    def run(self, indices: Any, states: Any = None) -> tuple[Any, Any]:
        """(outputs of the recurrent layers, their last states)"""
        found: tuple[Any, Any] = self.recurrent(self.embedding(indices), states)
        return found

    def generate(self, start: Array, count: int, temperature: float = 1.0, rng: "Generator | None" = None) -> Array:
        """`start`, (N, T) numbers, with `count` more drawn one after the other."""
        found, states = np.asarray(start), None
        with no_grad():
            fed = found
            for _ in range(count):
                y, states = self.run(fed, states)
                fed = sampled(np.asarray(self.head(y[:, -1])), temperature, rng=rng)[:, None]
                found = np.concatenate([found, fed], axis=1)
        return found


class CausalSelfAttention(nn.Module):
    """Attention of each position to those before it."""

    def __init__(self, width: int, heads: int, dropout: float, bias: bool) -> None:
        self.c_attn = nn.Linear(width, 3 * width, bias)
        self.c_proj = nn.Linear(width, width, bias)
        self.heads, self.dropout, self.resid_dropout = heads, dropout, nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        drop = {"dropout_p": self.dropout, "rng": generator()} if self.dropout and k.rely(self, "training") else {}
        y = ops.self_attention(self.c_attn(x), heads=self.heads, is_causal=True, **drop)
        return self.resid_dropout(self.c_proj(y))

    def extend(self, x: Any, keys: Array, values: Array, time: int) -> Any:
        """The same for one more position, with the keys and values of the `time` positions before: (N, heads, T, width)."""
        batch, _, width = x.shape
        query, key, value = np.asarray(self.c_attn(x)).reshape(batch, 3, self.heads, -1).transpose(1, 0, 2, 3)
        keys[:, :, time], values[:, :, time] = key, value
        y = ops.scaled_dot_product_attention(query[:, :, None], keys[:, :, : time + 1], values[:, :, : time + 1])
        return self.c_proj(np.ascontiguousarray(y.transpose(0, 2, 1, 3)).reshape(batch, 1, width))


class FeedForward(nn.Module):
    """Two layers, four times as wide between them."""

    def __init__(self, width: int, dropout: float, bias: bool) -> None:
        self.c_fc = nn.Linear(width, 4 * width, bias)
        self.c_proj = nn.Linear(4 * width, width, bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Any) -> Any:
        return self.dropout(self.c_proj(self.c_fc(x, activation="gelu_tanh")))


class GPTBlock(nn.Module):
    """Attention and feed-forward, each after a LayerNorm and added to its input."""

    def __init__(self, width: int, heads: int, dropout: float, bias: bool) -> None:
        self.ln_1, self.attn = nn.LayerNorm(width, bias=bias), CausalSelfAttention(width, heads, dropout, bias)
        self.ln_2, self.mlp = nn.LayerNorm(width, bias=bias), FeedForward(width, dropout, bias)

    def forward(self, x: Any) -> Any:
        x = ops.add(x, self.attn(self.ln_1(x)))
        return ops.add(x, self.mlp(self.ln_2(x)))


class GPTBody(nn.Module):
    """Tokens and positions to vectors, through the blocks."""

    def __init__(self, vocab_size: int, block_size: int, layers: int, heads: int, width: int, dropout: float, bias: bool) -> None:
        self.wte, self.wpe = nn.Embedding(vocab_size, width), nn.Embedding(block_size, width)
        self.drop = nn.Dropout(dropout)
        self.h = [GPTBlock(width, heads, dropout, bias) for _ in range(layers)]
        self.ln_f = nn.LayerNorm(width, bias=bias)

    def forward(self, indices: Any) -> Any:
        x = self.drop(ops.add(self.wte(indices), self.wpe.weight[: indices.shape[1]]))
        for block in self.h:
            x = block(x)
        return self.ln_f(x)


class GPT(nn.Module):
    """A language model: (N, T) token numbers -> (N, T, vocabulary) logits of the token after each, T up to block_size.

    The defaults are nanoGPT's for a CPU. Names in the state dict are GPT-2's; the embedding is the last layer's weight too.
    Source: Radford et al. 2019.
    """

    def __init__(
        self, vocab_size: int = 65, block_size: int = 64, n_layer: int = 4, n_head: int = 4, n_embd: int = 128,
        dropout: float = 0.0, bias: bool = False,
    ) -> None:  # fmt: skip
        if n_embd % n_head:
            raise ArgumentError(f"GPT: a width of {n_embd} cannot be shared out to {n_head} heads")
        self.block_size, self.heads = block_size, n_head
        self.transformer = GPTBody(vocab_size, block_size, n_layer, n_head, n_embd, dropout, bias)
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * n_layer) if name.endswith("c_proj.weight") else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, indices: Any) -> Any:
        if indices.ndim != 2 or not 0 < indices.shape[1] <= self.block_size:
            raise ShapeError(f"GPT: tokens {indices.shape}; it takes (N, T), T from 1 to {self.block_size}")
        return self.lm_head(self.transformer(indices))

    def generate(
        self, start: Array, count: int, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None,
        rng: "Generator | None" = None,
    ) -> Array:  # fmt: skip
        """`start`, (N, T) tokens, with `count` more, each drawn from the logits that follow the last `block_size` tokens.

        temperature 0 takes the likeliest. Keys and values of earlier positions are kept, so a token costs one position –
        until the window is full: then half of it is left behind.
        """
        found = np.asarray(start)
        if found.ndim != 2 or found.shape[1] < 1 or found.dtype.kind not in "iu":
            raise ShapeError(f"GPT.generate: start {found.shape} of {found.dtype}; it takes (N, T) integers, T from 1")
        body = self.transformer
        training = self.training
        self.eval()
        shape = len(body.h), 2, len(found), self.heads, self.block_size, body.wte.embedding_dim // self.heads
        cache, time = np.empty(shape, body.wte.weight.dtype), 0
        waiting = list(found[:, -self.block_size :].T)
        with no_grad():
            for _ in range(count):
                for tokens in waiting:
                    logits = self._extend(tokens, cache, time)
                    time += 1
                token = sampled(logits, temperature, top_k, top_p, rng)
                found = np.concatenate([found, token[:, None]], axis=1)
                waiting = [token]
                if time == self.block_size:
                    waiting, time = list(found[:, -max(1, self.block_size // 2) :].T), 0
        self.train(training)
        return found

    def _extend(self, tokens: Array, cache: Array, time: int) -> Array:
        """Logits after one more token for each series."""
        body = self.transformer
        x = np.asarray(body.wte(tokens[:, None])) + body.wpe.weight.data[time]
        for block, (keys, values) in zip(body.h, cache):
            x = ops.add(x, block.attn.extend(block.ln_1(x), keys, values, time))
            x = ops.add(x, block.mlp(block.ln_2(x)))
        return np.asarray(self.lm_head(body.ln_f(x)))[:, 0]


class TransformerClassifier(nn.Module):
    """A class for each text: (N, T) token numbers -> (N, classes). Tokens equal to `padding` are not looked at."""

    def __init__(
        self, vocab_size: int, num_classes: int, width: int = 64, heads: int = 4, layers: int = 2, max_len: int = 512,
        dropout: float = 0.1, padding: int = 0,
    ) -> None:  # fmt: skip
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=padding)
        self.position = nn.SinusoidalPosition(width, max_len)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width))
        self.head = nn.Linear(width, num_classes)
        self.padding = padding

    def forward(self, indices: Any) -> Any:
        tokens, hidden = _padded(indices, self.padding)
        x = self.encoder(self.position(self.embedding(tokens)), src_key_padding_mask=hidden)
        return self.head(_mean(x, hidden))


class BagOfWords(nn.Module):
    """A class for each text, whatever the order of its tokens: (N, T) numbers -> (N, classes). `padding` is not looked at.

    The mean of the tokens' vectors, and one layer. Source: Joulin et al. 2017.
    """

    def __init__(self, vocab_size: int, num_classes: int, width: int = 32, padding: int = 0) -> None:
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=padding)
        self.head = nn.Linear(width, num_classes)
        self.padding = padding

    def forward(self, indices: Any) -> Any:
        tokens, hidden = _padded(indices, self.padding)
        return self.head(_mean(self.embedding(tokens), hidden))


def _padded(indices: Any, padding: int) -> tuple[Any, Any]:
    """(the tokens, which of them are padding)"""
    tokens = indices.data if isinstance(indices, k.Value) else indices
    return tokens, k.equal(tokens, k.scalar(padding, tokens.dtype))


def _mean(x: Any, hidden: Any) -> Any:
    """(N, T, width) -> (N, width) the mean over the tokens that are there."""
    here = k.subtract(k.scalar(1, x.dtype), k.copy(hidden, dtype=x.dtype))
    share = k.divide(here, k.at_least(1.0, k.sum(here, (1,), True)))
    return ops.sum(ops.multiply(x, share[:, :, None]), axis=1)


def sampled(
    logits: Array, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None, rng: "Generator | None" = None
) -> Array:
    """One number for each row, drawn by its probability: (N, classes) -> (N,).

    top_k keeps the likeliest k, top_p the likeliest that together have that probability (Holtzman et al. 2020).
    """
    if temperature < 0 or (top_k is not None and top_k < 1) or (top_p is not None and not 0 < top_p <= 1):
        raise ArgumentError(f"sampling: temperature {temperature} is from 0, top_k {top_k} from 1, top_p {top_p} in (0, 1]")
    if temperature == 0:
        likeliest: Array = logits.argmax(axis=1)
        return likeliest
    scores = logits.astype(np.float64) / temperature
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    p = np.exp(ranked - ranked[:, :1])
    if top_k is not None:
        p[:, top_k:] = 0
    p /= p.sum(axis=1, keepdims=True)
    if top_p is not None:
        p[np.cumsum(p, axis=1) - p >= top_p] = 0
        p /= p.sum(axis=1, keepdims=True)
    drawn = (np.cumsum(p, axis=1) > generator(rng).random((len(p), 1))).argmax(axis=1)
    found: Array = np.take_along_axis(order, drawn[:, None], axis=1)[:, 0]
    return found
