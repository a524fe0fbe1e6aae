"""What it means that two outputs agree, on cases that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.core.parity import LITTLE, MANY
from edgevit.core.signature import Activation, OutputSpec, Role
from edgevit.tasks.measures import (
    choose_class,
    compare_outputs,
    cosine,
    decide,
    mean_interval,
    mean_of_overlaps,
    overlap_interval,
    project_errors,
    same_class,
    same_integers,
    threshold,
)

ROWS = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0], [1.0, 1.0, 0.0], [2.0, 2.0, 2.0]])


def output(
    role: Role, *shape: int, activation: Activation = Activation.LINEAR, name: str = "out"
) -> OutputSpec:
    return OutputSpec(name, (None, *shape), "float32", role, activation)


SCORES = output(Role.LOGITS, 3)
SEVERAL = output(Role.PROBABILITIES, 3, activation=Activation.SIGMOID)
ONE_LOGIT = output(Role.LOGITS, 1)
ONE_SHARE = output(Role.PROBABILITIES, 1, activation=Activation.SIGMOID)
VALUES = output(Role.VALUES, 2)


def test_agreement_is_the_share_of_rows_with_the_same_class():
    other = ROWS.copy()
    other[1] = [9.0, 0.0, 0.0]
    np.testing.assert_array_equal(same_class(ROWS, ROWS, SCORES), [1, 1, 1, 1])
    np.testing.assert_array_equal(same_class(ROWS, other, SCORES), [1, 0, 1, 1])


def test_a_tie_in_the_file_counts_when_the_reference_is_among_the_tied():
    tied = np.array([[1.0, 1.0, 0.0]])
    assert same_class(tied, np.array([[0.0, 1.0, 0.0]]), SCORES) == 1.0
    assert same_class(tied, np.array([[0.0, 0.0, 1.0]]), SCORES) == 0.0


@pytest.mark.parametrize("spec", [SCORES, SEVERAL], ids=["one of several", "several at once"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_a_row_with_a_value_that_is_not_finite_never_agrees(value, column, spec):
    broken = ROWS.copy()
    broken[0, column] = value
    assert same_class(broken, ROWS, spec)[0] == 0
    assert same_class(broken, ROWS, spec)[1:].all()


def test_numbers_that_decide_by_themselves_have_a_threshold():
    assert threshold(SCORES) is None
    assert threshold(SEVERAL) == threshold(ONE_SHARE) == 0.5
    assert threshold(ONE_LOGIT) == 0.0
    assert threshold(output(Role.PROBABILITIES, 3, activation=Activation.SOFTMAX)) is None


def test_yes_and_no_agree_by_the_side_of_the_threshold():
    found = np.array([[0.4], [0.6], [-0.1], [0.0]])
    expected = np.array([[0.6], [0.7], [-5.0], [0.5]])
    np.testing.assert_array_equal(same_class(found, expected, ONE_SHARE), [0, 1, 1, 1])
    np.testing.assert_array_equal(same_class(found, expected, ONE_LOGIT), [1, 1, 1, 0])


def test_classes_that_occur_at_once_agree_one_by_one():
    found = np.array([[0.9, 0.9, 0.1]])
    expected = np.array([[0.6, 0.4, 0.4]])
    np.testing.assert_allclose(same_class(found, expected, SEVERAL), [2 / 3])
    assert same_class(found, expected, SCORES) == 1.0  # of one of several the largest wins


def test_a_class_is_chosen_for_every_sample():
    np.testing.assert_array_equal(choose_class(ROWS, SCORES), [0, 1, 0, 0])
    np.testing.assert_array_equal(choose_class(np.array([[0.2], [0.7]]), ONE_SHARE), [0, 1])
    np.testing.assert_array_equal(choose_class(np.array([[-0.2], [0.7]]), ONE_LOGIT), [0, 1])
    assert choose_class(ROWS, SCORES).dtype == np.int64


def test_decisions_over_positions_are_classes_of_the_last_axis():
    words = np.stack([ROWS, ROWS[::-1]])  # B T C
    np.testing.assert_array_equal(decide(words, SCORES), [[0, 1, 0, 0], [0, 0, 1, 0]])
    agreement = same_class(words, words[:, ::-1], SCORES)
    np.testing.assert_allclose(agreement, [0.75, 0.75])  # ties count


def one_hot(labels: list[list[int]], classes: int = 3) -> np.ndarray:
    return np.eye(classes)[np.array([labels])]  # 1 H W C


def agreement(found: np.ndarray, expected: np.ndarray, spec: OutputSpec) -> float:
    return compare_outputs(found, expected, spec).agreement


def test_mean_iou_is_over_the_classes_that_occur_in_either_mask():
    spec = output(Role.MASK, 2, 2, 3, activation=Activation.SOFTMAX)
    found, expected = one_hot([[0, 0], [1, 1]]), one_hot([[0, 0], [0, 1]])
    assert agreement(found, expected, spec) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert agreement(expected, expected, spec) == 1.0
    elsewhere = one_hot([[2, 2], [2, 2]])
    assert agreement(elsewhere, expected, spec) == 0.0


def test_a_class_of_few_pixels_counts_over_all_samples_and_not_in_each():
    spec = output(Role.MASK, 1, 4, 2, activation=Activation.SOFTMAX)
    expected = np.concatenate([one_hot([[0, 0, 0, 1]], 2), one_hot([[1, 1, 1, 1]], 2)])
    found = np.concatenate([one_hot([[0, 0, 0, 0]], 2), one_hot([[1, 1, 1, 1]], 2)])
    assert agreement(found, expected, spec) == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_mean_iou_of_masks_that_overlap_is_one_class_at_a_time():
    spec = output(Role.MASK, 1, 2, 2, activation=Activation.SIGMOID)
    found = np.array([[[[0.9, 0.9], [0.9, 0.1]]]])
    expected = np.array([[[[0.9, 0.1], [0.9, 0.1]]]])
    assert agreement(found, expected, spec) == 0.5  # 1 of class 0, 0 of class 1
    assert mean_of_overlaps(np.zeros((3, 2, 4))) == 1.0  # no class occurs at all


def test_the_interval_of_mean_iou_comes_from_drawing_samples_again():
    rng = np.random.default_rng(0)
    both = rng.integers(5, 10, (60, 1)).astype(float)
    overlaps = np.stack([both, np.full_like(both, 10)], axis=1)  # B 2 classes
    mean, low, high = overlap_interval(overlaps)
    assert mean == pytest.approx(both.mean() / 10)
    error = 1.96 * both.std() / 10 / np.sqrt(60)
    assert (mean - low, high - mean) == pytest.approx((error, error), rel=0.3)
    assert overlap_interval(overlaps) == (mean, low, high)


def test_cosine_is_of_the_angle_and_not_of_the_length():
    spec = output(Role.EMBEDDING, 2)
    found = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0], [-3.0, 0.0]])
    expected = np.array([[9.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(
        cosine(found, expected, spec), [1, np.sqrt(0.5), 1, 0, -1], atol=1e-12
    )


def test_labels_agree_where_they_are_equal():
    spec = OutputSpec("out", (None, 2), "int64", Role.LABELS)
    found, expected = np.array([[1, 2], [3, 4]]), np.array([[1, 9], [3, 4]])
    np.testing.assert_array_equal(same_integers(found, expected, spec), [0.5, 1])


def test_figures_are_those_that_can_be_computed_by_hand():
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(20, 10)).astype(np.float32)
    found = expected.copy()
    found[4, 7] += 0.5
    parity = compare_outputs(found, expected, output(Role.LOGITS, 10))
    scale = float(np.abs(expected).max())
    assert (parity.name, parity.images, parity.role) == ("out", 20, Role.LOGITS)
    assert parity.max_abs == pytest.approx(0.5)
    assert parity.mean_abs == pytest.approx(0.5 / 200)
    assert parity.relative == pytest.approx(0.5 / 200 / expected.std())
    assert (parity.largest, parity.error) == pytest.approx((scale, 0.5 / scale))
    chosen = np.argmax(found, -1) == np.argmax(expected, -1)
    assert parity.agreement == chosen.mean()
    assert not parity.constant
    assert not parity.one_sided


def test_the_same_outputs_are_at_no_distance_at_all():
    parity = compare_outputs(ROWS, ROWS, SCORES)
    figures = (parity.max_abs, parity.mean_abs, parity.relative, parity.error)
    assert figures == (0, 0, 0, 0)
    assert parity.agreement == 1.0


def test_a_wrong_column_of_small_values_is_seen_beside_one_of_large_values():
    rng = np.random.default_rng(1)
    expected = rng.normal(size=(50, 2)) * [1e-3, 1e4]
    found = expected.copy()
    found[:, 0] = expected[::-1, 0]
    apart = compare_outputs(found, expected, VALUES)
    assert apart.relative > 0.5
    assert apart.error > 0.5
    together = compare_outputs(found, expected, output(Role.MAP, 2))
    assert together.relative < 1e-5  # where columns share a unit, this is nothing


def test_a_column_that_does_not_vary_is_held_against_its_scale():
    expected = np.stack([np.full(20, 100.0), np.linspace(-1, 1, 20)], axis=1)
    found = expected + np.array([0.01, 0.0])
    parity = compare_outputs(found, expected, VALUES)
    assert parity.relative == pytest.approx(0.01 / (LITTLE * 100))
    assert parity.error == pytest.approx(1e-4)
    assert not parity.constant


def test_a_column_of_zeros_is_met_exactly_or_not_at_all():
    expected = np.stack([np.zeros(20), np.linspace(-1, 1, 20)], axis=1)
    exact = compare_outputs(expected, expected, VALUES)
    assert (exact.error, exact.relative) == (0, 0)
    off = compare_outputs(expected + np.array([1e-6, 0]), expected, VALUES)
    assert off.error == off.relative == np.inf


def test_outputs_that_hardly_vary_are_said_to_be_constant():
    flat = np.full((10, 3), 5.0)
    near = flat + np.linspace(0, 4 * LITTLE, 30).reshape(10, 3)
    assert compare_outputs(flat, flat, SCORES).constant
    assert compare_outputs(near, near, SCORES).constant
    assert not compare_outputs(ROWS, ROWS, SCORES).constant


@pytest.mark.parametrize(
    ("spec", "expected", "alone"),
    [
        (SCORES, np.array([[1.0, 0, 0], [3, 1, 0]]), True),
        (SCORES, np.array([[1.0, 0, 0], [0, 1, 0]]), False),
        (ONE_LOGIT, np.array([[1.0], [3.0]]), True),
        (ONE_LOGIT, np.array([[1.0], [-3.0]]), False),
        (SEVERAL, np.array([[0.9, 0.1, 0.2], [0.7, 0.2, 0.1]]), True),
        (SEVERAL, np.array([[0.9, 0.1, 0.2], [0.7, 0.8, 0.1]]), False),
        (output(Role.VALUES, 1), np.array([[1.0], [3.0]]), False),
        (OutputSpec("o", (None, 1), "int64", Role.LABELS), np.array([[3.0], [3.0]]), True),
        (SCORES, np.array([[1.0, 0, 0]]), False),  # one sample is always of one class
    ],
)
def test_a_reference_of_one_class_alone_is_said_to_be_one_sided(spec, expected, alone):
    assert compare_outputs(expected, expected, spec).one_sided is alone


def test_outputs_to_which_the_mean_would_be_nearer_are_useless():
    rng = np.random.default_rng(3)
    offsets = np.array([0.0, 10.0, -10.0])  # the same in every sample: no news
    expected = rng.normal(size=(200, 3)) + offsets
    near, swapped = expected + 0.1 * rng.normal(size=(200, 3)), expected[::-1]
    assert not compare_outputs(near, expected, SCORES).useless
    assert compare_outputs(swapped, expected, SCORES).useless
    assert compare_outputs(swapped, expected, SCORES).relative < 0.2  # of the whole deviation
    mean = np.broadcast_to(expected.mean(axis=0), expected.shape)
    assert compare_outputs(mean, expected, SCORES).useless
    assert not compare_outputs(
        offsets + np.zeros((4, 3)), offsets + np.zeros((4, 3)), SCORES
    ).useless


def test_one_column_of_values_that_is_lost_to_another_is_a_loss_and_all_are_a_fault():
    rng = np.random.default_rng(3)
    expected = rng.normal(size=(200, 2)) * [1e4, 1e-3]
    found = expected.copy()
    found[:, 1] = expected[::-1, 1]
    assert not compare_outputs(found, expected, VALUES).useless
    assert compare_outputs(found, expected, VALUES).relative > 0.5
    assert compare_outputs(expected[::-1], expected, VALUES).useless
    assert not compare_outputs(found, expected, output(Role.MAP, 2)).useless
    assert not compare_outputs(expected, expected, VALUES).useless


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_not_finite_leaves_no_figure(value):
    found = ROWS.copy()
    found[0, 0] = value
    parity = compare_outputs(found, ROWS, SCORES)
    assert parity.images == 4
    figures = (parity.max_abs, parity.relative, parity.error, parity.agreement)
    assert np.isnan(figures).all()


def test_no_sample_is_no_comparison():
    empty = np.zeros((0, 3))
    assert compare_outputs(empty, empty, SCORES).images == 0


@pytest.mark.parametrize("role", [Role.VALUES, Role.MAP])
def test_values_and_maps_have_no_measure(role):
    parity = compare_outputs(ROWS, ROWS, output(role, 3))
    assert np.isnan([parity.agreement, parity.low, parity.high]).all()


def test_the_interval_of_shares_is_wilsons():
    from scipy.stats import binomtest

    mean, low, high = mean_interval(np.array([1.0] * 90 + [0.0] * 10))
    found = binomtest(90, 100).proportion_ci(method="wilson")
    assert (mean, low, high) == pytest.approx((0.9, found.low, found.high), abs=1e-6)


def test_full_agreement_is_no_proof_of_more():
    mean, low, high = mean_interval(np.ones(20))
    assert (mean, high) == (1.0, 1.0)
    assert low == pytest.approx(0.8389, abs=1e-4)


def test_measures_that_hardly_scatter_have_a_narrower_interval():
    rng = np.random.default_rng(0)
    narrow = mean_interval(0.9 + 0.01 * rng.random(100))
    wide = mean_interval(np.array([1.0] * 90 + [0.0] * 10))
    assert narrow[1] > wide[1]
    assert narrow[1] < narrow[0] < narrow[2] <= 1
    below = mean_interval(np.array([-0.5, -0.4]))
    assert below[1] <= below[0] == pytest.approx(-0.45)


def test_columns_are_told_apart_in_units_of_the_deviation_of_all_or_their_own():
    found = np.add(ROWS, [0.0, 0.5, 0.0])
    of_scores = compare_outputs(found, ROWS, SCORES).columns
    np.testing.assert_allclose(of_scores, [0, 0.5 / ROWS.std(), 0])
    pairs = ROWS[:, :2]
    of_values = compare_outputs(found[:, :2], pairs, VALUES).columns
    np.testing.assert_allclose(of_values, [0, 0.5 / pairs[:, 1].std()])
    labels = np.array([[1], [2], [3], [4]])
    of_labels = compare_outputs(np.array([[1], [2], [3], [5]]), labels, output(Role.LABELS, 1))
    np.testing.assert_allclose(of_labels.columns, [0.25])
    wide = np.random.default_rng(0).normal(size=(2, MANY + 1))
    assert compare_outputs(wide, wide, output(Role.LOGITS, MANY + 1)).columns == ()


def test_projections_are_in_units_of_each_columns_own_deviation():
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(400, 3)) * (1.0, 0.3, 0.001)
    found = expected + rng.normal(size=(400, 3)) * (0.1, 0.03, 0.0001)
    sizes = np.sqrt(np.square(project_errors(found, expected, output(Role.LOGITS, 3))).mean(axis=1))
    assert sizes[:2] == pytest.approx([0.1, 0.1], rel=0.5)
    assert sizes[2] < 0.01  # it hardly varies: its unit is a tenth of the deviation of all
    assert project_errors(found * np.nan, expected, output(Role.LOGITS, 3)) == ()
