"""From an image to tokens: patches projected, a class token in front, positions added."""

from __future__ import annotations

import keras
from keras import layers, ops

from edgevit.layers.configured import ConfiguredLayer


class PatchProjection(ConfiguredLayer):
    """Cuts an image into square patches and projects each. B H W C -> B N dim.

    Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), equation 1. Holds the kernel of a Dense on
    flattened patches (rows, then columns, then channels) and computes it as one convolution whose
    stride is its kernel's side: exactly the same sums, without a copy of the pixels. Rows and
    columns beyond the last whole patch are left out.

    Args:
        patch_size: side of a patch, in pixels.
        dim: width of a token.
    """

    def __init__(self, patch_size: int, dim: int, **kwargs):
        super().__init__(**kwargs)
        if patch_size < 1 or dim < 1:
            raise ValueError(
                "PatchProjection needs patches and tokens of at least one. "
                f"Received: patch_size={patch_size}, dim={dim}"
            )

    def build(self, input_shape):
        side, channels = self.patch_size, input_shape[-1]
        self.kernel = self.add_weight(
            (side * side * channels, self.dim), "glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight((self.dim,), "zeros", name="bias")

    def call(self, images):
        side, channels = self.patch_size, images.shape[-1]
        kernel = ops.reshape(self.kernel, (side, side, channels, self.dim))  # p p C dim
        x = ops.conv(
            images, kernel, strides=side, padding="valid", data_format="channels_last"
        )  # B H/p W/p dim
        x = x + self.bias
        return ops.reshape(x, (-1, x.shape[1] * x.shape[2], self.dim))  # B N dim

    def compute_output_shape(self, input_shape):
        batch, rows, columns, _ = input_shape
        return (batch, (rows // self.patch_size) * (columns // self.patch_size), self.dim)


class ClassToken(layers.Layer):
    """Puts one learned token in front of the others. B N C -> B N+1 C.

    Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), equation 1.
    """

    def build(self, input_shape):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.token = self.add_weight((1, 1, input_shape[-1]), initializer, name="token")

    def call(self, x):
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))  # B 1 C
        return ops.concatenate([ops.cast(token, x.dtype), x], axis=1)  # B N+1 C

    def compute_output_shape(self, input_shape):
        batch, tokens, channels = input_shape
        return (batch, tokens + 1, channels)


class PositionEmbedding(ConfiguredLayer):
    """Adds a learned vector for each position. B N C -> B N C.

    Source: Dosovitskiy et al. 2020 (arXiv:2010.11929), equation 1. The weight is N C, as in
    ``keras.layers.Embedding``.
    """

    def build(self, input_shape):
        initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.embeddings = self.add_weight(tuple(input_shape[1:]), initializer, name="embeddings")

    def call(self, x):
        return x + self.embeddings
