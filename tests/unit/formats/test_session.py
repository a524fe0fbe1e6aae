"""Any batch in, the file's own batch to the runtime: on a session whose runtime is a formula."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgevit.base.documents import to_json
from edgevit.base.errors import ConfigError, ModelFileError
from edgevit.core.golden_images import draw_images
from edgevit.core.manifest import ADDED, Manifest
from edgevit.core.metadata import MANIFEST_KEY
from edgevit.core.signature import InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import Preprocess, TensorSpec
from edgevit.formats.registry import RUNTIMES, detect_format, open_session
from edgevit.formats.session import (
    BatchedSession,
    draw_input,
    find_picture,
    image_size,
    load_failure,
    read_signature,
)

CONTRACT = Preprocess((6, 6), (4, 4), scale=(0.5, 0.5, 0.5), offset=(1.0, 1.0, 1.0))


class Formula(BatchedSession):
    """A runtime that sums each image, and notes what it was given."""

    runtime = "formula"

    def __init__(self, batch=1, dtype="uint8", size=(6, 6), metadata=None, quantization=None):
        self.path = Path("folder/net.tflite")
        self.inputs = (TensorSpec("images", (batch, *size, 3), dtype),)
        self.outputs = (TensorSpec("logits", (batch, 2), "float32"),)
        self.metadata = metadata or {}
        self.quantization = {"images": quantization} if quantization else {}
        self.given: list[np.ndarray] = []

    def run_chunk(self, batch):
        self.given.append(batch["images"])
        total = batch["images"].astype(np.float32).sum(axis=(1, 2, 3))
        return {"logits": np.stack([total, -total], axis=-1)}


class Several(BatchedSession):
    """A runtime with a picture, a vector and indices, which notes what it was given."""

    runtime = "formula"

    def __init__(self, batch=None, kind="float32", quantization=None, metadata=None):
        self.path = Path("folder/net.onnx")
        self.inputs = (
            TensorSpec("photo", (batch, 6, 6, 3), "uint8"),
            TensorSpec("state", (batch, 2), kind),
            TensorSpec("tokens", (batch, 3), "int32"),
        )
        self.outputs = (TensorSpec("b", (batch,), "float32"), TensorSpec("a", (batch,), "float32"))
        self.metadata = metadata or {}
        self.quantization = quantization or {}
        self.given: list[dict[str, np.ndarray]] = []

    def run_chunk(self, batch):
        self.given.append(batch)
        total = batch["photo"].astype(np.float32).sum(axis=(1, 2, 3))
        state = batch["state"].astype(np.float32)[:, 0]
        return {"b": total, "a": state + 10 * batch["tokens"][:, 0].astype(np.float32)}


def inputs_of_several(count: int) -> dict[str, np.ndarray]:
    state = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    tokens = np.arange(3 * count, dtype=np.int32).reshape(count, 3)
    return {"tokens": tokens, "photo": draw_images(count, (6, 6)), "state": state}


def bare_metadata(inside: bool = False) -> dict[str, str]:
    """Of a file from before manifests held a signature."""
    size = CONTRACT.input_size if inside else CONTRACT.network_size
    inputs = (TensorSpec("images", (None, *size, 3), "uint8" if inside else "float32"),)
    outputs = (TensorSpec("logits", (None, 2), "float32"),)
    manifest = Manifest(
        "net", "onnx-float32", (), CONTRACT, inside, inputs, outputs, (), {}, weights_sha256="aa"
    )
    document = manifest.to_document()
    return {MANIFEST_KEY: to_json({k: v for k, v in document.items() if k not in ADDED})}


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


def test_floats_for_raw_pixels_in_integers_are_refused():
    with Formula(None, "uint8", quantization=(1.0, 0)) as session:
        session.run(draw_images(1, (6, 6)))
        with pytest.raises(ConfigError, match="takes uint8 images"):
            session.run(np.zeros((1, 6, 6, 3), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_becomes_no_integer(value):
    with (
        Formula(None, "int8", (1, 1), quantization=(0.5, -3)) as session,
        pytest.raises(ConfigError, match=r"'images' holds NaN or infinity"),
    ):
        session.run(np.full((1, 1, 1, 3), value, np.float32))


@pytest.mark.parametrize("batch", [None, 1, 4])
@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_several_inputs_stay_side_by_side_whatever_the_batch(batch, count):
    given = inputs_of_several(count)
    with Several(batch) as session:
        found = session.run(given)
        sizes = {len(values) for chunk in session.given for values in chunk.values()}
        orders = {tuple(chunk) for chunk in session.given}
    assert list(found) == ["b", "a"]
    np.testing.assert_array_equal(found["b"], given["photo"].astype(np.float32).sum((1, 2, 3)))
    np.testing.assert_array_equal(found["a"], given["state"][:, 0] + 10 * given["tokens"][:, 0])
    assert sizes == {batch or count}
    assert orders == {("photo", "state", "tokens")}


def test_one_array_for_several_inputs_is_refused_with_their_names():
    with Several() as session, pytest.raises(ConfigError) as caught:
        session.run(draw_images(1, (6, 6)))
    assert str(caught.value) == (
        "net.onnx takes 3 inputs (photo, state, tokens). Give a dict of arrays by name. "
        "Received: one array"
    )


@pytest.mark.parametrize("change", ["missing", "other", "more"])
def test_inputs_of_other_names_are_refused_with_both_lists(change):
    given = inputs_of_several(2)
    if change != "more":
        given.pop("state")
    if change != "missing":
        given["velocity"] = np.zeros((2, 2), np.float32)
    with Several() as session, pytest.raises(ConfigError) as caught:
        session.run(given)
    assert "takes the inputs photo, state, tokens. Received: tokens, photo" in str(caught.value)
    assert session.given == []


def test_the_only_input_goes_by_any_name():
    images = draw_images(2, (6, 6))
    with Formula() as session:
        by_name = session.run({"photo": images})["logits"]
        np.testing.assert_array_equal(by_name, session.run(images)["logits"])


def test_inputs_of_different_lengths_are_refused():
    given = inputs_of_several(4)
    given["state"] = given["state"][:3]
    with Several() as session, pytest.raises(ConfigError, match=r"lengths.*'state': 3"):
        session.run(given)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("state", np.zeros((2, 3), np.float32)),
        ("state", np.zeros(2, np.float32)),
        ("state", np.zeros((2, 2), np.int32)),
        ("tokens", np.zeros((2, 3), np.float32)),
        ("tokens", np.full((2, 3), 1 << 40)),
        ("photo", np.zeros((2, 6, 6, 1), np.uint8)),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.dtype}{value.shape}",
)
def test_what_an_input_cannot_take_is_refused_with_its_name(name, values):
    with Several() as session, pytest.raises(ConfigError, match=rf"for '{name}'\. Received: "):
        session.run({**inputs_of_several(2), name: values})
    assert session.given == []


def test_integers_of_another_width_that_fit_are_taken():
    given = inputs_of_several(2)
    with Several() as session:
        session.run({**given, "tokens": given["tokens"].astype(np.int64)})
        assert session.given[0]["tokens"].dtype == np.int32


def test_each_quantised_input_has_its_own_scale():
    given = {**inputs_of_several(1), "state": np.array([[1.0, -1.0]], np.float32)}
    with Several(kind="int8", quantization={"state": (0.5, 3), "photo": (1.0, 0)}) as session:
        session.run(given)
        np.testing.assert_array_equal(session.given[0]["state"], [[5, 1]])
        np.testing.assert_array_equal(session.given[0]["photo"], given["photo"])


def test_a_batch_is_bound_by_name_in_the_files_own_order():
    given = inputs_of_several(2)
    with Several() as session:
        infer = session.bind(given)
        assert session.given == []
        infer()
        infer()
        assert [list(chunk) for chunk in session.given] == [["photo", "state", "tokens"]] * 2
        assert session.given[0]["photo"] is given["photo"]


def test_noise_for_every_input_has_its_type_and_size():
    with Several(batch=None) as session:
        noise = draw_input(session, 3)
        session.run(noise)
    shapes = {name: (str(values.dtype), values.shape) for name, values in noise.items()}
    assert shapes == {
        "photo": ("uint8", (3, 6, 6, 3)),
        "state": ("float32", (3, 2)),
        "tokens": ("int32", (3, 3)),
    }
    with Several(batch=2) as session:
        assert len(draw_input(session, None)["state"]) == 2
        with pytest.raises(ConfigError, match="its batch is fixed to 2"):
            draw_input(session, 3)


def several_manifest(inside: bool) -> dict[str, str]:
    """Of a file whose photo is prepared by its contract."""
    signature = Signature(
        (
            InputSpec("photo", (None, 4, 4, 3), "float32", CONTRACT),
            InputSpec("state", (None, 2)),
        ),
        (OutputSpec("b", (None,), "float32", Role.VALUES),),
    )
    manifest = Manifest(
        "net", "onnx-float32", (), CONTRACT, inside, (), (), (), {}, "aa", signature=signature
    )
    return {MANIFEST_KEY: to_json(manifest.to_document())}


def test_of_several_inputs_pictures_alone_are_prepared():
    session = Several(metadata=several_manifest(inside=False))
    assert session.preparations == {"photo": CONTRACT}
    assert Several(metadata=several_manifest(inside=True)).preparations == {}
    assert [spec.name for spec in read_signature(session).inputs] == ["photo", "state"]


def test_a_file_that_takes_more_than_a_picture_has_no_one_picture():
    with pytest.raises(ModelFileError, match=r"takes photo .*state.*not one picture"):
        find_picture(Several(metadata=several_manifest(inside=True)))
    assert find_picture(Formula()).name == "images"


def test_without_a_manifest_the_first_output_is_taken_for_scores():
    found = read_signature(Several())
    assert [spec.role for spec in found.outputs] == [Role.LOGITS, Role.MAP]
    assert [spec.name for spec in found.inputs] == ["photo", "state", "tokens"]


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
