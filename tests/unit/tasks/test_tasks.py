"""Which task a model is for, and what it says of one sample."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevit.base.documents import to_json
from edgevit.base.errors import UnknownNameError
from edgevit.core.signature import Activation, InputSpec, OutputSpec, Role, Signature
from edgevit.tasks import TASKS, find_task, guess_task
from edgevit.tasks.classification import probabilities

LINEAR, SOFTMAX, SIGMOID = Activation.LINEAR, Activation.SOFTMAX, Activation.SIGMOID


def signature(*outputs: OutputSpec) -> Signature:
    return Signature((InputSpec("images", (None, 8, 8, 3)),), outputs)


def output(role: Role, *shape: int, activation: Activation = LINEAR, name="out") -> OutputSpec:
    return OutputSpec(name, (None, *shape), "float32", role, activation)


def describe(task: str, found: OutputSpec, values, names: tuple[str, ...] = (), top: int = 3):
    """(the document, its line)"""
    row = find_task(task)
    outputs = {found.name: np.array(values, np.float32)}
    document = row.describe(outputs, signature(found), names, top)
    json.loads(to_json(document))  # plain values alone
    return document, row.in_words(document)


@pytest.mark.parametrize(
    ("roles", "task"),
    [
        ([Role.LOGITS], "classification"),
        ([Role.PROBABILITIES], "classification"),
        ([Role.MAP, Role.LOGITS], "classification"),
        ([Role.EMBEDDING, Role.LOGITS], "classification"),
        ([Role.LOGITS, Role.MASK], "segmentation"),
        ([Role.EMBEDDING, Role.VALUES], "embedding"),
        ([Role.VALUES, Role.MAP], "regression"),
        ([Role.MAP], "generic"),
        ([Role.LABELS], "generic"),
    ],
)
def test_the_task_is_guessed_from_what_the_outputs_are(roles, task):
    outputs = [output(role, 4, name=f"o{place}") for place, role in enumerate(roles)]
    assert guess_task(signature(*outputs)).name == task


def test_every_task_has_its_name_a_summary_and_roles():
    assert list(TASKS) == [task.name for task in TASKS.values()]
    assert all(task.summary and task.roles for task in TASKS.values())


def test_a_task_is_found_by_name_or_refused_with_near_misses():
    assert find_task("segmentation") is TASKS["segmentation"]
    with pytest.raises(UnknownNameError, match="segmentation"):
        find_task("segmentatoin")


def test_a_task_is_about_the_first_output_of_its_roles():
    boxes, scores = output(Role.VALUES, 4, name="boxes"), output(Role.LOGITS, 3, name="scores")
    both = signature(boxes, scores)
    assert find_task("classification").main_output(both) is scores
    assert find_task("regression").main_output(both) is boxes
    assert find_task("embedding").main_output(both) is boxes  # none is one: the first


def test_classes_come_by_probability_with_names_where_there_are_any():
    document, line = describe("classification", output(Role.LOGITS, 3), [0, 2, 1], ("a", "b", "c"))
    shares = np.exp([0, 2, 1]) / np.exp([0, 2, 1]).sum()
    assert [row["class"] for row in document["classes"]] == ["b", "c", "a"]
    assert [row["index"] for row in document["classes"]] == [1, 2, 0]
    found = [row["probability"] for row in document["classes"]]
    assert found == pytest.approx([shares[1], shares[2], shares[0]], rel=1e-6)
    assert line == "b 66.5 %, c 24.5 %, a 9.0 %"
    document, line = describe("classification", output(Role.LOGITS, 3), [0, 2, 1], (), 1)
    assert line == "1 66.5 %"


def test_what_is_a_probability_already_stays_one():
    spec = output(Role.PROBABILITIES, 2, activation=SOFTMAX)
    assert describe("classification", spec, [0.25, 0.75])[1] == "1 75.0 %, 0 25.0 %"
    several = output(Role.PROBABILITIES, 2, activation=SIGMOID)
    assert describe("classification", several, [0.9, 0.8])[1] == "0 90.0 %, 1 80.0 %"


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("cat", "dog"), "dog 80.0 %, cat 20.0 %"),
        (("dog",), "dog 80.0 %"),
        ((), "yes 80.0 %, no 20.0 %"),
    ],
)
def test_one_number_says_yes_or_no(names, line):
    share = output(Role.PROBABILITIES, 1, activation=SIGMOID)
    assert describe("classification", share, [0.8], names)[1] == line
    logit = float(np.log(4))
    assert describe("classification", output(Role.LOGITS, 1), [logit], names)[1] == line


def test_a_class_for_each_position_is_told_by_name():
    spec = output(Role.LOGITS, 2, 3)
    assert describe("classification", spec, [[0, 1, 0], [5, 1, 0]], ("x", "y", "z"))[1] == "y, x"


def test_softmax_does_not_overflow():
    found = probabilities(np.array([[1e4, 1e4, -1e4]]), output(Role.LOGITS, 3))
    np.testing.assert_allclose(found, [[0.5, 0.5, 0.0]])


def test_values_are_told_by_name_where_each_has_one():
    spec = output(Role.VALUES, 2)
    document, line = describe("regression", spec, [1.5, -20], ("x", "y"))
    assert document == {"values": {"x": 1.5, "y": -20.0}}
    assert line == "x 1.5, y -20"
    assert describe("regression", spec, [1.5, -20], ("x",))[1] == "1.5, -20"
    many = describe("regression", output(Role.VALUES, 10), np.arange(10))
    assert many[1] == "0, 1, 2, 3, 4, 5, 6, 7, ... (10 in all)"
    assert many[0]["values"] == list(range(10))


def test_an_embedding_is_told_by_its_numbers_and_length():
    document, line = describe("embedding", output(Role.EMBEDDING, 2), [3, 4])
    assert document == {"embedding": [3.0, 4.0], "length": 5.0}
    assert line == "a vector of 2 numbers, of length 5"


def test_a_mask_is_told_by_the_share_of_each_class():
    values = np.eye(3)[[[0, 1], [1, 1]]]  # H W C
    spec = output(Role.MASK, 2, 2, 3, activation=SOFTMAX)
    document, line = describe("segmentation", spec, values, ("sky", "road", "car"))
    assert document["size"] == [2, 2]
    assert line == "road 75.0 % of the pixels, sky 25.0 % of the pixels"
    mask = find_task("segmentation").mask({"out": values}, signature(spec))
    np.testing.assert_array_equal(mask, [[0, 1], [1, 1]])
    assert mask.dtype == np.uint8


def test_a_mask_of_one_channel_is_foreground_or_not():
    values = np.array([[[0.6], [0.4]]])
    spec = output(Role.MASK, 1, 2, 1, activation=SIGMOID)
    assert (
        describe("segmentation", spec, values)[1]
        == "1 50.0 % of the pixels, 0 50.0 % of the pixels"
    )
    logits = output(Role.MASK, 1, 2, 1)
    found = find_task("segmentation").mask({"out": values - 0.5}, signature(logits))
    np.testing.assert_array_equal(found, [[1, 0]])


def test_masks_that_overlap_show_the_first_and_zero_where_none_is():
    values = np.array([[[0.9, 0.9], [0.1, 0.9], [0.1, 0.1]]])
    spec = output(Role.MASK, 1, 3, 2, activation=SIGMOID)
    found = find_task("segmentation").mask({"out": values}, signature(spec))
    np.testing.assert_array_equal(found, [[1, 2, 0]])


def test_anything_else_is_told_by_shape_and_range():
    document, line = describe("generic", output(Role.MAP, 2, 2), [[1, 2], [3, -4.5]])
    found = document["outputs"]["out"]
    assert found == {"shape": [2, 2], "low": -4.5, "high": 3.0, "values": [[1, 2], [3, -4.5]]}
    assert line == "out: 2 x 2, -4.5 to 3"
    large, _ = describe("generic", output(Role.MAP, 100), np.zeros(100))
    assert "values" not in large["outputs"]["out"]
