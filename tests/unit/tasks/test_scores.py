"""The figures that tasks are measured by: right by hand, in one unit, with an interval."""

from __future__ import annotations

import numpy as np
import pytest

from edgevit.base.errors import ConfigError, DataError
from edgevit.core.signature import Activation, InputSpec, OutputSpec, Role, Signature
from edgevit.tasks import TASKS, find_task
from edgevit.tasks.classification import both_classes
from edgevit.tasks.figures import Known, Truth
from edgevit.tasks.scores import score_closeness, score_labels, score_masks, score_values

NOTHING = np.empty(0)


def output(role: Role, *shape: int, activation=Activation.LINEAR, name="out") -> OutputSpec:
    return OutputSpec(name, (None, *shape), "float32", role, activation)


def signature(*outputs: OutputSpec) -> Signature:
    return Signature((InputSpec("images", (None, 8, 8, 3)),), outputs)


def score(task: str, spec: OutputSpec, found, truth: Truth, names=()):
    return find_task(task).score({spec.name: np.asarray(found)}, truth, signature(spec), names)


def test_top1_counts_classes_and_one_number_as_yes_or_no():
    logits = np.array([[3, 1, 0], [0, 1, 2], [0, 5, 1], [np.nan, 0, 0]], np.float32)
    truth = Truth(Known.CLASSES, np.array([0, 1, 1, 0]))
    found = score("classification", output(Role.LOGITS, 3), logits, truth)
    assert found.figures == {"top1": 0.5, "top5": 0.75}
    single = output(Role.PROBABILITIES, 1, activation=Activation.SIGMOID)
    shares = np.array([[0.9], [0.2], [0.6], [0.4]], np.float32)
    truth = Truth(Known.CLASSES, np.array([1, 0, 0, 1]))
    assert score("classification", single, shares, truth).figures["top1"] == 0.5
    np.testing.assert_array_equal(both_classes(shares, single).argmax(-1), [1, 0, 1, 0])
    with pytest.raises(DataError, match="3 classes, where the model tells 2 apart"):
        score("classification", single, shares, Truth(Known.CLASSES, np.array([0, 1, 2, 0])))


def test_recall_at_1_asks_all_other_samples_and_only_those_that_can_be_found():
    vectors = np.array([[1, 0], [9, 1], [0, 1], [1, 9], [-1, 0]], np.float32)
    truth = Truth(Known.CLASSES, np.array([0, 0, 1, 0, 2]), ("a", "b", "c"))
    found = score("embedding", output(Role.EMBEDDING, 2), vectors, truth)
    # lengths do not matter; 'b' and 'c' have one sample each; the third of 'a' lies beside 'b'
    assert found.figures["recall_at_1"] == pytest.approx(2 / 3)
    assert found.rows == {"a": {"recall_at_1": pytest.approx(2 / 3)}}
    assert found.figures["chance"] == 0.5
    broken = np.where(np.arange(5)[:, None] == 1, np.nan, vectors)
    again = score("embedding", output(Role.EMBEDDING, 2), broken, truth)
    assert again.figures["recall_at_1"] == pytest.approx(1 / 3)  # the first finds the fourth
    with pytest.raises(DataError, match="two samples of a class"):
        score("embedding", output(Role.EMBEDDING, 2), vectors, Truth(Known.CLASSES, np.arange(5)))


def test_what_nobody_labelled_is_held_to_the_float_model_by_the_measure_of_its_role():
    rng = np.random.default_rng(0)
    expected = rng.normal(size=(40, 6)).astype(np.float32)
    near = expected + rng.normal(size=expected.shape) * 0.1
    for task, spec, words in (
        ("embedding", output(Role.EMBEDDING, 6), "cosine as the float model"),
        ("classification", output(Role.LOGITS, 6), "same top-1 as the float model"),
        ("regression", output(Role.VALUES, 6), "closeness to the float model"),
        ("generic", output(Role.MAP, 6), "closeness to the float model"),
    ):
        truth = Truth(Known.NOTHING, NOTHING, outputs={"out": expected})
        found, perfect = (score(task, spec, side, truth) for side in (near, expected))
        assert (found.figure.name, perfect.figure.value) == (words, pytest.approx(1))
        assert 0.7 < found.figure.value < 1
        interval = found.figure.interval
        assert interval.low <= found.figure.value <= interval.high
        assert set(found.rows) == {"out"}


