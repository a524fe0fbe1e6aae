"""Attention inside windows of a feature map, local or with a global query."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.windows import window_partition, window_reverse


class WindowAttention(ConfiguredLayer):
    """Multi-head attention inside each window, with a bias for each relative position.

    Sources: Liu et al. 2021, "Swin Transformer" (arXiv:2103.14030), equation 4; Hatamizadeh et al.
    2022, "Global Context Vision Transformers" (arXiv:2206.09959), section 3.2, for the global
    query: one window of queries for the whole image, which every window's tokens answer.

    Inputs: ``x``, B H W C, with H and W multiples of the window; with a global query also
    ``query``, B window window C.
    Outputs: B H W C; and the attention weights, M K N N, with M = B * H/window * W/window windows
    (those of one image together, row by row), K heads, N = window * window tokens as queries and
    N as keys. Each row of N keys sums to one; dropout is not yet applied.

    Weights, in this order: the bias table, one row a relative position and one column a head;
    kernel and bias of the projection to (query,) key and value; kernel and bias of the output
    projection.

    Args:
        window: side of a window, in tokens.
        num_heads: heads, which share the channels.
        global_query: whether the queries are given instead of computed from the window.
        shared_bias: whether all heads share one bias, made of the first values of the table read
            row by row. So does the published Keras code of GCViT, where a gather lacks its axis.
        dropout: rate on the attention weights, training only.

    Raises:
        ValueError: when the heads do not divide the channels, or the windows the map.
    """

    def __init__(
        self,
        window: int,
        num_heads: int,
        global_query: bool = False,
        shared_bias: bool = False,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.positions = relative_positions(window)  # N N

    def build(self, x_shape, query_shape=None):
        batch, rows, columns, channels = x_shape
        if channels % self.num_heads or rows % self.window or columns % self.window:
            raise ValueError(
                "WindowAttention needs channels that num_heads divides, and rows and columns that "
                f"the window divides. Received: rows={rows}, columns={columns}, "
                f"channels={channels}, window={self.window}, num_heads={self.num_heads}"
            )
        tokens = self.window**2
        parts = 2 if self.global_query else 3
        self.bias_table = self.add_weight(
            name="bias_table",
            shape=((2 * self.window - 1) ** 2, self.num_heads),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
        )
        self.qkv = layers.Dense(parts * channels, name="qkv")
        self.drop = layers.Dropout(self.dropout, name="drop")
        self.project = layers.Dense(channels, name="project")
        self.qkv.build((batch, tokens, channels))
        self.project.build((batch, tokens, channels))

    def call(self, x, query=None, training=False):
        _, rows, columns, channels = x.shape
        parts = self.qkv(window_partition(x, self.window))  # M N 3C, or M N 2C
        if self.global_query:
            count = (rows // self.window) * (columns // self.window)  # windows of an image
            query, start = self._spread(query, count), 0  # M K N D
        else:
            scale = (channels // self.num_heads) ** -0.5
            query, start = self._split_heads(parts[..., :channels] * scale), channels  # M K N D
        key = self._split_heads(parts[..., start : start + channels], transposed=True)  # M K D N
        value = self._split_heads(parts[..., start + channels :])  # M K N D

        weights = ops.softmax(ops.matmul(query, key) + self._bias(), axis=-1)  # M K N N
        y = ops.matmul(self.drop(weights, training=training), value)  # M K N D
        y = ops.transpose(y, (0, 2, 1, 3))  # M N K D
        y = ops.reshape(y, (-1, self.window**2, channels))  # M N C
        return window_reverse(self.project(y), self.window, rows, columns), weights

    def _split_heads(self, x, transposed=False):
        """M N C -> M K N D, or M K D N."""
        tokens, channels = x.shape[1:]
        x = ops.reshape(x, (-1, tokens, self.num_heads, channels // self.num_heads))  # M N K D
        return ops.transpose(x, (0, 2, 3, 1) if transposed else (0, 2, 1, 3))

    def _spread(self, query, count):
        """Scales the query of an image and repeats it for its windows. B w w C -> M K N D."""
        tokens, heads = self.window**2, self.num_heads
        depth = query.shape[-1] // heads
        query = ops.reshape(query, (-1, tokens, heads * depth))  # B N C
        query = self._split_heads(query)  # B K N D
        query = ops.reshape(query, (-1, 1, heads * tokens, depth))  # B 1 K*N D
        # One product scales and repeats; unlike a tile, every runtime's fast path has it.
        scales = np.full((1, count, 1, 1), depth**-0.5)
        query = query * ops.convert_to_tensor(scales, query.dtype)  # B M/B K*N D
        return ops.reshape(query, (-1, heads, tokens, depth))  # M K N D

    def _bias(self):
        """1 K N N, or 1 1 N N where all heads share it."""
        tokens = self.window**2
        flat = self.positions.reshape(-1)  # N*N
        if self.shared_bias:
            table = ops.reshape(self.bias_table, (-1,))  # (2w-1)^2 * K
            return ops.reshape(ops.take(table, flat, axis=0), (1, 1, tokens, tokens))  # 1 1 N N
        bias = ops.take(self.bias_table, flat, axis=0)  # N*N K
        bias = ops.transpose(bias, (1, 0))  # K N*N
        return ops.reshape(bias, (1, self.num_heads, tokens, tokens))  # 1 K N N

    def compute_output_shape(self, x_shape, query_shape=None):
        batch, rows, columns, _ = x_shape
        windows = (rows // self.window) * (columns // self.window)
        many = None if batch is None else batch * windows
        tokens = self.window**2
        return tuple(x_shape), (many, self.num_heads, tokens, tokens)


def relative_positions(window: int) -> np.ndarray:
    """Which row of the bias table belongs to each pair of tokens of a window.

    Args:
        window: side of a window, in tokens.

    Returns:
        int32 N N (queries, keys): ``(dr + w - 1) * (2w - 1) + dc + w - 1``, where a query stands dr
        rows below and dc columns right of its key.
    """
    row, column = (axis.reshape(-1) for axis in np.indices((window, window)))  # N
    down = row[:, None] - row[None, :] + window - 1  # N N
    right = column[:, None] - column[None, :] + window - 1  # N N
    return (down * (2 * window - 1) + right).astype(np.int32)
