"""Convolutions whose windows do not overlap: patches, merged patches, and single pixels."""

from __future__ import annotations

from keras import layers, ops


class TileConv2D(layers.Conv2D):
    """``keras.layers.Conv2D`` with strides of its kernel's size. B H W C -> B H/s W/s filters.

    While it trains, it is computed as one product of all windows with the kernel, which has the
    same value up to rounding and, on torch and a CPU, a gradient that costs several times less.

    Args:
        filters: channels of the output.
        side: of the square window. Where it does not divide the map, the rest is left out, as by
            Keras, and the product is not used.
        **kwargs: of ``keras.layers.Conv2D``, but for the kernel's size and the strides.
    """

    def __init__(self, filters: int, side: int, **kwargs):
        super().__init__(filters, side, strides=side, **kwargs)
        self.side = side

    def call(self, x, training=False):
        side, (rows, columns, channels) = self.side, x.shape[1:]
        if not training or None in (rows, columns) or rows % side or columns % side:
            return super().call(x)
        if side > 1:
            rows, columns = rows // side, columns // side
            x = ops.reshape(x, (-1, rows, side, columns, side, channels))
            x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # B H/s W/s s s C
            x = ops.reshape(x, (-1, rows, columns, side * side * channels))
        y = ops.matmul(x, ops.reshape(self.kernel, (x.shape[-1], self.filters)))
        return self.activation(y + self.bias if self.use_bias else y)

    def get_config(self):
        config = super().get_config()
        for fixed in ("kernel_size", "strides", "rank"):
            config.pop(fixed, None)
        return {**config, "side": self.side}
