"""Squeeze and excitation: one gate a channel, computed from the whole image."""

from __future__ import annotations

import keras
from keras import layers, ops

from edgevit.layers.configured import ConfiguredLayer


class SqueezeExcite(ConfiguredLayer):
    """Multiplies each channel by a gate in (0, 1) that is computed from the mean of all channels.

    Source: Hu et al. 2018, "Squeeze-and-Excitation Networks" (arXiv:1709.01507), equations 2 to 4.

    Input and output: B H W C, any float dtype. Weights, in this order: the kernel (and bias) of
    the reduction, the kernel (and bias) of the expansion.

    Args:
        reduction: the channels are reduced to ``C // reduction`` between the two Dense layers.
        activation: between the two, a name that Keras knows. "gelu" is the exact form.
        use_bias: whether the Dense layers have biases.

    Raises:
        ValueError: when nothing would be left between the Dense layers.
    """

    def __init__(
        self, reduction: int = 4, activation: str = "relu", use_bias: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        if reduction < 1:
            raise ValueError(
                f"SqueezeExcite needs a reduction of at least 1. Received: reduction={reduction}"
            )

    def build(self, input_shape):
        channels = input_shape[-1]
        hidden = channels // self.reduction
        if hidden < 1:
            raise ValueError(
                f"SqueezeExcite reduces the channels {self.reduction} times, so there must be at "
                f"least {self.reduction} of them. Received: channels={channels}"
            )
        self.reduce = layers.Dense(
            hidden,
            activation=keras.activations.get(self.activation),
            use_bias=self.use_bias,
            name="reduce",
        )
        self.expand = layers.Dense(
            channels, activation="sigmoid", use_bias=self.use_bias, name="expand"
        )
        self.reduce.build((input_shape[0], channels))
        self.expand.build((input_shape[0], hidden))

    def call(self, x):
        # Rank 2 between the Dense layers: each is then one matrix product wherever it is exported.
        gate = self.expand(self.reduce(ops.mean(x, axis=(1, 2))))  # B C
        return x * ops.reshape(gate, (-1, 1, 1, x.shape[-1]))  # B H W C
