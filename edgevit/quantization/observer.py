"""What calibration remembers of activations: extremes and histograms, in no order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgevit.base.errors import ExportError
from edgevit.quantization.histogram import Histogram


@dataclass(frozen=True)
class Observation:
    """All values that one tensor took.

    Attributes:
        low: the smallest.
        high: the largest.
        histogram: None where only the extremes were watched, or where the range is fixed: it is
            then never clipped.
        means: of each channel, the last axis; None where nobody asked for them.
    """

    low: float
    high: float
    histogram: Histogram | None = None
    means: tuple[float, ...] | None = None


FRACTION = 2.0**30  # means are added up as whole numbers of this fraction: in any order the same


class Observer:
    """Watches tensors by name, image after image.

    Args:
        histograms: whether values are counted, or only their extremes kept.

    Attributes:
        averaged: names of tensors whose means are wanted.
    """

    def __init__(self, histograms: bool = False):
        self.averaged: frozenset[str] = frozenset()
        self._counts = histograms
        self._sums: dict[str, np.ndarray] = {}
        self._images: dict[str, int] = {}
        self._seen: dict[str, tuple[float, float]] = {}
        self._histograms: dict[str, Histogram] = {}

    def see(self, name: str, value: np.ndarray) -> None:
        """Takes in the values of a tensor on further images.

        Raises:
            ExportError: one of them is not finite.
        """
        low, high = float(value.min()), float(value.max())  # NaN if there is one
        if not np.isfinite([low, high]).all():
            raise ExportError(
                f"the activation {name!r} is not finite on the calibration images, so the weights "
                "are damaged or the images are in another range than the network expects."
            )
        known = self._seen.get(name, (low, high))
        self._seen[name] = min(known[0], low), max(known[1], high)
        if name in self.averaged:
            mean = value.reshape(-1, value.shape[-1]).mean(axis=0, dtype=np.float64)  # C
            whole = np.rint(mean * FRACTION).astype(np.int64)
            self._sums[name] = self._sums.get(name, 0) + whole
            self._images[name] = self._images.get(name, 0) + 1
        if self._counts:
            found = Histogram.of_values(value)
            older = self._histograms.get(name)
            self._histograms[name] = older.merged(found) if older else found

    def observations(self) -> dict[str, Observation]:
        """Everything seen so far, by name."""
        return {
            name: Observation(low, high, self._histograms.get(name), self._means(name))
            for name, (low, high) in self._seen.items()
        }

    def _means(self, name: str) -> tuple[float, ...] | None:
        if name not in self._sums:
            return None
        means = (self._sums[name] / (FRACTION * self._images[name])).astype(np.float32)
        return tuple(float(str(mean)) for mean in means)  # as few digits as a float32 needs
