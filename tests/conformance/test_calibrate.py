"""``edgevit calibrate``: one file of ranges, whatever the order of the images, for every export."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgevit.base.errors import DataError
from edgevit.core.class_names import CIFAR10_CLASSES
from edgevit.core.format import Format
from edgevit.core.golden_images import draw_images
from edgevit.data.calibration import CalibrationSample, leave_out, sample_images
from edgevit.data.datasets import load_dataset
from edgevit.formats.calibration import calibrate, read_record
from edgevit.formats.options import build_options
from edgevit.formats.tflite.options import TfliteOptions
from edgevit.frontend.opening import open_source

IMAGES = draw_images(60, (12, 12), seed=5)
LABELS = np.arange(60) % 10


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """An npz of 40 training and 20 test images; two of the test images are training images."""
    path = tmp_path_factory.mktemp("data") / "drawn.npz"
    tests = np.concatenate([IMAGES[:2], IMAGES[42:]])
    np.savez(
        path,
        x_train=IMAGES[:40],
        y_train=LABELS[:40],
        x_test=tests,
        y_test=np.concatenate([LABELS[:2], LABELS[42:]]),
        class_names=np.array(CIFAR10_CLASSES),
    )
    return path


@pytest.fixture(scope="module")
def source(tiny_run):
    return open_source(tiny_run)


def sample_of(images: np.ndarray) -> CalibrationSample:
    return CalibrationSample.of_inputs({"images": images}, "array")


@pytest.mark.parametrize("kind", [Format.TFLITE, Format.ONNX])
def test_no_order_of_the_images_changes_one_byte_of_a_record(source, kind):
    images = IMAGES[:12]
    orders = [np.arange(12), np.arange(12)[::-1], np.random.default_rng(0).permutation(12)]
    texts = {
        calibrate(
            kind,
            source,
            build_options(kind, {}),
            sample_of(images[order]),
            "percentile",
            histograms=True,
        ).to_text()
        for order in orders
    }
    assert len(texts) == 1
    assert json.loads(texts.pop())["histograms"]


def test_a_record_keeps_what_was_seen_and_can_be_clipped_otherwise_later(source):
    sample = sample_of(IMAGES[:12])
    whole = calibrate(Format.TFLITE, source, TfliteOptions(), sample, histograms=True)
    narrow = calibrate(Format.TFLITE, source, TfliteOptions(), sample, "mse", histograms=True)
    assert whole.clipped("mse").to_text() == narrow.to_text()
    assert narrow.clipped("minmax").ranges == whole.ranges
    assert narrow.seen
    for name, (low, high) in narrow.seen.items():
        assert low <= narrow.ranges[name][0] <= narrow.ranges[name][1] <= high
        assert (low, high) == whole.ranges[name]


def test_one_file_serves_tflite_and_onnx_and_its_exports_say_so(
    command, tiny_run, archive, tmp_path
):
    ranges = tmp_path / "ranges.json"
    answer = command(
        *("calibrate", tiny_run, "--data", archive, "--images", 20, "--method", "percentile"),
        *("--out", ranges, "--json"),
    )
    assert answer.code == 0, answer.err
    assert answer.document["test_images_compared"] == 20
    assert set(answer.document["records"]) == {"tflite", "onnx"}
    exported = command(
        *("export", tiny_run, "--format", "tflite-int8,onnx-int8", "--ranges", ranges),
        *("--out", tmp_path / "exports", "--json", "--keep-failed"),
    )
    assert {row["verdict"] for row in exported.document} <= {"pass", "lossy", "fail"}
    for row, kind in zip(exported.document, (Format.TFLITE, Format.ONNX), strict=True):
        with open(row["path"] + ".manifest.json") as file:
            used = json.load(file)["calibration"]
        record = read_record(ranges, kind)
        assert used["record_sha256"] == record.digest
        assert used["record_sha256"] == answer.document["records"][str(kind)]["sha256"]
        assert used["method"] == "percentile"
        assert used["images"] == answer.document["images"]


def test_training_images_that_are_test_images_too_are_left_out(
    command, tiny_run, archive, tmp_path
):
    answer = command(
        *("calibrate", tiny_run, "--data", archive, "--images", 40, "--format", "tflite"),
        *("--out", tmp_path / "ranges.json", "--json"),
    )
    assert answer.document["left_out"] == 2
    assert answer.document["images"] == 38


def test_a_sample_of_test_images_alone_is_refused():
    with pytest.raises(DataError, match="every calibration image is also a test image"):
        leave_out(sample_of(IMAGES[:4]), IMAGES)


def test_a_test_split_is_refused(archive):
    with pytest.raises(DataError, match="training images only"):
        sample_images(load_dataset(archive, "test", (12, 12)), 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read (No such file or directory). 'edgevit calibrate' writes one."),
        ("{", "the calibration record is damaged"),
        ("[]", "no calibration record"),
        ('{"records": []}', "record is damaged"),
        ('{"records": {"onnx": {}}}', "holds ranges for onnx, not for tflite"),
        ('{"records": {"tflite": {}}}', "record is damaged"),
    ],
)
def test_a_file_that_is_no_record_is_one_line_and_exit_code_two(
    command, tiny_run, tmp_path, content, message
):
    path = tmp_path / "ranges.json"
    if content is not None:
        path.write_text(content)
    answer = command(
        *("export", tiny_run, "--format", "tflite-int8", "--ranges", path, "--out", tmp_path / "x")
    )
    assert answer.code == 2
    assert message in answer.error
    assert not list((tmp_path / "x").glob("*"))


def test_ranges_of_other_surgery_are_refused_with_both_named(command, tiny_run, tmp_path):
    answer = command(
        *("export", tiny_run, "--format", "tflite-int8", "--out", tmp_path),
        *("--surgery", "default,no-fold-affine"),
    )
    assert answer.code == 2
    assert "centre-norms fold-affine" in answer.error
    assert "Give --calibration PATH" in answer.error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "pt"], "unknown format to calibrate 'pt'"),
        (["--surgery", "fold"], "unknown surgery step 'fold'"),
        (["--data", "/nowhere"], "/nowhere"),
    ],
    ids=str,
)
def test_a_calibration_that_cannot_be_done_leaves_no_file(
    command, tiny_run, archive, tmp_path, options, message
):
    out = tmp_path / "ranges.json"
    answer = command("calibrate", tiny_run, "--data", archive, "--out", out, *options)
    assert answer.code == 2
    assert message in answer.error
    assert not out.exists()
