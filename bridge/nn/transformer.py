"""Attention with many heads, and the transformer of "Attention Is All You Need" (Vaswani et al., 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bridge.core._native import Dtype, array
from bridge.core.dtypes import float32
from bridge.core.lattice import finfo
from bridge.core.ops import fast
from bridge.core.ops.create import arange
from bridge.nn.activations import relu
from bridge.nn.dropout import Dropout
from bridge.nn.linear import Linear
from bridge.nn.module import Module
from bridge.nn.normalization import LayerNorm
from bridge.nn.utils import checkpoint as checkpointed

Mask = array | str | None


class MultiHeadAttention(Module):
    """Scaled dot product attention with projections before and after it.

    Args:
        dims:      features of queries and keys in the attention, all heads together.
        num_heads: divides `dims`.
        query_input_dims, key_input_dims: features of the inputs; None for `dims`.
        value_input_dims: None for `key_input_dims`.
        value_dims: features of the values in the attention; None for `dims`.
        value_output_dims: features of the result; None for `dims`.
        bias:      of all projections.

    Parameters: the layers query_proj, key_proj, value_proj and out_proj.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        query_input_dims: int | None = None,
        key_input_dims: int | None = None,
        value_input_dims: int | None = None,
        value_dims: int | None = None,
        value_output_dims: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if dims % num_heads:
            raise ValueError(f"[bridge.nn.MultiHeadAttention] {num_heads} heads cannot share {dims} features evenly")
        key_input_dims = key_input_dims or dims
        value_dims = value_dims or dims
        self.num_heads = num_heads
        self.query_proj = Linear(query_input_dims or dims, dims, bias)
        self.key_proj = Linear(key_input_dims, dims, bias)
        self.value_proj = Linear(value_input_dims or key_input_dims, value_dims, bias)
        self.out_proj = Linear(value_dims, value_output_dims or dims, bias)

    def __call__(self, queries: array, keys: array, values: array, mask: Mask = None) -> array:
        """(B, T_q, value_output_dims) from (B, T_q, ...), (B, T_k, ...) and (B, T_k, ...).

        Args:
            mask: added to the scores, or bool for what is kept: broadcasts to (B, num_heads, T_q, T_k).
        """
        q, k, v = self.query_proj(queries), self.key_proj(keys), self.value_proj(values)
        q, k, v = (a.reshape(*a.shape[:2], self.num_heads, -1).transpose(0, 2, 1, 3) for a in (q, k, v))
        scale = math.sqrt(1 / q.shape[-1])
        heads = fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask).transpose(0, 2, 1, 3)
        return self.out_proj(heads.reshape(*heads.shape[:2], -1))

    @staticmethod
    def create_additive_causal_mask(N: int, dtype: Dtype = float32) -> array:
        """(N, N): 0 for keys up to the query, the least finite number for later ones."""
        numbers = arange(N)
        return (numbers[:, None] < numbers[None]).astype(dtype) * finfo(dtype).min


