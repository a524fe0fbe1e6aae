"""Multi-head attention written as plain matrix products, which every converter knows."""

from __future__ import annotations

import math

from keras import layers, ops

from edgevit.layers.configured import ConfiguredLayer


class TokenAttention(ConfiguredLayer):
    """Scaled dot-product attention of query tokens over tokens, with several heads.

    Source: Vaswani et al. 2017, "Attention Is All You Need" (arXiv:1706.03762), section 3.2. No
    Einsum and no fused kernel: the same graph with and without dropout, and the weights can be
    looked at. The scale ``1 / sqrt(head_dim)`` is folded into the query's kernel and bias, where
    a converter computes it once.

    Input: queries B Q C; tokens B N C, from which keys and values are computed, or None: the
    queries attend over themselves. Output: B Q C, and the attention B K Q N, whose rows are
    positive and sum to one (before dropout).

    Weights, in the order and shapes of ``keras.layers.MultiHeadAttention``: kernel C K D and bias
    K D of query, key and value, then kernel K D C and bias C of the output.

    Args:
        num_heads: K.
        head_dim: D, width of each head.
        dropout: rate on the attention, training only.

    Raises:
        ValueError: no heads, or heads without width.
    """

    def __init__(self, num_heads: int, head_dim: int, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        if num_heads < 1 or head_dim < 1:
            raise ValueError(
                "TokenAttention needs at least one head of at least one channel. "
                f"Received: num_heads={num_heads}, head_dim={head_dim}"
            )
        self.drop = layers.Dropout(dropout, name="drop")

    def build(self, queries_shape, tokens_shape=None):
        heads, width = self.num_heads, self.head_dim
        tokens_shape = tokens_shape or queries_shape
        self.query = self._add_projection("query", queries_shape[-1])
        self.key = self._add_projection("key", tokens_shape[-1])
        self.value = self._add_projection("value", tokens_shape[-1])
        self.output_kernel = self.add_weight(
            (heads, width, queries_shape[-1]), "glorot_uniform", name="output_kernel"
        )
        self.output_bias = self.add_weight((queries_shape[-1],), "zeros", name="output_bias")

    def call(self, queries, tokens=None, training=False):
        heads, width = self.num_heads, self.head_dim
        tokens = queries if tokens is None else tokens
        query = self._project(queries, self.query, 1 / math.sqrt(width))  # B Q K D
        key = self._project(tokens, self.key)  # B N K D
        value = self._project(tokens, self.value)  # B N K D
        query = ops.transpose(query, (0, 2, 1, 3))  # B K Q D
        key = ops.transpose(key, (0, 2, 3, 1))  # B K D N
        value = ops.transpose(value, (0, 2, 1, 3))  # B K N D
        attention = ops.softmax(ops.matmul(query, key), axis=-1)  # B K Q N
        x = ops.matmul(self.drop(attention, training=training), value)  # B K Q D
        x = ops.transpose(x, (0, 2, 1, 3))  # B Q K D
        x = ops.reshape(x, (-1, queries.shape[1], heads * width))  # B Q KD
        kernel = ops.reshape(self.output_kernel, (heads * width, queries.shape[-1]))  # KD C
        return ops.matmul(x, kernel) + self.output_bias, attention  # B Q C, B K Q N

    def compute_output_shape(self, queries_shape, tokens_shape=None):
        tokens_shape = tokens_shape or queries_shape
        attention = (queries_shape[0], self.num_heads, queries_shape[1], tokens_shape[1])
        return tuple(queries_shape), attention

    def _add_projection(self, name, channels):
        heads, width = self.num_heads, self.head_dim
        kernel = self.add_weight((channels, heads, width), "glorot_uniform", name=f"{name}_kernel")
        return kernel, self.add_weight((heads, width), "zeros", name=f"{name}_bias")

    def _project(self, x, weights, scale=1.0):
        heads, width = self.num_heads, self.head_dim
        kernel, bias = weights
        kernel = ops.reshape(kernel, (x.shape[-1], heads * width))  # C KD
        bias = ops.reshape(bias, (heads * width,))  # KD
        if scale != 1.0:
            kernel, bias = kernel * scale, bias * scale
        x = ops.matmul(x, kernel) + bias  # B N KD
        return ops.reshape(x, (-1, x.shape[1], heads, width))  # B N K D
