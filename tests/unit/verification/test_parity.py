"""Comparison of a session with recorded logits, on sessions that answer what a test wants."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevit.base.errors import RuntimeFailure
from edgevit.core.parity import Verdict
from edgevit.core.reference import ReferenceSet
from edgevit.core.tolerance import EXACT
from edgevit.verification.parity import (
    compare,
    find_output,
    measure_accuracy,
    measure_parity,
    run_all,
)


class Answering:
    """A session that gives the outputs it was told to give."""

    path = Path("folder/net.onnx")
    runtime = "told"

    def __init__(self, **outputs: np.ndarray):
        self.outputs = outputs

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        return self.outputs


@pytest.fixture(scope="module")
def reference() -> ReferenceSet:
    logits = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)
    return ReferenceSet(np.zeros((20, 2, 2, 3), np.uint8), logits)


def test_the_same_logits_pass_with_no_distance_at_all(reference):
    report = compare(Answering(logits=reference.logits), reference)
    assert (report.max_abs, report.mean_abs, report.relative) == (0.0, 0.0, 0.0)
    assert (report.images, report.top1_agreement, report.runtime) == (20, 1.0, "told")
    assert report.verdict(EXACT) is Verdict.PASS


class Slow(Answering):
    """Takes a hundredth of a second an image."""

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        time.sleep(0.01 * len(images))
        return {name: values[: len(images)] for name, values in self.outputs.items()}


def test_slow_kernels_run_the_first_images_for_as_long_as_they_may(reference):
    others = {"attention": np.ones((15, 4), np.float32)}
    reference = replace(reference, others=others)
    slow = Slow(logits=reference.logits, attention=np.ones((20, 4), np.float32))
    few = compare(slow, reference, limit_s=0.1)
    assert 1 <= few.images <= 10
    assert few.others[0].images == few.images
    assert few.verdict(EXACT) is Verdict.PASS
    assert compare(slow, reference, limit_s=1e-6).images == 1
    assert compare(slow, reference, limit_s=60).images == 20
    wrong = Slow(logits=reference.logits[::-1], attention=others["attention"])
    assert compare(wrong, reference, limit_s=0.1).verdict(EXACT) is Verdict.FAIL


def test_figures_are_those_that_can_be_computed_by_hand(reference):
    logits = reference.logits.copy()
    logits[4, 7] += 0.5
    report = compare(Answering(logits=logits), reference)
    assert report.max_abs == pytest.approx(0.5)
    assert report.mean_abs == pytest.approx(0.5 / 200)
    assert report.relative == pytest.approx(0.5 / 200 / reference.logits.std())


def test_one_wrong_logit_of_one_image_fails(reference):
    logits = reference.logits.copy()
    logits[13, 0] += 2e-4
    assert compare(Answering(logits=logits), reference).verdict(EXACT) is Verdict.FAIL


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_not_finite_fails_with_nan_figures(reference, value):
    logits = reference.logits.copy()
    logits[0, 0] = value
    report = compare(Answering(logits=logits), reference)
    assert np.isnan([report.max_abs, report.mean_abs, report.relative]).all()
    assert report.verdict(EXACT) is Verdict.FAIL


@pytest.mark.parametrize("shape", [(20, 9), (19, 10), (20, 10, 1), (1, 10)], ids=str)
def test_logits_of_another_shape_are_an_error_and_never_broadcast(reference, shape):
    with pytest.raises(RuntimeFailure, match=r"shape.*\(20, 10\)"):
        compare(Answering(logits=np.zeros(shape, np.float32)), reference)


def test_a_file_without_the_wanted_output_is_an_error(reference):
    session = Answering(a=reference.logits, b=reference.logits)
    with pytest.raises(RuntimeFailure, match=r"no output 'logits' among a, b"):
        compare(session, reference)


def test_the_only_output_goes_by_any_name(reference):
    session = Answering(Identity=reference.logits)
    assert find_output(session.outputs, "logits", session) is reference.logits


def test_a_reference_that_never_varies_is_met_exactly_or_not_at_all():
    flat = np.ones((3, 4), np.float32)
    assert measure_parity(flat, flat, "x").relative == 0.0
    assert measure_parity(flat + 1e-6, flat, "x").relative == float("inf")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_image_is_not_run():
    empty = np.zeros((0, 4), np.float32)
    assert measure_parity(empty, empty, "x").verdict(EXACT) is Verdict.NOT_RUN


def test_a_reference_with_nan_in_it_fails():
    broken = np.array([[np.nan, 1.0], [0.0, 1.0]], np.float32)
    report = measure_parity(np.zeros((2, 2), np.float32), broken, "x")
    assert report.verdict(EXACT) is Verdict.FAIL


@pytest.mark.parametrize("count", [1, 49, 50, 51, 120])
def test_many_images_are_run_in_chunks_and_come_back_in_order(count):
    images = np.arange(count, dtype=np.float32)[:, None]
    sizes, calls = [], []

    def run(chunk):
        sizes.append(len(chunk))
        return chunk * 2

    found = run_all(run, images, lambda done, total: calls.append((done, total)))
    np.testing.assert_array_equal(found, images * 2)
    assert max(sizes) <= 50
    assert calls[-1] == (count, count)


def test_accuracy_is_measured_with_time_and_source():
    logits = np.eye(6, dtype=np.float32)[[0, 1, 2, 3]]
    report = measure_accuracy(lambda images: logits, np.zeros(4), np.array([0, 1, 2, 0]), "r", "s")
    assert (report.images, report.top1, report.top5) == (4, 75.0, 100.0)
    assert (report.runtime, report.source) == ("r", "s")
    assert report.seconds >= 0
