"""Stochastic depth."""

from __future__ import annotations

import keras
from keras import ops

from edgevit.layers.configured import ConfiguredLayer


class DropPath(ConfiguredLayer):
    """Drops a residual branch of whole samples while training; the identity at inference.

    Source: Huang et al. 2016, "Deep Networks with Stochastic Depth" (arXiv:1603.09382). The kept
    branches are scaled by ``1 / (1 - rate)``, so the expected value does not change.

    Input and output: B ..., any float dtype.

    Args:
        rate: probability of dropping a sample's branch, in [0, 1).
        seed: seed of the layer's own generator.
    """

    def __init__(self, rate: float = 0.0, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"DropPath needs a rate in [0, 1). Received: rate={rate}")
        if rate > 0.0:
            self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        if not training or self.rate == 0.0:
            return x
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        keep = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) >= self.rate
        return x * ops.cast(keep, x.dtype) / (1.0 - self.rate)
