"""What a layer adds to the error, against what it ought to add."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.core.layer_errors import FloatLayer, Role, rank_layers
from edgevit.core.target import Precision
from edgevit.formats.intermediate import IntermediateTensor
from edgevit.verification.layer_errors import MOST_DB, ErrorSums, LayerSums, summarise
from helpers.levels import levels

STEP = 0.05
CHANNELS = 12


def values(seed: int, count: int = 600) -> np.ndarray:
    """count CHANNELS, each channel on a level and a scale of its own."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.3, 2.0, CHANNELS)
    return (rng.normal(size=(count, CHANNELS)) * scale + rng.normal(size=CHANNELS)).astype("f4")


def rounded(x: np.ndarray) -> np.ndarray:
    return np.round(x / STEP) * STEP


def sums(number: int, expected: np.ndarray, found: np.ndarray, step: float = STEP) -> LayerSums:
    layer = FloatLayer(f"net/dense{number}", "Dense", (CHANNELS,), Role.COMPUTES)
    grid = levels(step, 127 * step) if step else None
    tensor = IntermediateTensor(f"t{number}", layer.path, "OP", number, (1, CHANNELS), grid)
    entry = LayerSums(layer, tensor)
    half = len(expected) // 2
    for part in (slice(None, half), slice(half, None)):  # as images come, in pieces
        entry.add_added(expected[part], found[part])
        entry.total.add(expected[part], found[part])
    return entry


def network(fault=None) -> list[LayerSums]:
    """Eight sound int8 layers; the fifth, if asked for, with a fault."""
    layers = []
    for number in range(8):
        x = values(number)
        y = x if fault is None or number != 5 else fault(x.copy())
        layers.append(sums(number, x, rounded(y)))
    return layers


def zero_channel(x):
    x[:, 3] = 0
    return x


FAULTS = {
    "scale": lambda x: 2 * x,
    "channel": zero_channel,
    "order": lambda x: x[:, ::-1],
    "offset": lambda x: x + STEP,  # one level: far below the rounding of a single value times six
}


def test_sound_layers_are_as_good_as_expected():
    for row in summarise(network(), Precision.INT8):
        assert row.excess_db < 8
        assert row.cosine > 0.999


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_far_beyond_what_is_expected_and_its_layer_comes_first(kind):
    rows = summarise(network(FAULTS[kind]), Precision.INT8)
    first, second, *_ = rank_layers(rows)
    assert first.layer == "net/dense5"
    assert first.excess_db > second.excess_db + 5
    if kind == "channel":
        assert first.channel == 3


def test_rounding_in_the_levels_of_the_tensor_is_no_fault_however_coarse():
    layers = network()
    x = values(5)
    coarse = 8 * STEP
    layers[5] = sums(5, x, np.round(x / coarse) * coarse, coarse)
    assert max(row.excess_db for row in summarise(layers, Precision.INT8)) < 8
    unknown = [*layers]
    unknown[5] = sums(5, x, 1.2 * x, STEP)
    assert rank_layers(summarise(unknown, Precision.INT8))[0].layer == "net/dense5"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_the_worst(value):
    def spoil(x):
        x[7, 2] = value
        return x

    row = rank_layers(summarise(network(spoil), Precision.INT8))[0]
    assert (row.layer, row.channel, row.excess_db) == ("net/dense5", 2, MOST_DB)
    assert (row.sqnr_db, row.cosine) == (-MOST_DB, 0.0)


def test_figures_of_sums_are_those_of_the_whole():
    x, y = values(0), rounded(values(0)) * 1.1
    entry = sums(0, x, y)
    error = np.sqrt(np.sum((y - x) ** 2) / np.sum(x**2))
    assert entry.added.relative == pytest.approx(error, rel=1e-6)
    assert entry.added.sqnr_db == pytest.approx(-20 * np.log10(error), rel=1e-6)
    cosine = np.sum(x * y) / np.sqrt(np.sum(x**2) * np.sum(y**2))
    assert entry.added.cosine == pytest.approx(cosine, rel=1e-6)
    line = np.array([np.polyval(np.polyfit(a, b - a, 1), a) for a, b in zip(x.T, y.T, strict=True)])
    assert entry.added.systematic == pytest.approx(np.mean(line**2, axis=1), rel=1e-3)


def test_values_at_and_beyond_the_ends_are_counted():
    x = np.zeros((4, CHANNELS), "f4")
    x[0, :6] = 1000.0
    entry = sums(0, x, np.clip(x, -127 * STEP, 127 * STEP))
    assert entry.saturated == entry.clipped == 6
    (row,) = summarise([entry], Precision.INT8)
    assert row.saturated == row.clipped == 6 / (4 * CHANNELS)


def test_exact_layers_have_no_noise_and_silence_is_no_error():
    sum_ = ErrorSums()
    sum_.add(np.zeros((3, 2)), np.zeros((3, 2)))
    assert (sum_.sqnr_db, sum_.relative, sum_.cosine) == (None, 0.0, 1.0)
    sum_.add(np.zeros((3, 2)), np.ones((3, 2)))
    assert (sum_.relative, sum_.cosine) == (float("inf"), 0.0)
