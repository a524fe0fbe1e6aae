"""Comparison of a session with recorded outputs, on sessions that answer what a test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgevit.base.errors import KernelsEnded, RuntimeFailure
from edgevit.core.golden_inputs import Draw
from edgevit.core.parity import KERNELS, OWN, SYNTHETIC, Verdict
from edgevit.core.reference import ReferenceSet, Samples
from edgevit.core.samples import count_samples
from edgevit.core.signature import InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import TensorSpec
from edgevit.core.tolerance import EXACT, HALF
from edgevit.formats.registry import RUNTIMES
from edgevit.verification import parity
from edgevit.verification.parity import (
    check_file,
    compare,
    find_output,
    measure_parity,
    run_all,
    run_outputs,
    score,
)

LOGITS = OutputSpec("logits", (None, 10), "float32", Role.LOGITS)
GATES = OutputSpec("gates", (None, 4), "float32", Role.MAP)
SIGNATURE = Signature((InputSpec("images", (None, 2, 2, 3)),), (LOGITS, GATES))


class Answering:
    """A session that gives the outputs it was told to give. A context manager."""

    path = Path("folder/net.onnx")
    runtime = "told"
    signature = SIGNATURE
    manifest = None

    def __init__(self, **outputs: np.ndarray):
        self.answers = outputs
        self.inputs = (TensorSpec("images", (None, 2, 2, 3), "uint8"),)
        self.outputs = tuple(
            TensorSpec(name, (None, *values.shape[1:]), "float32")
            for name, values in outputs.items()
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(self.answers)


def reference_of(**outputs: np.ndarray) -> ReferenceSet:
    images = np.zeros((20, 2, 2, 3), np.uint8)
    images += np.arange(20, dtype=np.uint8)[:, None, None, None]  # each says which it is
    draws = {"images": Draw((2, 2, 3), "uint8", picture=True)}
    return ReferenceSet(Samples({"images": images}, outputs), draws)


@pytest.fixture(scope="module")
def logits() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)


@pytest.fixture(scope="module")
def reference(logits) -> ReferenceSet:
    return reference_of(logits=logits)


def test_the_same_logits_pass_with_no_distance_at_all(reference, logits):
    report = compare(Answering(logits=logits), reference)
    assert (report.max_abs, report.mean_abs, report.relative) == (0.0, 0.0, 0.0)
    assert (report.images, report.top1_agreement, report.runtime) == (20, 1.0, "told")
    assert report.samples == SYNTHETIC
    assert report.verdict(EXACT) is Verdict.PASS


class Slow(Answering):
    """Takes a hundredth of a second an image."""

    runtime = "slow"

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        numbers = inputs["images"][:, 0, 0, 0]
        time.sleep(0.01 * len(numbers))
        return {name: values[numbers] for name, values in self.answers.items()}


def test_slow_kernels_run_the_first_images_for_as_long_as_they_may(opened, logits, monkeypatch):
    rng = np.random.default_rng(1)
    gates = rng.normal(size=(20, 4)).astype(np.float32)
    reference = reference_of(logits=logits, gates=gates[:15])
    slow = Slow(logits=logits, gates=gates)
    rows = [replace(ROWS[0], slow=True)]

    def run(session: Answering, limit_s: float, *faster: Answering, telling: int | None = 16):
        monkeypatch.setattr(parity, "SLOW_KERNELS_S", limit_s)
        opened(*faster, session)
        places = [*ROWS[: len(faster)], *rows]
        check = check_file(Path("net.onnx"), places, reference, print, telling=telling)
        return next(report for report in check.reports if report.runtime == "slow")

    few = run(slow, 0.1)
    assert 1 <= few.images <= 10
    assert few.others[0].images == few.images
    assert few.verdict(EXACT) is Verdict.PASS
    assert run(slow, 1e-6).images == 1
    assert run(slow, 1e-6, telling=None).images == 20
    whole = run(slow, 60)
    assert [output.images for output in whole.outputs] == [20, 15]
    fast = Answering(logits=logits, gates=gates)
    for tolerance in (EXACT, HALF):
        assert run(slow, 60, fast, telling=tolerance.telling).images == tolerance.telling
    wrong = Slow(logits=logits[::-1], gates=gates)
    assert run(wrong, 0.1).verdict(EXACT) is Verdict.FAIL


def test_slow_kernels_share_their_inputs_among_sessions_and_return_the_same(opened, reference):
    class Lane(Answering):
        """Returns its inputs' numbers; both lanes meet before one of them goes on."""

        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            meeting.wait(10)
            ran.append(self)
            return {"logits": np.float32(inputs["images"][:, 0, 0, :1]) * np.ones((1, 10))}

    meeting, ran = threading.Barrier(2), []
    lanes = Lane(logits=np.zeros((1, 10))), Lane(logits=np.zeros((1, 10)))
    logits = np.arange(20, dtype=np.float32)[:, None] * np.ones((1, 10), np.float32)
    opened(*lanes)
    rows = [replace(ROWS[0], slow=True)]
    expected = reference_of(logits=logits)
    (report,) = check_file(Path("net.onnx"), rows, expected, print, telling=16, lanes=2).reports
    assert set(ran) == set(lanes)
    assert (report.images, report.max_abs) == (20, 0.0)