class _TransformerLayer(Module):
    """What encoder and decoder share: the step with the two linear layers, and where the normalisation stands."""

    def _make(self, dims: int, mlp_dims: int | None, activation: Callable[[Any], Any], norm_first: bool) -> None:
        self.linear1 = Linear(dims, mlp_dims or dims * 4)
        self.linear2 = Linear(mlp_dims or dims * 4, dims)
        self.activation = activation
        self.norm_first = norm_first

    def _step(self, x: array, norm: Module, change: Callable[[array], array]) -> array:
        """x with a change added to it, normalised before or after."""
        if self.norm_first:
            return x + change(norm(x))
        return norm(x + change(x))  # type: ignore[no-any-return]

    def _mlp(self, x: array, dropout: Dropout) -> array:
        return self.linear2(dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_TransformerLayer):
    """Self-attention and two linear layers: (B, T, dims) keeps its shape.

    Args:
        mlp_dims:   features between the linear layers; None for ``4 * dims``.
        dropout:    probability.
        activation: function between the linear layers.
        norm_first: normalise what goes into a step, not what comes out of it.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(dims, num_heads)
        self.ln1, self.ln2 = LayerNorm(dims), LayerNorm(dims)
        self._make(dims, mlp_dims, activation, norm_first)
        self.dropout1, self.dropout2 = Dropout(dropout), Dropout(dropout)

    def __call__(self, x: array, mask: Mask) -> array:
        x = self._step(x, self.ln1, lambda y: self.dropout1(self.attention(y, y, y, mask)))
        return self._step(x, self.ln2, lambda y: self._mlp(y, self.dropout2))


class TransformerDecoderLayer(_TransformerLayer):
    """Self-attention, attention to a memory and two linear layers: (B, T, dims) keeps its shape.

    Args: as of `TransformerEncoderLayer`.
    """

    def __init__(
        self,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(dims, num_heads)
        self.cross_attention = MultiHeadAttention(dims, num_heads)
        self.ln1, self.ln2, self.ln3 = LayerNorm(dims), LayerNorm(dims), LayerNorm(dims)
        self._make(dims, mlp_dims, activation, norm_first)
        self.dropout1, self.dropout2, self.dropout3 = Dropout(dropout), Dropout(dropout), Dropout(dropout)

    def __call__(self, x: array, memory: array, x_mask: Mask, memory_mask: Mask) -> array:
        x = self._step(x, self.ln1, lambda y: self.dropout1(self.self_attention(y, y, y, x_mask)))
        x = self._step(x, self.ln2, lambda y: self.dropout2(self.cross_attention(y, memory, memory, memory_mask)))
        return self._step(x, self.ln3, lambda y: self._mlp(y, self.dropout3))


class TransformerEncoder(Module):
    """`num_layers` encoder layers and a normalisation.

    Args: as of `TransformerEncoderLayer`, and
        checkpoint: compute the inside of each layer again for the gradient instead of keeping it.
    """

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        settings = (dims, num_heads, mlp_dims, dropout, activation, norm_first)
        self.layers = [TransformerEncoderLayer(*settings) for _ in range(num_layers)]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x: array, mask: Mask) -> array:
        for layer in self.layers:
            x = (checkpointed(layer) if self.checkpoint else layer)(x, mask)
        return self.ln(x)


class TransformerDecoder(Module):
    """`num_layers` decoder layers and a normalisation. Args: as of `TransformerEncoder`."""

    def __init__(
        self,
        num_layers: int,
        dims: int,
        num_heads: int,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        norm_first: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        settings = (dims, num_heads, mlp_dims, dropout, activation, norm_first)
        self.layers = [TransformerDecoderLayer(*settings) for _ in range(num_layers)]
        self.ln = LayerNorm(dims)
        self.checkpoint = checkpoint

    def __call__(self, x: array, memory: array, x_mask: Mask, memory_mask: Mask) -> array:
        for layer in self.layers:
            x = (checkpointed(layer) if self.checkpoint else layer)(x, memory, x_mask, memory_mask)
        return self.ln(x)


class Transformer(Module):
    """An encoder and a decoder that attends to what it gives.

    Args: as of `TransformerEncoder`, and
        custom_encoder, custom_decoder: modules that stand in for the standard ones.
    """

    def __init__(
        self,
        dims: int = 512,
        num_heads: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        mlp_dims: int | None = None,
        dropout: float = 0.0,
        activation: Callable[[Any], Any] = relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        norm_first: bool = True,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        settings = (dims, num_heads, mlp_dims, dropout, activation, norm_first, checkpoint)
        encoder, decoder = custom_encoder, custom_decoder
        self.encoder = TransformerEncoder(num_encoder_layers, *settings) if encoder is None else encoder
        self.decoder = TransformerDecoder(num_decoder_layers, *settings) if decoder is None else decoder

    def __call__(self, src: array, tgt: array, src_mask: Mask, tgt_mask: Mask, memory_mask: Mask) -> Any:
        """(B, T_tgt, dims) from (B, T_src, dims) and (B, T_tgt, dims)."""
        return self.decoder(tgt, self.encoder(src, src_mask), tgt_mask, memory_mask)
