"""Layers as Keras computes them, and on torch the same in fewer passes over memory.

Keras' layers are written for every backend. On torch, BatchNormalization makes a pass over its
input for each square, mean, difference and product, and as many again for the gradient;
LayerNormalization in bfloat16 copies its input to float32 and its output back; a convolution's bias
is a pass of its own. torch has a kernel for each of them that does it at once. Wide 3x3
convolutions in float32 take a quarter of the multiplications (:mod:`edgevit.training.winograd`).
"""

from __future__ import annotations

import keras
from keras import layers


def fuse_layers(model: keras.Model) -> None:
    """Exchanges a model's layers for the fastest form on the backend that runs.

    Variables, names and values (up to rounding) stay. Other backends than torch keep Keras' own.
    """
    if keras.backend.backend() != "torch":
        return
    for layer in model._flatten_layers():
        fused = FUSED.get(type(layer))
        if fused is not None:
            # The variables are the layer's; only what it does with them is another.
            object.__setattr__(layer, "__class__", fused)


class FusedBatchNormalization(layers.BatchNormalization):
    """``keras.layers.BatchNormalization`` on torch, over the channels of B H W C."""

    def call(self, inputs, training=None, mask=None):
        fits = len(inputs.shape) == 4 and self.axis in (-1, 3) and mask is None
        usual = self.center and self.scale and not self.renorm
        if not (training and self.trainable and fits and usual):
            return super().call(inputs, training=training, mask=mask)
        import torch

        images = inputs.permute(0, 3, 1, 2)  # B C H W in name, B H W C in memory
        y, mean, scale = torch.native_batch_norm(
            images, self.gamma.value, self.beta.value, None, None, True, 0.0, self.epsilon
        )
        with torch.no_grad():
            variance = scale**-2 - self.epsilon  # C, of the batch itself as in Keras
            for moving, found in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.value.lerp_(found, 1 - self.momentum)
        return y.permute(0, 2, 3, 1)  # B H W C


class FusedLayerNormalization(layers.LayerNormalization):
    """``keras.layers.LayerNormalization`` on torch, over the last axis: sums in float32."""

    def call(self, inputs):
        last = self.axis in (-1, [-1], len(inputs.shape) - 1, [len(inputs.shape) - 1])
        if not (last and self.center and self.scale) or self.rms_scaling:
            return super().call(inputs)
        from torch.nn import functional

        return functional.layer_norm(
            inputs, (inputs.shape[-1],), self.gamma.value, self.beta.value, self.epsilon
        )


class FusedConv2D(layers.Conv2D):
    """``keras.layers.Conv2D`` on torch: a wide 3x3 one as :mod:`edgevit.training.winograd` does it,
    others with the bias added inside. B H W C -> B h w filters."""

    def call(self, inputs):
        ours = self.data_format == "channels_last" and self.dilation_rate == (1, 1)
        if not ours or self.groups != 1:
            return super().call(inputs)
        from edgevit.training.winograd import convolve, is_worthwhile

        alike = self.padding == "same" and self.strides == (1, 1)
        if alike and is_worthwhile(inputs, self.kernel.value):
            y = convolve(inputs, self.kernel.value)
            y = y + self.bias.value if self.use_bias else y
        elif self.use_bias:
            y = self._convolve_with_bias(inputs)
        else:
            return super().call(inputs)
        return y if self.activation is None else self.activation(y)

    def _convolve_with_bias(self, inputs):
        import torch
        from torch.nn import functional

        images = inputs.permute(0, 3, 1, 2)  # B C H W in name, B H W C in memory
        kernel = self.kernel.value.permute(3, 2, 0, 1)  # F C s s
        around = [(0, 0), (0, 0)]
        if self.padding == "same":
            sizes = zip(inputs.shape[1:3], self.kernel_size, self.strides, strict=True)
            around = [_zeros_around(*each) for each in sizes]
        if any(before != after for before, after in around):
            (above, below), (left, right) = around
            images, around = functional.pad(images, (left, right, above, below)), [(0, 0), (0, 0)]
        y = functional.conv2d(
            images.contiguous(memory_format=torch.channels_last),
            kernel.contiguous(memory_format=torch.channels_last),
            self.bias.value,
            self.strides,
            [before for before, _ in around],
        )
        return y.permute(0, 2, 3, 1)  # B h w F


def _zeros_around(extent: int, side: int, stride: int) -> tuple[int, int]:
    """Zeros that "same" adds before and after a map along one axis."""
    total = max((-(-extent // stride) - 1) * stride + side - extent, 0)
    return total // 2, total - total // 2


FUSED: dict[type[layers.Layer], type[layers.Layer]] = {
    layers.BatchNormalization: FusedBatchNormalization,
    layers.LayerNormalization: FusedLayerNormalization,
    layers.Conv2D: FusedConv2D,
}
