"""Intervals hold what they claim to hold, and wild samples do not move them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgevit.base.statistics import (
    Interval,
    PairedDrop,
    bootstrap_median,
    difference_of_means,
    median_absolute_deviation,
    paired_ratio,
    sign_interval,
    unpaired_ratio,
)


def test_the_median_of_a_bootstrap_is_the_median_and_lies_inside():
    found = bootstrap_median([3.0, 1.0, 2.0, 50.0, 2.5])
    assert found.middle == 2.5
    assert found.low <= found.middle <= found.high


def test_a_bootstrap_interval_holds_the_truth_in_about_95_of_100_runs():
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        found = bootstrap_median(list(rng.normal(7.0, 1.0, 31)))
        held += found.low <= 7.0 <= found.high
    assert 182 <= held <= 199


def test_a_ratio_of_pairs_does_not_see_a_machine_that_slows_down():
    rng = np.random.default_rng(0)
    speed = np.geomspace(1, 3, 40) * rng.lognormal(0, 0.2, 40)  # both meet the same machine
    base = speed * rng.normal(1, 0.01, 40)
    head = 1.1 * speed * rng.normal(1, 0.01, 40)
    paired, unpaired = paired_ratio(head, base), unpaired_ratio(head, base)
    assert paired.low < 1.1 < paired.high
    assert paired.half_width < 0.01
    assert unpaired.half_width > 0.1


def test_a_ratio_of_pairs_leaves_out_what_has_no_partner():
    assert paired_ratio([2.0, 4.0, 99.0], [1.0, 2.0]).middle == pytest.approx(2.0)


@pytest.mark.parametrize("ratio", [paired_ratio, unpaired_ratio])
def test_nothing_has_no_ratio(ratio):
    with pytest.raises(ValueError, match="no value"):
        ratio([], [1.0])


def test_the_sign_interval_lies_at_the_order_statistics_of_the_binomial():
    # 1 - 2 * (1 + 8) / 2**8 = 93 %: not enough for 95 %, so the ends of 8 values are the extremes
    assert sign_interval(range(1, 9), 0.95) == Interval(4.5, 1.0, 8.0)
    # 20 values: ranks 6 and 15 cover 95.9 % (table of the sign test)
    assert sign_interval(range(1, 21), 0.95) == Interval(10.5, 6.0, 15.0)


def test_too_few_values_have_no_ends():
    found = sign_interval([1.0, 2.0, 3.0], 0.99)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert sign_interval(range(8), 0.99).high == 7  # 1 - 2 / 2**8 = 99.2 %
    assert sign_interval(range(7), 0.99).high == math.inf


def test_student_interval_equals_a_textbook_computation():
    # Pooled variance 2.5, four degrees of freedom: 2.776 * sqrt(2.5 * 2 / 3) = 3.584
    found = difference_of_means([10.0, 11.0, 12.0], [1.0, 3.0, 5.0])
    assert found.middle == pytest.approx(8.0)
    assert found.high - found.middle == pytest.approx(3.584, abs=1e-3)


def test_student_interval_holds_the_truth_in_about_95_of_100_runs():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(1000):
        found = difference_of_means(list(rng.normal(2, 1, 2)), list(rng.normal(0, 1, 2)))
        held += found.low <= 2 <= found.high
    assert 930 <= held <= 970


def test_one_value_a_side_has_no_variance():
    with pytest.raises(ValueError, match="two values"):
        difference_of_means([1.0], [1.0, 2.0])


def test_the_deviation_withstands_a_wild_sample():
    assert median_absolute_deviation([1.0, 2.0, 3.0, 4.0, 1e9]) == 1.0


def test_a_hull_keeps_the_estimate_of_the_first():
    assert Interval(1.0, 0.5, 1.5).hull(Interval(9.0, 0.8, 2.0)) == Interval(1.0, 0.5, 2.0)


def test_a_paired_drop_counts_only_images_where_the_answers_differ():
    drop = PairedDrop.of([True, True, True, False] * 50, [True, True, False, True] * 50)
    assert (drop.images, drop.lost, drop.won, drop.points) == (200, 50, 50, 0.0)
    drop = PairedDrop.of([True] * 10, [True] * 9 + [False])
    assert drop.points == pytest.approx(10.0)
    with pytest.raises(ValueError, match="same images"):
        PairedDrop.of([True], [True, False])
    with pytest.raises(ValueError, match="at least one"):
        PairedDrop.of([], [])


def test_mcnemar_is_the_exact_binomial_test():
    assert PairedDrop(100, 5, 0).p_value == pytest.approx(2 / 32)
    assert PairedDrop(100, 8, 2).p_value == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert PairedDrop(100, 3, 3).p_value == 1.0
    assert PairedDrop(100, 0, 0).p_value == 1.0


def test_the_interval_of_a_paired_drop_has_the_width_of_theory():
    drop = PairedDrop(1000, 30, 20)
    found = drop.interval()
    spread = 100 * math.sqrt((0.05 - 0.01**2) / 1000)  # of a difference of paired shares
    assert found.middle == 1.0
    assert found.low == pytest.approx(1.0 - 1.96 * spread, abs=0.15)
    assert found.high == pytest.approx(1.0 + 1.96 * spread, abs=0.15)
    assert PairedDrop(50, 0, 0).interval().low == PairedDrop(50, 0, 0).interval().high == 0
