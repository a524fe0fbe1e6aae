"""Raw inputs for models of any kind, drawn otherwise than the exporter draws its own.

Pictures are sums of gratings, soft blobs or bars like text. Each function returns a ``Draw``:
(count, seed) -> array with the batch first. The same seed draws the same.
"""

from __future__ import annotations

import numpy as np

from kinds.kind import Arrays, Draw

INK = 3  # pixels between the strokes of a drawn line of text


def gratings(rows: int, columns: int, channels: int = 3) -> Draw:
    """Sums of three gratings of any direction and colour. uint8 B H W C."""

    def draw(count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng((seed, 11))
        y, x = np.mgrid[:rows, :columns] / max(rows, columns)  # H W
        pictures = np.zeros((count, rows, columns, channels))
        for picture in pictures:
            picture += rng.uniform(70, 185, channels)
            for _ in range(3):
                angle, cycles = rng.uniform(0, np.pi), rng.uniform(0.5, 5)
                wave = np.cos(angle) * x + np.sin(angle) * y
                wave = np.sin(2 * np.pi * (cycles * wave + rng.uniform()))
                picture += wave[..., None] * rng.normal(0, 38, channels)
        return _pixels(pictures)

    return draw


def blobs(rows: int, columns: int, channels: int = 3) -> Draw:
    """One to three soft spots on a plain ground; :func:`blob_labels` tells where the first is."""

    def draw(count: int, seed: int) -> np.ndarray:
        return _pixels(_paint_blobs(count, seed, (rows, columns, channels))[0])

    return draw


def blob_labels(count: int, seed: int, size: tuple[int, int, int]) -> Arrays:
    """What is true of :func:`blobs` of the same seed.

    Returns:
        "mask": int B H W, 1 inside the first spot; "place": float B 3, its row, column and radius
        in pixels; "many": int B, how many spots there are less one.
    """
    return _paint_blobs(count, seed, size)[1]


def text_bars(rows: int, columns: int, channels: int = 1) -> Draw:
    """Dark strokes of any height on paper, as in a line of writing. uint8 B H W C."""

    def draw(count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng((seed, 13))
        pictures = np.empty((count, rows, columns, channels))
        for picture in pictures:
            picture[:] = rng.uniform(170, 250)
            place = int(rng.integers(0, INK))
            while place < columns:
                top, width = int(rng.integers(0, rows - 3)), int(rng.integers(1, INK + 1))
                height = int(rng.integers(3, rows - top + 1))
                picture[top : top + height, place : place + width] = rng.uniform(0, 110)
                place += width + int(rng.integers(1, 2 * INK))
        return _pixels(pictures + rng.normal(0, 5, pictures.shape))

    return draw


def clips(frames: int, rows: int, columns: int, channels: int = 3) -> Draw:
    """A grating that moves on, at a speed of its own. uint8 B T H W C."""

    def draw(count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng((seed, 17))
        y, x = np.mgrid[:rows, :columns] / max(rows, columns)
        time = np.arange(frames)[:, None, None] / frames  # T 1 1
        clip = np.empty((count, frames, rows, columns, channels))
        for one in clip:
            angle, cycles, speed = rng.uniform(0, np.pi), rng.uniform(1, 4), rng.normal(0, 1.5)
            wave = cycles * (np.cos(angle) * x + np.sin(angle) * y) + speed * time
            colour = rng.normal(0, 60, channels)
            one[:] = rng.uniform(80, 175, channels) + np.sin(2 * np.pi * wave)[..., None] * colour
        return _pixels(clip)

    return draw


def signals(length: int, channels: int) -> Draw:
    """Two tones and a drift for each channel. float32 B T C."""

    def draw(count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng((seed, 19))
        time = np.linspace(0, 1, length)[:, None]  # T 1
        found = rng.normal(0, 0.5, (count, 1, channels)) * time
        for _ in range(2):
            cycles, phase = rng.uniform(0.5, 9, (2, count, 1, channels))
            loud = rng.normal(0, 1, (count, 1, channels))
            found = found + loud * np.sin(2 * np.pi * cycles * time + phase)
        return found.astype(np.float32)

    return draw


def vectors(width: int, scale: float = 1.0, offset: float = 0.0) -> Draw:
    """Measured quantities that hang together: fewer causes than columns. float32 B D."""

    def draw(count: int, seed: int) -> np.ndarray:
        mixing = np.random.default_rng(23).normal(0, 1, (3, width))
        rng = np.random.default_rng((seed, 23))
        found = rng.normal(0, 1, (count, 3)) @ mixing + rng.normal(0, 0.3, (count, width))
        return (found * scale + offset).astype(np.float32)

    return draw


def indices(levels: int, width: int | None = None) -> Draw:
    """Numbers of a category, 0 .. levels - 1. int32 B, or B width."""

    def draw(count: int, seed: int) -> np.ndarray:
        shape = (count,) if width is None else (count, width)
        return np.random.default_rng((seed, 29)).integers(0, levels, shape).astype(np.int32)

    return draw


def _paint_blobs(count: int, seed: int, size: tuple[int, int, int]) -> tuple[np.ndarray, Arrays]:
    rng = np.random.default_rng((seed, 31))
    rows, columns, channels = size
    y, x = np.mgrid[:rows, :columns]
    pictures = np.empty((count, *size))
    places, many = np.empty((count, 3), np.float32), rng.integers(0, 3, count)
    for number, picture in enumerate(pictures):
        picture[:] = rng.uniform(40, 215, channels) + rng.normal(0, 4, size)
        for spot in range(int(many[number]), -1, -1):  # the first spot lies above the others
            row, column = rng.uniform(0.2, 0.8, 2) * (rows, columns)
            radius = rng.uniform(0.1, 0.28) * min(rows, columns)
            near = np.exp(-((((y - row) ** 2 + (x - column) ** 2) / radius**2) ** 2))[..., None]
            picture += near * (rng.uniform(0, 255, channels) - picture)
            if spot == 0:
                places[number] = row, column, radius
    away = (y - places[:, :1, None]) ** 2 + (x - places[:, 1:2, None]) ** 2  # B H W
    mask = (away < places[:, 2:, None] ** 2).astype(np.int64)
    return pictures, {"mask": mask, "place": places, "many": many.astype(np.int64)}


def _pixels(pictures: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pictures), 0, 255).astype(np.uint8)