@pytest.mark.parametrize(
    ("limit_s", "most_bytes", "probed", "expected"),
    [(0.0, 8, 6, {0, 1}), (60.0, 8, 6, {0}), (0.0, 7, 6, {0}), (0.0, 8, 20, {0})],
)
def test_sessions_share_what_takes_long_where_the_file_is_small(
    opened, tmp_path, monkeypatch, limit_s, most_bytes, probed, expected
):
    class Lane(Answering):
        """Returns its inputs' numbers."""

        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            ran.add(lanes.index(self))
            return {"logits": np.float32(inputs["images"][:, 0, 0, :1]) * np.ones((1, 10))}

    monkeypatch.setattr(parity, "SHARED_FROM_S", limit_s)
    monkeypatch.setattr(parity, "SHARED_MOST_BYTES", most_bytes)
    monkeypatch.setattr(parity, "PROBED", probed)
    path, ran = tmp_path / "net.onnx", set()
    path.write_bytes(bytes(8))
    lanes = Lane(logits=np.zeros((1, 10))), Lane(logits=np.zeros((1, 10)))
    opened(*lanes)
    logits = np.arange(20, dtype=np.float32)[:, None] * np.ones((1, 10), np.float32)
    (report,) = check_file(path, ROWS[:1], reference_of(logits=logits), print, lanes=2).reports
    assert ran == expected
    assert (report.images, report.max_abs) == (20, 0.0)


def test_figures_are_those_that_can_be_computed_by_hand(reference, logits):
    found = logits.copy()
    found[4, 7] += 0.5
    report = compare(Answering(logits=found), reference)
    assert report.max_abs == pytest.approx(0.5)
    assert report.mean_abs == pytest.approx(0.5 / 200)
    assert report.relative == pytest.approx(0.5 / 200 / logits.std())


def test_one_wrong_logit_of_one_image_fails(reference, logits):
    found = logits.copy()
    found[13, 0] += 2e-4 * np.abs(logits).max()
    assert compare(Answering(logits=found), reference).verdict(EXACT) is Verdict.FAIL


