"""Degradations of pictures on their way to a network: JPEG compression and another framing."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

SHIFT_PIXELS = 2
# (down, right): the eight neighbours.
DIRECTIONS = np.array([(r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0)])


@dataclass(frozen=True)
class Degradation:
    """One way in which images suffer.

    Attributes:
        name: in tables and in JSON.
        summary: what is done to an image.
        apply: uint8 N H W C -> uint8 N H W C; the same images give the same result.
    """

    name: str
    summary: str
    apply: Callable[[np.ndarray], np.ndarray]


def as_jpeg(images: np.ndarray, quality: int) -> np.ndarray:
    """Images as they come back from JPEG files of one quality, 1 to 100. uint8 N H W C.

    Three channels are saved as one file of colours; of any other number, each is a grey one.
    """
    result = np.empty_like(images)
    for number, image in enumerate(images):
        if image.shape[-1] == 3:
            result[number] = _through_jpeg(image, quality)
            continue
        for channel in range(image.shape[-1]):
            result[number, ..., channel] = _through_jpeg(image[..., channel], quality)
    return result


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def shift(images: np.ndarray, pixels: int) -> np.ndarray:
    """Each image moved by so many pixels, in a seeded one of eight directions. uint8 N H W C.

    What moves in from outside repeats the border.
    """
    rows, columns = images.shape[1:3]
    moves = np.random.default_rng(0).integers(0, len(DIRECTIONS), len(images))
    result = np.empty_like(images)
    for number, (down, right) in enumerate(pixels * DIRECTIONS[moves]):
        sources = np.clip(np.arange(rows) - down, 0, rows - 1)
        across = np.clip(np.arange(columns) - right, 0, columns - 1)
        result[number] = images[number][sources][:, across]
    return result


DEGRADATIONS: tuple[Degradation, ...] = (
    *(
        Degradation(
            f"jpeg-{quality}",
            f"saved as JPEG of quality {quality}",
            partial(as_jpeg, quality=quality),
        )
        for quality in (95, 75, 50)
    ),
    Degradation(
        f"shift-{SHIFT_PIXELS}",
        f"moved by {SHIFT_PIXELS} pixels in one of eight directions",
        partial(shift, pixels=SHIFT_PIXELS),
    ),
)
