"""Attention and Transformer layers; names, masks and defaults are PyTorch's.

Series are (T, N, E), or (N, T, E) with batch_first.
"""

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import kernels as k
from .. import ops
from ..errors import ArgumentError, ShapeError
from ..tensor import Parameter
from . import init
from .embedding import Dropout
from .layer import Linear
from .module import Module
from .norm import LayerNorm

if TYPE_CHECKING:
    from numpy.random import Generator

ACTIVATIONS = ("relu", "gelu")


class MultiheadAttention(Module):
    """Attention in `num_heads` parts: `output, None = attention(query, key, value)`.

    Masks are True where one may not look, or numbers to be added: key_padding_mask (N, S), attn_mask (T, S) or
    (N * heads, T, S). The weights are not returned: the second result is None.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, batch_first: bool = False,
        dtype: Any = np.float32, rng: "Generator | None" = None,
    ) -> None:  # fmt: skip
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ArgumentError(f"MultiheadAttention: a width of {embed_dim} cannot be shared out to {num_heads} heads")
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self.in_proj_weight = init.xavier_uniform_(Parameter(np.empty((3 * embed_dim, embed_dim), dtype)), rng=rng)
        self.in_proj_bias = Parameter(np.zeros(3 * embed_dim, dtype)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype, rng)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)
        self.rng = rng

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, attn_mask: Any = None, is_causal: bool = False
    ) -> tuple[Any, None]:
        for what, x in (("query", query), ("key", key), ("value", value)):
            if x.ndim != 3 or x.shape[2] != self.embed_dim:
                raise ShapeError(f"{self!r}: {what} {x.shape}; it takes series of width {self.embed_dim}")
        alone = query is key is value
        query, key, value = (x if self.batch_first else ops.permute(x, 1, 0, 2) for x in (query, key, value))
        batch, time, _ = query.shape
        mask = self._mask(key_padding_mask, attn_mask, batch, time, key.shape[1], query.dtype)
        drop = {"dropout_p": self.dropout, "rng": init.generator(self.rng)} if self.dropout and k.rely(self, "training") else {}
        if alone:
            packed = ops.linear(query, self.in_proj_weight, self.in_proj_bias)
            y = ops.self_attention(packed, mask, heads=self.num_heads, is_causal=is_causal, **drop)
        else:
            parts = [self._part(x, i) for i, x in enumerate((query, key, value))]
            y = ops.scaled_dot_product_attention(*parts, mask, is_causal=is_causal, **drop)
            y = ops.reshape(ops.permute(y, 0, 2, 1, 3), batch, time, self.embed_dim)
        y = self.out_proj(y)
        return y if self.batch_first else ops.permute(y, 1, 0, 2), None

    def _part(self, x: Any, part: int) -> Any:
        """Query, key or value by heads: (N, heads, T, E / heads)."""
        rows = slice(part * self.embed_dim, (part + 1) * self.embed_dim)
        bias = None if self.in_proj_bias is None else self.in_proj_bias[rows]
        y = ops.linear(x, self.in_proj_weight[rows], bias)
        return ops.permute(ops.reshape(y, *y.shape[:2], self.num_heads, -1), 0, 2, 1, 3)

    def _mask(self, padding: Any, attention: Any, batch: int, time: int, source: int, dtype: Any) -> Any:
        """What is added to the scores: broadcasts to (N, heads, T, S)."""
        found = None
        if padding is not None:
            if padding.shape != (batch, source):
                raise ShapeError(f"{self!r}: key_padding_mask {padding.shape}; it takes ({batch}, {source})")
            found = _added(padding, dtype)[:, None, None, :]
        if attention is not None:
            shapes = (time, source), (batch * self.num_heads, time, source)
            if attention.shape not in shapes:
                raise ShapeError(f"{self!r}: attn_mask {attention.shape}; it takes {shapes[0]} or {shapes[1]}")
            more = _added(attention, dtype)
            more = more[None, None] if more.ndim == 2 else more.reshape(batch, self.num_heads, time, source)
            found = more if found is None else k.add(found, more)
        return found

    def extra_repr(self) -> str:
        return f"{self.embed_dim}, {self.num_heads}"


class TransformerEncoderLayer(Module):
    """Self-attention, then two Linear layers, each with dropout, residual and LayerNorm (before it with norm_first)."""

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: str = "relu",
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
        dtype: Any = np.float32, rng: "Generator | None" = None,
    ) -> None:  # fmt: skip
        _check_activation(self, activation)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first, dtype, rng)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype, rng)
        self.dropout = Dropout(dropout, rng)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype, rng)
        self.norm1, self.norm2 = (LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype) for _ in range(2))
        self.dropout1, self.dropout2 = Dropout(dropout, rng), Dropout(dropout, rng)
        self.activation, self.norm_first = activation, norm_first

    def forward(self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        def attend(x: Any) -> Any:
            return self.dropout1(self.self_attn(x, x, x, src_key_padding_mask, src_mask, is_causal)[0])

        def feed_forward(x: Any) -> Any:
            return self.dropout2(self.linear2(self.dropout(self.linear1(x, activation=self.activation))))

        x = _residual(src, attend, self.norm1, self.norm_first)
        return _residual(x, feed_forward, self.norm2, self.norm_first)


class TransformerDecoderLayer(Module):
    """Self-attention, attention to `memory`, then two Linear layers, each with dropout, residual and LayerNorm."""

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: str = "relu",
        layer_norm_eps: float = 1e-5, batch_first: bool = False, norm_first: bool = False, bias: bool = True,
        dtype: Any = np.float32, rng: "Generator | None" = None,
    ) -> None:  # fmt: skip
        _check_activation(self, activation)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first, dtype, rng)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first, dtype, rng)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype, rng)
        self.dropout = Dropout(dropout, rng)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype, rng)
        self.norm1, self.norm2, self.norm3 = (LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype) for _ in range(3))
        self.dropout1, self.dropout2, self.dropout3 = (Dropout(dropout, rng) for _ in range(3))
        self.activation, self.norm_first = activation, norm_first

    def forward(
        self, tgt: Any, memory: Any, tgt_mask: Any = None, memory_mask: Any = None, tgt_key_padding_mask: Any = None,
        memory_key_padding_mask: Any = None, tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Any:  # fmt: skip
        def attend(x: Any) -> Any:
            return self.dropout1(self.self_attn(x, x, x, tgt_key_padding_mask, tgt_mask, tgt_is_causal)[0])

        def look_up(x: Any) -> Any:
            found = self.multihead_attn(x, memory, memory, memory_key_padding_mask, memory_mask, memory_is_causal)
            return self.dropout2(found[0])

        def feed_forward(x: Any) -> Any:
            return self.dropout3(self.linear2(self.dropout(self.linear1(x, activation=self.activation))))

        x = _residual(tgt, attend, self.norm1, self.norm_first)
        x = _residual(x, look_up, self.norm2, self.norm_first)
        return _residual(x, feed_forward, self.norm3, self.norm_first)


class TransformerEncoder(Module):
    """`num_layers` copies of a layer, one after the other, and a norm."""

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.layers = [copy.deepcopy(encoder_layer) for _ in range(num_layers)]
        self.norm = norm

    def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False) -> Any:
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, is_causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """`num_layers` copies of a layer, one after the other, and a norm."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        self.layers = [copy.deepcopy(decoder_layer) for _ in range(num_layers)]
        self.norm = norm

    def forward(self, tgt: Any, memory: Any, **masks: Any) -> Any:
        """The masks are those of a TransformerDecoderLayer."""
        for layer in self.layers:
            tgt = layer(tgt, memory, **masks)
        return tgt if self.norm is None else self.norm(tgt)


def _residual(x: Any, part: Any, norm: LayerNorm, norm_first: bool) -> Any:
    return ops.add(x, part(norm(x))) if norm_first else norm(ops.add(x, part(x)))


def _check_activation(layer: Module, activation: str) -> None:
    if activation not in ACTIVATIONS:
        raise ArgumentError(f"{type(layer).__name__}: activation {activation!r} is none of {', '.join(ACTIVATIONS)}")


def _added(mask: Any, dtype: Any) -> Any:
    """A mask as numbers that are added to scores."""
    array = mask if isinstance(mask, np.ndarray) else mask.data
    if array.dtype.kind != "b":
        return array
    return k.multiply(k.copy(array, dtype=dtype), k.scalar(-1e30, dtype))
