"""Occlusion maps: how much of a class' probability each part of a picture carries.

Source: Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks"
(arXiv:1311.2901), section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgevit.attribution.maps import Map

WINDOWS = 4  # a window's side is a quarter of the image's; it moves by half of itself


def occlude(run: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> Map:
    """Covers the image piece by piece and watches the probability of its class.

    Args:
        run: uint8 B H W C -> float32 B classes, their probabilities.
        image: uint8 H W C.

    Returns:
        For each pixel the mean loss of probability, in [-1, 1], over the windows that cover it.
        float32 H W.
    """
    rows, columns = image.shape[:2]
    windows = list(_windows(rows, columns))
    covered = np.repeat(image[None], len(windows), axis=0)  # B H W 3
    colour = image.reshape(-1, image.shape[-1]).mean(axis=0).round().astype(np.uint8)
    for number, (top, left, bottom, right) in enumerate(windows):
        covered[number, top:bottom, left:right] = colour
    own = run(image[None])[0]
    label = int(np.argmax(own))
    losses = own[label] - run(covered)[:, label]  # B
    total, count = np.zeros((rows, columns)), np.zeros((rows, columns))
    for (top, left, bottom, right), loss in zip(windows, losses, strict=True):
        total[top:bottom, left:right] += loss
        count[top:bottom, left:right] += 1
    return Map("probability lost when covered", (total / count).astype(np.float32), limit=1.0)


def _windows(rows: int, columns: int):
    """(top, left, bottom, right) of windows that cover every pixel."""
    tall, wide = max(1, rows // WINDOWS), max(1, columns // WINDOWS)
    for top in _starts(rows, tall):
        for left in _starts(columns, wide):
            yield top, left, top + tall, left + wide


def _starts(length: int, window: int) -> list[int]:
    step = max(1, window // 2)
    return sorted({*range(0, length - window + 1, step), length - window})
