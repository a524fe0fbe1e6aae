"""Where the range of an activation is cut: rows of one table.

A wide range gives coarse levels to all values, a narrow one clips the rare ones. Every method looks
at one histogram and returns (smallest, largest) value to keep, within what was seen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgevit.base.errors import find_named
from edgevit.quantization.histogram import Histogram

LEVELS = 256
PERCENTILE = 99.99  # of the values, half of the rest on either side
STEPS = 64  # candidates for each end

Pair = tuple[float, float]


def keep_all(histogram: Histogram, seen: Pair) -> Pair:
    """The whole range."""
    return seen


def keep_percentile(histogram: Histogram, seen: Pair) -> Pair:
    """All but the rarest values at either end."""
    shares = np.cumsum(histogram.counts) / histogram.counts.sum()
    tail = (1 - PERCENTILE / 100) / 2
    low = histogram.edges[int(np.searchsorted(shares, tail, side="right"))]
    high = histogram.edges[int(np.searchsorted(shares, 1 - tail, side="left")) + 1]
    return _within(low, high, seen)


def keep_least_error(histogram: Histogram, seen: Pair) -> Pair:
    """The range with the least mean squared error of 256 levels, each end searched in turn."""

    def cost(pair: Pair) -> float:
        return _squared_error(histogram, pair)

    return _search(seen, cost)


def keep_least_divergence(histogram: Histogram, seen: Pair) -> Pair:
    """The range whose 256 levels tell most of the distribution.

    Source: Migacz 2017, "8-bit Inference with TensorRT": the Kullback-Leibler divergence between
    the clipped distribution and the same at the resolution of the levels; here for two ends.
    """

    def cost(pair: Pair) -> float:
        return _divergence(histogram, pair)

    return _search(seen, cost)


METHODS: dict[str, Callable[[Histogram, Pair], Pair]] = {
    "minmax": keep_all,
    "percentile": keep_percentile,
    "mse": keep_least_error,
    "entropy": keep_least_divergence,
}
DEFAULT_METHOD = "minmax"


def find_method(name: str) -> Callable[[Histogram, Pair], Pair]:
    """The method of this name.

    Raises:
        UnknownNameError: there is none.
    """
    return find_named("calibration method", name, METHODS)


def _search(seen: Pair, cost: Callable[[Pair], float]) -> Pair:
    """The best pair, where one end after the other moves towards zero until neither gains."""
    low, high = min(seen[0], 0.0), max(seen[1], 0.0)
    shares = np.linspace(1.0, 0.05, STEPS)
    best = (low, high)
    for _ in range(3):
        before = best
        best = min(((low * share, best[1]) for share in shares), key=cost) if low else best
        best = min(((best[0], high * share) for share in shares), key=cost) if high else best
        if best == before:
            break
    # An end that was not moved says what was seen, which may be on the same side of zero.
    return (seen[0] if best[0] == low else best[0], seen[1] if best[1] == high else best[1])


def _squared_error(histogram: Histogram, pair: Pair) -> float:
    low, high = pair
    if high <= low:
        return float("inf")
    step = (high - low) / (LEVELS - 1)
    values = histogram.centres
    levels = np.clip(np.rint((values - low) / step), 0, LEVELS - 1)
    error = np.square(low + levels * step - values)
    # A bin narrower than a step hides where in the step its values lie: their error is that of
    # rounding.
    inside = (values >= low) & (values <= high)
    if histogram.width > step / 4:
        error = np.where(inside, step * step / 12, error)
    return float(np.average(error, weights=histogram.counts))


def _divergence(histogram: Histogram, pair: Pair) -> float:
    low, high = pair
    if high <= low:
        return float("inf")
    counts, values = histogram.counts.astype(np.float64), histogram.centres
    places = np.clip(np.rint((values - low) / (high - low) * (LEVELS - 1)), 0, LEVELS - 1)
    places = places.astype(np.int64)
    inside = (values >= low) & (values <= high)
    clipped = np.where(inside, counts, 0.0)
    kept = np.flatnonzero(inside)
    # With fewer bins than levels nothing is lost but what is cut off, and that piles up in both
    # distributions alike: a single bin would diverge least of all. Migacz, too, begins at one bin
    # a level.
    if len(kept) < min(LEVELS, len(values)):
        return float("inf")
    # What is cut off piles up at the ends of the reference distribution.
    clipped[kept[0]] += counts[: kept[0]].sum()
    clipped[kept[-1]] += counts[kept[-1] + 1 :].sum()
    # The quantised distribution: each level's own counts, evenly over the bins that it holds.
    own = np.where(inside, counts, 0.0)
    used = own > 0
    totals = np.bincount(places, weights=own, minlength=LEVELS)
    members = np.bincount(places, weights=used.astype(np.float64), minlength=LEVELS)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(used, totals[places] / members[places], 0.0)
    if not spread.sum():
        return float("inf")
    reference, coarse = clipped / clipped.sum(), spread / spread.sum()
    both = reference > 0
    floor = 1e-9  # a reference bin that the quantised distribution lacks
    return float(
        np.sum(reference[both] * np.log(reference[both] / np.maximum(coarse[both], floor)))
    )


def _within(low: float, high: float, seen: Pair) -> Pair:
    return max(float(low), seen[0]), min(float(high), seen[1])
