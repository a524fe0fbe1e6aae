"""A manifest survives the round trip; a damaged or newer one is refused."""

from __future__ import annotations

import json

import pytest

from edgevit.base.documents import VERSION, to_json
from edgevit.base.errors import ModelFileError
from edgevit.core.manifest import (
    ADDED,
    Artifact,
    Manifest,
    manifest_path,
    read_manifest_file,
)
from edgevit.core.signature import InputSpec, OutputSpec, Role, Signature
from edgevit.core.tensors import Preprocess, TensorSpec

MANIFEST = Manifest(
    model="net",
    target="tflite-int8",
    class_names=("cat", "dog"),
    preprocess=Preprocess((12, 14), (16, 16), (18, 18), (1 / 255, 1 / 127, 1.0), (0.5, 0.0, -1)),
    preprocess_inside=True,
    inputs=(TensorSpec("images", (None, 12, 14, 3), "uint8"),),
    outputs=(TensorSpec("logits", (None, 2), "int8"),),
    steps=("one", "two"),
    versions={"python": "3.11"},
    weights_sha256="aa",
    calibration={"images": 3},
    reference_sha256="bb",
    task="regression",
    signature=Signature(
        (InputSpec("images", (None, 16, 16, 3), "float32", Preprocess((12, 14), (16, 16))),),
        (OutputSpec("logits", (None, 2), "float32", Role.VALUES),),
    ),
    errors={"logits": (0.0125, 0.03)},
)


def as_read(manifest: Manifest) -> dict:
    return json.loads(to_json(manifest.to_document()))


def test_a_manifest_survives_the_round_trip():
    assert Manifest.from_document(as_read(MANIFEST), "x") == MANIFEST


def test_a_manifest_without_preprocessing_survives_the_round_trip():
    bare = Manifest.from_document({**as_read(MANIFEST), "preprocess": None}, "x")
    assert bare.preprocess is None
    assert Manifest.from_document(as_read(bare), "x") == bare


def test_a_document_of_a_newer_version_is_refused_with_the_remedy():
    document = {**as_read(MANIFEST), "version": VERSION + 1}
    with pytest.raises(ModelFileError, match=r"net\.onnx: written by a newer edgevit.*Upgrade"):
        Manifest.from_document(document, "net.onnx")


def test_keys_that_a_later_version_adds_within_the_same_version_do_no_harm():
    assert Manifest.from_document({**as_read(MANIFEST), "extra": 1}, "x") == MANIFEST


@pytest.mark.parametrize("key", sorted({*as_read(MANIFEST)} - {*ADDED}))
def test_a_manifest_with_a_missing_key_is_refused(key):
    document = as_read(MANIFEST)
    del document[key]
    with pytest.raises(ModelFileError, match=r"net\.onnx: its manifest is damaged"):
        Manifest.from_document(document, "net.onnx")


@pytest.mark.parametrize(
    "damage",
    [
        {"version": "one"},
        {"version": None},
        {"inputs": 3},
        {"inputs": [3]},
        {"outputs": [{"name": "a"}]},
        {"preprocess": {"colour": 1}},
        {"preprocess": [1]},
        {"steps": 1},
        {"task": 1},
        {"signature": 1},
        {"signature": {"inputs": [], "outputs": []}},
        {"signature": {"inputs": [{"name": "images"}], "outputs": []}},
        {"signature": None, "inputs": []},
        {"signature": None, "outputs": []},
    ],
    ids=str,
)
def test_a_manifest_with_a_value_of_the_wrong_kind_is_refused(damage):
    with pytest.raises(ModelFileError, match="manifest is damaged"):
        Manifest.from_document({**as_read(MANIFEST), **damage}, "net.onnx")


def test_a_manifest_from_before_signatures_is_that_of_a_classifier_of_pictures():
    document = {key: value for key, value in as_read(MANIFEST).items() if key not in ADDED}
    extra = {"name": "gates", "shape": [None, 7], "dtype": "float32"}
    document["outputs"] = [extra, *document["outputs"]]  # as TFLite sorted them
    found = Manifest.from_document(document, "x")
    assert (found.task, found.signature) == ("classification", None)
    (images,) = found.model_signature.inputs
    assert (images.name, images.shape) == ("images", (None, 16, 16, 3))
    assert (images.raw_shape, images.raw_dtype) == ((12, 14, 3), "uint8")
    assert images.preparation == MANIFEST.preprocess
    roles = [(output.name, output.role) for output in found.model_signature.outputs]
    assert roles == [("logits", Role.LOGITS), ("gates", Role.MAP)]


def test_the_signature_of_a_manifest_is_the_models_own():
    assert MANIFEST.model_signature is MANIFEST.signature


@pytest.mark.parametrize("document", [[], "text", 3, None], ids=str)
def test_a_manifest_that_is_no_object_is_refused(document):
    with pytest.raises(ModelFileError, match="manifest is damaged"):
        Manifest.from_document(document, "net.onnx")


def test_the_manifest_lies_beside_the_file_under_its_whole_name(tmp_path):
    artifact = Artifact(tmp_path / "net.onnx", "cc", 17, MANIFEST)
    artifact.write_manifest()
    assert artifact.manifest_path == tmp_path / "net.onnx.manifest.json"
    document = read_manifest_file(tmp_path / "net.onnx")
    assert (document["file"], document["sha256"], document["size_bytes"]) == ("net.onnx", "cc", 17)
    assert Manifest.from_document(document, "x") == MANIFEST


def test_no_manifest_beside_a_file_is_none_and_a_damaged_one_an_error(tmp_path):
    path = tmp_path / "net.onnx"
    assert read_manifest_file(path) is None
    for text in ("{", "", "[1]", "\x00"):
        manifest_path(path).write_text(text)
        with pytest.raises(ModelFileError, match="manifest"):
            read_manifest_file(path)


def test_a_manifest_that_is_no_text_is_an_error(tmp_path):
    manifest_path(tmp_path / "net.onnx").write_bytes(b"\xff\xfe\x80{}")
    with pytest.raises(ModelFileError, match="cannot be read"):
        read_manifest_file(tmp_path / "net.onnx")
