"""DropPath against the definition of stochastic depth (arXiv:1603.09382)."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from edgevit.layers.drop_path import DropPath

SAMPLES = 20_000


def run(layer: DropPath, values: np.ndarray, training: bool) -> np.ndarray:
    return keras.ops.convert_to_numpy(layer(values, training=training))


def test_drop_path_is_the_identity_at_inference():
    values = np.random.default_rng(0).normal(size=(4, 3, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(DropPath(0.9, seed=1), values, training=False), values)


def test_drop_path_of_rate_zero_is_the_identity_in_training():
    values = np.random.default_rng(0).normal(size=(4, 3, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(run(DropPath(0.0), values, training=True), values)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_drop_path_drops_the_expected_share_of_whole_samples(rate):
    values = np.random.default_rng(0).uniform(1, 2, size=(SAMPLES, 2, 3)).astype(np.float32)
    result = run(DropPath(rate, seed=3), values, training=True)
    dropped = (result == 0).reshape(SAMPLES, 6)  # B 6
    assert np.array_equal(dropped.all(axis=1), dropped.any(axis=1))  # a sample goes as a whole
    dropped = dropped.all(axis=1)
    deviation = np.sqrt(rate * (1 - rate) / SAMPLES)
    assert abs(dropped.mean() - rate) < 5 * deviation
    np.testing.assert_allclose(result[~dropped], values[~dropped] / (1 - rate), rtol=1e-6)


def test_drop_path_keeps_the_expected_value():
    values = np.ones((SAMPLES, 1), np.float32)
    mean = run(DropPath(0.3, seed=5), values, training=True).mean()
    assert abs(mean - 1) < 5 * np.sqrt(0.3 / 0.7 / SAMPLES)


def test_drop_path_draws_anew_at_each_call_and_repeats_with_its_seed():
    values = np.ones((64, 1), np.float32)
    first, again = DropPath(0.5, seed=11), DropPath(0.5, seed=11)
    one, two = run(first, values, training=True), run(first, values, training=True)
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(run(again, values, training=True), one)
    assert not np.array_equal(run(DropPath(0.5, seed=12), values, training=True), one)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_drop_path_refuses_a_rate_that_is_no_probability_below_one(rate):
    with pytest.raises(ValueError, match=f"Received: rate={rate}"):
        DropPath(rate)


def test_drop_path_is_rebuilt_from_its_config():
    copy = DropPath.from_config(DropPath(0.25, seed=9, name="drop").get_config())
    assert (copy.rate, copy.seed, copy.name) == (0.25, 9, "drop")
