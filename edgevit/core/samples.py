"""Samples for a model: an array for each input, by name; for the only one, the array alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".tif", ".tiff")
Inputs = np.ndarray | Mapping[str, np.ndarray]


def count_samples(inputs: Inputs) -> int:
    """How many samples there are: the first axis of every array."""
    if not isinstance(inputs, Mapping):
        return len(inputs)
    return min((len(values) for values in inputs.values()), default=0)


def take_samples(inputs: Inputs, start: int, stop: int) -> Inputs:
    """Some samples that follow each other."""
    if not isinstance(inputs, Mapping):
        return inputs[start:stop]
    return {name: values[start:stop] for name, values in inputs.items()}
