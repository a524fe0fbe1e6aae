"""Eight-bit levels: zero is exact, biases fit, and weights do not saturate 16-bit sums of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.quantization.levels import (
    BIAS_LIMIT,
    affine_of,
    bias_floor,
    bias_levels,
    channel_levels,
    weight_levels,
    weight_scales,
)

RNG = np.random.default_rng(0)
# Neighbours as large as the largest, in one direction: the worst that weights can do.
ADVERSE = np.array([[1.0, 1.0, 0.1, -0.2], [-1.0, -0.9, 0.5, 0.5], [1.0, -1.0, 1.0, -1.0]], "f4")
USUAL = RNG.normal(0, 0.05, (64, 96)).astype(np.float32)


def pair_sums(levels: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """Sums of two products each, before the 16-bit limit of VPMADDUBSW. N K/2."""
    products = levels.astype(np.int64) * activations.astype(np.int64)
    return products[:, 0::2] + products[:, 1::2]


@pytest.mark.parametrize("rows", [ADVERSE, USUAL, -ADVERSE], ids=["adverse", "usual", "negative"])
def test_no_pair_of_weights_saturates_sixteen_bits(rows):
    levels = weight_levels(rows, weight_scales(rows))
    for activations in ((255, 255), (255, 0), (0, 255)):
        sums = pair_sums(levels, np.resize(activations, rows.shape))
        assert sums.max() <= 32767
        assert sums.min() >= -32768


def test_plain_scales_would_saturate():
    levels = weight_levels(ADVERSE, np.abs(ADVERSE).max(axis=1) / 127)
    assert pair_sums(levels, np.full(ADVERSE.shape, 255)).max() > 32767


def test_only_the_channels_that_need_it_lose_resolution():
    plain = np.abs(ADVERSE).max(axis=1) / 127
    found = weight_scales(ADVERSE)
    assert found[0] > 1.9 * plain[0]
    assert found[2] == pytest.approx(plain[2])
    usual = weight_scales(USUAL) / (np.abs(USUAL).max(axis=1) / 127)
    assert 1.0 < np.median(usual) < 1.4  # half a bit; the usual remedy takes a whole one


def test_weights_are_rounded_to_the_nearest_level():
    scales = weight_scales(USUAL)
    error = np.abs(weight_levels(USUAL, scales) * scales[:, None] - USUAL)
    assert (error <= 0.501 * scales[:, None]).all()


def test_an_odd_number_of_weights_and_none_but_zeros_are_no_exception():
    rows = np.array([[0.0, 0.0, 0.0], [0.5, 0.25, 1.0]], np.float32)
    scales = weight_scales(rows)
    assert scales[0] == 1
    assert weight_levels(rows, scales).tolist()[0] == [0, 0, 0]
    assert weight_levels(rows, scales)[1, 2] == 127


@pytest.mark.parametrize(
    "bounds", [(-0.17, 8.0), (-3.0, 3.0), (0.0, 1.0), (-2.0, -1.0), (1.0, 2.0)]
)
def test_zero_and_both_ends_of_a_range_are_levels(bounds):
    affine = affine_of(*bounds)
    low, high = min(bounds[0], 0), max(bounds[1], 0)
    scale, zero = float(affine.scale), affine.zero_point
    assert 0 <= zero <= 255
    assert (0 - zero) * scale == pytest.approx(low, abs=0.51 * scale)
    assert (255 - zero) * scale == pytest.approx(high, abs=0.51 * scale)


@pytest.mark.parametrize("bounds", [(0.0, 0.0), (0.0, 1e-42)])
def test_a_range_of_nothing_still_has_a_scale(bounds):
    assert affine_of(*bounds).scale == 1


def test_a_bias_far_larger_than_its_weights_still_fits_into_32_bits():
    rows, bias = np.full((1, 8), 1e-9, np.float32), np.array([3.0], np.float32)
    plain = bias / (0.01 * weight_scales(rows).astype(np.float64))
    assert plain[0] > 2**31
    scales = weight_scales(rows, bias_floor(bias, np.float32(0.01)))
    levels = bias_levels(bias, (np.float32(0.01) * scales).astype(np.float32))
    assert 0.99 * BIAS_LIMIT < levels[0] <= 1.01 * BIAS_LIMIT
    assert levels[0] * 0.01 * scales[0] == pytest.approx(3.0, rel=1e-5)


LOWS, HIGHS = np.array([-0.5, -4.0, 0.0, -0.1], "f4"), np.array([1.0, 3.0, 8.0, 0.0], "f4")


@pytest.mark.parametrize("one_zero", [True, False])
def test_levels_of_channels_hold_their_ranges(one_zero):
    levels = channel_levels(-4.0, 8.0, LOWS, HIGHS, one_zero=one_zero)
    zeros, steps = levels.zeros.astype(float), levels.steps
    assert ((0 - zeros) * steps <= LOWS + steps).all()
    assert ((255 - zeros) * steps >= HIGHS - steps).all()
    assert one_zero == (len(set(levels.zeros)) == 1)
    assert levels.steps[0] < levels.affine.scale / 4


def test_a_channel_reads_what_kernels_read_by_factor_and_offset():
    levels = channel_levels(-4.0, 8.0, LOWS, HIGHS, one_zero=False)
    stored = np.array([0, 17, 200, 255])
    read = (stored - levels.affine.zero_point) * float(levels.affine.scale)
    exact = (stored - levels.zeros.astype(float)) * levels.steps
    np.testing.assert_allclose(read * levels.factors + levels.offsets, exact, rtol=1e-6)


def test_channels_that_go_no_way_of_their_own_have_the_levels_of_kernels():
    assert channel_levels(-4.0, 8.0, LOWS, HIGHS, share=0.0).alike
    assert not channel_levels(-4.0, 8.0, LOWS, HIGHS, share=0.5).alike


def test_smaller_activations_let_neighbours_be_larger():
    scales = weight_scales(ADVERSE, reach=np.full(4, 0.5))
    np.testing.assert_allclose(scales, np.abs(ADVERSE).max(axis=1) / 127)
    levels = weight_levels(ADVERSE, scales)
    assert pair_sums(levels, np.full(ADVERSE.shape, 127)).max() <= 32767
