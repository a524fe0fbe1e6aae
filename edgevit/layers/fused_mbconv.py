"""A convolutional block that gives features their neighbourhood."""

from __future__ import annotations

from keras import layers

from edgevit.layers.activations import gelu_exact
from edgevit.layers.configured import ConfiguredLayer
from edgevit.layers.squeeze_excite import SqueezeExcite


class FusedMBConv(ConfiguredLayer):
    """A residual convolutional block with squeeze and excitation. B H W C -> B H W C.

    Source: Hatamizadeh et al. 2022, "Global Context Vision Transformers" (arXiv:2206.09959),
    equation 1: a modified form of the block of EfficientNetV2 (arXiv:2104.00298), without
    expansion and without normalisation.

    Weights, in this order: the kernels of the depthwise convolution, of the two Dense layers of
    squeeze and excitation, and of the projection. There are no biases.
    """

    def build(self, input_shape):
        self.depthwise = layers.DepthwiseConv2D(
            3, padding="same", use_bias=False, activation=gelu_exact, name="depthwise"
        )
        self.excite = SqueezeExcite(4, "gelu", name="excite")
        self.project = layers.Conv2D(input_shape[-1], 1, use_bias=False, name="project")
        for layer in (self.depthwise, self.excite, self.project):
            layer.build(input_shape)

    def call(self, x):
        return x + self.project(self.excite(self.depthwise(x)))
