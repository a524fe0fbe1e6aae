"""The figure that a task is measured by, and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from edgevit.base.statistics import FigureDrop, Interval, resample_means
from edgevit.tasks.measures import mean_interval

Outputs = dict[str, np.ndarray]  # float32 N ... by name


class Known(StrEnum):
    """What is known of samples beside the samples."""

    CLASSES = "class folders"
    VALUES = "a CSV of values"
    MASKS = "a folder of images/ and masks/"
    NOTHING = "unlabelled samples"


@dataclass(frozen=True)
class Truth:
    """What outputs should be.

    Attributes:
        known: where it comes from.
        values: int N of classes, float N K of values, int N H W of masks; empty for NOTHING.
        columns: names of the K values.
        outputs: float32 N ... by name, of the float model; what unlabelled samples are held to.
    """

    known: Known
    values: np.ndarray
    columns: tuple[str, ...] = ()
    outputs: Outputs | None = None


def mean_itself(mean: np.ndarray) -> float:
    """The figure of samples that each contribute a share."""
    return float(mean)


@dataclass(frozen=True, eq=False)
class Figure:
    """What a budget trades.

    Attributes:
        name: in words.
        parts: float64 N ..., what each sample contributes.
        of_mean: the mean contribution -> the figure; 1 at best.
    """

    name: str
    parts: np.ndarray
    of_mean: Callable[[np.ndarray], float] = mean_itself

    @property
    def value(self) -> float:
        """Of all samples."""
        return self.of_mean(self.parts.mean(axis=0))

    @property
    def interval(self) -> Interval:
        """95 %: Wilson's of a share, else a bootstrap over samples."""
        if self.parts.ndim == 1:
            return Interval(*mean_interval(self.parts))
        draws = [self.of_mean(mean) for mean in resample_means(self.parts)]
        low, high = np.percentile(draws, [2.5, 97.5])
        return Interval(self.value, min(self.value, float(low)), max(self.value, float(high)))

    def drop_to(self, other: Figure) -> FigureDrop:
        """What another model loses of it, on the same samples."""
        return FigureDrop(self.parts, other.parts, self.of_mean)


@dataclass(frozen=True)
class Score:
    """Figures over samples.

    Attributes:
        figure: that a budget trades.
        figures: by name, that one first.
        rows: figures of each class, quantity or output, by its name.
    """

    figure: Figure
    figures: dict[str, float]
    rows: dict[str, dict[str, float]]
