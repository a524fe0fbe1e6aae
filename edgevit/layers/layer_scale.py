"""Residual branches that start small."""

from __future__ import annotations

import keras

from edgevit.layers.configured import ConfiguredLayer


class LayerScale(ConfiguredLayer):
    """Multiplies each channel by a learned factor that starts small. B ... C -> B ... C.

    Source: Touvron et al. 2021, "Going deeper with Image Transformers" (arXiv:2103.17239).

    Args:
        initial: value of all factors before training.
    """

    def __init__(self, initial: float = 1e-4, **kwargs):
        super().__init__(**kwargs)

    def build(self, input_shape):
        initializer = keras.initializers.Constant(self.initial)
        self.factor = self.add_weight((input_shape[-1],), initializer, name="factor")

    def call(self, x):
        return x * self.factor
