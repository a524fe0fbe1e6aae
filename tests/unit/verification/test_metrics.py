"""Agreement and accuracy, with ties, NaN and small cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.verification.metrics import agreement, top_k

ROWS = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0], [1.0, 1.0, 0.0], [2.0, 2.0, 2.0]])


def test_agreement_is_the_share_of_rows_with_the_same_class():
    other = ROWS.copy()
    other[1] = [9.0, 0.0, 0.0]
    assert agreement(ROWS, ROWS) == 1.0
    assert agreement(ROWS, other) == 0.75


def test_a_tie_in_the_file_counts_when_the_reference_is_among_the_tied():
    tied = np.array([[1.0, 1.0, 0.0]])
    assert agreement(tied, np.array([[0.0, 1.0, 0.0]])) == 1.0
    assert agreement(tied, np.array([[0.0, 0.0, 1.0]])) == 0.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_row_with_a_value_that_is_not_finite_never_agrees(value, column):
    broken = ROWS.copy()
    broken[0, column] = value
    assert agreement(broken, ROWS) == 0.75


def test_top_k_counts_labels_among_the_k_largest():
    labels = np.array([0, 2, 1, 2])
    assert top_k(ROWS, labels, 1) == 25.0
    assert top_k(ROWS, labels, 2) == 75.0
    assert top_k(ROWS, labels, 3) == 100.0


def test_top_1_breaks_ties_as_argmax_does():
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 3, (500, 4)).astype(np.float32)  # many ties
    labels = rng.integers(0, 4, 500)
    assert top_k(logits, labels, 1) == 100 * np.mean(np.argmax(logits, axis=-1) == labels)


def test_top_5_of_no_more_than_5_classes_is_everything():
    assert top_k(ROWS, np.array([0, 1, 2, 0]), 5) == 100.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_wrong_for_any_k(value):
    broken = ROWS.copy()
    broken[0, 1] = value
    assert top_k(broken, np.array([0, 1, 0, 0]), 3) == 75.0
