"""Accuracy, with ties, NaN and small cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.verification.metrics import top_k

ROWS = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0], [1.0, 1.0, 0.0], [2.0, 2.0, 2.0]])


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
