"""The preprocessing contract as a layer, so that raw pixels may enter the graph."""

from __future__ import annotations

from keras import ops

from edgevit.core.tensors import Preprocess
from edgevit.layers.configured import ConfiguredLayer


class Preprocessing(ConfiguredLayer):
    """Executes a :class:`edgevit.core.tensors.Preprocess` inside the graph.

    Input: B H W C in 0..255, uint8 or float; or clips B T H W C. Output: float, h w for H W.

    Args:
        network_size: (rows, columns) of the result.
        resize: (rows, columns) before the centre crop; None: network_size.
        scale: factor for each channel.
        offset: added for each channel after the scale.
    """

    def __init__(
        self, network_size, resize=None, scale=(1 / 255,) * 3, offset=(0.0,) * 3, **kwargs
    ):
        super().__init__(**kwargs)
        self.contract = Preprocess(
            network_size=tuple(network_size), resize=resize, scale=scale, offset=offset
        )

    @classmethod
    def of(cls, contract: Preprocess) -> Preprocessing:
        """The layer that executes this contract, named "preprocessing"."""
        size, resize = contract.network_size, contract.resize
        return cls(size, resize, contract.scale, contract.offset, name="preprocessing")

    def call(self, images):
        contract = self.contract
        x = ops.cast(images, self.compute_dtype)  # B H W C
        frames = tuple(x.shape)[1:-3]  # of a clip: T; an empty TensorShape would count as true
        moved = tuple(x.shape[-3:-1]) != contract.resized or (
            contract.resized != contract.network_size
        )
        if frames and moved:
            x = ops.reshape(x, (-1, *x.shape[-3:]))  # B*T H W C
        if tuple(x.shape[-3:-1]) != contract.resized:
            x = ops.image.resize(x, contract.resized, "bilinear", data_format="channels_last")
        if contract.resized != contract.network_size:
            (top, left), (rows, columns) = contract.crop_origin, contract.network_size
            x = x[:, top : top + rows, left : left + columns]  # B h w C
        if frames and moved:
            x = ops.reshape(x, (-1, *frames, *x.shape[1:]))  # B T h w C
        scale, offset = contract.scale, contract.offset
        # One number for all channels stays a scalar: converters fold it into what follows.
        x = x * (scale[0] if len(set(scale)) == 1 else ops.convert_to_tensor(scale, x.dtype))
        if any(offset):
            x = x + ops.convert_to_tensor(offset, x.dtype)
        return x

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-3], *self.contract.network_size, input_shape[-1])
