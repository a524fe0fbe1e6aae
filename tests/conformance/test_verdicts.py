"""What becomes of a file that is right, lossy, wrong, or cannot be written at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from edgevit.base.errors import ExportError
from edgevit.core.golden_images import draw_images
from edgevit.core.parity import KERNELS, OWN, SYNTHETIC, Verdict
from edgevit.core.reference import OWN_BYTES
from edgevit.core.tolerance import Limit
from edgevit.formats.registry import TARGETS, open_session
from edgevit.verbs.export import export, export_all
from edgevit.verbs.verify import verify

SIZE = (8, 8)


def network() -> keras.Model:
    """A classifier of small pictures; all of its weights are seeded."""
    keras.utils.set_random_seed(4)
    layers = keras.layers
    images = keras.Input((*SIZE, 3), name="images")
    x = layers.Conv2D(8, 3, activation="relu")(layers.Rescaling(1 / 255)(images))
    x = layers.Flatten()(x)
    return keras.Model(images, layers.Dense(4, name="scores")(x), name="small")


class Spectrum(keras.layers.Layer):
    """The real part of a Fourier transform, which ONNX has no form for."""

    def call(self, x):
        real, _ = keras.ops.fft2((x[..., 0], keras.ops.zeros_like(x[..., 0])))
        return real


def network_with_a_spectrum() -> keras.Model:
    images = keras.Input((*SIZE, 3), name="images")
    x = Spectrum(name="spectrum")(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Dense(3, name="scores")(keras.layers.Flatten()(x))
    return keras.Model(images, x, name="wave")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """The outcome of an int8 export that was calibrated on 80 pictures."""
    folder = tmp_path_factory.mktemp("int8")
    return export(network(), "tflite-int8", folder, calibration=draw_images(80, SIZE, seed=9))


def test_a_part_of_the_users_samples_is_held_out_and_the_file_is_judged_on_it(calibrated):
    assert calibrated.verdict is Verdict.PASS
    kinds = {report.samples for report in calibrated.reports}
    assert kinds == {SYNTHETIC, OWN, KERNELS}
    own = [report for report in calibrated.reports if report.samples == OWN]
    held = own[0].images
    assert 0 < held < 80
    assert calibrated.artifact.manifest.calibration["images"] == 80 - held


def test_the_held_out_samples_travel_inside_the_file(calibrated):
    with open_session(calibrated.artifact.path) as session:
        own = session.reference.own
    pictures = {picture.tobytes() for picture in draw_images(80, SIZE, seed=9)}
    assert {picture.tobytes() for picture in own.inputs["images"]} < pictures
    assert own.inputs["images"].nbytes <= OWN_BYTES
    found = verify(calibrated.artifact.path)
    assert found.verdict is Verdict.PASS
    assert OWN in {report.samples for report in found.reports}


def test_they_stay_outside_where_that_is_wanted(tmp_path):
    images = draw_images(80, SIZE, seed=9)
    outcome = export(network(), "tflite-int8", tmp_path, calibration=images, embed_samples=False)
    assert OWN in {report.samples for report in outcome.reports}
    with open_session(outcome.artifact.path) as session:
        assert session.reference.own is None
    assert OWN not in {report.samples for report in verify(outcome.artifact.path).reports}
    content = outcome.artifact.path.read_bytes()
    assert not any(image.tobytes() in content for image in images)


@pytest.fixture
def strict(monkeypatch):
    """tflite-int8 with limits that no rounding keeps."""
    row = TARGETS["tflite-int8"]
    limits = tuple((role, Limit(1e-6, 1.0)) for role, _ in row.tolerance.limits)
    tolerance = replace(row.tolerance, limits=limits)
    monkeypatch.setitem(TARGETS, "tflite-int8", replace(row, tolerance=tolerance))


def test_a_lossy_file_is_written_and_is_what_was_asked_for_only_if_its_loss_is_accepted(
    strict, tiny_run, tmp_path
):
    outcome = export(tiny_run, "tflite-int8", tmp_path)
    assert outcome.verdict is Verdict.LOSSY
    assert outcome.artifact.path.exists()
    assert not outcome.accepted
    assert export(tiny_run, "tflite-int8", tmp_path, accept_loss=True).accepted
    assert verify(outcome.artifact.path).verdict is Verdict.LOSSY


def test_the_command_line_exits_with_1_for_a_loss_that_nobody_accepted(
    strict, tiny_run, tmp_path, command
):
    arguments = ("export", tiny_run, "--format", "tflite-int8", "--out", tmp_path)
    answer = command(*arguments, "--json")
    assert (answer.code, answer.document[0]["verdict"]) == (1, "lossy")
    answer = command(*arguments, "--accept-loss")
    assert answer.code == 0
    assert "lossy" in answer.out


def test_a_target_that_is_refused_stops_no_other(tmp_path):
    refused, written = export_all(network_with_a_spectrum(), "onnx-float32,savedmodel", tmp_path)
    assert (refused.verdict, refused.artifact, refused.reports) == (Verdict.FAIL, None, ())
    assert "spectrum" in refused.refusal
    assert "\n" not in refused.refusal
    assert (written.verdict, written.refusal) == (Verdict.PASS, "")
    assert written.artifact.path.exists()


def test_the_only_target_that_is_refused_is_an_error(tmp_path):
    with pytest.raises(ExportError, match="spectrum"):
        export(network_with_a_spectrum(), "onnx-float32", tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_the_command_line_says_what_was_refused_and_writes_the_others(tiny_run, tmp_path, command):
    lost = tmp_path / "run"
    lost.mkdir()
    for path in Path(tiny_run).iterdir():
        if not path.name.startswith("ranges"):
            (lost / path.name).write_bytes(path.read_bytes())
    arguments = ("export", lost, "--format", "tflite-int8,onnx-float32", "--out", tmp_path / "out")
    answer = command(*arguments, "--json")
    assert answer.code == 1
    refused, written = answer.document
    assert (refused["verdict"], refused["path"]) == ("refused", None)
    assert "--calibration" in refused["error"]
    assert written["verdict"] == "pass"
    assert Path(written["path"]).exists()
    answer = command(*arguments)
    assert answer.code == 1
    assert "tflite-int8: refused. " in answer.out


def test_what_looks_wrong_with_the_pixels_is_told(tmp_path, command):
    images = keras.Input((*SIZE, 3), name="images")
    x = keras.layers.Dense(3, name="scores")(keras.layers.Flatten()(images))
    keras.Model(images, x, name="bare").save(tmp_path / "bare.keras")
    arguments = ("export", tmp_path / "bare.keras", "--format", "onnx-float32", "--out", tmp_path)
    answer = command(*arguments)
    assert "warning: images: nothing scales the pixels" in answer.out
    (row,) = command(*arguments, "--json").document
    assert len(row["warnings"]) == 1
    (row,) = command(*arguments, "--json", "--scaling", "unit").document
    assert row["warnings"] == []


def test_a_constant_model_is_not_passed_for_agreeing_with_itself(tmp_path):
    """Where nothing varies, a file of another constant must not pass either."""
    images = keras.Input((*SIZE, 3), name="images")
    x = keras.layers.Dense(3, kernel_initializer="zeros", name="scores")
    model = keras.Model(images, x(keras.layers.Flatten()(images)), name="constant")
    x.set_weights([x.get_weights()[0], np.array([1.0, 2.0, 4.0], np.float32)])
    outcome = export(model, "onnx-float32", tmp_path, scaling="raw")
    assert outcome.verdict is Verdict.PASS
    assert outcome.reports[0].constant
