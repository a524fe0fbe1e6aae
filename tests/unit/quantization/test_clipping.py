"""Where ranges are cut."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.base.errors import UnknownNameError
from edgevit.quantization.clipping import METHODS, find_method
from edgevit.quantization.histogram import Histogram

RNG = np.random.default_rng(0)
OUTLIERS = np.concatenate([RNG.normal(size=100_000), [60.0, -45.0]]).astype(np.float32)


def choose(method: str, values: np.ndarray) -> tuple[float, float]:
    seen = float(values.min()), float(values.max())
    return METHODS[method](Histogram.of_values(values), seen)


def error_of(values: np.ndarray, pair: tuple[float, float]) -> float:
    """Mean squared error of 256 levels, on the values themselves."""
    low, high = min(pair[0], 0.0), max(pair[1], 0.0)
    step = (high - low) / 255
    levels = np.clip(np.rint((values - low) / step), 0, 255)
    return float(np.mean(np.square(low + levels * step - values)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "values",
    [OUTLIERS, np.zeros(10), np.full(10, 3.0), np.arange(50.0), -np.arange(50.0)],
    ids=["outliers", "zeros", "one value", "positive", "negative"],
)
def test_a_range_stays_within_what_was_seen(method, values):
    low, high = choose(method, values)
    assert values.min() <= low <= high <= values.max()


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_two_outliers_among_many_values_are_cut_off(method):
    low, high = choose(method, OUTLIERS)
    assert -20 < low < -2 < 2 < high < 20


def test_min_max_keeps_everything():
    assert choose("minmax", OUTLIERS) == (-45.0, 60.0)


def test_the_least_error_is_less_than_that_of_the_others():
    errors = {method: error_of(OUTLIERS, choose(method, OUTLIERS)) for method in METHODS}
    assert min(errors, key=errors.get) == "mse"
    assert errors["mse"] < 0.9 * errors["minmax"]


def test_even_values_keep_their_whole_range_at_least_error():
    values = RNG.uniform(-2, 6, 50_000).astype(np.float32)
    low, high = choose("mse", values)
    assert low == pytest.approx(-2, abs=0.1)
    assert high == pytest.approx(6, abs=0.1)


def test_an_unknown_method_is_refused_with_those_that_exist():
    with pytest.raises(UnknownNameError, match="Did you mean percentile"):
        find_method("percentil")


@pytest.mark.parametrize("place", range(10, 60, 7))
def test_entropy_does_not_cut_a_range_beside_zero_to_a_sliver(place):
    """Of a window of one bin the clipped and the coarse distribution are the same."""
    lowest = np.linspace(1.0, 0.05, 64)[place] * (1 - 1e-4)  # just below a candidate
    values = (lowest + (1 - lowest) * RNG.beta(2, 5, 50_000)).astype(np.float32)
    values[:2] = lowest, 1.0
    low, high = choose("entropy", values)
    assert high - low > 0.4 * (values.max() - values.min())
