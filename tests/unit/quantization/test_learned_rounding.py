"""Rounding that knows what weights meet errs less, and keeps what kernels rely on."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.quantization.learned_rounding import learn_levels
from edgevit.quantization.levels import channel_scales, weight_levels

ROWS, COLUMNS = 12, 30


def drawn_weights() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)


def covariance_of(seed: int, columns: int = COLUMNS) -> np.ndarray:
    """Of columns that move together."""
    mix = np.random.default_rng(seed).normal(size=(columns, 4 * columns))
    mix = 0.2 * mix + np.random.default_rng(seed + 1).normal(size=4 * columns)
    return mix @ mix.T


def nearest_of(weights: np.ndarray) -> np.ndarray:
    scales = channel_scales(weights).astype(np.float64)
    return weight_levels(weights, scales) * scales[:, None]


def errors_of(levels: np.ndarray, weights: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    moved = levels - weights
    return np.einsum("nk,...kl,nl->n", moved, covariance, moved)


def test_products_of_columns_that_move_together_err_less_than_half_as_much():
    weights, covariance = drawn_weights(), covariance_of(1)
    learned = errors_of(learn_levels(weights, covariance), weights, covariance)
    nearest = errors_of(nearest_of(weights), weights, covariance)
    assert (learned <= nearest).all()
    assert learned.sum() < nearest.sum() / 2


def test_levels_are_those_of_the_scale_that_a_quantiser_finds_again():
    weights = drawn_weights()
    levels = learn_levels(weights, covariance_of(1))
    scales = channel_scales(weights).astype(np.float64)
    whole = levels / scales[:, None]
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-6)
    np.testing.assert_allclose(channel_scales(levels), scales, rtol=1e-6)


@pytest.mark.parametrize("covariance", [np.eye(COLUMNS), np.zeros((COLUMNS, COLUMNS))])
def test_columns_that_know_nothing_of_each_other_keep_the_nearest_levels(covariance):
    weights = drawn_weights()
    np.testing.assert_allclose(learn_levels(weights, covariance), nearest_of(weights))


def test_each_row_may_meet_something_else():
    weights = drawn_weights()[:, :9]
    many = np.stack([covariance_of(seed, 9) for seed in range(ROWS)])
    found = learn_levels(weights, many)
    for row, (weight, covariance) in enumerate(zip(weights, many, strict=True)):
        np.testing.assert_allclose(found[row], learn_levels(weight[None], covariance)[0])
