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
    rows, columns = size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING
    longest = max(rows, columns)
    contrast = int(rng.integers(24, 96))  # standard deviation of luminance, in levels
    chroma = int(rng.integers(2, 24))
    middle = _colour(rng, 40, chroma)
    canvas = np.empty((rows, columns, 3), dtype=np.int64)
    canvas[:] = middle + 128
    y, x = np.mgrid[0:rows, 0:columns]
    smallest = int(rng.integers(2, max(3, longest // 6)))
    leaves = int(rng.integers(1, 60))
    texture = _octaves(rng, rows, columns)
    for _ in range(leaves):
        # Inverse of the power law p(r) ~ 1/r^3 between the smallest and the longest radius.
        uniform = int(rng.integers(1, 1 << 16))
        radius = min(longest // 2, smallest * 256 // max(1, int(_isqrt(uniform))))
        top, left = int(rng.integers(0, rows)), int(rng.integers(0, columns))
        stretch = int(rng.integers(2, 9))  # width over height, in quarters
        shape = int(rng.integers(0, 3))
        dy, dx = (y - top) * stretch, (x - left) * 4
        if shape == 0:
            inside = np.maximum(abs(dy), abs(dx)) <= 4 * radius
        else:
            inside = dy * dy + dx * dx <= 16 * radius * radius
        colour = 128 + middle + _colour(rng, contrast, chroma)
        rough = int(rng.integers(0, 48))
        slope = rng.integers(-24, 25, 2)  # shading across the leaf, in levels
        shading = (dy * slope[0] + dx * slope[1]) // max(4, 4 * radius)
        leaf = colour + ((texture * rough) // 64 + shading)[..., None]
        canvas[inside] = leaf[inside]
    block = (size[0], _OVERSAMPLING, size[1], _OVERSAMPLING, 3)
    small = canvas.reshape(block).sum(axis=(1, 3)) // _OVERSAMPLING**2
    grain = int(rng.integers(1, 5))
    small += rng.integers(-grain, grain + 1, small.shape)
    return np.clip(small, 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator, luminance: int, chroma: int) -> np.ndarray:
    """An offset in R, G, B levels. int64 3."""
    strengths = np.array([luminance, chroma, max(1, chroma // 2)])
    # The sum of four uniform numbers stands for a normal one with a standard deviation of ~1.15.
    normal = rng.integers(-64, 65, (4, 3)).sum(axis=0)
    return (normal * strengths) @ _AXES // (64 * 37)


def _octaves(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Noise whose amplitude halves with each octave. int64 rows columns, about +-64."""
    total = np.zeros((rows, columns), dtype=np.int64)
    step, weight = 16, 32
    while step >= 1:
        coarse = rng.integers(-weight, weight + 1, (rows // step + 2, columns // step + 2))
        total += _enlarge(coarse, step)[:rows, :columns]
        step, weight = step // 2, max(2, weight // 2)
    return total


def _enlarge(coarse: np.ndarray, step: int) -> np.ndarray:
    """Bilinear enlargement in integers."""
    ramp = np.arange(step)
    for axis in (0, 1):
        first = np.moveaxis(coarse, axis, 0)
        between = (
            first[:-1, None] * (step - ramp)[None, :, None] + first[1:, None] * ramp[None, :, None]
        )
        coarse = np.moveaxis(between.reshape(-1, first.shape[1]) // step, 0, axis)
    return coarse


def _isqrt(value: int) -> int:
    """Integer square root."""
    root = int(value**0.5)
    while root * root > value:
        root -= 1
    while (root + 1) * (root + 1) <= value:
        root += 1
    return root
