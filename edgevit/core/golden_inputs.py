"""Golden values for any kind of input, from a seed, the same bits on every machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgevit.base.bounds import SAMPLE_BYTES, check_memory
from edgevit.base.errors import ConfigError
from edgevit.core.golden_images import draw_images
from edgevit.core.signature import InputSpec

FREE = 32  # stands for a size that the model leaves free
_TERMS = 12  # uniform numbers whose sum is nearly normal, with a variance of one
_BITS = 16


@dataclass(frozen=True)
class Draw:
    """How the values of one input are drawn.

    Attributes:
        shape: of one sample.
        dtype: numpy name.
        picture: whether it is a picture H W C, or frames of one T H W C.
        levels: of other integers: they are 0 .. levels - 1.
    """

    shape: tuple[int, ...]
    dtype: str
    picture: bool = False
    levels: int = 0

    @classmethod
    def of(cls, spec: InputSpec) -> Draw:
        """What a caller of a model hands over for one of its inputs."""
        shape = tuple(size or FREE for size in spec.raw_shape)
        return cls(shape, spec.raw_dtype, spec.preparation is not None, spec.levels)

    def draw(self, count: int, seed: int) -> np.ndarray:
        """Draws samples.

        Args:
            count: how many.
            seed: of numpy's PCG64; sample k depends on (seed, k) alone.

        Returns:
            The type of the input, count and its shape. Floats are nearly normal, around 0 with a
            deviation of 1.
        """
        if self.picture:
            return _draw_pictures(self.shape, count, seed)
        found = np.empty((count, *self.shape), self.dtype)
        for number in range(count):
            rng = np.random.Generator(np.random.PCG64((seed, number)))
            if np.dtype(self.dtype).kind == "f":
                parts = rng.integers(0, 1 << _BITS, (_TERMS, *self.shape)).sum(axis=0)
                # Twice the middle of a part is odd: halves stay exact in float32.
                middle = _TERMS * ((1 << _BITS) - 1)
                found[number] = (2 * parts - middle) / float(1 << (_BITS + 1))
            else:
                found[number] = rng.integers(0, max(2, self.levels), self.shape)
        return found


def draw_inputs(draws: dict[str, Draw], count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draws samples for every input; two inputs never see the same values.

    Raises:
        ConfigError: one sample is larger than any model's, or all do not fit into memory.
    """
    for name, draw in draws.items():
        sample = math.prod(draw.shape) * np.dtype(draw.dtype).itemsize
        if sample > SAMPLE_BYTES:
            raise ConfigError(
                f"the input {name!r} of the shape {draw.shape} takes {sample:,} bytes a sample; "
                f"the limit is {SAMPLE_BYTES:,}."
            )
        check_memory(f"{count} golden inputs for {name!r}", count * sample, ConfigError)
    return {
        name: draw.draw(count, seed + place) for place, (name, draw) in enumerate(draws.items())
    }


def _draw_pictures(shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    """uint8 count H W C, or count T H W C: a picture that moves by a pixel from frame to frame."""
    *frames, rows, columns, channels = shape
    several = math.ceil(channels / 3) if channels not in (1, 4) else 1 + (channels == 4)
    drawn = draw_images(count * several, (rows, columns), seed)  # one after the other
    groups = drawn.reshape(count, several, rows, columns, 3)
    if channels == 1:
        pictures = _luma(groups[:, 0])[..., None]
    elif channels == 4:
        pictures = np.concatenate([groups[:, 0], _luma(groups[:, 1])[..., None]], axis=-1)
    else:
        pictures = np.moveaxis(groups, 1, 3).reshape(count, rows, columns, -1)[..., :channels]
    if not frames:
        return np.ascontiguousarray(pictures)
    moved = [np.roll(pictures, step, axis=2) for step in range(frames[0])]
    return np.stack(moved, axis=1)  # count T H W C


def _luma(images: np.ndarray) -> np.ndarray:
    """uint8 ... 3 -> uint8 ..., by the weights of ITU-R BT.601 in 256ths."""
    red, green, blue = (images[..., channel].astype(np.uint32) for channel in range(3))
    return ((77 * red + 150 * green + 29 * blue) >> 8).astype(np.uint8)