def test_an_output_beside_the_first_counts_as_much(logits):
    gates = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    reference = reference_of(logits=logits, gates=gates)
    wrong = np.concatenate([gates, np.zeros((15, 4), np.float32)])
    assert compare(Answering(logits=logits, gates=wrong), reference).verdict(EXACT) is Verdict.PASS
    wrong[4, 3] += 1
    report = compare(Answering(logits=logits, gates=wrong), reference)
    assert report.verdict(EXACT) is Verdict.FAIL
    assert [(output.name, output.role) for output in report.outputs] == [
        ("logits", Role.LOGITS),
        ("gates", Role.MAP),
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_not_finite_fails_with_nan_figures(reference, logits, value):
    found = logits.copy()
    found[0, 0] = value
    report = compare(Answering(logits=found), reference)
    assert np.isnan([report.max_abs, report.mean_abs, report.relative]).all()
    assert report.verdict(EXACT) is Verdict.FAIL


@pytest.mark.parametrize("shape", [(20, 9), (19, 10), (20, 10, 1), (1, 10)], ids=str)
def test_logits_of_another_shape_are_an_error_and_never_broadcast(reference, shape):
    with pytest.raises(RuntimeFailure, match=r"shape.*\(20, 10\)"):
        compare(Answering(logits=np.zeros(shape, np.float32)), reference)


def test_a_file_without_the_wanted_output_is_an_error(reference, logits):
    session = Answering(a=logits, b=logits)
    with pytest.raises(RuntimeFailure, match=r"no output 'logits' among a, b"):
        compare(session, reference)


def test_the_only_output_goes_by_any_name(logits):
    session = Answering(Identity=logits)
    assert find_output(session.answers, "logits", session) is logits


def distance(found: np.ndarray, expected: np.ndarray):
    return measure_parity({"logits": found}, {"logits": expected}, SIGNATURE, "x")


def test_a_reference_that_never_varies_is_met_within_its_scale():
    flat = np.ones((3, 4), np.float32)
    assert distance(flat, flat).relative == 0.0
    assert distance(flat, flat).constant
    assert distance(flat + 9e-5, flat).verdict(EXACT) is Verdict.PASS
    assert distance(flat + 1.1e-4, flat).verdict(EXACT) is Verdict.FAIL
    silent = np.zeros((3, 4), np.float32)
    assert distance(silent, silent).verdict(EXACT) is Verdict.PASS
    assert distance(silent + 1e-9, silent).verdict(EXACT) is Verdict.FAIL


@pytest.mark.filterwarnings("error")
def test_no_image_is_not_run():
    empty = np.zeros((0, 4), np.float32)
    assert distance(empty, empty).verdict(EXACT) is Verdict.NOT_RUN


def test_a_reference_with_nan_in_it_fails():
    broken = np.array([[np.nan, 1.0], [0.0, 1.0]], np.float32)
    assert distance(np.zeros((2, 2), np.float32), broken).verdict(EXACT) is Verdict.FAIL


# Several runtimes, and the user's own samples.

ROWS = [row for row in RUNTIMES.values() if row.format == "onnx"][:1] * 2


@pytest.fixture
def opened(monkeypatch):
    """A function (sessions) that the next files are opened as, one after the other."""

    def give(*sessions: Answering) -> None:
        waiting = iter(sessions)
        monkeypatch.setattr(parity, "open_session", lambda path, name: next(waiting))

    return give


def checked(reference: ReferenceSet, rows: int):
    seen: list[Answering] = []
    check = check_file(Path("net.onnx"), ROWS[:rows], reference, print, seen.append)
    return check.reports, seen


def test_every_runtime_is_held_against_the_float_model_and_the_others_against_the_first(
    opened, reference, logits
):
    sessions = Answering(logits=logits + 0.25), Answering(logits=logits + 0.75)
    opened(*sessions)
    reports, seen = checked(reference, 2)
    assert [report.samples for report in reports] == [SYNTHETIC, SYNTHETIC, KERNELS]
    assert [report.max_abs for report in reports] == pytest.approx([0.25, 0.75, 0.5], rel=1e-5)
    assert reports[2].outputs[0].lost == reports[0].relative  # the nearer of the two
    assert seen == [*sessions]


class Ending(Answering):
    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise KernelsEnded("it ends its process")


def test_kernels_that_end_their_process_are_a_caveat_where_others_ran(opened, reference, logits):
    opened(Answering(logits=logits), Ending(logits=logits))
    check = check_file(Path("net.onnx"), ROWS[:2], reference, print)
    assert [report.samples for report in check.reports] == [SYNTHETIC]
    assert check.caveats == ("it ends its process",)
    opened(Ending(logits=logits), Answering(logits=logits))
    with pytest.raises(KernelsEnded):
        check_file(Path("net.onnx"), ROWS[:2], reference, print)


def test_the_users_own_samples_are_run_too_and_their_labels_counted(opened, reference, logits):
    labels = np.argmax(logits[:8], axis=-1)
    labels[:2] = (labels[:2] + 1) % 10  # the float model is wrong on two of eight
    found = logits.copy()
    found[7, (labels[7] + 1) % 10] = 99  # and the file on a third
    own = Samples({"images": np.zeros((8, 2, 2, 3), np.uint8)}, {"logits": logits[:8]}, labels)
    opened(Several(logits, found))
    reports, _ = checked(replace(reference, own=own), 1)
    assert [report.samples for report in reports] == [SYNTHETIC, OWN]
    assert np.isnan([reports[0].accuracy, reports[0].float_accuracy]).all()
    assert (reports[1].accuracy, reports[1].float_accuracy) == (5 / 8, 6 / 8)
    assert reports[1].images == 8
    assert reports[0].verdict(EXACT) is Verdict.PASS
    assert reports[1].verdict(EXACT) is Verdict.FAIL


def test_a_file_remembers_what_it_returned_on_the_samples_that_fit_into_it(
    opened, reference, logits, monkeypatch
):
    own = Samples({"images": np.zeros((8, 2, 2, 3), np.uint8)}, {"logits": logits[:8]})
    monkeypatch.setattr("edgevit.core.reference.OWN_BYTES", 3 * own.size_bytes)
    opened(Several(logits, logits + 0.5), Several(logits, logits + 0.5))
    at_export, _ = checked(replace(reference, own=own), 1)
    inside = replace(reference, own=own).embed()
    assert inside.own is not None
    assert len(inside.own) == 3
    later, _ = checked(inside, 1)
    for before, after in zip(at_export, later, strict=True):
        assert before.outputs[0].projections == after.outputs[0].projections
    assert [report.outputs[0].projected for report in later] == [len(logits), 3]
    assert (at_export[1].images, later[1].images) == (8, 3)


class Several(Answering):
    """Gives other logits for every batch."""

    def __init__(self, *logits: np.ndarray):
        super().__init__(logits=logits[0])
        self.waiting = iter(logits)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": next(self.waiting)[: count_samples(inputs)]}


# Many images, in chunks.


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


@pytest.mark.parametrize("count", [1, 50, 51, 120])
def test_many_samples_of_several_inputs_stay_side_by_side(count):
    given = {"a": np.arange(count), "b": np.arange(count) * 10}
    sizes, calls = [], []

    def run(chunk):
        sizes.append(count_samples(chunk))
        return {"sum": chunk["a"] + chunk["b"], "a": chunk["a"]}

    found = run_outputs(run, given, lambda done, total: calls.append((done, total)))
    np.testing.assert_array_equal(found["sum"], np.arange(count) * 11)
    np.testing.assert_array_equal(found["a"], given["a"])
    assert max(sizes) <= 50
    assert calls[-1] == (count, count)


def test_accuracy_is_counted_with_its_source():
    logits = np.eye(6, dtype=np.float32)[[0, 1, 2, 3]]
    report = score(logits, np.array([0, 1, 2, 0]), "r", "s", 0.5)
    assert (report.images, report.top1, report.top5) == (4, 75.0, 100.0)
    assert (report.runtime, report.source, report.seconds) == ("r", "s", 0.5)
