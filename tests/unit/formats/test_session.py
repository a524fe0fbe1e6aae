"""Any batch in, the file's own batch to the runtime: on a session whose runtime is a formula."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgevit.base.documents import to_json
from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.core.golden_images import draw_images
from edgevit.core.manifest import Manifest
from edgevit.core.metadata import MANIFEST_KEY
from edgevit.core.tensors import Preprocess, TensorSpec
from edgevit.formats.registry import RUNTIMES, detect_format, open_session
from edgevit.formats.session import BatchedSession, image_size, load_failure

CONTRACT = Preprocess((6, 6), (4, 4), scale=(0.5, 0.5, 0.5), offset=(1.0, 1.0, 1.0))


class Formula(BatchedSession):
    """A runtime that sums each image, and notes what it was given."""

    runtime = "formula"

    def __init__(self, batch=1, dtype="uint8", size=(6, 6), metadata=None, quantization=None):
        self.path = Path("folder/net.tflite")
        self.inputs = (TensorSpec("images", (batch, *size, 3), dtype),)
        self.outputs = (TensorSpec("logits", (batch, 2), "float32"),)
        self.metadata = metadata or {}
        self.quantization = quantization
        self.given: list[np.ndarray] = []

    def run_chunk(self, batch):
        self.given.append(batch)
        total = batch.astype(np.float32).sum(axis=(1, 2, 3))
        return {"logits": np.stack([total, -total], axis=-1)}


def bare_metadata(inside: bool = False) -> dict[str, str]:
    manifest = Manifest(
        "net", "onnx-float32", (), CONTRACT, inside, (), (), (), {}, weights_sha256="aa"
    )
    return {MANIFEST_KEY: to_json(manifest.to_document())}


@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_every_image_gets_its_own_row_whatever_the_batch(batch, count):
    images = draw_images(count, (6, 6))
    with Formula(batch) as session:
        found = session.run(images)["logits"]
        sizes = {len(chunk) for chunk in session.given}
    np.testing.assert_array_equal(found[:, 0], images.astype(np.float32).sum(axis=(1, 2, 3)))
    assert sizes == {batch or count}


def test_a_list_of_images_is_as_good_as_an_array():
    images = draw_images(2, (6, 6))
    with Formula() as session:
        np.testing.assert_array_equal(
            session.run([*images])["logits"], session.run(images)["logits"]
        )


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((6, 6, 3), np.uint8),
        np.zeros((1, 7, 6, 3), np.uint8),
        np.zeros((1, 6, 6, 4), np.uint8),
        np.zeros((1, 3, 6, 6), np.uint8),
        np.zeros((1, 6, 6, 3), np.int32),
        np.zeros((1, 6, 6, 3), np.float32),
        np.zeros((1, 6, 6, 3), bool),
        np.zeros((1, 6, 6, 3), "U1"),
    ],
    ids=lambda images: f"{images.dtype}{images.shape}",
)
def test_images_of_another_shape_or_type_are_refused_with_both_named(images):
    with Formula() as session, pytest.raises(ConfigError) as caught:
        session.run(images)
    message = str(caught.value)
    assert message.startswith("net.tflite takes uint8 images of shape B 6 6 3. Received: ")
    assert str(images.dtype) in message
    assert str(images.shape) in message
    assert session.given == []


def test_a_batch_of_no_images_is_refused():
    with Formula() as session, pytest.raises(ConfigError, match="no images"):
        session.run(np.zeros((0, 6, 6, 3), np.uint8))


def test_a_bare_network_prepares_raw_pixels_by_its_own_contract():
    images = draw_images(3, (6, 6))
    with Formula(None, "float32", (4, 4), bare_metadata()) as session:
        raw = session.run(images)["logits"]
        prepared = session.run(CONTRACT.apply(images))["logits"]
        (first, second) = session.given
    np.testing.assert_array_equal(raw, prepared)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32


def test_a_file_with_preprocessing_inside_prepares_nothing():
    with Formula(None, "uint8", (6, 6), bare_metadata(inside=True)) as session:
        session.run(draw_images(1, (6, 6)))
        np.testing.assert_array_equal(session.given[0], draw_images(1, (6, 6)))


def test_a_quantised_input_rounds_and_saturates():
    quantization = (0.5, -3)
    with Formula(None, "int8", (1, 1), quantization=quantization) as session:
        values = np.array([[0.0, 0.3, -0.3], [1.0, 1000.0, -1000.0]], np.float32)
        session.run(values.reshape(2, 1, 1, 3))
        (given,) = session.given
    assert given.dtype == np.int8
    np.testing.assert_array_equal(given.reshape(2, 3), [[-3, -2, -4], [-1, 127, -128]])


def test_a_manifest_that_is_damaged_or_newer_is_refused_before_anything_is_run():
    document = json.loads(bare_metadata()[MANIFEST_KEY])
    for broken in ("{}", "{", "", "null", "[" * 100_000, json.dumps({**document, "version": 99})):
        session = Formula(metadata={MANIFEST_KEY: broken})
        with pytest.raises(ModelFileError, match=r"net\.tflite"):
            session.run(draw_images(1, (6, 6)))
        assert session.given == []


def test_images_have_the_size_that_the_manifest_says_and_else_that_of_the_input():
    assert image_size(Formula(size=(7, 5))) == (7, 5)
    assert image_size(Formula(size=(None, 5))) == (32, 5)
    assert image_size(Formula(size=(4, 4), metadata=bare_metadata())) == (6, 6)


@pytest.mark.parametrize(
    ("name", "kind"), [("a.tflite", "tflite"), ("a.b.onnx", "onnx"), ("folder", "savedmodel")]
)
def test_the_format_is_told_by_suffix_and_by_content(tmp_path, name, kind):
    path = tmp_path / name
    if kind == "savedmodel":
        path.mkdir()
        (path / "saved_model.pb").touch()
    else:
        path.touch()
    assert detect_format(path) == kind


@pytest.mark.parametrize("name", ["a.pb", "a", "a.tflite.zip"])
def test_a_file_of_no_known_kind_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ModelFileError, match="neither"):
        detect_format(tmp_path / name)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="no such file"):
        open_session(tmp_path / "none.tflite")
    with pytest.raises(ModelFileError, match=r"without saved_model\.pb"):
        open_session(tmp_path)


@pytest.mark.parametrize("name", ["a.tflite", "a.onnx"])
def test_an_unknown_kernel_set_is_refused_with_the_known_ones(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="kernel sets") as caught:
        open_session(tmp_path / name, "nonsense")
    kind = detect_format(tmp_path / name)
    known = [row.kernels for row in RUNTIMES.values() if row.format is kind]
    assert len(known) >= 2
    assert all(kernels in str(caught.value) for kernels in known)


def test_a_refusal_of_a_runtime_is_one_line_however_long_it_was():
    message = str(load_failure(Path("net.onnx"), "onnxruntime", ValueError("a\nb " * 500)))
    assert "\n" not in message
    assert len(message) < 400
    assert message.startswith("net.onnx: onnxruntime cannot load it (a b a b")
    assert "ValueError" in str(load_failure(Path("net.onnx"), "onnxruntime", ValueError()))
