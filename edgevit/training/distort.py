"""TrivialAugment: an image is distorted by one operation of a strength, both drawn evenly.

Source: Müller & Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation"
(arXiv:2103.10158), with the operations and ranges of RandAugment (Cubuk et al. 2019,
arXiv:1909.13719), which that paper calls RA: in its wider ranges a small image is often gone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

STRENGTHS = 31  # the paper's levels, 0 to 30
UNCOVERED = (128, 128, 128)  # what moves into the image
SHEAR, TRANSLATION, DEGREES = 0.3, 10 / 32, 30.0
ENHANCEMENT, LOST_BITS = 0.9, 4


def _warp(image: Image.Image, across: tuple[float, ...], down: tuple[float, ...]) -> Image.Image:
    """Reads pixel (x, y) at across . (x, y, 1), down . (x, y, 1)."""
    return image.transform(
        image.size, Image.Transform.AFFINE, (*across, *down), fillcolor=UNCOVERED
    )


def _shear_x(image: Image.Image, strength: float) -> Image.Image:
    slope = SHEAR * strength
    return _warp(image, (1, slope, -slope * image.height / 2), (0, 1, 0))


def _shear_y(image: Image.Image, strength: float) -> Image.Image:
    slope = SHEAR * strength
    return _warp(image, (1, 0, 0), (slope, 1, -slope * image.width / 2))


def _translate_x(image: Image.Image, strength: float) -> Image.Image:
    return _warp(image, (1, 0, round(TRANSLATION * strength * image.width)), (0, 1, 0))


def _translate_y(image: Image.Image, strength: float) -> Image.Image:
    return _warp(image, (1, 0, 0), (0, 1, round(TRANSLATION * strength * image.height)))


def _rotate(image: Image.Image, strength: float) -> Image.Image:
    return image.rotate(DEGREES * strength, fillcolor=UNCOVERED)


def _enhance(quality: Callable) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, strength: quality(image).enhance(1 + ENHANCEMENT * strength)


def _posterize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(LOST_BITS * abs(strength)))


def _solarize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.solarize(image, round(256 * (1 - abs(strength))))


# Each takes an image and a strength in [-1, 1], whose sign is a direction where there are two.
OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, strength: image,
    "auto-contrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "rotate": _rotate,
    "solarize": _solarize,
    "color": _enhance(ImageEnhance.Color),
    "posterize": _posterize,
    "contrast": _enhance(ImageEnhance.Contrast),
    "brightness": _enhance(ImageEnhance.Brightness),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "shear-x": _shear_x,
    "shear-y": _shear_y,
    "translate-x": _translate_x,
    "translate-y": _translate_y,
}
_IN_ORDER = tuple(OPERATIONS.values())


def draw_distortions(
    count: int, probability: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An operation and a strength for each of so many images.

    Args:
        count: N.
        probability: of an image being given an operation; the others are given "identity".
        rng: source of randomness; not drawn from where the probability is 0.

    Returns:
        the operation's place in :data:`OPERATIONS`, int64 N; its strength in [-1, 1], float64 N.
    """
    if not probability:
        return np.zeros(count, np.int64), np.zeros(count)
    chosen = rng.integers(0, len(OPERATIONS), count)
    levels = rng.integers(0, STRENGTHS, count) / (STRENGTHS - 1)
    signs = rng.choice((-1.0, 1.0), count)
    return np.where(rng.random(count) < probability, chosen, 0), levels * signs


def distort(images: np.ndarray, operations: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Each image after its operation.

    Args:
        images: uint8 N H W 3; not changed.
        operations: places in :data:`OPERATIONS`, int64 N.
        strengths: in [-1, 1], N.

    Returns:
        uint8 N H W 3.
    """
    result = images.copy()
    for number in np.flatnonzero(operations):
        operation = _IN_ORDER[operations[number]]
        result[number] = operation(Image.fromarray(images[number]), float(strengths[number]))
    return result
