"""Tensors at the border of a model, and the preprocessing of raw pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edgevit.base.errors import ConfigError, find_named


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type of one input or output.

    Attributes:
        name: as a session's result calls it.
        shape: sizes; None where the size is free.
        dtype: numpy name of the element type.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


MOST_PIXELS = 65_536  # of one side of a picture


def show_shape(shape: Iterable[int | str | None], between: str = " ") -> str:
    """Sizes as text, such as "1 ? 32"; what is free is a question mark."""
    return between.join("?" if size is None else str(size) for size in shape)


@dataclass(frozen=True)
class Preprocess:
    """Raw uint8 pixels to network input, as a contract that can be executed.

    The steps, in order: resize (bilinear, half-pixel centres, no antialiasing), crop the centre,
    then ``x * scale + offset`` for each channel. Pictures have as many channels as ``scale`` has
    numbers.

    Attributes:
        input_size: (rows, columns) of the raw image.
        network_size: (rows, columns) that enter the network.
        resize: (rows, columns) to resize to before the crop; None: network_size.
        scale: factor for each channel, such as R, G, B.
        offset: added after the scale, for each channel.
    """

    input_size: tuple[int, int] = (32, 32)
    network_size: tuple[int, int] = (32, 32)
    resize: tuple[int, int] | None = None
    scale: tuple[float, ...] = (1 / 255, 1 / 255, 1 / 255)
    offset: tuple[float, ...] = (0.0, 0.0, 0.0)

    def __post_init__(self):
        for name in ("input_size", "network_size", "resize", "scale", "offset"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        sides = (*self.input_size, *self.network_size, *self.resized)
        if not all(1 <= side <= MOST_PIXELS for side in sides):
            raise ConfigError(
                f"sizes of pictures are 1 to {MOST_PIXELS:,} pixels. Received: {sides}"
            )

    @property
    def channels(self) -> int:
        """Of a picture."""
        return len(self.scale)

    @property
    def resized(self) -> tuple[int, int]:
        """(rows, columns) after the resize, before the crop."""
        return self.resize or self.network_size

    @property
    def crop_origin(self) -> tuple[int, int]:
        """(top, left) of the centre crop, in pixels."""
        rows, columns = self.resized
        return (rows - self.network_size[0]) // 2, (columns - self.network_size[1]) // 2

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Executes the contract in numpy.

        Args:
            images: uint8 ... H W C of any size.

        Returns:
            float32 ... h w C with (h, w) = network_size.
        """
        frames = images.reshape(-1, *images.shape[-3:])  # B H W C, also of clips B T H W C
        x = resize_bilinear(frames.astype(np.float32), self.resized)
        top, left = self.crop_origin
        x = x[:, top : top + self.network_size[0], left : left + self.network_size[1]]
        x = x * np.array(self.scale, np.float32) + np.array(self.offset, np.float32)
        return x.reshape(*images.shape[:-3], *x.shape[1:])


Channels = tuple[float, ...]


@dataclass(frozen=True)
class Scaling:
    """What happens to raw pixels of 0..255 for each channel: ``x * scale + offset``.

    One number stands for all channels.

    Attributes:
        scale: for each channel.
        offset: likewise.
        reversed: whether the network takes the channels in the other order afterwards: B, G, R.
    """

    scale: Channels
    offset: Channels
    reversed: bool = False

    @classmethod
    def of_statistics(cls, mean: Channels, deviation: Channels) -> Scaling:
        """Centres pixels and brings them to unit deviation; both in units of 0..1."""
        return cls(
            tuple(1 / (255 * spread) for spread in deviation),
            tuple(-middle / spread for middle, spread in zip(mean, deviation, strict=True)),
        )

    def of_channels(self, count: int) -> Scaling:
        """The same for pictures of so many channels.

        Raises:
            ConfigError: it is of another number of channels.
        """
        if len(self.scale) == 1:
            return Scaling(self.scale * count, self.offset * count, self.reversed)
        if len(self.scale) != count:
            raise ConfigError(
                f"this scaling is for pictures of {len(self.scale)} channels, and the model takes "
                f"{count}. Choose raw, unit or signed, or scale inside the model."
            )
        return self


# Mean and standard deviation over ImageNet's training images, as torchvision publishes them.
IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Channels = (0.229, 0.224, 0.225)

# Mean of R, G and B over ImageNet's training images, in 0..255, as Caffe's networks were trained.
CAFFE_MEAN: Channels = (123.68, 116.779, 103.939)

# How published networks want their pixels, by name.
SCALINGS: dict[str, Scaling] = {
    "raw": Scaling((1.0,), (0.0,)),  # 0..255
    "unit": Scaling((1 / 255,), (0.0,)),  # 0..1
    "signed": Scaling((1 / 127.5,), (-1.0,)),  # -1..1
    "imagenet": Scaling.of_statistics(IMAGENET_MEAN, IMAGENET_DEVIATION),
    "caffe": Scaling((1.0,) * 3, tuple(-middle for middle in CAFFE_MEAN), reversed=True),
}


def find_scaling(name: str) -> Scaling:
    """The scaling of this name.

    Raises:
        UnknownNameError: there is none; near misses are named.
    """
    return find_named("scaling", name, SCALINGS)


def resize_bilinear(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resize with half-pixel centres and no antialiasing, as TensorFlow 2 does.

    Args:
        images: float32 B H W C.
        size: (rows, columns).

    Returns:
        float32 B rows columns C.
    """
    if images.shape[1:3] == tuple(size):
        return images
    for axis, length in ((1, size[0]), (2, size[1])):
        old = images.shape[axis]
        position = (np.arange(length, dtype=np.float64) + 0.5) * old / length - 0.5
        low = np.floor(position).astype(int)
        weight = (position - low).astype(np.float32)
        first = np.take(images, np.clip(low, 0, old - 1), axis=axis)
        second = np.take(images, np.clip(low + 1, 0, old - 1), axis=axis)
        shape = [1, 1, 1, 1]
        shape[axis] = length
        images = first + (second - first) * weight.reshape(shape)
    return images
