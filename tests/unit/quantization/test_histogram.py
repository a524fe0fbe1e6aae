"""Counting values: in whatever order and in whatever parts, the numbers are the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgevit.quantization.histogram import (
    BINS,
    FINEST,
    Histogram,
    finest_exponent,
    pack_counts,
    unpack_counts,
)

FINITE = st.floats(-(2.0**90), 2.0**90, width=32)
PARTS = st.lists(arrays.arrays(np.float32, st.integers(1, 20), elements=FINITE), min_size=1)


def merge(parts) -> Histogram:
    found = None
    for part in parts:
        counted = Histogram.of_values(part)
        found = counted if found is None else found.merged(counted)
    return found


@settings(max_examples=40, deadline=None)
@given(PARTS, st.randoms(use_true_random=False))
def test_no_order_and_no_division_into_parts_can_be_told_from_the_counts(parts, random):
    whole = Histogram.of_values(np.concatenate(parts))
    shuffled = list(parts)
    random.shuffle(shuffled)
    assert merge(parts) == whole
    assert merge(shuffled) == whole


@settings(max_examples=40, deadline=None)
@given(PARTS)
def test_merging_is_associative(parts):
    half = len(parts) // 2
    if half:
        assert merge(parts[:half]).merged(merge(parts[half:])) == merge(parts)


@settings(max_examples=40, deadline=None)
@given(arrays.arrays(np.float32, st.integers(1, 50), elements=FINITE))
def test_every_value_lies_in_its_bin_and_every_value_is_counted(values):
    found = Histogram.of_values(values)
    assert found.counts.sum() == len(values)
    assert found.counts[0] > 0 < found.counts[-1]
    assert len(found.counts) <= BINS
    assert found.edges[0] <= values.min() < found.edges[1]
    assert found.edges[-2] <= values.max() < found.edges[-1]


def test_a_wide_range_uses_at_least_half_of_the_bins():
    values = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    found = Histogram.of_values(values)
    assert BINS // 2 < len(found.counts) <= BINS


def test_a_tensor_of_zeros_is_one_bin():
    found = Histogram.of_values(np.zeros(7, np.float32))
    assert (found.exponent, found.first, found.counts.tolist()) == (FINEST, 0, [7])
    assert finest_exponent(0.0, 0.0) == FINEST


def test_counts_agree_with_numpy():
    values = np.random.default_rng(1).normal(2.0, 3.0, 5000).astype(np.float32)
    found = Histogram.of_values(values)
    expected, _ = np.histogram(values.astype(np.float64), found.edges)
    np.testing.assert_array_equal(found.counts, expected)


def test_counts_survive_the_way_through_text():
    counts = Histogram.of_values(np.random.default_rng(2).normal(size=999)).counts
    found = unpack_counts(pack_counts(counts))
    assert found.dtype == counts.dtype
    np.testing.assert_array_equal(found, counts)


@pytest.mark.parametrize(
    "text",
    ["###", "", "AAAA", None, 3, pack_counts(np.zeros(3)), pack_counts(np.array([2, -1]))],
    ids=str,
)
def test_damaged_counts_are_refused(text):
    with pytest.raises(ValueError, match=r"histogram|base64|padding"):
        unpack_counts(text)


def test_damaged_counts_do_not_unpack_to_gigabytes():
    assert len(unpack_counts(pack_counts(np.ones(100 * BINS, int)))) == BINS
