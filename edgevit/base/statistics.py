"""Statistics of repeated measurements that one wild sample cannot move."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000
# Two-sided 95 % quantiles of Student's t by degrees of freedom; beyond the last: that of the last.
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 8: 2.306, 10: 2.228, 14: 2.145}


@dataclass(frozen=True)
class Interval:
    """An estimate and how far off it may be.

    Attributes:
        middle: the estimate.
        low: lower end.
        high: upper end.
    """

    middle: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of its width, relative to the estimate."""
        return (self.high - self.low) / 2 / abs(self.middle) if self.middle else math.inf

    def hull(self, other: Interval) -> Interval:
        """The smallest interval with this estimate that holds both."""
        return Interval(self.middle, min(self.low, other.low), max(self.high, other.high))


def bootstrap_median(values: Sequence[float], level: float = 0.95, seed: int = 0) -> Interval:
    """The median and its percentile bootstrap interval (Efron & Tibshirani 1993, chapter 13).

    Args:
        values: independent of each other: one a round, not one an inference.
        level: of the interval.
        seed: of the resampling.

    Raises:
        ValueError: there is no value.
    """
    data = np.asarray(values, dtype=np.float64)
    if not len(data):
        raise ValueError("no value to take the median of")
    chosen = np.random.default_rng(seed).integers(0, len(data), (RESAMPLES, len(data)))
    medians = np.median(data[chosen], axis=-1)
    low, high = np.percentile(medians, [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(np.median(data)), float(low), float(high))


def paired_ratio(
    values: Sequence[float], reference: Sequence[float], level: float = 0.95
) -> Interval:
    """The median of ``values[k] / reference[k]``, bootstrapped over k.

    Entry k of both was measured within the same short time, so a change of the machine's speed
    between rounds cancels out. Entries that only one of them has are left out.

    Raises:
        ValueError: they have no entry in common.
    """
    common = min(len(values), len(reference))
    upper = np.log(np.asarray(values[:common], dtype=np.float64))
    lower = np.log(np.asarray(reference[:common], dtype=np.float64))
    found = bootstrap_median(list(upper - lower), level)
    return Interval(math.exp(found.middle), math.exp(found.low), math.exp(found.high))


def unpaired_ratio(
    values: Sequence[float], reference: Sequence[float], level: float = 0.95
) -> Interval:
    """Median over median, bootstrapped on either side; for samples of different times.

    Raises:
        ValueError: either is empty.
    """
    if not len(values) or not len(reference):
        raise ValueError("no value to take the median of")
    rng = np.random.default_rng(0)
    medians = []
    for side in (values, reference):
        data = np.asarray(side, dtype=np.float64)
        medians.append(np.median(data[rng.integers(0, len(data), (RESAMPLES, len(data)))], axis=-1))
    low, high = np.percentile(medians[0] / medians[1], [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(np.median(values) / np.median(reference)), float(low), float(high))


def sign_interval(values: Sequence[float], level: float) -> Interval:
    """The median between two order statistics; assumes no distribution (the sign test, inverted).

    With too few values for the level, the ends are infinite.
    """
    data = np.sort(np.asarray(values, dtype=np.float64))
    count = len(data)
    rank, tail = -1, 0.0  # the largest rank whose lower tail is at most half of 1 - level
    for k in range(count):
        tail += math.comb(count, k) / 2**count
        if tail > (1 - level) / 2:
            break
        rank = k
    middle = float(np.median(data)) if count else math.nan
    if rank < 0:
        return Interval(middle, -math.inf, math.inf)
    return Interval(middle, float(data[rank]), float(data[count - 1 - rank]))


def difference_of_means(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of one less mean of the other, with Student's 95 % interval of pooled variance.

    Raises:
        ValueError: fewer than two values on either side.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if min(len(a), len(b)) < 2:
        raise ValueError("a variance needs two values on each side")
    freedom = len(a) + len(b) - 2
    pooled = (((a - a.mean()) ** 2).sum() + ((b - b.mean()) ** 2).sum()) / freedom
    error = math.sqrt(pooled * (1 / len(a) + 1 / len(b)))
    quantile = T_95[max(known for known in T_95 if known <= freedom)]
    middle = float(a.mean() - b.mean())
    return Interval(middle, middle - quantile * error, middle + quantile * error)


def median_absolute_deviation(values: Sequence[float]) -> float:
    """Median distance from the median."""
    data = np.asarray(values, dtype=np.float64)
    return float(np.median(np.abs(data - np.median(data))))


@dataclass(frozen=True)
class PairedDrop:
    """Accuracy lost between two classifiers of the same images.

    Attributes:
        images: how many.
        lost: images that only the first classifies rightly.
        won: images that only the second does.
    """

    images: int
    lost: int
    won: int

    @classmethod
    def of(cls, first: Sequence[bool], second: Sequence[bool]) -> PairedDrop:
        """Counts where two differ.

        Args:
            first: whether each image is classified rightly before.
            second: the same after.

        Raises:
            ValueError: no image, or not the same ones.
        """
        before, after = np.asarray(first, bool), np.asarray(second, bool)
        if before.shape != after.shape or not before.size:
            raise ValueError(
                "a paired difference needs the same images on both sides, at least one"
            )
        return cls(before.size, int((before & ~after).sum()), int((after & ~before).sum()))

    @property
    def points(self) -> float:
        """Percentage points lost; negative where the second is better."""
        return 100 * (self.lost - self.won) / self.images

    def interval(self, level: float = 0.95, seed: int = 0) -> Interval:
        """Percentile bootstrap over images of the points lost.

        Resampling images with their pair of answers is a multinomial draw of the three counts.
        """
        same = self.images - self.lost - self.won
        shares = np.array([self.lost, self.won, same]) / self.images
        drawn = np.random.default_rng(seed).multinomial(self.images, shares, RESAMPLES)
        points = 100 * (drawn[:, 0] - drawn[:, 1]) / self.images
        low, high = np.percentile(points, [50 * (1 - level), 50 * (1 + level)])
        return Interval(self.points, float(low), float(high))

    @property
    def p_value(self) -> float:
        """McNemar's exact test, two-sided: how likely so one-sided a difference is by chance."""
        differing = self.lost + self.won
        fewer = min(self.lost, self.won)
        tail = sum(math.comb(differing, k) for k in range(fewer + 1))
        return min(1.0, float(2 * tail / 2**differing))


def resample_means(parts: np.ndarray, seed: int = 0) -> np.ndarray:
    """Means over samples that are drawn again (Efron & Tibshirani 1993). float64 RESAMPLES ...

    Args:
        parts: float N ..., one entry a sample.
        seed: of the draw: the same draws the same samples of other parts.
    """
    count = len(parts)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    means = weights @ parts.reshape(count, -1).astype(np.float64) / count
    return means.reshape(RESAMPLES, *parts.shape[1:])


@dataclass(frozen=True, eq=False)
class FigureDrop:
    """What a figure loses between two models of the same samples.

    The figure is a function of the mean of what each sample contributes: a share of right answers
    is that mean itself, a mean IoU a ratio of means.

    Attributes:
        before: float N ..., what each sample contributes of the first model.
        after: likewise, of the second.
        of_mean: float ... -> the figure; 1 at best.
    """

    before: np.ndarray
    after: np.ndarray
    of_mean: Callable[[np.ndarray], float]

    @property
    def counted(self) -> PairedDrop | None:
        """The samples won and lost, where each is right or wrong."""
        sides = self.before, self.after
        if not all(side.ndim == 1 and set(np.unique(side)) <= {0.0, 1.0} for side in sides):
            return None
        return PairedDrop.of(*(list(side > 0) for side in sides))

    @property
    def points(self) -> float:
        """Hundredths of the figure that are lost; negative where the second model is better."""
        if (counted := self.counted) is not None:
            return counted.points
        before, after = (self.of_mean(side.mean(axis=0)) for side in (self.before, self.after))
        return 100 * (before - after)

    def interval(self) -> Interval:
        """Percentile bootstrap over samples, 95 %, of the points lost."""
        if (counted := self.counted) is not None:
            return counted.interval()
        before, after = (
            np.array([self.of_mean(mean) for mean in resample_means(side)])
            for side in (self.before, self.after)
        )
        low, high = np.percentile(100 * (before - after), [2.5, 97.5])
        return Interval(self.points, float(low), float(high))