def test_closeness_is_one_less_the_worst_relative_error():
    expected = np.array([[0.0, 1e3], [2.0, 3e3]], np.float32)  # deviations 1 and 1000
    found = expected + np.array([[0.1, 0], [0.1, 0]], np.float32)
    values = output(Role.VALUES, 2)
    assert closeness(found, expected, values) == pytest.approx(0.9, abs=1e-6)
    labels = output(Role.LABELS, 2)
    assert closeness(np.array([[1, 2], [3, 4]]), np.array([[1, 7], [3, 4]]), labels) == 0.75
    assert closeness(np.full((2, 2), np.nan), expected, values) == -np.inf


def closeness(found, expected, spec) -> float:
    """Beside a second output, so that no role's own measure stands for all."""
    both = (spec, OutputSpec("same", spec.shape, "float32", Role.MAP))
    same = np.arange(4.0).reshape(2, 2)
    return score_closeness(
        {"out": found, "same": same}, {"out": expected, "same": same}, both
    ).figure.value


def test_each_figure_is_a_function_of_the_mean_of_what_samples_contribute():
    """So that what is resampled is what is shown."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(50, 3)) * (1, 100, 1e-3) + (5, 1e4, 0)
    values = score_values(truth + rng.normal(size=truth.shape) * 1e-4, truth, ("a", "b", "c"))
    assert values.figure.value == pytest.approx(values.figures["r2"])
    bits = rng.integers(0, 2, (50, 4))
    sigmoid = output(Role.PROBABILITIES, 4, activation=Activation.SIGMOID)
    labels = score_labels(rng.uniform(size=bits.shape), bits, "abcd", sigmoid)
    assert labels.figure.value == pytest.approx(labels.figures["accuracy"])
    masks = rng.integers(-1, 3, (20, 6, 6))
    mask = score_masks(rng.normal(size=(20, 6, 6, 3)), masks, output(Role.MASK, 6, 6, 3), ())
    assert mask.figure.value == pytest.approx(np.mean([row["iou"] for row in mask.rows.values()]))
    for figure in (values.figure, labels.figure, mask.figure):
        interval = figure.interval
        assert interval.low <= figure.value <= interval.high
        assert interval.high - interval.low > 0
        assert figure.drop_to(figure).points == 0


def test_the_loss_of_a_pair_is_narrower_than_either_figure():
    rng = np.random.default_rng(2)
    masks = rng.integers(0, 3, (40, 8, 8))
    spec = output(Role.MASK, 8, 8, 3)
    logits = np.eye(3)[masks] + rng.normal(size=(40, 8, 8, 3)) * 0.7
    before = score_masks(logits, masks, spec, ()).figure
    after = score_masks(logits + rng.normal(size=logits.shape) * 0.02, masks, spec, ()).figure
    drop = before.drop_to(after)
    interval = drop.interval()
    assert interval.low <= drop.points <= interval.high
    assert interval.high - interval.low < 100 * (before.interval.high - before.interval.low)


@pytest.mark.parametrize(
    ("task", "known", "words"),
    [
        ("segmentation", Known.CLASSES, r"measured on a folder of images/ and masks/\. Received"),
        ("embedding", Known.VALUES, r"holds embedding, is measured on class folders\. Received"),
        ("generic", Known.CLASSES, "unlabelled samples, beside the float model"),
    ],
)
def test_data_of_another_task_is_refused_in_one_line(task, known, words):
    row = find_task(task)
    with pytest.raises(ConfigError, match=words) as caught:
        row.check_truth(known, signature(output(row.roles[0], 4)))
    assert "\n" not in str(caught.value)


def test_every_task_is_measured_on_what_it_says_and_on_unlabelled_samples():
    for task in TASKS.values():
        for known in (*task.truths, Known.NOTHING):
            task.check_truth(known, signature(output(task.roles[0], 4)))
