"""Images drawn from a seed with the statistics of photographs, the same on every machine.

No dataset image may travel with an exported file, so a file is checked on drawn ones. Each is a
"dead leaves" picture: opaque disks and boxes whose sizes follow a power law fall on top of each
other, which gives edges, occlusion and a 1/f amplitude spectrum (Lee, Mumford & Huang 2001,
"Occlusion Models for Natural Images"); each leaf carries noise of several octaves. Colours vary
most along luminance, less along blue-yellow, least along red-green, as in photographs (Ruderman,
Cronin & Chiao 1998, "Statistics of cone responses to natural images").

Everything after the random numbers is integer arithmetic, so the pixels do not depend on the
processor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

GENERATOR = "dead-leaves-1"
_OVERSAMPLING = 2
# Principal colour axes times 64: luminance, blue-yellow, red-green.
_AXES = np.array([[37, 37, 37], [-26, -26, 52], [45, -45, 0]], dtype=np.int64)


def draw_images(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Draws images.

    Args:
        count: how many.
        size: (rows, columns).
        seed: of numpy's PCG64; image k depends on (seed, k) alone.

    Returns:
        uint8 count rows columns 3.
    """
    images = np.empty((count, *size, 3), dtype=np.uint8)
    for number in range(count):
        images[number] = _draw(np.random.Generator(np.random.PCG64((seed, number))), size)
    return images


def _draw(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """uint8 rows columns 3. The order of what is asked of `rng` defines the picture."""
    rows, columns = size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING
    contrast = int(rng.integers(24, 96))  # standard deviation of luminance, in levels
    chroma = int(rng.integers(2, 24))
    middle = 128 + _colour(rng, 40, chroma)
    smallest = int(rng.integers(2, max(3, max(rows, columns) // 6)))
    leaves = int(rng.integers(1, 60))
    texture = _octaves(rng, rows, columns)
    canvas = np.empty((3, rows, columns), dtype=np.int32)
    canvas[:] = middle[:, None, None]
    for _ in range(leaves):
        _drop_leaf(rng, canvas, texture, smallest, lambda: middle + _colour(rng, contrast, chroma))
    pairs = canvas[:, ::_OVERSAMPLING] + canvas[:, 1::_OVERSAMPLING]
    quads = pairs[:, :, ::_OVERSAMPLING] + pairs[:, :, 1::_OVERSAMPLING]
    small = np.moveaxis(quads // _OVERSAMPLING**2, 0, -1)
    grain = int(rng.integers(1, 5))
    return np.clip(small + rng.integers(-grain, grain + 1, small.shape), 0, 255).astype(np.uint8)


def _drop_leaf(
    rng: np.random.Generator,
    canvas: np.ndarray,
    texture: np.ndarray,
    smallest: int,
    draw_colour: Callable[[], np.ndarray],
) -> None:
    """Paints a disk, an ellipse or a box, with texture and shading, over what lies there."""
    _, rows, columns = canvas.shape
    # Inverse of the power law p(r) ~ 1/r^3 between the smallest and the longest radius.
    uniform = int(rng.integers(1, 1 << 16))
    radius = min(max(rows, columns) // 2, smallest * 256 // max(1, math.isqrt(uniform)))
    top, left = int(rng.integers(0, rows)), int(rng.integers(0, columns))
    stretch = int(rng.integers(2, 9))  # width over height, in quarters
    box = int(rng.integers(0, 3)) == 0
    colour = draw_colour()[:, None, None]
    rough = int(rng.integers(0, 48))
    steepness = int(rng.integers(-24, 25)), int(rng.integers(-24, 25))  # of the shading, in levels
    # Nothing of a leaf lies beyond these rows and columns.
    height = 4 * radius // stretch
    down = slice(max(0, top - height), min(rows, top + height + 1))
    across = slice(max(0, left - radius), min(columns, left + radius + 1))
    dy = (np.arange(down.start, down.stop) - top)[:, None] * stretch
    dx = (np.arange(across.start, across.stop) - left) * 4
    shading = (dy * steepness[0] + dx * steepness[1]) // max(4, 4 * radius)
    leaf = ((texture[down, across] * rough) >> 6) + shading + colour
    inside = True if box else dy * dy + dx * dx <= 16 * radius * radius
    np.copyto(canvas[:, down, across], leaf, where=inside, casting="same_kind")


def _colour(rng: np.random.Generator, luminance: int, chroma: int) -> np.ndarray:
    """An offset in R, G, B levels. int64 3."""
    # One number at a time: for so few, the call for an array of them takes longer.
    parts = [int(rng.integers(-64, 65)) for _ in range(12)]
    # The sum of four uniform numbers stands for a normal one with a standard deviation of ~1.15.
    normal = np.array([sum(parts[axis::3]) for axis in range(3)])
    return (normal * (luminance, chroma, max(1, chroma // 2))) @ _AXES // (64 * 37)


def _octaves(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Noise whose amplitude halves with each octave. int32 rows columns, about +-64."""
    total = np.zeros((rows, columns), dtype=np.int32)
    step, weight = 16, 32
    while step >= 1:
        coarse = rng.integers(-weight, weight + 1, (rows // step + 2, columns // step + 2))
        total += _enlarge(coarse, step)[:rows, :columns]
        step, weight = step // 2, max(2, weight // 2)
    return total


def _enlarge(coarse: np.ndarray, step: int) -> np.ndarray:
    """Bilinear enlargement in integers; step is a power of two."""
    shift = step.bit_length() - 1
    ramp = np.arange(step, dtype=np.int32)
    for axis in (0, 1):
        first = np.moveaxis(coarse, axis, 0).astype(np.int32)
        between = (first[:-1, None] << shift) + (first[1:] - first[:-1])[:, None] * ramp[:, None]
        coarse = np.moveaxis((between >> shift).reshape(-1, first.shape[1]), 0, axis)
    return coarse
