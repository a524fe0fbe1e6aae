"""The query that all windows of a feature map share."""

from __future__ import annotations

from keras import layers

from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.downsample import pad_for_stride
from edgevit.layers.fused_mbconv import FusedMBConv


class GlobalQueryGenerator(ConfiguredLayer):
    """Shrinks a feature map to one window. B H W C -> B w w C.

    Source: Hatamizadeh et al. 2022, "Global Context Vision Transformers" (arXiv:2206.09959).

    Args:
        halvings: how often the sides are halved; with 0 the map is one window already, and only
            its features are extracted.
    """

    def __init__(self, halvings, **kwargs):
        super().__init__(**kwargs)

    def build(self, input_shape):
        count = max(1, self.halvings)
        self.stages = [FusedMBConv(name=f"stage{stage + 1}") for stage in range(count)]
        self.pool = layers.MaxPooling2D(3, strides=2, name="pool")
        for stage in self.stages:
            stage.build(input_shape)

    def call(self, x):
        for stage in self.stages:
            x = stage(x)  # B H W C
            if self.halvings:
                x = self.pool(pad_for_stride(x))  # B H/2 W/2 C
        return x

    def compute_output_shape(self, input_shape):
        batch, rows, columns, channels = input_shape
        return (batch, rows >> self.halvings, columns >> self.halvings, channels)
