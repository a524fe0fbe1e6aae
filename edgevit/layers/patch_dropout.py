"""Training on some of an image's tokens: the blocks between drop and restore cost that share."""

from __future__ import annotations

import keras
from keras import layers, ops

from edgevit.layers.configured import ConfiguredLayer


class PatchDropout(ConfiguredLayer):
    """Keeps a random subset of each image's tokens while training; the identity at inference.

    Source: Liu et al. 2022, "PatchDropout: Economizing Vision Transformers Using Patch Dropout"
    (arXiv:2208.07220). Tokens carry their positions already, so the order of those kept is free.

    Input: B N C. Outputs: B K C with K = kept + round((N - kept) * (1 - rate)), at least one; and
    the ranks int32 B N, from which :class:`PatchRestore` knows where each one was: the token at
    position n is row rank[n] of the output, or is gone where rank[n] >= K.

    Args:
        rate: share of the tokens that are dropped, in [0, 1).
        kept: tokens in front, such as a class token, that always stay.
        seed: seed of the layer's own generator.
    """

    def __init__(self, rate: float, kept: int = 0, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"PatchDropout needs a rate in [0, 1). Received: rate={rate}")
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        tokens = x.shape[1]
        shape = (ops.shape(x)[0], tokens)
        if not training:
            return x, ops.broadcast_to(ops.arange(tokens, dtype="int32"), shape)
        noise = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)  # B N
        noise = ops.where(ops.arange(tokens) < self.kept, -1.0, noise)
        order = ops.argsort(noise, axis=1)  # B N
        left = self.kept + max(1, round((tokens - self.kept) * (1 - self.rate)))
        x = ops.take_along_axis(x, order[:, :left, None], axis=1)  # B K C
        return x, ops.cast(ops.argsort(order, axis=1), "int32")

    def compute_output_shape(self, input_shape):
        return tuple(input_shape), tuple(input_shape[:2])


class PatchRestore(layers.Layer):
    """Puts tokens back to their positions, with zeros for those dropped; the identity at inference.

    The others are scaled by N / K, as by dropout, so that the expected value does not change.

    Inputs: tokens B K C and ranks B N of :class:`PatchDropout`. Output: B N C.
    """

    def call(self, x, ranks, training=False):
        if not training:
            return x
        left, tokens = x.shape[1], ranks.shape[1]
        x = ops.pad(x * (tokens / left), ((0, 0), (0, 1), (0, 0)))  # B K+1 C, the last one zero
        return ops.take_along_axis(x, ops.minimum(ranks, left)[..., None], axis=1)

    def compute_output_shape(self, x_shape, ranks_shape):
        return (x_shape[0], ranks_shape[1], x_shape[2])
