"""What calibration remembers of activations: extremes and histograms, in no order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgevit.core.errors import ExportError
from edgevit.export.quantize.histogram import Histogram


@dataclass(frozen=True)
class Observation:
    """All values that one tensor took.

    Attributes:
        low: the smallest.
        high: the largest.
        histogram: None where only the extremes were watched, or where the range is fixed: it is
            then never clipped.
    """

    low: float
    high: float
    histogram: Histogram | None = None


class Observer:
    """Watches tensors by name, image after image.

    Args:
        histograms: whether values are counted, or only their extremes kept.
    """

    def __init__(self, histograms: bool = False):
        self._counts = histograms
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
        if self._counts:
            found = Histogram.of_values(value)
            older = self._histograms.get(name)
            self._histograms[name] = older.merged(found) if older else found

    def observations(self) -> dict[str, Observation]:
        """Everything seen so far, by name."""
        return {
            name: Observation(low, high, self._histograms.get(name))
            for name, (low, high) in self._seen.items()
        }
