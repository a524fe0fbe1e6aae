"""One small filter a channel."""

from __future__ import annotations

from keras import ops

from edgevit.layers.configured import ConfiguredLayer


class DepthwiseFilter(ConfiguredLayer):
    """Depthwise convolution without bias, with the kernel of a grouped one. B H W C -> B H W C.

    The result is that of ``keras.layers.Conv2D(C, side, padding="same", groups=C)``, and the
    kernel has its shape: side side 1 C. Keras runs a grouped convolution on TensorFlow through an
    inner function that converters refuse; this one is a plain depthwise convolution everywhere.

    It computes in float32 whatever the policy: a filter of a channel is bound by memory, and oneDNN
    has no fast bfloat16 gradient for those wider than three pixels or than the map. Where a map is
    so small that outer taps of the filter only ever meet padding, they are left out.

    Args:
        side: of the square filter, odd.
    """

    def __init__(self, side: int, **kwargs):
        super().__init__(**kwargs)
        if side < 1 or side % 2 == 0:
            raise ValueError(f"DepthwiseFilter needs an odd side. Received: side={side}")

    def build(self, input_shape):
        self.kernel = self.add_weight(
            (self.side, self.side, 1, input_shape[-1]),
            "glorot_uniform",
            autocast=False,
            name="kernel",
        )

    def call(self, x):
        kernel = ops.reshape(self.kernel, (self.side, self.side, x.shape[-1], 1))  # s s C 1
        rows, columns = (_unreached(self.side, extent) for extent in x.shape[1:3])
        kernel = kernel[rows : self.side - rows, columns : self.side - columns]
        wide = ops.cast(x, kernel.dtype)
        y = ops.depthwise_conv(wide, kernel, padding="same", data_format="channels_last")
        return ops.cast(y, self.compute_dtype)


def _unreached(side: int, extent: int | None) -> int:
    """Taps at each end of a filter that meet nothing but padding on a map of this extent."""
    return 0 if extent is None else max(0, side // 2 - (extent - 1))
