"""Halving a feature map with a convolution, as GCViT does."""

from __future__ import annotations

from keras import layers, ops

from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.fused_mbconv import FusedMBConv


class Downsample(ConfiguredLayer):
    """Halves a feature map's sides, rounding up. B H W C -> B H/2 W/2 C'.

    Source: Hatamizadeh et al. 2022, "Global Context Vision Transformers" (arXiv:2206.09959).

    Args:
        double: whether the channels are doubled.
        epsilon: of LayerNormalization.
    """

    def __init__(self, double=True, epsilon=1e-5, **kwargs):
        super().__init__(**kwargs)

    def build(self, input_shape):
        width = self.compute_output_shape(input_shape)[-1]
        # The tutorial creates the norms last; its checkpoints are in that order.
        self.mbconv = FusedMBConv(name="mbconv")
        self.reduction = layers.Conv2D(width, 3, strides=2, use_bias=False, name="reduction")
        self.norm1 = layers.LayerNormalization(epsilon=self.epsilon, name="norm1")
        self.norm2 = layers.LayerNormalization(epsilon=self.epsilon, name="norm2")
        for layer in (self.mbconv, self.reduction, self.norm1):
            layer.build(input_shape)
        self.norm2.build(self.compute_output_shape(input_shape))

    def call(self, x):
        x = self.mbconv(self.norm1(x))  # B H W C
        return self.norm2(self.reduction(pad_for_stride(x)))  # B H/2 W/2 C'

    def compute_output_shape(self, input_shape):
        batch, rows, columns, channels = input_shape
        return (batch, -(-rows // 2), -(-columns // 2), channels * (2 if self.double else 1))


def pad_for_stride(x):
    """Zeros for a 3x3 window with stride 2 whose first centre is the first pixel.

    One row above and one column to the left; below and to the right only where the window gets
    there, which an even side's does not.
    """
    _, rows, columns, _ = x.shape
    return ops.pad(x, [(0, 0), (1, rows % 2), (1, columns % 2), (0, 0)])
